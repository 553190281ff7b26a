"""Finds NumPy arrays that share memory, and makes them share it again when they are loaded.

Strategy: arrays that lie in one stretch of memory without a gap are a group. If any two of a group
overlap, the group is stored as one block of memory and views of it. The block is the array that
covers all of the group, if there is one, and else the stretch. Any other array is stored by itself,
so that a row of a huge array does not bring the whole array with it.

Pickles refer to the functions `view_of`, `fill` and `reopen` by name.
"""

from __future__ import annotations

import mmap
import os
import sys
from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator
from functools import partial
from itertools import chain, combinations, islice
from operator import itemgetter
from typing import Any

__all__ = [
    "Arrays",
    "Blocks",
    "bounds",
    "fill",
    "reduce_locked",
    "reduce_mapped",
    "reopen",
    "storage_memory",
    "tensor_memory",
    "view_of",
]

_OWNERS = (bytes, bytearray)
_DENSE = 2  # times the size of its arrays: the largest block stored without comparing pairs
_PAIRS = 2000  # pairs of arrays compared at most
_WORK = 1000  # bounds the exact comparison of one pair


class Blocks:
    """Blocks of memory, each shared by several arrays; none overlaps another.

    Parameters
    ----------
    found : iterable of (int, int, array)
        Where each block begins and ends, in ascending order, and an array of exactly this memory.

    Attributes
    ----------
    begins : list of int
        Where the blocks begin.
    """

    def __init__(self, found: Iterable[tuple[int, int, Any]] = ()) -> None:
        self._found = list(found)
        self.begins = [begin for begin, _, _ in self._found]

    def reduce(self, array: Any) -> tuple[Any, ...] | None:
        """Return the reduction of an array in one of the blocks; None for any other array."""
        low, high = bounds(array)
        place = bisect_right(self.begins, low) - 1
        if place < 0 or not array.size:
            return None
        begin, end, memory = self._found[place]
        if high > end:
            return None
        if array is memory:
            return _reduce_objects(array) if array.dtype.hasobject else None
        kind = type(array)
        offset = _address(array) - begin
        layout = (offset, array.shape, array.strides, array.dtype, array.flags.writeable)
        return view_of, (memory, *layout, *([kind] * (kind is not _numpy().ndarray)))

    def joined(self, others: Blocks) -> Blocks:
        """Return these blocks, with those of the others that overlap none of them."""
        free = [one for one in others._found if not any(map(partial(_touch, one), self._found))]
        return Blocks(sorted([*self._found, *free], key=itemgetter(0))) if free else self


def _touch(one: tuple[int, int, Any], other: tuple[int, int, Any]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


class Arrays:
    """Arrays, in such an order that those which may share memory are soon found.

    It refers to each of them, so that no id is used again.

    Attributes
    ----------
    owners : list of array
        The arrays that have memory of their own.
    """

    def __init__(self) -> None:
        self.owners: list[Any] = []
        self._views: dict[int, list[Any]] = {}  # by the id of the owner of their memory
        self._others: list[Any] = []  # owned by objects that may share it with yet others

    def add_view(self, array: Any, base: Any) -> Any:
        """Add an array whose memory is that of its base.

        Returns
        -------
        array or None
            If it is the memory of a file or of other processes: the array that has mapped it.
        """
        root = array
        while (below := getattr(base, "base", None)) is not None:
            root, base = base, below
        if type(base) is memoryview:
            base = base.obj
        kind = type(base)
        if kind in _OWNERS or kind is _numpy().ndarray:
            self._views.setdefault(id(base), []).append(array)
            return None
        self._others.append(array)
        is_shared = kind is mmap.mmap or kind.__module__ == "multiprocessing.sharedctypes"
        return root if is_shared and getattr(root, "mode", None) != "c" else None

    def find_blocks(self, apart: Container[int]) -> Blocks:
        """Return the blocks of memory that they share, except for those whose id is in `apart`."""
        if not (self._views or self._others):
            return Blocks()
        for array in self.owners:
            if id(array) in self._views:
                self._views[id(array)].append(array)
        groups = [group for group in self._views.values() if len(group) > 1 or self._others]
        views = [*self._others, *chain.from_iterable(groups)]
        owners = self.owners if self._others else ()
        found = {id(array): array for array in (*views, *owners) if id(array) not in apart}
        return Blocks(_shared([*found.values()]))


def _shared(arrays: list[Any]) -> Iterator[tuple[int, int, Any]]:
    for low, high, group in _groups(arrays):
        if len(group) > 1 and (memory := _memory(group, low, high)) is not None:
            yield low, high, memory


def _groups(arrays: list[Any]) -> Iterator[tuple[int, int, list[Any]]]:
    """Yield groups of arrays whose bounds overlap, with the bounds of each group."""
    spans = sorted((*bounds(array), n) for n, array in enumerate(arrays) if array.size)
    group: list[Any] = []
    begin = end = 0
    for low, high, n in spans:
        if low >= end:
            yield begin, end, group
            begin, group = low, []
        end = max(end, high)
        group.append(arrays[n])
    yield begin, end, group


def _memory(group: list[Any], low: int, high: int) -> Any:
    """Return an array of all the memory of a group; None if it is not to be shared."""
    has_objects = any(array.dtype.hasobject for array in group)
    if has_objects and any(array.dtype != object for array in group):
        return None
    is_writeable = any(array.flags.writeable for array in group)
    for array in group:
        if _is_whole(array, high - low) and array.flags.writeable == is_writeable:
            return array
    dense = high - low <= _DENSE * sum(array.nbytes for array in group)
    if not dense and not any(_overlap(*pair) for pair in islice(combinations(group, 2), _PAIRS)):
        return None
    return _span(group, low, high - low, "|O" if has_objects else "|u1")


def _is_whole(array: Any, size: int) -> bool:
    is_contiguous = array.flags.c_contiguous or array.flags.f_contiguous
    return type(array) is _numpy().ndarray and is_contiguous and array.nbytes == size


def _overlap(one: Any, two: Any) -> bool:
    numpy = _numpy()
    try:
        return bool(numpy.shares_memory(one, two, max_work=_WORK))
    except numpy.exceptions.TooHardError:
        return True


def _address(array: Any) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def bounds(array: Any) -> tuple[int, int]:
    """Return the address of the first byte of an array, and the one after its last byte."""
    low = _address(array)
    if array.flags.c_contiguous:
        return low, low + array.nbytes
    extents = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    high = low + sum(extent for extent in extents if extent > 0) + array.itemsize
    return low + sum(extent for extent in extents if extent < 0), high


class _Span:
    """A stretch of memory, in the form in which NumPy asks for it."""

    def __init__(self, owner: Any, address: int, size: int, code: str) -> None:
        count = size // (_numpy().dtype(code).itemsize)
        form = {"shape": (count,), "typestr": code, "data": (address, False), "version": 3}
        self.__array_interface__ = form
        self.owner = owner


def _span(owner: Any, address: int, size: int, code: str = "|u1") -> Any:
    """Return an array over a stretch of memory, which lives as long as its owner."""
    return _numpy().asarray(_Span(owner, address, size, code))


def storage_memory(storage: Any) -> Any:
    """Return an array over a storage of PyTorch on the CPU.

    It lives as long as the storage, and is valid until that is resized. The numpy() of a tensor
    would not do: PyTorch refuses to resize a storage that NumPy has once been given.
    """
    return _span(storage, storage.data_ptr(), storage.nbytes())


def tensor_memory(tensor: Any) -> Any:
    """Return the elements of a tensor, in their order, as an array of bytes; see `storage_memory`.

    They are copied if they are not in this order, or not on the CPU.
    """
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    plain = plain.view(sys.modules["torch"].uint8)
    return _span(plain, plain.data_ptr(), plain.numel())


def reduce_locked(array: Any) -> tuple[Any, ...] | None:
    """Return the reduction of a read-only array that can be made writeable again, or None.

    Its memory is stored as memory that may change: an array over other memory stays read-only.
    """
    if array.flags.writeable or not array.nbytes or array.dtype.hasobject:
        return None
    is_plain = type(array) is _numpy().ndarray and array.flags.forc
    base = array.base
    is_free = array.flags.owndata if base is None else _is_writeable(base)
    if not (is_plain and is_free):
        return None
    memory = _span(array, _address(array), array.nbytes)
    return view_of, (memory, 0, array.shape, array.strides, array.dtype, False)


def _is_writeable(base: Any) -> bool:
    return isinstance(base, _numpy().ndarray) and base.flags.writeable


def _numpy() -> Any:
    return sys.modules["numpy"]


# -- files ---------------------------------------------------------------------------------


def reduce_mapped(array: Any, root: Any) -> tuple[Any, ...]:
    """Return the reduction of an array in the memory of `root`, a file mapped for reading."""
    if array is not root:
        return Blocks([(*bounds(root), root)]).reduce(array) or array.__reduce_ex__(5)
    path = os.fspath(root.filename)
    order = "C" if root.flags.c_contiguous else "F"
    return reopen, (path, os.path.getsize(path), root.dtype, root.offset, root.shape, order)


# -- loading -------------------------------------------------------------------------------


def view_of(
    memory: Any,
    offset: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: Any,
    writeable: bool,
    kind: Any = None,
) -> Any:
    """Return a view of the memory of a contiguous array."""
    numpy = _numpy()
    flat = numpy.asarray(memory).reshape(-1, order="A")
    if dtype.hasobject:
        begin = flat[offset // flat.itemsize :]
        view = numpy.lib.stride_tricks.as_strided(begin, shape, strides)
        view = view if kind is None else view.view(kind)
    else:
        flat = flat.view(numpy.uint8)
        view = numpy.ndarray.__new__(kind or numpy.ndarray, shape, dtype, flat, offset, strides)
    if not writeable:
        view.flags.writeable = False
    return view


def _reduce_objects(array: Any) -> tuple[Any, ...]:
    """Return a reduction that makes an array first and then fills it: its items may refer to it."""
    order = "C" if array.flags.c_contiguous else "F"
    items = array.reshape(-1, order="A").tolist()
    return _numpy().empty, (array.shape, array.dtype, order), items, None, None, fill


def fill(array: Any, items: list[Any]) -> None:
    """Put objects into a contiguous array, in the order of its memory."""
    flat = array.reshape(-1, order="A")
    for n, item in enumerate(items):
        flat[n] = item


def reopen(
    path: str, size: int, dtype: Any, offset: int, shape: tuple[int, ...], order: Any
) -> Any:
    """Map a file for reading, as it was mapped when the state was stored."""
    import numpy

    found = os.path.getsize(path)
    if found != size:
        raise ValueError(f"{path} has {found:,} bytes, and had {size:,} when this was stored")
    return numpy.memmap(path, dtype, "r", offset, shape, order)
