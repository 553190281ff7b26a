"""Exceptions come back with those that led to them."""

from __future__ import annotations

import pickle
from typing import Any

from trax.storage.codec import decode, encode


class NeedsTwo(Exception):  # noqa: N818
    """It pickles, and its pickle does not load."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} {two}")


def copied(error: Any) -> Any:
    return decode(encode(error, "the error"), "the error")


def raised() -> BaseException:
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            raise OSError(2, "second", "a file") from first
    except OSError:
        try:
            raise ValueError("third")
        except ValueError as third:
            third.note = "a note"  # type: ignore[attr-defined]
            return third


def test_causes_and_contexts_come_back() -> None:
    third = copied(raised())
    second = third.__context__
    first = second.__context__
    assert [repr(one) for one in (third, second, first)] == [
        "ValueError('third')",
        "FileNotFoundError(2, 'second')",
        "KeyError('first')",
    ]
    assert second.__cause__ is first
    assert second.filename == "a file"
    assert (third.__suppress_context__, second.__suppress_context__) == (False, True)
    assert third.note == "a note"
    assert third.__traceback__ is None


def test_an_exception_that_is_its_own_cause() -> None:
    error = ValueError(1)
    error.__cause__ = KeyError(2)
    error.__cause__.__context__ = error
    again = copied([error, error.__cause__])
    assert again[0].__cause__ is again[1]
    assert again[1].__context__ is again[0]


def test_a_context_that_does_not_load_is_left_out() -> None:
    error = ValueError(1)
    error.__context__, error.__cause__ = NeedsTwo(1, 2), KeyError(3)
    again = copied(error)
    assert again.__context__ is None
    assert repr(again.__cause__) == "KeyError(3)"


def test_an_exception_by_itself_is_stored_as_ever() -> None:
    error = ValueError(1)
    assert bytes(encode(error, "the error").payload) == pickle.dumps(error, 5)
