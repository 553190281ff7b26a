"""The log is replayed on top of a checkpoint, as its increments were folded live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_decorator import total

import trax


def test_an_increment_whose_replay_raises_leaves_no_trace() -> None:
    """The increment was folded before it was logged; it would break every later recovery."""

    def fold(state: list[int], increment: int) -> list[int]:
        if increment == 3 and broken:
            raise ZeroDivisionError("a bug in replay_log")
        state.append(increment)
        return state

    @trax.resumable(create=list, replay_log=fold)
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(5):
            yield i

    broken = True
    with pytest.raises(ZeroDivisionError):
        loop().result()
    assert loop.load() == [0, 1, 2]
    broken = False
    assert loop().result() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_what_folding_changes_in_an_increment_is_not_what_is_logged(size: int) -> None:
    """The increment is pickled as it was yielded, however large it is."""

    def fold(state: Any, increment: Any) -> Any:
        increment += state
        return increment

    @trax.resumable(create=lambda: np.zeros(size), replay_log=fold)
    def loop(state: Any) -> Iterator[Any]:
        for i in trax.steps(4):
            yield np.full(size, float(i))

    with loop() as run:
        for _ in range(3):
            next(run)
        live = run.state.copy()
    assert (loop.load() == live).all()


def test_a_replay_log_that_forgets_to_return_is_told() -> None:
    """At the first step, and nothing is stored of it."""

    @trax.resumable(create=list, replay_log=list.append)
    def loop(state: list[int]) -> Iterator[int]:
        yield 1

    with pytest.raises(trax.UsageError, match="replay_log returned None"):
        next(loop())
    assert loop.load() == []


def test_a_log_is_not_replayed_in_another_sense() -> None:
    """Increments that were states are not folded, and the other way round."""

    def loop(n: int) -> Iterator[int]:
        for i in trax.steps(9):
            yield i

    with trax.resumable(create=int)(loop)() as run:
        next(run), next(run)
    with pytest.raises(trax.UsageError, match="replay_log left out, and now it is a function"):
        trax.resumable(create=int, replay_log=total)(loop)().result()
    assert trax.load("loop") == 1


def test_by_default_the_increment_replaces_the_state() -> None:
    """In the log of each name in the call."""
    with trax.Trax() as store:
        store.checkpoint(one=1, two=2)
        store.log(one=10, two=20)
        store.log(two=200)
        assert (store.recover("one"), store.recover("two")) == (10, 200)


def test_a_replay_log_that_raises_says_at_which_step() -> None:
    """Its own exception, with a note; the store is as it was."""
    with trax.Trax() as store:
        store.checkpoint(number=0)
        for number in (1, 2, 0, 4):
            store.log(number=number)
        with pytest.raises(ZeroDivisionError) as caught:
            store.recover("number", replay_log=lambda state, increment: 1 // increment)
        assert caught.value.__notes__ == ["trax: raised by replay_log at step 3 of 'number'"]
        assert store.recover("number") == 4
