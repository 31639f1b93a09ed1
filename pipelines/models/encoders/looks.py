"""What an encoder reads and keeps of some texts, without running its model: for forecasts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shardrank.core.anchor_settings import AnchorSettings
from shardrank.core.cards import (
    AnchorCard,
    Bm25Card,
    EncoderCard,
    ImageCard,
    LateCard,
    SparseCard,
    WrittenCard,
)
from shardrank.core.image_settings import ImageSettings
from shardrank.core.late_settings import LateSettings
from shardrank.core.model_settings import Bm25Settings, EncoderSettings, SparseSettings
from shardrank.core.views_settings import ViewsSettings
from shardrank.core.written_settings import WrittenSettings
from shardrank.models.encoders.anchor_cards import cross_settings
from shardrank.models.encoders.views_cards import bi_encoder
from shardrank.models.folder.decoder_folder import read_decoder_folder
from shardrank.models.folder.encoder_folder import read_encoder_folder
from shardrank.models.folder.image_folder import read_image_folder
from shardrank.models.folder.late_folder import read_late_folder
from shardrank.models.folder.reranker_folder import read_reranker_folder
from shardrank.models.folder.sparse_folder import read_sparse_folder
from shardrank.models.text.tokens import FastTokeniser, load_tokeniser
from shardrank.models.writer_cards import writing_prompt

#: Tokens of a question that is written about a passage, about.
QUESTION_TOKENS = 15


@dataclass(frozen=True)
class Looked:
    """Of a text, on average.

    Attributes:
        read: tokens of the model's input, special ones included; 0: no model reads texts.
        held: token vectors or terms that are stored; 0: one vector, or not known without the model.
    """

    read: float
    held: float = 0.0


def look_dense(
    settings: EncoderSettings, card: EncoderCard | LateCard, texts: Sequence[str]
) -> Looked:
    """Of an encoder of vectors."""
    tokeniser = load_tokeniser(read_encoder_folder(settings).towers.documents.source)
    prompted = [card.document_prompt + text for text in texts]
    return Looked(_mean(_lengths(tokeniser, prompted, card.max_tokens)))


def look_sparse(settings: SparseSettings, card: SparseCard, texts: Sequence[str]) -> Looked:
    """Of a learned sparse encoder, whose terms only its model knows."""
    tokeniser = load_tokeniser(read_sparse_folder(settings).towers.documents.source)
    prompted = [card.document_prompt + text for text in texts]
    return Looked(_mean(_lengths(tokeniser, prompted, card.max_tokens)))


def look_late(settings: LateSettings, card: LateCard, texts: Sequence[str]) -> Looked:
    """Of a model of token vectors."""
    from shardrank.models.encoders.late_inputs import document_side, late_inputs  # brings torch
    from shardrank.models.encoders.token_pooling import pooled_sizes

    folder = read_late_folder(settings)
    tokeniser = load_tokeniser(folder.tower.source)
    side = document_side(folder, tokeniser, card.max_tokens, card.document_prompt)
    inputs = late_inputs(tokeniser, texts, side)
    kept = pooled_sizes(inputs.counted, folder.tower.pooling)
    return Looked(_mean(map(len, inputs.rows)), _mean(kept.tolist()))


def asked_late(settings: LateSettings, card: LateCard, tokens: float) -> float:
    """Token vectors of a query of so many tokens: as many as it is filled up to."""
    expansion = read_late_folder(settings).tower.expansion
    own = min(tokens + 3, card.query_max_tokens)
    return own if expansion is None else max(own, expansion.length)


def look_image(settings: ImageSettings, card: ImageCard, texts: Sequence[str]) -> Looked:
    """Of a model of pictures, where every passage shows one."""
    return Looked(read_image_folder(settings).patches)


def look_words(settings: Bm25Settings, card: Bm25Card, texts: Sequence[str]) -> Looked:
    """Of counted words."""
    from shardrank.models.encoders.word_counter import WordCounter  # brings numba

    return Looked(0.0, len(WordCounter(card).counted(texts).terms) / max(1, len(texts)))


def look_written(settings: WrittenSettings, card: WrittenCard, texts: Sequence[str]) -> Looked:
    """Of a language model that is asked about passages: tokens of its prompts, and, as what is
    held, about how many it writes: of a text in a line as a question has, else as many as it
    may."""
    tokeniser = load_tokeniser(read_decoder_folder(settings.model, settings.revision).layout)
    prompt = writing_prompt(card.writer.prompt)
    around = prompt.system_message + prompt.prefix + prompt.body + prompt.suffix
    prompts = [around + text for text in texts]
    lines, most = prompt.gives == "lines", settings.answer_tokens
    written = min(most, settings.count * QUESTION_TOKENS) if lines else settings.count * most
    return Looked(_mean(_lengths(tokeniser, prompts, card.writer.max_tokens)), float(written))


def look_views(settings: ViewsSettings, card: LateCard, texts: Sequence[str]) -> Looked:
    """Of an encoder of vectors, before any text is written."""
    return look_dense(bi_encoder(settings), card, texts)


def look_anchors(settings: AnchorSettings, card: AnchorCard, texts: Sequence[str]) -> Looked:
    """Of a cross-encoder's passages, without the anchor queries and the special tokens."""
    folder = read_reranker_folder(cross_settings(settings))
    return Looked(_mean(_lengths(load_tokeniser(folder.layout), texts, card.max_tokens)))


def _lengths(tokeniser: FastTokeniser, texts: Sequence[str], most: int) -> Iterable[int]:
    specials = tokeniser.specials
    return [min(most, len(spans.ids) + specials) for spans in tokeniser.encode(texts)]


def _mean(numbers: Iterable[float]) -> float:
    found = list(numbers)
    return sum(found) / max(1, len(found))
