"""From parts to a version: compact, then each index. Shared by all flows that publish."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shardrank.stages.index.compact import compact
from shardrank.stages.index.kinds import has_index, make_index
from shardrank.stages.index.wanted import WantedIndex
from shardrank.stages.run.runner import Context
from shardrank.version.folding import Limits, Size, plan_rewrites
from shardrank.version.indexes import Index, Shard
from shardrank.version.manifest import StoredEncoder, Version
from shardrank.version.mapped import is_mapped
from shardrank.version.parts import Part


@dataclass(frozen=True)
class Material:
    """What a version is made from.

    Attributes:
        base: the version whose codecs and shards may be kept; None: there is none that serves.
        stored: its parts in its order, with tonight's deletions; empty without a base.
        new: parts that no shard covers yet.
        encoders: what makes their columns.
        limits: when parts and shards are rewritten.
    """

    base: Version | None
    stored: Sequence[Part]
    new: Sequence[Part]
    encoders: Sequence[StoredEncoder]
    limits: Limits


@dataclass(frozen=True)
class Assembled:
    """The parts of a version, what makes their columns, and its indexes, by name."""

    parts: tuple[Part, ...]
    encoders: Mapping[str, StoredEncoder]
    indexes: Mapping[str, Index]


@dataclass(frozen=True)
class Compacted:
    """Parts; and where those before that were not rewritten are among them."""

    parts: Sequence[Part]
    places: Mapping[int, int]

    def kept(self, base: Index | None) -> list[Shard]:
        """Shards of an index over the parts before whose parts are all still there."""
        return [
            replace(shard, parts=tuple(self.places[n] for n in shard.parts))
            for shard in (base.shards if base else ())
            if shard.file and all(n in self.places for n in shard.parts)
        ]


def assemble(context: Context, material: Material) -> Assembled:
    """Lay out the parts, and build and audit the indexes over them."""
    layout = _compacted(context, material)
    wanted = [_wanted(context, material, layout, encoder) for encoder in material.encoders]
    made = {each.column: make_index(context, each) for each in wanted if has_index(each)}
    encoders = {encoder.name: encoder for encoder in material.encoders}
    return Assembled(tuple(layout.parts), encoders, made)


def _wanted(
    context: Context, material: Material, layout: Compacted, encoder: StoredEncoder
) -> WantedIndex:
    base = _serving(material.base, encoder)
    sources = {each.name: each for each in material.encoders}
    return WantedIndex(
        encoder=encoder,
        settings=context.settings.index_of(encoder.name),
        parts=layout.parts,
        base=base,
        kept=layout.kept(base),
        limits=material.limits,
        source=sources.get(encoder.values_of or ""),
    )


def _serving(base: Version | None, encoder: StoredEncoder) -> Index | None:
    """The version's index over a column that the same encoder made."""
    before = base.columns.get(encoder.name) if base else None
    serves = base and before and before.makes_as(encoder)
    return base.indexes.get(encoder.name) if base and serves else None


def _size(part: Part) -> Size:
    return Size(part.rows, part.live.passages, part.pictures.bytes if part.pictures else 0)


def _groups(parts: Sequence[Part], limits: Limits) -> list[list[int]]:
    """What is rewritten together: parts whose vectors come out of a map, or others, whose passages
    another tokeniser has cut."""
    groups = []
    for kind in (False, True):
        mine = [n for n, part in enumerate(parts) if is_mapped(part) == kind]
        sizes = [_size(parts[n]) for n in mine]
        groups += [[mine[n] for n in group] for group in plan_rewrites(sizes, limits)]
    return groups


def _compacted(context: Context, material: Material) -> Compacted:
    """All parts, rewritten where the limits ask for it."""
    before = [*material.stored, *material.new]
    groups = _groups(before, material.limits)
    rewritten = compact(context, before, groups)
    moved = {old for group in groups for old in group}
    # A rewritten part takes the place of the first of those it is made from; it may be empty.
    kept: dict[int, Part | None] = {n: p for n, p in enumerate(before) if n not in moved}
    kept |= {group[0]: part for group, part in zip(groups, rewritten, strict=True)}
    parts = {n: part for n, part in sorted(kept.items()) if part is not None}
    places = {old: new for new, old in enumerate(parts) if old not in moved}
    return Compacted(list(parts.values()), places)
