"""ingest: the good rows of every slice become passages, tokenised once, in immutable parts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.core.schemas import REJECTED
from pipelines.core.settings import CorpusSettings, EncoderSettings, PassageSettings
from pipelines.core.units import Done, FileRef, Unit
from pipelines.corpus.cut import Part as CutPart
from pipelines.corpus.cut import cut_slice
from pipelines.corpus.parts import encode_table
from pipelines.corpus.passages import CutRule
from pipelines.corpus.scan import DUPLICATES
from pipelines.corpus.slices import Slice
from pipelines.models.card import EncoderCard
from pipelines.models.loading import check_fingerprint
from pipelines.models.resolve import resolve_model
from pipelines.models.tokens import load_tokeniser
from pipelines.stages.runner import Context, run_stage
from pipelines.stages.scan import Scanned
from pipelines.stages.sweep import Step, Tables
from pipelines.stages.workspace import Result, Workspace
from pipelines.storage import open_source

#: Passage lengths are counted in classes this many tokens wide.
LENGTH_STEP = 16


def ingest(context: Context, scanned: Scanned, card: EncoderCard, part_size: int) -> list[Done]:
    """Cut every slice into parts; the markers' outputs named part-N are the parts' passages."""
    units = plan_ingest(context, scanned, card, part_size)
    make = partial(Ingest, context.workspace, context.settings.encoder)
    return run_stage(context, "ingest", units, [Step(make)])


def plan_ingest(
    context: Context, scanned: Scanned, card: EncoderCard, part_size: int
) -> list[Unit]:
    """One unit a slice; it is named from the slice, its duplicates and the rule of cutting."""
    settings = context.settings
    tokeniser = load_tokeniser(resolve_model(settings.encoder.model, settings.encoder.revision))
    rule = cut_rule(settings.passages, card, tokeniser.specials)
    common = {
        "corpus": settings.corpus.deciding(),
        "rule": asdict(rule),
        "tokeniser": card.tokeniser_fingerprint,
        "part_size": part_size,
    }
    return [
        Unit("ingest", {"slice": s.json(), "duplicates": _duplicates(scanned, n), **common})
        for n, s in enumerate(scanned.slices)
    ]


def _duplicates(scanned: Scanned, ordinal: int) -> dict[str, Any]:
    refs = [ref.json() for ref in scanned.duplicates_of(ordinal)]
    return {"slice": ordinal, "files": refs} if refs else {}


def cut_rule(settings: PassageSettings, card: EncoderCard, specials: int) -> CutRule:
    """The rule of cutting: passages never exceed what the encoder reads."""
    limit = min(settings.max_tokens or card.max_tokens, card.max_tokens)
    return CutRule(
        max_tokens=limit,
        specials=specials,
        overlap=min(settings.overlap, limit // 2),
        split=settings.split,
        prompt=card.document_prompt,
    )


def default_part_size(corpus_bytes: int) -> int:
    """Passages in a part: about 32 parts of ~1 kB passages, a power of two from 512 to 16,384.

    Few enough that a part costs nothing to keep, enough that a kill loses little.
    """
    wanted = max(1, corpus_bytes // 1000 // 32)
    return min(16_384, max(512, 1 << (wanted.bit_length() - 1)))


@dataclass(frozen=True)
class Ingest:
    """A slice → its parts. A part is named from its content, so equal text is equal parts."""

    workspace: Workspace
    encoder: EncoderSettings

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        duplicates = self._duplicates(unit)
        outputs: dict[str, FileRef] = {}
        rejected, counts = [_as_rejected(duplicates, unit)], Counter[str]()
        lengths = Counter[int]()
        for number, part in enumerate(self._cut(unit, frozenset(duplicates["row"].to_pylist()))):
            rejected.append(part.rejected)
            if part.passages.num_rows:
                outputs[f"part-{number:05d}"] = self._write(part.passages)
                counts.update(_counts(part.passages))
                lengths.update(_lengths(part.passages))
        table = pa.concat_tables(rejected)
        key = self.workspace.scratch(unit, "rejected.parquet")
        outputs["rejected"] = self.workspace.write_table(key, table)
        facts = {"lengths": {str(low): lengths[low] for low in sorted(lengths)}}
        return Result(outputs, {**counts, "rejected": table.num_rows}, facts)

    def _write(self, passages: pa.Table) -> FileRef:
        data = encode_table(passages)
        return self.workspace.write_content("parts/{}/passages.parquet", data, passages.num_rows)

    def _cut(self, unit: Unit, skip_rows: frozenset[int]) -> Iterator[CutPart]:
        tokeniser = load_tokeniser(resolve_model(self.encoder.model, self.encoder.revision))
        check_fingerprint(self.encoder.model, unit.spec["tokeniser"], tokeniser.fingerprint)
        return cut_slice(
            Slice.parse(unit.spec["slice"]),
            open_source,
            CorpusSettings(**unit.spec["corpus"]),
            CutRule(**unit.spec["rule"]),
            tokeniser,
            skip_rows,
            unit.spec["part_size"],
        )

    def _duplicates(self, unit: Unit) -> pa.Table:
        spec = unit.spec["duplicates"]
        refs = [FileRef.parse(ref) for ref in spec.get("files", [])]
        tables = [self.workspace.read_table(ref) for ref in refs]
        mine = [t.filter(pc.equal(t["slice"], spec["slice"])) for t in tables]
        return pa.concat_tables([DUPLICATES.empty_table(), *mine]).select(["row", "doc_id"])


def parts_of(dones: Sequence[Done]) -> Iterator[FileRef]:
    """The passages of every part, in the order of the corpus."""
    for done in dones:
        yield from (ref for name, ref in sorted(done.outputs.items()) if name.startswith("part-"))


def _as_rejected(duplicates: pa.Table, unit: Unit) -> pa.Table:
    rows = [
        {"source": unit.spec["slice"]["uri"], **row, "stage": "scan", "reason": "duplicate_id"}
        for row in duplicates.to_pylist()
    ]
    return pa.Table.from_pylist(rows, REJECTED)


def _counts(part: pa.Table) -> dict[str, int]:
    return {
        "rows": part.num_rows,
        "documents": pc.sum(pc.equal(part["passage"], 0)).as_py(),
        "truncated": pc.sum(part["truncated"]).as_py(),
        "tokens": pc.sum(pc.list_value_length(part["tokens"])).as_py(),
    }


def _lengths(part: pa.Table) -> dict[int, int]:
    """Passages by token count, in classes LENGTH_STEP wide named by their lower bound."""
    sizes = pc.list_value_length(part["tokens"]).to_numpy()
    lows, counts = np.unique(sizes // LENGTH_STEP * LENGTH_STEP, return_counts=True)
    return {int(low): int(count) for low, count in zip(lows, counts, strict=True)}
