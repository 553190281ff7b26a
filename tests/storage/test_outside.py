"""Objects outside of a pickle are stored as references by path, and are themselves when loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trax import ArgumentsChangedError, CodecError
from trax.storage.codec import decode, decode_finding, encode, encode_finding
from trax.storage.outside import Outside
from trax.storage.records import CLOUDPICKLE, PICKLE


def outside(**objects: Any) -> Outside:
    arrays = [one for one in objects.values() if isinstance(one, np.ndarray)]
    return Outside({id(one): name for name, one in objects.items()}, arrays)


@pytest.mark.parametrize("beside", [None, lambda: 1], ids=["plain", "beside a lambda"])
def test_an_object_outside_is_itself_again(beside: Any) -> None:
    """Wherever it is met, and even if nothing could store it."""
    lock, rows = threading.Lock(), [1]
    encoded = encode(
        [lock, {"rows": rows}, (rows,), [1], beside], "state", outside=outside(a=lock, b=rows)
    )
    assert encoded.kind == (CLOUDPICKLE if beside else PICKLE)
    new_lock, new_rows = threading.Lock(), [2]
    back = decode(encoded, "state", outside={"a": new_lock, "b": new_rows})
    assert back[0] is new_lock
    assert back[1]["rows"] is back[2][0] is new_rows
    assert back[3] == [1]


def test_a_function_by_value_refers_to_them_as_well() -> None:
    """Its closure is a part of the pickle."""
    rows = [1]
    encoded = encode(lambda: rows, "state", outside=outside(rows=rows))
    new = [2]
    function: Callable[[], Any] = decode(encoded, "state", outside={"rows": new})
    assert function() is new


def test_a_deep_pickle_refers_to_them_as_well() -> None:
    """The pickler that knows no recursion takes over in the middle."""
    rows = [1]
    deep: Any = rows
    for _ in range(5000):
        deep = [deep, rows]
    back = decode(
        encode(deep, "state", outside=outside(rows=rows)), "state", outside={"rows": rows}
    )
    for _ in range(5000):
        assert back[1] is rows
        back = back[0]
    assert back is rows


def test_parts_are_still_found_by_their_numbers() -> None:
    """References take none of these."""
    rows = [1]
    encoded, found = encode_finding([rows, {3}], "state", (set,), outside=outside(rows=rows))
    assert [*found.values()] == [{3}] or not found
    back, parts = decode_finding(encoded, "state", [*found], outside={"rows": rows})
    assert back[0] is rows
    assert all(part is back[1] for part in parts)


def test_a_view_of_an_array_outside_shares_its_memory_again() -> None:
    """Also one of a view, and beside arrays that share memory inside."""
    data, own = np.arange(10.0), np.arange(4)
    state = [data[2:5], data[::-2], data, own, own[1:], data.reshape(2, 5)[1]]
    encoded = encode(state, "state", outside=outside(data=data))
    new = np.arange(10.0) + 100
    back = decode(encoded.copied(), "state", outside={"data": new})
    assert back[2] is new
    for one, old in zip(back, state, strict=True):
        assert np.array_equal(one, old + 100 * (old.dtype == float))
    for view in (back[0], back[1], back[5]):
        assert np.shares_memory(view, new)
    assert np.shares_memory(back[3], back[4])
    assert encoded.nbytes < 2000


def test_an_array_outside_takes_no_room() -> None:
    """Nor do views of it."""
    data = np.zeros(1_000_000)
    assert encode([data, data[5:]], "state", outside=outside(data=data)).nbytes < 1000


def test_the_part_to_blame_is_none_of_those_outside() -> None:
    """They need not be picklable."""
    lock = threading.Lock()
    with pytest.raises(CodecError, match=r"state\[1\]\['bad'\] \(_thread.lock\) cannot be stored"):
        encode([lock, {"bad": threading.Lock()}], "state", outside=outside(lock=lock))


def test_a_reference_that_leads_nowhere_is_named() -> None:
    """It is no object of the caller's any more."""
    rows = [1]
    encoded = encode([rows], "state", outside=outside(rows=rows))
    with pytest.raises(ArgumentsChangedError, match="refers to rows, which is not"):
        decode(encoded, "state", outside={})
