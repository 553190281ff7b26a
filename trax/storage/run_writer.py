"""Writes one run to the disk: append, checkpoint, prune.

Strategy: a generation is a checkpoint and the log after it, numbered from 1. A writer never appends
to a file that it did not create. It creates the log of the next generation, whose header declares
the end of the log before. That creation is exclusive, so two writers cannot both continue, however
they came about; and nothing is ever appended after a torn end. A generation has a checkpoint only
if one was taken. Recovery needs the newest valid checkpoint and the logs from it on. So the next
log can take increments while the checkpoint before it is still being written.
"""

from __future__ import annotations

import contextlib
import os
import platform
import secrets
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import cloudpickle

from trax._version import __version__
from trax.errors import DurabilityError, LockedError, StorageError
from trax.keep import Keep
from trax.storage.checkpoint import write_checkpoint
from trax.storage.codec import Encoded
from trax.storage.context import TIME, Key, Kind, decode_context, encode_context
from trax.storage.filenames import GENERATIONS, FileName
from trax.storage.filesystem import Directory, Output, copy_file
from trax.storage.journal import NOWHERE, Place
from trax.storage.log import LogWriter, as_os_error, open_log
from trax.storage.mutex import Mutex
from trax.storage.process import process
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.retention import Describer, count_kept, removable
from trax.storage.run_reader import LogPosition, RunReader

__all__ = ["RunWriter"]

Write = Callable[[Mapping[str, Encoded]], int]

_LARGE = 1 << 20  # bytes; such a checkpoint is not left on the disk when it is superfluous
_TIME = struct.Struct("<d")
_ALL = 1 << 62  # bytes; no file is longer
_ROOM = (
    "Make room or fix the disk, then run it again.\n"
    "Every increment that was acknowledged is stored."
)


class _Turn(NamedTuple):
    """The turn from one generation to the next, at a checkpoint.

    `last`, `position` and `log` are those before the turn. `failed` is the error after which the
    log before cannot be trusted. `waiting` is the error to raise while only the checkpoint leads to
    the next log. Both can be None.
    """

    last: int
    position: LogPosition
    log: LogWriter | None
    derived: bool
    failed: OSError | None
    waiting: OSError | None

    @property
    def reason(self) -> OSError | None:
        """The error with which the next log refuses increments until its checkpoint counts."""
        return self.failed or self.waiting


class RunWriter:
    """The files of one run, held for writing.

    Parameters
    ----------
    directory : Directory
        The run's files.
    name : str
        The run's name.
    sync : {"always", "interval", "os"}
        The time at which increments are forced to the disk: before each is acknowledged, when
        `sync` is called (every half a second in the background), or never. Checkpoints are always
        forced.
    keep : int or Keep
        The number of good checkpoints to keep, or a policy.
    report : callable
        Called with a one-line notice for each flaw that was put right.
    deferred : bool
        Whether `append` never forces anything. Under ``"always"`` the caller must then call
        `force` before it acknowledges an increment.
    prunes : bool
        Whether a checkpoint removes the files that it makes superfluous. Otherwise only a large one
        does, and `prune` must be called now and then.

    Attributes
    ----------
    run : str
        The run's identity, 32 hexadecimal digits: drawn when the run begins, and stored in every
        file from then on.
    append : callable
        Appends one increment, see `LogWriter.append`; it changes with the log.
    before_sync : callable
        Forces to the disk the files that the log refers to, such as files outside of the store.
        They must be there before the log is. Raises `OSError`.
    suspect : bool
        Whether a background sync failed, so that a new checkpoint must replace the log.
    on_suspect : callable
        Called when that happens, in the background.
    outputs : set of str
        The names of the run's output files, as its context has them.
    may_remove : callable
        Returns whether a file that is not needed may be removed yet.
    """

    def __init__(
        self,
        directory: Directory,
        name: str,
        *,
        sync: str,
        keep: int | Keep,
        report: Callable[[str], None],
        deferred: bool = False,
        prunes: bool = True,
    ) -> None:
        self._directory = directory
        self._name = name
        self._sync = sync
        self._keep = keep
        self._describe = Describer(directory)
        self._report = report
        self.run = process.new_run_id()
        self._deferred = deferred
        self._prunes = prunes
        self._start = LogPosition(0, 0)  # the beginning of the log in `_log`
        self._last = 0  # the generation that the next log continues
        self._begun = 0  # the newest generation of which this process has begun the log, or read it
        self._highest = 0
        self._nonce = secrets.token_hex(4)  # the beginning of the nonces of its logs
        self._origin = "create"
        self._good: list[int] = []  # checkpoints that this process has seen to be whole
        self._stored: list[FileName] = []  # the files that there may be
        self._log: LogWriter | None = None
        self.append: Callable[..., int] = self._append_first
        self.before_sync: Callable[[], None] = lambda: None
        self.suspect = False
        self.on_suspect: Callable[[], None] = lambda: None
        self.outputs: set[str] = set()
        self.may_remove: Callable[[FileName], bool] = lambda name: True  # noqa: ARG005
        self._acknowledge: Callable[[], None] | None = None
        self._pid = os.getpid()
        # Only the caller appends; this guards against the background sync.
        self._switching = Mutex()
        self._pruning = Mutex()

    @property
    def position(self) -> LogPosition:
        """The present position of the run."""
        if self._log is None:
            return self._start
        return LogPosition(self._start.step + self._log.count, self._log.chain)

    @property
    def place(self) -> Place:
        """The end of the log that is being written."""
        log = self._log
        return NOWHERE if log is None else Place(self._last, log.end, log.chain)

    def forced(self) -> tuple[int, int | None]:
        """Return the newest log of the run, and its forced length; None if all of it is final."""
        with self._switching:
            return self._last, None if self._log is None else self._log.durable

    @property
    def log_bytes(self) -> int:
        """The length in bytes of the log that is being written; 0 if there is none."""
        return self._log.end if self._log is not None else 0

    def adopt(self, reader: RunReader) -> None:
        """Continue at the end that a reader has reached, and put right the flaws that it noted."""
        if reader.run:
            self.run = reader.run
        self._start = reader.position
        self._last, self._highest = reader.last, reader.highest
        self._begun = reader.highest
        self._good = [reader.base] if reader.checkpoint and not reader.is_recreated else []
        self._add_outputs(reader.context)
        try:
            self._set_aside(reader)
            self._cut_logs(reader)
            self._directory.sync()
        except OSError as error:
            raise StorageError(
                f"cleaning up the run's files failed in {self._directory.path}: {error}\n{_ROOM}"
            ) from error

    def begin_again(self) -> None:
        """Let the next checkpoint begin the run anew; what was adopted has no increment.

        Until that checkpoint counts, the run is the one that was adopted.
        """
        self._start, self._last, self._good = LogPosition(0, 0), 0, []

    def _set_aside(self, reader: RunReader) -> None:
        """Rename the files that do not count."""
        directory = self._directory
        origin = "create" if reader.is_recreated else "the checkpoint before it"
        for name, damage in reader.broken.items():
            directory.rename(str(name), name.broken)
            self._report(
                f"{directory.path}/{name} is damaged: {damage} (offset {damage.offset}). It is "
                f"kept as {name.broken}; the state comes from {origin} and the logs."
            )
        # The first log of a run that never began comes last: without it, the others are no run.
        for name in sorted(reader.unborn, reverse=True):
            directory.rename(str(name), name.torn(0))
            directory.sync()
        names = directory.list()
        self._stored = [*filter(None, map(FileName.parse, names))]
        for text in filter(FileName.is_temporary, names):
            directory.remove(text)

    def _cut_logs(self, reader: RunReader) -> None:
        """Cut the last log to its valid part, and force it and the logs that it continues."""
        directory = self._directory
        torn = reader.torn
        if torn:
            aside = torn.name.torn(torn.offset)
            with contextlib.suppress(FileNotFoundError):
                directory.remove(aside)
            copy_file(directory, str(torn.name), directory, aside, torn.offset)
        for name, forced in reader.unforced.items():
            # The next log declares this end as its beginning, so it must be on the disk first.
            length = torn.offset if torn and torn.name == name else _ALL
            directory.cut(str(name), length, forced)
        if torn:
            name, offset, size, flaw, *_ = torn
            self._report(
                f"{directory.path}/{name} was torn at offset {offset} ({flaw}): the {size} bytes "
                f"from there are not a whole increment and are kept as {name.torn(offset)}."
            )

    def _append_first(self, increment: bytes | Encoded, context: bytes = b"") -> int:
        self.begin_log()
        return self.append(increment, context)

    def acknowledge_by(self, acknowledge: Callable[[], None]) -> None:
        """Let each increment wait for a function once it was forced; `sync` is ``"always"``."""
        self._acknowledge = acknowledge
        if self._log is not None and not self._deferred:
            self.append = self._append_acknowledged

    def _append_acknowledged(self, increment: bytes | Encoded, context: bytes = b"") -> int:
        assert self._log is not None
        assert self._acknowledge is not None
        end = self._log.append(increment, context)
        self._acknowledge()
        return end

    def _add_outputs(self, context: Iterable[Key]) -> None:
        self.outputs |= {key.name for key in context if key.kind is Kind.OUTPUT}

    def note(self, context: bytes) -> None:
        """Store a context that belongs to no increment, durably; see `LogWriter.note`."""
        self._check_process()  # in a fork the lock below may be held forever
        if self._log is None:
            self.begin_log()
        assert self._log is not None
        self._force_the_rest()
        with self._switching:
            self._log.note(context)
        self._add_outputs(decode_context(context))

    def copy_note(self, context: bytes) -> None:
        """Store a context of another run that belongs to no increment, as an increment is."""
        if self._log is None:
            self.begin_log()
        assert self._log is not None
        if context:
            self._log.copy_note(context)

    def note_time(self) -> None:
        """Note the time before an increment, if a log is open; nothing depends on it."""
        if self._log is not None:
            self._log.note_unforced(encode_context([(TIME, _TIME.pack(process.time()))]))

    def _force_the_rest(self) -> None:
        try:
            self.before_sync()
        except OSError as error:
            raise DurabilityError(
                f"the files that the log in {self._directory.path} refers to could not be forced "
                f"to the disk: {error}\n{_ROOM}"
            ) from error

    def begin_log(self) -> None:
        """Begin a log of this process, before the first increment does.

        From then on all is known to have been forced that the log before it has, and its files.
        """
        try:
            self._open_log()
        except OSError as error:
            raise DurabilityError(
                f"a log could not be created in {self._directory.path}: {error}\n{_ROOM}"
            ) from error

    def checkpoint(
        self,
        meta: dict[str, Any],
        parts: Mapping[str, Encoded],
        *,
        derived: bool,
        note: bytes = b"",
        leave: Callable[[Write], int] | None = None,
    ) -> int:
        """Store a checkpoint of the present position; return its size in bytes.

        `derived` tells whether the checkpoint before and its log lead to the same state. If not,
        they cannot replace this one. `note` is a context to note in the new log, once the
        checkpoint counts.

        If the new log can take increments before that, `leave` is called with a function that takes
        the parts and does the rest. It may leave that to another thread, as long as no other
        checkpoint is stored meanwhile, and returns the size as well.

        Raises
        ------
        StorageError
            The checkpoint does not count. The one before it and the logs are valid, and increments
            can still be appended.
        DurabilityError
            The same, and the log cannot be trusted either.
        """
        self.check_place(meta.get("step"))
        turn = self._end_log(derived=derived)
        try:
            if not turn.last:
                self._origin = "checkpoint"
            try:
                log = self._open_log(derived=derived, failure=turn.reason)
            except OSError as error:
                raise self._failed(turn, error) from (turn.failed or error)
            write = partial(self._write, turn, log, self._describe_checkpoint(log), meta, note)
            if leave is None or turn.reason or note:  # no other thread may write to the log
                return write(parts)
            return leave(write)
        except BaseException:
            self._undo(turn)
            raise

    def _write(
        self,
        turn: _Turn,
        log: LogWriter,
        fields: dict[str, Any],
        meta: dict[str, Any],
        note: bytes,
        parts: Mapping[str, Encoded],
    ) -> int:
        """Write the checkpoint of a turn, let its log take increments, and prune."""
        name = FileName("checkpoint", fields["generation"])
        self._stored.append(name)
        try:
            size = write_checkpoint(self._directory, name, fields, meta, parts)
        except OSError as error:
            raise self._failed(turn, error) from (turn.failed or error)
        if turn.reason:
            log.trust()
        if note or not turn.derived:
            with self._switching:
                log.attest(note)
        if turn.failed:
            self._report(
                f"{self._directory.path}: syncing the log failed ({turn.failed}); a new checkpoint "
                "and a new log take its place."
            )
        self._good = [*self._good, name.generation][-count_kept(self._keep) :]
        if not turn.last:  # a run that begins with it needs nothing of what was there before
            self._remove_unneeded(keep=1)
        elif self._prunes or size >= _LARGE:
            self.prune()
        return size

    def _failed(self, turn: _Turn, error: OSError) -> StorageError:
        """Return the error for a checkpoint that the disk refuses."""
        kind = DurabilityError if turn.failed else StorageError
        return kind(f"a checkpoint could not be stored in {self._directory.path}: {error}\n{_ROOM}")

    def _end_log(self, *, derived: bool) -> _Turn:
        """Make the log durable before the next one continues it."""
        self._force_the_rest()
        failed = self._sync_log()
        is_needed = not self._last or not derived
        waiting = OSError("its checkpoint was not completed") if is_needed else None
        return _Turn(self._last, self.position, self._log, derived, failed, waiting)

    def _describe_checkpoint(self, log: LogWriter) -> dict[str, Any]:
        """Return the header fields of the checkpoint of the generation of `log`."""
        fields = self._fields(self._last)
        fields |= {"step": self._start.step, "chain": f"{self._start.chain:016x}"}
        fields |= {"log": f"{log.chain:016x}"}
        return fields | {"written": process.time(), "cloudpickle": cloudpickle.__version__}

    def _undo(self, turn: _Turn) -> None:
        """Return to the generation before if only the checkpoint leads to the new log."""
        if turn.waiting and not turn.failed and self._log is not turn.log:
            self._abandon_unless_stored(turn)
        if not self._last:
            self._origin = "create"

    def force(self) -> None:
        """Force the appended increments to the disk, if `append` leaves that to its caller.

        Raises
        ------
        DurabilityError
            The disk refused; the increment is appended, but no more can be.
        """
        self._force_the_rest()
        with self._switching:
            if self._log is not None:
                self._log.force()
        if self._acknowledge is not None:
            self._acknowledge()

    def sync(self) -> None:
        """Force the appended increments to the disk; a failure shows at the next append."""
        with self._switching:
            if self._log is not None and self._log.failure is None:
                # Increments appended meanwhile may refer to files that were not forced.
                end = self._log.end
                try:
                    self.before_sync()
                    self._log.sync(end)
                except BaseException as error:  # noqa: BLE001  # no one else hears of it here
                    if not isinstance(error, OSError):
                        self._log.fail(as_os_error(error))
                    self.suspect = True
                    self.on_suspect()

    def refuse(self, error: LockedError) -> None:
        """Refuse every later increment with an error: the run is not this process's any more."""
        with self._switching:
            if self._log is not None:
                self._log.fail(error)

    def prune(self) -> None:
        """Remove the files that are no longer needed; the disk may refuse until the next time."""
        self._remove_unneeded(self._keep)

    def close(self) -> None:
        """Force the appended increments to the disk and close the files.

        Raises
        ------
        DurabilityError
            The disk refused; everything still survives the death of the process.
        """
        with self._switching:
            log, self._log = self._log, None
            if log is None:
                return
            try:
                try:
                    # Neither the log of a parent process nor one that is gone is forced.
                    if not isinstance(log.failure, (LockedError, DurabilityError)):
                        self._check_place(log.file, None)
                        if self._sync != "os":
                            self.before_sync()
                            log.sync()
                            log.sync()  # and its mark
                finally:
                    log.close()
            except OSError as error:
                raise DurabilityError(
                    f"the log in {self._directory.path} could not be forced to the disk: {error}\n"
                    "Run it again to check the stored run."
                ) from error

    def check_place(self, step: int | None = None) -> None:
        """Check that the files are still where they were made; `step` is that of the run.

        A file that was removed or moved accepts increments all the same, and nobody finds them.

        Raises
        ------
        DurabilityError
            They were removed, moved or replaced. Every later increment is refused.
        LockedError
            This process is a fork of the one that holds the run.
        """
        self._check_process()
        self._check_place(self._directory if self._log is None else self._log.file, step)

    def _check_place(self, place: Directory | Output, step: int | None) -> None:
        if place.is_in_place():
            return
        self._check_taken_over()
        at = "" if step is None else f" at step {step:,}"
        gone = DurabilityError(
            f"{self._directory.path} is gone{at}: its files were removed, moved or replaced\n"
            "What was stored there is gone with them; a loop's state is still in memory, as "
            "run.state.\n"
            "If they were moved, move them back and run it again: it resumes at the last step that "
            "they have.\n"
            "If they were removed, put them back from a copy; without them it begins a new run."
        )
        if self._log is not None:
            self._log.fail(gone)
        raise gone

    def _open_log(self, *, derived: bool = True, failure: Exception | None = None) -> LogWriter:
        """Begin the next generation at the present position."""
        self._check_process()
        position = self.position
        generation = self._highest + 1
        fields = self._fields(generation)
        fields |= {
            "after": [self._last, position.step, f"{position.chain:016x}"],
            "origin": self._origin,
            "derived": derived,
            "sync": self._sync,
            "boot": self._directory.boot,
            "written": process.time(),
            "nonce": self._nonce + secrets.token_hex(4),
        }
        if generation >= GENERATIONS:
            raise StorageError(
                f"{self._directory.path} has a file of generation {self._highest}, and there can "
                "be no later one.\n"
                "trax did not make that file: move it away, and run it again."
            )
        self._highest = generation  # even if that fails: its number is never used again
        file = FileName("log", generation)
        self._stored.append(file)
        always = self._sync == "always" and not self._deferred
        try:
            log = LogWriter(self._directory, str(file), fields, always=always, failure=failure)
        except FileExistsError:
            raise self._taken_over(generation, str(file)) from None
        self._check_newest(generation, log)
        is_acknowledged = self._acknowledge is not None and not self._deferred
        append = self._append_acknowledged if is_acknowledged else log.append
        with self._switching:
            # No call between these: an interrupt comes before all of them or after.
            old = self._log
            self._log = log
            self.append = append
            self._start = position
            self._last = self._begun = generation
            self.suspect = False
        if old is not None:
            with contextlib.suppress(OSError):
                old.close()
        return log

    def _check_newest(self, generation: int, log: LogWriter) -> None:
        """Give up a new log if another process has continued the run."""
        # That process may have pruned its own log of this generation, or have taken a number with
        # which this process has failed: then the creation did not.
        try:
            for name in sorted(self._files(), key=lambda name: -name.generation):
                is_later = name.generation > generation
                if is_later or (
                    self._begun < name.generation < generation and self._is_of_another(name)
                ):
                    raise self._taken_over(generation, str(name))
        except BaseException:
            with contextlib.suppress(OSError):
                log.close()
            with contextlib.suppress(OSError):
                self._directory.remove(str(FileName("log", generation)))
            raise

    def _is_of_another(self, name: FileName) -> bool:
        """Whether another process has begun a log; not if it has only begun to create it."""
        try:
            with open_log(self._directory, str(name)) as log:
                return not str(log.fields["nonce"]).startswith(self._nonce)
        except NewerVersion:
            return True
        except (OSError, Damage, Forged):
            return False

    def _check_taken_over(self) -> None:
        """Raise the error for a run that another process continues, if there is such a one."""
        with contextlib.suppress(OSError):  # the directory is gone as well
            newest = max(self._files(), key=lambda name: name.generation, default=None)
            if newest and newest.generation > self._last:
                error = self._taken_over(newest.generation, str(newest))
                if self._log is not None:
                    self._log.fail(error)
                raise error

    def _taken_over(self, generation: int, name: str) -> LockedError:
        self._highest = generation - 1  # so that every later attempt fails as well
        return LockedError(
            f"the run {self._name!r} in {self._directory.path} was taken over by another process, "
            f"which began {name}.\n"
            "It continues from the state that it found; later increments of this process are not "
            "part of the run.\n"
            "Let only one process run it."
        )

    def _abandon_unless_stored(self, turn: _Turn) -> None:
        """Abandon a log that nothing leads to, unless its checkpoint is stored after all."""
        assert self._log is not None
        try:
            if str(FileName("checkpoint", self._last)) in self._directory.list():
                self._directory.sync()
                self._log.trust()
            else:
                self._abandon_log(turn)
        except OSError as error:
            self._log.fail(error)

    def _abandon_log(self, turn: _Turn) -> None:
        """Abandon a log that nothing continues; the next increment begins another one."""
        with self._switching:
            log, self._log = self._log, None
        if log is not None:
            with contextlib.suppress(OSError):
                log.close()
        self._last, self._start = turn.last, turn.position
        self.append = self._append_first

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise LockedError(
                f"the run {self._name!r} is held by process {self._pid}, and this one is a fork of "
                "it.\n"
                "Let that process continue the run, or open another run here."
            )

    def _sync_log(self) -> OSError | None:
        """Force the log to the disk; return the error if that fails."""
        if self._log is None:
            return None
        with self._switching:
            try:
                self._log.sync()
            except OSError as error:
                return error
        return None

    def _fields(self, generation: int) -> dict[str, Any]:
        return {
            "run": self.run,
            "name": self._name,
            "generation": generation,
            "trax": __version__,
            "python": platform.python_version(),
        }

    def _remove_unneeded(self, keep: int | Keep) -> None:
        with self._pruning:
            log = self._log
            if log is None or not log.file.is_in_place():
                return  # another process may have continued the run
            with contextlib.suppress(OSError):  # the next checkpoint tries again
                for name in removable(self._stored, self._good, keep, self._describe):
                    if not self.may_remove(name):
                        continue
                    with contextlib.suppress(FileNotFoundError):
                        self._directory.remove(str(name))
                    self._stored.remove(name)

    def _files(self) -> Iterator[FileName]:
        yield from filter(None, map(FileName.parse, self._directory.list()))
