"""Whether a model's folder holds all that its architecture needs, and nothing that it has no use
for: seen from the headers of its weights and from its tokeniser, by the driver, before any stage.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shardrank.core.errors import InputError
from shardrank.core.image_settings import ImageSettings
from shardrank.core.late_settings import LateSettings
from shardrank.core.model_settings import EncoderSettings, SparseSettings
from shardrank.core.reranker_settings import CrossSettings
from shardrank.models.folder.decoder_encoder import decoder_differences, is_packed_decoder
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.folder.headers import read_headers
from shardrank.models.folder.image_folder import read_image_folder
from shardrank.models.folder.language_head import head_of, needed_language_head
from shardrank.models.folder.late_folder import read_late_folder
from shardrank.models.folder.late_modules import LINEAR, check_steps
from shardrank.models.folder.layout import Layout
from shardrank.models.folder.modern import PREFIX, is_modern, needed_of_modern
from shardrank.models.folder.modules import StaticTable, Tower
from shardrank.models.folder.numbered import missing_from_layers
from shardrank.models.folder.own_terms import CountTower, OwnTower, own_differences
from shardrank.models.folder.packable import (
    bare_name,
    differences,
    family_of,
    is_packable,
    is_packable_masked,
    needed,
    needed_head,
)
from shardrank.models.folder.plain_decoder import is_plain_decoder, needed_of_decoder
from shardrank.models.folder.reranker_folder import read_reranker_folder
from shardrank.models.folder.sparse_folder import read_sparse_folder, vocabulary
from shardrank.models.folder.sparse_modules import SparseTower, TermTower
from shardrank.models.folder.table import read_table_shape
from shardrank.models.folder.unnumbered import missing_beside_layers, missing_from_head
from shardrank.models.folder.vdr import SpaceTower, space_differences
from shardrank.models.folder.weights import find_weights
from shardrank.models.text.filler import filler, mark_id
from shardrank.models.text.tokens import load_tokeniser

#: Heads of other tasks, a pooler that an encoder may have, and a decoder that it may leave: parts
#: of a weight's name that say that no forward pass of ours uses it.
_IDLE_PARTS = frozenset(
    {"pooler", "cls", "classifier", "score", "qa_outputs", "decoder", "predictions", "head",
     "lm_head", "mlm_head", "lm_loss", "lm_predictions", "mask_predictions", "logits_proj",
     "generator_predictions", "generator_lm_head", "discriminator_predictions", "vocab_transform",
     "vocab_layer_norm", "vocab_projector", "pre_classifier", "sequence_summary"}
)  # fmt: skip
_IDLE_BUFFERS = ("position_ids", "token_type_ids", "inv_freq", "masked_bias")
#: From names of weights and config.json to what is missing.
_Missing = Callable[[Iterable[str], Mapping[str, Any]], list[str]]


def check_encoder(settings: EncoderSettings) -> None:
    """Raise InputError where the encoder that the settings name cannot be run right."""
    whole = settings.model_copy(update={"layers": None})  # what is left out has its use there
    towers = read_encoder_folder(whole).towers
    _check_tower(towers.documents, settings.trust_remote_code)
    if towers.queries != towers.documents:
        _check_tower(towers.queries, settings.trust_remote_code)


def check_reranker(settings: CrossSettings) -> None:
    """Raise InputError where the reranker that the settings name cannot be run right."""
    folder, trusted = read_reranker_folder(settings), settings.trust_remote_code
    layout = folder.layout
    if folder.head is not None:
        return _check_tower(folder.head, trusted)
    if folder.adapter is not None:
        _refuse(layout.transformer, *_packed_differences(layout, labels=0))
    elif is_packable(layout.config):
        _refuse(layout.transformer, *_packed_differences(layout, labels=folder.labels))
    elif is_modern(layout.config):
        _refuse(layout.transformer, *_modern_differences(layout, labels=folder.labels))
    else:
        _refuse(layout.transformer, _missing_by_name(layout, trusted, missing_from_head), [])
        # transformers takes seconds to load
        from shardrank.models.forward.padded import classifier_report

        _refuse(layout.transformer, *classifier_report(layout.transformer, trusted))
    _check_ids(layout, int(layout.config.get("vocab_size", 0)))


def check_sparse(settings: SparseSettings) -> None:
    """Raise InputError where the sparse encoder that the settings name cannot be run right."""
    towers = read_sparse_folder(settings).towers
    _check_sparse_tower(towers.documents, settings.trust_remote_code)
    if towers.queries != towers.documents:
        _check_sparse_tower(towers.queries, settings.trust_remote_code)


def check_late(settings: LateSettings) -> None:
    """Raise InputError where the model of token vectors that the settings name cannot be run
    right."""
    folder = read_late_folder(settings)
    tower = folder.tower
    _check_transformer(tower.source, settings.trust_remote_code, unread=(LINEAR,))
    check_steps(tower)
    _check_ids(tower.source, int(tower.source.config.get("vocab_size", 0)))
    tokeniser = load_tokeniser(tower.source)
    for before in (folder.config.query, folder.config.document):
        mark_id(tower.source, tokeniser, before.mark)
    if tower.expansion is not None:
        filler(tower.source, tokeniser, tower.expansion.token)


def check_image(settings: ImageSettings) -> None:
    """Raise InputError where the model of pictures and texts that the settings name cannot be run
    right."""
    folder = read_image_folder(settings)
    # transformers takes seconds to load
    from shardrank.models.encoders.image_inputs import text_ids
    from shardrank.models.forward.two_towers import tower_report

    _refuse(folder.layout.transformer, *tower_report(folder))
    _check_ids(folder.layout, folder.texts.vocabulary)
    text_ids(folder)


def check_decoder(layout: Layout, trusted: bool) -> None:
    """Raise InputError where the causal language model of a folder cannot be run right."""
    if is_plain_decoder(layout.config):
        held = read_headers(find_weights(layout.transformer).files)
        wanted = needed_of_decoder(layout.config, held)
        missing = [n for n, shape in wanted.items() if n not in held or held[n].shape != shape]
        besides = sorted(held.keys() - wanted.keys())
    else:
        # transformers takes seconds to load
        from shardrank.models.forward.single_decoder import causal_report

        missing, besides = causal_report(layout.transformer, trusted)
    _refuse(layout.transformer, missing, besides, used="lm_head")
    _check_ids(layout, int(layout.config.get("vocab_size", 0)))


def _check_sparse_tower(tower: SparseTower, trusted: bool) -> None:
    layout, terms = tower.source, vocabulary(tower)
    if isinstance(tower, TermTower | CountTower):
        pass  # the one tensor of a table gives the number of terms, and counts have none
    elif isinstance(tower, OwnTower):
        _refuse(layout.transformer, *own_differences(tower))
    elif isinstance(tower, SpaceTower):
        _refuse(layout.transformer, *space_differences(tower))
    elif is_packable_masked(layout.config):
        used = head_of(layout.config).root
        _refuse(layout.transformer, *_language_differences(layout), used)
    else:
        _refuse(layout.transformer, _missing_by_name(layout, trusted), [])
        # transformers takes seconds to load
        from shardrank.models.forward.padded_language import language_report

        _refuse(layout.transformer, *language_report(layout.transformer, trusted))
    _check_ids(layout, terms)


def _language_differences(layout: Layout) -> tuple[list[str], list[str]]:
    """Of a masked language model that packed.py runs, without a bias that its head has twice."""
    headers = read_headers(find_weights(layout.transformer).files)
    bare = {bare_name(name, family_of(layout.config)) for name in headers}
    wanted = needed(layout.config) | needed_language_head(layout.config, bare)
    missing, besides = differences(headers, wanted, layout.config)
    return missing, [name for name in besides if name != head_of(layout.config).other_bias]


def _check_tower(tower: Tower, trusted: bool) -> None:
    source = tower.source
    if isinstance(source, StaticTable):
        _check_ids(source, read_table_shape(source.folder).tokens)
        return
    if tower.body is None:  # else its author's own code says which weights it needs
        _check_transformer(source, trusted)
    _check_ids(source, int(source.config.get("vocab_size", 0)))


def _check_transformer(source: Layout, trusted: bool, unread: tuple[str, ...] = ()) -> None:
    """Of an encoder's transformer; `unread` are weights beside its own that are read otherwise."""
    if is_packable(source.config):
        missing, besides = _packed_differences(source, labels=0)
    elif is_modern(source.config):
        missing, besides = _modern_differences(source, labels=0)
    elif is_packed_decoder(source.config):
        held = read_headers(find_weights(source.transformer).files)
        missing, besides = decoder_differences(held, source.config)
    else:
        _refuse(source.transformer, _missing_by_name(source, trusted), [])
        # transformers takes seconds to load
        from shardrank.models.forward.padded import encoder_report

        missing, besides = encoder_report(source.transformer, trusted)
    _refuse(source.transformer, missing, [name for name in besides if name not in unread])


def _packed_differences(layout: Layout, labels: int) -> tuple[list[str], list[str]]:
    """Of a model that packed.py runs, with a classifier's head where it has labels."""
    wanted = needed(layout.config)
    wanted |= needed_head(layout.config, labels) if labels else {}
    return differences(read_headers(find_weights(layout.transformer).files), wanted, layout.config)


def _modern_differences(layout: Layout, labels: int) -> tuple[list[str], list[str]]:
    """As `_packed_differences`, of a model that packed_modern.py runs."""
    wanted = needed_of_modern(layout.config, labels)
    headers = read_headers(find_weights(layout.transformer).files)
    held = {name.removeprefix(PREFIX): header.shape for name, header in headers.items()}
    missing = [name for name, shape in wanted.items() if held.get(name) != shape]
    return missing, sorted(held.keys() - wanted.keys())


def _missing_by_name(layout: Layout, trusted: bool, *more: _Missing) -> list[str]:
    """What is not there for certain, seen before transformers is imported; of an author's own
    code that may run, nothing is certain."""
    if trusted and layout.config.get("auto_map"):
        return []
    held = read_headers(find_weights(layout.transformer).files)
    every = (missing_from_layers, missing_beside_layers, *more)
    return [name for missing in every for name in missing(held, layout.config)]


def _refuse(folder: Path, missing: Sequence[str], besides: Sequence[str], used: str = "\0") -> None:
    """Raise InputError for what is missing, or is there besides and not idle; nothing is idle whose
    name begins with what is `used`."""
    if missing:
        raise InputError(
            f"{folder} lacks {len(missing)} weights of its architecture, such as {missing[0]}, or "
            "has them in another shape.",
            "Name a folder whose weights are complete, and whose task is the one asked for.",
        )
    unknown = [n for n in besides if n.startswith(used) or not _is_idle(n)]
    if unknown:
        raise InputError(
            f"{folder} holds {len(unknown)} weights that its architecture has no use for, such as "
            f"{unknown[0]}: they may change what the model computes.",
            "Name the folder of a plain model, or save it again with the library that it is for.",
        )


def _is_idle(name: str) -> bool:
    return name.endswith(_IDLE_BUFFERS) or not _IDLE_PARTS.isdisjoint(name.split(".")[:2])


def _check_ids(source: Layout | StaticTable, rows: int) -> None:
    """Raise InputError where the tokeniser knows ids that the model has no vector for."""
    most = load_tokeniser(source).largest_id
    if rows and most >= rows:
        folder = source.transformer if isinstance(source, Layout) else source.folder
        raise InputError(
            f"{folder} has a tokeniser with ids up to {most:,}, and vectors for {rows:,} only.",
            "Name a folder whose tokeniser and weights belong together.",
        )
