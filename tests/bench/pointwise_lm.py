"""Pointwise reranking by a language model's yes and no: our decoder against transformers' padded
loop and sentence-transformers' generative CrossEncoder, from texts to differences of logits.

python -m tests.bench.pointwise_lm FOLDER [--queries 4] [--rounds 5] [--threads 2] [--tokens N]
    [--collection FOLDER]

FOLDER holds a causal language model with a tokeniser, such as a converted SmolLM2-135M; speed does
not depend on what it has learnt. Each query has 20 passages in the template of Qwen3-Reranker:
docstrings at their natural lengths, or the documents of a folder in BEIR's layout. Peers run at the
batch size that is best for each, of 1 to 32. On one thread the seconds are the CPU's, which other
work on the machine changes less; on more, a wall clock's.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from shardrank.core.arrays import Float32, Int32
from shardrank.core.protocols import Decoder
from shardrank.models.forward.decoder import load_decoder
from tests.bench.distances import worst_logit
from tests.bench.harness import Benchmark, Clock, Contender, Duel, measure, timed
from tests.bench.show import table
from tests.bench.texts import documents, questions

PER_QUERY = 20
BATCHES = (1, 4, 8, 16, 32)
TOLERANCE = 1e-4
PADDED, CROSS, OURS = "transformers", "sentence-transformers", "shardrank"
_SYSTEM = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".'
)
_INSTRUCT = "Given a web search query, retrieve relevant passages that answer the query"
_BEFORE = (
    f"<|im_start|>system\n{_SYSTEM}<|im_end|>\n<|im_start|>user\n<Instruct>: {_INSTRUCT}\n<Query>: "
)
_BETWEEN = "\n<Document>: "
_AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


@dataclass(frozen=True)
class Work:
    """Queries with the passages of each, and the tokens of all prompts in that order."""

    queries: Sequence[str]
    passages: Sequence[Sequence[str]]
    folder: Path

    def pairs(self) -> list[tuple[str, str]]:
        return [(q, p) for q, own in zip(self.queries, self.passages, strict=True) for p in own]

    def prompts(self) -> list[list[str]]:
        return [
            [f"{_BEFORE}{query}{_BETWEEN}{passage}{_AFTER}" for passage in own]
            for query, own in zip(self.queries, self.passages, strict=True)
        ]


def make_work(folder: Path, queries: int, collection: Path | None) -> Work:
    """The first questions, each with the next documents."""
    if collection is None:
        texts, asked = documents(queries * PER_QUERY), questions(queries)
    else:
        texts = _first(collection / "corpus.jsonl", queries * PER_QUERY)
        asked = _first(collection / "queries.jsonl", queries)
    own = [texts[i * PER_QUERY : (i + 1) * PER_QUERY] for i in range(queries)]
    return Work(asked, own, folder)


def _first(file: Path, count: int) -> list[str]:
    """Title and text of the first documents that have any."""
    rows = (json.loads(line) for line in file.read_text("utf-8").splitlines())
    texts = (" ".join(filter(None, (row.get("title"), row["text"]))) for row in rows if row["text"])
    return list(itertools.islice(texts, count))


def ours(work: Work, tokeniser: Tokenizer, decoder: Decoder) -> Float32:
    """float32[pairs]: a call for each query."""
    found = [
        decoder.last_logits(_tokens(tokeniser, own), _answers(tokeniser)) for own in work.prompts()
    ]
    return _difference(np.concatenate(found))


@dataclass(frozen=True)
class Loop:
    """How transformers is asked.

    Attributes:
        batch: inputs of one.
        ordered: whether inputs of like length go together.
        keeps: whether logits are made of the last token only.
    """

    batch: int
    ordered: bool
    keeps: bool

    def __str__(self) -> str:
        named = ["by length"] * self.ordered + ["last logits only"] * self.keeps
        return ", ".join([f"batch {self.batch}", *named])


@torch.inference_mode()
def padded(work: Work, tokeniser: Tokenizer, model: Any, loop: Loop) -> Float32:
    """float32[pairs], filled from the left, in batches of pairs."""
    ids = _tokens(tokeniser, [prompt for own in work.prompts() for prompt in own])
    order = range(len(ids))
    if loop.ordered:
        order = sorted(order, key=lambda i: -len(ids[i]))  # type: ignore[assignment]
    answers, found = _answers(tokeniser), np.empty((len(ids), 2), np.float32)
    for begin in range(0, len(ids), loop.batch):
        rows = list(order[begin : begin + loop.batch])
        longest = max(len(ids[row]) for row in rows)
        filled = torch.zeros(len(rows), longest, dtype=torch.int64)
        real = torch.zeros_like(filled)
        for at, row in enumerate(rows):
            filled[at, longest - len(ids[row]) :] = torch.from_numpy(ids[row])
            real[at, longest - len(ids[row]) :] = 1
        places = (real.cumsum(1) - 1).clamp(min=0)
        asked = {"logits_to_keep": 1} if loop.keeps else {}
        made = model(
            input_ids=filled, attention_mask=real, position_ids=places, use_cache=False, **asked
        )
        found[rows] = made.logits[:, -1, answers].numpy()
    return _difference(found)


def cross_encoder(folder: Path) -> CrossEncoder:
    """sentence-transformers' generative reranker, with our template."""
    said = '{{ messages | selectattr("role", "eq", "%s") | map(attribute="content") | first }}'
    end = f"{{{{ {json.dumps(_AFTER)} }}}}"  # Jinja drops a last newline
    template = _BEFORE + said % "query" + _BETWEEN + said % "document" + end
    made: CrossEncoder = CrossEncoder(
        str(folder),
        device="cpu",
        model_kwargs={"dtype": torch.float32},
        processor_kwargs={"chat_template": template, "padding_side": "left"},
    )
    return made


def _crossed(model: CrossEncoder, pairs: Sequence[tuple[str, str]], batch: int) -> Float32:
    scores: Float32 = model.predict(
        list(pairs),
        batch_size=batch,
        show_progress_bar=False,
        activation_fn=torch.nn.Identity(),
    )
    return scores


def _tokens(tokeniser: Tokenizer, prompts: Sequence[str]) -> list[Int32]:
    encoded = tokeniser.encode_batch(list(prompts), add_special_tokens=False)
    return [np.array(each.ids, np.int32) for each in encoded]


def _answers(tokeniser: Tokenizer) -> Int32:
    return np.array([tokeniser.token_to_id("yes"), tokeniser.token_to_id("no")], np.int32)


def _difference(logits: Float32) -> Float32:
    return logits[:, 0] - logits[:, 1]


def benchmark(work: Work, tokens: int | None, say: Callable[[str], None]) -> Benchmark:
    """Each peer at its best of one query's pairs."""
    tokeniser = Tokenizer.from_file(str(work.folder / "tokenizer.json"))
    say(_lengths(work, tokeniser))
    model = AutoModelForCausalLM.from_pretrained(work.folder, dtype=torch.float32)
    crossed = cross_encoder(work.folder)
    one = Work(work.queries[:1], work.passages[:1], work.folder)
    loops = [Loop(n, *how) for n in BATCHES for how in ((True, True), (False, True), (True, False))]
    loop = _best(loops, lambda each: padded(one, tokeniser, model, each), say)
    batch = _best(BATCHES, lambda each: _crossed(crossed, one.pairs(), each), say)
    decoder = load_decoder(work.folder, "fp32", False, "cpu", tokens)
    contenders = [
        Contender(f"{PADDED} ({loop})", partial(padded, work, tokeniser, model, loop), None),
        Contender(f"{CROSS} (batch {batch})", partial(_crossed, crossed, work.pairs(), batch),
                  TOLERANCE),
        Contender(OURS, partial(ours, work, tokeniser, decoder), TOLERANCE),
    ]  # fmt: skip
    duels = [
        Duel(OURS, contenders[0].name, floor=2, goal=3),
        Duel(OURS, contenders[1].name, floor=2, goal=3),
    ]
    count, threads = len(work.pairs()), torch.get_num_threads()
    return Benchmark("pointwise LM", "pairs", count, contenders, duels, worst_logit, threads)


def _best(ways: Sequence[Any], run: Callable[[Any], Any], say: Callable[[str], None]) -> Any:
    """The fastest of two tries each, after one to warm up."""
    run(ways[0])
    seconds = {way: min(timed(partial(run, way), _clock()) for _ in range(2)) for way in ways}
    for way, taken in seconds.items():
        say(f"  {way}: {PER_QUERY / taken:.2f} pairs/s")
    return min(seconds, key=lambda way: seconds[way])


def _clock() -> Clock:
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def _lengths(work: Work, tokeniser: Tokenizer) -> str:
    """What the prompts are like."""
    lengths = [len(ids) for own in work.prompts() for ids in _tokens(tokeniser, own)]
    stem = len(tokeniser.encode(_BEFORE + work.queries[0] + _BETWEEN, add_special_tokens=False).ids)
    spread = np.percentile(lengths, [10, 50, 90]).round().astype(int).tolist()
    return f"{len(lengths)} prompts of {spread} tokens (p10, p50, p90), of which {stem} for a query"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, help="of a pass of ours")
    parser.add_argument("--collection", type=Path, help="a folder in BEIR's layout")
    arguments = parser.parse_args()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(arguments.threads)
    console = Console()
    work = make_work(arguments.folder, arguments.queries, arguments.collection)
    made = benchmark(work, arguments.tokens, console.print)
    outcome = measure(made, arguments.rounds, _clock())
    console.print(table(outcome))


if __name__ == "__main__":
    main()
