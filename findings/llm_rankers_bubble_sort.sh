#!/usr/bin/env bash
# llm-rankers 0.0.2: setwise reranking by method="bubblesort" misses the best passages, with a judge that is always right.
#
# To save calls, each pass begins near where the pass before first moved something. But a pass learns of each set only which is the
# best, not the order of the others, and what stands behind that place is never asked about again. Of passages worth 0 5 1 4 3 2, in
# sets of three, the top two become 5 and 1: the first pass moves 5 to the front, and the second compares 0 and 1 alone, with 4 next
# to them. method="heapsort" is right for each order, and so is the plain bubble sort that stands in the same file as a comment. No
# message. (setwise.py in the repository, as of commit f6fb0dc, has the same loop.)
# Seen: 2026-11-29, all 720 orders of six passages, k = 2, in sets of three, compare() replaced by one that names the best.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    llm-rankers==0.0.2 torch==2.13.0 transformers==5.23.0 openai==3.57.0 tiktoken==0.14.0
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
from importlib.metadata import version
from itertools import permutations

from llmrankers.rankers import SearchResult
from llmrankers.setwise import SetwiseLlmRanker


class AlwaysRight(SetwiseLlmRanker):
    def __init__(self, method):
        self.method, self.k, self.num_child = method, 2, 2

    def compare(self, query, docs):
        return self.CHARACTERS[max(range(len(docs)), key=lambda place: docs[place].score)]


def top(method, worths):
    hits = [SearchResult(docid=str(worth), score=worth, text="") for worth in worths]
    return [int(hit.docid) for hit in AlwaysRight(method).rerank("heat", hits)[:2]]


print("llm-rankers", version("llm-rankers"))
wrong = {method: sum(top(method, order) != [5, 4] for order in permutations(range(6))) for method in ("heapsort", "bubblesort")}
example = (0, 5, 1, 4, 3, 2)
print("orders of 720 whose top two are wrong:", wrong)
print("worths", example, "by bubblesort:", top("bubblesort", example), "by heapsort:", top("heapsort", example))
assert wrong["heapsort"] == 0 and wrong["bubblesort"] > 0
assert top("bubblesort", example) == [5, 1]
PY
