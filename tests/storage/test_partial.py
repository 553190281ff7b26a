"""What is made of an object outside of a pickle is shown without it."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from trax import CodecError
from trax.storage.codec import encode
from trax.storage.outside import Outside
from trax.storage.partial import Absent, decode_partly


class Picky:
    """Takes the first of its rows when its state is set."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.first = state["rows"][0]


def shown(obj: Any, **outside: Any) -> Any:
    arrays = [one for one in outside.values() if isinstance(one, np.ndarray)]
    paths = Outside({id(one): name for name, one in outside.items()}, arrays)
    encoded = encode(obj, "state", outside=paths)
    return decode_partly(encoded, "state", None, {name: Absent(name) for name in outside})


def test_all_that_does_not_need_it_is_loaded() -> None:
    rows, array = [1, 2], np.arange(4.0)
    obj = {"n": 1, "rows": [rows], "part": array[1:], "call": functools.partial(rows.append, 1)}
    found = shown(obj, rows=rows, array=array)
    assert found.keys() == obj.keys()
    assert found["n"] == 1
    assert repr(found["rows"]) == "[<rows>]"
    assert repr(found["part"]) == "<made of array>"
    assert repr(found["call"]) == "<made of rows>"


def test_views_of_objects_read_no_memory_that_is_not_there() -> None:
    array = np.array([{}, [], None], object)
    assert repr(shown([array[1:]], array=array)) == "[<made of array>]"


def test_an_object_whose_state_needs_it_has_a_stand_in() -> None:
    rows = [1, 2]
    assert repr(shown([Picky(rows)], rows=rows)) == "[<made of rows>]"


def test_another_error_is_told() -> None:
    with pytest.raises(CodecError, match="IndexError"):
        shown([Picky([])], rows=[1])
