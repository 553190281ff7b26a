"""The variables of a stored loop are shown without the objects outside of its frame."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import trax


class Thing:
    """Has items, an RNG, and a method."""

    def __init__(self) -> None:
        self.items = [1, 2]
        self.rng = random.Random(1)

    def add(self, item: int) -> None:
        self.items.append(item)


class Picky:
    """Needs the array whose name it gets when its state is set."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.array = state["array"][:2]


def doubled(rows: list[int]) -> Iterator[int]:
    for row in rows:
        yield 2 * row


@trax.resumable(name="loop")
def over_list(rows: list[int], array: Any, thing: Thing) -> Iterator[int]:
    yield from rows


@trax.resumable(name="loop")
def over_views(rows: list[int], array: Any, thing: Thing) -> Iterator[int]:
    for i, _ in zip(rows, array[1:3], strict=False):
        yield i


@trax.resumable(name="loop")
def over_dict(rows: list[int], array: Any, thing: Thing) -> Iterator[int]:
    for name in vars(thing).copy():
        yield len(name)


@trax.resumable(name="loop")
def over_generator(rows: list[int], array: Any, thing: Thing) -> Iterator[int]:
    yield from enumerate(doubled(rows))


@trax.resumable(name="loop")
def over_slice(rows: list[int], array: Any, thing: Thing) -> Iterator[int]:
    yield from itertools.islice(reversed(rows), 2)


@pytest.mark.parametrize("loop", [over_list, over_views, over_dict, over_generator, over_slice])
def test_a_loop_over_an_argument_shows_its_variables(loop: Any) -> None:
    """There is no call, and so no argument to iterate over."""
    run = loop([1, 2, 3], np.zeros(4), Thing())
    next(run)
    run.close()
    assert loop.load().step == 1
    assert trax.load("loop").step == 1


PARTS: dict[str, Callable[[list[int], Any, Thing], Any]] = {
    "view": lambda rows, array, thing: array[1:3],
    "objects": lambda rows, array, thing: array.astype(object)[1:],
    "method": lambda rows, array, thing: thing.add,
    "method of a list": lambda rows, array, thing: rows.append,
    "method of an RNG": lambda rows, array, thing: thing.rng.random,
    "partial": lambda rows, array, thing: functools.partial(rows.append, 1),
    "iterator": lambda rows, array, thing: iter(rows),
    "generator": lambda rows, array, thing: doubled(rows),
    "setstate": lambda rows, array, thing: Picky(array),
}


@pytest.mark.parametrize("name", PARTS)
def test_what_is_made_of_an_argument_has_a_stand_in(name: str) -> None:
    """Beside it, all other variables are as they are."""

    @trax.resumable
    def loop(rows: list[int], array: Any, thing: Thing) -> Iterator[int]:
        part, number = PARTS[name](rows, array, thing), 7
        for _ in range(3):
            yield number
            repr(part)

    run = loop([1, 2, 3], np.zeros(4), Thing())
    next(run)
    run.close()
    found = trax.load("loop")
    assert found["number"] == 7
    if name not in ("objects", "generator"):
        argument = {"view": "array", "method": "thing", "method of an RNG": "thing.rng"}
        argument["setstate"] = "array"
        assert repr(found["part"]) == f"<made of argument {argument.get(name, 'rows')}>"


def test_an_object_that_cannot_be_loaded_for_another_reason_is_an_error() -> None:
    """Only what is not there has a stand-in."""

    @trax.resumable
    def loop(rows: list[int]) -> Iterator[int]:
        broken = Picky(np.arange(3))
        for _ in range(3):
            yield 1
            repr((broken, rows))

    run = loop([1])
    next(run)
    run.close()
    before = Picky.__setstate__
    Picky.__setstate__ = lambda self, state: 1 // 0  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(trax.CodecError, match="ZeroDivisionError"):
            trax.load("loop")
    finally:
        Picky.__setstate__ = before  # type: ignore[method-assign]
