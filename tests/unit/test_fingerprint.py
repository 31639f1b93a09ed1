from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.fingerprint import content_hash, sha256_hex

WORDS = st.lists(st.sampled_from(["\0", "1", "2", "a", "é", "ÿ"]), max_size=5).map("".join)


def test_the_border_of_title_and_text_cannot_be_moved() -> None:
    assert content_hash("a\0b", "c") != content_hash("a", "b\0c")
    assert content_hash("", "\0") != content_hash("\0", "")
    assert content_hash("a", "") != content_hash("", "a")


def test_hashes_that_indexes_hold_stay() -> None:
    assert content_hash("Títle", "text\0 more") == sha256_hex("Títle\0text\0 more".encode())[:32]


@given(one=st.tuples(WORDS, WORDS), other=st.tuples(WORDS, WORDS))
def test_other_contents_have_other_hashes(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (content_hash(*one) == content_hash(*other)) == (one == other)


@given(text=WORDS.filter(lambda text: len(text) > 1))
def test_no_cut_of_a_text_is_another(text: str) -> None:
    cuts = [(text[:at], text[at:]) for at in range(len(text) + 1)]
    cuts += [(text[:at], text[at + 1 :]) for at, letter in enumerate(text) if letter == "\0"]
    assert len({content_hash(*cut) for cut in cuts}) == len(set(cuts))
