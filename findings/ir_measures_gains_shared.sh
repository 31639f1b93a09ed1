#!/usr/bin/env bash
# ir-measures 0.4.3 (pytrec_eval-terrier 0.5.11): nDCG@10 beside nDCG(gains={...})@10 in one call is wrong, by the hash seed.
#
# A call's measures are kept in a set. The provider computes an nDCG without gains along with whichever measure comes first
# ("doesn't matter where this goes", says its source), and so with that one's gains; and as both have the same name in trec_eval,
# one of the two is then missing and counts as 0. No message. The order of the set is that of PYTHONHASHSEED, which Python draws
# anew for each process: the same program gives now these figures, now those. The same lines are in 0.3.7's source. One call for
# each measure is right.
# Seen: 2026-11-29, each measure alone, then both in one call under eight seeds: some give what each gave alone, some do not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ir-measures==0.4.3 pytrec_eval-terrier==0.5.11
cat > "$folder/measure.py" <<'PY'
import ir_measures
from ir_measures import nDCG

judged = {"q": {"a": 1, "b": 3, "c": 2}}
ranked = {"q": {"a": 3.0, "c": 2.0, "b": 1.0}}
measures = [nDCG @ 10, nDCG(gains={1: 0, 2: 0, 3: 1}) @ 10]
alone = [ir_measures.calc_aggregate([each], judged, ranked)[each] for each in measures]
found = ir_measures.calc_aggregate(measures, judged, ranked)
print("alone", [f"{value:.4f}" for value in alone], "together", [f"{found[each]:.4f}" for each in measures])
PY
for seed in 0 1 2 3 4 5 6 7; do
    echo "PYTHONHASHSEED=$seed $(PYTHONHASHSEED=$seed "$folder/venv/bin/python" "$folder/measure.py")"
done | tee "$folder/said"
grep -q "alone \['0.7900', '0.5000'\] together \['0.7900', '0.5000'\]" "$folder/said"
grep -q "alone \['0.7900', '0.5000'\] together \['0.5000', '0.0000'\]" "$folder/said"
