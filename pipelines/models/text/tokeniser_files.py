"""What the files of a model's tokeniser say, before anything is built from them.

The library (transformers 5, as sentence-transformers calls it) reads tokenizer.json, lets
tokenizer_config.json win over it for its own classes, and sentence_bert_config.json win over that.
Imports no torch and no transformers.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.reading import read_object, refuse_pointer

Values = Mapping[str, Any]

_VOCABULARIES = (
    "vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "sentencepiece.bpe.model",
    "spiece.model", "spm.model", "sentencepiece.model",
)  # fmt: skip


@dataclass(frozen=True)
class TokeniserFiles:
    """A tokeniser's folder as read.

    Attributes:
        folder: where the files are.
        model_type: config.json's.
        named_class: the class that the files name; none: the model's own.
        text: tokenizer.json as it is written; none where there is none.
        rules: the same, parsed; {} where there is none.
        config: tokenizer_config.json.
        named: special_tokens_map.json where the library reads it; it wins over `config`.
        arguments: what sentence_bert_config.json passes to the tokeniser; it wins over both.
        added: added_tokens.json where the library reads it: content → id.
    """

    folder: Path
    model_type: str
    named_class: str | None
    text: str | None
    rules: Values
    config: Values
    named: Values
    arguments: Values
    added: Mapping[str, int]

    @property
    def path(self) -> Path:
        return self.folder / "tokenizer.json"

    @property
    def values(self) -> dict[str, Any]:
        """`config`, `named` and `arguments` in one."""
        return {**self.config, **self.named, **self.arguments}

    @property
    def special_tokens(self) -> Iterator[str]:
        """Every token that the files name as special. The library adds those that are missing."""
        tables = self.config, self.named, self.arguments
        for key, value in (item for table in tables for item in table.items()):
            if key in ("additional_special_tokens", "extra_special_tokens"):
                several = value.values() if isinstance(value, Mapping) else value or ()
                yield from (content(token) for token in several)
            elif key.endswith("_token") and isinstance(value, str | Mapping):
                yield content(value)
        padding = self.rules.get("padding")
        if padding:
            yield padding["pad_token"]


def content(token: Any) -> str:
    """The string of a token, which files write as a string or as an object."""
    return str(token["content"] if isinstance(token, Mapping) else token)


def read_tokeniser_files(layout: Layout) -> TokeniserFiles:
    """Read the files that decide a folder's tokeniser.

    Raises:
        InputError: one is damaged, or asks for what is not supported.
    """
    folder = layout.transformer
    _refuse_pointers(folder)
    config = read_object(folder / "tokenizer_config.json", optional=True)
    # The library takes these two for older than a list of added tokens in the configuration.
    old = "added_tokens_decoder" not in config
    text, rules = _rules(folder / "tokenizer.json")
    files = TokeniserFiles(
        folder=folder,
        model_type=str(layout.config.get("model_type", "")),
        named_class=config.get("tokenizer_class") or layout.config.get("tokenizer_class"),
        text=text,
        rules=rules,
        config=config,
        named=read_object(folder / "special_tokens_map.json", optional=True) if old else {},
        arguments=layout.call.processor,
        added=read_object(folder / "added_tokens.json", optional=True) if old else {},
    )
    _refuse_unsupported(files)
    return files


def _refuse_unsupported(files: TokeniserFiles) -> None:
    values = files.values
    own_code = values.get("auto_map")
    if own_code:
        raise InputError(
            f"{files.folder}/tokenizer_config.json names a tokeniser of its own code "
            f"(auto_map = {own_code!r}), which is not run.",
            "Remove auto_map there if tokenizer.json alone gives the right tokens.",
        )
    side = values.get("truncation_side", _baked_side(files.rules))
    if side != "right":
        raise InputError(
            f"The tokeniser in {files.folder} cuts long texts on the {side!r} "
            "(truncation_side); shardrank keeps their beginning, as truncation_side = 'right' "
            "does.",
            "Use another model, or set truncation_side to right in tokenizer_config.json if the "
            "model was trained so.",
        )


def _baked_side(rules: Values) -> str:
    """A direction that tokenizer.json was saved with, which the library takes over."""
    return str((rules.get("truncation") or {}).get("direction", "right")).lower()


def _rules(path: Path) -> tuple[str | None, Values]:
    """tokenizer.json as text and parsed, if there is one."""
    if not path.is_file():
        return None, {}
    try:
        text = path.read_text("utf-8")
        rules = json.loads(text)
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    if not isinstance(rules, dict) or "model" not in rules:
        raise damaged(path, "there is no model in it")
    return text, rules


def damaged(path: Path, error: object) -> InputError:
    """That a file of the tokeniser cannot be used."""
    return InputError(
        f"{path} holds no complete tokeniser: {error}.", "Fetch the model's folder again."
    )


def _refuse_pointers(folder: Path) -> None:
    """A clone without git-lfs has pointers in place of large files; vocab.txt would be taken."""
    for name in ("tokenizer.json", *_VOCABULARIES):
        path = folder / name
        if path.is_file():
            with path.open("rb") as file:
                refuse_pointer(path, file.read(64))
