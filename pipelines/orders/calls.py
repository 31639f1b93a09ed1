"""How often a model is asked about a query's list, and how much it reads, writes and keeps."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shardrank.core.reranker_settings import (
    AnswerSettings,
    AttentionSettings,
    EnrichedSettings,
    GroupwiseSettings,
    ListSettings,
    ListwiseSettings,
    PairwiseSettings,
    RerankerSettings,
    SetwiseSettings,
)
from shardrank.orders.groups import Groups
from shardrank.orders.sets import most_calls as most_sets
from shardrank.orders.windows import Windows

#: Tokens of a prompt without its query and passages, where nobody counted them; of an identifier;
#: and of what stands behind a passage that is asked about by itself. By SmolLM2's tokeniser
#: shardrank's own prompts have 70 to 110, rank-zephyr 145, rank-r1 180, and grouprank 490.
PROMPT_TOKENS, NAME_TOKENS, END_TOKENS = 150, 6, 30

#: Tokens that a model may put around an answer: blanks, a code fence, <answer>.
AROUND_ANSWER = 16

#: Tokens that a cross-encoder adds to a pair.
PAIR_SPECIALS = 3

#: Tokens of a passage in a prompt about several, at least: with fewer nobody could tell what it is
#: about.
LEAST_TOKENS = 8


@dataclass(frozen=True)
class Asked:
    """What a list costs.

    Attributes:
        calls: of the model, at most.
        prompts: that are read from their beginning, at most: what several calls of a model begin
            with alike is read once.
        passages: that are read in prompts, at most; one that is read twice counts twice.
        ends: that are read behind what several calls share.
        shown: passages in one prompt, at most.
        answers: that the model writes, at most.
        named: identifiers and grades in these, at most.
        alone: passages that are read by themselves.
        kept: passages whose keys and values are held at once, at most.
    """

    calls: int
    prompts: int = 0
    passages: int = 0
    ends: int = 0
    shown: int = 1
    answers: int = 0
    named: int = 0
    alone: int = 0
    kept: int = 0


@dataclass(frozen=True)
class Lengths:
    """Tokens of a query, of a passage on average, of a prompt with its answer at most, and of what
    a prompt says beside its query and passages; `written`: an answer is written, and not read off
    logits behind each name."""

    query: int
    passage: int
    limit: int
    prompt: int = PROMPT_TOKENS
    written: bool = True


@dataclass(frozen=True)
class Tokens:
    """About how many tokens a model reads for a query, at most writes, and at most keeps the keys
    and values of."""

    read: int
    written: int
    kept: int


def most_asked(settings: RerankerSettings, n: int) -> Asked:
    """What a query of n passages costs a reranker with these settings. No list costs more; only
    setwise and pairs of cycles may need fewer calls."""
    return _ASKED[settings.family](settings, n) if n else Asked(0)


def most_tokens(settings: RerankerSettings, n: int, each: Lengths) -> Tokens:
    """About how many tokens that is."""
    asked = most_asked(settings, n)
    read = asked.alone * each.passage + asked.ends * (END_TOKENS + each.query)
    if asked.prompts:
        shown = min(each.passage, _shown_tokens(settings, asked.shown, each)) + NAME_TOKENS
        read += asked.prompts * (each.prompt + each.query) + asked.passages * shown
    if settings.family == "cross":
        read += asked.calls * (each.query + PAIR_SPECIALS)
    written = asked.answers * _around(settings) + asked.named * NAME_TOKENS
    if not each.written:  # every grade is read off behind a branch of its own
        read, written = read + asked.passages * NAME_TOKENS, 0
    return Tokens(read, written, _kept(settings, asked, each))


def answer_tokens(settings: RerankerSettings, shown: int) -> int:
    """Tokens of the input that are left for an answer about so many passages, about."""
    asked = most_asked(settings, shown)
    named = -(-asked.named // asked.answers) if asked.answers else 0
    return named * NAME_TOKENS + (_around(settings) if asked.answers else 0)


def shown_together(settings: RerankerSettings, n: int) -> int:
    """Of n passages those in one prompt, at most."""
    return most_asked(settings, n).shown


def _shown_tokens(settings: RerankerSettings, shown: int, each: Lengths) -> int:
    """About how many tokens of each passage are read in a prompt about so many, at most."""
    rest = each.limit - each.prompt - each.query - answer_tokens(settings, shown)
    return max(LEAST_TOKENS, min(_most(settings, each), rest // shown - NAME_TOKENS))


def _around(settings: RerankerSettings) -> int:
    """Tokens of an answer beside its identifiers."""
    reasoning = settings.reasoning_tokens if isinstance(settings, AnswerSettings) else 0
    return AROUND_ANSWER + reasoning


def _most(settings: RerankerSettings, each: Lengths) -> int:
    """Tokens of a passage in a prompt, at most."""
    if isinstance(settings, ListSettings | EnrichedSettings):
        return settings.passage_tokens
    return each.limit


def _kept(settings: RerankerSettings, asked: Asked, each: Lengths) -> int:
    if not asked.prompts:
        return 0
    passages = asked.kept * (_most(settings, each) + NAME_TOKENS)
    prompt = each.prompt + each.query + passages + answer_tokens(settings, asked.shown)
    return min(each.limit, prompt)


def _cross(settings: RerankerSettings, n: int) -> Asked:
    return Asked(n, alone=n)


def _pointwise(settings: RerankerSettings, n: int) -> Asked:
    """The prompt and the query are read once for all passages."""
    return Asked(n, prompts=1, passages=n, ends=n)


def _listwise(settings: ListwiseSettings, n: int) -> Asked:
    cut = Windows(settings.window, settings.stride, settings.passes)
    sizes = [len(window) for window in cut.windows(n) if len(window) > 1]
    written = settings.answer == "generated"
    return _one_by_one(
        len(sizes), sum(sizes), max(sizes, default=1), sum(sizes) if written else 0, written
    )


def _setwise(settings: SetwiseSettings, n: int) -> Asked:
    calls = most_sets(settings.sort, n, settings.top, settings.children)
    shown, written = min(n, 1 + settings.children), settings.answer == "generated"
    return _one_by_one(calls, calls * shown, shown, calls if written else 0, written)


def _groupwise(settings: GroupwiseSettings, n: int) -> Asked:
    """An answer names each passage and its grade."""
    calls, graded = Groups(settings.group, settings.passes).calls(n), n * settings.passes
    return _one_by_one(calls, graded, min(n, settings.group), 2 * graded, written=True)


def _one_by_one(calls: int, passages: int, shown: int, named: int, written: bool) -> Asked:
    """Of prompts that have nothing in common."""
    return Asked(
        calls=calls,
        prompts=calls,
        passages=passages,
        shown=shown,
        answers=calls if written else 0,
        named=named,
        kept=shown,
    )


def _pairwise(settings: PairwiseSettings, n: int) -> Asked:
    """Pairs with one first passage have the prompt up to it in common."""
    every = n * (n - 1)
    calls = every if settings.pairs == "all" else min(every, 2 * settings.cycles * n)
    firsts = n if calls else 0
    shown = min(n, 2)
    return Asked(
        calls, prompts=firsts, passages=firsts + calls, ends=calls, shown=shown, kept=shown
    )


def _attention(settings: AttentionSettings, n: int) -> Asked:
    """The passages come first, and are read once for the query and for the one without content."""
    return Asked(2, prompts=1, passages=n, ends=2, shown=n, kept=n)


def _enriched(settings: EnrichedSettings, n: int) -> Asked:
    """The prompt, then each passage by itself."""
    listed = min(n, settings.passages)
    return Asked(1 + n, prompts=1, passages=listed, shown=listed, alone=n, kept=listed)


def _columns(settings: RerankerSettings, n: int) -> Asked:
    """No model is asked; values of passages are compared."""
    return Asked(0, alone=n)


_ASKED: dict[str, Callable[[Any, int], Asked]] = {
    "cross": _cross,
    "pointwise": _pointwise,
    "listwise": _listwise,
    "setwise": _setwise,
    "groupwise": _groupwise,
    "pairwise": _pairwise,
    "attention": _attention,
    "enriched": _enriched,
    "maxsim": _columns,
    "terms": _columns,
}
