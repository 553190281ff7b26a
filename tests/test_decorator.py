"""The decorator: what it accepts, what it refuses, and what a call of the function does."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import trax


@trax.resumable(create=int, every_steps=10)
def count(n: int, to: int) -> Generator[int, int, None]:
    """Count to a number."""
    while n < to:
        n = yield n + 1


def total(state: int, increment: int) -> int:
    """Fold an increment into a sum."""
    return state + increment


@trax.resumable(create=int, replay_log=total)
def add_up(state: int, n: int) -> Iterator[int]:
    """Add up the numbers below n."""
    for i in trax.steps(n):
        yield i


def test_a_call_drives_the_loop_to_its_result() -> None:
    """`result()` is the final state where the generator returns nothing."""
    assert count(to=25).result() == 25


def test_a_for_loop_is_handed_every_increment() -> None:
    """A run is an iterator over the increments."""
    assert list(add_up(n=4)) == [0, 1, 2, 3]


def test_the_return_value_of_the_generator_is_the_result() -> None:
    """A finished run gives its stored return value, and the state stays what it was."""

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, dict[str, int]]:
        while n < 3:
            n = yield n + 1
        return {"answer": n}

    assert loop().result() == {"answer": 3}
    again = loop()
    assert again.result() == {"answer": 3}
    assert again.state == 3


def test_without_create_the_function_is_called_as_it_is_written() -> None:
    """Bare or with options; its first parameter, if there is one, is an argument as well."""

    @trax.resumable
    def bare(first: int, *more: int, last: int = 0) -> Iterator[int]:
        yield from ()
        yield first + sum(more) + last

    @trax.resumable(every_steps=10)
    def of_nothing() -> Iterator[int]:
        yield 1

    assert bare(1, 20, 300, last=4000).result() == 4321
    assert bare(1, 20, 300, last=4000).done
    with pytest.raises(trax.ArgumentsChangedError, match="first"):
        bare(2, 20, 300, last=4000).result()
    assert bare.fresh(first=2).result() == 2
    assert of_nothing().result() == 1


def test_options_that_several_loops_share_leave_the_state_open() -> None:
    """Each of the loops says what its state is."""
    often = trax.resumable(every_steps=2)
    with_more: Any = often

    @often
    def plain(n: int) -> Iterator[int]:
        yield n

    def add(state: int, n: int) -> Iterator[int]:
        yield state + n

    declared = with_more(create=int)(add)
    assert plain(3).result() == declared(3).result() == 3
    assert list(inspect.signature(plain).parameters) == ["n"]
    assert list(inspect.signature(declared).parameters) == ["state", "n"]


def test_replay_log_none_leaves_the_state_to_the_loop() -> None:
    """The object that create made is the loop's own; nothing is logged for its steps."""

    @trax.resumable(create=dict, replay_log=None, every_steps=100)
    def train(model: dict[str, int], epochs: int) -> Iterator[str]:
        for epoch in trax.steps(epochs):
            model["epoch"] = epoch
            yield "object that cannot be pickled is only reported"

    with train(epochs=9) as run:
        for _ in range(5):
            next(run)
        assert run.state == {"epoch": 4}
    again = train(epochs=9)
    assert (again.resumed_at, again.state) == (5, {"epoch": 4})
    assert again.result() == {"epoch": 8}


@pytest.mark.parametrize("state", [0, 1.5, "text", b"bytes", True])
def test_replay_log_none_tells_of_a_state_that_cannot_be_changed(
    state: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that counts in a variable of its own would silently begin anew after every crash."""

    @trax.resumable(create=lambda: state, replay_log=None, check=False)
    def count(n: Any) -> Generator[Any, Any, None]:
        for _ in range(3):
            n = n + n
            yield n

    with caplog.at_level(logging.WARNING, "trax"):
        count().result()
    assert "cannot be changed: nothing that the loop does is stored" in caplog.text


def test_replay_log_none_never_pickles_what_is_yielded() -> None:
    """A yield that only reports may hand out anything."""

    @trax.resumable(create=dict, replay_log=None)
    def train(model: dict[str, int]) -> Iterator[Any]:
        yield (part for part in "unpicklable")

    assert train().result() == {}


def test_a_run_can_be_recovered_through_the_core() -> None:
    """A run is a name in the store, replayed with its own function."""
    with add_up(n=10) as run:
        for _ in range(4):
            next(run)
    with trax.Trax() as store:
        assert store.recover("add_up") == 6


def test_a_name_of_the_core_can_be_gone_on_with_by_the_decorator() -> None:
    """What the core stored under a name is the state that the loop begins with."""
    with trax.Trax() as store:
        store.checkpoint(count=40)
    assert list(count(to=42)) == [41, 42]


def test_a_state_that_the_core_has_stored_before_the_first_step_is_kept() -> None:
    """Only a state that `create` has made is made anew."""
    with count(to=42) as run:
        assert run.step == 0
    with trax.Trax() as store:
        assert store.recover("count") == 0
        store.checkpoint(count=40)
    assert list(count(to=42)) == [41, 42]


def test_steps_means_in_total() -> None:
    """A longer run of an argument that may vary goes on; a shorter one does nothing."""

    @trax.resumable(create=int, replay_log=total, varying="n")
    def loop(state: int, n: int) -> Iterator[int]:
        for i in trax.steps(n):
            yield i

    assert loop(n=3).result() == 3
    assert list(loop(n=5)) == [3, 4]
    assert loop(n=5).result() == 10
    assert list(loop(n=2)) == []


# -- misuse --------------------------------------------------------------------------------


def no_yield(state: int) -> int:
    return state


def no_state() -> Iterator[int]:
    yield 1


async def coroutine(state: int) -> Any:
    return 1


def with_state(state: int) -> Iterator[int]:
    yield 1


class Callable:
    def __call__(self, state: int) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_yield, "not a generator function"),
        (42, "not a generator function"),
        (coroutine, "coroutine function"),
        (no_state, "no parameter for the state"),
        (list, r"got the class list instead of a function.\nTo .*create=list"),
        (functools.partial(no_state), "got a functools.partial"),
        (functools.cache(with_state), "functools.cache returns the same generator"),
        (Callable(), r"got 'Callable', which is not a generator function.\nWrite"),
    ],
)
def test_what_cannot_work_is_refused_at_once(function: Any, message: str, store_here: Path) -> None:
    """The decorator itself raises; nothing is stored."""
    with pytest.raises(trax.UsageError, match=message):
        trax.resumable(create=int)(function)
    assert not store_here.exists()
