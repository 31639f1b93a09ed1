"""Texts that a language model writes about passages, as a column: each passage is asked about, and
what a bi-encoder does not find it by is dropped."""

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from shardrank.core.cards import WrittenCard
from shardrank.core.errors import InputError
from shardrank.core.finite import ENOUGH
from shardrank.core.protocols import CountedColumn
from shardrank.core.written import WRITTEN
from shardrank.core.written_settings import WrittenSettings
from shardrank.models.encoders.consistency import ConsistencyFilter, load_filter
from shardrank.models.text_writer import TextWriter, Written, load_writer


class WrittenTexts:
    """Passages → texts about them (protocols: ColumnEncoder, CountingEncoder)."""

    def __init__(self, writer: TextWriter, filter: ConsistencyFilter | None) -> None:
        self._writer, self._filter = writer, filter

    def column(self, read: pa.Array) -> pa.Array:
        """List<string>, a row a text."""
        return self.counted_column(read).values

    def counted_column(self, read: pa.Array) -> CountedColumn:
        """The same, and how many texts were "written", and of these "kept" and "dropped"; passages
        that were "asked" about, which blank ones are not, and "silent" ones, about which nothing
        was written; and what the writer counts (`shardrank.models.text_writer.Written`).

        Raises:
            InputError: nothing was written about any of many passages.
        """
        passages = read.to_pylist()
        asked = list(dict.fromkeys(text for text in passages if text.strip()))
        made = self._writer.write(asked)
        self._refuse_silence(made)
        texts = dict(zip(asked, made.texts, strict=True))
        written = [texts.get(passage, ()) for passage in passages]
        kept: Sequence[Sequence[str]] = written
        if self._filter is not None:
            kept = self._filter.kept(passages, written)
        return CountedColumn(pa.array(kept, WRITTEN), _counts(passages, written, kept, made))

    def queries(self, read: pa.Array) -> pa.Array:
        """Queries are what they are."""
        return read

    def _refuse_silence(self, made: Written) -> None:
        asked = len(made.texts)
        if asked < ENOUGH or any(made.texts):
            return
        told = ", ".join(f"{count:,} {name}" for name, count in made.counts.items() if count)
        raise InputError(
            f"The language model {self._writer.settings.model!r} writes nothing about any of "
            f"{asked:,} passages ({told or 'no answers'}).",
            "Its logits may be no numbers (run it in fp32), its prompt may not suit it, or "
            "answer_tokens or max_tokens may be too few.",
        )


def load_written(
    settings: WrittenSettings, device: str, card: WrittenCard, codec: bytes | None
) -> WrittenTexts:
    """What makes the column that the settings ask for.

    Raises:
        InputError, SettingsError: as loading the models.
        IntegrityError: a model here is another one, or the filter has no sample.
    """
    writer = load_writer(settings, device, card.writer)
    return WrittenTexts(writer, load_filter(settings, device, card, codec))


def _counts(
    passages: Sequence[str],
    written: Sequence[Sequence[str]],
    kept: Sequence[Sequence[str]],
    made: Written,
) -> Counter[str]:
    total, stayed = (sum(map(len, texts)) for texts in (written, kept))
    asked = sum(1 for passage in passages if passage.strip())
    silent = asked - sum(map(bool, written))
    own = Counter(written=total, kept=stayed, dropped=total - stayed, asked=asked, silent=silent)
    return Counter({**made.counts, **own})
