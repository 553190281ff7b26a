"""The first steps are replayed on copies, so a loop that is folded otherwise later is found."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pytest

import trax

BODY = "the loop has changed"
REPLAY = "replay_log gives another state when the step is replayed on copies"
PART = "itself, and a copy when it is replayed"


class Crawl:
    """A state with a list to do."""

    def __init__(self) -> None:
        self.todo = [0, 1, 2]
        self.pages: list[Any] = []
        self.grid = np.zeros(4)
        self.rng = random.Random(1)
        self._norm: float | None = None

    @cached_property
    def size(self) -> int:
        return len(self.todo)

    def norm(self) -> float:
        if self._norm is None:
            self._norm = 1.0
        return self._norm

    def add(self, page: Any) -> Crawl:
        self.pages.append(page)
        return self


def run(
    body: Callable[[Crawl, int], Any],
    replay_log: Callable[[Any, Any], Any] = Crawl.add,
    **options: Any,
) -> Any:
    """Run four steps of a loop whose body is a function of the state and the step."""

    @trax.resumable(create=Crawl, replay_log=replay_log, **options)
    def loop(state: Any) -> Iterator[Any]:
        for i in trax.steps(4):
            state = yield body(state, i)

    return loop().result()


# -- the body changes the state ------------------------------------------------------------


def test_a_body_that_changes_the_state_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """With the path, once for a run and a process."""
    run(lambda state, i: state.todo.pop(0) if state.todo else 9)
    assert caplog.text.count(BODY) == 1
    assert "the loop has changed state.todo[0] (before 0, now 1)" in caplog.text
    assert REPLAY not in caplog.text


def test_an_array_that_changes_under_way_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """Its buffer is not that of the copy."""
    run(lambda state, i: state.grid.__setitem__(i, 1.0))
    assert "the loop has changed state.grid.flat[0] (before 0.0, now 1.0)" in caplog.text


def test_a_buffer_that_is_used_again_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """At the second step, when it changes in the state."""
    buffer = np.zeros(1)

    def body(state: Crawl, i: int) -> Any:
        buffer[0] = i
        return buffer

    run(body)
    assert "the loop has changed state.pages[0].flat[0] (before 0.0, now 1.0)" in caplog.text


def test_draws_and_caches_in_the_body_are_no_change(caplog: pytest.LogCaptureFixture) -> None:
    """The positions of RNGs are stored, and a cache is filled again."""
    state = run(lambda state, i: (state.rng.random(), state.size, state.norm()))
    assert len(state.pages) == 4
    assert not caplog.text


def test_a_body_that_changes_the_state_is_found_in_a_resumed_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The code may be another by then."""

    def call(body: Callable[[Crawl, int], Any]) -> Any:
        @trax.resumable(create=Crawl, replay_log=Crawl.add, name="loop")
        def loop(state: Any) -> Iterator[Any]:
            for i in trax.steps(4):
                state = yield body(state, i)

        return loop()

    with call(lambda state, i: i) as begun:
        next(begun)
    assert BODY not in caplog.text
    call(lambda state, i: state.todo.append(i)).result()
    assert "the loop has changed state.todo" in caplog.text


# -- the increment is a part of the state --------------------------------------------------


def test_an_increment_that_is_a_part_of_the_state_is_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Live it is changed in the state, and replayed in a copy."""

    def fold(state: Crawl, todo: list[int]) -> Crawl:
        todo.append(7)
        return state

    run(lambda state, i: state.todo, fold)
    assert f"the increment is state.todo {PART}" in caplog.text


def test_an_increment_that_becomes_two_parts_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """By identity: it is equal for now."""
    run(lambda state, i: state.todo)
    assert f"the increment is state.todo {PART}" in caplog.text
    assert "live one object, replayed two" in caplog.text


def test_a_view_of_an_array_in_the_state_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """They share memory."""

    def fold(state: Crawl, row: Any) -> Crawl:
        row += 1
        return state

    run(lambda state, i: state.grid[1:3], fold)
    assert f"the increment is state.grid {PART}" in caplog.text


def test_a_key_of_a_part_is_what_to_yield(caplog: pytest.LogCaptureFixture) -> None:
    """As the line says; so is a copy, or something that cannot change."""
    run(lambda state, i: state.todo[0])
    run(lambda state, i: list(state.todo), name="copies")
    run(lambda state, i: tuple(state.todo), name="tuples")
    assert not caplog.text


# -- replay_log depends on something else --------------------------------------------------


def test_a_replay_log_that_counts_elsewhere_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """A recovery would begin with another count."""
    count = [0]

    def fold(state: Crawl, page: int) -> Crawl:
        count[0] += 1
        return state.add(count[0])

    run(lambda state, i: i, fold)
    assert f"{REPLAY} (state.pages[0]: live 1, replayed 2)" in caplog.text


def test_a_replay_log_that_asks_the_clock_is_found(caplog: pytest.LogCaptureFixture) -> None:
    """A recovery has another time."""
    run(lambda state, i: i, lambda state, page: state.add(time.perf_counter_ns()))
    assert REPLAY in caplog.text


def test_a_replay_log_that_raises_on_copies_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The run goes on; a recovery would fail."""
    seen: list[int] = []

    def fold(state: Crawl, page: int) -> Crawl:
        assert page not in seen, f"{page} twice"
        seen.append(page)
        return state.add(page)

    assert run(lambda state, i: i, fold).pages == [0, 1, 2, 3]
    assert "replay_log raised AssertionError: 0 twice" in caplog.text


def test_a_replay_log_that_draws_from_the_state_is_exact(caplog: pytest.LogCaptureFixture) -> None:
    """Its copy draws the same, wherever the body has left the RNG."""

    def fold(state: Crawl, page: int) -> Crawl:
        return state.add(state.rng.random())

    drawn = random.Random(1)
    expected = [[drawn.random() for _ in range(2)][1] for _ in range(4)]
    assert run(lambda state, i: state.rng.random(), fold).pages == expected
    assert not caplog.text


def test_replaying_draws_nothing_from_rngs_outside() -> None:
    """A replay_log that draws only now and then, so that it is not refused, does not disturb."""
    calls: deque[int] = deque()  # its content is not put back

    def fold(state: Crawl, page: float) -> Crawl:
        calls.append(1)
        if len(calls) == 2:  # the first step, replayed
            random.random()
            np.random.random()
        return state.add(page)

    random.seed(5)
    expected = [random.random() for _ in range(4)]
    random.seed(5)
    assert run(lambda state, i: random.random(), fold).pages == expected


def test_with_rng_none_draws_are_nobodys_business(caplog: pytest.LogCaptureFixture) -> None:
    """They are undone all the same."""
    random.seed(5)
    expected = [random.random() for _ in range(4)]
    random.seed(5)
    state = run(lambda state, i: i, lambda state, i: state.add(random.random()), rng=None)
    assert state.pages == expected
    assert not caplog.text
