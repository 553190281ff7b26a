"""Finds files that are open for writing in the objects that a loop keeps."""

from __future__ import annotations

import csv
import functools
import gc
import io
import os
import stat
from collections.abc import Iterator
from types import BuiltinMethodType
from typing import Any, Final, NamedTuple

from trax.frames.remade_kinds import is_stateless, is_writer
from trax.storage.culprit import find_part

__all__ = ["TRAX_OPEN", "Written", "written_file"]

TRAX_OPEN: Final = "with trax.open, which goes on at the right place after a crash."
_PACKED: Final = (".gz", ".bz2", ".xz", ".lzma", ".zst")
_STANDARD: Final = 2  # the number of standard error, the last of the standard streams
_CsvWriter: Final = type(csv.writer(io.StringIO()))


class Written(NamedTuple):
    """A file that is open for writing.

    Attributes
    ----------
    path : str
        Where it is in the object that was searched, such as ``log.file``.
    name : str
        Its name, as it was opened.
    file : object
        The file.
    """

    path: str
    name: str
    file: Any

    @property
    def advice(self) -> str:
        """How to write it instead."""
        if self.name.endswith(_PACKED):
            return "Write it as it is with trax.open, and compress that when the loop has ended."
        return f"Open {self.name!r} {TRAX_OPEN}"


def written_file(value: Any, path: str) -> Written | None:
    """Return the nearest file in an object that is open for writing; None if there is none.

    Log handlers and objects of libraries whose files are their own affair are not searched, nor
    are the output files of trax.

    Parameters
    ----------
    value : object
        The object.
    path : str
        Its name.

    Examples
    --------
    >>> with open("out.txt", "w") as file:
    ...     written_file({"out": file}, "files").path
    "files['out']"
    """
    found = find_part(value, path, lambda one: any(_written(one)), enters=_is_searched)
    if found is None:
        return None
    path, part = found
    file = next(_written(part))
    return Written(path, os.fsdecode(file.name), file)


def _is_searched(one: Any) -> bool:
    return type(one).__module__ == "csv" or not is_stateless(one)


def _written(one: Any) -> Iterator[Any]:
    """Yield an object if it is such a file, or what it calls or is given is."""
    parts = [one]
    kind = type(one)  # another object's, where `isinstance` would ask a proxy
    if issubclass(kind, functools.partial):
        parts = [one.func, *one.args, *one.keywords.values()]
    elif kind is _CsvWriter:
        parts = gc.get_referents(one)
    parts += [part.__self__ for part in parts if type(part) is BuiltinMethodType]
    yield from filter(_is_written, parts)


def _is_written(one: Any) -> bool:
    if not issubclass(type(one), io.IOBase):
        return False
    try:
        buffer = getattr(one, "buffer", one)
        if one.closed or not one.writable() or is_writer(getattr(buffer, "raw", buffer)):
            return False
        number, name = one.fileno(), getattr(one, "name", None)
        is_named = isinstance(name, str | bytes | os.PathLike) and os.path.exists(name)
        return number > _STANDARD and is_named and stat.S_ISREG(os.fstat(number).st_mode)
    except (OSError, ValueError):
        return False
