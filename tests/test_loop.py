"""Helpers inside a loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest

import trax


@trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment], varying="of")
def copy(state: list[Any], of: Any) -> Iterator[Any]:
    """Copy what is handed in, item by item."""
    for item in trax.remaining(of()):
        yield item


@pytest.mark.parametrize("kind", [list, tuple, range, iter, str])
def test_remaining_goes_on_behind_the_items_that_are_done(kind: Any) -> None:
    """Sequences are sliced, of other iterables the first ones are skipped."""

    def items() -> Iterable[Any]:
        return "abcdef" if kind is str else kind(6) if kind is range else kind([0, 1, 2, 3, 4, 5])

    with copy(of=items) as run:
        done = [next(run), next(run)]
    assert done + list(copy(of=items)) == list(items())


def test_remaining_takes_arrays() -> None:
    """An array is an iterable like any other."""

    def items() -> Any:
        return np.arange(4)

    with copy(of=items) as run:
        next(run)
    assert list(copy(of=items)) == [1, 2, 3]


@pytest.mark.parametrize("total", [-1, 1.5, "3", None, True])
def test_steps_refuses_what_is_no_number_of_steps(total: Any) -> None:
    """A mistake is named."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.steps(total):
            yield 1

    with pytest.raises(trax.UsageError, match="whole number"):
        loop().result()


def test_steps_takes_a_numpy_integer() -> None:
    """It has an index like any whole number."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.steps(np.int64(3)):  # type: ignore[arg-type]
            yield 1

    assert len(list(loop())) == 3


def test_outside_of_a_loop_the_helpers_say_so() -> None:
    """Counting from 0 there would be silently wrong."""
    with pytest.raises(trax.UsageError, match=r"trax\.steps\(\) was called outside"):
        trax.steps(3)
    with pytest.raises(trax.UsageError, match=r"trax\.remaining\(\) was called outside"):
        trax.remaining([1])


def test_helpers_work_in_what_the_loop_calls() -> None:
    """However deep below it."""

    def todo(n: int) -> list[int]:
        return list(trax.steps(n))

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for i in todo(4):
            yield i

    with loop() as run:
        next(run)
    assert list(loop()) == [1, 2, 3]


def test_the_steps_of_a_run_are_counted_once() -> None:
    """Nested counting would leave out steps without a word."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.steps(2):
            for _ in trax.remaining("ab"):
                yield 1

    with pytest.raises(trax.UsageError, match="a second time"):
        loop().result()


def test_remaining_refuses_what_has_no_order() -> None:
    """A set has another order in every process."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.remaining({"a", "b"}):
            yield 1

    with pytest.raises(trax.UsageError, match="sort them"):
        loop().result()
