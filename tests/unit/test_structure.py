"""Documents cut by sentences, paragraphs, headings and lines."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from shardrank.core.errors import SettingsError
from shardrank.core.passage_settings import PassageSettings
from shardrank.corpus import html_text, markdown
from shardrank.corpus.cut_rule import CutRule, Passage
from shardrank.corpus.cutting import cut_documents
from shardrank.corpus.html_text import read_html
from shardrank.corpus.markdown import read_markdown
from shardrank.corpus.outline import BREADCRUMB, Outlines, Reader, outlines_of, sections
from shardrank.corpus.outline import Written as Spans
from shardrank.corpus.plain_text import read_plain
from shardrank.corpus.sentences import characters, sentence_marks
from shardrank.corpus.validate import Document
from tests.unit.test_passages import TinyTokeniser


def sentences(text: str) -> list[str]:
    whole = outlines_of([Spans(text, [(0, len(text), 0)], [])])
    marks = sentence_marks(characters(text), whole.blocks)
    cuts = [*np.flatnonzero(marks).tolist(), len(text)]
    return [text[a:b].strip() for a, b in pairwise(cuts)]


@pytest.mark.parametrize(
    "whole",
    [
        "He met Dr. Smith and Mrs. J. K. Jones in St. Ives.",
        "It costs $3.50, i.e. 3.5 dollars, see Fig. 3 and pp. 12 of no. 7.",
        "The U.S. Government said so to Briggs & Co. at noon.",
        "Was it so? he asked.",
        "He said “Go away.” and left.",
        "See example.com or a.b@example.com for v1.2.3 of it",
        "Am 3. Oktober kam z. B. Frau Dr. Meier, d. h. die Ärztin.",
        "1. The first of them",
        "Il a vu M. Dupont et Mme. Curie p. ex. hier.",
        "彼は「本当に来るの？」と聞いた。",
        "so it goes . . . and on ... and on",
    ],
)
def test_one_sentence(whole: str) -> None:
    assert sentences(whole) == [whole]


@pytest.mark.parametrize(
    "parts",
    [
        ["It rains.", "We stay!", "Why?", "Because…", "So what?!", "(Really.)", "“Yes.”", "End"],
        ["We live in the U.S.", "The weather is fine, etc.", "We are well."],
        ["It has vitamin C.", "You and I.", "Did you see it?", "In 1999.", "3 were lost."],
        ["an experiment .", "the flow was laminar .", "it was so ."],
        ["« Bonjour. »", "Puis il partit.", "¿Qué tal?", "¡Bien!"],
        ["これはペンです。", "それは何ですか？", "「はい。」", "「いいえ。」"],
        ["यह एक है।", "वह दो है।"],
        ["Things:", "- one of them", "- Another", "2) the third"],
    ],
)
def test_where_sentences_end(parts: list[str]) -> None:
    spaced = " " if parts[0][0].isascii() or " " in parts[0] else ""
    between = "\n" if parts[0] == "Things:" else spaced
    assert sentences(between.join(parts)) == parts


def shown(outlines: Outlines) -> list[tuple[str, int]]:
    together = "".join(outlines.texts)
    both = zip(*outlines.blocks, strict=True)
    return [(together[begin:end], int(level)) for begin, end, level in both]


def paths(outlines: Outlines, number: int = 0) -> list[tuple[tuple[str, ...], str]]:
    found, together = sections(outlines), "".join(outlines.texts)
    names = [tuple(path.split(BREADCRUMB)) if path else () for path in [*found.paths, ""]]
    each = zip(found.owners, found.heads, found.begins, found.ends, strict=True)
    return [(names[h], together[a:b].strip()) for owner, h, a, b in each if owner == number]


LONG = "This is a sentence that ends. And this is another one, which is longer than the first is."


def test_plain_paragraphs() -> None:
    found = read_plain([" one\ntwo\n \n three\n", "one\n two \r\nthree"], False)
    assert shown(found) == [(t, 0) for t in ("one\ntwo", "three", "one", "two", "three")]


def test_plain_headings() -> None:
    texts = [
        f"Title\n=====\n{LONG}\n\nA heading\n\nBelow it\n\n{LONG}\n\nPart\n----\n\n{LONG}",
        f"{LONG}\nHistory.\n{LONG}\nA list.\nOf many.\nShort lines.\nFour.\n{LONG}\nReferences.",
        f"== Wiki ==\n{LONG}\n=== Deeper ===\n{LONG}",
        f"1 Method\n\n{LONG}\n\n1.2 Data\n\n{LONG}\n\n2. Results\n\n{LONG}\n\n12 eggs are here",
    ]
    outlines = read_plain(texts, True)
    found = [[path for path, _ in paths(outlines, number)] for number in range(len(texts))]
    assert found == [
        [("Title",), ("A heading", "Below it"), ("A heading", "Part")],
        [(), ("History",)],
        [("Wiki",), ("Wiki", "Deeper")],
        [("1 Method",), ("1 Method", "1.2 Data"), ("2. Results",)],
    ]
    assert paths(outlines, 1)[1][1].endswith("References."), "nothing follows it: it heads nothing"


def test_markdown() -> None:
    text = (
        "intro\n\n# One #\ntext\n```\n# no heading\n```\n\nTwo *words*\n---\r\n- # of a list\n\n"
        "## Empty\n### Deep\n    # code\n\n# Last"
    )
    outline = read_markdown([text], True)
    assert paths(outline) == [
        ((), "intro"),
        (("One",), "text\n```\n# no heading\n```"),
        (("One", "Two *words*"), "- # of a list"),
        (("One", "Empty", "Deep"), "# code"),
        ((), "# Last"),
    ]
    assert [level for _, level in shown(outline)] == [0, 1, 0, -1, 2, 0, 2, 3, -1, 1]
    assert max(level for _, level in shown(read_markdown([text], False))) == 0


def test_html() -> None:
    text = (
        "<html><head><title>no</title><style>p {}</style></head><body>a&amp;b<br>c <i>d</i>"
        "<h1>One <b>two</b></h1><p>e\n f<p>g<ul><li>h<li>i</ul><h2></h2><h2>x</h2>"
        "<table><tr><td>1<td>2</table><pre>\n k\n  l</pre><script>if (1<2) {}</script><!-- z -->"
    )
    outline = read_html([text], True)
    assert shown(outline) == [
        ("a&b c d", 0),
        ("One two", 1),
        *((letter, 0) for letter in ("e f", "g", "h", "i")),
        ("x", 2),
        ("1 2", 0),
        (" k\n  l", -1),
    ]
    assert [path for path, _ in paths(outline)] == [(), ("One two",), ("One two", "x")]
    nothing = read_html(["<p></p>"], True)
    assert (nothing.texts, shown(nothing), len(paths(nothing))) == ([""], [], 1)


# Documents of words that occur once, so that a word says where it comes from.


@dataclass(frozen=True)
class Written:
    """A text, and the words of each of its sentences, paragraphs and sections."""

    text: str
    sentences: list[list[str]]
    paragraphs: list[list[str]]
    sections: list[tuple[tuple[str, ...], list[str]]]


BLOCK = st.one_of(
    st.lists(st.integers(1, 14), min_size=1, max_size=6),  # words of each sentence
    st.integers(1, 3),  # a heading's level
)


def written(blocks: list[list[int] | int], markup: str) -> Written:
    names = (f"W{n:03}" for n in range(10_000))
    pieces, every, paragraphs = [], [], []
    found: list[tuple[tuple[str, ...], list[str]]] = [((), [])]
    path: list[tuple[int, str]] = []
    for block in blocks:
        if isinstance(block, int):
            name = next(names)
            path = [*((level, word) for level, word in path if level < block), (block, name)]
            found.append((tuple(word for _, word in path), []))
            pieces.append(f"{'#' * block} {name}" if markup == "markdown" else tag(name, block))
            continue
        own = [[next(names) for _ in range(count)] for count in block]
        every += own
        paragraphs.append([word for words in own for word in words])
        found[-1][1].extend(paragraphs[-1])
        text = " ".join(f"{' '.join(words)}." for words in own)
        pieces.append(f"<p>{text}" if markup == "html" else text)
    return Written("\n\n".join(pieces), every, paragraphs, found)


def tag(name: str, level: int) -> str:
    return f"<h{level}>{name}</h{level}>"


def words_of(passage: Passage) -> list[str]:
    return passage.text.replace(".", " ").replace("#", " ").split()


def rule(by: str, markup: str, overlap: int = 12) -> CutRule:
    made = CutRule(52, overlap, split=True, prompt="", specials=2)
    return replace(made, by=by, markup=markup, rules=1)  # type: ignore[arg-type]


def cut(text: str, by: str, markup: str, overlap: int = 12) -> list[Passage]:
    document, how = Document(0, "d", "ti", text), rule(by, markup, overlap)
    [found] = cut_documents([document], TinyTokeniser(), how)
    return found


@pytest.mark.parametrize("markup", ["markdown", "html"])
@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(BLOCK, min_size=1, max_size=8))
def test_sections_are_never_crossed_and_nothing_is_lost(
    markup: str, blocks: list[list[int] | int]
) -> None:
    document = written(blocks, markup)
    found = cut(document.text, "headings", markup)
    section_of = {word: path for path, words in document.sections for word in words}
    for passage in found:
        assert 0 < len(passage.tokens) <= 50
        words = words_of(passage)
        if set(words) <= section_of.keys():
            [path] = {section_of[word] for word in words}
            assert passage.title == " > ".join(["ti", *path])
        head, body = (
            TinyTokeniser().encode([each])[0].ids for each in (passage.title, passage.text)
        )
        assert passage.tokens.tolist() == [*head[:25], *body]
        assert passage.truncated == (len(head) > 25)
    kept = {word for passage in found for word in words_of(passage)}
    assert section_of.keys() <= kept
    headings = {word for path, _ in document.sections for word in path}
    assert headings <= kept | {word for p in found for word in p.title.split(" > ")}


@pytest.mark.parametrize("by", ["sentences", "paragraphs", "headings"])
@settings(max_examples=60, deadline=None)
@given(blocks=st.lists(BLOCK.filter(lambda b: isinstance(b, list)), min_size=1, max_size=6))
def test_what_fits_is_kept_whole(by: str, blocks: list[list[int] | int]) -> None:
    document = written(blocks, "plain")
    found = cut(document.text, by, "plain")
    held = [words_of(passage) for passage in found]
    kept = document.sentences if by == "sentences" else document.sentences + document.paragraphs
    for words in kept:
        if 5 * len(words) + 1 <= 48 - len(words):  # W, three digits and a dot, letter by letter
            assert any(set(words) <= set(each) for each in held), "it would have fitted"
    begins = {words[0] for words in document.sentences}
    for before, after in pairwise(held):
        shared = [word for word in after if word in before]
        assert before[len(before) - len(shared) :] == shared == after[: len(shared)]
        assert not shared or (after[0] in begins and len(shared) * 4 <= 12)
        assert after[-1] not in before, "each goes on"
    assert [w for n, each in enumerate(held) for w in each if n == 0 or w not in held[n - 1]] == [
        word for words in document.paragraphs for word in words
    ]


@given(blocks=st.lists(BLOCK, min_size=3, max_size=8))
@settings(max_examples=20, deadline=None)
def test_a_document_is_cut_alike_in_any_batch(blocks: list[list[int] | int]) -> None:
    texts = [written(blocks[n:], "markdown").text for n in range(3)]
    documents = [Document(n, str(n), "", text) for n, text in enumerate(texts) if text]
    how = rule("headings", "markdown")
    together = list(cut_documents(documents, TinyTokeniser(), how))
    for document, found in zip(documents, together, strict=True):
        [alone] = cut_documents([document], TinyTokeniser(), how)
        assert [(p.title, p.text, p.tokens.tolist()) for p in alone] == [
            (p.title, p.text, p.tokens.tolist()) for p in found
        ]


def test_a_sentence_longer_than_the_room_is_cut_between_words() -> None:
    [first, second, third] = cut("abcd " * 25 + "end. Next one.", "sentences", "plain")
    assert (first.text, second.text) == (("abcd " * 12)[:-1],) * 2
    assert third.text == "abcd end. Next one."
    pieces = cut("x" * 90, "paragraphs", "plain")
    assert [len(p.text) for p in pieces] == [48, 42]


@given(lines=st.lists(st.text("ab1 .\t", max_size=10), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_line_is_a_passage(lines: list[str]) -> None:
    """Cut as each line is alone, whatever stands between them."""
    found = cut("\n".join(lines), "lines", "plain")
    alone = [passage for line in lines for passage in cut(line, "lines", "plain")]
    assert [(p.title, p.text.strip(), p.tokens.tolist()) for p in found] == [
        (p.title, p.text.strip(), p.tokens.tolist()) for p in alone
    ]


def test_lines_share_nothing_and_long_ones_are_cut() -> None:
    long = "One two. " + "Abcd " * 12 + "end."
    assert [p.text for p in cut(f"first\n\n{long}\r\nlast\n", "lines", "plain", 12)] == [
        "first",
        "One two.",
        ("Abcd " * 12).strip(),
        "end.",
        "last",
    ]
    assert [p.text for p in cut("<ul><li>a b</li><li>c</li></ul>", "lines", "html")] == ["a b", "c"]
    unseen = Document(0, "d", "", "\u200b\n\u200b")
    [bytes_of_it] = cut_documents([unseen], TinyTokeniser("bytes"), rule("lines", "plain"))
    assert len(bytes_of_it) == 1, "what nobody sees has tokens by bytes, and is kept"


class EndsInTokens(TinyTokeniser):
    """Bytes, but a line's last mark and its end are one token, as of Qwen and Llama 3."""

    def __init__(self) -> None:
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        merged = [f"{mark}\u010a" for mark in "?)"]  # U+010A stands for a line's end
        vocab = {token: number for number, token in enumerate([*letters, *merged])}
        self._inner = Tokenizer(models.BPE(vocab, [(mark[0], mark[1]) for mark in merged]))
        self._inner.pre_tokenizer = pre_tokenizers.ByteLevel(
            add_prefix_space=False, use_regex=False
        )


def test_a_line_keeps_what_is_one_token_with_its_end() -> None:
    document = Document(0, "d", "", "What is it?\nWho (1)\nfever\n?\n\nheart")
    [found] = cut_documents([document], EndsInTokens(), rule("lines", "plain"))
    assert [p.text.strip() for p in found] == ["What is it?", "Who (1)", "fever", "?", "heart"]


def test_what_fits_has_the_tokens_of_the_whole_and_html_no_tags() -> None:
    for by in ("tokens", "sentences", "paragraphs", "headings"):
        [passage] = cut("<p>a &lt; b</p><p>c</p>", by, "html")
        assert (passage.title, passage.text) == ("ti", "a < b\n\nc")
        [whole] = TinyTokeniser().encode([f"ti {passage.text}"])
        assert passage.tokens.tolist() == whole.ids.tolist()
        assert cut("<script>x</script>", by, "html") == []


@pytest.mark.parametrize("reader", [read_plain, read_markdown, read_html])
@settings(max_examples=150, deadline=None)
@given(text=st.text("#=-`~>*<![/&; \n\r\tAb1.pre", max_size=60))
def test_anything_is_read_and_all_of_it_lies_somewhere(reader: Reader, text: str) -> None:
    outlines = reader([text], True)
    [found], whole = outlines.texts, sections(outlines)
    assert reader is read_html or found == text
    places = list(zip(outlines.heads.begins, outlines.heads.ends, strict=True))
    places += zip(whole.begins, whole.ends, strict=True)
    assert len(outlines.words) == len(outlines.heads.begins)
    kept = {at for begin, end in places for at in range(begin, end)}
    assert not "".join(c for at, c in enumerate(found) if at not in kept).strip()
    begins, ends = outlines.blocks.begins.tolist(), outlines.blocks.ends.tolist()
    assert all(begin < end for begin, end in zip(begins, ends, strict=True))
    assert begins == sorted(set(begins))
    sentence_marks(characters(found), outlines.blocks)


MARKS = st.text("#=-+*_`~>[<1.) \t\nAb\\\u00a0\x0b", max_size=40)


@settings(max_examples=400, deadline=None)
@given(text=MARKS, headings=st.booleans())
def test_markdown_without_a_parser_is_read_as_with_it(text: str, headings: bool) -> None:
    assert markdown._read(text, headings) == markdown._parsed(text, headings)


TAGS = ("<p>", "</p>", "<h2>", "</H2>", "<br/>", "<a href='x'>", "</a >", "<li a=b/>", "&amp", "<")
PIECES = st.sampled_from([*TAGS, "<b\n x>", "<pre>", "a\nb", " ", "&lt;", "1", ">", '<p a"'])


@settings(max_examples=400, deadline=None)
@given(pieces=st.lists(PIECES, max_size=12))
def test_html_without_a_parser_is_read_as_with_it(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert html_text._blocks(text) == html_text._parsed(text)


@pytest.mark.parametrize(
    "given", [{"by": "sentences", "split": False}, {"markup": "markdown"}, {"by": "words"}]
)
def test_settings_that_do_nothing_are_refused(given: dict[str, object]) -> None:
    with pytest.raises((SettingsError, ValueError)):
        PassageSettings(**given)  # type: ignore[arg-type]


def test_readers_are_of_one_kind() -> None:
    readers: list[Reader] = [read_plain, read_markdown, read_html]
    assert all(not shown(reader([], True)) for reader in readers)


@pytest.mark.parametrize("by", ["tokens", "sentences", "paragraphs", "headings", "lines"])
def test_a_picture_without_text_is_one_passage(by: str) -> None:
    rule = CutRule(32, 0, True, "", 2, by=by, markup="html")  # type: ignore[arg-type]
    shown = Document(0, "a", "Wing", "", picture=b"picture")
    [found, none] = cut_documents([shown, shown._replace(picture=None)], TinyTokeniser(), rule)
    assert [(each.title, each.text) for each in found] == [("Wing", "")]
    assert none == []


@pytest.mark.parametrize("unseen", ["&#8203;", "&shy;", ""])
def test_a_heading_above_what_nobody_sees_is_kept(unseen: str) -> None:
    text = f"<h1>Boiling point</h1><p>{unseen}</p><h1>Melting</h1><p>wax</p>"
    found = cut(text, "headings", "html")
    kept = " ".join(f"{each.title} {each.text}" for each in found)
    assert "Boiling point" in kept
    assert "wax" in kept
