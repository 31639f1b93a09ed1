"""Ingest: from JSON Lines to passages with tokens in Parquet, against a script with `datasets`.

Both read, refuse rows without id or text and ids that occur twice, hash the content, tokenise with
one tokeniser, cut windows of 256 tokens that overlap by 32, and write Parquet; one process, one
thread. Ours reads the source twice, and cuts between words; the script cuts where a window ends.
Ours remembers words, so the rows have as many distinct ones as text of their size has elsewhere:
66,000 in 5.5 MB of Wikipedia, as our splitting counts them.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import Any

import pyarrow.parquet as pq
from datasets import disable_caching, disable_progress_bars, load_dataset
from transformers import AutoTokenizer

from shardrank.core.model_settings import EncoderSettings
from shardrank.core.passage_settings import PassageSettings
from shardrank.core.settings import CorpusSettings, S3Settings
from shardrank.corpus.changes import compare
from shardrank.corpus.first_pass import scan_slice
from shardrank.corpus.parquet_bytes import encode_table
from shardrank.corpus.second_pass import cut_slice
from shardrank.corpus.slices import plan_slices
from shardrank.models.cards import read_encoder_card
from shardrank.models.folder.layout import read_layout
from shardrank.models.folder.resolve import resolve_model
from shardrank.models.text.tokens import load_tokeniser
from shardrank.stages.index.ingest import cut_rule
from shardrank.storage import Sources
from tests.bench.harness import Benchmark, Contender, Duel
from tests.bench.texts import documents

PEER, OURS = "datasets script", "shardrank"
WINDOW, OVERLAP, PART = 256, 32, 16_384


def benchmark(rows: int, folder: Path) -> Benchmark:
    """`rows` docstrings; each tenth is six of them in one, each hundredth an id that was there."""
    source = folder / "ingest.jsonl"
    write_rows(rows, source)
    contenders = [
        Contender(PEER, partial(script, source, folder / "script.parquet"), None),
        Contender(OURS, partial(ours, source, folder / "ours.parquet"), 0),
    ]
    duels = [Duel(OURS, PEER, floor=1, goal=2)]
    return Benchmark("ingest", "rows", rows, contenders, duels, differing)


def write_rows(rows: int, path: Path) -> None:
    texts, random = documents(5_000), Random(7)
    with open(path, "w", encoding="utf-8") as file:
        for number in range(rows):
            chosen = [texts[(number + i) % len(texts)] for i in range(6 if number % 10 == 0 else 1)]
            key = number - 50 if number % 100 == 99 else number
            row = {
                "_id": f"d{key}",
                "title": "",
                "text": _with_rare_words(" ".join(chosen), random),
            }
            file.write(json.dumps(row) + "\n")


def _with_rare_words(text: str, random: Random) -> str:
    """One word of sixteen becomes one that is met once."""
    words = text.split(" ")
    for at in range(8, len(words), 16):
        words[at] = "".join(random.choices(ascii_lowercase, k=max(4, len(words[at]))))
    return " ".join(words)


def differing(wanted: frozenset[str], found: frozenset[str]) -> float:
    """The share of documents that only one of both has."""
    return len(wanted ^ found) / len(wanted)


def ours(source: Path, out: Path) -> frozenset[str]:
    """What the scan, compare and ingest stages do with one slice."""
    settings, sources = CorpusSettings(), Sources(S3Settings())
    opener = sources.open
    [piece] = plan_slices(sources.list(str(source)), opener, 1 << 30)
    scanned = scan_slice(piece, opener, settings)
    skips = compare([(0, scanned.keys)], [], "snapshot", ()).skips["row"].to_pylist()
    tokeniser = load_tokeniser(read_layout(resolve_model("embedded", None)))
    rule = cut_rule(PassageSettings(), read_encoder_card(EncoderSettings()), tokeniser.specials)
    found: set[str] = set()
    for part in cut_slice(piece, opener, settings, rule, tokeniser, frozenset(skips), PART):
        out.write_bytes(encode_table(part.passages))
        found |= set(part.passages["doc_id"].to_pylist())
    return frozenset(found)


def script(source: Path, out: Path) -> frozenset[str]:
    """As a careful user would write it."""
    disable_caching()
    disable_progress_bars()
    tokeniser = AutoTokenizer.from_pretrained(resolve_model("embedded", None))
    rows = load_dataset("json", data_files=str(source), split="train")
    rows = rows.filter(_good, batched=True, fn_kwargs={"seen": set()})
    cut = partial(_windows, tokeniser)
    rows = rows.map(cut, batched=True, batch_size=256, remove_columns=rows.column_names)
    rows.to_parquet(str(out))
    return frozenset(pq.read_table(out, columns=["doc_id"])["doc_id"].to_pylist())


def _good(batch: dict[str, list[Any]], seen: set[str]) -> list[bool]:
    kept = []
    for key, text in zip(batch["_id"], batch["text"], strict=True):
        good = bool(key) and bool(text and text.strip()) and key not in seen
        seen.add(key)
        kept.append(good)
    return kept


def _windows(tokeniser: Any, batch: dict[str, Sequence[str]]) -> dict[str, list[Any]]:
    made = tokeniser(
        batch["text"],
        truncation=True,
        max_length=WINDOW,
        stride=OVERLAP,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    owners = made["overflow_to_sample_mapping"]
    spans = [_span(offsets) for offsets in made["offset_mapping"]]
    texts = [batch["text"][o][begin:end] for o, (begin, end) in zip(owners, spans, strict=True)]
    digests = [hashlib.sha256(text.encode()).hexdigest() for text in batch["text"]]
    return {
        "doc_id": [batch["_id"][owner] for owner in owners],
        "text": texts,
        "tokens": [ids[1:-1] for ids in made["input_ids"]],
        "content_hash": [digests[owner] for owner in owners],
    }


def _span(offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Where a window's text begins and ends; its first and last tokens are special."""
    return offsets[1][0], offsets[-2][1]
