"""Training examples: a query, the passage that answers it, and the passages the bi-encoder mistakes
for it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from infra.reranker.encoding import BiEncoder, top_k
from shardrank.corpus.stdlib import StdlibPassage, held_out, known_item_queries

NEAR_DUPLICATE = 0.95  # cosine between two passages above which the second is no honest negative
MINED = 40
EASY = 12  # random negatives among them: hard ones alone teach matching too slowly
MEDQUAD_QUERIES = 4000
DEV_QUERIES = 150
_ALSO_CALLED = re.compile(r"\s*\(Also called:.*\)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class Example:
    """One query and rows of its collection's passages, the right one first; ``cosines`` runs
    parallel to ``rows``.
    """

    query: str
    rows: tuple[int, ...]
    cosines: tuple[float, ...]


@dataclass(frozen=True)
class Collection:
    """Passages and the examples over them. ``licence`` is recorded beside the weights."""

    name: str
    licence: str
    passages: list[str]
    examples: list[Example]


@dataclass(frozen=True)
class Question:
    """A query, the row of its answer, and rows that may not serve as negatives."""

    text: str
    answer: int
    barred: frozenset[int]


def dev_module(module: str) -> bool:
    """Whether a training module is kept for choosing settings; a twelfth of the queries are."""
    top = module.partition(".")[0].lstrip("_")
    return not held_out(module) and (len(top) + ord(top[0])) % 7 == 0


def passage_text(title: str, text: str) -> str:
    """What an encoder reads of a passage."""
    return f"{title} {text}" if title else text


def stdlib_collection(
    passages: Sequence[StdlibPassage], encoder: BiEncoder, *, dev: bool
) -> Collection:
    """Known items of the training modules, or of those among them kept for choosing settings."""
    rows = {passage.doc_id: row for row, passage in enumerate(passages)}
    questions = [
        Question(query.text, rows[query.doc_id], frozenset())
        for query in known_item_queries(list(passages), test=False)
        if dev_module(query.doc_id) == dev
    ]
    if dev:
        questions = random.Random(0).sample(questions, min(DEV_QUERIES, len(questions)))
    texts = [passage.text for passage in passages]
    examples = mine(texts, questions, encoder, dev=dev)
    return Collection("stdlib-dev" if dev else "stdlib", "PSF-2.0", texts, examples)


def medquad_collection(folder: Path, encoder: BiEncoder, seed: int) -> Collection:
    """Two queries for each answer: its FAQ question, and a sentence taken out of it (an inverse
    cloze task).

    The questions come from some forty templates; the sentences bring variety (Lee et al. 2019,
    arXiv:1906.00300). Other answers to the same question are no negatives.
    """
    documents = [
        json.loads(line)
        for line in (folder / "corpus.jsonl").read_text("utf-8").strip().split("\n")
    ]
    titles = [_ALSO_CALLED.sub("", row["title"]).replace(" ?", "?") for row in documents]
    pairs = [
        _cloze(_without_question(row["text"]), random.Random(f"{seed} {row['_id']}"))
        for row in documents
    ]
    same: dict[str, set[int]] = {}
    for row, title in enumerate(titles):
        same.setdefault(title.casefold(), set()).add(row)
    questions = [Question(t, row, frozenset(same[t.casefold()])) for row, t in enumerate(titles)]
    questions += [Question(s, row, frozenset()) for row, (s, _) in enumerate(pairs) if s]
    questions = random.Random(seed).sample(questions, min(MEDQUAD_QUERIES, len(questions)))
    texts = [rest for _, rest in pairs]
    return Collection("medquad", "CC-BY-4.0", texts, mine(texts, questions, encoder))


def mine(
    texts: list[str], questions: list[Question], encoder: BiEncoder, dev: bool = False
) -> list[Example]:
    """Pair every question with its best-ranked wrong passages, and for training a few random ones.

    ``dev`` keeps near duplicates, which retrieval finds too, and takes no random ones.
    """
    documents = encoder(texts)  # float32[passages, 384]
    queries = encoder([question.text for question in questions])  # float32[questions, 384]
    examples = []
    for start in range(0, len(questions), 512):
        found, _ = top_k(queries[start : start + 512], documents, MINED + 10)
        for offset, question in enumerate(questions[start : start + 512]):
            alike = documents[found[offset]] @ documents[question.answer]
            wrong = [
                int(row)
                for row, likeness in zip(found[offset], alike, strict=True)
                if row != question.answer
                and row not in question.barred
                and (dev or likeness < NEAR_DUPLICATE)
                and texts[row] != texts[question.answer]
            ]
            easy = [] if dev else _easy(question, len(texts))
            rows = (question.answer, *wrong[: MINED - len(easy)], *easy)
            cosines = documents[list(rows)] @ queries[start + offset]
            examples.append(Example(question.text, rows, tuple(map(float, np.round(cosines, 5)))))
    return examples


def _easy(question: Question, passages: int) -> list[int]:
    drawn = random.Random(question.text).sample(range(passages), min(EASY, passages))
    return [row for row in drawn if row != question.answer and row not in question.barred]


def _without_question(text: str) -> str:
    """Drop a first sentence that repeats the question: matching it would teach nothing."""
    first, _, rest = text.partition("? ")
    return rest if rest and len(first) < 150 and "." not in first else text


def _cloze(text: str, rng: random.Random) -> tuple[str, str]:
    """Take one of the sentences 2 to 8 out of a text. Returns (sentence, remaining text); no
    sentence, no change.
    """
    sentences = _SENTENCE.split(text)
    fit = [i for i in range(1, min(8, len(sentences) - 1)) if 6 <= len(sentences[i].split()) <= 30]
    if not fit:
        return "", text
    chosen = rng.choice(fit)
    return sentences[chosen], " ".join(sentences[:chosen] + sentences[chosen + 1 :])
