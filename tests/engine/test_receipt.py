"""A loop that does not take its new state is found at its second step, and no other loop is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import trax

LINE = "the loop goes on with the state of its first step"


def doubled(state: int, n: int) -> Iterator[int]:
    """Forget the new state in a `for`."""
    for _ in trax.steps(n):
        yield state * 2


def climb(state: int, n: int) -> Iterator[int]:
    """Forget it in the condition of a `while`."""
    count = 0
    while state < 200 and count < n:
        count += 1
        yield state + 1


def captured(state: int, n: int) -> Iterator[int]:
    """Use the former state in an expression with a scope of its own."""
    for _ in trax.steps(n):
        yield sum(state for _ in range(2))


async def concurrent(state: int, n: int) -> AsyncIterator[int]:
    """Forget it in an async loop."""
    for _ in trax.steps(n):
        yield state * 2


def taken(state: Any, n: int) -> Iterator[int]:
    """Take it."""
    for _ in trax.steps(n):
        state = yield state * 2


def taken_by_another_name(state: Any, n: int) -> Iterator[int]:
    """Keep the first state on purpose, beside the new one."""
    first = latest = state
    for _ in trax.steps(n):
        latest = yield latest * 2 + first
    assert latest != state


def only_begun_with(state: int, n: int) -> Iterator[int]:
    """Look at the state before the loop alone."""
    for i in range(state, state + n):
        yield i + 1


def never_used(state: int, n: int) -> Iterator[int]:
    """Compute increments from something else."""
    for i in trax.steps(n):
        yield i


def in_a_branch(state: int, n: int) -> Iterator[int]:
    """Read the state where nothing is yielded, if ever."""
    for i in trax.steps(n):
        if i > 100:
            print(state)
        yield i


def snapshots(state: list[int], n: int) -> Iterator[list[int]]:
    """Change the first state, and yield copies of it."""
    while len(state) < n:
        state.append(1)
        yield list(state)


def inner(state: Any) -> Any:
    """Yield twice, and return the newest state."""
    state = yield state * 2
    return (yield state * 2)


def delegating(state: Any, n: int) -> Iterator[int]:
    """Let another generator take it."""
    while state < 2_000:
        state = yield from inner(state)


class Bound:
    """A loop with a `self` before the state."""

    def doubled(self, state: int, n: int) -> Iterator[int]:
        """Forget the new state."""
        for _ in trax.steps(n):
            yield state * 2


FORGETFUL: list[Callable[..., Any]] = [doubled, climb, captured, Bound().doubled]
CAREFUL: list[Callable[..., Any]] = [
    taken,
    taken_by_another_name,
    only_begun_with,
    never_used,
    in_a_branch,
    delegating,
]


def newest(state: int, increment: int) -> int:
    """Be replaced by the increment."""
    return increment


def run_to_its_end(function: Callable[..., Any], **options: Any) -> None:
    """Run a loop of five steps."""
    loop = trax.resumable(create=lambda: 100, name="loop", check=False, **options)(function)
    for _ in loop(n=5):
        pass


@pytest.mark.parametrize("options", [{"replay_log": newest}, {}], ids=["function", "left out"])
@pytest.mark.parametrize("function", FORGETFUL)
def test_a_forgotten_state_is_said_once_with_the_line_to_write(
    function: Callable[..., Any], options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The undisturbed run would end otherwise than a resumed one."""
    run_to_its_end(function, **options)
    assert caplog.text.count(LINE) == 1
    assert "state = yield ..." in caplog.text


@pytest.mark.parametrize("options", [{"replay_log": newest}, {}], ids=["function", "left out"])
@pytest.mark.parametrize("function", CAREFUL)
def test_a_loop_that_needs_no_new_state_is_left_alone(
    function: Callable[..., Any], options: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It may have it by another name, or look at the state only at its beginning."""
    run_to_its_end(function, **options)
    assert LINE not in caplog.text


def test_a_state_that_is_changed_in_place_need_not_be_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is the same object."""

    def append(state: list[int], increment: int) -> list[int]:
        state.append(increment)
        return state

    @trax.resumable(create=list, replay_log=append)
    def loop(state: list[int]) -> Iterator[int]:
        for _ in trax.steps(3):
            yield len(state)

    assert loop().result() == [0, 1, 2]
    assert not caplog.text


def test_a_loop_that_yields_copies_of_its_state_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A resumed one begins with the newest copy, which is the same."""
    loop = trax.resumable(create=list)(snapshots)
    assert loop(n=4).result() == [1] * 4
    assert not caplog.text


def test_an_async_loop_is_looked_at_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """Its frame is of another kind."""
    loop: Any = trax.resumable(create=lambda: 1, replay_log=newest, check=False)(concurrent)
    asyncio.run(loop(n=3).result())
    assert caplog.text.count(LINE) == 1
