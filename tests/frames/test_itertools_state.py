"""Iterators of itertools go on where they were, with the same sources."""

from __future__ import annotations

import itertools
import operator
import sys
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import pytest
from copying import check_copies, copy

from trax.frames.itertools_state import skip

CASES: dict[str, Callable[[], Iterator[Any]]] = {
    "accumulate": lambda: itertools.accumulate([1, 2, 3]),
    "accumulate_from": lambda: itertools.accumulate([1, 2, 3], operator.mul, initial=7),
    "accumulate_none": lambda: itertools.accumulate([None, None, 3], operator.is_),
    "chain": lambda: itertools.chain([1, 2], "ab", [], (3,)),
    "chain_of_iterables": lambda: itertools.chain.from_iterable(iter([[1, 2], [], [3]])),
    "combinations": lambda: itertools.combinations("aabc", 2),
    "combinations_of_none": lambda: itertools.combinations("ab", 0),
    "combinations_of_too_many": lambda: itertools.combinations("ab", 3),
    "with_replacement": lambda: itertools.combinations_with_replacement("abc", 3),
    "compress": lambda: itertools.compress("abcd", [1, 0, 1, 1]),
    "count": lambda: islice(itertools.count(3, 2), 4),
    "count_fractions": lambda: islice(itertools.count(Fraction(1, 3), Fraction(1, 7)), 4),
    "cycle": lambda: islice(itertools.cycle("abc"), 11),
    "dropwhile": lambda: itertools.dropwhile(operator.not_, [0, 0, 1, 0, 3]),
    "filterfalse": lambda: itertools.filterfalse(None, [0, 1, 0, 2]),
    "islice": lambda: islice("abcdefghij", 1, 8, 3),
    "islice_to_the_end": lambda: islice("abcdefg", 2, None),
    "pairwise": lambda: itertools.pairwise([(1, 2), 3, 4]),
    "permutations": lambda: itertools.permutations("aabc", 2),
    "permutations_of_all": lambda: itertools.permutations("abcd"),
    "product": lambda: itertools.product("ab", [1, 2, 3], "xy"),
    "product_of_nothing": lambda: itertools.product(*[]),
    "product_of_one": lambda: itertools.product("ab", repeat=3),
    "repeat": lambda: itertools.repeat("x", 3),
    "starmap": lambda: itertools.starmap(pow, [(1, 2), (2, 3)]),
    "takewhile": lambda: itertools.takewhile(bool, [1, 2, 0, 1]),
    "tee": lambda: itertools.tee(range(130))[1],
    "zip_longest": lambda: itertools.zip_longest("ab", [1, 2, 3, 4], "", fillvalue="-"),
    "in_one_another": lambda: enumerate(
        zip(itertools.chain("ab", "cd"), map(str, itertools.count()), strict=False)
    ),
}
if sys.version_info >= (3, 12):
    CASES["batched"] = lambda: itertools.batched("abcdefg", 3)


@pytest.mark.parametrize("name", CASES)
def test_iterators_go_on(name: str) -> None:
    check_copies(CASES[name])


def test_an_end_stays_one() -> None:
    """A condition that was met once is not asked again, and what has ended does not go on."""
    iterator = itertools.takewhile(bool, iter([1, 0, 1]))
    assert [*iterator] == [1]
    assert [*copy(iterator)] == []
    chain = itertools.chain([1])
    assert [*chain] == [1]
    assert [*copy(chain)] == []


def test_a_group_without_a_next_item_is_not_begun_again() -> None:
    """As it was by the reduction that itertools itself had until Python 3.13."""
    groups = itertools.groupby("aab")
    _, group = next(groups)
    assert next(group) == "a"
    copied_groups, copied_group = copy((groups, group))
    key, following = next(copied_groups)
    assert (key, [*following]) == ("b", ["b"])
    assert [*copied_group] == []  # another group was begun


@pytest.mark.parametrize("count", range(4))
def test_groups_go_on(count: int) -> None:
    """The group that a loop is in, and the groups after it."""
    groups = itertools.groupby([1, 1, 3, 2, 4], key=lambda number: number % 2)
    _, group = next(groups)
    before = [*islice(group, count)]
    groups, group = copy(copy((groups, group)))
    assert [*before, *group] == [1, 1, 3]
    assert [(key, [*group]) for key, group in copy(groups)] == [(0, [2, 4])]


def test_a_group_of_before_has_ended() -> None:
    groups = itertools.groupby("ab")
    _, first = next(groups)
    next(groups)
    assert [*copy(first)] == []


class Unequal:
    """An object that is equal to nothing, as a NaN."""

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return 0


def test_keys_are_compared_as_itertools_does() -> None:
    """A key is equal to itself, also if it says that it is not."""
    key = Unequal()
    groups = itertools.groupby([key, key, 1.0])
    _, group = next(groups)
    next(group)
    groups, group = copy((groups, group))
    assert len([*group]) == 1
    assert next(groups)[0] == 1.0


def test_tees_share_their_items() -> None:
    """One of them takes an item from the source, and all of them get it."""
    taken: list[int] = []

    def take() -> int:
        taken.append(len(taken))
        return taken[-1]

    source = iter(take, 200)
    one, two, three = itertools.tee(source, 3)
    skip(one, 100)
    skip(two, 3)
    taken_copy, one, two, three = copy((taken, one, two, three))
    assert (next(one), next(two), next(three)) == (100, 3, 0)
    assert [*two] == [*range(4, 200)]
    assert [*one] == [*range(101, 200)]
    assert [*copy(three)] == [*range(1, 200)]
    assert taken == [*range(100)]
    del taken_copy


def test_sources_stay_the_same_objects() -> None:
    """An iterator goes on with the items that its list gets later."""
    found = [1, 2]
    iterator = islice(itertools.chain(found, "x"), 9)
    next(iterator)
    found, iterator = copy((found, iterator))
    found.append(3)
    assert [*iterator] == [2, 3, "x"]


def test_many_copies_are_not_deeper_than_one() -> None:
    """Else they could not be pickled one day."""
    iterator: Any = itertools.accumulate(itertools.count(1))
    for _ in range(300):
        next(iterator)
        iterator = copy(iterator)
    assert next(iterator) == 301 * 302 // 2
    iterator = itertools.chain("ab", itertools.count())
    for _ in range(300):
        next(iterator)
        iterator = copy(iterator)
    assert next(iterator) == 298


def test_nothing_warns() -> None:
    """In Python 3.12 and 3.13 the pickling of itertools is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for make in CASES.values():
            copy(make())
