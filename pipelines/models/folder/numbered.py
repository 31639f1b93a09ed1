"""What a model's files lack of its layers, which are numbered, as far as names alone say.

transformers knows every weight that an architecture needs, and takes seconds to be imported; what
is plainly not there need not wait for it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

#: What a weight's name is before and after the number of its layer.
_NUMBERED = re.compile(
    r"^(?P<stem>(?:\w+\.)*?(?:layers?|h|blocks?))\.(?P<number>\d+)\.(?P<name>.+)$"
)
_COUNTS = ("num_hidden_layers", "n_layers")

#: Families whose layers all hold weights of the same names (each with random weights of
#: transformers 5.23: tests/contract/test_names_alone.py).
UNIFORM = frozenset(
    {"deberta", "deberta-v2", "distilbert", "electra", "ernie", "eurobert", "gemma", "gemma2",
     "gemma3_text", "gte", "llama", "mistral", "modernbert", "mpnet", "nomic_bert", "qwen2",
     "qwen3"}
)  # fmt: skip
#: What the first layer of a family is without.
_NOT_FIRST: Mapping[str, frozenset[str]] = {
    "modernbert": frozenset({"attn_norm.weight", "attn_norm.bias"})
}


def is_numbered(name: str) -> bool:
    """Whether a weight belongs to one layer of several, or to one part of several in it."""
    return any(part.isdecimal() for part in name.split("."))


def missing_from_layers(names: Iterable[str], config: Mapping[str, Any]) -> list[str]:
    """Names of weights that are missing for certain; others may be, too.

    Args:
        names: of the weights in a model's files.
        config: the parsed config.json.
    """
    if config.get("model_type") not in UNIFORM:
        return []
    stems: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for name in names:
        if found := _NUMBERED.match(name):
            stems[found["stem"]][int(found["number"])].add(found["name"])
    stem, layers = max(stems.items(), key=lambda item: len(item[1]), default=("", stems[""]))
    count = next((int(config[name]) for name in _COUNTS if config.get(name)), 0)
    every = set().union(*layers.values())
    first = _NOT_FIRST.get(str(config["model_type"]), frozenset())
    return [
        f"{stem}.{number}.{name}"
        for number in range(max(count, len(layers)))
        for name in sorted(every - layers[number] - (first if number == 0 else frozenset()))
    ]
