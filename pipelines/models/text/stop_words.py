"""Tokens that TILDEv2 leaves out of queries and passages (ielab/TILDE, tools.py, `get_stop_ids`).

They are English stop words as NLTK lists them, but for those that ask, where they are one token;
"##s"; and all tokens with anything but Latin letters, digits, "_" and "-" but for pieces within
words: so signs, special tokens, and letters of other scripts.
"""

import re

import numpy as np

from shardrank.core.arrays import Bool
from shardrank.models.text.tokens import FastTokeniser

#: NLTK's, without those that ask, and without contractions, which are several tokens.
_WORDS = (
    "i me my myself we our ours ourselves you your yours yourself yourselves he him his himself "
    "she her hers herself it its itself they them their theirs themselves whom this that these "
    "those am is are was were be been being have has had having do does did doing a an the and but "
    "if or because as until while of at by for with about against between into through during "
    "before after above below to from up down in out on off over under again further then once "
    "here there all any both each few more most other some such no nor not only own same so than "
    "too very s t can will just don should now d ll m o re ve y ain aren couldn didn doesn hadn "
    "hasn haven isn ma mightn mustn needn shan shouldn wasn weren won wouldn"
)
_PLAIN = re.compile(r"[A-Za-z0-9_-]*")


def stop_tokens(tokeniser: FastTokeniser) -> Bool:
    """bool[ids], true of those that are left out."""
    found = np.zeros(tokeniser.largest_id + 1, np.bool_)
    for token, number in tokeniser.vocabulary().items():
        found[number] = _is_sign(token)
    for ids in (span.ids for span in tokeniser.encode(_WORDS.split())):
        if len(ids) == 1:
            found[ids[0]] = True
    return found


def no_tokens(tokeniser: FastTokeniser) -> Bool:
    """bool[ids], true of the special tokens around a text alone."""
    found = np.zeros(tokeniser.largest_id + 1, np.bool_)
    found[np.concatenate(tokeniser.single_template().around)] = True
    return found


def _is_sign(token: str) -> bool:
    if token.startswith("#") and len(token) > 1:
        return token == "##s"
    return _PLAIN.fullmatch(token) is None
