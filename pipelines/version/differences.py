"""What has changed since a version was made: from what to what, in the words of the settings."""

from collections.abc import Iterator
from typing import Any

from shardrank.core.cards import Bm25Card, weights_of
from shardrank.core.model_settings import DENSE
from shardrank.version.manifest import Recipe, StoredEncoder

#: Of a card: whose it is, and fingerprints, which say no one anything.
_NAMES = ("name", "family", "fingerprint", "weights_sha256", "tokeniser_fingerprint")

#: Of an encoder's settings: where the model is, and what belongs to the command.
_NOT_OURS = ("model", "revision", "trust_remote_code", "name", "family")

#: Digits of a sha256 that are shown.
_DIGITS = 12


def cut_differences(before: Recipe, now: Recipe) -> list[str]:
    """Of how documents are cut, as it works out with either encoder."""
    names = ("by", "markup", "split", "max_tokens", "overlap")
    both = ((name, getattr(before, name), getattr(now, name)) for name in names)
    found = [_said(f"passages.{name}", old, new) for name, old, new in both if old != new]
    if before.sentences and now.sentences and before.sentences != now.sentences:
        places = (before.sentence_model, now.sentence_model)
        found.append(_said("passages.sentence_model, or its files,", *places))
    if before.rules and now.rules and before.rules != now.rules:
        found.append(_said("shardrank's rules of sentences and headings", before.rules, now.rules))
    return found


def encoder_differences(before: StoredEncoder, now: StoredEncoder) -> list[str]:
    """Of what makes a column; none where both make the same of the same passages."""
    if before.makes_as(now):
        return []
    table = "encoder" if now.name == DENSE else f"encoder.{now.name}"
    if before.card.family != now.card.family:
        return [_said(f"{table}.family", before.card.family, now.card.family)]
    if weights_of(before.card) != weights_of(now.card):
        return [_model(table, before, now), *_settings(table, before, now)]
    return list(_same_weights(table, before, now))


def _same_weights(table: str, before: StoredEncoder, now: StoredEncoder) -> Iterator[str]:
    old, new = vars(before.card), vars(now.card)
    differing = [name for name in new if name not in _NAMES and old.get(name) != new[name]]
    yield from (_said(f"{table}.{name}", old.get(name), new[name]) for name in differing)
    if before.stored != now.stored:
        yield _said(f"{table}.stored", before.stored, now.stored)
    if differing or before.card.fingerprint == now.card.fingerprint:
        return
    if isinstance(now.card, Bm25Card):
        yield f"what counts as a word of {table}: by another version of Python or of shardrank"
        return
    kept = old.get("tokeniser_fingerprint") == new.get("tokeniser_fingerprint")
    what = "its config, its modules or the code that it trusts" if kept else "its tokeniser"
    yield f"the files of {_place(now)}, whose weights are the same: {what}"


def _model(table: str, before: StoredEncoder, now: StoredEncoder) -> str:
    there, here = _place(before), _place(now)
    if there != here:
        return _said(f"{table}.model", there, here)
    old, new = weights_of(before.card)[:_DIGITS], weights_of(now.card)[:_DIGITS]
    return f"the weights of {here}, which is named as before: sha256 from {old}… to {new}…"


def _settings(table: str, before: StoredEncoder, now: StoredEncoder) -> list[str]:
    old, new = before.settings.deciding(), now.settings.deciding()
    names = [n for n in new if n not in _NOT_OURS and old.get(n) != new[n]]
    return [_said(f"{table}.{name}", old.get(name), new[name]) for name in names]


def _said(name: str, before: Any, now: Any) -> str:
    return f"{name} from {_shown(before)} to {_shown(now)}"


def _shown(value: Any) -> str:
    """As a TOML file would have it, but for none."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if value == "" or str(value) != str(value).strip() else str(value)


def _place(encoder: StoredEncoder) -> str:
    revision = getattr(encoder.settings, "revision", None)
    return f"{encoder.card.name}@{revision}" if revision else encoder.card.name
