"""A loop that changes something outside of its state is told so in its first steps."""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax
from trax.engine import surroundings

ids = itertools.count()
history: list[int] = []
lookup_cache: dict[int, int] = {}
total = 0
rng = random.Random(1)


class Order:
    made = 0

    def __init__(self) -> None:
        Order.made += 1
        self.number = Order.made


class Optimiser:
    def __init__(self) -> None:
        self.momentum = 0.0
        self.rng = random.Random(2)

    def step(self) -> None:
        self.momentum += 1


def tick() -> None:
    tick.calls += 1  # type: ignore[attr-defined]


tick.calls = 0  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look ends when it is complete, however busy the machine is."""
    monkeypatch.setattr(surroundings, "_SECONDS", 1000)


def said(caplog: pytest.LogCaptureFixture, body: Any, *args: Any, **options: Any) -> str:
    """Run a loop of three steps, and return the place that is told, or nothing."""
    caplog.clear()
    options = {
        "create": int,
        "name": "told",
        "varying": tuple(body.__code__.co_varnames[1:2])[: len(args)],
        **options,
    }
    trax.resumable(check=False, **options)(body).fresh(*args).result()
    lines = [line for line in caplog.messages if " changes " in line]
    assert len(lines) <= 1, lines
    return (
        lines[0].partition(" changes ")[2].partition(", outside of its state")[0] if lines else ""
    )


def test_counters_and_lists_outside_of_the_state_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """Of a module, of a class, of a function, of a closure, and in arguments."""
    enclosed = 0

    def of_module(n: int) -> Generator[int, int, None]:
        while n < 3:
            history.append(n)
            n = yield n + 1

    def rebound(n: int) -> Generator[int, int, None]:
        global total  # noqa: PLW0603  # that is the mistake
        while n < 3:
            total += 1
            n = yield n + 1

    def iterator(n: int) -> Generator[int, int, None]:
        while n < 3:
            next(ids)
            n = yield n + 1

    def of_class(orders: Any) -> Generator[Any, Any, None]:
        while len(orders) < 3:
            orders = yield [*orders, Order().number]

    def of_function(n: int) -> Generator[int, int, None]:
        while n < 3:
            tick()
            n = yield n + 1

    def of_closure(n: int) -> Generator[int, int, None]:
        nonlocal enclosed
        while n < 3:
            enclosed += 1
            n = yield n + 1

    def of_argument(n: int, seen: list[int]) -> Generator[int, int, None]:
        while n < 3:
            seen.append(n)
            n = yield n + 1

    def of_local(n: int) -> Generator[int, int, None]:
        optimiser = Optimiser()
        while n < 3:
            optimiser.step()
            n = yield n + 1

    assert said(caplog, of_module) == "history"
    assert said(caplog, rebound) == "total"
    assert said(caplog, iterator) == "ids"
    assert said(caplog, of_class, create=list) == "Order.made"
    assert said(caplog, of_function) == "tick.calls"
    assert said(caplog, of_closure) == "enclosed"
    assert said(caplog, of_argument, []) == "the argument 'seen'"
    assert said(caplog, of_local) == "the local variable 'optimiser'"


def test_a_counter_that_replay_log_changes_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A recovery replays fewer increments than the loop had."""

    def body(orders: list[Order]) -> Iterator[int]:
        for i in trax.steps(3):
            yield i

    changed = said(caplog, body, create=list, replay_log=lambda orders, _: [*orders, Order()])
    assert changed == "Order.made"


def test_the_state_its_parts_and_scratch_variables_are_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nor are RNGs whose positions are stored, caches by their names, and buffers."""

    class State:
        def __init__(self) -> None:
            self.steps: list[int] = []
            self.optimiser = Optimiser()

    def body(state: State, given: Optimiser) -> Iterator[None]:
        steps, optimiser, buffer = state.steps, state.optimiser, np.zeros(3)
        window = bytearray(3)
        for i in trax.steps(3):
            steps.append(i)
            optimiser.step()
            optimiser.rng.random()
            given.rng.random()
            rng.random()
            lookup_cache[i] = i
            buffer += i
            window[0] = i
            fresh: list[int] = []
            fresh.append(i)
            yield

    assert said(caplog, body, Optimiser(), create=State, replay_log=None) == ""


def test_caches_are_left_alone_as_by_the_warnings(caplog: pytest.LogCaptureFixture) -> None:
    """By their names, also as local variables and arguments, and where they get what is missing."""

    def named(n: int, squares_cache: dict[int, int]) -> Generator[int, int, None]:
        cache, memo = dict[int, int](), list[int]()
        while n < 3:
            cache[n] = squares_cache[n] = n
            memo.append(n)
            n = yield n + 1

    def asked(n: int) -> Generator[int, int, None]:
        squares: dict[int, int] = {}
        while n < 3:
            if n not in squares:
                squares[n] = n * n
            n = yield n + 1

    def counted(n: int) -> Generator[int, int, None]:
        squares: dict[int, int] = {}
        while n < 3:
            if n not in squares:
                squares[n] = len(squares)
            n = yield n + 1

    assert said(caplog, named, {}) == ""
    assert said(caplog, asked) == ""
    assert said(caplog, counted) == "the local variable 'squares'"


def test_what_is_made_from_the_state_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """A resumed run makes it again, as the warnings at decoration advise."""

    def rebuilt(found: list[int]) -> Generator[int, list[int], None]:
        counts, left = Counter(found), deque(range(len(found), 3))
        while left:
            counts[left[0]] += 1
            found = yield left.popleft() + len(counts)

    def alone(n: int) -> Generator[int, int, None]:
        left = deque(range(3))
        while n < 3:
            left.popleft()
            n = yield n + 1

    assert said(caplog, rebuilt, create=list, replay_log="append") == ""
    assert said(caplog, alone) == "the local variable 'left'"


def test_a_large_or_unpicklable_variable_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The comparison is bounded, and no error of it reaches the loop."""

    class Refusing:
        def __reduce__(self) -> Any:
            raise RuntimeError

    def body(n: int) -> Generator[int, int, None]:
        large, refusing = [0] * 200_000, Refusing()
        while n < 3:
            large[0] = n
            refusing.n = n  # type: ignore[attr-defined]
            n = yield n + 1

    assert said(caplog, body) == ""


def test_what_changes_in_the_first_step_alone_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is the beginning of the body, which a resumed run repeats."""

    def body(n: int) -> Generator[int, int, None]:
        history.append(1)
        while n < 3:
            n = yield n + 1

    assert said(caplog, body) == ""


COUNTER = """
import os, sys
import trax

class Order:
    count = 0
    def __init__(self):
        Order.count += 1
        self.number = Order.count

@trax.resumable(create=list, replay_log=lambda orders, _: [*orders, Order()], every_steps=5)
def loop(orders, n):
    for i in trax.steps(n):
        orders = yield i

run = loop(n=30)
for _ in run:
    if len(sys.argv) > 1 and run.step == 13:
        os.kill(os.getpid(), 9)
print(len({order.number for order in run.result()}))
"""


def test_numbers_that_a_class_counts_are_told_before_the_crash() -> None:
    """And again when the run is resumed: the count is that of the process."""
    killed = run_script(COUNTER, "die", check=False)
    assert "loop changes Order.count, outside of its state" in killed.stderr
    resumed = run_script(COUNTER)
    assert "loop changes Order.count, outside of its state" in resumed.stderr
