"""A look into a ranking, cell by cell: open this file in an editor that knows `# %%`, or run it.

    python examples/explore.py [DEMO]

DEMO is the folder that `make demo` made.
"""

# %%
import sys

import pyarrow as pa
import pyarrow.compute as pc

import shardrank

demo = sys.argv[1] if len(sys.argv) > 1 else "demo"

# %% The index: its versions, and what the latest one holds.
opened = shardrank.open_index(f"{demo}/index")
for past in opened.history():
    print(past.number, past.version.live if past.version else "damaged")
for name, index in opened.version.indexes.items():
    print(f"{name}: {index.plan.kind}, {len(index.shards)} shards, Recall {index.audit.recall:.3f}")

# %% The ranking as one table: a row for each query and document.
table = pa.concat_tables(shardrank.read_rankings(f"{demo}/ranked"))
print(table.schema)

# %% What reranking moved to the first place, and from where.
first = table.filter(pc.equal(table["rank"], 1)).sort_by([("retrieval_rank", "descending")])
print(first.select(["query_id", "doc_id", "retrieval_rank", "rerank_score"]).slice(0, 5))

# %% How good it is, and with which weight of the reranker it would be better.
qrels = f"{demo}/source/qrels/test.tsv"
for order, values in shardrank.evaluate(f"{demo}/ranked", qrels).metrics.items():
    print(order, {name: round(value, 4) for name, value in values.items()})
tuned = shardrank.tune(f"{demo}/ranked", qrels)
if tuned.best:
    print(f"interpolation {tuned.best.interpolation}: {tuned.best.metrics['nDCG@10']:.4f}")
