"""One case in a worker: what comes back, and that it is what the store has."""

from __future__ import annotations

import os
import pickle
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trax
from trax.errors import Preempted
from trax.mapping import remote
from trax.sweeping.worker import Sent, Task, received, result_of, run_case
from trax.wrapper import call_of


class Two(Exception):  # noqa: N818
    """Does not load from its own pickle."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")
        self.one = one


class Point:
    """A result."""

    def __init__(self, place: Any) -> None:
        self.place = place


@trax.resumable(name="run-{kind}")
def run(kind: str) -> Generator[int, None, Any]:
    yield 1
    if kind == "two":
        raise Two(1, 2)
    if kind == "exit":
        raise SystemExit(3)
    if kind == "local":
        raise type("Local", (Two,), {})(1, 2)
    if kind == "state":
        raise ValueError(lambda: 1)
    return {"point": Point(3), "array": np.arange(1e5), "none": None}[kind]


@trax.resumable(name="changed-{n}")
def changes(n: int, items: list[int]) -> Generator[int, None, list[int]]:
    items.append(n)
    yield n
    return items


@trax.resumable(name="async-{n}")
async def counts(n: int) -> Any:
    for step in range(n):
        yield step


def task(function: Any, maker: int | None = None, **arguments: Any) -> Task:
    return Task(function, arguments, os.path.abspath("store"), None, maker or os.getpid(), "key")


def brought_back(function: Any, **arguments: Any) -> tuple[Any, Any]:
    """Run a case as a worker does, and return what comes back through a pipe."""
    sent = pickle.loads(pickle.dumps(run_case(task(function, **arguments))))
    assert isinstance(sent, Sent)
    return received(sent, call_of(function, arguments).names)


def test_a_result_comes_back_as_the_store_has_it() -> None:
    for kind in ("point", "array", "none"):
        result, error = brought_back(run, kind=kind)
        assert error is None
        stored = result_of(call_of(run, {"kind": kind}), "store")
        if kind == "point":
            assert (type(result), result.place) == (Point, 3) == (type(stored), stored.place)
        else:
            assert np.array_equal(result, stored)
    assert {path.name for path in Path("store/runs").iterdir()} == {
        "run-point",
        "run-array",
        "run-none",
    }
    assert not Path(".trax").exists()


def test_a_result_is_the_receiver_s_own() -> None:
    """Although threads could share it."""
    result, _ = brought_back(run, kind="array")
    again, _ = brought_back(run, kind="array")
    result[0] = 7
    assert again[0] == 0


@pytest.mark.parametrize(
    ("kind", "expected", "text"),
    [
        ("two", Two, "1 2"),
        ("exit", SystemExit, "3"),
        ("state", ValueError, "<function run.<locals>.<lambda>"),
        ("local", Two, "1 2"),
    ],
)
def test_an_error_comes_back_with_its_traceback(
    kind: str, expected: type[BaseException], text: str
) -> None:
    """It has its class, although pickle could not load it, and nothing ends the worker."""
    result, error = brought_back(run, kind=kind)
    assert result is None
    assert isinstance(error, expected)
    assert str(error).startswith(text) or kind == "state"
    note = error.__notes__[-1]
    assert note.startswith(f"in process {os.getpid()} on ")
    assert "Traceback (most recent call last)" in note
    assert "test_worker.py" in note
    if isinstance(error, Two) and kind == "two":
        assert error.one == 1


def test_each_run_has_arguments_of_its_own() -> None:
    """Cases share the values of a grid, and a loop may change them."""
    items = [0]
    assert result_of(call_of(changes, {"n": 1, "items": items}), "store") == [0, 1]
    assert result_of(call_of(changes, {"n": 2, "items": items}), "store") == [0, 2]
    assert items == [0]


def test_an_async_loop_has_an_event_loop_of_its_own() -> None:
    assert brought_back(counts, n=3) == (2, None)
    assert brought_back(counts, n=3) == (2, None)


def test_a_run_has_no_display_of_its_own() -> None:
    shown = list[str]()

    class Display:
        def __init__(self, name: str, step: int) -> None:
            shown.append(name)

        def update(self, step: int, total: int | None) -> None: ...
        def close(self, step: int) -> None: ...

    @trax.resumable(progress=Display)
    def short() -> Any:
        yield 1

    assert brought_back(short) == (1, None)
    assert not shown


def test_a_worker_that_was_told_to_stop_begins_no_other_case(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An executor goes on giving it what is left; that of the sweep itself may go on."""
    monkeypatch.setattr(remote, "_stopped", ["SIGTERM"])
    sent = run_case(task(run, maker=os.getpid() + 1, kind="point"))
    _, error = received(sent, call_of(run, {"kind": "point"}).names)
    assert isinstance(error, Preempted)
    assert (error.run, error.reason) == ("run-point", "SIGTERM")
    assert not Path("store").exists()
    assert brought_back(run, kind="none") == (1, None)


def test_the_time_limit_of_a_run_stops_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    @trax.resumable(name="long-{n}", time_limit=1e-9)
    def long(n: int) -> Generator[int, None, None]:
        while True:
            yield n

    monkeypatch.setattr(remote, "_stopped", [])
    for n in (1, 2):
        sent = run_case(task(long, maker=1, n=n))
        _, error = received(sent, call_of(long, {"n": n}).names)
        assert isinstance(error, Preempted)
        assert error.step == 1
    assert not remote._stopped
