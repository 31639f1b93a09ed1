"""What sentence-transformers makes of a text before a model sees it, and where it is not followed.

Imports no torch and no transformers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modules import StaticTable
from shardrank.models.folder.reading import read_object
from shardrank.models.text.tokeniser_files import content
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser


def checked_tokeniser(
    source: Layout | StaticTable, texts: int, renders: bool = False
) -> FastTokeniser:
    """The tokeniser of an encoder (one text) or of a reranker (two), after all checks.

    `renders` says that whoever asks renders by the folder's chat template what is to be rendered.

    Raises:
        InputError: sentence-transformers would render texts through a chat template, the
            tokeniser cannot be followed, or it has token types that the model does not know.
    """
    if isinstance(source, StaticTable):
        return load_tokeniser(source)
    reason = None if renders else renders_messages(source)
    if reason is not None:
        raise InputError(
            f"sentence-transformers renders texts for {source.transformer} through a chat template "
            f"({reason}), which shardrank does not.",
            "Use another model. If this one was trained on plain texts, save it with "
            "sentence-transformers and modality_config = text, or remove the template.",
        )
    tokeniser = load_tokeniser(source)
    _check_types(tokeniser, source.config, texts)
    return tokeniser


def renders_messages(layout: Layout) -> str | None:
    """Why sentence-transformers would render texts through a chat template; none: it would not.

    Beside a modules.json, its Transformer takes plain texts unless `modality_config` has
    "message"; where there is none, it renders wherever the tokeniser has a chat template
    (sentence-transformers 6.2, base/modules/transformer.py: load_config, infer_modalities).
    """
    folder = layout.transformer
    if layout.call.modular:
        declared = "message" in (layout.call.modalities or ())
        return "sentence_bert_config.json: modality_config has message" if declared else None
    if (folder / "chat_template.jinja").is_file():
        return "chat_template.jinja, and no modules.json that says otherwise"
    if any((folder / "additional_chat_templates").glob("*.jinja")):
        return "additional_chat_templates, and no modules.json that says otherwise"
    if _config(folder).get("chat_template") is None:
        return None
    return "tokenizer_config.json: chat_template, and no modules.json that says otherwise"


def _config(folder: Path) -> Mapping[str, Any]:
    return read_object(folder / "tokenizer_config.json", optional=True)


def tokeniser_notes(tokeniser: FastTokeniser, layout: Layout, pooling: str) -> tuple[str, ...]:
    """What a user should know of a tokeniser that is followed as it is, a sentence each."""
    behind = tokeniser.single_template().around[-1]
    if pooling != "last" or len(behind):
        return ()
    config = _config(layout.transformer)
    asked = [
        f"{name} = {_shown(config[name])}"
        for name in ("add_eos_token", "eos_token")
        if config.get(name)
    ]
    if not asked:
        return ()
    return (
        "The model pools by its last token, but its tokeniser puts no end token behind a text, "
        f"though tokenizer_config.json has {' and '.join(asked)}: sentence-transformers does the "
        "same. If the model was trained with an end token, add it to post_processor in "
        "tokenizer.json.",
    )


def _shown(value: Any) -> str:
    return content(value) if isinstance(value, str | Mapping) else str(value).lower()


def _check_types(tokeniser: FastTokeniser, config: Mapping[str, Any], texts: int) -> None:
    template = tokeniser.single_template() if texts == 1 else tokeniser.pair_template()
    known, most = config.get("type_vocab_size"), max(template.all_types)
    # 0: the model has no types, and passes over them.
    if tokeniser.typed and known and most >= known:
        raise InputError(
            f"The tokeniser gives tokens type {most}, but the model knows {known} types "
            "(type_vocab_size in config.json).",
            "Use another model, or remove token_type_ids from model_input_names in "
            "tokenizer_config.json.",
        )
