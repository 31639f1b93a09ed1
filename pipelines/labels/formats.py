"""The forms that labels take: for each, its columns, its loss, and where it comes from.

Rows name candidates by number, so that no text is touched here. The losses are those of
sentence-transformers; `columns` are what it expects, in its order, with the label last.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from shardrank.core.arrays import Float32, Int32, Int64
from shardrank.core.errors import SettingsError
from shardrank.core.settings import LabelSettings
from shardrank.core.spelling import meant
from shardrank.labels.choose import CHOSEN, Chosen, choose, positives_of, sigmoid
from shardrank.labels.curriculum import easiness, weigh_alone, weigh_pairs
from shardrank.labels.scored import Scored, by_score, runs_of, within_runs

TOO_FEW = "fewer negatives than asked for"
SHORT_LIST = "its positive has fewer negatives than asked for"
NO_ORDER = "no two negatives of different scores"
NOTHING = "no candidate that a teacher could score"


@dataclass(frozen=True)
class TrainingRows:
    """r training rows.

    Attributes:
        query: int32[r].
        passages: int64[m], candidates of all rows one after the other.
        width: of each row, where all have as many; 0 where they differ.
        offsets: int64[r + 1], where each row's begin.
        labels: float32, flat; none where the format has no label.
        label_offsets: int64[r + 1] into the labels.
        weight: float32[r], or none.
        pairs: what became of each (positive, negative) pair; empty where all candidates serve.
        set_aside: query → reason, of the queries without a row.
    """

    query: Int32
    passages: Int64
    width: int
    offsets: Int64
    labels: Float32 | None
    label_offsets: Int64
    weight: Float32 | None
    pairs: Counter[str]
    set_aside: dict[int, str]


@dataclass(frozen=True)
class Format:
    """A form of labels.

    Attributes:
        columns: of the passages, by name; one that ends in "*" is repeated (negative_1 …), one
            that ends in "[]" holds a list.
        label: the label's column; a list where it ends in "[]"; none without one.
        judged: whether it needs positives.
        loss: the losses of sentence-transformers that take it as it is.
        source: the paper.
    """

    name: str
    columns: tuple[str, ...]
    label: str | None
    judged: bool
    loss: str
    source: str
    build: Callable[[Scored, LabelSettings], TrainingRows]

    @property
    def about(self) -> str:
        """The folder of all that is told about the rows. These lie alone in a folder called like
        the format: `datasets` reads every file below a folder, whatever it is called."""
        return f"about/{self.name}"

    @property
    def manifest(self) -> str:
        """The file that says that the rows are finished."""
        return f"{self.about}/manifest.json"


def get_format(name: str) -> Format:
    """Raises SettingsError where there is no such format."""
    if name not in FORMATS:
        hint = f"{meant(name, FORMATS)}Known: {', '.join(FORMATS)}."
        raise SettingsError(f"There is no label format {name!r}.", hint)
    return FORMATS[name]


def _triplets(scored: Scored, settings: LabelSettings) -> TrainingRows:
    chosen = choose(scored, settings)
    return _of_pairs(scored, settings, chosen, chosen.positive, chosen.negative, None)


def _margins(scored: Scored, settings: LabelSettings) -> TrainingRows:
    """Teacher margin s(q, d+) - s(q, d-): equation 2."""
    chosen = choose(scored, settings)
    margin = scored.score[chosen.positive] - scored.score[chosen.negative]
    return _of_pairs(scored, settings, chosen, chosen.positive, chosen.negative, margin[:, None])


def _preferences(scored: Scored, settings: LabelSettings) -> TrainingRows:
    """Log-probabilities that the first is better, σ(s1 - s2), and that the second is: section 3,
    with the teachers' preference as target. Their softmax is the preference itself."""
    chosen = choose(scored, settings)
    gap = (scored.score[chosen.positive] - scored.score[chosen.negative]).astype(np.float64)
    target = -np.logaddexp(0.0, np.stack([-gap, gap], axis=1))
    labels = target.astype(np.float32)
    return _of_pairs(scored, settings, chosen, chosen.positive, chosen.negative, labels)


def _order(scored: Scored, settings: LabelSettings) -> TrainingRows:
    """All ordered pairs among a query's chosen negatives: the better one stands as positive."""
    chosen = choose(scored, settings)
    rows = np.unique(chosen.negative)
    rows = rows[by_score(scored.query[rows], scored.score[rows], scored.key[rows])]
    better, worse = _later(scored.query[rows])
    better, worse = rows[better], rows[worse]
    unequal = scored.score[better] > scored.score[worse]
    made = _of_pairs(scored, settings, chosen, better[unequal], worse[unequal], None)
    lacking = set(np.unique(scored.query[rows]).tolist()) - set(made.query.tolist())
    aside = chosen.set_aside | dict.fromkeys(sorted(lacking), NO_ORDER)
    return replace(made, set_aside=aside)


def _later(query: Int32) -> tuple[Int64, Int64]:
    """Every pair (i, j), i < j, of one query's rows."""
    lengths = runs_of(query)[1]
    counts = np.repeat(lengths, lengths) - within_runs(lengths) - 1
    first = np.repeat(np.arange(len(query)), counts)
    return first, first + 1 + within_runs(counts)


def _lists(scored: Scored, settings: LabelSettings) -> TrainingRows:
    """A positive and its negatives, with the log of the teachers' softmax at the temperature."""
    chosen = choose(scored, settings, fill=True)
    width = settings.negatives + settings.random_negatives + settings.batch_negatives
    starts, lengths = runs_of(chosen.positive)
    full = starts[lengths >= width]
    negatives = chosen.negative[full[:, None] + np.arange(width)]
    positives = chosen.positive[full]
    passages = np.concatenate([positives[:, None], negatives], axis=1)
    logits = scored.score[passages].astype(np.float64) / settings.temperature
    labels = (logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)).astype(np.float32)
    lacking = set(scored.query[chosen.positive].tolist()) - set(scored.query[positives].tolist())
    short = Counter({CHOSEN: -int(lengths[lengths < width].sum())})
    short[SHORT_LIST] = -short[CHOSEN]
    weight = None
    if settings.curriculum != "none":
        ease = easiness(scored, settings.curriculum)
        each = weigh_pairs(ease, np.repeat(positives, width), negatives.ravel())
        weight = each.reshape(-1, width).mean(axis=1, dtype=np.float32)
    return TrainingRows(
        query=scored.query[positives],
        passages=passages.ravel(),
        width=width + 1,
        offsets=_even(len(positives), width + 1),
        labels=labels.ravel(),
        label_offsets=_even(len(positives), width + 1),
        weight=weight,
        pairs=_sum(chosen.pairs, short),
        set_aside=chosen.set_aside | dict.fromkeys(sorted(lacking), TOO_FEW),
    )


def _sum(pairs: Counter[str], change: Counter[str]) -> Counter[str]:
    moved = Counter(pairs)
    moved.update(change)
    return +moved


def _matrix(scored: Scored, settings: LabelSettings) -> TrainingRows:
    """A query, all its candidates, and their scores."""
    starts, _ = runs_of(scored.query)
    offsets = np.append(starts, len(scored)).astype(np.int64)
    weight = None
    if settings.curriculum != "none":
        alone = _alone(scored, settings)
        sums = np.add.reduceat(alone, starts) if len(starts) else alone
        weight = (sums / np.diff(offsets)).astype(np.float32)
    every = np.arange(len(scored))
    query = scored.query[starts]
    return TrainingRows(query, every, 0, offsets, scored.score, offsets, weight, Counter(), {})


def _points(scored: Scored, settings: LabelSettings) -> TrainingRows:
    label = scored.score if settings.scale == "logit" else sigmoid(scored.score)
    return _of_single(scored, settings, label)


def _pseudo(scored: Scored, settings: LabelSettings) -> TrainingRows:
    """The bi-encoder's cosine, cut to [0, 1], as the cross-encoder's target."""
    return _of_single(scored, settings, np.clip(scored.retrieval, 0, 1))


def _of_pairs(
    scored: Scored,
    settings: LabelSettings,
    chosen: Chosen,
    first: Int64,
    second: Int64,
    labels: Float32 | None,
) -> TrainingRows:
    weight = None
    if settings.curriculum != "none":
        weight = weigh_pairs(easiness(scored, settings.curriculum), first, second)
    return TrainingRows(
        query=scored.query[first],
        passages=np.stack([first, second], axis=1).ravel(),
        width=2,
        offsets=_even(len(first), 2),
        labels=None if labels is None else labels.ravel(),
        label_offsets=_even(len(first), 0 if labels is None else labels.shape[1]),
        weight=weight,
        pairs=chosen.pairs,
        set_aside=chosen.set_aside,
    )


def _of_single(scored: Scored, settings: LabelSettings, labels: Float32) -> TrainingRows:
    every = np.arange(len(scored))
    weight = _alone(scored, settings) if settings.curriculum != "none" else None
    even = _even(len(scored), 1)
    return TrainingRows(scored.query, every, 1, even, labels, even, weight, Counter(), {})


def _alone(scored: Scored, settings: LabelSettings) -> Float32:
    ease = easiness(scored, settings.curriculum)
    return weigh_alone(ease, positives_of(scored, settings))


def _even(rows: int, width: int) -> Int64:
    return np.arange(rows + 1, dtype=np.int64) * width


#: By name, as `shardrank label --format NAME` takes them.
FORMATS = {
    form.name: form
    for form in (
        Format(
            "triplets",
            ("positive", "negative"),
            None,
            True,
            "MultipleNegativesRankingLoss, TripletLoss",
            "hard labels; Henderson et al. 2017, arXiv:1705.00652, section 4",
            _triplets,
        ),
        Format(
            "margin-mse",
            ("positive", "negative"),
            "score",
            True,
            "MarginMSELoss",
            "Hofstätter et al. 2020, arXiv:2010.02666, equation 2",
            _margins,
        ),
        Format(
            "listwise",
            ("positive", "negative*"),
            "label[]",
            True,
            "DistillKLDivLoss(temperature=1)",
            "Lin et al. 2020, arXiv:2010.11386, equation 5; KL(teacher ‖ student)",
            _lists,
        ),
        Format(
            "ranknet",
            ("positive", "negative"),
            "label[]",
            True,
            "DistillKLDivLoss(temperature=1)",
            "Burges et al. 2005, section 3: cross entropy of σ(s1 - s2), up to a constant",
            _preferences,
        ),
        Format(
            "partial-order",
            ("positive", "negative"),
            None,
            True,
            "MultipleNegativesRankingLoss, TripletLoss",
            "Chen et al. 2024, arXiv:2407.07479: the order among hard negatives",
            _order,
        ),
        Format(
            "soft-labels",
            ("passages[]",),
            "labels[]",
            False,
            "cross_encoder.losses.ListNetLoss",
            "Cao et al. 2007, ListNet; a query's row of the score matrix",
            _matrix,
        ),
        Format(
            "pointwise",
            ("passage",),
            "score",
            False,
            "cross_encoder.losses.MSELoss; CosineSimilarityLoss with label.scale = sigmoid",
            "Barkan et al. 2019, arXiv:1908.05161, distilled sentence embedding",
            _points,
        ),
        Format(
            "pseudo-pairs",
            ("passage",),
            "score",
            False,
            "cross_encoder.losses.BinaryCrossEntropyLoss",
            "Liu et al. 2021, Trans-Encoder, arXiv:2109.13059, section 3.1",
            _pseudo,
        ),
        Format(
            "tevatron",
            ("positive_passages[]", "negative_passages[]"),
            None,
            True,
            "tevatron's training file, JSON Lines",
            "https://github.com/texttron/tevatron",
            _triplets,
        ),
    )
}
