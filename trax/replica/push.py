"""Copies runs that nobody writes to a replica, whole; a run's own files stay as they are."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace

from trax.errors import CorruptionError, StorageError, UsageError
from trax.replica.attempts import Attempts, Notices
from trax.replica.chain import Chain
from trax.replica.entry import Claim, Data
from trax.replica.local_files import LocalFiles, Look, output_path
from trax.replica.marker import Marker, read_marker, write_marker
from trax.replica.pull import Transfer, compare
from trax.replica.rounds import Rounds
from trax.replica.seam import Objects
from trax.replica.takeover import Takeover
from trax.storage.context import Kind
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory
from trax.storage.messages import not_stored
from trax.storage.process import process
from trax.storage.run_reader import RunReader
from trax.storage.store import Store
from trax.tracking.truncate import extents

__all__ = ["objection", "push"]


def push(objects: Objects, store: Store, name: str, *, replaces: bool = False) -> Transfer:
    """Copy a run to a replica, unless all of it is there.

    A push that was interrupted goes on.

    Raises
    ------
    UsageError
        The replica has something else, or another machine wrote it last, and it is not to be
        replaced. Nothing was changed.
    LockedError
        A process holds the run.
    NotFoundError
        There is no such run here.
    CorruptionError
        The run is damaged, here or there.
    StorageError
        The store of objects is away.
    """
    if not any(map(FileName.parse, store.files(name))):
        raise not_stored(name, store.path)
    with store.locked(name), store.reading(name) as directory:
        stored = _Stored(store, directory, name)
        return _Push(objects, store, name, directory).push(stored, replaces=replaces)


def objection(objects: Objects, store: Store, name: str) -> str:
    """Return the reason for which a run should not be copied to a replica; empty if there is none.

    Either there are steps in the replica that the run lacks, or another machine wrote it last.
    """
    chain = Chain(objects, name, store.key)
    last, data, _ = chain.peek()
    return _objection(chain, store, last, data)


def _objection(chain: Chain, store: Store, last: str, data: Data | None) -> str:
    if not last:
        return ""
    with store.reading(chain.name) as directory:
        marker = read_marker(directory)
    if data is None:
        newest, _ = chain.read(chain.before[-1])
        if last in marker.writers or not isinstance(newest, Claim):  # it was removed there
            return ""
        return f"it is claimed {_writer(chain, newest.number)}"
    found = compare(store, chain.name, chain.objects.url, last, data)
    if marker.trusts(last, data) and (marker.rewound or found == "all"):
        return ""
    by = _writer(chain, data.epoch, data)
    if found == "all":
        return f"it was written last {by}; all of that is here"
    if found == "part":
        return f"it is newer, written last {by}"
    return f"it has steps that are not here, or is another run, written last {by}"


def _writer(chain: Chain, epoch: int, data: Data | None = None) -> str:
    """Return who has put data, or a claim, and when."""
    claim, _ = chain.read(epoch)
    assert isinstance(claim, Claim)
    when = time.localtime((data or claim).time)
    return f"by process {claim.pid} on {claim.host} ({time.strftime('%Y-%m-%d %H:%M:%S', when)})"


class _Stored:
    """A run that nobody writes, as a source for a replica."""

    def __init__(self, store: Store, directory: Directory, name: str) -> None:
        reader = RunReader(directory, name)
        reader.read()
        if reader.broken:
            damaged = str(next(iter(reader.broken)))
            raise CorruptionError(
                f"the run {name!r} is damaged: {directory.path}/{damaged}\n"
                "Nothing was copied.\nCall trax repair first.",
                f"{directory.path}/{damaged}",
            )
        self.run = reader.run
        self.step = reader.step
        self._directory = directory
        self._last = reader.last
        self._end = reader.torn.offset if reader.torn else None
        self.outputs = {key.name for key in reader.context if key.kind is Kind.OUTPUT}
        self._paths = {output_path(store.path, output): output for output in self.outputs}
        found = extents(store.path, reader.context)
        self.lengths = {output: found[path].length for path, output in self._paths.items()}
        for path, output in self._paths.items():
            if not os.path.exists(path) or os.stat(path).st_size < self.lengths[output]:
                raise CorruptionError(
                    f"{path} lacks output of the run {name!r}\n"
                    "Nothing was copied.\nPut the file back as it was.",
                    path,
                )

    def sync(self) -> None:
        """Force the output files and the logs."""
        logs = [name for name in self._directory.list() if name.startswith("log-")]
        for path in [*self._paths, *(os.path.join(self._directory.path, log) for log in logs)]:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                process.force(fd)
            finally:
                os.close(fd)

    def forced(self) -> tuple[int, int | None]:
        """Return the newest log, and the end of its last whole increment."""
        return self._last, self._end


class _StoredFiles(LocalFiles):
    """The files of a run that nobody writes: of output files what stored steps have written."""

    def __init__(self, stored: _Stored, directory: Directory, store: str) -> None:
        super().__init__(stored, directory, store)
        self._lengths = stored.lengths

    def _output_size(self, name: str) -> int:
        return min(super()._output_size(name), self._lengths.get(name, 0))


class _Push(Takeover):
    """Copies all of a run at once; if the run has another replica, that stays its own."""

    def __init__(self, objects: Objects, store: Store, name: str, directory: Directory) -> None:
        super().__init__(Chain(objects, name, store.key), store, admit=lambda: None)
        self._directory = directory
        self._before = read_marker(directory)
        self._now = self._before
        self._is_own = self._before.url in ("", objects.url)

    def push(self, stored: _Stored, *, replaces: bool) -> Transfer:
        """Copy what is missing."""
        last, data, _ = self._chain.peek()
        reason = _objection(self._chain, self._store, last, data)
        if reason and not replaces:
            raise self._refusal(reason)
        files = _StoredFiles(stored, self._directory, self._store.path)
        if data is not None and not reason and _is_copied(files.look(), data):
            self._note_copied(data)
            return _outcome("up to date", stored, data)
        if data is not None and reason:
            self._now = replace(self._before.seeing(last, data), rewound=True)
        return _outcome("pushed", stored, self._copy(files))

    def _copy(self, files: LocalFiles) -> Data:
        name, url = self._chain.name, self._chain.objects.url
        attempts = Attempts(Notices(name, url, how=""))
        rounds = Rounds(self.run(), files, attempts, is_own=self._is_own)
        if not rounds.complete():
            raise StorageError(
                f"{name!r} was not copied to {url}: {attempts.cause}\n"
                "Try again: it goes on from there."
            )
        if not self._is_own:
            with contextlib.suppress(OSError):
                write_marker(self._directory, self._before.pushing(url, [self._chain.writer]))
        assert rounds.head is not None
        return rounds.head

    def _note_copied(self, data: Data) -> None:
        """Store that the replica has all: a process may have ended before it could say so."""
        if self._before.behind and self._before.url == self._chain.objects.url:
            write_marker(self._directory, self._before.complete(data))

    def _refusal(self, reason: str) -> UsageError:
        return UsageError(
            f"{self._chain.name!r} was not copied to {self._chain.objects.url}: {reason}\n"
            "To have its steps here, call trax pull.\n"
            "To replace it by the run that is here, give --yes."
        )

    def _marker(self) -> Marker:
        return self._now

    def _check_place(self) -> None:
        """Begin a replica that is gone anew: that is what a person calls for."""

    def _bring(self, last: str, data: Data) -> None:  # noqa: ARG002  # nothing is brought
        raise self._refusal("another process has written it just now")

    def _announce(self) -> None:
        before, url, writer = self._before, self._chain.objects.url, self._chain.writer
        if self._is_own:
            marker = before.announcing(writer)
        else:
            marker = before.pushing(url, [*before.pushed.get(url, []), writer])
        write_marker(self._directory, marker)


def _is_copied(look: Look, data: Data) -> bool:
    known = data.whole
    newer = {file: length for file, length in look.files.items() if known.get(file, 0) < length}
    older = [name for name in map(FileName.parse, newer) if name]
    is_whole = len(older) == len(newer) and all(one.generation < data.base for one in older)
    return is_whole and look.generation <= data.base and not data.cut


def _outcome(status: str, stored: _Stored, data: Data) -> Transfer:
    return Transfer(data.name, status, stored.step, sum(data.whole.values()))
