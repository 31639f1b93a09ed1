"""ingest: the good rows of every slice become passages, tokenised once, in immutable parts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from shardrank.core.schemas import REJECTED
from shardrank.core.settings import CorpusSettings, EncoderSettings, PassageSettings
from shardrank.core.units import Done, FileRef, Unit
from shardrank.corpus.passages import CutRule
from shardrank.corpus.second_pass import CutPart, cut_slice
from shardrank.corpus.slices import Slice
from shardrank.models.cards import EncoderCard, check_fingerprint
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.text.tokens import load_tokeniser
from shardrank.stages.index.compare import Compared, rows_of
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.sweep import Step, Tables
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_files import PartFiles, write_part
from shardrank.storage import Sources


@dataclass(frozen=True)
class Cutting:
    """What decides how documents are cut: the encoder's card, and passages in a part."""

    card: EncoderCard
    part_size: int


def ingest(
    context: Context, slices: Sequence[Slice], compared: Compared, how: Cutting
) -> list[Done]:
    """Cut what is new into parts: outputs part-N and keys-N of a marker are a part's files."""
    units = plan_ingest(context, slices, compared, how)
    settings = context.settings
    make = partial(Ingest, context.workspace, Sources(settings.s3), settings.encoder)
    return run_stage(context, "ingest", units, [Step(make)])


def plan_ingest(
    context: Context, slices: Sequence[Slice], compared: Compared, how: Cutting
) -> list[Unit]:
    """One unit a slice with new rows; it is named from slice, rows to skip and rule of cutting."""
    settings = context.settings
    tokeniser = load_tokeniser(read_encoder_folder(settings.encoder).towers.documents.source)
    rule = cut_rule(settings.passages, how.card, tokeniser.specials)
    common = {
        "corpus": settings.corpus.deciding(),
        "rule": asdict(rule),
        "tokeniser": how.card.tokeniser_fingerprint,
        "part_size": how.part_size,
    }
    return [
        Unit("ingest", {"slice": piece.json(), "skips": _skips(compared, n), **common})
        for n, piece in enumerate(slices)
        if compared.taken(n)
    ]


def _skips(compared: Compared, ordinal: int) -> dict[str, Any]:
    refs = [ref.json() for ref in compared.skips_of(ordinal)]
    return {"slice": ordinal, "files": refs} if refs else {}


def passage_limit(settings: PassageSettings, card: EncoderCard) -> int:
    """Tokens in a passage: as set, and never more than the encoder reads."""
    return min(settings.max_tokens or card.max_tokens, card.max_tokens)


def passage_overlap(settings: PassageSettings, limit: int) -> int:
    """Tokens that two neighbours share: as set, and at most half of a passage."""
    return min(settings.overlap, limit // 2)


def cut_rule(settings: PassageSettings, card: EncoderCard, specials: int) -> CutRule:
    """The rule of cutting: passages never exceed what the encoder reads."""
    limit = passage_limit(settings, card)
    return CutRule(
        max_tokens=limit,
        specials=specials,
        overlap=passage_overlap(settings, limit),
        split=settings.split,
        prompt=card.document_prompt,
    )


@dataclass(frozen=True)
class Ingest:
    """A slice → its parts. A part is named from its content, so equal text is equal parts."""

    workspace: Workspace
    sources: Sources
    encoder: EncoderSettings

    def __call__(self, unit: Unit, tables: Tables) -> Result:
        outputs: dict[str, FileRef] = {}
        rejected, counts = [REJECTED.empty_table()], Counter[str]()
        for number, part in enumerate(self._cut(unit)):
            rejected.append(part.rejected)
            if part.passages.num_rows:
                files = write_part(self.workspace, part.passages)
                outputs |= {f"part-{number:05d}": files.passages, f"keys-{number:05d}": files.keys}
                counts.update(rows=files.passages.rows, documents=files.keys.rows)
        table = pa.concat_tables(rejected)
        outputs["rejected"] = self.workspace.write_scratch(unit, "rejected.parquet", table)
        return Result(outputs, {**counts, "rejected": table.num_rows}, {})

    def _cut(self, unit: Unit) -> Iterator[CutPart]:
        tokeniser = load_tokeniser(read_encoder_folder(self.encoder).towers.documents.source)
        check_fingerprint(self.encoder.model, unit.spec["tokeniser"], tokeniser.fingerprint)
        return cut_slice(
            Slice.parse(unit.spec["slice"]),
            self.sources.open,
            CorpusSettings(**unit.spec["corpus"]),
            CutRule(**unit.spec["rule"]),
            tokeniser,
            self._skipped(unit.spec["skips"]),
            unit.spec["part_size"],
        )

    def _skipped(self, spec: dict[str, Any]) -> frozenset[int]:
        if not spec:
            return frozenset()
        refs = [FileRef.parse(ref) for ref in spec["files"]]
        rows = rows_of(self.workspace, refs, "slice", spec["slice"])
        return frozenset(rows["row"].to_pylist())


def parts_of(dones: Sequence[Done]) -> Iterator[PartFiles]:
    """Passages and keys of every part, in the order of the corpus."""
    for done in dones:
        numbers = sorted(name[5:] for name in done.outputs if name.startswith("part-"))
        files = ((done.outputs[f"part-{n}"], done.outputs[f"keys-{n}"]) for n in numbers)
        yield from (PartFiles(*pair) for pair in files)
