"""Copies of iterators, as another process gets them from a pickle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from trax.errors import CodecError
from trax.frames.iterators import reductions
from trax.frames.loading import loading
from trax.storage.codec import decode, encode


def copy(obj: Any) -> Any:
    """Return a copy from a pickle."""
    encoded = encode(obj, "frame", shared=reductions()).copied()
    with loading():
        return decode(encoded, "frame")


def check_copies(make: Callable[[], Iterator[Any]]) -> None:
    """Check that an iterator goes on as before, copied at any place, or at all of them."""
    expected = [*make()]
    for count in range(len(expected) + 1):
        iterator = make()
        before = [*islice(iterator, count)]
        copied = copy(iterator)
        assert [*before, *copied] == expected, f"copied after {count}"
        assert [*before, *iterator] == expected, f"the original after {count}"
    iterator, found = copy(make()), []
    for item in expected:
        found.append(next(iterator))
        assert found[-1] == item
        iterator = copy(copy(iterator))
    assert [*iterator] == []


def refusal(obj: Any) -> str:
    """Return the error with which an object is refused."""
    with pytest.raises(CodecError) as error:
        copy(obj)
    return str(error.value)
