"""Output files that are part of a run: their lengths and digests are stored with every step.

Strategy: an output file only grows. Before a step is logged, its output is flushed, and the file's
length goes into the step's context, with a digest of all that was written. Before a log is forced
to the disk, the files are. So a file always has at least the output of the stored steps, and on
resuming it is cut back to exactly that. Before anything is written to a file for the first time,
its length is stored durably.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import IO, Any

from trax import notices
from trax.errors import DivergedError, DurabilityError, LockedError, UsageError
from trax.storage.context import Key, Kind, encode_context, parts_of
from trax.storage.filesystem import leads_to, sync_directory
from trax.storage.process import forked_error, in_child, process
from trax.storage.reductions import refuse
from trax.tracking.output_digest import Extent, RunningDigest
from trax.tracking.tracker import Parts
from trax.tracking.truncate import (
    accepts,
    changed_error,
    check_owner,
    is_ours,
    lock,
    set_aside,
)

__all__ = ["OutputFiles", "open_again"]

_MODES = {letter + kind for letter in "wax" for kind in ("", "t", "b")}


_write = io.FileIO.write


class _Raw(io.FileIO):
    """A file without a buffer, open for appending, whose digest follows what is written."""

    def __init__(self, output: _Output, digest: RunningDigest, opener: Any) -> None:
        super().__init__(output.path, "a", opener=opener)
        self._output = weakref.proxy(output)
        self._digest = digest

    def write(self, data: Any, /) -> int:
        digest = self._digest
        if digest.lock.is_owned():
            raise UsageError(
                f"a signal handler writes to {self.name} in the middle of a write.\n"
                "Let it set a flag instead."
            )
        with digest.lock:
            if self._output.is_behind:
                same: int = self._output.compare(memoryview(data).cast("B"))
                return same
            done = _write(self, data)
            if done:
                view = memoryview(data)
                digest.update(view if done == view.nbytes else view.cast("B")[:done])
        return done


class _Output:
    """One file, as something that `Tracker` can track."""

    seen = ()
    known = None  # never equal to `seen`: the length is read after every step

    def __init__(
        self,
        path: str,
        fd: int,
        digest: RunningDigest,
        *,
        always: bool,
        left: int,
        is_behind: bool,
        diverged: Callable[[str], DivergedError],
    ) -> None:
        self.path = path
        self.left = left  # bytes that are there already, and that the loop will write again
        self.is_behind = is_behind
        self.difference: DivergedError | None = None  # once the run has gone another way
        self._diverged = diverged
        self.file: IO[Any] | None = None
        self._raw: io.FileIO | None = None
        self._refusal: LockedError | None = None
        self._fd = fd
        self._digest = digest
        self._length = -1  # when `_parts` was made
        self._parts: Parts = ()
        self._always = always
        self._forced = -1
        self._failure: OSError | None = None
        _open.add(self)

    def parts(self) -> Parts:
        """Flush the file and return its extent."""
        if self.difference is not None:
            raise self.difference
        try:
            if self.file is not None and not self.file.closed:
                self.file.flush()
            if self._always or self._failure is not None:
                self.sync()
            with self._digest.lock:  # another thread may be writing
                length = self._size()
                if length == self._length:
                    return self._parts
                parts = self._digest.parts(self._fd, length)
            if parts is None:
                self._length = -1
                raise self._changed_error()
            self._parts, self._length = parts, length
            return parts
        except OSError as error:
            if self._refusal is not None:
                raise self._refusal from None
            raise DurabilityError(
                f"the step's output in {self.path} could not be stored: {error}\n"
                "The step is not stored either.\n"
                "Make room or repair the disk, and run it again."
            ) from error

    def _size(self) -> int:
        """Return the length up to which the loop has come."""
        return os.lseek(self._fd, 0, os.SEEK_END) - self.left  # quicker than fstat

    def compare(self, data: memoryview) -> int:
        """Compare what a step that is run again writes with what is there; the lock is held.

        If the run has gone another way, nothing is written: files are closed with what is buffered.
        """
        if self.difference is not None:
            return len(data)
        digest = self._digest
        there = os.pread(self._fd, len(data), digest.length)
        if len(data) > self.left or there != data:
            raise self._diverged(f"other output to {self.path} from offset {digest.length:,} on")
        digest.update(data)
        self.left -= len(data)
        return len(data)

    def open(self, mode: str, **options: Any) -> IO[Any]:
        """Open the file to write at its end."""
        open(os.devnull, mode, **options).close()  # raises if the options do not fit
        self._raw = _Raw(self, self._digest, options.pop("opener", None))
        self.file = _wrap(self._raw, mode, **options)
        return self.file

    def mark_checkpoint(self) -> None:
        """Let later extents name the checkpoint before the one that was just stored."""
        if self.file is not None and not self.file.closed:
            self._digest.mark_checkpoint()
            self._length = -1

    def disown(self) -> None:
        """Drop what is buffered, and refuse more: in a fork it is the parent's file."""
        self._refusal = forked_error()
        if self._raw is not None:
            # Of the layers above it none flushes into a closed file. Their own methods would wait
            # for locks, which another thread of the parent may have held.
            self._raw.close()
        self.close()
        self._fd = -1

    def is_at(self, path: str) -> bool:
        """Return whether a path leads to this file."""
        return leads_to(path, self._fd)

    def check_place(self) -> None:
        """Raise `DurabilityError` if the open file is no longer found under its path."""
        is_open = self.file is not None and not self.file.closed
        if is_open and not self.is_at(self.path):
            raise DurabilityError(
                f"the output file {self.path} was removed, moved or replaced while it was open\n"
                "The output since then is lost with it.\n"
                "If it was moved, move it back and run it again: it is cut back to the last stored "
                "step.\n"
                "An output file must stay in its place until the run is done."
            )

    def _changed_error(self) -> DurabilityError:
        return DurabilityError(
            f"the output file {self.path} was cut or changed by others while it was open\n"
            "It lacks output of stored steps, so this step is not stored.\n"
            "Put the file back as it was, and run it again.\n"
            "Or call trax.repair(...) with the run's name: it goes back to the newest step whose "
            "output is all there."
        )

    def sync(self) -> None:
        """Force the file to the disk; once that has failed, fail every time."""
        if self._failure is not None:
            raise self._failure
        length = os.fstat(self._fd).st_size
        if length != self._forced:
            try:
                process.force(self._fd)
            except OSError as error:
                self._failure = error
                raise
            self._forced = length

    @property
    def is_finished(self) -> bool:
        """Whether the file was closed and all of it is on the disk."""
        if self.file is None or not self.file.closed:
            return False
        try:
            return self._forced == os.fstat(self._fd).st_size and self._failure is None
        except OSError:  # `parts` will raise it, before a step is stored
            return False

    def end(self, parts: Parts | None) -> None:
        """Close the file and, if the stored length is given, cut it back to that."""
        with contextlib.suppress(OSError):
            if self.file is not None:
                self.file.close()
        if parts is None:
            return
        with contextlib.suppress(OSError):
            extent = Extent.decode(parts)
            if extent is not None and os.fstat(self._fd).st_size > extent.length:
                os.ftruncate(self._fd, extent.length)

    def close(self) -> None:
        """Release the file, so that other runs can write to it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            try:  # noqa: SIM105  # no interrupt comes between the lines above and the call
                os.close(fd)
            except OSError:  # closed all the same, and forced before
                pass
        _open.discard(self)


# A forked child has copies of the descriptors, which share the locks: it closes its copies.
_open: weakref.WeakSet[_Output] = weakref.WeakSet()


@in_child
def _disown() -> None:
    for output in list(_open):
        output.disown()


def _continued(fd: int, path: str, extent: Extent) -> RunningDigest:
    """Return the running digest of a file at a stored extent."""
    digest = RunningDigest.read(fd, extent)
    if digest is not None:
        return digest
    if accepts(path, extent):
        return RunningDigest(extent.length, extent.length, 0)
    raise changed_error(path, extent.since, extent.length)


def _wrap(
    raw: io.FileIO,
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,  # noqa: ARG001  # a path is always closed
) -> Any:
    """Put the layers on a file that the built-in `open` would, with options that it accepts."""
    if buffering == 0:
        return raw
    buffer = io.BufferedWriter(raw, buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE)
    if "b" in mode:
        return buffer
    text: Any = io.TextIOWrapper(buffer, encoding, errors, newline, line_buffering=buffering == 1)
    text.mode = mode
    return text


_Opened = tuple[str, str, dict[str, Any]]  # path, mode, other options

_loading: ContextVar[Callable[..., IO[Any] | None] | None] = ContextVar("loading", default=None)


def open_again(path: str, mode: str, options: dict[str, Any], is_closed: bool) -> Any:
    """Open an output file of the run that is being loaded; for a reader it is only a path.

    Pickles refer to this function.
    """
    find = _loading.get()
    return Path(path) if find is None else find((path, mode, options), is_closed=is_closed)


class OutputFiles:
    """The output files of an open run.

    `recovered` is the context that the run was recovered to. If the loop is to run the last of the
    stored steps again, it is that before them, and `expected` is that after them. If `always`,
    every step is forced to the disk. `aside` has the run that this one replaces, and gets what its
    files had, if they are begun anew. `note` stores a context at once. `track` starts to track a
    file, and `untrack` stops it, or returns False if it refuses.

    Attributes
    ----------
    diverged : callable
        Returns the error for output that differs when a step is run again.
    """

    def __init__(
        self,
        store: str,
        recovered: Mapping[Key, bytes],
        *,
        always: bool,
        aside: str | None,
        note: Callable[[bytes], None],
        track: Callable[[Key, Any, Parts], None],
        untrack: Callable[[Key], bool],
        expected: Mapping[Key, bytes] | None = None,
    ) -> None:
        self._store = store
        self._recovered = recovered
        self._expected = expected
        self._always = always
        self._aside = aside
        self._has_told = False
        self._note = note
        self._track = track
        self._untrack = untrack
        self.diverged: Callable[[str], DivergedError] = DivergedError
        self._pid = os.getpid()
        self._outputs: dict[Key, _Output] = {}
        self._files: weakref.WeakKeyDictionary[IO[Any], _Opened] = weakref.WeakKeyDictionary()

    def open(self, path: str | os.PathLike[str], mode: str, **options: Any) -> IO[Any]:
        """Open a file of this run to write to it; see `trax.open`."""
        if os.getpid() != self._pid:
            raise forked_error()
        process.check_output(path)
        if mode not in _MODES:
            raise UsageError(
                f"trax.open() only appends: mode is one of {sorted(_MODES)}, not {mode!r}.\n"
                "To read a file, use the built-in open()."
            )
        path = os.fspath(path)
        if not isinstance(path, str):
            raise UsageError(f"trax.open() takes a path as text, not {path!r}")
        output = self._outputs.get(key := self._key(path))
        if output is None:
            output = self._begin(key, os.path.abspath(path), mode)
        else:
            self._check_reopened(output, mode)
        file = output.open("a" + mode[1:], **options)
        self._files[file] = path, "a" + mode[1:], options
        return file

    def reductions(self, others: Mapping[type, Any]) -> dict[type, Any]:
        """Return reductions of the files of this run, for pickles of what refers to them.

        `others` has those of other files of the same types.
        """
        kinds = (io.TextIOWrapper, io.BufferedWriter, _Raw)
        return {kind: partial(self._reduce, others.get(kind, refuse)) for kind in kinds}

    def _reduce(self, other: Callable[[IO[Any]], Any], file: IO[Any]) -> Any:
        opened = self._files.get(file)
        return other(file) if opened is None else (open_again, (*opened, file.closed))

    @contextlib.contextmanager
    def loading(self, *, opens: bool = True) -> Iterator[None]:
        """Let the files in what is loaded be files of this run: opened again, or those open now."""
        token = _loading.set(self._open_again if opens else self._find_open)
        try:
            yield
        finally:
            _loading.reset(token)

    def _open_again(self, opened: _Opened, *, is_closed: bool) -> IO[Any]:
        path, mode, options = opened
        file = self.open(path, mode, **options)
        if is_closed:
            file.close()
        return file

    def _find_open(self, opened: _Opened, *, is_closed: bool) -> IO[Any] | None:
        files = self._files.items()
        return next(
            (file for file, one in files if (one, file.closed) == (opened, is_closed)), None
        )

    def sync(self) -> None:
        """Force all files to the disk."""
        for output in list(self._outputs.values()):
            output.sync()

    def check_place(self) -> None:
        """Raise `DurabilityError` if an open file is no longer found under its path."""
        for output in self._outputs.values():
            output.check_place()

    def end_catch_up(self) -> str:
        """Write from now on; return the path of a file that was not written again in full."""
        self._recovered, self._expected = self._expected or self._recovered, None
        for output in self._outputs.values():
            if output.left:
                return output.path
            output.is_behind = False
        return ""

    def refuse(self, error: DivergedError) -> None:
        """Write nothing any more, since the run has gone another way."""
        for output in self._outputs.values():
            output.is_behind, output.difference = True, error

    def mark_checkpoint(self) -> None:
        """Record that a checkpoint was stored; see `RunningDigest.mark_checkpoint`."""
        for output in self._outputs.values():
            output.mark_checkpoint()

    def tidy(self) -> None:
        """Release each closed file once its content and its length are on the disk."""
        for key, output in list(self._outputs.items()):
            if output.is_finished and self._untrack(key):
                del self._outputs[key]
                try:
                    output.close()
                finally:  # an interrupt may have come before it began
                    output.close()

    def end(self, last: Callable[[Key], Parts | None] | None) -> None:
        """Close the files; if `last` is given, cut each back to the position it returns."""
        for key, output in self._outputs.items():
            output.end(last(key) if last else None)

    def close(self) -> None:
        """Release the files."""
        for output in self._outputs.values():
            output.close()
        self._outputs.clear()

    def _key(self, path: str) -> Key:
        if not os.path.isabs(path):
            path = os.path.relpath(path, self._store)
        return Key(Kind.OUTPUT, os.path.normpath(path))

    def _begin(self, key: Key, path: str, mode: str) -> _Output:
        expected = self._expected_extent(key)
        is_new = key.at(0) not in self._recovered and expected is None
        if is_new and mode[0] == "x" and os.path.lexists(path):
            raise FileExistsError(f"{path} exists, and is not an output file of this run")
        found = self._examine(path)
        if is_new:
            length = found.st_size if found and mode[0] == "a" else 0
            extent = Extent.uncovered(length)
            stored: Parts = extent.encode()
            self._note(encode_context((key.at(n), part) for n, part in enumerate(stored)))
        elif key.at(0) not in self._recovered:  # the loop opens it once more
            assert expected is not None
            extent = Extent.uncovered(expected.begin)
            stored = extent.encode()
        else:
            stored = tuple(parts_of(self._recovered, key))
            known = Extent.decode(stored)
            assert known is not None  # cut_back has seen it
            extent = known
        if is_new and mode[0] == "w" and found and found.st_size:
            self._empty(path, found.st_size)
        left = expected.length - extent.length if expected else 0
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            lock(fd, path)
            if is_new and mode[0] == "w":
                os.ftruncate(fd, 0)
            digest = _continued(fd, path, extent)
            output = _Output(
                path,
                fd,
                digest,
                always=self._always,
                left=left,
                is_behind=expected is not None,
                diverged=self.diverged,
            )
        except BaseException:
            os.close(fd)
            raise
        try:
            sync_directory(os.path.dirname(path))
            self._track(key, output, stored)
        except BaseException:
            output.close()
            raise
        self._outputs[key] = output
        return output

    def _empty(self, path: str, length: int) -> None:
        """Keep what a file has that the run begins anew, if the run itself does; else say so."""
        if self._aside is not None and os.path.isdir(self._aside):  # else it was pruned
            kept = set_aside(path, self._aside)
            line = f"{path} is written anew; the {length:,} bytes that it had are in {kept}"
        else:
            line = (
                f"{path} is overwritten; it had {length:,} bytes. If another run has written them, "
                "give each run a file of its own, as in trax.open(f'out-{seed}.csv')"
            )
        said = path, "overwritten"
        if not self._has_told and said not in process.said:  # a loop may write a file in each step
            self._has_told = True
            process.said.add(said)
            notices.info(line)

    def _expected_extent(self, key: Key) -> Extent | None:
        """Return the extent of a file after the steps that the loop runs again, if it has one."""
        if self._expected is None:
            return None
        return Extent.decode(tuple(parts_of(self._expected, key)))

    def _examine(self, path: str) -> os.stat_result | None:
        """Return the status of a file, if there is one; refuse it before its length is stored."""
        if is_ours(self._store, path):
            raise UsageError(f"{path} is a file of the store.\nChoose another place for it.")
        try:
            found = os.stat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            raise UsageError(f"{path} is not a regular file, so it cannot be cut back")
        check_owner(found, path)
        for output in self._outputs.values():
            if output.is_at(path):
                raise UsageError(
                    f"{path} is the file that this run has opened as {output.path}.\n"
                    "Open it under one name only."
                )
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            lock(fd, path)
        finally:
            os.close(fd)
        return found

    @staticmethod
    def _check_reopened(output: _Output, mode: str) -> None:
        if output.file is not None and not output.file.closed:
            raise UsageError(
                f"{output.path} is open already.\n"
                "Use the file that trax.open() returned, or close that one first."
            )
        if mode[0] != "a":
            raise UsageError(
                f"{output.path} was opened before in this run, and an output file only grows.\n"
                f"Open it once before the loop, or every time with mode 'a' instead of {mode!r}."
            )
        if not output.is_at(output.path):
            raise UsageError(
                f"{output.path} is no longer the file that this run opened there.\n"
                "An output file must stay in its place until the run is done."
            )
