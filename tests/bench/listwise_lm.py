"""Listwise reranking by the logits of the answer's first token against writing the whole order.

python -m tests.bench.listwise_lm FOLDER [--queries 2] [--rounds 3] [--threads 1]
    [--collection FOLDER]

FOLDER holds a causal language model with a tokeniser, such as SmolLM2 of `make weights`. A query
has 20 passages in one window: docstrings at their natural lengths, or the documents of a folder in
BEIR's layout. All are asked by the same prompt. The peer is transformers' `generate`, greedily and
with its cache, as many tokens as an order of 20 identifiers has; beside it our own decoder writes
as many. The orders by the first token's logits must agree, and so must what the two write, but for
what follows a tie. On one thread the seconds are the CPU's, which other work on the machine
changes less.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.utils import logging

from shardrank.core.arrays import Float32, Int32
from shardrank.core.protocols import Decoder, ListReranker
from shardrank.core.reranker_settings import ListwiseSettings
from shardrank.models.forward.decoder import load_decoder
from shardrank.models.rerankers.identifiers import Identifiers, identifiers, opening, shown_as
from shardrank.models.rerankers.language import Language
from shardrank.models.rerankers.listwise import make_listwise
from shardrank.models.rerankers.writing import asking_list
from shardrank.orders.by_score import by_score
from tests.bench.harness import Benchmark, Contender, Duel, measure
from tests.bench.machine import machine
from tests.bench.pointwise_lm import PER_QUERY, Work, make_work
from tests.bench.show import table
from tests.judges import language_of

LIMIT = 8192
PROMPT = "order"
OURS, WRITTEN, PEER = "shardrank, by logits", "shardrank, generated", "transformers generate"


@dataclass(frozen=True)
class Answer:
    """What a contender says of all queries.

    Attributes:
        scores: float32[queries · 20], minus the ranks; none where only the text is looked at.
        tokens: int32[queries, n] that were written; none where none were.
    """

    scores: Float32 | None = None
    tokens: Int32 | None = None


def distance(wanted: Answer, found: Answer) -> float:
    """The largest difference of two ranks, else the share of tokens from the first other one on."""
    if wanted.scores is not None and found.scores is not None:
        return float(np.abs(wanted.scores - found.scores).max())
    assert wanted.tokens is not None
    assert found.tokens is not None
    same = np.logical_and.accumulate(wanted.tokens == found.tokens, axis=1)
    return 1 - float(same.mean())


@dataclass(frozen=True)
class Prompts:
    """What is asked.

    Attributes:
        inputs: int32 tokens of the prompt of each query.
        known: what the passages are called.
        written: tokens of an order of them all.
    """

    inputs: list[Int32]
    known: Identifiers
    written: int

    @classmethod
    def of(cls, work: Work, settings: ListwiseSettings, language: Language) -> "Prompts":
        """As the family asks."""
        asking = asking_list(settings, language, opening(language.prompt))
        known = identifiers(language, PER_QUERY)
        asked = [
            asking.about(query, own, known.names, answer=0)
            for query, own in zip(work.queries, work.passages, strict=True)
        ]
        inputs = [each.input for each in asked if each is not None]
        order = " > ".join(shown_as(language.prompt, known.names))
        return cls(inputs, known, len(language.tokeniser.encode([order])[0].ids))


def ours(work: Work, reranker: ListReranker) -> Answer:
    """The family's own way, from texts."""
    pairs = zip(work.queries, work.passages, strict=True)
    return Answer(np.concatenate([reranker.rank(query, own).scores for query, own in pairs]))


def written(prompts: Prompts, decoder: Decoder) -> Answer:
    """Our decoder writes the order."""
    none: frozenset[int] = frozenset()
    made = [decoder.generate([ids], prompts.written, none)[0] for ids in prompts.inputs]
    return Answer(tokens=np.array(made))


@torch.inference_mode()
def generated(prompts: Prompts, model: Any) -> Answer:
    """transformers writes the order, and shows the logits of its first token."""
    asked = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        use_cache=True,
        max_new_tokens=prompts.written,
        eos_token_id=None,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    scores, tokens = [], []
    for ids in prompts.inputs:
        rows = torch.from_numpy(ids.astype(np.int64))[None]
        made = model.generate(rows, attention_mask=torch.ones_like(rows), generation_config=asked)
        order = by_score(made.logits[0][0, prompts.known.tokens].numpy())
        ranks = np.empty(len(order), np.float32)
        ranks[order] = -np.arange(1, len(order) + 1)
        scores.append(ranks)
        tokens.append(made.sequences[0, len(ids) :].numpy().astype(np.int32))
    return Answer(np.concatenate(scores), np.array(tokens))


def benchmark(work: Work, threads: int, say: Callable[[str], None]) -> Benchmark:
    """The speeds."""
    settings = ListwiseSettings.model_validate({"model": str(work.folder)})
    decoder = load_decoder(work.folder, "fp32", False, "cpu", None)
    language = language_of(work.folder, PROMPT, decoder, LIMIT)
    prompts = Prompts.of(work, settings, language)
    say(f"prompts of {[len(ids) for ids in prompts.inputs]} tokens, answers of {prompts.written}")
    model = AutoModelForCausalLM.from_pretrained(work.folder, dtype=torch.float32)
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # whose end would count
    contenders = [
        Contender(PEER, partial(generated, prompts, model), None),
        Contender(WRITTEN, partial(written, prompts, decoder), 0.5),
        Contender(OURS, partial(ours, work, make_listwise(settings, language)), 1),
    ]
    duels = [Duel(OURS, PEER, floor=1.5, goal=3), Duel(OURS, WRITTEN, floor=1.2, goal=1.5)]
    count = len(prompts.inputs)
    return Benchmark("listwise LM", "windows", count, contenders, duels, distance, threads)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--collection", type=Path, help="a folder in BEIR's layout")
    given = parser.parse_args()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(given.threads)
    console, clock = Console(), time.process_time if given.threads == 1 else time.perf_counter
    console.print(machine())
    work = make_work(given.folder, given.queries, given.collection)
    measured = measure(benchmark(work, given.threads, console.print), given.rounds, clock)
    console.print(table(measured))


if __name__ == "__main__":
    main()
