"""What a column beside the first takes: a row for each family of encoders.

A row turns a card, and what is known of texts, into numbers: bytes on disk, and what a passage, a
query and a fit cost. How a stage reads, and on how many workers, is in column_needs.py; how fast
each thing goes is in rates.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from shardrank.core.cards import dim_of
from shardrank.core.centroids import centroid_count
from shardrank.forecast.model import SPECIALS, Model
from shardrank.forecast.rates import Rates
from shardrank.version.sizing import CodecPlan

#: Bytes that Parquet has beside the content: of a vector, a token's vector, a token's code, a term,
#: a passage's bits, and of a file.
_VECTOR, _TOKEN, _CODE, _TERM, _BITS, _FILE = 6.4, 0.9, 2.0, 0.2, 1.5, 400

#: Of a token of English: token vectors that are stored, since punctuation is skipped; words that
#: are counted once in a passage; terms that a model of SPLADE's kind gives a passage of 200.
HELD_A_TOKEN, WORDS_A_TOKEN, TERMS = 0.88, 0.36, 130.0

#: Words of a passage that serve as an anchor query, as tokens; special ones of a pair.
_ANCHOR_TOKENS, _PAIR_SPECIALS = 17, 3

#: Tokens of a question that is written about a passage, about; bytes of a token, and of a text
#: beside its own.
_QUESTION_TOKENS, _TOKEN_BYTES, _TEXT = 15, 2.2, 1.0

#: Rounds of k-means and of ITQ; numbers that are moved for each of a rotation's d³, by Gram and
#: Schmidt without a library.
_CENTROID_ROUNDS, _ITQ_ROUNDS, _ROTATED = 5, 50, 1

#: Tokens of a step of training, and multiply-adds forwards and back for one forwards.
_STEP, _BACK = 512, 3


@dataclass(frozen=True)
class Cost:
    """What a passage, a query, or a fit takes.

    Attributes:
        model: that runs; none: none does.
        inputs: of the model; `tokens` of each.
        tokenised: tokens that are made of texts.
        counted: tokens of texts whose words are counted.
        products: multiply-adds of float32 beside the model's.
        scattered: numbers that are moved or added one by one.
    """

    model: Model | None = None
    inputs: float = 0.0
    tokens: float = 0.0
    tokenised: float = 0.0
    counted: float = 0.0
    products: float = 0.0
    scattered: float = 0.0

    @property
    def flops(self) -> float:
        """Of the model."""
        return self.model.flops(self.tokens, self.inputs) if self.model else 0.0

    def work_s(self, rates: Rates) -> float:
        """Seconds of a core, the model's left out."""
        looked_up = rates.look_up_s(self.model, self.tokens, self.inputs) if self.model else 0.0
        return (
            looked_up
            + self.tokenised / rates.tokens_per_core_s
            + self.counted / rates.counted_tokens_per_core_s
            + self.products / rates.fp32_products_per_core_s
            + self.scattered / rates.scattered_numbers_per_core_s
        )


@dataclass(frozen=True)
class Texts:
    """What is known of texts.

    Attributes:
        passage: tokens of a passage, on average, without special ones; likewise `query`.
        read: tokens of a passage that the encoder's model reads; 0: not known, so as many as
            `passage` and the special ones.
        held: token vectors or terms that are stored of a passage; 0: not known.
        asked: tokens of a query that the encoder's model reads.
    """

    passage: float
    query: float
    read: float = 0.0
    held: float = 0.0
    asked: float = 0.0

    @property
    def input(self) -> float:
        """Tokens of a passage that are read."""
        return self.read or self.passage + SPECIALS

    @property
    def question(self) -> float:
        """Tokens of a query that are read."""
        return self.asked or self.query + SPECIALS


@dataclass(frozen=True)
class Takes:
    """What a family's column is and costs.

    Attributes:
        dim: components of a vector, or of a token's; 0: it holds terms.
        held: token vectors or terms of a passage; 1: one vector.
        asked: likewise of a query.
        bytes: of a passage's value on disk.
        passage, query, fit: what one of each costs.
        coded: bits of a component that is stored beside a centroid; 0: none is.
        centroids: that codes are of.
        compared: multiply-adds that comparing a query with a passage takes.
        written: tokens of texts that were written about a passage.
    """

    dim: int
    held: float
    asked: float
    bytes: float
    passage: Cost
    query: Cost
    fit: Cost = Cost()
    coded: int = 0
    centroids: int = 0
    compared: float = 0.0
    written: float = 0.0


@dataclass(frozen=True)
class Made:
    """What a column is made with.

    Attributes:
        settings, card: of its encoder.
        texts: what is known of them.
        source: the column that it is made of; none: texts.
        documents, queries: the models of either side; none: none runs.
        sampled: passages that it is fitted on.
    """

    settings: Any
    card: Any
    texts: Texts
    source: Takes | None = None
    documents: Model | None = None
    queries: Model | None = None
    sampled: int = 0


@dataclass(frozen=True)
class Column:
    """A column, and what is searched of it.

    Attributes:
        name: its encoder's.
        family: likewise.
        of: the column that it is made of; "": texts.
        takes: what it is and costs.
        sampled: passages that it is fitted on; 0: it is not.
        plan: of the index over it; none: there is none.
        shard_passages: of this index.
    """

    name: str
    family: str
    of: str
    takes: Takes
    sampled: int
    plan: CodecPlan | None
    shard_passages: int

    @property
    def reads_texts(self) -> bool:
        """Whether passages' texts are read, be it with what was written about them."""
        return not self.of or self.family in _OF_TEXTS


#: Families that read texts whatever column they are of.
_OF_TEXTS = ("dense", "bm25", "sparse", "views")


def takes(made: Made) -> Takes:
    """By the row of the card's family."""
    return ROWS[made.card.family](made)


def stored_bytes(bytes_: float, rows: float, files: int) -> float:
    """Of so many passages' values in files."""
    return bytes_ * rows + files * _FILE


def _dense(made: Made) -> Takes:
    card, texts = made.card, made.texts
    component = 2 if made.settings.stored == "fp16" else 4
    return _vector(made, dim_of(card), component, _read(made, texts.input), _asked(made))


def _vector(made: Made, dim: int, component: int, passage: Cost, query: Cost) -> Takes:
    return Takes(dim, 1, 1, vector_bytes(dim, component), passage, query, compared=dim)


def vector_bytes(dim: int, component: int) -> float:
    """Of a stored vector of so many components of so many bytes."""
    return dim * component + _VECTOR


def _read(made: Made, tokens: float) -> Cost:
    """Of a passage, and of what was written about it."""
    tokens += _written_tokens(made)
    return Cost(made.documents, 1, tokens, tokenised=tokens)


def _written_tokens(made: Made) -> float:
    return made.source.written if made.source else 0.0


def _asked(made: Made) -> Cost:
    tokens = made.texts.question
    return Cost(made.queries, 1, tokens, tokenised=tokens)


def _bm25(made: Made) -> Takes:
    """A term is a hash of 8 bytes and a count; those of a part are stored once."""
    texts, more = made.texts, _written_tokens(made)
    held = (texts.held or WORDS_A_TOKEN * texts.passage) + WORDS_A_TOKEN * more
    asked = WORDS_A_TOKEN * 2 * texts.query
    return Takes(
        0,
        held,
        asked,
        held * (12 + _TERM) + _VECTOR,
        Cost(counted=texts.passage + more),
        Cost(counted=texts.query),
    )


def _sparse(made: Made) -> Takes:
    """A term is a number of 4 bytes and an fp16."""
    held = float(made.card.top or TERMS)
    held = min(held, TERMS)
    asked = min(float(made.card.query_top or TERMS), 2 * made.texts.query)
    passage, query = _read(made, made.texts.input), _asked(made)
    return Takes(0, held, asked, held * (6 + _TERM) + _VECTOR, passage, query)


def _late(made: Made) -> Takes:
    """Of codes each token is compared with all centroids."""
    card, texts = made.card, made.texts
    held = texts.held or HELD_A_TOKEN * texts.input / card.pool
    sampled = made.sampled * held
    centroids = (made.settings.centroids or centroid_count(int(sampled))) if card.bits else 0
    token = card.dim * 2 + _TOKEN
    if card.bits:
        token = card.dim * card.bits / 8 + (2 if centroids <= 1 << 16 else 4) + _CODE
    compared = held * centroids * card.dim
    read = _read(made, texts.input)
    passage = Cost(read.model, 1, read.tokens, read.tokenised, 0.0, compared, held * card.dim)
    fit = Cost(
        read.model,
        made.sampled,
        read.tokens,
        made.sampled * read.tokenised,
        products=sampled * centroids * card.dim * _CENTROID_ROUNDS,
        scattered=min(sampled, 1 << 15) * card.dim * 40,
    )
    return Takes(
        card.dim,
        held,
        texts.question,
        held * token + _VECTOR,
        passage,
        _asked(made),
        fit if card.bits else Cost(),
        card.bits,
        centroids,
        texts.question * held * card.dim,
    )


def _bits(made: Made) -> Takes:
    """A vector is turned by a matrix, where the settings want it turned."""
    card, settings = made.card, made.settings
    turned = 0 if settings.rotation == "none" else card.dim * card.dim
    rounds = _ITQ_ROUNDS if settings.rotation == "itq" else 1
    once = Cost(products=turned, scattered=card.dim)
    moved = made.sampled * card.dim * 10 + _ROTATED * turned * card.dim
    fit = Cost(products=made.sampled * turned * 2 * rounds, scattered=moved)
    compared = card.dim if settings.asked == "vectors" else card.dim * 0.3
    bytes_ = card.dim * card.bits / 8 + _BITS
    return Takes(card.dim, 1, 1, bytes_, once, Cost(), fit, compared=compared)


def _muvera(made: Made) -> Takes:
    """Each token is put into a cell of every space, and projected there."""
    source, settings = _source(made), made.settings
    cells = settings.repetitions * settings.planes
    kept = source.dim if settings.inner is None else settings.repetitions * settings.inner
    token = source.dim * (cells + kept)
    values = settings.repetitions * source.dim

    def cost(tokens: float) -> Cost:
        return Cost(products=tokens * token, scattered=tokens * values + made.card.dim)

    return _vector(made, made.card.dim, 2, cost(source.held), cost(source.asked))


def _learned(made: Made) -> Takes:
    """Each token is compared with the fixed ones, whose largest products are mapped."""
    source, settings = _source(made), made.settings
    fixed, dim = settings.tokens, made.card.dim
    passage = Cost(
        products=fixed * (source.held * source.dim + dim), scattered=source.held * fixed / 4
    )
    query = Cost(products=source.asked * source.dim * dim)
    training = settings.steps * _STEP * _BACK * dim * (source.dim + settings.passages)
    compared = 4 * fixed * settings.passages * source.held * source.dim
    fit = Cost(products=training + compared, scattered=made.sampled * source.held * source.dim)
    found = _vector(made, dim, 2, passage, query)
    return Takes(dim, 1, 1, found.bytes, passage, query, fit, compared=dim)


def _document(made: Made) -> Takes:
    """A passage's vector is added to its document's, which is stored beside each passage."""
    dim = made.card.dim
    found = _vector(made, dim, 2, Cost(scattered=2 * dim), Cost())
    return replace(found, bytes=_source(made).bytes)


def _anchors(made: Made) -> Takes:
    """A passage is a pair with each anchor query, and a query one with each anchor passage."""
    card, settings, texts = made.card, made.settings, made.texts
    component = 2 if card.stored == "fp16" else 4
    input_ = min(card.max_tokens, texts.input + _ANCHOR_TOKENS)
    asked = min(card.max_tokens, texts.query + texts.input + 1)
    passage = Cost(made.documents, card.dim, input_, texts.input)
    query = Cost(made.queries, card.anchor_passages, asked, texts.query)
    pairs = settings.anchor_queries * card.anchor_passages
    fit = Cost(made.documents, pairs, input_, made.sampled * texts.input)
    bytes_ = vector_bytes(card.dim, component)
    return Takes(card.dim, 1, 1, bytes_, passage, query, fit, compared=card.dim)


def _written(made: Made) -> Takes:
    """A passage is read, and what is written of it passes through the model token by token. The
    filter's sample goes through the other side."""
    settings, texts = made.settings, made.texts
    written = texts.held or settings.count * float(_QUESTION_TOKENS)
    passage = Cost(made.documents, 1, texts.input + written, tokenised=texts.input)
    fit = Cost(made.queries, made.sampled, texts.input, made.sampled * texts.input)
    bytes_ = settings.count * _TEXT + written * _TOKEN_BYTES
    fitted = fit if made.sampled else Cost()
    return Takes(0, settings.count, 0, bytes_, passage, Cost(), fitted, written=written)


def _views(made: Made) -> Takes:
    """A vector of the passage, and one of each text that was written about it, as far as it is
    known how many there are."""
    dim, held = made.card.dim, 1 + (made.source.held if made.source else 0.0)
    passage, query = _read(made, made.texts.input), _asked(made)
    bytes_ = held * (dim * 2 + _TOKEN) + _VECTOR
    return Takes(dim, held, 1, bytes_, passage, query, compared=held * dim)


def _source(made: Made) -> Takes:
    assert made.source is not None
    return made.source


#: What a column of each family takes.
ROWS: dict[str, Callable[[Made], Takes]] = {
    "dense": _dense,
    "image": _dense,
    "bm25": _bm25,
    "sparse": _sparse,
    "late": _late,
    "bits": _bits,
    "muvera": _muvera,
    "learned": _learned,
    "document": _document,
    "anchors": _anchors,
    "written": _written,
    "views": _views,
}
