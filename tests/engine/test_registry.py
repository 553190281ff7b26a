"""The open runs of a process: one in another, in other threads, kept by tracebacks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
from test_sync_driver import squares, take

import trax


def test_a_run_that_a_traceback_keeps_alive_does_not_lock_out_the_next_call() -> None:
    """In a notebook the traceback of the last cell holds the run; the next cell goes on with it."""
    old = squares(n=6)
    take(old, 2)
    new = squares(n=6)
    assert take(new, 1) == [4]
    with pytest.raises(trax.UsageError, match="a later call took it over"):
        next(old)
    assert list(new) == [9, 16, 25]


def test_another_thread_does_not_take_over() -> None:
    """What is being driven elsewhere in the process is locked."""
    errors: list[BaseException] = []

    def other() -> None:
        try:
            squares(n=6).result()
        except trax.LockedError as error:
            errors.append(error)

    with squares(n=6) as run:
        take(run, 2)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert take(run, 1) == [4]
    assert len(errors) == 1
    assert "this very process" in str(errors[0])


def test_a_run_that_is_closed_in_its_own_loop_does_not_look_finished() -> None:
    """The for statement is told; a silent end would pass for the real one."""
    run = squares(n=6)
    with pytest.raises(trax.UsageError, match="ended at step 1: it was closed"):  # noqa: PT012
        for _ in run:
            run.close()


def test_one_run_inside_another() -> None:
    """The helpers find the innermost loop."""

    @trax.resumable(create=int, replay_log=lambda state, increment: state + increment)
    def outer(state: int) -> Iterator[int]:
        for i in trax.steps(3):
            yield len(squares.fresh(n=i + 1).result())

    assert outer().result() == 6


def test_a_loop_that_calls_itself_is_told_how() -> None:
    """Also through a function, and async; the plain function may be called there."""

    @trax.resumable
    def down(n: int) -> Iterator[int]:
        yield n
        if n:
            yield from onwards(n - 1)

    onwards: Callable[[int], Iterator[int]] = down
    with pytest.raises(trax.LockedError, match="down calls itself: its loop holds the run 'down'"):
        down(2).result()
    onwards = down.__wrapped__
    assert [*down.fresh(2)] == [2, 1, 0]

    @trax.resumable
    async def below(n: int) -> AsyncIterator[int]:
        yield n
        await below(n - 1).result()

    with pytest.raises(trax.LockedError, match="below calls itself"):
        asyncio.run(below(2).result())


def test_a_run_for_each_call_lets_a_loop_call_itself() -> None:
    """They are other runs."""

    @trax.resumable(name="down-{n}")
    def down(n: int) -> Iterator[int]:
        yield n
        if n:
            yield from down(n - 1)

    assert [*down(2)] == [2, 1, 0]
