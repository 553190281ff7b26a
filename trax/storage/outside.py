"""Objects that a pickle refers to by their paths, and does not contain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from trax.storage.array_memory import Blocks, bounds

__all__ = ["NOTHING", "Outside"]


class Outside:
    """The objects that stay outside of a pickle, such as a caller's arguments.

    Parameters
    ----------
    paths : mapping of int to str
        Their paths by their ids. Somebody else must refer to them, so that no id is used again.
    arrays : iterable of array
        Those NumPy arrays among them of whose memory there may be views inside.

    Attributes
    ----------
    blocks : Blocks
        The memory of these arrays.
    """

    def __init__(self, paths: Mapping[int, str], arrays: Iterable[Any] = ()) -> None:
        self._paths = paths
        self._arrays = [*arrays]
        self._path_of = paths.get
        self.blocks = Blocks(_separate(self._arrays))
        self.is_empty = not paths

    def joined(self, paths: Mapping[int, str]) -> Outside:
        """Return these objects, and others whose paths are given by their ids."""
        return Outside({**self._paths, **paths}, self._arrays) if paths else self

    def path(self, obj: Any) -> str | None:
        """Return the path of an object; None if it belongs into the pickle."""
        return self._path_of(id(obj))


def _separate(arrays: Iterable[Any]) -> Iterator[tuple[int, int, Any]]:
    """Yield the memory of arrays that have no gaps, without those in the memory of another."""
    end = 0
    whole = [a for a in arrays if a.size and (a.flags.c_contiguous or a.flags.f_contiguous)]
    found = [(*bounds(array), array) for array in whole]
    for low, high, array in sorted(found, key=lambda each: (each[0], -each[1])):
        if low >= end:
            yield low, high, array
            end = high


NOTHING: Final = Outside({})
