"""Makes room in a store: removes copies that were set aside, and the history of its runs."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from trax._public import public
from trax.display import show
from trax.errors import CorruptionError, LockedError, StorageError, UsageError
from trax.storage.checkpoint import read_meta
from trax.storage.filenames import FileName, is_leftover, run_of, temporary
from trax.storage.filesystem import Directory, storage_errors
from trax.storage.records import Damage
from trax.storage.run_reader import RunReader
from trax.storage.store import Store

__all__ = ["Pruned", "prune"]

_NEEDED = 2  # checkpoints of a run: the older one can replace the newer one


@public
@dataclass(frozen=True, slots=True)
class Pruned:
    """The outcome of `prune`: as text a summary, and with `as_dict` plain values for JSON.

    Attributes
    ----------
    path : str
        The store.
    removed : tuple of str
        The paths of the removed files and directories, in the store.
    freed : int
        Their size, in bytes.
    size : int
        The size of all that is left, in bytes.
    fits : bool
        Whether that is within the budget, if there is one.
    skipped : tuple of str
        The names of runs that were left alone, being open or damaged.
    is_dry_run : bool
        Whether nothing was removed: all this is what would be so.
    """

    path: str
    removed: tuple[str, ...]
    freed: int
    size: int
    fits: bool
    skipped: tuple[str, ...]
    is_dry_run: bool = dataclasses.field(default=False, compare=False)

    def as_dict(self) -> dict[str, object]:
        """Return the same as a dictionary of plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        freed, left = ("would be freed", "would be left") if self.is_dry_run else ("freed", "left")
        lines = [f"{self.freed:,} bytes {freed} in {self.path}, {self.size:,} bytes {left}."]
        if not self.fits:
            lines.append("That is more than the budget: the rest is needed to resume the runs.")
        if self.skipped:
            lines.append(f"Left alone, being open or damaged: {', '.join(self.skipped)}.")
        return "\n".join(lines)


@public
def prune(
    *,
    budget: float | None = None,
    traxdir: str | os.PathLike[str] | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Make room in a store, so that it fits into a budget.

    First the copies in ``aside`` are removed, oldest first: those of runs that were started over,
    repaired or rewound; and of each run the ends of logs that a crash has torn, which were set
    aside. Without a budget that is all. Then the oldest checkpoints of all runs are
    removed, with the logs that only they need, until the store fits. The two newest checkpoints of
    each run stay, and all that it needs to resume; so do runs that are open or damaged.

    Parameters
    ----------
    budget : int or float, optional
        The size that the store may have, in bytes.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.
    dry_run : bool
        Whether only to tell what would be removed.

    Returns
    -------
    Pruned
        What was removed, and what is left; `print` shows it.

    Raises
    ------
    UsageError
        The budget is no size, or the directory has replicas.
    StorageError
        The disk refused. Call it again.

    Examples
    --------
    >>> import trax
    >>> pruned = trax.prune(budget=100e9)
    >>> pruned.fits
    True
    """
    is_size = isinstance(budget, (int, float)) and not isinstance(budget, bool)
    if budget is not None and not (is_size and 0 <= budget < math.inf):
        raise UsageError(f"budget must be a number of bytes, not {show(budget)}")
    store = Store(traxdir)
    with storage_errors("pruning", store.path):
        return _Pruning(store, budget, dry_run=dry_run).run()


class _Part(NamedTuple):
    """A part of a run that can be removed: its oldest checkpoint and the logs up to the next."""

    written: float
    run: str
    files: list[FileName]


class _Pruning:
    """One pass over a store."""

    def __init__(self, store: Store, budget: float | None, *, dry_run: bool) -> None:
        self._store = store
        self._budget = budget
        self._dry_run = dry_run
        self._removed: list[str] = []
        self._skipped: dict[str, None] = {}
        self._size = _size(os.path.join(store.path, "runs"))
        self._size += _size(os.path.join(store.path, "aside"))
        self._freed = 0

    def run(self) -> Pruned:
        """Remove what can be, and return what that was."""
        for path in self._copies():
            if self._budget is None or not self._fits:
                self._remove_copy(path)
        for name in self._store.names():
            if self._budget is None or not self._fits:
                self._remove_leftovers(name)
        if not self._fits:
            self._prune_runs()
        return Pruned(
            path=self._store.path,
            removed=tuple(self._removed),
            freed=self._freed,
            size=self._size - self._freed,
            fits=self._fits,
            skipped=tuple(self._skipped),
            is_dry_run=self._dry_run,
        )

    @property
    def _fits(self) -> bool:
        return self._budget is None or self._size - self._freed <= self._budget

    def _count(self, path: str) -> None:
        self._removed.append(os.path.relpath(path, self._store.path))
        self._freed += _size(path)

    def _copies(self) -> list[str]:
        """Return the directories that were set aside, oldest first."""
        found = []
        aside = os.path.join(self._store.path, "aside")
        with contextlib.suppress(FileNotFoundError), os.scandir(aside) as entries:
            for one in entries:
                with contextlib.suppress(FileNotFoundError):  # another call removes it as well
                    if one.is_dir(follow_symlinks=False):
                        found.append((one.stat().st_mtime, one.path))
        return [path for _, path in sorted(found)]

    def _remove_copy(self, path: str) -> None:
        """Remove a directory that was set aside, or one that nobody is making any more."""
        name = run_of(os.path.basename(path).rpartition("~")[0])
        is_begun = path.endswith(temporary("")) and name is not None
        try:
            with self._store.locked(name) if is_begun and name else contextlib.nullcontext():
                self._count(path)
                while not self._dry_run and os.path.lexists(path):
                    with contextlib.suppress(FileNotFoundError):
                        shutil.rmtree(path)
        except LockedError:
            self._skipped[str(name)] = None

    def _remove_leftovers(self, name: str) -> None:
        """Remove the files of a run that no recovery reads, unless it is open."""
        if not any(map(is_leftover, self._store.files(name))):
            return
        try:
            with self._store.alone(name, "pruning") as directory:
                for text in filter(is_leftover, directory.list()):
                    self._count(os.path.join(directory.path, text))
                    if not self._dry_run:
                        directory.remove(text)
        except LockedError:
            self._skipped[name] = None

    def _prune_runs(self) -> None:
        """Remove the oldest parts of all runs, as many as it takes."""
        parts = [part for name in self._store.names() for part in self._parts(name)]
        parts.sort(key=lambda part: part.written)
        while not self._fits and parts:
            chosen = self._choose(parts)
            for name in {part.run: None for part in chosen}:
                self._remove(
                    name, [one for part in chosen if part.run == name for one in part.files]
                )
            parts = [one for one in parts[len(chosen) :] if one.run not in self._skipped]

    def _choose(self, parts: list[_Part]) -> list[_Part]:
        """Return the first parts, with whose removal the store fits; or all."""
        assert self._budget is not None
        left = self._size - self._freed
        for count, part in enumerate(parts, 1):
            left -= sum(_size(self._path(part.run, file)) for file in part.files)
            if left <= self._budget:
                return parts[:count]
        return parts

    def _parts(self, name: str) -> list[_Part]:
        """Return the parts of a run that can be removed; none unless the rest is whole."""
        try:
            with self._store.reading(name) as directory:
                return list(_removable_parts(directory, name))
        except (CorruptionError, StorageError):
            self._skipped[name] = None
            return []

    def _remove(self, name: str, files: list[FileName]) -> None:
        """Remove files of a run, unless another process has opened it meanwhile."""
        if self._dry_run:
            for file in files:
                self._count(self._path(name, file))
            return
        try:
            with self._store.alone(name, "pruning") as directory:
                for part in _removable_parts(directory, name):
                    for file in filter(set(files).__contains__, part.files):
                        self._count(self._path(name, file))
                        directory.remove(str(file))
        except (CorruptionError, LockedError):
            self._skipped[name] = None

    def _path(self, name: str, file: FileName) -> str:
        return os.path.join(self._store.run_path(name), str(file))


def _removable_parts(directory: Directory, name: str) -> Iterator[_Part]:
    """Yield the parts of a run before its two newest checkpoints, oldest first.

    Recovery must not need them: all after the newest checkpoint is read first.
    """
    reader = RunReader(directory, name)
    reader.read()
    files = sorted(
        filter(None, map(FileName.parse, directory.list())), key=lambda one: (one[1], one[0])
    )
    checkpoints = [one.generation for one in files if one.kind == "checkpoint"]
    needed = [one for one in checkpoints if one <= reader.base][-_NEEDED:]
    if len(needed) < _NEEDED:
        return
    part: list[FileName] = []
    written = 0.0  # never decreasing, so that older parts of a run go first
    for file in files:
        if file.generation >= needed[0] or file.kind == "checkpoint":
            if part:
                yield _Part(written, name, part)
            if file.generation >= needed[0]:
                return
            part, written = [], max(written, _written(directory, file))
        part.append(file)


def _written(directory: Directory, file: FileName) -> float:
    try:
        written: float = read_meta(directory, file)["written"]
    except Damage:
        return 0.0
    return written


def _size(path: str) -> int:
    """Return the size of a file, or of all files in a directory; no link is followed."""
    with contextlib.suppress(FileNotFoundError):
        found = os.lstat(path)
        if not stat.S_ISDIR(found.st_mode):
            return found.st_size
        return sum(_size(entry.path) for entry in os.scandir(path))
    return 0  # it has just been removed
