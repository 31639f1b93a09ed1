#!/usr/bin/env bash
# datasets 5.2.0: load_dataset(folder) reads what lies in folders called _name, which pyarrow and pandas leave out.
#
# Readers of folders of Parquet skip names that begin with "_" or "." (pyarrow.dataset documents both as ignore_prefixes).
# datasets skips hidden folders and those that begin with two underscores, like __pycache__, as a docstring in its data_files
# says; 2.14.0's source has the same rule. So what is put out of the way as _temporary/ or _old/ beside the rows comes back: with
# the same columns as more rows, without a word, with other columns as an error about names that do not match. "__" and "." are
# skipped by all three.
# Seen: 2026-11-29, two rows beside a folder of one row, read by pyarrow.dataset, pandas and datasets.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pyarrow==26.0.1 pandas==3.1.1
cd "$folder"
HF_HOME="$folder/hub" HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - <<'PY'
from pathlib import Path

import datasets
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

datasets.disable_progress_bars()
datasets.logging.set_verbosity(datasets.logging.CRITICAL)


def beside(name: str, other: pa.Table) -> list[int | str]:
    """How many rows pyarrow.dataset, pandas and datasets find where two rows lie beside a folder."""
    folder = Path(f"{len(list(Path().iterdir()))}").absolute()
    (folder / name).mkdir(parents=True)
    pq.write_table(pa.table({"text": ["x", "y"]}), folder / "rows.parquet")
    pq.write_table(other, folder / name / "rows.parquet")
    try:
        loaded = datasets.load_dataset(str(folder), split="train").num_rows
    except datasets.exceptions.DatasetGenerationError as error:
        loaded = f"{type(error.__cause__).__name__}: {str(error.__cause__).splitlines()[-1]}"
    return [ds.dataset(folder, format="parquet").count_rows(), len(pd.read_parquet(folder)), loaded]


same, other = pa.table({"text": ["z"]}), pa.table({"id": [1]})
found = {
    "_old, same columns": beside("_old", same),
    "_ids, other columns": beside("_ids", other),
    "__ids, other columns": beside("__ids", other),
    ".ids, other columns": beside(".ids", other),
}
for what, counts in found.items():
    print("datasets", datasets.__version__, what, "| pyarrow, pandas, datasets:", *counts)
assert found.pop("_old, same columns") == [2, 2, 3]
assert found.pop("_ids, other columns") == [2, 2, "CastError: because column names don't match"]
assert all(counts == [2, 2, 2] for counts in found.values())
PY
