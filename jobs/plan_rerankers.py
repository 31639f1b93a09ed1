"""What `shardrank plan rank` says of each reranker, and of what writes about queries: calls,
tokens and memory."""

from collections.abc import Iterator

from shardrank.core.cards import RerankerCard
from shardrank.core.reranker_settings import EnrichedSettings, ListSettings
from shardrank.flows.rank_plan import RankPlan
from shardrank.forecast.model import number_bytes
from shardrank.forecast.work import Reranking, Work
from shardrank.models.rerankers.registry import passage_room
from shardrank.models.writer_cards import writer_size, writing_prompt
from shardrank.report.figures import size
from shardrank.stages.rank.write import PlannedWriter


def rerank_lines(plan: RankPlan, work: Work) -> list[str]:
    """Of each reranker in turn."""
    both = zip(plan.rerankers, work.rerankers, strict=True)
    return [line for planned, each in both for line in _lines(planned.card, each, work)]


def writer_line(writer: PlannedWriter, work: Work) -> str:
    """How much a model writes about the queries, at most, and what `time` leaves out."""
    own, size_ = writer.settings, writer_size(writer.settings)
    answers = work.queries * (
        1 if writing_prompt(writer.card.prompt).gives == "lines" else own.count
    )
    memory = size(size_.held * number_bytes(writer.card.dtype))
    searched = ", and the search of these parts" if own.makes == "parts" else ""
    return (
        f"{writer.card.name}: at most {work.queries * own.count:,} {own.makes} in {answers:,} "
        f"answers of at most {own.answer_tokens:,} tokens; {memory} of weights "
        f"({writer.card.dtype}); writing them{searched} is not in the time below"
    )


def _lines(card: RerankerCard, each: Reranking, work: Work) -> Iterator[str]:
    yield f"{card.name}: {_asked(card, each, work)}"
    if card.sees == "columns":
        return
    yield f"  a model's actor holds {_memory(each, work)}"
    yield from _cut(card, each, work)


def _asked(card: RerankerCard, each: Reranking, work: Work) -> str:
    """How much of it there is at most, over all queries."""
    queries, asked, tokens = work.queries, work.asked(each), work.tokens(each)
    most = f"at most {queries * each.settings.depth:,} pairs"
    if card.sees == "columns":
        return f"{most}, by {card.score}; no model runs on passages"
    if card.sees == "pairs":
        return f"{most}, by {card.score}; about {queries * tokens.read:,} tokens to read"
    written = f", at most {queries * tokens.written:,} to write" if tokens.written else ""
    return (
        f"{card.family}, {most} in {queries * asked.calls:,} calls; "
        f"about {queries * tokens.read:,} tokens to read{written}"
    )


def _memory(each: Reranking, work: Work) -> str:
    number, kept = number_bytes(each.model.dtype), work.tokens(each).kept
    weights = f"{size(each.weights * number)} of weights ({each.model.dtype})"
    if not each.kept:
        return weights
    return f"{weights}, {size(kept * each.kept * number)} of {kept:,} tokens' keys and values"


def _cut(card: RerankerCard, each: Reranking, work: Work) -> Iterator[str]:
    """Where passages lose their ends for want of room."""
    settings = each.settings
    if not isinstance(settings, ListSettings | EnrichedSettings):
        return
    room = passage_room(settings, card, work.listed(each), work.query_tokens)
    if room < settings.passage_tokens:
        yield (
            f"  longer passages are cut to about {room:,} tokens: a prompt shows "
            f"{work.asked(each).shown:,}, and an input has {card.max_tokens:,} tokens at most"
        )
