"""Which tokenisers work word by word, where their words begin and end, and who spells them.

BERT's normaliser changes characters one by one, its pre-tokeniser splits at white space and
punctuation, and WordPiece (Wu et al. 2016, arXiv:1609.08144) looks at one word at a time: a text's
tokens are those of the pieces between its ASCII spaces and punctuation.

Llama's BPE looks at the whole text, with "▁" for a space. But it only ever merges neighbours into a
token of its vocabulary. Where no token has two characters one after the other, no merge crosses the
place between them, and what stands before it has no part in what becomes of the rest: a word ends.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from shardrank.kernels.word_loops import Cuts
from shardrank.models.text.asked_words import AskedWords
from shardrank.models.text.merged_words import MergedWords, byte_token, pair_of
from shardrank.models.text.split_words import SplitWords, can_split
from shardrank.models.text.word_tokens import Speller

_SPACES = b" \t\n\r"
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

#: What stands for a space in Llama's vocabulary, and how it comes into a text.
_BAR = "▁"
_BARS = [
    {"type": "Prepend", "prepend": _BAR},
    {"type": "Replace", "pattern": {"String": " "}, "content": _BAR},
]
_BYTES = frozenset(map(byte_token, range(256)))

#: Of a BPE model: what would make more of a word than merges do.
_MORE = ("dropout", "ignore_merges", "continuing_subword_prefix", "end_of_word_suffix")


@dataclass(frozen=True, eq=False)
class WordRule:
    """How a text falls into words that have the same tokens wherever they stand.

    Attributes:
        cuts: where words begin and end, in UTF-8.
        lead: what the normaliser puts before a text that is not empty, as words have it.
        left: a text with one of these is more than its words.
        speller: says what the tokens of a word are.
    """

    cuts: Cuts
    lead: str
    left: tuple[str, ...]
    speller: Speller


def word_rule(backend: Tokenizer) -> WordRule | None:
    """The rule of a tokeniser; None where it is not known to work word by word."""
    rules = json.loads(backend.to_str())
    added = tuple(token["content"] for token in rules["added_tokens"])
    if any(token["normalized"] for token in rules["added_tokens"]):
        return None
    if _is_bert(rules) and not any(" " in content for content in added):
        return WordRule(_bert_cuts(), "", added, _bert_speller(backend, rules))
    if _is_llama(rules):
        model = rules["model"]
        cuts, speller = _llama_cuts(model["vocab"]), MergedWords(model, space=_BAR)
        return WordRule(cuts, " ", (*added, _BAR), speller)
    return None


def _is_bert(rules: Mapping[str, Any]) -> bool:
    """BERT's normaliser, splitter and WordPiece."""
    steps = [step.get("type") for step in _steps(rules)]
    return (
        steps in (["BertNormalizer"], ["Lowercase", "BertNormalizer"])
        and (rules["pre_tokenizer"] or {}).get("type") == "BertPreTokenizer"
        and rules["model"]["type"] == "WordPiece"
    )


def _steps(rules: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of the normaliser."""
    normaliser = rules["normalizer"] or {}
    return list(normaliser.get("normalizers", [normaliser]))


def _bert_speller(backend: Tokenizer, rules: Mapping[str, Any]) -> Speller:
    asked, model = AskedWords(backend), rules["model"]
    lowers = any(step.get("lowercase", True) for step in _steps(rules))  # a Lowercase has no key
    return SplitWords(model, lowers, others=asked) if can_split(model) else asked


def _is_llama(rules: Mapping[str, Any]) -> bool:
    """BPE of a whole text with bars for spaces, that knows each character or all its bytes."""
    model = rules["model"]
    steps = (rules["normalizer"] or {}).get("normalizers")
    return (
        model["type"] == "BPE"
        and rules["pre_tokenizer"] is None
        and steps == _BARS
        and not any(model.get(key) for key in _MORE)
        and bool(model.get("byte_fallback"))
        and model["vocab"].keys() >= {*_BYTES, _BAR}
        and not any(_BYTES & {*pair_of(merge)} for merge in model["merges"])
    )


def _bert_cuts() -> Cuts:
    alone, skipped = np.zeros((2, 256), np.bool_)
    skipped[list(_SPACES)] = True
    alone[list(_SPACES + _PUNCTUATION)] = True
    return Cuts(skipped, ~alone[:, None] & ~alone[None, :])


def _llama_cuts(vocabulary: Iterable[str]) -> Cuts:
    """No cut within a character, nor where a token has the two bytes one after the other."""
    joined = np.zeros((256, 256), np.bool_)
    joined[:, 0x80:0xC0] = True  # continuation bytes
    for token in vocabulary:
        letters = np.frombuffer(token.replace(_BAR, " ").encode(), np.uint8)
        joined[letters[:-1], letters[1:]] = True
    return Cuts(np.zeros(256, np.bool_), joined)
