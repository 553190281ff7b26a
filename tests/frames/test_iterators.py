"""Iterators of Python and NumPy go on where they were, over the same objects."""

from __future__ import annotations

import array
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
from copying import check_copies, copy, refusal

CASES: dict[str, Callable[[], Iterator[Any]]] = {
    "list": lambda: iter([1, 2, 3]),
    "list_reversed": lambda: reversed([1, 2, 3]),
    "tuple": lambda: iter((1, 2, 3)),
    "tuple_reversed": lambda: reversed((1, 2, 3)),
    "str": lambda: iter("abc"),
    "str_wide": lambda: iter("aé😀"),
    "bytes": lambda: iter(b"abc"),
    "bytearray": lambda: iter(bytearray(b"abc")),
    "range": lambda: iter(range(1, 9, 3)),
    "range_large": lambda: iter(range(10**30, 10**30 + 3)),
    "range_reversed": lambda: reversed(range(4)),
    "dict": lambda: iter({"a": 1, "b": 2}),
    "values": lambda: iter({"a": 1, "b": 2}.values()),
    "items": lambda: iter({"a": 1, "b": 2}.items()),
    "dict_reversed": lambda: reversed({"a": 1, "b": 2}),
    "values_reversed": lambda: reversed({"a": 1, "b": 2}.values()),
    "items_reversed": lambda: reversed({"a": 1, "b": 2}.items()),
    "ordered": lambda: iter(OrderedDict(a=1, b=2)),
    "ordered_items": lambda: iter(OrderedDict(a=1, b=2).items()),
    "ordered_values_reversed": lambda: reversed(OrderedDict(a=1, b=2).values()),
    "counter": lambda: iter(Counter("abca").items()),
    "defaultdict": lambda: iter(defaultdict(int, a=1)),
    "set": lambda: iter({1, 2, 3}),
    "frozenset": lambda: iter(frozenset({1, 2, 3})),
    "deque": lambda: iter(deque([1, 2, 3])),
    "deque_reversed": lambda: reversed(deque([1, 2, 3])),
    "array": lambda: iter(array.array("d", [1, 2, 3])),
    "enumerate": lambda: enumerate("abc", 5),
    "zip": lambda: zip("abc", [1, 2, 3, 4], strict=False),
    "map": lambda: map(operator.add, [1, 2], (3, 4)),
    "filter": lambda: filter(None, [0, 1, 2]),
    "call": lambda: iter(deque([1, 2, 3, 4]).popleft, 3),
    "numpy": lambda: iter(np.arange(3)),
    "numpy_flat": lambda: np.arange(6).reshape(2, 3).flat,
    "numpy_index": lambda: iter(np.ndindex(2, 2)),
    "numpy_enumerate": lambda: iter(np.ndenumerate(np.eye(2))),
}


@pytest.mark.parametrize("name", CASES)
def test_iterators_go_on(name: str) -> None:
    check_copies(CASES[name])


@pytest.mark.parametrize("name", ["list", "list_reversed", "bytearray", "array"])
def test_sequences_stay_the_same_objects(name: str) -> None:
    kinds: dict[str, Any] = {"bytearray": bytearray, "array": lambda x: array.array("b", x)}
    sequence = kinds.get(name, list)([1, 2, 3])
    iterator = reversed(sequence) if name == "list_reversed" else iter(sequence)
    next(iterator)
    sequence, iterator = copy((sequence, iterator))
    sequence[1] = 7
    assert next(iterator) == 7


def test_a_list_may_grow() -> None:
    found = [1, 2]
    iterator = iter(found)
    next(iterator)
    found, iterator = copy((found, iterator))
    found += [3, 4]
    assert [*iterator] == [2, 3, 4]


def test_a_list_that_became_shorter_may_grow_again() -> None:
    """Python does not put an iterator behind the end of a list."""
    found = [*range(6)]
    iterator = iter(found)
    assert [*islice(iterator, 5)] == [0, 1, 2, 3, 4]
    del found[2:]
    found, iterator = copy((found, iterator))
    assert found == [0, 1]
    found += [2, 3, 4, 5, 6]
    assert [*iterator] == [5, 6]


def test_a_list_may_contain_an_iterator_over_itself() -> None:
    """It is loaded after the iterator."""
    found: list[Any] = ["a", "b"]
    iterator = iter(found)
    found.append(iterator)
    next(iterator)
    for copied in (copy(found), copy({"it": iterator, "found": found})["found"]):
        assert next(copied[2]) == "b"


def test_a_dict_is_the_same_object() -> None:
    """Its values may change while a loop goes over it."""
    ages = {"a": 1, "b": 2}
    values, items = iter(ages.values()), iter(ages.items())
    next(values), next(items)
    ages, values, items = copy((ages, values, items))
    ages["b"] = 5
    assert next(values) == 5
    assert next(items) == ("b", 5)


def test_a_dict_that_gets_another_size_is_told() -> None:
    """Python raises an error at the next item; so it does in another process, before or after."""
    ages = {"a": 1, "b": 2}
    iterator = iter(ages)
    next(iterator)
    later, copied = copy((ages, iterator))
    later["c"] = 3
    ages["c"] = 3
    for one in (copied, copy(iterator)):
        with pytest.raises(RuntimeError, match="dictionary changed size"):
            next(one)


def test_a_dict_may_get_keys_for_those_that_it_loses() -> None:
    """As long as they are not those that the loop has met."""
    ages = dict.fromkeys("abc")
    iterator = iter(ages)
    next(iterator)
    del ages["b"]
    ages["z"] = None
    assert [*copy((ages, iterator))[1]] == ["c", "z"] == [*iterator]


def test_a_dict_with_other_keys_is_refused() -> None:
    """Python would hand out some of them, and then raise an error."""
    ages = dict.fromkeys("abc")
    iterator = iter(ages)
    next(iterator)
    del ages["a"]
    ages["z"] = None
    text = refusal((ages, iterator))
    assert text.startswith("frame[1] (builtins.dict_keyiterator) cannot be stored: its dict has")


def test_the_rest_of_a_set_comes_in_the_order_of_before() -> None:
    words = {f"word {number}" for number in range(50)}
    iterator = iter(words)
    assert len([*islice(iterator, 20)]) == 20
    words, copied = copy((words, iterator))
    assert [*copied] == [*iterator]


def test_a_set_that_gets_another_size_is_told() -> None:
    words = {1, 2, 3}
    iterator = iter(words)
    next(iterator)
    words, copied = copy(copy((words, iterator)))
    words.add(4)
    with pytest.raises(RuntimeError, match="Set changed size"):
        next(copied)
    with pytest.raises(RuntimeError, match="Set changed size"):
        next(copy(copied))


class Countdown:
    """An iterator that begins anew when it is asked for an iterator."""

    def __init__(self, start: int) -> None:
        self.start = self.left = start

    def __iter__(self) -> Countdown:
        self.left = self.start
        return self

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        self.left -= 1
        return self.left


@pytest.mark.parametrize(
    "make",
    [
        enumerate,
        zip,
        lambda items: map(str, items),
        lambda items: filter(None, items),
        lambda items: islice(items, 9),
        lambda items: zip(items, "abcde", strict=False),
    ],
)
def test_iterators_over_others_do_not_begin_anew(make: Any) -> None:
    check_copies(lambda: make(Countdown(5)))


def test_an_iterator_that_does_not_tell_its_place_is_refused() -> None:
    assert "memory_iterator" in refusal(iter(memoryview(b"abc")))
