"""Cutting by structure, beside windows of tokens and beside splitters that keep to the same limit.

All get texts and give the pieces of each, of 256 tokens at most with special ones, by one
tokeniser, in one process and thread. Ours and the windows also give the pieces' tokens, which are
what is embedded; the others count tokens and throw them away. Texts in Markdown and HTML are the
same ones, with what we take for headings and paragraphs of the plain texts marked as such.

python -m tests.bench.cutting [CORPUS] [--documents 1000] [--rounds 5]: of a corpus's Parquet file,
or of docstrings, in seconds of the process.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from shardrank.core.passage_settings import CutBy, Markup
from shardrank.corpus.cut_rule import CutRule
from shardrank.corpus.cutting import cut_documents
from shardrank.corpus.plain_text import read_plain
from shardrank.corpus.validate import Document
from shardrank.models.folder.layout import read_layout
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser
from tests.bench.harness import Benchmark, Contender, Duel, measure
from tests.bench.show import table
from tests.bench.texts import documents

WINDOWS, WINDOW, OVERLAP = "token windows", 256, 32
WAYS: tuple[CutBy, ...] = ("sentences", "paragraphs", "headings")
#: How much a document may cost more than windows do, and how much less than with a peer.
MOST, LEAST = 1.3, 2.0
_LANGCHAIN, _SEMANTIC = "langchain-text-splitters", "semantic-text-splitter"
#: Ways that are held to peers of plain texts.
DUELLED = ("sentences", "headings")
Cut = Callable[[], int]
Split = Callable[[str], Sequence[Any]]


def docstrings() -> list[str]:
    """Texts of six docstrings of the standard library each."""
    return ["\n\n".join(six) for six in _sixes(documents(5_000))]


def _sixes(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[at : at + 6] for at in range(0, len(texts), 6))


def benchmark(texts: Sequence[str]) -> Benchmark:
    """Of texts; the peers as far as they are installed."""
    tokeniser = load_tokeniser(read_layout(resolve_model("embedded", None)))
    rule = CutRule(WINDOW, OVERLAP, split=True, prompt="", specials=tokeniser.specials)
    ours = {WINDOWS: rule, **{f"by {way}": replace(rule, by=way, rules=1) for way in WAYS}}
    heads = replace(rule, by="headings", rules=1)
    ours |= {f"{kind} by headings": replace(heads, markup=kind) for kind in MARKED}
    marked = {kind: write(texts) for kind, write in MARKED.items()}
    ways: dict[str, Cut] = {
        name: partial(_ours, tokeniser, how, marked.get(how.markup, texts))
        for name, how in ours.items()
    }
    peers = {name: partial(_theirs, split, texts) for name, split in _peers(tokeniser).items()}
    outlined = {
        name: partial(_theirs, split, marked["markdown"])
        for name, split in _outlined_peers(tokeniser).items()
    }
    every = (ways | peers | outlined).items()
    made = [Contender(name, cut, None) for name, cut in every]
    duels = [Duel(name, WINDOWS, floor=1 / MOST, goal=1) for name in ways if name != WINDOWS]
    duels += [Duel(f"by {way}", peer, floor=LEAST, goal=10) for way in DUELLED for peer in peers]
    duels += [Duel("markdown by headings", peer, floor=LEAST, goal=10) for peer in outlined]
    return Benchmark("cutting", "documents", len(texts), made, duels, lambda one, other: 0.0)


def as_markdown(texts: Sequence[str]) -> list[str]:
    """With # before what we take for headings."""
    return [
        "\n\n".join(f"{'#' * level} {words}".strip() for words, level in each)
        for each in _blocks(texts)
    ]


def as_html(texts: Sequence[str]) -> list[str]:
    """Likewise between tags."""
    tags = ["p", *(f"h{level}" for level in range(1, 7))]
    return [
        "".join(f"<{tags[level]}>{escape(words)}</{tags[level]}>\n" for words, level in each)
        for each in _blocks(texts)
    ]


def _blocks(texts: Sequence[str]) -> Iterator[list[tuple[str, int]]]:
    """The blocks of each text, and the level of each, 0: it is no heading."""
    for text in texts:
        outlines = read_plain([text], True)
        words = iter(outlines.words)
        columns = (each.tolist() for each in outlines.blocks)
        yield [
            (next(words), min(level, 6)) if level > 0 else (text[begin:end], 0)
            for begin, end, level in zip(*columns, strict=True)
        ]


MARKED: dict[Markup, Callable[[Sequence[str]], list[str]]] = {
    "markdown": as_markdown,
    "html": as_html,
}


def _ours(tokeniser: FastTokeniser, rule: CutRule, texts: Sequence[str]) -> int:
    rows = [Document(n, str(n), "", text) for n, text in enumerate(texts)]
    batches = (rows[at : at + 1024] for at in range(0, len(rows), 1024))
    return sum(len(each) for batch in batches for each in cut_documents(batch, tokeniser, rule))


def _peers(tokeniser: FastTokeniser) -> dict[str, Split]:
    """Of plain texts."""
    found: dict[str, Split] = {}
    room, backend = WINDOW - tokeniser.specials, tokeniser.bare()._backend
    if find_spec("langchain_text_splitters"):
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        langchain = RecursiveCharacterTextSplitter(
            separators=["\n\n", "\n", ". ", " ", ""],
            chunk_size=room,
            chunk_overlap=OVERLAP,
            length_function=partial(_tokens, backend),
        )
        found[_LANGCHAIN] = langchain.split_text
    if find_spec("semantic_text_splitter"):
        from semantic_text_splitter import TextSplitter

        semantic = TextSplitter.from_huggingface_tokenizer(backend, room, OVERLAP)
        found[_SEMANTIC] = semantic.chunks
    return found


def _outlined_peers(tokeniser: FastTokeniser) -> dict[str, Split]:
    """Of texts in Markdown, by headings, and then as the others."""
    found: dict[str, Split] = {}
    room, backend = WINDOW - tokeniser.specials, tokeniser.bare()._backend
    if find_spec("langchain_text_splitters"):
        from langchain_text_splitters import MarkdownHeaderTextSplitter

        heads = MarkdownHeaderTextSplitter([("#" * n, f"h{n}") for n in range(1, 7)])
        split = _peers(tokeniser)[_LANGCHAIN]

        def langchain(text: str) -> list[str]:
            sections = heads.split_text(text)
            return [piece for each in sections for piece in split(each.page_content)]

        found[f"{_LANGCHAIN} of Markdown"] = langchain
    if find_spec("semantic_text_splitter"):
        from semantic_text_splitter import MarkdownSplitter

        semantic = MarkdownSplitter.from_huggingface_tokenizer(backend, room, OVERLAP)
        found[f"{_SEMANTIC} of Markdown"] = semantic.chunks
    return found


def _tokens(backend: Any, text: str) -> int:
    return len(backend.encode(text, add_special_tokens=False).ids)


def _theirs(split: Split, texts: Sequence[str]) -> int:
    return sum(len(split(text)) for text in texts)


def main() -> None:
    """Measure and print, in seconds of the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path, nargs="?")
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    rows = pq.read_table(asked.corpus)["text"].to_pylist() if asked.corpus else docstrings()
    found = measure(benchmark(rows[: asked.documents]), asked.rounds, time.process_time)
    Console().print(table(found))


if __name__ == "__main__":
    main()
