"""What a model's files lack, as far as names alone say: layers, which are numbered, and heads.

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
#: transformers 5.23: tests/contract/test_families.py).
UNIFORM = frozenset(
    {"deberta", "deberta-v2", "distilbert", "electra", "ernie", "eurobert", "gemma", "gemma2",
     "gemma3_text", "gte", "llama", "mistral", "modernbert", "mpnet", "nomic_bert", "qwen2",
     "qwen3"}
)  # fmt: skip
#: What the first layer of a family is without.
_NOT_FIRST: Mapping[str, frozenset[str]] = {"modernbert": frozenset({"attn_norm.weight"})}

#: The maps of a classifier's head, from the first to that to the labels.
_HEADS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("deberta", "deberta-v2"), ("pooler.dense", "classifier")),
    **dict.fromkeys(("ernie", "gte", "nomic_bert"), ("pooler.dense", "classifier")),
    **dict.fromkeys(("electra", "mpnet"), ("classifier.dense", "classifier.out_proj")),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), ("score",)),
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3"), ("score",)),
    "distilbert": ("pre_classifier", "classifier"),
    "eurobert": ("dense", "classifier"),
    "modernbert": ("head.dense", "head.norm", "classifier"),
}


def missing_from_head(names: Iterable[str], config: Mapping[str, Any]) -> list[str]:
    """As `missing_from_layers`, of a classifier's head."""
    held = {f".{name}" for name in names}
    wanted = (f"{name}.weight" for name in _HEADS.get(str(config.get("model_type")), ()))
    return [name for name in wanted if not any(each.endswith(f".{name}") for each in held)]


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
