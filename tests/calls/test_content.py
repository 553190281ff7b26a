"""The content of items: the same for equal ones in every process, different for others."""

from __future__ import annotations

import contextlib
import datetime
import re
import sqlite3
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_script

from trax.calls.content import Contents

Row = namedtuple("Row", "a b")  # noqa: PYI024


@dataclass
class Job:
    """An item of the user's."""

    name: str
    tags: Any


class Address:
    """Its pickle has its address, so that each process has another one."""

    def __reduce__(self) -> Any:
        return int, (str(id(self)),)


class Unpicklable:
    """It cannot be taken apart."""

    def __reduce__(self) -> Any:
        raise TypeError("no")


def rows() -> list[sqlite3.Row]:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.row_factory = sqlite3.Row
        return database.execute("select 1, 'a' union select 2, 'b'").fetchall()


DIFFERENT: list[Any] = [
    *(0, 1, -1, 2**70, True, None, 1.0, 1j, "1", b"1", "", "\udc80", (), [], {}),
    *((1, "a"), ("1", "a"), [1, "a"], ((1,), "a"), (1, ("a",)), {"a": 1}, {1: "a"}),
    *({"a": 1, "b": 2}, {"b": 2, "a": 1}, Row(1, "a"), Path("1"), Path("a"), [Path("1")]),
    *(np.int64(1), np.int32(1), np.float64(1), np.zeros(2), np.ones(2), np.ones((1, 2))),
    *(np.ones(2, np.float32), np.datetime64("2020-01-01"), {"x": np.ones(1)}, {"x": np.ones(2)}),
    *(Job("a", {1}), Job("b", {1}), Job("a", {2}), datetime.date(2020, 1, 1), frozenset("ab")),
    *(np.array(1), np.ma.array([1, 999999]), np.ma.array([1, 2], mask=[False, True])),
    *(*rows(), Unpicklable(), Address()),
    *(*re.finditer("a(b)?", "a ab ac"), *re.finditer("(a)|(.)", "ax"), *re.finditer(b"a", b"a")),
]


def test_different_items_have_different_contents() -> None:
    """Also those that are equal but of other types."""
    contents = Contents()
    assert len({contents.of(item) for item in DIFFERENT}) == len(DIFFERENT)


def test_equal_items_have_the_same_content() -> None:
    """Whatever objects they share, and however they lie in memory."""
    one, other = Contents(), Contents()
    word = "word"
    assert one.of((word, word, 1)) == other.of(("".join("word"), word, 1))
    assert one.of(np.ones((3, 3))[:, 0]) == other.of(np.ones(3))
    assert one.of(Job("a", set("abc"))) == other.of(Job("a", set("cba")))
    assert one.of(rows()[0]) == other.of(rows()[0])


@pytest.mark.parametrize("kind", [Address, Unpicklable])
def test_what_differs_by_itself_counts_by_its_type(kind: Any) -> None:
    """An error for the same item would be worse than one that is not noticed."""
    contents = Contents()
    assert contents.of(kind()) == contents.of(kind())
    assert contents.of((1, kind())) == contents.of((2, kind()))


def test_the_content_is_the_same_in_another_process() -> None:
    """Although that has another seed for its hashes."""
    script = (
        "import datetime, sys, pathlib, numpy as np\n"
        "from trax.calls.content import Contents\n"
        "items = [1, 'a', (1, 'a'), [pathlib.Path('a')], np.ones(2), {'a': {'b', 'c', 'd'}},\n"
        "         datetime.date(2020, 1, 1), slice(1), ValueError('x')]\n"
        "print([Contents().of(item).hex() for item in items])\n"
    )
    assert run_script(script).stdout == run_script(script).stdout


def test_plain_contents_never_change() -> None:
    """They are compared with those that another version has stored."""
    contents = Contents()
    assert contents.of(1).hex() == "6901000000"
    assert contents.of("a").hex() == "750100000061"
    assert contents.of((1, "a")).hex() == "28020000006901000000750100000061"
