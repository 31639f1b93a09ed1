"""How lists are judged in pieces: windows, answers, sets and groups."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardrank.core.errors import SettingsError
from shardrank.orders.answers import (
    LONGEST,
    Permutation,
    conclusion,
    extraction,
    letters,
    numbers,
    permutation,
)
from shardrank.orders.groups import Groups, averaged
from shardrank.orders.sets import Asking, SetSort, most_calls, settled, setwise
from shardrank.orders.windows import Windows


def slid(n: int, size: int, stride: int) -> list[tuple[int, int]]:
    """One pass of RankGPT: a window at the end goes forward until one has held the first item."""
    found: list[tuple[int, int]] = []
    end = n
    while n and (not found or found[-1][0] > 0):
        found.append((max(end - size, 0), end))
        end -= stride
    return found


sizes = st.integers(2, 30).flatmap(lambda size: st.tuples(st.just(size), st.integers(1, size)))


@given(st.integers(0, 120), sizes, st.integers(1, 3))
def test_windows_slide_from_the_end_to_the_front(n: int, how: tuple[int, int], passes: int) -> None:
    size, stride = how
    cut = Windows(size, stride, passes)
    found = [(window.start, window.stop) for window in cut.windows(n)]
    assert found == slid(n, size, stride) * passes
    assert cut.calls(n) == len(found)
    assert {place for window in cut.windows(n) for place in window} == set(range(n))


@pytest.mark.parametrize(
    ("n", "windows"),
    [
        (40, [(20, 40), (10, 30), (0, 20)]),
        (25, [(5, 25), (0, 15)]),
        (21, [(1, 21), (0, 11)]),
        (20, [(0, 20)]),
        (10, [(0, 10)]),
        (1, [(0, 1)]),
        (0, []),
    ],
)
def test_windows_of_20_at_a_stride_of_10(n: int, windows: list[tuple[int, int]]) -> None:
    """As rank_llm's own test counts them; 10 items are those that its other loop passes over."""
    assert [(w.start, w.stop) for w in Windows(20, 10).windows(n)] == windows


def test_windows_bring_as_many_to_the_front_as_they_share() -> None:
    for_good = np.arange(100)  # the worst first
    for window in Windows(20, 10).windows(100):
        for_good[window] = np.sort(for_good[window])[::-1]
    assert for_good[:10].tolist() == list(range(99, 89, -1))
    assert Windows(20, 10).calls(100) == 9


@pytest.mark.parametrize("numbers", [(1, 1, 1), (4, 0, 1), (4, 5, 1), (4, 2, 0)])
def test_windows_that_order_nothing_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(SettingsError, match="cannot put a list in order"):
        Windows(*numbers)


DIGITS, CAPITALS = extraction(r'r"\[(\d+)\]"'), extraction(r"\[([A-Z])\] ")


def read(answer: str, n: int = 3) -> Permutation:
    return permutation(answer, numbers(n), DIGITS)


@pytest.mark.parametrize(
    ("answer", "order", "mends"),
    [
        ("[3] > [1] > [2]", [2, 0, 1], (0, 0, 0)),
        ("[2]", [1, 0, 2], (2, 0, 0)),
        ("[2] > [2] > [3] > [2]", [1, 2, 0], (1, 2, 0)),
        ("[4] > [3] > [0] > [1] > [2]", [2, 0, 1], (0, 0, 2)),
        ("Of 3 passages: [2] > [1] > [3]", [1, 0, 2], (0, 0, 0)),
        ("[３] > [²] > [①] > [01]", [2, 1, 0], (0, 1, 0)),
        ("<think>[1] is off</think>\n[2] > [1] > [3]", [1, 0, 2], (0, 0, 0)),
        ("[1] is off</think> <answer> [2] > [1] > [3] </answer> [3]", [1, 0, 2], (0, 0, 0)),
        ("[" + "9" * 6000 + "] > [3]", [2, 0, 1], (2, 0, 1)),
    ],
)
def test_answers_are_mended_by_rule(
    answer: str, order: list[int], mends: tuple[int, int, int]
) -> None:
    found = read(answer)
    assert (found.missing, found.repeated, found.foreign) == mends
    assert (found.order.tolist(), found.order.dtype) == (order, np.int32)
    assert found.parsed
    assert found.mended == (mends != (0, 0, 0))


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I cannot say.",
        "3 > 1 > 2",
        "[7]",
        "<think>[3] > [1]",
        "x" * LONGEST + "[3] > [1] > [2]",
    ],
)
def test_where_nothing_can_be_read_the_old_order_stays(answer: str) -> None:
    found = read(answer)
    assert found.order.tolist() == [0, 1, 2]
    assert (found.parsed, found.mended, found.missing) == (False, False, 3)


def test_letters_are_identifiers_too() -> None:
    assert permutation("[C] > [a] > [A]", letters(3), CAPITALS).order.tolist() == [2, 0, 1]
    ends = [letters(703)[place] for place in (0, 25, 26, 701, 702)]
    assert ends == ["A", "Z", "AA", "ZZ", "AAA"]
    assert len(set(letters(703))) == 703


def test_a_conclusion_follows_the_last_thought() -> None:
    assert conclusion("<think>a</think> b <think>c</think> d") == "d"
    assert conclusion("<think>a</think> b <think>c") == "b"
    assert conclusion("<answer> a") == "a"


@given(st.data())
def test_any_answer_gives_an_order_of_all_items(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 12))
    said = data.draw(st.lists(st.integers(0, 15), max_size=20))
    found = read(" > ".join(f"[{number}]" for number in said), n)
    valid = [number - 1 for number in said if 1 <= number <= n]
    distinct = sorted(set(valid), key=valid.index)
    assert found.order.tolist() == distinct + [item for item in range(n) if item not in distinct]
    assert found.missing + len(distinct) == n
    assert found.repeated + found.foreign + len(distinct) == len(said)
    assert found.parsed == bool(distinct)


@pytest.mark.parametrize(
    ("written", "found"),
    [(r'r"PASSAGE(\d+)"', "PASSAGE12"), (r"r'\[(\d+)\]'", "[12]"), (r"(?:\[|<)([0-9]{2})", "<12")],
)
def test_expressions_are_read_as_prompt_files_have_them(written: str, found: str) -> None:
    match = extraction(written).fullmatch(found)
    assert isinstance(match, re.Match)
    assert match[1] == "12"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (r"\[(\d+\]", "not a regular expression"),
        (r"\[\d+\]", "has 0 groups"),
        (r"(\[)(\d+)", "has 2 groups"),
        (r"(\d*\d*\d*)x", "could take for ever"),
        (r"(?:a|a)+(b)", "could take for ever"),
        (r"([a]?[a]?)a", "could take for ever"),
        (r"(\d+)\1x", "could take for ever"),
    ],
)
def test_expressions_that_find_no_identifiers_are_refused(written: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        extraction(written)


class Judge:
    """Knows the items' values, and writes down what it is asked."""

    def __init__(self, values: list[int]) -> None:
        self.values = values
        self.asked: list[tuple[int, ...]] = []

    def __call__(self, items: tuple[int, ...]) -> int:
        self.asked.append(items)
        return max(range(len(items)), key=lambda place: self.values[items[place]])


HOWS: list[SetSort] = ["heapsort", "bubblesort"]
lists_of_values = st.integers(0, 25).flatmap(lambda n: st.permutations(range(n)))


@given(lists_of_values, st.integers(1, 12), st.integers(1, 6), st.sampled_from(HOWS))
def test_a_judge_that_is_right_gets_the_first_k(
    values: list[int], k: int, children: int, how: SetSort
) -> None:
    n, judge = len(values), Judge(values)
    order = settled(setwise(how, n, k, children), judge).tolist()
    first = sorted(range(n), key=lambda item: -values[item])[:k]
    assert order == first + [item for item in range(n) if item not in first]
    assert len(judge.asked) <= most_calls(how, n, k, children)
    assert all(2 <= len(set(asked)) <= children + 1 for asked in judge.asked)


def test_no_pass_leaves_an_item_out_and_no_set_is_asked_twice() -> None:
    """The third pass must still meet the item worth 4 (llm-rankers' own does not)."""
    judge = Judge([6, 3, 5, 1, 4, 2, 0])
    assert settled(setwise("bubblesort", 7, 3, 2), judge)[:3].tolist() == [0, 2, 4]
    assert len(judge.asked) < most_calls("bubblesort", 7, 3, 2)


@given(st.integers(0, 25), st.integers(1, 12), st.integers(1, 6), st.data())
def test_any_answers_give_an_order_within_the_bound(
    n: int, k: int, children: int, data: st.DataObject
) -> None:
    how = data.draw(st.sampled_from(HOWS))
    seen: list[tuple[int, ...]] = []

    def answer(items: tuple[int, ...]) -> int:
        seen.append(items)
        return data.draw(st.integers(0, len(items) - 1))

    order = settled(setwise(how, n, k, children), answer)
    assert sorted(order.tolist()) == list(range(n))
    assert order.dtype == np.int32
    assert len(seen) <= most_calls(how, n, k, children)
    if how == "bubblesort":
        assert len(set(seen)) == len(seen)


def test_sets_of_a_list_that_is_in_order() -> None:
    """Nothing moves: each heap's root is asked once, and the last item sinks from each new root."""
    judge = Judge([9 - item for item in range(10)])
    assert settled(setwise("heapsort", 10, 1, 3), judge).tolist() == list(range(10))
    assert judge.asked == [(2, 7, 8, 9), (1, 4, 5, 6), (0, 1, 2, 3)]
    judge = Judge(judge.values)
    settled(setwise("bubblesort", 10, 2, 3), judge)
    assert judge.asked == [(6, 7, 8, 9), (3, 4, 5, 6), (0, 1, 2, 3), (1, 2, 3)]


def worst(how: SetSort, n: int, k: int, children: int) -> int:
    """The most sets that any answers lead to: all are tried."""

    def most(answers: tuple[int, ...]) -> int:
        asking: Asking = setwise(how, n, k, children)
        try:
            asked = next(asking)
            for answer in answers:
                asked = asking.send(answer)
        except StopIteration:
            return len(answers)
        return max(most((*answers, place)) for place in range(len(asked)))

    return most(())


@pytest.mark.parametrize(
    ("how", "n", "k", "children"),
    [
        ("heapsort", 5, 2, 2),
        ("heapsort", 7, 2, 3),
        ("bubblesort", 4, 2, 2),
        ("bubblesort", 5, 1, 1),
    ],
)
def test_the_bound_is_reached(how: SetSort, n: int, k: int, children: int) -> None:
    assert worst(how, n, k, children) == most_calls(how, n, k, children)


@given(st.integers(0, 90), st.integers(1, 30), st.integers(1, 5))
def test_groups_hold_each_item_once_a_pass_and_are_equally_strong(
    n: int, size: int, passes: int
) -> None:
    cut = Groups(size, passes)
    found = cut.groups(n)
    assert len(found) == cut.calls(n)
    parts = len(found) // passes
    for turn in range(passes):
        groups = found[turn * parts : (turn + 1) * parts]
        assert sorted(item for group in groups for item in group.tolist()) == list(range(n))
        assert max(map(len, groups), default=0) <= size
        for group in groups:
            assert len(set((group // parts).tolist())) == len(group)  # one of each run
            assert len(group) in (n // parts, -(-n // parts))
            assert np.all(np.diff(group if turn % 2 == 0 else group[::-1]) > 0)


def test_the_next_pass_mixes_the_groups_anew() -> None:
    assert [g.tolist() for g in Groups(3, 2).groups(9)] == [
        [0, 3, 6],
        [1, 4, 7],
        [2, 5, 8],
        [7, 5, 0],
        [8, 3, 1],
        [6, 4, 2],
    ]


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0)])
def test_groups_that_score_nothing_are_refused(numbers: tuple[int, int]) -> None:
    with pytest.raises(SettingsError, match="score nothing"):
        Groups(*numbers)


def test_a_score_that_is_missing_is_left_out_of_the_mean() -> None:
    groups = [np.array([0, 2], np.int32), np.array([1, 3], np.int32), np.array([0, 1], np.int32)]
    scores = [np.array([4.0, 6.0]), np.array([np.nan, np.nan]), np.array([7.0, np.nan])]
    assert averaged(4, groups, scores).tolist() == pytest.approx(
        [5.5, np.nan, 6, np.nan], nan_ok=True
    )
    assert np.isnan(averaged(2, [], [])).all()
