"""How long a model's input may be, how wide its vectors are, in which type it runs: config.json."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from shardrank.core.errors import SettingsError
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modern import is_modern
from shardrank.models.folder.packable import is_packable
from shardrank.models.folder.packed_families import FAMILIES
from shardrank.models.folder.reading import read_object

#: These number positions from pad_token_id + 1, so that many position embeddings are never used
#: (transformers, RobertaEmbeddings.create_position_ids_from_input_ids).
_OFFSET_POSITIONS = frozenset(
    {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet",
     "longformer", "data2vec-text", "xmod", "luke", "mluke", "ibert"}
)  # fmt: skip
_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp32"}

#: config.json's keys that say where a model came from or how it is trained, not what it computes.
_NOISE = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache"})


def positions(config: Mapping[str, Any]) -> int | None:
    """The most tokens that the model has positions for; none where positions have no end."""
    most = config.get("max_position_embeddings", config.get("n_positions"))
    if most is None or int(most) <= 0:
        return None
    return int(most) - first_position(config)


def pad_id(config: Mapping[str, Any]) -> int:
    """The id of padding: the model's own, else as its family has it, else 0."""
    offset = config.get("model_type") in _OFFSET_POSITIONS
    found = config.get("pad_token_id", 1 if offset else 0)
    return 0 if found is None else int(found)


def first_position(config: Mapping[str, Any]) -> int:
    """The number of an input's first position: 0, or what follows the padding's."""
    return pad_id(config) + 1 if config.get("model_type") in _OFFSET_POSITIONS else 0


def max_tokens(
    layout: Layout,
    setting: int | None,
    table: str,
    own: int | None = None,
    name: str = "max_tokens",
) -> int:
    """The longest input in tokens, special ones included: the setting, else the model's own.

    Args:
        layout: the model's folder.
        setting: what the user asked for, if anything.
        table: the settings table, for the message.
        own: what the folder says of this kind of input alone.
        name: the setting's name, for the message.

    Raises:
        SettingsError: the setting is above the model's positions, or there is no limit at all.
    """
    most = positions(layout.config)
    if setting is not None:
        if most is not None and setting > most:
            raise SettingsError(
                f"{table}.{name} = {setting}, but the model has {most} positions.",
                f"Set {table}.{name} to {most} or less.",
            )
        return setting
    own = own or layout.call.max_length or tokeniser_limit(layout)
    known = [limit for limit in (most, own) if limit is not None]
    if not known:
        raise SettingsError("The model names no longest input.", f"Set {table}.{name}.")
    return min(known)


def runs_packed(config: Mapping[str, Any]) -> bool:
    """Whether an encoder or a classifier of this configuration runs by our own forward pass."""
    return is_packable(config) or is_modern(config)


def dtype(
    configs: list[Mapping[str, Any]],
    setting: str,
    halve: bool,
    packs: Callable[[Mapping[str, Any]], bool] = runs_packed,
) -> str:
    """The type of the forward pass of the transformers with these configurations: "fp32", "bf16",
    "fp16" or "int8"; "fp32" where there is none, as of a static table.

    `packs` says of a configuration whether our own forward pass runs it for the task.

    "auto" takes bf16 where `halve` asks for it and our own pass runs the models, whose sums stay in
    float32. Else it takes the type of the files, except that fp16 files run in fp32, which holds
    their weights exactly: fp16 overflows in some models and is slow on CPUs.

    Raises:
        SettingsError: "int8", but a model is none that runs in 8 bits.
    """
    if not configs:
        return "fp32"
    unpacked = [config for config in configs if not packs(config)]
    if setting == "int8" and unpacked:
        raise SettingsError(
            f"dtype = int8 is for models that our own forward pass runs, such as plain ones of "
            f"{', '.join(sorted(FAMILIES))} and modernbert; this one is "
            f"{unpacked[0].get('model_type')!r}, or has layers of its own.",
            "Set dtype = bf16.",
        )
    if setting != "auto":
        return setting
    if halve and not unpacked:
        return "bf16"
    return own_dtype(configs[0])


def own_dtype(config: Mapping[str, Any]) -> str:
    """The type of a model's files; fp32 for fp16, as `dtype` says."""
    found = str(config.get("dtype") or config.get("torch_dtype") or "float32")
    return _DTYPES.get(found, "fp32")


def deciding_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """config.json without what cannot change a vector; JSON only, so that it can be hashed."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(config)))
    return {name: value for name, value in plain.items() if name not in _NOISE}


def tokeniser_limit(layout: Layout) -> int | None:
    """The longest input by the tokeniser's files; none where there is no limit.

    transformers writes 1e30 as model_max_length then."""
    path = layout.transformer / "tokenizer_config.json"
    limit = read_object(path, optional=True).get("model_max_length")
    return int(limit) if limit is not None and limit < 1 << 30 else None
