#!/usr/bin/env bash
# pyarrow 26.0.1: one Int128 column written by polars 2.1.0 makes a whole Parquet file unreadable, whatever columns are asked for.
#
# polars writes Int128 as a fixed-length binary and stores its own Arrow schema in the footer. pyarrow restores that schema
# before anything else, and raises ArrowNotImplementedError for the file, also from read_metadata and for columns=["a"].
# DuckDB and polars read the other columns. Cutting the key ARROW:schema out of the footer lets pyarrow read them too.
# Seen: the error of pq.read_table(columns=["a"]), and the same column through polars.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

pl.DataFrame({"a": ["x"], "b": pl.Series([1], dtype=pl.Int128)}).write_parquet("wide.parquet")
try:
    pq.read_table("wide.parquet", columns=["a"])
except pa.ArrowNotImplementedError as error:
    print("pyarrow", pa.__version__, "columns=['a']:", error)
else:
    raise SystemExit("it was read")
print("polars", pl.__version__, pl.read_parquet("wide.parquet", columns=["a"]).to_dicts())
PY
