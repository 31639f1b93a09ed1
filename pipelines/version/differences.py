"""What has changed since a version was made: from what to what, in the words of the settings."""

from collections.abc import Iterator
from typing import Any

from shardrank.core.cards import BesideWritten, Bm25Card, ColumnCard, WrittenCard, weights_of
from shardrank.core.model_settings import DENSE
from shardrank.version.manifest import Recipe, StoredEncoder

#: Of a card: whose it is, and fingerprints, which say no one anything; and cards in it.
_NAMES = (
    *("name", "family", "fingerprint", "weights_sha256", "tokeniser_fingerprint"),
    *("beside", "writer", "filter"),
)

#: Of an encoder's settings: where the model is, and what belongs to the command.
_NOT_OURS = ("model", "revision", "trust_remote_code", "name", "family")

#: Of a card of texts, what may be the model's own.
_LIMITS = ("max_tokens", "dtype")

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
    if isinstance(before.card, WrittenCard) and isinstance(now.card, WrittenCard):
        yield from _of_writing(table, before, now) or [_files(before, now)]
        return
    old, new = vars(before.card), vars(now.card)
    differing = [name for name in new if name not in _NAMES and old.get(name) != new[name]]
    yield from (_said(f"{table}.{name}", old.get(name), new[name]) for name in differing)
    if before.stored != now.stored:
        yield _said(f"{table}.stored", before.stored, now.stored)
    yield from _beside(table, before, now)
    if differing or _own(before.card) == _own(now.card):
        return
    if now.values_of:
        yield f"{table} reads {now.values_of}, which changed"
        return
    if isinstance(now.card, Bm25Card):
        yield f"what counts as a word of {table}: by another version of Python or of shardrank"
        return
    yield _files(before, now)


def _files(before: StoredEncoder, now: StoredEncoder) -> str:
    both = (getattr(each.card, "tokeniser_fingerprint", None) for each in (before, now))
    kept = len(set(both)) == 1
    what = "its config, its modules or the code that it trusts" if kept else "its tokeniser"
    return f"the files of {_place(now)}, whose weights are the same: {what}"


def _own(card: ColumnCard) -> str:
    """The fingerprint of an encoder without what was written about passages."""
    found: BesideWritten | None = getattr(card, "beside", None)
    return found.own if found else card.fingerprint


def _beside(table: str, before: StoredEncoder, now: StoredEncoder) -> Iterator[str]:
    """Of what is read beside passages, and how."""
    old, new = (getattr(each.card, "beside", None) for each in (before, now))
    if not old and not new:
        return
    for name in ("of", "texts", "written_weight"):
        one, other = (getattr(each.settings, name, None) for each in (before, now))
        if one != other:
            yield _said(f"{table}.{name}", one, other)
    if old and new and old.written != new.written:
        yield f"{table} reads {now.made_of}, which changed"


def _of_writing(table: str, before: StoredEncoder, now: StoredEncoder) -> list[str]:
    """Of texts that the same model writes."""
    assert isinstance(before.card, WrittenCard)
    assert isinstance(now.card, WrittenCard)
    old, new = before.card, now.card
    found = _settings(table, before, now)
    prompts = [getattr(each.settings, "prompt", "") for each in (before, now)]
    if old.writer.prompt != new.writer.prompt and prompts[0] == prompts[1]:
        found.append(f"the text of {table}.prompt ({prompts[1]})")
    if old.filter != new.filter and not any("filter_model" in each for each in found):
        found.append(f"the files of {table}.filter_model")
    limits = [(name, getattr(old.writer, name), getattr(new.writer, name)) for name in _LIMITS]
    named = " ".join(found)
    more = [_said(f"{table}.{n}", a, b) for n, a, b in limits if a != b and f".{n} " not in named]
    return [*found, *more]


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
