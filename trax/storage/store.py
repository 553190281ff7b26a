"""A directory of runs: their files, and their locks.

::

    .trax/
    ├── .gitignore
    ├── locks/NAME          the lock of the run, and a note about its holder
    ├── runs/NAME/          its checkpoints and logs
    └── aside/NAME~1/       files that were moved aside for a fresh start, or copied
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Protocol

from trax.errors import StorageError, UsageError
from trax.keep import Keep
from trax.storage.checkpoint import read_meta
from trax.storage.filenames import (
    LOCKS,
    FileName,
    decode_run,
    encode_run,
    given_path,
    local_store,
    run_of,
    temporary,
)
from trax.storage.filesystem import (
    Directory,
    LocalDirectory,
    copy_directory,
    exists,
    is_empty,
    make_directory,
    move,
    new_private,
    storage_errors,
)
from trax.storage.held_run import Copying, HeldRun
from trax.storage.keys import find_key
from trax.storage.lock import Lock, holder_state
from trax.storage.log import open_log
from trax.storage.process import Sync
from trax.storage.records import NOTE, Damage, Forged, NewerVersion
from trax.storage.run_reader import Recreate, RunReader
from trax.storage.run_writer import RunWriter

__all__ = ["Store", "Stored"]

_SCANNED = 500  # runs, at most, of which the newest are looked for


class Stored(Protocol):
    """Runs that are read: those of a `Store`, or of a store of objects."""

    @property
    def path(self) -> str:
        """Their place, for messages."""

    def look(self, name: str) -> tuple[int, list[str]]:
        """Return a value that changes when files of a run come or go, or all are replaced."""

    def reading(self, name: str) -> contextlib.AbstractContextManager[Directory]:
        """Read the files of a run in a ``with`` block, without a lock."""

    def recover(self, name: str) -> RunReader | None:
        """Begin to read a run, without a lock; return None if nothing is stored."""

    def peek(self, name: str) -> dict[str, Any]:
        """Return the meta record of the newest checkpoint; empty if there is no valid one."""


class Store:
    """A directory of runs.

    Parameters
    ----------
    traxdir : str or os.PathLike or None
        The directory; None means ``$TRAX_DIR``, or ``.trax`` if that is not set.

    Attributes
    ----------
    path : str
        The directory.
    key : Key or None
        The key that its files are signed with.
    """

    def __init__(self, traxdir: str | os.PathLike[str] | None = None) -> None:
        self.path = local_store(traxdir)
        _check_link(given_path(traxdir))
        self.key = find_key(self.path)

    def at(self, path: str | os.PathLike[str]) -> Store:
        """Return the store in another directory."""
        return Store(path)

    def run_path(self, name: str) -> str:
        """Return the directory of a run's files, whether it exists or not."""
        return os.path.join(self.path, "runs", encode_run(name))

    def names(self) -> list[str]:
        """Return the names of all runs, sorted."""
        try:
            return sorted(filter(None, map(run_of, os.listdir(os.path.join(self.path, "runs")))))
        except FileNotFoundError:
            return []

    def newest_runs(self, count: int) -> list[str]:
        """Return the names of the runs whose files came or went last, at most so many."""
        found = []
        with contextlib.suppress(OSError), os.scandir(os.path.join(self.path, "runs")) as runs:
            for entry in islice(runs, _SCANNED):
                with contextlib.suppress(OSError, ValueError):
                    found.append((entry.stat().st_mtime, decode_run(entry.name)))
        return [name for _, name in sorted(found, reverse=True)[:count]]

    def has_increments(self, name: str) -> bool:
        """Return whether there may be an increment in the logs of a run."""
        names = map(FileName.parse, self.files(name))
        logs = [file for file in names if file and file.kind == "log"]
        path = self.run_path(name)
        with storage_errors("reading", path):
            return any(_may_have_increments(LocalDirectory(path), log) for log in logs)

    def files(self, name: str) -> list[str]:
        """Return the names of a run's files, sorted; an empty list if there is no run."""
        try:
            return sorted(os.listdir(self.run_path(name)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError(
                f"the run {name!r} cannot be read: {error}\n"
                f"Check that you may read {self.run_path(name)}.\n"
                "Check that the disk is there, then try again."
            ) from error

    def look(self, name: str) -> tuple[int, list[str]]:
        """Return a value that changes when files of a run come or go, or all are replaced."""
        files = self.files(name)
        with contextlib.suppress(OSError):
            return os.stat(self.run_path(name)).st_ino, files
        return 0, files

    def sizes(self, name: str) -> list[int]:
        """Return the sizes of a run's files, which change when something is added to one."""
        path = self.run_path(name)
        try:
            return [os.stat(os.path.join(path, text)).st_size for text in self.files(name)]
        except OSError:  # one has just been removed
            return []

    def recover(
        self, name: str, recreate: Recreate | None = None, until: int | None = None
    ) -> RunReader | None:
        """Begin to read a run, without a lock; return None if nothing is stored.

        For `recreate` and `until` see `RunReader`.
        """
        path = self.run_path(name)
        with storage_errors("reading", path):
            if exists(self.path):
                make_directory(self.path)  # raises if it is not a directory, or not safe
            if not exists(path):
                return None
            _check_case(path)
            return RunReader(self._directory(name), name, recreate, until)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Directory]:
        """Read the files of a run in a ``with`` block, without a lock."""
        with storage_errors("reading", self.run_path(name)):
            make_directory(self.path)  # raises if it is not a directory, or not safe
            yield self._directory(name)

    def is_held(self, name: str) -> bool:
        """Return whether a process holds a run for writing, as far as can be told."""
        return bool(holder_state(self._lock_path(name)))

    def peek(self, name: str) -> dict[str, Any]:
        """Return the meta record of the newest checkpoint; empty if there is no valid one."""
        found = sorted(filter(None, map(FileName.parse, self.files(name))))
        newest = [file for file in found if file.kind == "checkpoint"][-1:]
        try:
            return read_meta(self._directory(name), newest[0]) if newest else {}
        except (Damage, Forged, NewerVersion, OSError):
            return {}

    def hold(
        self,
        name: str,
        *,
        sync: Sync,
        keep: int | Keep,
        report: Callable[[str], None],
        fresh: bool = False,
        is_superseded: Callable[[], bool] = lambda: False,
        deferred: bool = False,
        thread: int | None = None,
        copying: Copying | None = None,
    ) -> HeldRun:
        """Hold a run for writing; closing it releases the lock.

        `copying` brings files that are not here, and copies them as the run goes on. Then, if
        `fresh`, or if `is_superseded` returns true when the run is locked, its files are moved
        aside for a fresh start. `thread` is that of `Lock`, and the other options are those of
        `RunWriter`.

        Raises
        ------
        LockedError
            The run is held elsewhere.
        """
        encode_run(name)
        with storage_errors("opening", self.path):
            lock = self._lock(name, thread)
            try:
                if copying is not None:
                    copying.bring()
                aside = self._move_aside(name) if fresh or is_superseded() else None
                make_directory(self.run_path(name))
                directory = self._directory(name, holds=True)
                is_repeated = sync == "interval"
                writer = RunWriter(
                    directory,
                    name,
                    sync=sync,
                    keep=keep,
                    report=report,
                    deferred=deferred,
                    prunes=not is_repeated,
                )
                return HeldRun(
                    lock, directory, writer, in_background=is_repeated, aside=aside, copying=copying
                )
            except BaseException:
                lock.release()
                raise

    @contextlib.contextmanager
    def alone(self, name: str, doing: str) -> Iterator[Directory]:
        """Hold the files of a run in a ``with`` block; `doing` is for messages.

        Raises
        ------
        LockedError
            The run is held elsewhere.
        """
        with storage_errors(doing, self.run_path(name)), self.locked(name):
            yield self._directory(name)

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock of a name in a ``with`` block; `LockedError` if it is held elsewhere."""
        lock = self._lock(name)
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[Directory]:
        """Write the files of a new run in a ``with`` block; they appear when it ends, or never.

        Raises
        ------
        UsageError
            A run of this name is stored.
        LockedError
            The name is held elsewhere.
        """
        with storage_errors("making", self.run_path(name)), self.locked(name):
            path = self.run_path(name)
            if exists(path) and not is_empty(path):
                raise UsageError(
                    f"a run {name!r} is stored already in {self.path}.\nChoose another name."
                )
            with self._new_files(name) as directory:
                yield directory

    @contextlib.contextmanager
    def replacing(self, name: str, *, keeps: bool = True) -> Iterator[Directory]:
        """Write the files of a run that is held in a ``with`` block; they replace the present ones.

        These are moved aside once all is written, and stay there if `keeps`.
        """
        with self._new_files(name) as directory:
            yield directory
            aside = self._move_aside(name)
        if aside and not keeps:
            shutil.rmtree(aside)

    @contextlib.contextmanager
    def _new_files(self, name: str) -> Iterator[Directory]:
        """Write the files of a run in a ``with`` block; they appear in its directory at the end."""
        path = self.run_path(name)
        make_directory(begun := temporary(self._free_aside(name)))
        directory = LocalDirectory(begun, self.key)
        for left in directory.list():  # by one that was interrupted
            directory.remove(left)
        try:
            yield directory
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(path)
            move(begun, path)
        except BaseException:
            shutil.rmtree(begun, ignore_errors=True)
            raise

    def copy_aside(self, name: str) -> str:
        """Copy all files of a run to ``aside``, durably; return the copy's path in the store."""
        new = self._free_aside(name)
        copy_directory(self.run_path(name), new)
        return os.path.relpath(new, self.path)

    def remove(self, name: str) -> None:
        """Remove all files of a run; after a crash they lie aside, or it is whole.

        Raises
        ------
        LockedError
            The run is held.
        """
        with self.alone(name, "removing"):
            shutil.rmtree(self._move_aside(name) or self.run_path(name))

    def _directory(self, name: str, *, holds: bool = False) -> Directory:
        """Return the files of a run; this is the place to choose another file system."""
        return LocalDirectory(self.run_path(name), self.key, holds=holds)

    def _lock(self, name: str, thread: int | None = None) -> Lock:
        self._prepare(name)
        _check_case(self.run_path(name))
        return Lock(self._lock_path(name), f"the run {name!r} in {self.path}", thread)

    def _lock_path(self, name: str) -> str:
        return os.path.join(self.path, LOCKS, encode_run(name))

    def _free_aside(self, name: str) -> str:
        aside = os.path.join(self.path, "aside")
        make_directory(aside)
        number = 1
        while os.path.lexists(new := os.path.join(aside, f"{encode_run(name)}~{number}")):
            number += 1
        return new

    def _move_aside(self, name: str) -> str | None:
        """Move the files of a held run to ``aside``; return their new path, if there are any."""
        old = self.run_path(name)
        if not exists(old) or is_empty(old):
            return None
        new = self._free_aside(name)
        move(old, new)
        return new

    def _prepare(self, name: str) -> None:
        make_directory(self.path)
        if is_empty(self.path):  # else others may have files there that belong in git
            with (
                contextlib.suppress(FileExistsError),
                new_private(os.path.join(self.path, ".gitignore")) as file,
            ):
                file.write("*\n")
        for part in (LOCKS, "runs"):
            make_directory(os.path.join(self.path, part), encode_run(name))


def _check_link(path: str) -> None:
    """Refuse a path that leads to nothing by a link, such as to a disk that is not mounted."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if not os.path.exists(path):
        try:
            there = os.readlink(path)
        except OSError:  # no link; the disk does not tell
            return
        raise StorageError(
            f"{path} is a link to {there}, which is not there.\n"
            "Mount the disk that it is on, or make that directory.\n"
            f"Or remove the link, so that trax makes {path} itself."
        )


def _check_case(path: str) -> None:
    """Refuse a name that leads to another run's files, on a file system that ignores case."""
    parent, name = os.path.split(path)
    other = os.path.join(parent, name.swapcase())
    with contextlib.suppress(FileNotFoundError):
        if other != path and os.path.samestat(os.lstat(path), os.lstat(other)):
            taken = [found for found in os.listdir(parent) if found.lower() == name.lower()]
            if taken and name not in taken:
                raise UsageError(
                    f"the run {decode_run(name)!r} cannot be told from {decode_run(taken[0])!r} "
                    f"in {parent}.\n"
                    "The file system there ignores case: give the run another name."
                )


def _may_have_increments(directory: Directory, name: FileName) -> bool:
    try:
        with open_log(directory, str(name)) as reader:
            return any(record.kind != NOTE for record in reader) or reader.flaw is not None
    except (Damage, Forged, NewerVersion):
        return True
