"""What a loop may change outside of its state shows in frozen values, and nothing else does."""

from __future__ import annotations

import collections
import csv
import functools
import hashlib
import io
import itertools
import logging
import math
import queue
import random
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trax.engine import frozen_values
from trax.engine.frozen_values import Freezer, has_changed

LINES = "a,1\nb,2\nc,3\n"
variable: ContextVar[int] = ContextVar("variable", default=0)


class Counter:
    """An object of an own class, with a lock, which pickle refuses."""

    def __init__(self, **attributes: Any) -> None:
        self.lock = threading.Lock()
        self.count = 0
        vars(self).update(attributes)

    def tick(self) -> int:
        self.count += 1
        return self.count


class Refusing(Counter):
    def __reduce__(self) -> Any:
        raise TypeError("no")


class Leaving(Counter):
    def __getstate__(self) -> Any:
        return {}


class Slotted:
    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


def numbers(rows: Any = ()) -> Iterator[int]:
    for _ in rows:
        pass
    number = 0
    while True:
        yield number
        number += 1


def counting() -> Callable[[], int]:
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return count

    return tick


def local() -> Any:
    class Local(Counter):
        pass

    return Local()


def noted(seen: list[int] = []) -> None:  # noqa: B006  # that is the mistake
    seen.append(1)


opened: list[Any] = []


def file(mode: str = "r") -> Any:
    Path("file.csv").write_text(LINES)
    opened.append(open("file.csv", mode))  # noqa: SIM115  # `_closed` closes it
    return opened[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


def frozen(value: Any, until: float = math.inf) -> bytes | None:
    return Freezer(until).freeze(value, 1 << 20)


def shows(value: Any, change: Callable[[Any], Any]) -> bool:
    """Return whether a change of a value shows, and see that nothing shows before it."""
    before, again = frozen(value), frozen(value)
    assert before is not None
    assert again is not None
    assert not has_changed(before, again)
    change(value)
    now = frozen(value)
    assert now is not None
    return has_changed(before, now)


def call(value: Callable[[], Any]) -> None:
    value()


def tick(value: Any) -> None:
    value.tick()


def bump(array: Any) -> None:
    array[-1] += 1


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "a generator": (numbers, next),
    "a generator with much data": (lambda: numbers([0] * 1_000_000), next),
    "one that has begun": (lambda: (g := numbers(), next(g))[0], next),
    "a generator expression": (lambda: (0 for _ in range(9)), next),
    "the method of one": (lambda: numbers().__next__, call),
    "one in a partial function": (lambda: functools.partial(next, numbers()), call),
    "one in an object": (lambda: Counter(source=numbers()), lambda one: next(one.source)),
    "a list iterator": (lambda: iter([0] * 9), next),
    "a large one": (lambda: iter([0] * 1_000_000), next),
    "one over a large dict": (lambda: iter(dict.fromkeys(range(100_000))), next),
    "zip": (lambda: zip(numbers(), "abc", strict=False), next),
    "map": (lambda: map(str, numbers()), next),
    "itertools.count": (itertools.count, next),
    "itertools.cycle": (lambda: itertools.cycle("abc"), next),
    "itertools.islice": (lambda: itertools.islice(numbers(), 9), next),
    "NumPy's flat": (lambda: np.zeros(9).flat, next),
    "csv.reader": (lambda: csv.reader(io.StringIO(LINES)), next),
    "csv.DictReader": (lambda: csv.DictReader(file()), next),
    "lines of a file": (file, next),
    "read from a file": (file, lambda one: one.read(1)),
    "a file in an object": (lambda: Counter(file=file()), lambda one: one.file.readline()),
    "bytes of a file": (lambda: file().buffer, lambda one: one.read(1)),
    "io.BytesIO": (lambda: io.BytesIO(b"abc"), lambda one: one.read(1)),
    "an object with a lock": (Counter, tick),
    "that pickle refuses": (Refusing, tick),
    "that leaves it out": (Leaving, tick),
    "of a class in a function": (local, tick),
    "with slots": (Slotted, lambda one: setattr(one, "count", 1)),
    "with a lambda": (lambda: Counter(scale=lambda one: one), tick),
    "with a file": (lambda: Counter(log=file("a")), tick),
    "with much data": (lambda: Counter(data=[0] * 1_000_000, array=np.zeros(1_000_000)), tick),
    "in a table": (lambda: {"one": Counter(), "scale": lambda one: one}, lambda t: tick(t["one"])),
    "the method of an object": (lambda: Counter().tick, call),
    "a closure": (counting, call),
    "a closure in a table": (lambda: [counting()], lambda table: table[0]()),
    "a mutable default": (lambda: [noted], lambda table: table[0]()),
    "the attribute of a function": (lambda: [call], lambda table: vars(table[0]).update(n=[1])),
    "a defaultdict": (lambda: collections.defaultdict(lambda: 0), lambda one: one[0]),
    "one in a cached function": (
        lambda: [functools.cache(functools.partial(next, numbers()))],
        lambda table: table[0](),
    ),
    "a queue": (queue.Queue, lambda one: one.put(1)),
    "an array": (lambda: np.zeros(3), bump),
    "a large array": (lambda: np.zeros(1_000_000), bump),
    "a part of an array": (lambda: np.zeros(1_000_001)[::2], bump),
    "an array of objects": (lambda: np.array([None, 0], dtype=object), bump),
    "a hash": (hashlib.sha256, lambda one: one.update(b"a")),
    "a context variable": (lambda: variable, lambda one: one.set(one.get() + 1)),
    "a view of a dict": (
        lambda: MappingProxyType({"a": []}),
        lambda one: one["a"].append(1),
    ),
    "a memoryview": (lambda: memoryview(bytearray(3)), bump),
    "a threading.local": (
        lambda: vars(one := threading.local()).update(n=0) or one,
        lambda one: vars(one).update(n=1),
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_shows(kind: str) -> None:
    make, change = CHANGES[kind]
    assert shows(make(), change)


UNCHANGED: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "an RNG": (lambda: random.Random(1), lambda rng: rng.random()),
    "in an object": (lambda: Counter(rng=np.random.default_rng(1)), lambda o: o.rng.random()),
    "a lock": (threading.Lock, lambda lock: lock.acquire()),
    "a logger": (lambda: logging.getLogger("some"), lambda log: log.setLevel(10)),
    "a cache": (lambda: Counter(_cache={}), lambda one: one._cache.update(a=1)),
    "an attribute that is made when it is needed": (
        lambda: Counter(late=None),
        lambda one: vars(one).update(late=[1], other=2),
    ),
    "a file that is written": (
        lambda: file("w"),
        lambda one: print("a", file=one, flush=True),
    ),
    "a set that was built again": (
        lambda: SimpleNamespace(names={"a", "b"}),
        lambda one: vars(one).update(names={"b", "a"}),
    ),
    "an equal text": (
        lambda: SimpleNamespace(one="ab", two="ab"),
        lambda one: vars(one).update(two="abc"[:2]),
    ),
}


@pytest.mark.parametrize("kind", UNCHANGED)
def test_what_steps_do_not_change_does_not_show(kind: str) -> None:
    make, change = UNCHANGED[kind]
    assert not shows(make(), change)


def test_what_is_too_large_or_takes_too_long_is_not_frozen() -> None:
    assert frozen([0] * 2_000_000) is None
    assert frozen([Counter()], until=-math.inf) is None


def test_a_comparison_that_takes_too_long_counts_as_a_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frozen_values, "_SECONDS", -1)
    one, two = ({number: number == wrong for number in range(1000)} for wrong in (-1, 999))
    before, now = frozen(one), frozen(two)
    assert before is not None
    assert now is not None
    assert has_changed(before, now)


@pytest.mark.parametrize("has_lock", [False, True])
def test_a_client_of_a_library_does_not_show(
    has_lock: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one that counts what it sends; those of the user's own classes do."""
    kind = type("Client", (), {"__module__": np.__name__})
    monkeypatch.setattr(np, "Client", kind, raising=False)
    one: Any = kind()
    one.sent, one.lock = [0], [threading.Lock()] if has_lock else []
    assert shows(one, lambda one: bump(one.sent)) is not has_lock


def test_a_bar_of_progress_does_not_show() -> None:
    tqdm = pytest.importorskip("tqdm").tqdm
    bar = tqdm(total=9, file=io.StringIO())
    assert not shows(Counter(bar=bar), lambda one: one.bar.update(1))
    bar.close()


def test_nothing_of_the_user_is_run() -> None:
    """An object is only taken apart: it may be a singleton, or register itself when it is made."""
    made = []

    class Registered:
        def __init__(self) -> None:
            made.append(self)

        def __setstate__(self, state: Any) -> None:
            made.append(self)

    assert shows(Registered(), lambda one: vars(one).update(n=1, m=0)) is False
    one = Registered()
    one.n = 0  # type: ignore[attr-defined]
    assert shows(one, lambda one: vars(one).update(n=1))
    assert len(made) == 2
