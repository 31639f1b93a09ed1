"""Which of a classifier's labels means that a passage is relevant."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError


def _names(listed: str) -> frozenset[str]:
    return frozenset(name.strip() for name in listed.split(","))


#: Names of labels in small letters, with blanks between words. transformers calls labels without
#: a name LABEL_0 and LABEL_1; of these the second is relevance (monoBERT, arXiv:1910.14424).
_RELEVANT = _names("label 1, 1, relevant, true, yes, positive, entailment, match")
_IRRELEVANT = _names(
    "label 0, 0, irrelevant, not relevant, non relevant, nonrelevant, false, no, negative, "
    "not entailment, non entailment, contradiction, neutral, no match, not match, mismatch"
)
_WORDS = re.compile(r"[^a-z0-9]+")


def label_names(folder: Path, config: Mapping[str, Any]) -> dict[int, str]:
    """The labels of a classifier by number, as transformers 5.23 reads a config.json: `id2label`,
    else `num_labels`, else two.

    Raises:
        InputError: `id2label` has no names by number.
    """
    listed = config.get("id2label")
    if not listed:
        return unnamed(int(config.get("num_labels") or 2))
    if not isinstance(listed, Mapping) or not all(str(n).isdecimal() for n in listed):
        raise InputError(
            f"{folder / 'config.json'} has id2label = {listed!r}, no names by number.",
            "Mend the file.",
        )
    return {int(number): str(name) for number, name in listed.items()}


def unnamed(labels: int) -> dict[int, str]:
    """So many labels as transformers calls them where nobody did."""
    return {number: f"LABEL_{number}" for number in range(labels)}


def relevant_label(folder: Path, labels: Mapping[int, str]) -> int | None:
    """Which of two labels is relevance, by their names; none where there is one label.

    Raises:
        InputError: there are more than two, or their names do not say it.
    """
    if len(labels) == 1:
        return None
    listed = ", ".join(f"{number}: {name!r}" for number, name in sorted(labels.items()))
    if set(labels) != {0, 1}:
        raise InputError(
            f"{folder} has {len(labels)} labels ({listed}); a reranker has one, its relevance, or "
            "two, of which one is relevance.",
            "Name a cross-encoder that was trained with num_labels = 1 or 2.",
        )
    plain = {number: _plain(name) for number, name in labels.items()}
    found = [n for n in plain if plain[n] in _RELEVANT and plain[1 - n] in _IRRELEVANT]
    if not found:
        raise InputError(
            f"{folder} has two labels ({listed}), whose names do not say which is relevance.",
            'Call them "irrelevant" and "relevant", in their order, under id2label in config.json.',
        )
    return found[0]


def _plain(name: str) -> str:
    return _WORDS.sub(" ", name.lower()).strip()
