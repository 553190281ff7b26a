"""The replica of a run that is held: brought, copied as it goes on, complete at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from trax import notices
from trax.display import count
from trax.errors import DurabilityError, StorageError
from trax.replica.attempts import WAITS, Attempts, Notices, patiently
from trax.replica.chain import Chain
from trax.replica.directory import in_store
from trax.replica.local_files import LocalFiles
from trax.replica.objects import Objects, check, full_url, open_objects
from trax.replica.rounds import Rounds
from trax.replica.takeover import Inherited, Takeover
from trax.storage.filesystem import Directory
from trax.storage.process import Repeated, process
from trax.storage.run_writer import RunWriter
from trax.storage.store import Store

__all__ = ["RunReplica", "replicated"]

_QUIET = 2.0  # seconds that the end takes before somebody is told


class RunReplica:
    """Copies a held run to a store of objects; see `Copying`.

    It takes the run over first. Then a thread makes the rounds, and at the end the caller's.

    Parameters
    ----------
    objects : Objects
        The store of objects.
    store : Store
        The local store.
    name : str
        The run's name.
    seconds : float
        The time between two rounds.
    waits : bool
        Whether an increment is acknowledged once it is in the replica.

    Attributes
    ----------
    is_stopping : callable
        Returns whether the run is to stop, so that nothing is waited for.
    admit : callable
        Called with the newest files here, before the run is claimed; if it raises, nothing is.
    """

    def __init__(
        self, objects: Objects, store: Store, name: str, seconds: float, *, waits: bool = False
    ) -> None:
        self.is_stopping: Callable[[], bool] = lambda: False
        self.admit: Callable[[], None] = lambda: None
        self._chain = Chain(objects, name, store.key)
        self._store = store
        self._seconds = seconds
        self._waits = waits
        how = WAITS if waits else "goes on, but is not copied for now to"
        self._attempts = Attempts(Notices(name, objects.url, how))
        self._inherited = Inherited(self._chain)
        self._rounds: Rounds | None = None
        self._thread: Repeated | None = None
        self._ending = False
        self._opened_at = process.monotonic()

    def bring(self) -> None:
        """Take the run over; see `Takeover.run`."""
        self._inherited = Takeover(self._chain, self._store, self.admit).run()

    def bring_outputs(self, lengths: Mapping[str, int]) -> None:
        """Bring output files that were lost here; see `Inherited.bring_outputs`."""
        self._inherited.bring_outputs(self._store.path, lengths)

    def begin(self, writer: RunWriter, directory: Directory, step: int) -> None:
        """Begin to copy, at a step; all that recovery changes in the files was done."""
        name = self._chain.name
        if self._inherited.brought is not None:
            url = self._chain.objects.url
            notices.info(f"{name}: {count(step, 'step')} came from {url}")
        files = LocalFiles(writer, directory, self._store.path)
        self._rounds = Rounds(self._inherited, files, self._attempts)
        self._attempts.refuse = writer.refuse
        writer.may_remove = self._rounds.may_remove
        if self._waits:
            writer.acknowledge_by(self.wait)
        try:
            self._thread = process.repeat(self._seconds, self._tick)
        except (RuntimeError, MemoryError) as error:
            raise DurabilityError(
                f"the thread that copies {name!r} could not be started: {error}\n"
                "End other threads or processes, or raise their limit (ulimit -u).\n"
                "Then run it again."
            ) from error

    @property
    def _begun(self) -> Rounds:
        assert self._rounds is not None
        return self._rounds

    def _tick(self) -> None:
        """Do a round; then build an image, if one is due, with rounds between."""
        rounds = self._begun
        if not self._attempts.is_due:
            return
        rounds.round()
        due = process.monotonic() + self._seconds
        while not (self._ending or self._attempts.pause) and rounds.build():
            if process.monotonic() >= due:
                rounds.round()
                due = process.monotonic() + self._seconds

    def wait(self) -> None:
        """Return once all that is forced is in the replica.

        Raises
        ------
        LockedError
            Another writer has claimed the run.
        StorageError
            The run is to stop, and the store of objects is away.
        """
        name, url = self._chain.name, self._chain.objects.url
        begun = process.monotonic()
        while not self._begun.round():
            self.check()
            if self.is_stopping() and self._attempts.is_late(begun):
                raise StorageError(
                    f"{name} stops, and its last step is not in {url}\n"
                    "It is on the disk here, and is copied when it is run again here."
                )
            self._attempts.sleep()

    def check(self) -> None:
        """Raise the error for which the run cannot go on, if there is one."""
        self._attempts.check()

    def status(self) -> dict[str, Any]:
        """Return what the journal's status says of it."""
        since = self._rounds.copied_at if self._rounds is not None else self._opened_at
        return {
            "replica": self._chain.objects.url,
            "lag": round(process.monotonic() - since, 1),
        }

    def end(self) -> None:
        """Copy the rest; give up if the store of objects stays away.

        Raises
        ------
        LockedError
            Another writer has claimed the run.
        """
        if self._thread is None:
            return
        self._ending, self._attempts.notices.how = True, WAITS
        with self._telling_that_it_waits():
            self._thread.stop()
            self._thread = None
            if not self._begun.complete():
                notices.warn(
                    f"{self._chain.name}: {self._chain.objects.url} lacks the newest steps, which "
                    "are on this disk alone; they are copied when it is run again here, or by "
                    "trax push if nothing of the run is left there"
                )

    @contextlib.contextmanager
    def _telling_that_it_waits(self) -> Iterator[None]:
        """Say so if a block takes long; a request that hangs holds this thread up."""
        told: Repeated | None = None
        with contextlib.suppress(RuntimeError, MemoryError):
            told = process.repeat(_QUIET, self._attempts.notices.waiting)
        try:
            yield
        finally:
            if told is not None:
                told.stop()


def replicated(
    url: str, store: Store, name: str, *, seconds: float, waits: bool = False
) -> RunReplica:
    """Return the replica of a run below a URL, once the store of objects there was checked.

    Raises
    ------
    StorageError
        It cannot be used.
    """
    objects = patiently(name, partial(_opened, url, store.path))
    return RunReplica(objects, store, name, seconds, waits=waits)


def _opened(url: str, store: str) -> Objects:
    if full_url(url) == store:
        raise in_store(store)  # which is not there before its first run
    objects = open_objects(url)
    check(objects)
    return objects
