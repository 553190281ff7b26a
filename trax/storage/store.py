"""One directory of runs: where each one's files and lock are.

::

    .trax/
    ├── .gitignore
    ├── locks/NAME          who holds the run
    ├── runs/NAME/          its checkpoints and logs
    └── aside/NAME~1/       what was moved aside for a fresh start, or copied for a repair
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from trax.errors import StorageError, UsageError
from trax.storage.checkpoint import read_meta
from trax.storage.filenames import FileName, decode_run, encode_run, store_path
from trax.storage.filesystem import (
    Directory,
    LocalDirectory,
    copy_directory,
    exists,
    make_directory,
    move_directory,
    new_private,
    storage_errors,
)
from trax.storage.held_run import HeldRun
from trax.storage.keys import find_key
from trax.storage.lock import Lock
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter
from trax.storage.schema import Sync

__all__ = ["Store"]


class Store:
    """A directory of runs.

    Parameters
    ----------
    traxdir : str or os.PathLike or None
        The directory; None means ``$TRAX_DIR``, and ``.trax`` where that is not set.
    """

    def __init__(self, traxdir: str | os.PathLike[str] | None = None) -> None:
        self.path = store_path(traxdir)
        self._key = find_key(self.path)

    def run_path(self, name: str) -> str:
        """Return where the files of a run are, or would be."""
        return os.path.join(self.path, "runs", encode_run(name))

    def files(self, name: str) -> list[str]:
        """Return the names of the files that a run has, and an empty list for no run."""
        try:
            return sorted(os.listdir(self.run_path(name)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StorageError(
                f"the run {name!r} cannot be read: {error}. Check that you may read "
                f"{self.run_path(name)}, and that the disk is there, and try again."
            ) from error

    def look(self, name: str) -> tuple[int, list[str]]:
        """Return what is another whenever files of a run came or went, or all were replaced."""
        files = self.files(name)
        with contextlib.suppress(OSError):
            return os.stat(self.run_path(name)).st_ino, files
        return 0, files

    def sizes(self, name: str) -> list[int]:
        """Return what is another whenever something was added to a file of a run."""
        path = self.run_path(name)
        try:
            return [os.stat(os.path.join(path, text)).st_size for text in self.files(name)]
        except OSError:  # one has just been removed
            return []

    def recover(self, name: str) -> RunReader | None:
        """Begin to read a run; None where nothing is stored. No lock is needed for it."""
        path = self.run_path(name)
        with storage_errors("reading", path):
            if exists(self.path):
                make_directory(self.path)  # or say why it is none
            if not exists(path):
                return None
            _check_case(path)
            return RunReader(self._directory(name), name)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Directory]:
        """Read the files of a run for the length of a ``with`` block; no lock is needed for it."""
        with storage_errors("reading", self.run_path(name)):
            make_directory(self.path)  # or say why it is none
            yield self._directory(name)

    def peek(self, name: str) -> dict[str, Any]:
        """Return the meta record of the newest checkpoint; empty where there is none that holds."""
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
        keep: int,
        report: Callable[[str], None],
        fresh: bool = False,
        deferred: bool = False,
    ) -> HeldRun:
        """HeldRun a run for writing; for a fresh start, move its files aside first.

        Raises
        ------
        LockedError
            Where it is held elsewhere.
        """
        encode_run(name)
        with storage_errors("opening", self.path):
            lock = self._lock(name)
            try:
                aside = self._move_aside(name) if fresh else None
                make_directory(self.run_path(name))
                directory = self._directory(name)
                writer = RunWriter(
                    directory, name, sync=sync, keep=keep, report=report, deferred=deferred
                )
                return HeldRun(lock, writer, in_background=sync == "interval", aside=aside)
            except BaseException:
                lock.release()
                raise

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[Directory]:
        """HeldRun the files of a run, to mend them, for the length of a ``with`` block.

        Raises
        ------
        LockedError
            Where it is held elsewhere.
        """
        with storage_errors("repairing", self.run_path(name)):
            lock = self._lock(name)
            try:
                yield self._directory(name)
            finally:
                lock.release()

    def copy_aside(self, name: str) -> str:
        """Copy all files of a run to ``aside``, durably; return where they are, in the store."""
        new = self._free_aside(name)
        copy_directory(self.run_path(name), new)
        return os.path.relpath(new, self.path)

    def _directory(self, name: str) -> Directory:
        """Return the files of a run; another place for them would be chosen here."""
        return LocalDirectory(self.run_path(name), self._key)

    def _lock(self, name: str) -> Lock:
        self._prepare()
        _check_case(self.run_path(name))
        path = os.path.join(self.path, "locks", encode_run(name))
        return Lock(path, f"the run {name!r} in {self.path}")

    def _free_aside(self, name: str) -> str:
        aside = os.path.join(self.path, "aside")
        make_directory(aside)
        number = 1
        while os.path.lexists(new := os.path.join(aside, f"{encode_run(name)}~{number}")):
            number += 1
        return new

    def _move_aside(self, name: str) -> str | None:
        """Move the files of a run that is held to ``aside``; return where they are now."""
        old = self.run_path(name)
        if not exists(old) or not os.listdir(old):
            return None
        new = self._free_aside(name)
        move_directory(old, new)
        return new

    def _prepare(self) -> None:
        make_directory(self.path)
        for part in ("locks", "runs"):
            make_directory(os.path.join(self.path, part))
        with (
            contextlib.suppress(FileExistsError),
            new_private(os.path.join(self.path, ".gitignore")) as file,
        ):
            file.write("*\n")


def _check_case(path: str) -> None:
    """Refuse a name that leads to the files of another run, on a file system that is case-blind."""
    where, name = os.path.split(path)
    other = os.path.join(where, name.swapcase())
    with contextlib.suppress(FileNotFoundError):
        if other != path and os.path.samestat(os.lstat(path), os.lstat(other)):
            taken = [found for found in os.listdir(where) if found.lower() == name.lower()]
            if taken and name not in taken:
                raise UsageError(
                    f"the run {decode_run(name)!r} cannot be told from {decode_run(taken[0])!r}, "
                    f"which is in {where}: the file system there does not tell upper case from "
                    "lower. Give it another name."
                )
