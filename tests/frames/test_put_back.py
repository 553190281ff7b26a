"""Objects get the content back that they had, whatever lines that are run again have done to it."""

from __future__ import annotations

import io
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trax.frames.put_back import PutBack


class Sink:
    """What something writes into."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.after: Any = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sink) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class Fixed:
    """One that cannot be given another content."""

    def __init__(self) -> None:
        self.number = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return Fixed, (self.number,)


Fixed.__module__ = "random"  # of a package, whose objects are asked what they are


def text() -> io.StringIO:
    buffer = io.StringIO()
    buffer.write("a,b\n")
    return buffer


def opposite(array: Any) -> None:
    np.negative(array, out=array)


CHANGES: list[tuple[Callable[[], Any], Callable[[Any], Any], Callable[[Any], Any]]] = [
    (text, lambda one: one.write("a,b\n"), lambda one: (one.getvalue(), one.tell())),
    (lambda: io.BytesIO(b"ab"), lambda one: one.seek(1), lambda one: (one.getvalue(), one.tell())),
    (lambda: [1, 2], lambda one: one.append(3), list),
    (lambda: {"a": [1]}, lambda one: one["a"].append(2), lambda one: {**one}),
    (lambda: {1, 2}, lambda one: one.add(3), set),
    (lambda: deque([1]), lambda one: one.append(3), list),
    (lambda: Counter("ab"), lambda one: one.update("a"), dict),
    (lambda: np.arange(4.0), opposite, lambda one: one.tolist()),
    (lambda: random.Random(1), lambda one: one.random(), lambda one: one.getstate()),
    (lambda: (Sink(),), lambda one: one[0].lines.append("x"), lambda one: [*one[0].lines]),
]


@pytest.mark.parametrize(("make", "change", "content"), CHANGES)
def test_what_has_changed_is_put_back_in_place(
    make: Callable[[], Any], change: Callable[[Any], Any], content: Callable[[Any], Any]
) -> None:
    """The object stays the same one."""
    obj, other = make(), make()
    kept = PutBack({"obj": obj})
    change(obj)
    assert content(obj) != content(other)
    assert [*kept.restore()] == []
    assert content(obj) == content(other)


def test_objects_inside_stay_the_same_ones() -> None:
    """They are referred to, even in a circle, and what was new in them is left out."""
    sink = Sink()
    sink.after = inner = Sink()
    inner.after, lines = sink, sink.lines
    kept = PutBack({"sink": sink})
    lines.append("header")
    sink.after = Sink()
    assert [*kept.restore()] == []
    assert sink.lines is lines == []
    assert sink.after is inner
    assert inner.after is sink


def test_some_objects_may_change() -> None:
    """Such as those of the caller, which are new ones."""
    new, old = Sink(), Sink()
    kept = PutBack({"pair": [new, old]}, {id(new)})
    new.lines, old.lines = ["header"], ["header"]
    assert [*kept.restore()] == []
    assert new.lines == ["header"]
    assert old.lines == []


def test_what_is_not_stored_stays() -> None:
    """An object that cannot be stored now was not stored so."""
    sink = Sink()
    kept = PutBack({"sink": sink})
    sink.after = lock = threading.Lock()
    assert [*kept.restore()] == []
    assert sink.after is lock


def test_what_cannot_be_put_back_is_told() -> None:
    """And all others are put back."""
    fixed, sink = Fixed(), Sink()
    kept = PutBack({"fixed": fixed, "sink": sink})
    fixed.number, sink.lines = 1, ["header"]
    assert [*kept.restore()] == [fixed]
    assert sink.lines == []
