"""NumPy arrays that share memory share it when they come back, and others stay by themselves."""

from __future__ import annotations

import mmap
import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from support import stored

from trax import CodecError
from trax.storage.codec import decode, encode


def layout(array: Any) -> Any:
    flags = array.flags.writeable, array.flags.c_contiguous, array.flags.f_contiguous
    return type(array), array.dtype, array.shape, array.strides, flags


def changed(arrays: list[Any], which: int) -> list[Any]:
    """Return the values of all arrays after one of them is changed."""
    arrays[which][...] = 99
    return [array.tolist() for array in arrays]


class Field(np.ndarray):
    """A class of arrays that leaves pickling to NumPy."""


class Fleeting:
    """An object that makes its arrays when it is pickled."""

    def __getstate__(self) -> Any:
        values = np.arange(100_000)
        return {"left": values[:70_000], "right": values[40_000:]}


GRID = np.arange(24.0)

VIEWS = {
    "inner": lambda a: [a, a[1:-1]],
    "inner before": lambda a: [a[1:-1], a],
    "same": lambda a: [a, a[:]],
    "without the base": lambda a: [a[:15], a[9:]],
    "strided": lambda a: [a[::2], a[1::3]],
    "reversed": lambda a: [a, a[::-1], a[5:1:-2]],
    "matrix": lambda a: [a, a.reshape(4, 6), a.reshape(4, 6).T, a.reshape(4, 6)[1:, ::2]],
    "Fortran": lambda a: [b := a.reshape((4, 6), order="F"), b[1:3, 2:], b.T],
    "row and element": lambda a: [a.reshape(4, 6)[2], a[13:14]],
    "other type": lambda a: [a, a.view("u1"), a.view("i4")[3:9]],
    "structured": lambda a: [a, a.view([("x", "f8"), ("y", "f8")])["y"]],
    "dates": lambda a: [b := a.view("M8[s]"), b[3:5]],
    "own class": lambda a: [b := a.view(Field), b[1:], np.asarray(b)],
    "own class of objects": lambda a: [b := a.astype(object).view(Field), b[1:], np.asarray(b)],
    "records": lambda a: [b := a.view([("x", "f8"), ("y", "f8")]).view(np.recarray), b[3:], b.y],
    "windows": lambda a: [a, sliding_window_view(a, 5, writeable=True)],
    "broadcast": lambda a: [a, as_strided(a[3:], (5, 4), (0, 8))],
    "no dimension": lambda a: [a, a[3:4].reshape(())],
    "objects": lambda a: [b := a.astype(object), b[3:7], b[::-2]],
    "objects without the base": lambda a: [(b := a.astype(object))[3:9], b[6:12:2]],
    "Fortran objects": lambda a: [b := np.asfortranarray(a.astype(object).reshape(4, 6)), b[1]],
    "bytearray": lambda a: [np.frombuffer(b := bytearray(a), "f8"), np.asarray(memoryview(b))[8:]],
    "other owners": lambda a: [np.frombuffer(a, "f8"), np.asarray(memoryview(a))[2:]],
}


@pytest.mark.parametrize("views", VIEWS.values(), ids=VIEWS)
def test_views_of_one_memory_come_back_as_such(views: Any) -> None:
    """With their types, layouts and values; a change of one is seen in all, and twice as well."""
    for copies in (stored, lambda arrays: stored(stored(arrays))):
        arrays = views(GRID.copy())
        back = copies(arrays)
        assert [layout(array) for array in back] == [layout(array) for array in arrays]
        assert [array.tolist() for array in back] == [array.tolist() for array in arrays]
        for which in range(len(arrays)):
            assert changed(back, which) == changed(arrays, which)


@given(
    st.lists(
        st.tuples(*[st.integers(0, 40)] * 2, st.sampled_from([-3, -1, 1, 2, 5])),
        min_size=2,
        max_size=6,
    )
)
def test_any_slices_share_what_they_shared(slices: list[tuple[int, int, int]]) -> None:
    """Whatever they overlap in."""
    base = np.arange(40)
    arrays = [base[begin:end:step] for begin, end, step in slices]
    back = stored(arrays)
    for which in range(len(arrays)):
        assert changed(back, which) == changed(arrays, which)


def test_a_view_may_be_read_only() -> None:
    """Each array may be written to if it could be before."""
    base = np.arange(6)
    view = base[1:]
    view.flags.writeable = False
    hidden = np.arange(6)
    visible = hidden[:]
    hidden.flags.writeable = False
    for arrays in ([base, view], [view, base], [hidden, visible], [view, view[1:]]):
        back = stored(arrays)
        flags = [array.flags.writeable for array in arrays]
        assert [array.flags.writeable for array in back] == flags
        assert np.shares_memory(*back)


def locked(array: Any) -> Any:
    """Return the array itself, which is read-only now."""
    array.flags.writeable = False
    return array


LOCKED: dict[str, Any] = {
    "owner": lambda: locked(np.arange(6.0)),
    "large": lambda: locked(np.arange(100_000.0)),
    "Fortran": lambda: locked(np.asfortranarray(np.ones((2, 3), "M8[s]"))),
    "no dimension": lambda: locked(np.array(5)),
    "records": lambda: locked(np.zeros(3, "i1,f8")),
    "view": lambda: locked(np.arange(6.0)[2:]),
    "of bytes": lambda: np.frombuffer(b"12345678"),
    "of a read-only view": lambda: locked(np.arange(6))[1:],
}


@pytest.mark.parametrize("make", LOCKED.values(), ids=LOCKED)
@pytest.mark.parametrize("times", [1, 2])
def test_an_array_that_was_locked_can_be_unlocked_as_before(make: Any, times: int) -> None:
    """The memory of bytes stays as it is, and so does that of an array that is locked itself."""
    array = make()
    back = array
    for _ in range(times):
        back = stored(back)
    assert layout(back) == layout(array)
    assert back.tolist() == array.tolist()
    assert is_unlocked(back) == is_unlocked(array)


def is_unlocked(array: Any) -> bool:
    """Make an array writeable, if that can be done; return whether it is."""
    try:
        array.flags.writeable = True
    except ValueError:
        return False
    array.reshape(-1)[:1] = array.reshape(-1)[-1:]
    return True


def test_views_of_an_array_that_is_unlocked_see_its_changes() -> None:
    """They are read-only as before, and are unlocked after it."""
    array = np.arange(100_000.0)
    views = [array, array[5:], array[::2]]
    for view in views[::-1]:
        locked(view)
    encoded = encode(views, "arrays")
    assert [memoryview(buffer).nbytes for buffer in encoded.buffers] == [array.nbytes]
    back = stored(views)
    back[0].flags.writeable = True
    back[0][8] = 1
    assert back[1][3] == back[2][4] == 1
    assert is_unlocked(back[2])


def test_memory_that_is_shared_is_written_once_and_not_copied() -> None:
    """The block is the covering array, or the stretch of memory that has all of them."""
    base = np.arange(100_000.0)
    for arrays in ([base, base[5:], base[::2]], [base[:60_000], base[40_000:]]):
        encoded = encode(arrays, "arrays")
        (buffer,) = encoded.buffers
        assert np.shares_memory(np.frombuffer(buffer), base)
        assert memoryview(buffer).nbytes == base.nbytes
        assert len(encoded.payload) < 1000


@pytest.mark.parametrize(
    "views",
    [
        lambda a: [a[3]],
        lambda a: [a[3], a[900]],
        lambda a: [a[:, 3], a[:, 900]],
        lambda a: [a[3].astype(object), a[4].astype(object)],
    ],
    ids=["row", "rows", "columns", "objects"],
)
def test_views_that_do_not_overlap_do_not_bring_their_base(views: Any) -> None:
    """A row of a huge array is stored as a row."""
    huge = np.zeros((1000, 1000))
    assert encode(views(huge), "views").nbytes < 30_000


def test_an_array_of_objects_may_contain_its_own_views() -> None:
    """As a grid of agents that look at their neighbours."""
    grid = np.empty((3, 3), object)
    for x, y in np.ndindex(3, 3):
        grid[x, y] = {"place": (x, y), "near": grid[max(0, x - 1) : x + 2, y], "seen": np.arange(2)}
    back = stored([grid])[0]
    assert back[2, 1]["near"][0] is back[1, 1]
    back[1, 1] = "new"
    assert back[0, 1]["near"][1] == back[2, 1]["near"][0] == "new"
    assert back[0, 0]["seen"].tolist() == [0, 1]


def test_arrays_that_a_method_makes_anew_are_shared_too() -> None:
    """A ``__getstate__`` may make its views each time that it is called."""

    class Field:
        def __init__(self) -> None:
            self.values = np.arange(10)

        def __getstate__(self) -> Any:
            return {"values": self.values, "inner": self.values[1:-1]}

    back = stored(Field())
    back.inner += 1
    assert back.values.sum() == 45 + 8


def test_what_is_encoded_keeps_its_memory() -> None:
    """Also that of arrays which were made for the pickle alone."""

    encoded = encode(Fleeting(), "state")
    others = [np.full(100_000, 7) for _ in range(10)]
    back = decode(encoded, "state")
    assert back.left.tolist() == [*range(70_000)]
    assert back.right.tolist() == [*range(40_000, 100_000)]
    del others


def test_data_frames_do_not_share_memory() -> None:
    """pandas would not copy it on a write, as it did before."""
    pandas: Any = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"x": np.arange(5.0), "y": np.arange(5.0)})
    masked = pandas.Series(pandas.array([1, 2, None], dtype="Int64"))
    dates = pandas.Series(pandas.date_range("2020", periods=5))
    state = [frame, frame["x"], frame["x"][1:], masked, masked[1:], dates, dates[1:]]
    back = stored(state)
    for parts in (state, back):
        parts[2].iloc[0] = parts[4].iloc[0] = 99
        parts[6].iloc[0] = parts[6].iloc[3]
    assert [part.to_string() for part in back] == [part.to_string() for part in state]


# -- files and shared memory ---------------------------------------------------------------


def mapped(mode: Any) -> Any:
    np.arange(100.0).tofile("numbers")
    return np.memmap("numbers", "f8", mode, 80, (10, 9))


SLICES = {
    "itself": lambda a: a,
    "slice": lambda a: a[2:, ::2],
    "array": np.asarray,
    "array of slice": lambda a: np.asarray(a[3]),
}


@pytest.mark.parametrize("part", SLICES.values(), ids=SLICES)
@pytest.mark.parametrize("mode", ["r+", "readwrite"])
def test_an_array_that_writes_to_a_file_is_refused(mode: str, part: Any) -> None:
    """A copy in memory would not be connected to the file."""
    with pytest.raises(CodecError) as caught:
        encode({"grid": part(mapped(mode))}, "state")
    assert str(caught.value).startswith("state['grid'] (numpy.")
    assert "mapped to a file that is open for writing\nKeep a plain array" in str(caught.value)


@pytest.mark.parametrize("part", SLICES.values(), ids=SLICES)
def test_an_array_that_reads_a_file_reads_it_again(
    part: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Wherever the process is then; no copy is stored."""
    array = part(mapped("r"))
    encoded = encode([array, array[1:]], "state")
    assert encoded.buffers == []
    assert encoded.nbytes < 1000
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    back, rest = stored([array, array[1:]])
    assert layout(back) == layout(array)
    assert back.tolist() == array.tolist()
    assert rest.tolist() == array[1:].tolist()
    assert stored([back])[0].tolist() == array.tolist()


def test_a_file_that_has_changed_its_size_is_an_error() -> None:
    """Or that is gone."""
    array = mapped("r")
    encoded = encode(array, "state")
    del array
    for text in ("shorter", ""):
        Path("numbers").write_text(text)
        with pytest.raises(CodecError, match=r"numbers has \d bytes, and had 800 when"):
            decode(encoded, "the state")
    Path("numbers").unlink()
    with pytest.raises(CodecError, match=r"FileNotFoundError.*numbers"):
        decode(encoded, "the state")


def test_an_array_that_copies_on_write_is_stored_with_its_own_values() -> None:
    """Its changes never reach the file."""
    array = mapped("c")
    array[1] = 7
    back = stored([array, array[1]])
    assert back[0].tolist() == array.tolist()
    back[1][...] = 8
    assert back[0][1].tolist() == [8.0] * 9


@pytest.mark.parametrize(
    "make",
    [
        lambda: mmap.mmap(-1, 80),
        lambda: memoryview(mmap.mmap(-1, 80)),  # as a SharedMemory has it
        lambda: multiprocessing.RawArray("d", 10),
        lambda: multiprocessing.Array("d", 10).get_obj(),
    ],
    ids=["map", "shared memory", "raw array", "array"],
)
def test_an_array_in_shared_memory_is_refused(make: Any) -> None:
    """A copy would not be seen by the other processes."""
    array: Any = np.frombuffer(make())
    for part in (array, array[2:]):
        with pytest.raises(CodecError, match=r"state\[0\] .*shared with other processes\nKeep"):
            encode([part], "state")
