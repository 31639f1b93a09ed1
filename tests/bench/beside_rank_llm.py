"""Listwise reranking beside rank_llm itself, on the same lists with the same stub model outputs.

    pip install --no-deps --target build/rank_llm rank-llm==0.25.7 ftfy dacite wcwidth
    PYTHONPATH=build/names:.:build/rank_llm .venv/bin/python -m tests.bench.beside_rank_llm

rank_llm imports what would run its models (vllm) and clients of services; stand-ins are put in
their places, and its one call of a model is answered by a stub. Its code is otherwise its own.
"""

import logging
import random
import string
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np

from shardrank.core.reranker_settings import ListwiseSettings
from shardrank.models.rerankers.listed import list_messages, without_identifiers
from shardrank.models.rerankers.listwise import make_listwise
from shardrank.models.text.prompts import METHODS, parse_prompt, read_prompt
from shardrank.orders.answers import extraction, letters, numbers, permutation
from shardrank.orders.windows import Windows
from tests.judges import Stub, by_worth, language_of, shown
from tests.tiny_language import tiny_language

#: Modules that rank_llm imports and that nothing here runs.
_ABSENT = (
    "vllm", "vllm.outputs", "openai", "tiktoken", "dotenv", "google", "google.generativeai",
    "rank_llm.rerank.listwise.rank_fid",
)  # fmt: skip
#: Tokens whose logits vLLM gives, as rank_llm asks it to.
_TOP = 30


def rank_llm() -> Any:
    """rank_llm's module of open models."""
    for name in _ABSENT:
        sys.modules.setdefault(name, MagicMock())
    logging.disable(logging.INFO)
    from rank_llm.rerank.listwise import rank_listwise_os_llm

    return rank_listwise_os_llm


class TheirModel:
    """What stands for vLLM: the same logits as ours, of the letters that the prompt shows."""

    worth: dict[str, float]
    absent: int = 0  # of the shown letters the worst so many are not among the top tokens

    def __init__(self, tokeniser: Any) -> None:
        self._tokeniser = tokeniser

    def get_tokenizer(self) -> Any:
        return self._tokeniser

    def generate_output(self, prompts: Sequence[str], **kwargs: Any) -> list[Any]:
        """Of two tokens, "[" and a letter, the logits of the second."""
        return [self._output(prompt) for prompt in prompts]

    def _output(self, prompt: str) -> Any:
        found = {name: self.worth[text] for name, text in shown(prompt).items()}
        best = sorted(found, key=lambda name: -found[name])[: len(found) - self.absent][:_TOP]
        logits = {i: SimpleNamespace(decoded_token=n, logprob=found[n]) for i, n in enumerate(best)}
        return SimpleNamespace(outputs=[SimpleNamespace(logprobs=[{}, logits])])


def theirs(module: Any, folder: Path, template: Path, **given: Any) -> Any:
    """rank_llm's ranker, with the stub as its model."""
    from transformers import AutoTokenizer

    model = TheirModel(AutoTokenizer.from_pretrained(folder))
    module.VllmHandler = lambda **_: model
    return module.RankListwiseOSLLM(
        model="stub", context_size=1 << 20, device="cpu", prompt_template_path=template, **given
    )


def their_order(ranker: Any, query: str, passages: Sequence[str]) -> list[int]:
    """The places of the passages, as rank_llm puts them in order."""
    from rank_llm.data import Candidate, Query, Request

    found = [Candidate(i, -float(i), {"text": text}) for i, text in enumerate(passages)]
    (result,) = ranker.rerank_batch([Request(Query(query, 1), found)], rank_end=len(passages))
    return [candidate.docid for candidate in result.candidates]


def sizes() -> Iterator[tuple[int, int, int]]:
    """(n, size, stride) of many lists."""
    for n in range(1, 101):
        for size in range(2, 31):
            for stride in range(1, size + 1):
                yield n, size, stride


def compare_windows(module: Any, folder: Path, template: Path) -> list[str]:
    """The windows of both, of every list."""
    from rank_llm.data import Query, Request

    ranker = theirs(module, folder, template)
    seen: list[tuple[int, int]] = []

    def judged(results: Any, begin: int, end: int, *_: Any) -> Any:
        seen.append((begin, end))
        return results

    ranker.permutation_pipeline_batched = judged
    told: Counter[str] = Counter()
    for n, size, stride in sizes():
        seen.clear()
        ranker._window_size, ranker._stride = size, stride
        ranker.sliding_windows_batched([Request(Query("q", 1), [])], 0, n, top_k_retrieve=100)
        ours = [(w.start, w.stop) for w in Windows(size, stride).windows(n)]
        if ours == seen:
            told["equal"] += 1
        elif n == size - stride and not seen:
            told["n = size - stride: rank_llm has no window"] += 1
        elif [w for w in ours if w[1] - w[0] > 1] == [w for w in seen if w[1] - w[0] > 1]:
            told["equal but for windows of one passage"] += 1
        else:
            told[f"other, such as {(n, size, stride)}: {ours} and {seen}"] += 1
    return told_of("windows", told)


def compare_orders(module: Any, folder: Path, template: Path, cases: int) -> list[str]:
    """First-token orders of random lists, from the prompt to the last window."""
    draw, told = random.Random(18), Counter[str]()
    for _ in range(cases):
        n, size = draw.randint(1, 60), draw.choice([2, 5, 10, 20, 26, 30])
        stride = draw.randint(1, size)
        passages = [f"passage {i}" for i in range(n)]
        worth = {text: draw.random() for text in passages}
        ranker = theirs(
            module, folder, template, use_logits=True, use_alpha=True, window_size=size,
            stride=stride,
        )  # fmt: skip
        ranker._vllm_handler.worth = worth
        settings = ListwiseSettings.model_validate(
            {"model": "stub", "window": size, "stride": stride, "depth": 100}
        )
        model = Stub(logits=by_worth(worth))
        ours = make_listwise(settings, language_of(folder, "rank-zephyr-alpha", model))
        found = np.argsort(-ours.rank("q", passages).scores).tolist()
        same = found == their_order(ranker, "q", passages)
        kind = "window over 26" if min(n, size) > 26 else "window up to 26"
        told[f"{kind}: {'equal' if same else 'different'}"] += 1
    return told_of("first-token orders", told)


def compare_answers(module: Any, folder: Path, template: Path, cases: int) -> list[str]:
    """Orders that are written, with what is missing, repeated or foreign, and in prose."""
    from rank_llm.data import Candidate, Query, Result

    draw, told = random.Random(18), Counter[str]()
    for case in range(cases):
        kind = ("numbers", "letters")[case % 2]
        manner = ("clean", "missing", "repeated", "foreign", "no brackets", "in prose")[
            case // 2 % 6
        ]
        n = draw.randint(2, 20)
        names = list((numbers if kind == "numbers" else letters)(n))
        answer = written(draw, names, manner)
        ranker = theirs(module, folder, template, use_alpha=kind == "letters")
        found = [Candidate(i, 0.0, {}) for i in range(n)]
        result = ranker.receive_permutation(Result(Query("q", 1), found, []), answer, 0, n)
        their = [candidate.docid for candidate in result.candidates]
        group = r"\[(\d+)\]" if kind == "numbers" else r"\[([A-Z])\]"
        ours = permutation(answer, names, extraction(group)).order.tolist()
        told[f"{kind}, {manner}: {'equal' if ours == their else 'different'}"] += 1
    return told_of("written orders", told)


def written(draw: random.Random, names: Sequence[str], manner: str) -> str:
    """A model's answer."""
    order = draw.sample(list(names), len(names))
    if manner == "missing":
        order = order[: draw.randint(0, len(order) - 1)]
    if manner == "repeated":
        order = draw.choices(names, k=len(names))
    if manner == "foreign":
        order.insert(draw.randint(0, len(order)), "99" if names[0] == "1" else "Z")
    if manner == "no brackets":
        return " > ".join(order)
    answer = " > ".join(f"[{name}]" for name in order)
    return f"Of {len(names)} passages: {answer}" if manner == "in prose" else answer


def compare_prompts(module: Any, folder: Path, templates: Path) -> list[str]:
    """What the model is asked, message by message, with numbers in brackets in it."""
    from rank_llm.data import Candidate, Query, Result

    draw, told = random.Random(18), Counter[str]()
    named = ("rank_zephyr", "rank_zephyr_alpha", "rank_gpt", "rank_lrl")
    for name in named:
        path = templates / f"{name}_template.yaml"
        handler = theirs(module, folder, path)._inference_handler
        prompt = parse_prompt(path.read_text(), frozenset(METHODS))
        for _ in range(50):
            n = draw.randint(1, 20)
            words = [*string.ascii_lowercase, "[3]", "[12]", "(4)"]
            texts = [" ".join(draw.choices(words, k=8)) for _ in range(n)]
            query = " ".join(draw.choices(words, k=5))
            found = [Candidate(i, 0.0, {"text": text}) for i, text in enumerate(texts)]
            alpha = name.endswith("alpha")
            their = handler.generate_prompt(
                Result(Query(query, 1), found, []), rank_start=0, rank_end=n, max_length=300,
                use_alpha=alpha,
            )  # fmt: skip
            names = (letters if alpha else numbers)(n)
            plain = [without_identifiers(text, names) for text in (query, *texts)]
            ours = list_messages(prompt, plain[0], plain[1:], names)
            same = their == [{"role": m.role, "content": m.content} for m in ours]
            told[f"{name}: {'equal' if same else 'different'}"] += 1
    for shipped in ("rank-zephyr", "rank-zephyr-alpha"):
        given = parse_prompt(read_prompt(shipped), frozenset(METHODS))
        path = templates / f"{shipped.replace('-', '_')}_template.yaml"
        told[f"shipped {shipped}: {is_as(given, path)}"] += 1
    return told_of("prompts", told)


def is_as(given: Any, path: Path) -> str:
    """Whether a prompt is what rank_llm's file says."""
    other = parse_prompt(path.read_text(), frozenset(METHODS))
    names = ("system_message", "prefix", "body", "suffix", "output_extraction_regex")
    return "equal" if all(getattr(given, n) == getattr(other, n) for n in names) else "different"


def compare_hidden(module: Any, folder: Path, template: Path) -> list[str]:
    """What becomes of letters that are not among the tokens whose logits vLLM gives."""
    passages = [f"passage {i}" for i in range(20)]
    worth = {text: float((i * 7) % 20) for i, text in enumerate(passages)}
    ranker = theirs(module, folder, template, use_logits=True, use_alpha=True)
    ranker._vllm_handler.worth, ranker._vllm_handler.absent = worth, 5
    model = Stub(logits=by_worth(worth))
    settings = ListwiseSettings.model_validate({"model": "stub"})
    ours = make_listwise(settings, language_of(folder, "rank-zephyr-alpha", model))
    found = np.argsort(-ours.rank("q", passages).scores).tolist()
    their = their_order(ranker, "q", passages)
    return [f"five letters outside the top tokens, the last six: {found[-6:]}, {their[-6:]}"]


def told_of(what: str, told: Counter[str]) -> list[str]:
    """Lines of what was counted."""
    counts = [f"  {count:6,}  {name}" for name, count in sorted(told.items())]
    return [f"{what}: {told.total():,}", *counts]


def main() -> None:
    """All comparisons, on a tiny tokeniser. What rank_llm prints itself is not shown."""
    module = rank_llm()
    templates = Path(module.__file__).parent.parent / "prompt_templates"
    zephyr, alpha = (templates / f"rank_zephyr_{name}template.yaml" for name in ("", "alpha_"))
    with tempfile.TemporaryDirectory() as made, redirect_stdout(None), redirect_stderr(StringIO()):
        folder = tiny_language(Path(made))
        lines = [
            *compare_windows(module, folder, zephyr),
            *compare_orders(module, folder, alpha, 150),
            *compare_answers(module, folder, zephyr, 1200),
            *compare_prompts(module, folder, templates),
            *compare_hidden(module, folder, alpha),
        ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
