"""The output files of a run, compared with the lengths that its steps recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from trax.errors import CorruptionError
from trax.storage.context import Key
from trax.tracking.truncate import lengths

__all__ = ["OutputFile", "find_outputs", "have_outputs"]


@dataclass(frozen=True, slots=True)
class OutputFile:
    """An output file of a run: its recorded length, and its present one.

    Attributes
    ----------
    path : str
        The file.
    length : int
        The number of bytes that the stored steps have written.
    present : int or None
        The present length in bytes; None if the file is missing.
    """

    path: str
    length: int
    present: int | None

    @property
    def is_long_enough(self) -> bool:
        return self.present is not None and self.present >= self.length


def find_outputs(store: str, context: Mapping[Key, bytes]) -> tuple[OutputFile, ...]:
    """Return the output files that a context names; relative paths begin at the store.

    Raises
    ------
    CorruptionError
        An entry of the context cannot describe an output file.
    """
    found = lengths(store, context).items()
    return tuple(OutputFile(path, length, _size(path)) for path, length in found)


def have_outputs(store: str, context: Mapping[Key, bytes]) -> bool:
    """Return whether all output files in a context have at least their recorded lengths."""
    try:
        return all(one.is_long_enough for one in find_outputs(store, context))
    except CorruptionError:
        return False


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
