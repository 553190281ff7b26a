"""The output files of a run, compared with the lengths and digests that its steps recorded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from trax._public import public
from trax.errors import CorruptionError
from trax.storage.context import Key
from trax.tracking.output_digest import Extent, RunningDigest, difference
from trax.tracking.truncate import extents

__all__ = ["OutputChecker", "OutputFile", "find_outputs"]


@public
@dataclass(frozen=True, slots=True)
class OutputFile:
    """An output file of a run: its recorded length and its present one, and its content.

    Attributes
    ----------
    path : str
        The file.
    length : int
        The number of bytes that the stored steps have written.
    present : int or None
        The present length in bytes; None if the file is missing.
    changed : tuple of int or None
        Two offsets between which the content is not the one that the steps have written; None if
        all of it is, or if the file is not long enough.
    is_usable : bool
        Whether a call resumes with it. That reads only what was written since the checkpoint before
        the newest one.
    """

    path: str
    length: int
    present: int | None
    changed: tuple[int, int] | None = None
    is_usable: bool = True

    @property
    def is_long_enough(self) -> bool:
        return self.present is not None and self.present >= self.length


def find_outputs(
    store: str, context: Mapping[Key, bytes], earlier: Iterable[Mapping[Key, bytes]] = ()
) -> tuple[OutputFile, ...]:
    """Return the output files that a context names; relative paths begin at the store.

    Their content is read. The contexts of `earlier` steps only show more exactly where it differs.

    Raises
    ------
    CorruptionError
        An entry of the context cannot describe an output file.
    """
    before: dict[str, list[Extent]] = {}
    for other in earlier:
        with contextlib.suppress(CorruptionError):
            for path, extent in extents(store, other).items():
                before.setdefault(path, []).append(extent)
    return tuple(
        _examine(path, extent, before.get(path, []))
        for path, extent in extents(store, context).items()
    )


def _examine(path: str, extent: Extent, earlier: list[Extent]) -> OutputFile:
    file = OutputFile(path, extent.length, _size(path))
    if not file.is_long_enough:
        return replace(file, is_usable=False)
    try:
        with open(path, "rb", buffering=0) as opened:
            fd = opened.fileno()
            changed = difference(fd, [*earlier, extent])
            is_usable = changed is None or RunningDigest.read(fd, extent) is not None
            return replace(file, changed=changed, is_usable=is_usable)
    except OSError:
        return replace(file, present=None, is_usable=False)


class OutputChecker:
    """Tells for one context after the other whether a call could resume with the output files.

    What several steps have in common is read once if the contexts come in the order of the steps.
    Relative paths begin at the store.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._begun: dict[str, tuple[tuple[int, int, int], RunningDigest]] = {}

    def __call__(self, context: Mapping[Key, bytes]) -> bool:
        """Return whether all files are long enough, with the content that a resume compares."""
        try:
            found = extents(self._store, context)
            return all(self._is_right(path, extent) for path, extent in found.items())
        except (CorruptionError, OSError):
            return False

    def _is_right(self, path: str, extent: Extent) -> bool:
        size = _size(path)
        if size is None or size < extent.length:
            return False
        start = extent.begin, extent.since, extent.chain
        begun, digest = self._begun.get(path, (None, None))
        if digest is None or begun != start or digest.length > extent.length:
            digest = RunningDigest(*start)
            self._begun[path] = start, digest
        with open(path, "rb", buffering=0) as file:
            digest.follow(file.fileno(), extent.length)
        return digest.is_at(extent.length, extent.digest)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
