"""Texts by a language model about many inputs: ours beside each other against transformers'
`generate`, one input at a time and in left-padded batches.

python -m tests.bench.writing_lm FOLDER [--inputs 32] [--tokens 48] [--rounds 3] [--threads 1]
    [--collection FOLDER] [--drawn]

FOLDER holds a causal language model with a tokeniser, such as SmolLM2 of `make weights`. Inputs are
docstrings at their natural lengths, or documents of a folder in BEIR's layout, of each the first
200 tokens, in the prompt `answer-passage`. The peer is asked by each batch size of 1 to 32 once, in
the order of lengths, and the best is measured. All write as many tokens, greedily and whatever ends
there are; what two write must agree but for what follows a tie. `--drawn` has ours draw, at
temperature 1, beside its greedy self: what noise costs. On one thread the seconds are the CPU's.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging

from shardrank.core.arrays import Int32
from shardrank.core.protocols import Decoder
from shardrank.core.sampling import Sampling, draw_key
from shardrank.core.writer_settings import WriterSettings
from shardrank.models.forward.decoder import load_decoder
from shardrank.models.text_writer import TextWriter
from tests.bench.harness import Benchmark, Contender, Duel, measure, timed
from tests.bench.machine import machine
from tests.bench.pointwise_lm import PER_QUERY, make_work
from tests.bench.show import table
from tests.judges import language_of

BATCHES = (4, 8, 16, 32)
FIRST = 200
PEER, PADDED = "transformers generate", "transformers generate, batches"
OURS, DRAWN = "shardrank", "shardrank, drawn"
Answer = Sequence[Sequence[int]]


def distance(wanted: Answer, found: Answer) -> float:
    """The share of tokens from the first other one on."""
    same = np.array(wanted) == np.array(found)
    return 1 - float(np.logical_and.accumulate(same, axis=1).mean())


@dataclass(frozen=True)
class Work:
    """Prompts as tokens, and how many tokens are written behind each."""

    inputs: Sequence[Int32]
    tokens: int


def make_prompts(folder: Path, count: int, tokens: int, collection: Path | None) -> Work:
    """Of the first so many documents."""
    work = make_work(folder, -(-count // PER_QUERY), collection)
    texts = [text for own in work.passages for text in own][:count]
    language = language_of(folder, "answer-passage", None, 8192)  # type: ignore[arg-type]
    writer = TextWriter(language, WriterSettings(model=str(folder), prompt="answer-passage"))
    spans = language.tokeniser.encode(texts)
    first = [
        text[: int(each.places().ends[FIRST - 1])] if len(each.ids) > FIRST else text
        for text, each in zip(texts, spans, strict=True)
    ]
    return Work([writer.prompt(text) for text in first], tokens)


def ours(work: Work, decoder: Decoder, sampling: Sampling | None = None) -> Answer:
    """All in one call."""
    made = decoder.generate(work.inputs, work.tokens, frozenset(), sampling)
    return [each.tolist() for each in made]


@torch.inference_mode()
def theirs(work: Work, model: Any, batch: int) -> Answer:
    """Inputs of like lengths together, padded on the left."""
    asked = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, max_new_tokens=work.tokens, eos_token_id=None, pad_token_id=0
    )
    order = sorted(range(len(work.inputs)), key=lambda row: -len(work.inputs[row]))
    found: list[list[int]] = [[]] * len(order)
    for begin in range(0, len(order), batch):
        rows = order[begin : begin + batch]
        longest = len(work.inputs[rows[0]])
        ids, mask = torch.zeros((2, len(rows), longest), dtype=torch.int64)
        for place, row in enumerate(rows):
            ids[place, longest - len(work.inputs[row]) :] = torch.from_numpy(work.inputs[row])
            mask[place, longest - len(work.inputs[row]) :] = 1
        made = model.generate(ids, attention_mask=mask, generation_config=asked)
        for place, row in enumerate(rows):
            found[row] = made[place, longest:].tolist()
    return found


def benchmark(folder: Path, work: Work, threads: int, draws: bool) -> Benchmark:
    """The speeds."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # whose end would count
    clock = time.process_time if threads == 1 else time.perf_counter
    seconds = {batch: timed(partial(theirs, work, model, batch), clock) for batch in BATCHES}
    best = min(seconds, key=lambda batch: seconds[batch])
    decoder = load_decoder(folder, "fp32", False, "cpu", None)
    contenders = [
        Contender(PEER, partial(theirs, work, model, 1), None),
        Contender(f"{PADDED} of {best}", partial(theirs, work, model, best), 0.5),
        Contender(OURS, partial(ours, work, decoder), 0.5),
    ]
    duels = [
        Duel(OURS, PEER, floor=1.5, goal=3),
        Duel(OURS, contenders[1].name, floor=1.0, goal=1.5),
    ]
    if draws:
        keys = [draw_key(0, str(row), 0) for row in range(len(work.inputs))]
        drawn = partial(ours, work, decoder, Sampling(1.0, None, keys))
        contenders.append(Contender(DRAWN, drawn, None))
        duels.append(Duel(DRAWN, OURS, floor=0.5, goal=0.9))
    count = len(work.inputs)
    return Benchmark("writing LM", "texts", count, contenders, duels, distance, threads)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--inputs", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--collection", type=Path, help="a folder in BEIR's layout")
    parser.add_argument("--drawn", action="store_true")
    given = parser.parse_args()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(given.threads)
    console, clock = Console(), time.process_time if given.threads == 1 else time.perf_counter
    console.print(machine())
    work = make_prompts(given.folder, given.inputs, given.tokens, given.collection)
    lengths = [len(ids) for ids in work.inputs]
    console.print(f"prompts of {min(lengths)} to {max(lengths)} tokens, {given.tokens} written")
    speeds = benchmark(given.folder, work, given.threads, given.drawn)
    console.print(table(measure(speeds, given.rounds, clock)))


if __name__ == "__main__":
    main()
