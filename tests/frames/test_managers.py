"""Blocks around a yield: which managers are stored, and which are entered again."""

from __future__ import annotations

import contextlib
import decimal
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from remaking import runs, stored_after

from trax.frames.directories import StoredDirectory

Increments = Iterator[Any]
ENTERED: list[str] = []


class Timer:
    """A manager with a state, which can be stored."""

    def __init__(self) -> None:
        self.laps = 0
        self.has_ended = False

    def __enter__(self) -> Timer:  # noqa: PYI034  # a loop names it
        ENTERED.append("timer")
        return self

    def __exit__(self, *error: object) -> None:
        self.has_ended = True
        ENTERED.append("left")


class Rows:
    """A manager that gives a list."""

    def __enter__(self) -> list[int]:
        ENTERED.append("rows")
        return []

    def __exit__(self, *error: object) -> None:
        ENTERED.append("left")


@contextlib.contextmanager
def locked() -> Iterator[Any]:
    """Give something that cannot be stored."""
    ENTERED.append("locked")
    yield threading.Lock()


def timed() -> Increments:
    with Timer() as timer:
        for i in range(4):
            timer.laps += 1
            yield i, timer.laps


def collected() -> Increments:
    with Rows() as rows:
        for i in range(4):
            rows.append(i)
            yield list(rows)


def guarded() -> Increments:
    with locked() as lock, contextlib.suppress(ZeroDivisionError):
        for i in range(4):
            with lock:
                number = i
            yield number
        1 / 0  # noqa: B018
    yield "after"


def precise() -> Increments:
    with decimal.localcontext() as context:
        context.prec = 5
        for _ in range(3):
            yield str(decimal.Decimal(1) / 3)
    yield decimal.getcontext().prec


def strict() -> Increments:
    with np.errstate(divide="raise"):
        for _ in range(3):
            yield np.geterr()["divide"]
    yield np.geterr()["divide"]


def in_threads() -> Increments:
    with ThreadPoolExecutor(2) as pool:
        for i in range(4):
            yield [*pool.map(abs, [-i, i])]


def nested() -> Increments:
    with Timer() as outer, Rows() as rows:
        with locked() as lock, Timer() as inner:
            for i in range(4):
                with lock:
                    inner.laps += 2
                outer.laps += 1
                rows.append(i)
                yield outer.laps, inner.laps, list(rows), outer.has_ended
        yield outer.laps, outer.has_ended


def in_a_directory() -> Increments:
    with tempfile.TemporaryDirectory() as path:
        for i in range(4):
            Path(path, f"{i}.txt").write_text("x")
            yield sorted(os.listdir(path))
    yield os.path.exists(path)


LOOPS = [timed, collected, guarded, precise, strict, in_threads, nested, in_a_directory]


@pytest.mark.parametrize("loop", LOOPS)
def test_blocks_go_on_as_if_nothing_had_happened(loop: Any) -> None:
    """Whether they are entered again or not."""
    undisturbed, *resumed = runs(loop, 5)
    assert resumed == [undisturbed] * len(resumed)


@pytest.mark.parametrize(
    ("loop", "entered"),
    [(timed, []), (collected, ["rows"]), (guarded, ["locked"]), (nested, ["rows", "locked"])],
)
def test_managers_that_are_stored_are_not_entered_again(loop: Any, entered: list[str]) -> None:
    """But they are left in the end."""
    stored = stored_after(loop, 2)
    ENTERED.clear()
    resumed = stored.resume()
    assert entered == ENTERED
    for _ in resumed:
        pass
    assert ENTERED.count("left") == {timed: 1, collected: 1, guarded: 0, nested: 3}[loop]


def test_a_temporary_directory_keeps_the_files_of_the_steps() -> None:
    """It is that of the process that was killed, and it is removed in the end."""
    stored = stored_after(in_a_directory, 2)
    (directory,) = [slot for slot in stored.slots if isinstance(slot, StoredDirectory)]
    assert sorted(os.listdir(directory.path)) == ["0.txt", "1.txt"]
    resumed = stored.resume()
    assert next(resumed) == ["0.txt", "1.txt", "2.txt"]
    assert [*resumed][-1] is False
    assert not os.path.exists(directory.path)


def test_a_temporary_directory_that_is_gone_is_made_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its process was stopped, and has removed it: that is told."""
    stored = stored_after(in_a_directory, 2)
    (directory,) = [slot for slot in stored.slots if isinstance(slot, StoredDirectory)]
    shutil.rmtree(directory.path)
    resumed = stored.resume()
    (said,) = caplog.messages
    assert said == f"{directory.path} was removed when its loop was stopped: it is empty now"
    assert next(resumed) == ["2.txt"]
    resumed.close()


def test_a_directory_that_is_to_stay_stays(tmp_path: Path) -> None:
    """It was made so, as Python 3.12 and later can."""
    with StoredDirectory(str(tmp_path), is_kept=True):
        pass
    assert tmp_path.exists()
