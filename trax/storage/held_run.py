"""One run that is held for writing: its lock, its writer, its journal, and the background sync."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

from trax import notices
from trax.errors import DurabilityError
from trax.storage.codec import Encoded
from trax.storage.context import encode_context
from trax.storage.filesystem import Directory
from trax.storage.journal import Journal, Place
from trax.storage.lock import Lock
from trax.storage.process import Repeated, process
from trax.storage.records import CONTEXT
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter

__all__ = ["Copying", "HeldRun"]

# Increments are on the disk "at most a second later", and the sync itself takes time.
_SYNC_SECONDS = 0.5
_CHECK_SECONDS = 0.1  # two calls of stat each time


class Copying(Protocol):
    """Copies a held run to another place, as it goes on."""

    def bring(self) -> None:
        """Bring the files from there, if they are not here; the run is locked."""

    def bring_outputs(self, lengths: Mapping[str, int]) -> None:
        """Bring output files that are missing here, or shorter than these lengths.

        Cut off those that were brought what comes after.
        """

    def begin(self, writer: RunWriter, directory: Directory, step: int) -> None:
        """Begin to copy, at a step; all that recovery changes in the files was done."""

    def check(self) -> None:
        """Raise the error for which the run cannot go on, if there is one."""

    def status(self) -> dict[str, Any]:
        """Return what the journal's status says of it."""

    def end(self) -> None:
        """Copy the rest; the writer is closed."""


class HeldRun:
    """A run that is held for writing, until it is closed.

    If `in_background`, the log is forced to the disk in the background, twice a second, and the
    files that are no longer needed are removed.

    Attributes
    ----------
    writer : RunWriter
        The writer of its files.
    aside : str or None
        The new directory of the files that were moved aside for a fresh start; None if there
        were none.
    pid : int
        The process ID of the holder.
    journal : Journal
        The journal of the run.
    ending : dict
        How this process leaves the run: what the journal has as its last status.
    notes_time : bool
        Whether the log has the times of increments.
    check_at : float
        The time on the monotonic clock from which on `check_place` is due.
    """

    def __init__(
        self,
        lock: Lock,
        directory: Directory,
        writer: RunWriter,
        *,
        in_background: bool,
        aside: str | None,
        copying: Copying | None = None,
    ) -> None:
        self.writer = writer
        self.aside = aside
        self.pid = os.getpid()
        self.check_at = 0.0
        self._clock = process.monotonic
        self._lock = lock
        self._directory = directory
        self._copying = copying
        self._has_warned = False
        self._ahead = 0  # steps that the run counts and that no log has
        self._meta: dict[str, Any] = {"replay_log": "unknown"}
        self._parts: dict[str, Encoded] = {}
        self.journal = Journal(directory)
        self.ending: dict[str, Any] = {"state": "stopped", "reason": "closed"}
        self.notes_time = True
        self._syncing = _repeat(self._sync) if in_background else None

    def take_over(self, reader: RunReader) -> None:
        """Read a run to its end, and continue there with other states; see `replace_state`."""
        found = reader.checkpoint
        if found:
            self._meta = found.meta
            self._parts = {
                name: part for name, part in found.parts.items() if name not in ("state", "result")
            }
            self._ahead = found.meta.get("step", 0) - reader.position.step
        reader.read()
        self._parts["context"] = Encoded(CONTEXT, encode_context(reader.context.items()), [])
        self.writer.adopt(reader)
        self.begin(self._step, resumed=reader.found)

    def begin(self, step: int, *, resumed: bool, **facts: Any) -> None:
        """Begin the journal: this process begins the run, or goes on with it at a step."""
        self.journal.begin(self.writer.run, step, resumed=resumed, logged=self.notes_time, **facts)
        self.copy(step)

    def bring_outputs(self, lengths: Mapping[str, int]) -> None:
        """Bring output files that are shorter than stored steps say, if the run is copied."""
        if self._copying is not None:
            self._copying.bring_outputs(lengths)

    def copy(self, step: int) -> None:
        """Begin to copy the run, if it is to be copied: the files are as they were recovered."""
        if self._copying is not None:
            self._copying.begin(self.writer, self._directory, step)

    @property
    def _step(self) -> int:
        return self._ahead + self.writer.position.step

    def replace_state(self, state: Encoded) -> None:
        """Store a checkpoint of another state, with the other parts of the one before.

        The state need not follow from the one before. The run's result is not kept.
        """
        step = self._step
        meta = {**self._meta, "step": step, "done": False, "generators": {}}
        self.writer.checkpoint(meta, {"state": state, **self._parts}, derived=False)

    def append(self, increment: bytes | Encoded) -> None:
        """Append one increment, and check now and then that it can be found."""
        if self._clock() >= self.check_at:
            self.check_place(self._step)
        self.writer.append(increment)

    def check_place(self, step: int) -> None:
        """Check that the files and the lock are still in their places, at a step of the run.

        It is called before an increment, so once a second its time is stored, and the status.

        Raises
        ------
        DurabilityError
            The files were removed, moved or replaced.
        """
        now = self._clock()
        self.check_at = now + _CHECK_SECONDS
        self.writer.check_place(step)
        if self._copying is not None:
            self._copying.check()
        if not self._has_warned and not self._lock.is_in_place():
            self._has_warned = True
            notices.warn(
                f"the lock {self._lock.path} was removed or replaced while its run is open, so "
                "another process can open the run as well. Let only one process run it"
            )
        if now >= self.journal.due:
            if self.notes_time:
                self.writer.note_time()
            self.journal.update(step, self.writer.place, **self._copying_status())

    def _copying_status(self) -> dict[str, Any]:
        return self._copying.status() if self._copying is not None else {}

    def _sync(self) -> None:
        self.writer.sync()
        self.writer.prune()

    def close(self, step: int | None = None) -> None:
        """Make everything durable and release the lock; in a fork of the process, do nothing.

        `step` is that of the run, if it counts steps that no log has.
        """
        if os.getpid() != self.pid:
            return
        place = self.writer.place
        step = self._step if step is None else step
        with ExitStack() as ends:  # each of these is done, whatever the others raise
            ends.callback(self._lock.release)
            ends.callback(self._directory.close)
            ends.callback(self._end_journal, step, place)
            if self._copying is not None:
                ends.callback(self._copying.end)
                ends.callback(self.journal.update, step, place, **self.ending)  # it is copied, too
            ends.callback(self.writer.close)
            if self._syncing is not None:
                self._syncing.stop()
            self.writer.prune()

    def _end_journal(self, step: int, place: Place) -> None:
        self.journal.end(step=step, place=place, **self.ending, **self._copying_status())


def _repeat(sync: Callable[[], None]) -> Repeated:
    try:
        return process.repeat(_SYNC_SECONDS, sync)
    except (RuntimeError, MemoryError) as error:
        raise DurabilityError(
            f"the thread that forces the log to the disk could not be started: {error}\n"
            "End other threads or processes, or raise their limit (ulimit -u); then run it again.\n"
            "Or give sync='always' or sync='os', which need no thread."
        ) from error
