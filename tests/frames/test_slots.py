"""Stand-ins for the blocks around a yield."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from trax.frames.slots import Handled, Held, Turn, fill


def test_a_turn_that_ends_gives_the_rest_to_the_slot() -> None:
    rest = iter([1, 2])
    slot = fill("for", rest)
    for _ in slot.pop():
        assert slot == []
    assert slot == [rest]


def test_a_turn_that_is_left_releases_the_rest() -> None:
    log = []

    def numbers() -> Iterator[int]:
        try:
            yield 1
        finally:
            log.append("closed")

    rest = numbers()
    next(rest)
    slot = fill("for", rest)
    del rest
    for _ in slot.pop():
        assert not log
        break
    assert log == ["closed"]
    assert slot == []


def test_an_exception_is_raised_and_is_as_before() -> None:
    error, cause, context = ValueError(1), KeyError(2), OSError(3)
    error.__cause__, error.__context__ = cause, context
    error.__suppress_context__ = False
    (handled,) = fill("handler", error)
    assert isinstance(handled, Handled)
    try:
        raise TypeError
    except TypeError:
        with pytest.raises(ValueError, match="1") as caught:
            handled.throw()
        handled.caught()
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (cause, context)
    assert not error.__suppress_context__
    assert error.__traceback__ is None


def test_a_manager_that_is_held_is_only_left() -> None:
    calls: list[Any] = []

    class Manager:
        def __enter__(self) -> None:
            calls.append("entered")

        def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
            calls.append(kind)
            return True

    (held,) = fill("with", Manager())
    assert isinstance(held, Held)
    with held as manager:
        raise ValueError
    assert isinstance(manager, Manager)
    assert calls == [ValueError]


def test_a_manager_that_was_not_kept_is_entered_again() -> None:
    assert fill("with", None) == []


def test_other_slots() -> None:
    assert fill("from", 5) == [5]
    (turn,) = fill("while", None)
    assert isinstance(turn, Turn)
    assert [*turn] == [None]
