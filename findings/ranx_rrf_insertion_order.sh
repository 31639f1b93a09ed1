#!/usr/bin/env bash
# ranx 0.3.21: reciprocal rank fusion of a Run that was filled by add_score takes the order of the calls for the ranking.
#
# Run.add_score leaves the hits as they come, and fuse(method="rrf") counts them off without sorting, whatever the norm. The
# same scores given as a dict, or by add_multi, are sorted first; evaluate sorts too, so a Run alone looks right. No message.
# Seen: fuse of one run, by add_score from the lowest score up and as a dict: the last document is first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check ranx==0.3.21
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
from importlib.metadata import version

from ranx import Run, fuse

scores = {"low": 1.0, "mid": 2.0, "high": 3.0}
as_dict, one_by_one = Run({"q": scores}), Run()
for doc, score in scores.items():
    one_by_one.add_score("q", doc, score)
assert as_dict.to_dict()["q"] == one_by_one.to_dict()["q"]
found = [fuse([run, run], method="rrf").to_dict()["q"] for run in (as_dict, one_by_one)]
print("ranx", version("ranx"), "as a dict:", list(found[0]), "by add_score:", list(found[1]))
assert (list(found[0])[0], list(found[1])[0]) == ("high", "low")
PY
