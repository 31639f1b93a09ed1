"""An index over binary codes: shards without a file, whose codes are compared one by one."""

from dataclasses import replace

from shardrank.stages.index.audit import Audited, audit
from shardrank.stages.index.wanted import WantedIndex
from shardrank.stages.run.runner import Context
from shardrank.version.indexes import Codec, Index, Shard
from shardrank.version.sizing import CodecPlan, plan_shards


def binary_index(context: Context, wanted: WantedIndex) -> Index:
    """Over all parts, and audited against exact search of the vectors that the codes are of."""
    assert wanted.encoder.codec
    rows = [part.rows for part in wanted.parts]
    groups = plan_shards(rows, max([wanted.settings.shard_passages, *rows]))
    shards = tuple(Shard(tuple(group), None) for group in groups)
    plan = replace(CodecPlan.without("binary", wanted.settings.seed), nlist=1)
    return Index(
        column=wanted.column,
        plan=plan,
        settings=wanted.settings,
        codec=Codec(wanted.encoder.codec, wanted.passages, 0.0),
        counts=None,
        shards=shards,
        audit=audit(context, Audited(wanted, shards, plan)),
        audit_settings=context.settings.audit,
        source=wanted.scored.name,
    )
