"""What a family of encoders is: how it is read, loaded, fitted, and what it takes of texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from shardrank.core.cards import ColumnCard
from shardrank.core.protocols import Codecs, ColumnEncoder
from shardrank.models.encoders.looks import Looked
from shardrank.models.size import Sides


@dataclass(frozen=True)
class Fitting:
    """What a codec is fitted with.

    Attributes:
        settings, card: of the encoder.
        device: torch's name of a device.
        source: the codec of the column that it is made of, if it has one.
        sample: passages drawn at random, as `ColumnEncoder.column` reads them.
        asked: strings, the queries of the file that the settings name; none: they name none.
    """

    settings: Any
    card: Any
    device: str
    source: bytes | None
    sample: pa.Array
    asked: pa.Array | None = None


@dataclass(frozen=True)
class Asked:
    """A file of queries, and how many different ones are needed."""

    path: str
    least: int


@dataclass(frozen=True)
class Fit:
    """How a family is fitted.

    Attributes:
        rows: settings, card → how many passages are drawn; 0: nothing is fitted.
        make: a sample → the codec: safetensors bytes that depend on nothing but it.
        asked: settings → the queries that are read beside the sample; none: there are none.
    """

    rows: Callable[[Any, Any], int]
    make: Callable[[Fitting], bytes]
    asked: Callable[[Any], Asked | None] = lambda settings: None


@dataclass(frozen=True)
class Reads:
    """How much a family takes of texts, known without running it: for forecasts.

    Attributes:
        look: settings, card, texts → what is read and kept of them.
        sides: settings → the sizes of the models that documents and queries go through; none: no
            model runs.
        asked: settings, card, tokens of a query → those that a model reads of it, and as many
            vectors as it has where each has one.
    """

    look: Callable[[Any, Any, Sequence[str]], Looked]
    sides: Callable[[Any], Sides] | None = None
    asked: Callable[[Any, Any, float], float] = lambda settings, card, tokens: tokens + 2


@dataclass(frozen=True)
class Family:
    """A family of encoders.

    Attributes:
        read: settings, and the card of the column that it is made of (none: of texts) → card, whose
            fingerprint then holds that one's. Raises InputError where the model is absent or not
            understood, and where it cannot be made of such a column.
        load: settings, device, card, what was fitted → encoder.
        runs_a_model: on a pool of actors, and on a GPU where there is one.
        fit: what is learnt of a sample before any column is made; none: nothing is.
        reads: how much it takes of texts; none: it reads another column.
        read_again: settings, a version's card → the card of what is here, where files that were
            read into the version may be gone, and the column that it is made of is the version's;
            none: as `read`.
        spares_deleted: whether a value costs so much that deleted passages are read as "".
    """

    read: Callable[[Any, ColumnCard | None], ColumnCard]
    load: Callable[[Any, str, Any, Codecs], ColumnEncoder]
    runs_a_model: bool
    fit: Fit | None = None
    reads: Reads | None = None
    read_again: Callable[[Any, Any], ColumnCard] | None = None
    spares_deleted: bool = False
