"""Encoders of words and terms that read what was written about a passage as more of its text:
document expansion by query prediction (Nogueira et al. 2019, arXiv:1904.08375). Imports no
torch."""

import pyarrow as pa

from shardrank.core.model_settings import Texts
from shardrank.core.protocols import ColumnEncoder
from shardrank.core.written import Beside


class ExpandedTexts:
    """Passages and what was written about them, each as one text → a column of an encoder of texts
    (protocol: ColumnEncoder). Queries go through that encoder as they are."""

    def __init__(self, encoder: ColumnEncoder, texts: Texts) -> None:
        self._encoder, self._texts = encoder, texts

    def column(self, read: pa.Array) -> pa.Array:
        """As the encoder's; reads what `shardrank.core.written.beside` makes."""
        return self._encoder.column(pa.array(expanded(Beside.of(read), self._texts), pa.string()))

    def queries(self, read: pa.Array) -> pa.Array:
        """As the encoder's."""
        return self._encoder.queries(read)


def expanded(read: Beside, texts: Texts) -> list[str]:
    """One text a passage: with append its own and the written ones behind it, each after a blank;
    with alone the written ones, so "" where there are none."""
    both = zip(read.texts, read.written, strict=True)
    return [" ".join([text, *more] if texts == "append" else more) for text, more in both]
