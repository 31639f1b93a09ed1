#!/usr/bin/env bash
# rank-llm 0.26.0: an answer's every number is taken for a passage, whatever the prompt's output_extraction_regex says.
#
# A listwise template must have this key, and the one of RankZephyr says \[(\d+)\], a number in brackets. It is read where recorded
# answers are analysed afterwards; the ranking itself blanks out all that is no digit and takes what is left. "Of the 3 passages:
# [2] > [1]" so puts passage 3 first, which the answer does not name, and the analysis, by the same template's other expression,
# calls that answer one of a wrong format. Nothing is said while ranking. 0.25.7, the last version for Python 3.11, has the same
# lines. (Numbers above the count of passages are dropped, so "in 2003" does no harm.)
# Seen: 2026-11-29, sliding_windows and sliding_windows_batched over three passages, a model that says what it is told to say. Asks
# for a python3.12, as the package does; of its extras none is needed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.12 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check rank-llm==0.26.0
cd "$folder"
TQDM_DISABLE=1 "$folder/venv/bin/python" - <<'PY'
import re
from importlib.metadata import version
from importlib.resources import files

from rank_llm.analysis.response_analysis import ResponseAnalyzer
from rank_llm.data import Candidate, Query, Request
from rank_llm.rerank.listwise.listwise_rankllm import ListwiseRankLLM

TEMPLATE = files("rank_llm.rerank.prompt_templates") / "rank_zephyr_template.yaml"


class Saying(ListwiseRankLLM):
    def __init__(self, answer):
        super().__init__("saying", 4096, prompt_template_path=TEMPLATE)
        self.answer = answer

    def run_llm(self, prompt, current_window_size=None):
        return self.answer, 1

    def run_llm_batched(self, prompts, current_window_size=None):
        return [self.run_llm(prompt) for prompt in prompts]

    def create_prompt(self, result, rank_start, rank_end):
        handler = self._inference_handler
        return handler.generate_prompt(result=result, rank_start=rank_start, rank_end=rank_end, max_length=300), 1

    def create_prompt_batched(self, results, rank_start, rank_end):
        return [self.create_prompt(result, rank_start, rank_end) for result in results]

    def rerank_batch(self, requests, **kwargs):
        return self.sliding_windows_batched(requests, 0, 3, 3)

    def get_num_tokens(self, prompt):
        return 1

    def cost_per_1k_token(self, input_token):
        return 0

    def num_output_tokens(self):
        return 1


print("rank-llm", version("rank-llm"))
found = {}
for answer in ("[2] > [1] > [3]", "Of the 3 passages: [2] > [1]"):
    model = Saying(answer)
    request = Request(Query("heat", "q1"), [Candidate(str(i), 4.0 - i, {"contents": f"text {i}"}) for i in (1, 2, 3)])
    one = model.sliding_windows(request, 0, 3, 3)
    batch = model.rerank_batch([request])[0]
    found[answer] = [hit.docid for hit in one.candidates]
    assert found[answer] == [hit.docid for hit in batch.candidates]
    counts = ResponseAnalyzer.from_inline_results([one]).count_errors()
    named = re.findall(r"\[(\d+)\]", answer)
    print(f"{answer!r}: in brackets {named}, ranked {found[answer]}, the analysis: {counts}")
    assert counts["ok" if answer.startswith("[") else "wrong_format"] == 1
assert "\\[(\\d+)\\]" in TEMPLATE.read_text()
assert found == {"[2] > [1] > [3]": ["2", "1", "3"], "Of the 3 passages: [2] > [1]": ["3", "2", "1"]}
PY
