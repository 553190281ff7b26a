"""Increments that contain the time, or what is unique, are found; others never are."""

from __future__ import annotations

import datetime
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime as moment
from typing import Any

import pytest

from trax.frames.clocks import clock_lines
from trax.frames.program import program_of

Increments = Iterator[Any]


def lines(loop: Callable[..., Increments]) -> list[int]:
    """Return the lines that are found, counted from the ``def``."""
    code: Any = loop.__code__
    found = clock_lines(loop, program_of(code))  # type: ignore[arg-type]
    return [line - code.co_firstlineno for line in found]


def elapsed() -> Increments:
    begun = time.time()
    for i in range(3):
        yield i, round(time.time() - begun, 3)


def by_variables() -> Increments:
    before = last = time.perf_counter()
    for _ in range(3):
        now = time.perf_counter()
        seconds, last = now - last, now
        total = 0.0
        total += seconds
        yield before
        yield {"total": f"{total:.1f}"}


def by_dates() -> Increments:
    while True:
        yield moment.now().isoformat()
        yield datetime.datetime.now() - datetime.timedelta(1)
        yield str(datetime.date.today())


def unique() -> Increments:
    while True:
        yield uuid.uuid4().hex
        yield [os.urandom(3)]


def in_a_record() -> Increments:
    record: dict[str, Any] = {}
    while True:
        record["at"] = time.time()
        yield record
        yield record["loss"]


FOUND = {
    elapsed: [3],
    by_variables: [7, 8],
    by_dates: [2, 3, 4],
    unique: [2, 3],
    in_a_record: [4],
}


def compared() -> Increments:
    begun = time.time()
    while time.time() - begun < 3:
        yield time.time() - begun > 1


def given_away() -> Increments:
    rng = random.Random(time.time())
    now = time.time()
    print(now)
    yield rng.random(), len(str(now)), given_away.__name__


def of_another_kind() -> Increments:
    time = uuid = random.Random(1)
    yield time.random(), uuid.random()
    yield datetime.datetime(2020, 1, 1), datetime.date(2020, 1, 1).isoformat()


FREE = [compared, given_away, of_another_kind]


@pytest.mark.parametrize("loop", FOUND)
def test_times_and_unique_values_are_found(loop: Any) -> None:
    assert lines(loop) == FOUND[loop]


@pytest.mark.parametrize("loop", FREE)
def test_others_are_not(loop: Any) -> None:
    assert lines(loop) == []
