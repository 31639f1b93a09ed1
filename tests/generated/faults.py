"""Faults to plant: each is what a careless change would do, and each is silent."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shardrank.core.fingerprint import content_hash
from shardrank.corpus import changes as compare
from shardrank.corpus import first_pass as scan
from shardrank.corpus import jsonlines
from shardrank.models import cards as card
from shardrank.models.encoders import steps
from shardrank.models.folder import encoder_folder, modules, reranker_folder
from shardrank.models.folder.layout import Call
from shardrank.models.folder.sentence_config import EncoderConfig
from shardrank.models.folder.weights import Weights
from shardrank.models.forward import state
from shardrank.models.rerankers import cross as reranker
from shardrank.models.text import tokens

Plant = Callable[[pytest.MonkeyPatch], None]


def _all_weights(patch: pytest.MonkeyPatch) -> None:
    """Every safetensors file is read, and the last name wins."""

    def find(folder: Path) -> Weights:
        return Weights(tuple(sorted(folder.glob("*.safetensors"))), ())

    for module in (state, encoder_folder, card):
        patch.setattr(module, "find_weights", find)
    patch.setattr("shardrank.models.complete.find_weights", find)
    patch.setattr("shardrank.models.complete._packed_differences", lambda *_, **__: ([], []))


def _config(**values: Any) -> Plant:
    """config_sentence_transformers.json as if it said something else."""
    read = encoder_folder.read_encoder_config

    def plant(patch: pytest.MonkeyPatch) -> None:
        def changed(folder: Path) -> EncoderConfig:
            return replace(read(folder), **values)

        patch.setattr(encoder_folder, "read_encoder_config", changed)

    return plant


def _call(**values: Any) -> Plant:
    """sentence_bert_config.json as if it said something else."""
    read = modules.read_layout

    def plant(patch: pytest.MonkeyPatch) -> None:
        def changed(*arguments: Any, **named: Any) -> Any:
            found = read(*arguments, **named)
            return replace(found, call=replace(found.call, **values))

        patch.setattr(modules, "read_layout", changed)

    return plant


def _any_similarity(patch: pytest.MonkeyPatch) -> None:
    read = modules.read_towers

    def ends_in_nothing(folder: Path) -> Any:
        found = read(folder)
        cut = replace(found.documents, steps=found.documents.steps[:-1])
        return replace(found, documents=cut)

    patch.setattr(encoder_folder, "read_towers", ends_in_nothing)


def _one_activation(patch: pytest.MonkeyPatch) -> None:
    identity = steps._ACTIVATIONS["identity"]
    patch.setattr(steps, "_ACTIVATIONS", dict.fromkeys(steps._ACTIVATIONS, identity))


def _default_prompt_on_documents(patch: pytest.MonkeyPatch) -> None:
    read = encoder_folder.read_encoder_config

    def changed(folder: Path) -> EncoderConfig:
        found = read(folder)
        return replace(found, document_prompt=found.document_prompt or found.query_prompt)

    patch.setattr(encoder_folder, "read_encoder_config", changed)


def _written_tokenisers(patch: pytest.MonkeyPatch) -> None:
    """tokenizer.json is taken as it stands, whatever tokenizer_config.json says."""
    patch.setattr(tokens, "stands_as_written", lambda *_: True)
    patch.setattr(tokens, "default_inputs", lambda *_: ["input_ids", "attention_mask"])


def _first_position(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("shardrank.models.forward.packed.first_position", lambda _: 0)


ENCODER_FAULTS: Mapping[str, Plant] = {
    "all weights are read": _all_weights,
    "no query prompt": _config(query_prompt=""),
    "the query's prompt on documents": _default_prompt_on_documents,
    "no cut": _config(truncate_dim=None),
    "every model is compared by cosine": _config(similarity="cosine"),
    "the last step is forgotten": _any_similarity,
    "no activation": _one_activation,
    "no lower case": _call(lower_case=False),
    "one length for both": _call(query_length=None, document_length=None),
    "tokenizer.json as it stands": _written_tokenisers,
    "positions from 0": _first_position,
}


def _no_prompt(patch: pytest.MonkeyPatch) -> None:
    read = reranker_folder.read_reranker_prompt
    patch.setattr(reranker_folder, "read_reranker_prompt", lambda folder: read(folder) and "")


def _types_always(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reranker, "told_types", lambda network, *_: network.takes_types)


def _plain_call(patch: pytest.MonkeyPatch) -> None:
    read = reranker_folder.read_cross_encoder

    def changed(folder: Path) -> Any:
        found = read(folder)
        return replace(found, layout=replace(found.layout, call=Call(modular=True)))

    patch.setattr(reranker_folder, "read_cross_encoder", changed)


RERANKER_FAULTS: Mapping[str, Plant] = {
    "no prompt": _no_prompt,
    "token types where none are declared": _types_always,
    "its own longest input": _plain_call,
}


def _first_row_wins(patch: pytest.MonkeyPatch) -> None:
    ordered = compare.hash_order

    def reversed_ties(keys: pa.Table, then: Sequence[str]) -> Any:
        order = ordered(keys, then)[::-1]
        return order[np.argsort(keys["id_hash"].to_numpy()[order], kind="stable")]

    patch.setattr(compare, "hash_order", reversed_ties)


def _lost_lines(patch: pytest.MonkeyPatch) -> None:
    parsed = jsonlines.parsed
    patch.setattr(jsonlines, "parsed", lambda lines, *a: islice(parsed(lines, *a), 3))


def _one_hash(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scan, "content_hash", lambda *document: content_hash("", "one"))


def _nothing_known(patch: pytest.MonkeyPatch) -> None:
    compared = compare._compared

    def none_named(rows: pa.Table, base: pa.Table) -> Any:
        kinds, _ = compared(rows, base.slice(0, 0))
        return kinds, np.full(base.num_rows, compare.UNNAMED, np.uint8)

    patch.setattr(compare, "_compared", none_named)


FEED_FAULTS: Mapping[str, Plant] = {
    "the first row of an id wins": _first_row_wins,
    "lines of a slice are lost": _lost_lines,
    "every content has one hash": _one_hash,
    "no document is known": _nothing_known,
}
