"""The tables of the label flow."""

import pyarrow as pa

#: Where the judged documents lie: the first of their rows in a part, and how many there are;
#: `positive` where one is relevant enough to some query.
LOCATED = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("positive", pa.bool_(), nullable=False),
    ]
)

#: What the teachers score for a block of queries, sorted by query. `origin` as in Origin; `rank`
#: is 0 where retrieval did not find it, and `retrieval`, `logit` and `truncated` are null where
#: the ranked run did not compute them.
CANDIDATES = pa.schema(
    [
        pa.field("query", pa.int32(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("origin", pa.int8(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("grade", pa.int32(), nullable=True),
        pa.field("retrieval", pa.float32(), nullable=True),
    ]
)

#: Judgements of a block's queries.
JUDGED = pa.schema(
    [
        pa.field("query", pa.int32(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("grade", pa.int32(), nullable=False),
    ]
)

#: Why queries give no training row.
SET_ASIDE = pa.schema(
    [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
    ]
)


def scores_schema(teachers: int) -> pa.Schema:
    """LABELS/scores: one row a candidate, its documents' best passage where there were several.

    `score_1` … are the teachers' raw scores, `truncated_1` … whether a pair had to be cut to fit;
    `score` is theirs together, null where one of them is not finite. `part` and `row` say where
    the passage lies in the index.
    """
    columns = [
        pa.field("query_id", pa.string(), nullable=False),
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("passage", pa.int32(), nullable=False),
        pa.field("part", pa.int32(), nullable=False),
        pa.field("row", pa.int32(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("grade", pa.int32(), nullable=True),
        pa.field("retrieval_rank", pa.int32(), nullable=True),
        pa.field("retrieval_score", pa.float32(), nullable=False),
    ]
    for number in range(1, teachers + 1):
        columns.append(pa.field(f"score_{number}", pa.float32(), nullable=False))
        columns.append(pa.field(f"truncated_{number}", pa.bool_(), nullable=False))
    return pa.schema([*columns, pa.field("score", pa.float32(), nullable=True)])
