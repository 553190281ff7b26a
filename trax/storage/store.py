"""One directory of runs: where each one's files and lock are.

::

    .trax/
    ├── .gitignore
    ├── locks/NAME          who holds the run
    ├── runs/NAME/          its checkpoints and logs
    └── aside/NAME~1/       what was moved aside for a fresh start
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any, Literal

from trax.errors import StorageError
from trax.storage.background import Ticker
from trax.storage.checkpoint import read_meta
from trax.storage.files import LocalDirectory, make_directory, storage_errors, sync_directory
from trax.storage.frames import Damage, Forged, NewerVersion
from trax.storage.generations import Generations
from trax.storage.keys import find_key
from trax.storage.lock import Lock
from trax.storage.names import FileName, encode_run
from trax.storage.recovery import Recovery

__all__ = ["Hold", "Store", "Sync"]

Sync = Literal["always", "interval", "os"]

# "At most a second behind" includes the time that the sync itself takes.
_SYNC_SECONDS = 0.5


class Hold:
    """A run that is held for writing, until it is closed.

    Attributes
    ----------
    generations : Generations
        Its files.
    aside : str or None
        Where those are that were moved aside for it.
    """

    def __init__(self, lock: Lock, generations: Generations, sync: Sync, aside: str | None) -> None:
        self.generations = generations
        self.aside = aside
        self._lock = lock
        self.pid = os.getpid()
        self._ticker = Ticker(_SYNC_SECONDS, generations.sync) if sync == "interval" else None

    def close(self) -> None:
        """Make everything durable and let others hold the run."""
        if os.getpid() != self.pid:
            return
        try:
            if self._ticker is not None:
                self._ticker.stop()
        finally:
            try:
                self.generations.close()
            finally:
                self._lock.release()


class Store:
    """A directory of runs.

    Parameters
    ----------
    traxdir : str or os.PathLike or None
        The directory; None means ``$TRAX_DIR``, and ``.trax`` where that is not set.
    """

    def __init__(self, traxdir: str | os.PathLike[str] | None = None) -> None:
        if traxdir is None:
            traxdir = os.environ.get("TRAX_DIR") or ".trax"
        self.path = os.path.realpath(os.path.expanduser(os.fspath(traxdir)))
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
            raise StorageError(f"the run {name!r} cannot be read: {error}") from error

    def recover(self, name: str) -> Recovery | None:
        """Begin to read a run; None where nothing is stored. No lock is needed for it."""
        path = self.run_path(name)
        with storage_errors("reading", path):
            if os.path.lexists(self.path):
                make_directory(self.path)  # or say why it is none
            if not os.path.lexists(path):
                return None
            return Recovery(LocalDirectory(path, self._key), name)

    def peek(self, name: str) -> dict[str, Any]:
        """Return the meta record of the newest checkpoint; empty where there is none that holds."""
        path = self.run_path(name)
        found = sorted(filter(None, map(FileName.parse, self.files(name))))
        newest = [file for file in found if file.kind == "checkpoint"][-1:]
        try:
            return read_meta(LocalDirectory(path, self._key), newest[0]) if newest else {}
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
    ) -> Hold:
        """Hold a run for writing; for a fresh start, move its files aside first.

        Raises
        ------
        LockedError
            Where it is held elsewhere.
        """
        encoded = encode_run(name)
        with storage_errors("opening", self.path):
            self._prepare()
            lock_path = os.path.join(self.path, "locks", encoded)
            lock = Lock(lock_path, f"the run {name!r} in {self.path}")
            try:
                aside = self._move_aside(name) if fresh else None
                make_directory(self.run_path(name))
                directory = LocalDirectory(self.run_path(name), self._key)
                generations = Generations(
                    directory, name, sync=sync, keep=keep, report=report, deferred=deferred
                )
                return Hold(lock, generations, sync, aside)
            except BaseException:
                lock.release()
                raise

    def _move_aside(self, name: str) -> str | None:
        """Move the files of a run that is held to ``aside``; return where they are now."""
        old = self.run_path(name)
        if not os.path.isdir(old) or not os.listdir(old):
            return None
        aside = os.path.join(self.path, "aside")
        make_directory(aside)
        number = 1
        while os.path.lexists(new := os.path.join(aside, f"{encode_run(name)}~{number}")):
            number += 1
        os.rename(old, new)
        sync_directory(aside)
        sync_directory(os.path.dirname(old))
        return new

    def _prepare(self) -> None:
        make_directory(self.path)
        for part in ("locks", "runs"):
            make_directory(os.path.join(self.path, part))
        with contextlib.suppress(FileExistsError), open(f"{self.path}/.gitignore", "x") as file:
            file.write("*\n")
