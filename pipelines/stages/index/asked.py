"""Queries of a file that an encoder learns of, beside a sample of passages."""

import pyarrow as pa

from shardrank.core.errors import InputError, SettingsError
from shardrank.core.settings import Settings
from shardrank.corpus.queries import read_queries
from shardrank.models.encoders.registry import family_of
from shardrank.storage import Sources
from shardrank.version.manifest import StoredEncoder


def asked_queries(encoder: StoredEncoder, settings: Settings) -> pa.Table | None:
    """The different texts of the file that the encoder's settings name, as a column "text", in
    their order; None: they name none.

    Raises:
        InputError: the file cannot be read, or holds no query.
        SettingsError: it holds fewer than the encoder needs.
    """
    fit = family_of(encoder.settings).fit
    wanted = fit.asked(encoder.settings) if fit else None
    if wanted is None:
        return None
    sources = Sources(settings.s3)
    listing = sources.listing(wanted.path, settings.corpus.allow_unread)
    texts = read_queries(listing.read, sources.open, settings.corpus).table["text"]
    if not len(texts):
        raise InputError(f"{wanted.path} holds no usable query.", "Queries need an id and a text.")
    found = pa.table({"text": texts.unique()})
    if found.num_rows < wanted.least:
        raise SettingsError(
            f"The encoder {encoder.name!r} wants {wanted.least:,} queries, and {wanted.path} holds "
            f"{found.num_rows:,} different ones.",
            f"Set encoder.{encoder.name}.anchor_queries to {found.num_rows} or less.",
        )
    return found
