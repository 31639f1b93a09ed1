"""Causal language models of every kind give what transformers gives of one unpadded input."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModelForCausalLM

from shardrank.core.arrays import Int32
from shardrank.core.errors import InputError
from shardrank.models.forward import decoder as decoders
from shardrank.models.forward.decoder import Decoder, load_decoder
from tests.tiny_decoders import OWN, PACKED, SINGLE, VOCABULARY, tiny_decoder

#: No pass holds two branches of the longest kind.
BUDGET = 16
ALL = np.arange(VOCABULARY, dtype=np.int32)
Load = Callable[[str], tuple[Decoder, Any]]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """A model by its name in tiny_decoders: ours, and the library's."""

    @cache
    def loaded(name: str) -> tuple[Decoder, Any]:
        folder = tiny_decoder(tmp_path_factory.mktemp("decoder"), name)
        own = load_decoder(folder, "fp32", False, "cpu", BUDGET)
        return own, AutoModelForCausalLM.from_pretrained(folder).eval()

    return loaded


def tokens(*lengths: int, stem: int = 0, seed: int = 0) -> list[Int32]:
    """Inputs that begin with `stem` equal tokens and go on for so many."""
    random = np.random.default_rng(seed)
    first = random.integers(VOCABULARY, size=stem, dtype=np.int32)
    rest = (random.integers(VOCABULARY, size=n, dtype=np.int32) for n in lengths)
    return [np.concatenate([first, more]) for more in rest]


def plainly(library: Any, ids: Int32) -> npt.NDArray[Any]:
    """float64[n, v]: logits behind every token, without a batch."""
    with torch.inference_mode():
        found = library(input_ids=torch.from_numpy(ids.astype(np.int64))[None], use_cache=False)
    return found.logits[0].double().numpy()  # type: ignore[no-any-return]


def near(found: npt.NDArray[Any], wanted: npt.NDArray[Any]) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [*OWN, *PACKED, *SINGLE])
def test_all_that_is_asked_of_a_decoder_is_what_the_library_gives(name: str, load: Load) -> None:
    ours, library = load(name)
    inputs = tokens(5, 1, 12, 5, 20, 3, stem=9)
    every = [plainly(library, ids) for ids in inputs]
    near(ours.last_logits(inputs, ALL), np.array([logits[-1] for logits in every]))
    begins = [4, 9, 10, 9, 12, 11]
    for ids, begin, logits, found in zip(
        inputs, begins, every, ours.logprobs(inputs, begins), strict=True
    ):
        shares = torch.from_numpy(logits).log_softmax(1).numpy()
        near(found, shares[np.arange(begin - 1, len(ids) - 1), ids[begin:]])
    assert ours.generate([inputs[0]], 6, frozenset())[0].tolist() == greedy(library, inputs[0], 6)
    check_attention(ours, library, inputs[4])


def greedy(library: Any, ids: Int32, most: int) -> list[int]:
    found: list[int] = []
    for _ in range(most):
        after = np.append(ids, np.array(found, np.int32))
        found.append(int(plainly(library, after)[-1].argmax()))
    return found


def check_attention(ours: Decoder, library: Any, ids: Int32) -> None:
    asking = range(len(ids) - 8, len(ids) - 2)
    rows = torch.from_numpy(ids.astype(np.int64))[None]
    usual = library.config._attn_implementation
    library.set_attn_implementation("eager")
    with torch.inference_mode():
        made = library(input_ids=rows, output_attentions=True)
    library.set_attn_implementation(usual)
    shown = getattr(made, "attentions", None)
    if shown is None or library.config.model_type == "falcon":
        with pytest.raises(InputError, match="does not say how it attends"):
            ours.attended(ids, asking)
        return
    layers = [layer[0, :, asking.start : asking.stop] for layer in shown if layer is not None]
    near(ours.attended(ids, asking), sum(layer.sum((0, 1)).numpy() for layer in layers))


@pytest.mark.parametrize("name", ["llama", "gemma2", "mistral, window", "lfm2"])
@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(tokens(4, 7, 2), id="no stem"),
        pytest.param(tokens(4, 7, 2, stem=1), id="a stem of one token"),
        pytest.param(tokens(0, 0, stem=9), id="all tokens alike"),
        pytest.param(tokens(6), id="one input"),
        pytest.param(tokens(1), id="one token"),
        pytest.param([row[:n] for row in tokens(40) for n in (40, 1, 17, 17, 3)], id="prefixes"),
        pytest.param(tokens(1, 1, 1, 1, stem=30), id="branches of a token"),
    ],
)
def test_any_stem_and_branches(name: str, inputs: Sequence[Int32], load: Load) -> None:
    ours, library = load(name)
    wanted = np.array([plainly(library, ids)[-1] for ids in inputs])
    near(ours.last_logits(inputs, ALL), wanted)
    some = [ids for ids in inputs if len(ids) > 1]
    for ids, found in zip(some, ours.logprobs(some, [1] * len(some)), strict=True):
        shares = torch.from_numpy(plainly(library, ids)).log_softmax(1).numpy()
        near(found, shares[np.arange(len(ids) - 1), ids[1:]])


@pytest.mark.parametrize("name", ["llama", "gpt2", "lfm2"])
def test_no_input_and_no_answer(name: str, load: Load) -> None:
    ours, _ = load(name)
    assert ours.last_logits([], ALL).shape == (0, VOCABULARY)
    assert ours.last_logits(tokens(3, 4), ALL[:0]).shape == (2, 0)
    assert ours.logprobs([], []) == []
    assert [len(each) for each in ours.logprobs(tokens(3, 4), [3, 3])] == [0, 1]
    assert ours.generate([tokens(3)[0]], 0, frozenset())[0].tolist() == []


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "lfm2"])
def test_generation_stops_before_an_end(name: str, load: Load) -> None:
    ours, _ = load(name)
    (ids,) = tokens(7, seed=3)
    free = ours.generate([ids], 6, frozenset())[0].tolist()
    end = free[3]
    assert ours.generate([ids], 6, frozenset({end}))[0].tolist() == free[: free.index(end)]


@pytest.mark.parametrize("name", ["llama", "qwen2, windows", "gemma3", "gpt_oss", "bloom"])
def test_an_input_does_not_depend_on_the_others_and_equal_calls_are_equal(
    name: str, load: Load
) -> None:
    ours, _ = load(name)
    inputs = tokens(5, 12, 7, 3, 12, stem=8)
    together = ours.last_logits(inputs, ALL)
    assert together.tobytes() == ours.last_logits(inputs, ALL).tobytes()
    alone = np.concatenate([ours.last_logits([ids], ALL) for ids in inputs])
    np.testing.assert_allclose(together, alone, rtol=0, atol=2e-5)
    backwards = ours.last_logits(inputs[::-1], ALL)[::-1]
    np.testing.assert_allclose(together, backwards, rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_what_the_call_before_computed_changes_no_bit(name: str, load: Load) -> None:
    ours, library = load(name)
    docs, other = tokens(45, 45, seed=8)
    question, nothing = tokens(9, 4, seed=9)
    first, second = np.concatenate([docs, question]), np.concatenate([docs[:40], nothing])
    ours.attended(other, range(30, 45))
    alone = ours.attended(second, range(40, 44))
    (made,) = ours.generate([second], 5, frozenset())
    ours.attended(first, range(45, 54))
    assert ours.attended(second, range(40, 44)).tobytes() == alone.tobytes()
    assert ours.generate([second], 5, frozenset())[0].tobytes() == made.tobytes()
    check_attention(ours, library, second)


@pytest.mark.parametrize(("names", "way"), [(OWN, "OWN"), (PACKED, "PACKED"), (SINGLE, "SINGLY")])
def test_a_decoder_says_which_way_it_runs(names: Sequence[str], way: str, load: Load) -> None:
    for name in names:
        assert load(name)[0].way == getattr(decoders, way), name


@pytest.mark.parametrize("name", ["llama", "gpt2", "lfm2"])
def test_logits_that_are_no_numbers_are_given_as_they_are(name: str, tmp_path: Path) -> None:
    folder = tiny_decoder(tmp_path, name)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.get_input_embeddings().weight.data[7] = torch.nan
    model.save_pretrained(folder)
    ours = load_decoder(folder, "fp32", False, "cpu", BUDGET)
    sound, broken = np.array([1, 2, 3], np.int32), np.array([1, 7, 3], np.int32)
    found = ours.last_logits([sound, broken], np.array([4, 5], np.int32))
    assert np.isnan(found).tolist() == [[False, False], [True, True]]


@pytest.mark.parametrize("name", ["llama", "qwen3", "gemma2"])
@pytest.mark.parametrize(("dtype", "share"), [("bf16", 0.08), ("fp16", 0.01)])
def test_shorter_types_are_near(name: str, dtype: str, share: float, tmp_path: Path) -> None:
    folder = tiny_decoder(tmp_path, name)
    inputs = tokens(5, 12, 7, stem=8)
    whole, short = (
        load_decoder(folder, kind, False, "cpu", BUDGET).last_logits(inputs, ALL)
        for kind in ("fp32", dtype)
    )
    assert np.abs(whole - short).max() < share * np.abs(whole).max()


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_weights_that_are_missing_are_refused(name: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = tiny_decoder(tmp_path, name) / "model.safetensors"
    weights = load_file(file)
    lost = next(key for key in weights if ".1." in key)
    save_file({key: x for key, x in weights.items() if key != lost}, file, {"format": "pt"})
    with pytest.raises(InputError, match="lacks"):
        load_decoder(tmp_path, "fp32", False, "cpu", BUDGET)
