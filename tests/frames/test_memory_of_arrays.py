"""The memory of arrays is content, and views share it; see also test_arguments_torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trax.frames.memory import ArrayMemory, ArrayObjects, arrays_of

ARRAYS = [
    np.arange(6.0).reshape(2, 3).T,
    np.arange(10)[::-2],
    np.zeros((0, 3)),
    np.array(5),
    np.array(["a", "bc"]),
    np.array([True, False]),
    np.array([1, 2], "M8[ns]"),
    np.array([(1, 2.0)], "i4,f8"),
    np.asfortranarray(np.ones((2, 2), np.float16)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
def test_memory_is_put_into_another_array(array: Any) -> None:
    """Whatever its layout."""
    facet, other = ArrayMemory(), np.zeros_like(array)
    content = facet.content(array)
    assert facet.misfit(other, content) == ""
    facet.restore(other, content)
    assert np.array_equal(other, array)
    assert facet.mark(other) == facet.mark(array)
    if array.size:
        other.reshape(-1)[0] = other.reshape(-1)[-1]
    assert facet.misfit(np.zeros(7), content).startswith("it was")


def test_every_bit_counts() -> None:
    """The sign of zero, and which NaN it is."""
    marks = [ArrayMemory().mark(np.array(x)) for x in (0.0, -0.0, np.nan, -np.nan)]
    assert len({*marks}) == 4


@pytest.mark.parametrize("dtype", [object, "O,i4"])
def test_objects_in_an_array_are_values(dtype: Any) -> None:
    """They are put into another one, one by one."""
    items: Any = [1, "a"] if dtype is object else [(1, 2), ("a", 3)]
    array, other = np.array(items, dtype), np.zeros(2, dtype)
    facet = ArrayObjects()
    facet.restore(other, facet.content(array))
    assert other.tolist() == array.tolist()
    assert facet.misfit(np.zeros(3, dtype), facet.content(array))
    other.flags.writeable = False
    assert facet.obstacle(other, facet.mark(array), facet.mark(other)) == "it cannot be written to"


def test_a_view_leads_to_the_array_that_has_the_memory() -> None:
    """At the end of all views."""
    data = np.zeros(10)
    view: Any = data[1:][2:].reshape(7, 1)
    assert arrays_of(data, "data") == [("data", data)]
    [(path, owner)] = arrays_of(view, "view")
    assert path == "view.base"
    assert owner is data
    assert arrays_of([data], "list") == []
