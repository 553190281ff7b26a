"""A loop that changes something outside of its state is told so in its first steps."""

from __future__ import annotations

import enum
import itertools
import random
import signal
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax
from trax.engine import surroundings

ids = itertools.count()
history: list[int] = []
lookup_cache: dict[int, int] = {}
memo_seen: set[int] = set()
replay_memory: list[int] = []
settings = {"rate": 1.0}
position = [0]
client: Any = None
momentum = 0
level: ContextVar[int] = ContextVar("level")
names: ContextVar[list[int]] = ContextVar("names")
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


table = {"order": Order}


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
    """By their names, also as local variables and arguments, and where they get what is missing.

    A memory is none, and neither is a set of what was met.
    """

    def named(n: int, squares_cache: dict[int, int]) -> Generator[int, int, None]:
        cache, memo = dict[int, int](), list[int]()
        while n < 3:
            cache[n] = squares_cache[n] = n
            memo.append(n)
            n = yield n + 1

    def met(n: int) -> Generator[int, int, None]:
        while n < 3:
            memo_seen.add(n)
            replay_memory.append(n)
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
    assert said(caplog, met) == "memo_seen, replay_memory"
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


def test_a_very_large_variable_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """The comparison is bounded, and no error of it reaches the loop."""

    class Refusing:
        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise RuntimeError

    def body(n: int) -> Generator[int, int, None]:
        large, refusing = [0] * 2_000_000, Refusing()
        while n < 3:
            large[0] = n
            n = yield n + bool(refusing)

    assert said(caplog, body) == ""


def test_what_changes_in_the_first_step_alone_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is the beginning of the body, which a resumed run repeats."""

    def body(n: int) -> Generator[int, int, None]:
        history.append(1)
        while n < 3:
            n = yield n + 1

    assert said(caplog, body) == ""


def test_another_object_in_a_variable_counts_as_a_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Unless there was none: a resumed run makes it as well. Local variables are bound anew."""

    def rebound(n: int) -> Generator[int, int, None]:
        global position, client  # noqa: PLW0603  # that is the mistake
        while n < 3:
            position = [position[0] + 1]
            client = client or (Optimiser() if n else None)
            fresh = [n]
            n = yield fresh[0] + 1

    assert said(caplog, rebound) == "position"


def test_code_that_values_lead_to_is_searched_for_variables(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def by_table(n: int) -> Generator[int, int, None]:
        while n < 3:
            table["order"]()
            n = yield n + 1

    def by_argument(n: int, make: Any) -> Generator[int, int, None]:
        while n < 3:
            make["order"]()
            n = yield n + 1

    assert said(caplog, by_table) == "Order.made"
    assert said(caplog, by_argument, {"order": Order}) == "Order.made"


def test_a_variable_with_the_name_of_an_attribute_is_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The code around the loop changes it, such as ``for loss in train(): ...``."""

    def body(n: int, given: Optimiser) -> Generator[int, int, None]:
        while n < 3:
            n = yield n + 1 + int(given.momentum)

    loop = trax.resumable(create=int, check=False)(body)
    for n in loop(Optimiser()):
        globals()["momentum"] = n
    assert caplog.messages == []


def test_context_variables_of_a_plain_loop_are_told_if_their_objects_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A resumed run sets each again, to the number that it was, or to the object of its script."""

    @trax.resumable(name="told", every_steps=1)
    def loop(steps: int) -> Iterator[int]:
        for n in range(steps):
            level.set(n)
            names.get().append(n)
            yield n

    names.set([])
    loop(3).result()
    (line,) = caplog.messages
    assert line.startswith("told changes names, outside of its variables")


def test_what_create_changes_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No resumed run calls it; what nobody else refers to does not matter."""
    monkeypatch.setitem(settings, "rate", 1.0)

    def body(n: int, given: list[int]) -> Iterator[int]:
        for _ in trax.steps(3):
            yield int(settings["rate"] + len(given))

    def sets() -> int:
        settings["rate"] = 2.0
        return 0

    def takes(given: list[int]) -> int:
        return given.pop()

    def counts() -> int:
        return next(ids)

    assert said(caplog, body, [], create=sets) == "settings"
    assert said(caplog, body, [1], create=takes) == "the argument 'given'"
    assert said(caplog, body, [], create=counts) == ""


def told(caplog: pytest.LogCaptureFixture, loop: Callable[..., Iterator[Any]], *args: Any) -> str:
    """Run a plain loop, and return the place that is told, or nothing."""
    caplog.clear()
    trax.resumable(name="told", every_steps=1)(loop).fresh(*args).result()
    (line,) = [line for line in caplog.messages if " changes " in line] or [""]
    return line.removeprefix("told changes ").partition(", outside of its variables")[0]


def test_what_a_plain_loop_sets_up_is_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its loops, or in its first turn: a resumed run does not do it again."""
    monkeypatch.setitem(settings, "rate", 1.0)
    monkeypatch.setitem(globals(), "made", None)

    def by_prologue() -> Iterator[float]:
        settings["rate"] = 0.5
        for _ in range(3):
            yield settings["rate"]

    def by_class() -> Iterator[int]:
        order = Order()
        for n in range(3):
            yield n + order.number

    def by_turn() -> Iterator[float]:
        for n in range(3):
            if not n:
                settings["rate"] = 0.25
            yield settings["rate"]

    def where_missing() -> Iterator[float]:
        lookup_cache[1] = 2
        for _ in range(3):
            yield settings["rate"] + draw()

    assert told(caplog, by_prologue) == "settings"
    assert told(caplog, by_class) == "Order.made"
    assert told(caplog, by_turn) == "settings"
    settings["rate"] = 0.25
    assert told(caplog, by_turn) == ""  # it was the same before
    assert told(caplog, where_missing) == ""


class Access(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    RUN = enum.auto()


def test_what_a_plain_loop_finds_again_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Variables around a function that it is given, and flags that were combined."""

    def counting() -> Callable[[int], int]:
        hits, number = Counter[int](), 0

        def count(n: int) -> int:
            nonlocal number
            number += 1
            hits[n % 2] += 1
            return number

        return count

    def given(count: Callable[[int], int]) -> Iterator[int]:
        for n in range(3):
            yield count(n)

    def combining() -> Iterator[Access]:
        access = Access.READ
        for other in Access:
            access |= other
            yield access

    assert told(caplog, given, counting()) == ""
    assert told(caplog, combining) == ""


def test_a_plain_loop_that_changes_a_variable_of_the_module_in_its_own_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A resumed loop has a copy in its own; an argument is the same object in both."""

    def renamed() -> Iterator[float]:
        box = position
        for _ in range(3):
            box[0] += 1
            yield position[0]

    def given(box: list[int]) -> Iterator[float]:
        for _ in range(3):
            box[0] += 1
            yield position[0]

    def only_read() -> Iterator[float]:
        box = position
        for n in range(3):
            yield box[0] + n

    assert told(caplog, renamed) == "position"
    assert told(caplog, given, position) == ""
    assert told(caplog, only_read) == ""


def start(epochs: Callable[[], Iterator[Any]], *, is_plain: bool) -> Any:
    """Return a run of a plain loop, or of one with a declared state that yields the same."""
    if is_plain:
        return trax.resumable(name="told", every_steps=1)(epochs)()

    def declared(count: int) -> Iterator[Any]:
        yield from epochs()

    fold: dict[str, Any] = {"create": int, "replay_log": lambda count, _: count + 1, "check": False}
    return trax.resumable(name="told", every_steps=1, **fold)(declared)()


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_change_in_a_later_step_is_told_once(
    is_plain: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop may change its settings in its tenth epoch; the looks take a share of the time."""
    monkeypatch.setattr(surroundings, "_SHARE", 1e9)  # at once

    def epochs() -> Iterator[int]:
        for n in range(20) if is_plain else trax.steps(20):
            if n >= 10:
                settings["rate"] /= 2
            yield n

    run = start(epochs, is_plain=is_plain)
    for n in run:
        assert len(caplog.messages) == (n >= 10)
    assert caplog.messages[0].startswith("told changes settings, outside of its ")


made: random.Random | None = None


def draw() -> float:
    global made  # noqa: PLW0603  # as a script does
    made = made or random.Random(1)
    return made.random()


@pytest.mark.parametrize("is_plain", [False, True])
def test_an_rng_that_is_made_in_a_later_step_is_told_once(
    is_plain: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_SHARE", 1e9)  # at once
    monkeypatch.setitem(globals(), "made", None)

    def epochs() -> Iterator[float]:
        for n in range(20) if is_plain else trax.steps(20):
            yield draw() if n >= 10 else 0.0

    run = start(epochs, is_plain=is_plain)
    for _ in run:
        assert len(caplog.messages) == (run.step > 11)  # it has drawn once more
    assert "that it has made and that is not stored, variable made" in caplog.messages[0]


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_loop_that_stops_is_looked_at_once_more(
    is_plain: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_SHARE", 1e-9)  # never

    def epochs() -> Iterator[int]:
        for n in range(20) if is_plain else trax.steps(20):
            if n == 10:
                settings["rate"] /= 2
                signal.raise_signal(signal.SIGTERM)
            yield n

    with pytest.raises(SystemExit):
        start(epochs, is_plain=is_plain).result()
    (line,) = [one for one in caplog.messages if " changes " in one]
    assert line.startswith("told changes settings, outside of its ")


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
