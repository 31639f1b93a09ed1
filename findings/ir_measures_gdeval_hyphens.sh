#!/usr/bin/env bash
# ir-measures 0.4.3: ERR@k of queries whose ids have a hyphen and end in digits is silently wrong.
#
# ERR (and nDCG with dcg='exp-log2') is computed by NIST's gdeval.pl, which ir-measures carries. It takes what stands before a
# hyphen off a query's id in one of its files, and wants a number behind it. So with ids as the BEIR collections have them
# (PLAIN-3 of NFCorpus) the query of its answer is another than that which was judged: ir-measures finds no value under the id and
# counts 0 beside what was found under the number. One query whose only relevant document is first gives half of what the same
# query gives when it is called 3. No message. (Ids with letters and without a hyphen raise an error instead.) Names of queries
# that are whole numbers are right, so map ids to numbers before.
# Seen: 2026-11-30, one query, one relevant document, ranked first: 0.0625 as "3", 0.03125 as "PLAIN-3".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ir-measures==0.4.3 pytrec_eval-terrier==0.5.11
cat > "$folder/measure.py" <<'PY'
import ir_measures
from ir_measures import ERR

for query in ("3", "PLAIN-3"):
    judged, ranked = {query: {"a": 1}}, {query: {"a": 1.0}}
    rows = [(each.query_id, each.value) for each in ir_measures.iter_calc([ERR @ 10], judged, ranked)]
    print(query, ir_measures.calc_aggregate([ERR @ 10], judged, ranked)[ERR @ 10], rows)
PY
"$folder/venv/bin/python" "$folder/measure.py" | tee "$folder/said"
grep -q "^3 0.0625 " "$folder/said"
grep -q "^PLAIN-3 0.03125 " "$folder/said"
