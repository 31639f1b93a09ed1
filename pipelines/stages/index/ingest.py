"""ingest: the good rows of every slice become passages, tokenised once, in immutable parts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import pyarrow as pa
import pyarrow.compute as pc

from shardrank.core.cards import EncoderCard
from shardrank.core.files import FileRef
from shardrank.core.model_settings import EncoderSettings
from shardrank.core.passage_settings import PassageSettings
from shardrank.core.protocols import SentenceVectors
from shardrank.core.schemas import REJECTED
from shardrank.core.settings import CorpusSettings
from shardrank.core.settings_base import DECIDING
from shardrank.core.tally import spend
from shardrank.core.units import Done, Stage, Unit
from shardrank.corpus.cut_rule import CutRule
from shardrank.corpus.second_pass import CutPart, cut_slice
from shardrank.corpus.slices import Slice
from shardrank.models.cards import check_fingerprint
from shardrank.models.encoders.sentence_table import load_sentences, sentence_card
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.text.tokens import load_tokeniser
from shardrank.stages.index.compare import Compared, rows_of
from shardrank.stages.run.hosts import Step, Tables
from shardrank.stages.run.runner import Context, run_stage
from shardrank.stages.run.workspace import Result, Workspace
from shardrank.stages.shared.part_files import PartFiles, write_part
from shardrank.storage import Sources


@dataclass(frozen=True)
class Cutting:
    """What decides how documents are cut: the encoder's card, and passages in a part."""

    card: EncoderCard
    part_size: int


@dataclass(frozen=True)
class SkippedRows:
    """Rows of a slice that are passed over, by its ordinal, in files that `compare` grouped."""

    slice: int
    files: tuple[FileRef, ...]


@dataclass(frozen=True)
class IngestSpec:
    """A slice, the rows of it that are no news, and how the others are read and cut."""

    slice: Slice
    skips: SkippedRows | None
    corpus: Annotated[CorpusSettings, DECIDING]
    rule: CutRule
    tokeniser: str
    part_size: int


@dataclass(frozen=True)
class Ingested:
    """A slice's parts, in the order of its rows; and REJECTED."""

    parts: tuple[PartFiles, ...]
    rejected: FileRef


INGEST = Stage("ingest", IngestSpec, Ingested)


def ingest(
    context: Context, slices: Sequence[Slice], compared: Compared, how: Cutting
) -> list[Done[Ingested]]:
    """Cut what is new into parts; a unit a slice."""
    specs = plan_ingest(context, slices, compared, how)
    settings = context.settings
    sources = Sources(settings.s3)
    make = partial(Ingest, context.workspace, sources, settings.dense, settings.passages)
    return run_stage(context, INGEST, specs, [Step(make)])


def plan_ingest(
    context: Context, slices: Sequence[Slice], compared: Compared, how: Cutting
) -> list[IngestSpec]:
    """Of each slice with new rows."""
    settings = context.settings
    tokeniser = load_tokeniser(read_encoder_folder(settings.dense).towers.documents.source)
    rule = cut_rule(settings.passages, how.card, tokeniser.specials)
    return [
        IngestSpec(
            slice=piece,
            skips=_skips(compared, n),
            corpus=settings.corpus,
            rule=rule,
            tokeniser=how.card.tokeniser_fingerprint,
            part_size=how.part_size,
        )
        for n, piece in enumerate(slices)
        if compared.taken(n)
    ]


def _skips(compared: Compared, ordinal: int) -> SkippedRows | None:
    files = tuple(compared.skips_of(ordinal))
    return SkippedRows(ordinal, files) if files else None


def passage_limit(settings: PassageSettings, card: EncoderCard) -> int:
    """Tokens in a passage: as set, and never more than the encoder reads."""
    return min(settings.max_tokens or card.max_tokens, card.max_tokens)


def cut_rule(settings: PassageSettings, card: EncoderCard, specials: int) -> CutRule:
    """The rule of cutting: passages never exceed what the encoder reads."""
    limit = passage_limit(settings, card)
    return CutRule(
        max_tokens=limit,
        specials=specials,
        overlap=settings.overlap_of(limit),
        split=settings.split,
        prompt=card.document_prompt,
        by=settings.by,
        markup=settings.markup,
        rules=settings.rules,
        sentences=sentences_of(settings),
    )


def sentences_of(settings: PassageSettings) -> str:
    """The fingerprint of what sentences are compared by; "": they are not."""
    model = settings.sentence_model
    return "" if model is None else sentence_card(model).fingerprint


def sentence_vectors(settings: PassageSettings, rule: CutRule) -> SentenceVectors | None:
    """What the rule's sentences are compared by, loaded."""
    model = settings.sentence_model
    return None if model is None else load_sentences(model, rule.sentences)


@dataclass(frozen=True)
class Ingest:
    """A slice → its parts. A part is named from its content, so equal text is equal parts."""

    workspace: Workspace
    sources: Sources
    encoder: EncoderSettings
    passages: PassageSettings

    def __call__(self, unit: Unit[IngestSpec], tables: Tables) -> Result[Ingested]:
        parts: list[PartFiles] = []
        rejected = [REJECTED.empty_table()]
        for part in self._cut(unit.spec):
            rejected.append(part.rejected)
            spend("truncated", pc.sum(part.passages["truncated"]).as_py() or 0)
            if part.passages.num_rows:
                parts.append(write_part(self.workspace, part.passages, part.pictures))
        table = pa.concat_tables(rejected)
        ref = self.workspace.write_scratch(unit, "rejected.parquet", table)
        rows = sum(part.passages.rows for part in parts)
        documents = sum(part.keys.rows for part in parts)
        counts = {"rows": rows, "documents": documents, "rejected": table.num_rows}
        return Result(Ingested(tuple(parts), ref), counts)

    def _cut(self, spec: IngestSpec) -> Iterator[CutPart]:
        tokeniser = load_tokeniser(read_encoder_folder(self.encoder).towers.documents.source)
        check_fingerprint(self.encoder.model, spec.tokeniser, tokeniser.fingerprint)
        return cut_slice(
            spec.slice,
            self.sources.open,
            spec.corpus,
            spec.rule,
            tokeniser,
            self._skipped(spec.skips),
            spec.part_size,
            sentence_vectors(self.passages, spec.rule),
        )

    def _skipped(self, skips: SkippedRows | None) -> frozenset[int]:
        if skips is None:
            return frozenset()
        rows = rows_of(self.workspace, skips.files, "slice", skips.slice)
        return frozenset(rows["row"].to_pylist())
