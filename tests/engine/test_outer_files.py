"""A plain loop is told of files outside of its variables to which its steps write."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import trax

shared: dict[str, Any] = {}


@trax.resumable
def loop(n: int, out: Any = None) -> Iterator[int]:
    for i in range(n):
        for file in (out, *shared.values()):
            if file is not None:
                print(i, file=file)
        yield i


@pytest.fixture(autouse=True)
def nothing_shared() -> Iterator[None]:
    yield
    shared.clear()


def test_an_argument(caplog: pytest.LogCaptureFixture) -> None:
    with open("out.txt", "w") as out:
        loop(4, out).result()
    (line,) = caplog.messages
    assert line == (
        "loop writes to out ('out.txt'): after a crash lines are lost, or are there twice. "
        "Open it with trax.open"
    )


def test_a_variable_of_the_module(caplog: pytest.LogCaptureFixture) -> None:
    with open("out.txt", "a") as shared["out"]:
        loop(4).result()
    (line,) = caplog.messages
    assert line.startswith("loop writes to shared['out'] ('out.txt')")


def test_others_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Standard streams, and files that the steps do not write to."""
    with open("unused.txt", "w") as unused:
        shared["screen"] = sys.stderr

        @trax.resumable
        def quiet(n: int, unused: Any) -> Iterator[int]:
            for i in range(n):
                print(i, file=shared["screen"])
                yield i

        quiet(4, unused).result()
    assert caplog.messages == []
