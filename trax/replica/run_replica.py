"""The replica of a run that is held: brought, copied as it goes on, complete at the end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from trax import notices
from trax.display import count
from trax.errors import DurabilityError, LockedError, StorageError
from trax.replica.chain import Chain, Moved
from trax.replica.copier import Copier
from trax.replica.entry import Data, Piece, output_name
from trax.replica.local_files import LocalFiles, contains, newest_log, output_path
from trax.replica.marker import Marker, read_marker, write_marker
from trax.replica.objects import Away, Objects, Refused, check, open_objects
from trax.replica.restore import bring, bring_output
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory, storage_errors
from trax.storage.mutex import Mutex
from trax.storage.process import Repeated, process
from trax.storage.run_writer import RunWriter
from trax.storage.store import Store

__all__ = ["RunReplica", "replicated"]

T = TypeVar("T")

_TRIES = 4  # at opening, of a store that is away
_PAUSE = 0.5  # seconds before the second try; each later one waits twice as long
_LONGEST = 60.0  # seconds between two tries
_SHORT = 1.0  # seconds between two tries while somebody waits
_GRACE = 20.0  # seconds without any success, after which the last round is given up
_QUIET = 2.0  # seconds that the end takes before somebody is told


class RunReplica:
    """Copies a held run to a store of objects; see `Copying`.

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
        self._objects = objects
        self._store = store
        self._name = name
        self._seconds = seconds
        self._waits = waits
        self._chain = Chain(objects, name, store.key)
        self._head: Data | None = None
        self._pieces: list[Piece] = []
        self._outputs: dict[str, int] = {}  # to these lengths the replica is right
        self._restored = False
        self._brought: dict[str, int] = {}  # output files, and the lengths that they have there
        self._is_rewound = False  # and the replica has later steps
        self._copier: Copier | None = None
        self._thread: Repeated | None = None
        self._directory: Directory | None = None
        self._working = Mutex()
        self._failure: LockedError | None = None
        self._fail: Callable[[LockedError], None] = lambda error: None  # noqa: ARG005
        self._ending = False
        self._has_looked = False  # at the end, if all is there
        self._copied_at = process.monotonic()  # all that was stored then is in the replica
        self._pause = 0.0  # before the next try; 0 unless the last one failed
        self._retry_at = 0.0

    # -- opening ---------------------------------------------------------------------------

    def bring(self) -> None:
        """Claim the run; restore its files unless those here have all that the replica has.

        Raises
        ------
        StorageError
            The store of objects cannot be used.
        CorruptionError, UntrustedError
            The replica is damaged, or somebody else has written it.
        """
        _patiently(self._name, self._bring)

    def _bring(self) -> None:
        with contextlib.suppress(Moved):  # then only a claim lets it be read
            last, data, _ = self._chain.peek()
            if not self._chain.before:
                self._check_place()
            if data is not None:
                self._update(last, data)
            self.admit()
        self._announce()
        self._chain.claim()
        last, data, claims = self._chain.look_back()
        if data is None:
            return
        image, _ = self._chain.read(data.since)
        self._pieces = image.pieces if isinstance(image, Data) else []
        with contextlib.suppress(StorageError):  # what a kill has left can stay
            self._chain.sweep(data.swept, data.since, [one.key for one in self._pieces])
            data = replace(data, swept=data.since)
        self._head = replace(data, claims=[*data.claims, *claims, self._chain.epoch])
        self._update(last, data)
        marker = self._marker()
        self._is_rewound = marker.rewound
        if marker.rewound:
            self._head = replace(self._head, run="", history=0)
        is_own = data.writer in {*marker.writers, *marker.seen}
        self._outputs = {} if is_own else dict(marker.outputs)
        if data.cut or self._has_other_outputs(data):
            # It gets an image of what is here. Names of logs that were cut off are used again.
            self._head = replace(self._head, run="")

    def _check_place(self) -> None:
        """Refuse a place that is empty although the run was copied there."""
        if self._marker().url == self._objects.url:
            raise Refused(
                f"{self._objects.url} has nothing of {self._name!r}, which was copied there\n"
                "Is its disk mounted, and was the bucket emptied? Nothing was run.\n"
                f"To begin the replica anew, call trax push {self._objects.url}."
            )

    def _has_files(self) -> bool:
        return any(map(FileName.parse, self._store.files(self._name)))

    def _update(self, last: str, data: Data) -> None:
        """Replace the files here, unless they go on from what the replica has.

        Those that were brought before the claim are not kept.
        """
        if self._goes_on(last, data):
            return
        marker = self._marker()
        keeps = self._has_files() and not self._restored
        self._brought |= bring(self._chain, last, data, self._store, keeps=keeps)
        self._restored = True
        if keeps:
            is_own = last in marker.writers
            why = "lack steps that it has" if is_own else "were not the last to write there"
            notices.warn(
                f"{self._name}: the files here {why}, so it goes on from {self._objects.url}; they "
                f"are kept in {self._store.path}/aside"
            )

    def _goes_on(self, last: str, data: Data) -> bool:
        """Return whether the files here go on from what the replica has."""
        marker = self._marker()
        return marker.trusts(last, data) and (marker.rewound or self._contains(data))

    def _marker(self) -> Marker:
        if not self._has_files():
            return Marker()
        with self._store.reading(self._name) as directory:
            return read_marker(directory)

    def _has_other_outputs(self, data: Data) -> bool:
        """Return whether output files there may end with what was cut off here since.

        There is a log here that they do not have, so another process may have written to them.
        """
        if self._outputs or not any(map(output_name, data.files)):
            return False
        with self._store.reading(self._name) as directory:
            log = newest_log(directory)
        return log is not None and log.generation > data.newest

    def _announce(self) -> None:
        """Store who will write from here, before it does."""
        if self._has_files():
            with self._store.reading(self._name) as directory:
                marker = read_marker(directory)
                writers = [*marker.writers, self._chain.writer]
                write_marker(directory, replace(marker, writers=writers, behind=True))

    def _contains(self, data: Data) -> bool:
        with self._store.reading(self._name) as directory:
            return contains(directory, data)

    def _mark(self, directory: Directory, *, behind: bool = True) -> None:
        """Store who writes the replica from this directory, and whether it may lack anything."""
        head = self._copier.head if self._copier is not None and not behind else None
        before = read_marker(directory)
        pushed = dict(before.pushed)
        if before.url not in ("", self._objects.url):
            pushed[before.url] = before.writers
        marker = Marker(
            self._objects.url,
            [self._chain.writer],
            behind,
            self._outputs,
            self._is_rewound,
            pushed=pushed,
            copied=head.newest if head else 0,
            history=head.lineage if head else "",
        )
        write_marker(directory, marker)

    def bring_outputs(self, lengths: Mapping[str, int]) -> None:
        """Bring output files that were lost here, if what the replica has of them is right.

        Those that came with the run have no more than these lengths then.
        """
        for path, length in self._brought.items():
            with contextlib.suppress(OSError):  # whoever cuts output files back tells of it
                if os.stat(path).st_size == length > lengths.get(path, length):
                    os.truncate(path, lengths[path])
        if self._head is None or not self._head.run:
            return
        for file, there in self._head.whole.items():
            path = output_path(self._store.path, output_name(file) or "")
            length = lengths.get(path, 0)
            present = os.stat(path).st_size if os.path.exists(path) else 0
            if output_name(file) and present < length <= min(there, self._outputs.get(file, there)):
                bring_output(self._chain, self._head, file, self._store.path)
                notices.warn(
                    f"{path} lacked output of the run, which came from {self._objects.url}"
                )

    # -- copying ---------------------------------------------------------------------------

    def begin(self, writer: RunWriter, directory: Directory, step: int) -> None:
        """Begin to copy, at a step; all that recovery changes in the files was done."""
        if self._restored:
            notices.info(f"{self._name}: {count(step, 'step')} came from {self._objects.url}")
        self._begin(LocalFiles(writer, directory, self._store.path), directory)
        writer.may_remove = self._may_remove
        self._fail = writer.refuse
        if self._waits:
            writer.acknowledge_by(self.wait)
        self._copied_at = process.monotonic()
        try:
            self._thread = process.repeat(self._seconds, self._tick)
        except (RuntimeError, MemoryError) as error:
            raise DurabilityError(
                f"the thread that copies {self._name!r} could not be started: {error}\n"
                "End other threads or processes, or raise their limit (ulimit -u).\n"
                "Then run it again."
            ) from error

    def _begin(self, files: LocalFiles, directory: Directory) -> None:
        if self._head is not None:
            self._head = self._without_cut(self._head, files)
        with storage_errors("writing to", directory.path):
            self._mark(directory)
        self._directory = directory
        self._copier = Copier(self._chain, files, self._head, self._pieces)

    def _without_cut(self, head: Data, files: LocalFiles) -> Data:
        """Return what the replica has, without bytes that were cut off output files here."""
        for file in filter(output_name, head.files):
            size = files.size_of(file)
            self._outputs[file] = min(size, self._outputs.get(file, size))
        lengths = {
            file: min(length, self._outputs.get(file, length))
            for file, length in head.files.items()
        }
        rewritten = dict(head.rewritten)
        for file, length in lengths.items():
            if length < head.files[file]:
                rewritten[file] = min(length, rewritten.get(file, length))
        return replace(head, files=lengths, rewritten=rewritten)

    def _may_remove(self, name: FileName) -> bool:
        """Return whether a file is superseded in the replica, or is never copied."""
        return name.kind == "checkpoint" or name.generation < self._working_copier.base

    @property
    def _working_copier(self) -> Copier:
        assert self._copier is not None
        return self._copier

    def _tick(self) -> None:
        """Do a round; then build an image, if one is due, with rounds between."""
        if process.monotonic() < self._retry_at or self._failure is not None:
            return
        self._try(self._round)
        due = process.monotonic() + self._seconds
        while not (self._ending or self._pause) and self._try(self._working_copier.build):
            if process.monotonic() >= due:
                self._try(self._round)
                due = process.monotonic() + self._seconds

    def _round(self) -> bool:
        """Put what is forced; return whether an image is in the making."""
        begun, copier = process.monotonic(), self._working_copier
        copier.round()
        while not copier.is_begun and copier.build():
            pass
        self._copied_at = begun
        if self._is_rewound and copier.is_begun:
            self._is_rewound = False
            assert self._directory is not None
            self._mark(self._directory)
        return copier.is_making

    def _advance(self) -> bool:
        """Do the next thing of the last round; return whether there is more."""
        return self._working_copier.build() or self._finish()

    def _finish(self) -> bool:
        """Do a round, and look once if all is there; return whether there is more to be copied."""
        if self._round():
            return True
        looks, self._has_looked = not self._has_looked, True
        return looks and self._working_copier.renew()

    def _try(self, action: Callable[[], bool]) -> bool:
        """Do something with the store of objects; return False, too, if it fails."""
        try:
            with self._working:
                more = action()
                self._tell_again()
                self._tell_loss()
                self._pause = 0.0
                return more
        except LockedError as error:
            self._failure = error
            self._fail(error)
        except Exception as error:  # noqa: BLE001  # nobody else would hear of it in the background
            self._pause = min(max(2 * self._pause, _PAUSE), _LONGEST)
            self._retry_at = process.monotonic() + self._pause
            self._tell(error)
        return False

    def _tell(self, error: Exception) -> None:
        if self._is_first("away"):
            cause = str(error).partition("\n")[0]
            waits = self._waits or self._ending
            how = "waits for" if waits else "goes on, but is not copied for now to"
            notices.warn(f"{self._name} {how} {self._objects.url}: {cause}")

    def _tell_again(self) -> None:
        """Say once that copying goes on, after it was said that it does not."""
        was_told = (self._chain.writer, "away") in process.said
        if self._pause and was_told and self._is_first("again"):
            notices.info(f"{self._name} is copied to {self._objects.url} again")

    def _tell_loss(self) -> None:
        """Say once that objects were gone, when all is there again: nobody else has the run."""
        copier = self._working_copier
        whole = copier.has_lost and copier.is_begun and not copier.is_making
        if whole and self._is_first("loss"):
            notices.warn(
                f"{self._objects.url} had lost objects of {self._name!r}, as if somebody had "
                "emptied it; all is copied there anew"
            )

    def _is_first(self, kind: str) -> bool:
        """Return whether this is the first notice of its kind."""
        said = self._chain.writer, kind
        is_first = said not in process.said
        process.said.add(said)
        return is_first

    def wait(self) -> None:
        """Return once all that is forced is in the replica.

        Raises
        ------
        LockedError
            Another writer has claimed the run.
        StorageError
            The run is to stop, and the store of objects is away.
        """
        begun = process.monotonic()
        while not self._try(lambda: self._round() or True):
            self.check()
            if self.is_stopping() and process.monotonic() - begun > _GRACE:
                raise StorageError(
                    f"{self._name} stops, and its last step is not in {self._objects.url}\n"
                    "It is on the disk here, and is copied when it is run again here."
                )
            time.sleep(min(self._pause, _SHORT))

    def check(self) -> None:
        """Raise the error for which the run cannot go on, if there is one."""
        if self._failure is not None:
            raise self._failure

    def status(self) -> dict[str, Any]:
        """Return what the journal's status says of it."""
        lag = process.monotonic() - self._copied_at
        return {"replica": self._objects.url, "lag": round(lag, 1)}

    # -- the end ---------------------------------------------------------------------------

    def end(self) -> None:
        """Copy the rest; give up if the store of objects stays away.

        Raises
        ------
        LockedError
            Another writer has claimed the run.
        """
        if self._thread is None:
            return
        self._ending = True
        with self._telling_that_it_waits():
            self._thread.stop()
            self._thread = None
            try:
                self.check()
                if not self._copy_rest():
                    notices.warn(
                        f"{self._name}: {self._objects.url} lacks the newest steps, which are on "
                        "this disk alone; they are copied when it is run again here"
                    )
            finally:
                self._copier = None

    @contextlib.contextmanager
    def _telling_that_it_waits(self) -> Iterator[None]:
        """Say so if a block takes long; a request that hangs holds this thread up."""
        told: Repeated | None = None
        with contextlib.suppress(RuntimeError, MemoryError):
            told = process.repeat(_QUIET, self._tell_that_it_waits)
        try:
            yield
        finally:
            if told is not None:
                told.stop()

    def _tell_that_it_waits(self) -> None:
        if self._is_first("waiting"):
            notices.warn(
                f"{self._name} waits for {self._objects.url} to take its newest steps, for up to a "
                "minute without an answer; they are on this disk, and the next call here copies "
                "what is missing"
            )

    def _copy_rest(self) -> bool:
        """Copy what is missing; return whether all is there, or the store stays away."""
        succeeded = process.monotonic()
        action: Callable[[], bool] = self._finish
        while self._try(action) or self._pause:
            self.check()
            if not self._pause:
                succeeded, action = process.monotonic(), self._advance
            elif process.monotonic() - succeeded < _GRACE:
                time.sleep(min(self._pause, _SHORT))
            else:
                break
        self.check()
        assert self._directory is not None
        with contextlib.suppress(OSError):
            self._mark(self._directory, behind=bool(self._pause))
        return not self._pause


def replicated(
    url: str, store: Store, name: str, *, seconds: float, waits: bool = False
) -> RunReplica:
    """Return the replica of a run below a URL, once the store of objects there was checked.

    Raises
    ------
    StorageError
        It cannot be used.
    """
    return RunReplica(_patiently(name, partial(_opened, url)), store, name, seconds, waits=waits)


def _opened(url: str) -> Objects:
    objects = open_objects(url)
    check(objects)
    return objects


def _patiently(name: str, action: Callable[[], T]) -> T:
    """Return what `action` returns; if the store of objects is away, try again a few times."""
    for pause in (*(_PAUSE * 2**tries for tries in range(_TRIES - 1)), None):
        try:
            return action()
        except Refused as error:
            raise StorageError(str(error)) from error.__cause__
        except Away as error:
            if pause is None:
                cause = str(error).partition("\n")[0]
                raise StorageError(
                    f"the replica of {name!r} cannot be reached: {cause}\n"
                    "Nothing was run. Try again when the store of objects is there.\n"
                    "Or run it without a replica: TRAX_REPLICA= and no replica=."
                ) from error
            time.sleep(pause)
    raise AssertionError
