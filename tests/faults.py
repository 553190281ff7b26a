"""Faults that come from outside: calls of the disk that fail, and interrupts between two calls.

`FaultyDirectory` is the disk as the storage sees it, in memory, so that it is known what of it a
power cut leaves. `Disk` is the real one, with all that trax asks of it.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import inspect
import io
import os
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any, NamedTuple, TypeVar

import pytest
from support import as_operations

from trax.storage import filesystem, lock, store
from trax.storage.filesystem import Input, Output, Update
from trax.storage.process import process
from trax.testing.memory import MemoryDirectory, Operation
from trax.tracking import output_files, truncate

T = TypeVar("T")

ERRORS = [
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ESTALE,
    errno.EROFS,
    errno.EACCES,
]

_CALLS = (
    "open",
    "close",
    "stat",
    "fstat",
    "listdir",
    "pread",
    "preadv",
    "ftruncate",
    "rename",
    "remove",
    "mkdir",
    "makedirs",
)


class Interrupt:
    """Raises an exception at one of the places where the interpreter looks for signals.

    These are where a function begins, and where a call of something written in C has returned.
    What is done in ``with`` blocks is counted, all of them together.

    Parameters
    ----------
    place : int
        The number of the place; 0 only counts.
    error : BaseException
        What is raised there, once.
    where : str
        Only those modules count whose path contains one of these.

    Attributes
    ----------
    places : int
        How many there have been so far.
    """

    def __init__(self, place: int, error: BaseException, *where: str) -> None:
        self.places = 0
        self._place = place
        self._error = error
        self._where = where

    def __enter__(self) -> None:
        sys.setprofile(self._look)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        if event not in ("call", "c_return") or not any(part in path for part in self._where):
            return
        if not frame.f_code.co_flags & inspect.CO_GENERATOR:  # Python 3.11 crashes there
            self.places += 1
            if self.places == self._place:
                raise self._error


# -- a disk that fails ---------------------------------------------------------------------


class Fault(NamedTuple):
    """How a call fails: with what, and how much of it happens all the same, from 0 to 1.

    What happens in full and is an error none the less is how a network disk fails that has lost
    the answer. A sync that fails otherwise has lost what it should have forced.
    """

    error: BaseException
    happens: float


class FaultyDirectory:
    """A directory in memory, on a disk that can be full, slow to take bytes, or broken.

    Parameters
    ----------
    files : dict of str to bytes, optional
        What is there, and durable, to begin with.
    boot : str, optional
        The boot that this directory pretends to live in.

    Attributes
    ----------
    fault : callable
        Is asked before every call, with its number and its kind, and returns how it fails: a
        `Fault`, or the `errno` of one of which half happens, or 0.
    room : int or None
        How many more bytes fit on the disk.
    mouthful : int or None
        How many bytes one write takes at most.
    calls : list of str
        The kinds of all calls so far.
    """

    path = "<faulty>"
    key = None

    def __init__(self, files: dict[str, bytes] | None = None, boot: str = "boot-1") -> None:
        self.boot = boot
        self.inner = MemoryDirectory(boot=boot)
        for operation in as_operations(files) if files else ():
            self.inner.apply(operation)
        self.fault: Callable[[int, str], int | Fault] = lambda number, kind: 0
        self.room: int | None = None
        self.mouthful: int | None = None
        self.calls: list[str] = []

    def fail(self, kind: str, error: int, *, after: int = 0, times: int = 1 << 30) -> None:
        """Let the next calls of this kind fail, having let `after` of them succeed."""
        left = iter([0] * after + [error] * min(times, 1000))

        def fault(number: int, called: str) -> int:
            return next(left, 0) if called == kind else 0

        self.fault = fault

    def heal(self) -> None:
        """Let everything succeed from now on."""
        self.fault = lambda number, kind: 0
        self.room = self.mouthful = None

    def call(
        self,
        kind: str,
        action: Callable[[], T],
        in_part: Callable[[Fault], object] = lambda fault: None,
    ) -> T:
        """Carry out a call, or let it fail; `in_part` does what a fault leaves of it."""
        self.calls.append(kind)
        fault = self.fault(len(self.calls), kind)
        if not fault:
            return action()
        if isinstance(fault, int):
            fault = Fault(OSError(fault, os.strerror(fault), kind), 0.5)
        if fault.happens == 1:
            action()
        else:
            in_part(fault)
        raise fault.error

    def list(self) -> list[str]:
        return self.call("list", self.inner.list)

    def create(self, name: str) -> Output:
        def create() -> Output:
            return _FaultyOutput(self, self.inner.create(name), self.inner.names[name])

        return self.call("create", create)

    def update(self, name: str) -> Update:
        return self.call("update", lambda: self.inner.update(name))

    def open(self, name: str) -> Input:
        return self.call("open", lambda: _FaultyInput(self, self.inner.open(name)))

    def cut(self, name: str, length: int, forced: int = 0) -> None:
        file = self.inner.names[name]

        def lose(fault: Fault) -> None:
            if fault.happens:
                self.inner.cut(name, length, forced)
                self.inner.operations.pop()
                self.inner.apply(Operation("lost", file))

        self.call("cut", lambda: self.inner.cut(name, length, forced), lose)

    def rename(self, old: str, new: str) -> None:
        self.call("rename", lambda: self.inner.rename(old, new))

    def remove(self, name: str) -> None:
        if name in self.inner.names:  # that it is missing is found out first
            self.call("remove", lambda: self.inner.remove(name))
        else:
            self.inner.remove(name)

    def sync(self) -> None:
        self.call("sync directory", self.inner.sync)

    def is_in_place(self) -> bool:
        return True

    def close(self) -> None: ...

    def on_disk(self, count: int | None = None) -> Sequence[Operation]:
        """Return the operations, or the first `count` of them, as the disk itself saw them.

        Where a sync failed the kernel has dropped what it could not write and calls it written:
        no later sync brings it to the disk.
        """
        seen: list[Operation] = []
        for operation in self.inner.operations[:count]:
            if operation.kind == "lost":
                since = max(
                    (
                        index
                        for index, one in enumerate(seen)
                        if one.kind == "sync" and one.file == operation.file
                    ),
                    default=0,
                )
                seen[since:] = [
                    one
                    for one in seen[since:]
                    if one.kind not in ("write", "truncate") or one.file != operation.file
                ]
            else:
                seen.append(operation)
        return seen


class _FaultyInput:
    def __init__(self, directory: FaultyDirectory, inner: Input) -> None:
        self._directory = directory
        self._inner = inner

    @property
    def size(self) -> int:
        return self._inner.size

    def read_at(self, offset: int, size: int) -> bytearray:
        return self._directory.call("read", lambda: self._inner.read_at(offset, size))

    def read_into(self, offset: int, memory: memoryview) -> int:
        return self._directory.call("read", lambda: self._inner.read_into(offset, memory))

    def close(self) -> None:
        self._directory.call("close input", self._inner.close)


class _FaultyOutput:
    def __init__(self, directory: FaultyDirectory, inner: Output, file: int) -> None:
        self._directory = directory
        self._inner = inner
        self._file = file

    def write(self, data: Any, /) -> int:
        data = bytes(data)
        return self._directory.call(
            "write",
            lambda: self._take(data),
            lambda fault: self._inner.write(data[: int(len(data) * fault.happens)]),
        )

    def _take(self, data: bytes) -> int:
        directory = self._directory
        if directory.mouthful is not None:
            data = data[: directory.mouthful]
        if directory.room is not None:
            if data and not directory.room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: directory.room]
            directory.room -= len(data)
        return self._inner.write(data)

    def truncate(self, length: int) -> None:
        def truncate() -> None:
            content = self._directory.inner.contents[self._file]
            if self._directory.room is not None:
                self._directory.room += len(content) - length
            self._inner.truncate(length)

        self._directory.call("truncate", truncate)

    def overwrite(self, offset: int, data: bytes) -> None:
        self._directory.call(
            "overwrite",
            lambda: self._inner.overwrite(offset, data),
            lambda fault: self._inner.overwrite(offset, data[: int(len(data) * fault.happens)]),
        )

    def sync(self) -> None:
        self._directory.call("sync", self._inner.sync, self._lose)

    def _lose(self, fault: Fault) -> None:
        if isinstance(fault.error, OSError):  # what is interrupted loses nothing
            self._directory.inner.apply(Operation("lost", self._file))

    def close(self) -> None:
        self._directory.call("close", self._inner.close)

    def is_in_place(self) -> bool:
        return self._inner.is_in_place()


# -- the real disk, which fails ------------------------------------------------------------


class Disk:
    """The calls by which trax touches the real disk; each can fail. Nothing is really forced.

    Parameters
    ----------
    patch : pytest.MonkeyPatch
        What puts everything back.

    Attributes
    ----------
    fault : callable
        Is asked before every call, with its number and its kind, and returns how it fails: an
        error, and whether it happens all the same; or None.
    calls : list of str
        The kinds of all calls so far.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fault: Callable[[int, str], tuple[OSError, bool] | None] = lambda number, kind: None
        self.calls: list[str] = []
        disk_os = _Instead(os, {name: self._wrap(name, getattr(os, name)) for name in _CALLS})
        disk_os.instead |= {"fsync": self._force, "pwrite": self._pwrite}
        disk_fcntl = _Instead(fcntl, {"flock": self._wrap("flock", fcntl.flock)})
        for module in (filesystem, store, lock, truncate, output_files):
            patch.setattr(module, "os", disk_os)
        for module in (lock, truncate):
            patch.setattr(module, "fcntl", disk_fcntl)
        patch.setattr(process, "force", self._force)
        patch.setattr(process, "raw", lambda fd: self._file(fd, "r+"))
        for module in (filesystem, truncate, output_files):
            patch.setattr(module, "open", self._open, raising=False)

    def heal(self) -> None:
        """Let everything succeed from now on."""
        self.fault = lambda number, kind: None

    def call(
        self, kind: str, action: Callable[[], T], in_part: Callable[[], object] = lambda: None
    ) -> T:
        """Carry out a call, or let it fail; `in_part` is done where it does not happen."""
        self.calls.append(kind)
        fault = self.fault(len(self.calls), kind)
        if fault is None:
            return action()
        error, happens = fault
        if not happens:
            in_part()
        else:
            result: Any = action()
            if kind == "open":  # the file is there, and nobody has it open
                os.close(result)
            elif kind == "open file":
                io.FileIO.close(result)
        raise error

    def _wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            action = functools.partial(function, *args, **kwargs)
            # Whatever close says, the descriptor is gone.
            return self.call(name, action, action if name == "close" else lambda: None)

        return call

    def _force(self, fd: int) -> None:
        self.call("force", lambda: None)

    def _pwrite(self, fd: int, data: bytes, offset: int) -> int:
        return self.call(
            "pwrite",
            lambda: os.pwrite(fd, data, offset),
            lambda: os.pwrite(fd, data[: len(data) // 2], offset),
        )

    def _file(self, path: int | str, mode: str, **options: Any) -> io.FileIO:
        return _File(self, path, mode, **options)

    def _open(self, path: str, mode: str = "r", *, opener: Any = None, **options: Any) -> io.IOBase:
        raw = self.call(
            "open file", lambda: _File(self, path, mode.strip("bt"), opener=opener), lambda: None
        )
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, **options)


class _Instead:
    """A module with some of its functions replaced."""

    def __init__(self, module: Any, instead: dict[str, Any]) -> None:
        self.module = module
        self.instead = instead

    def __getattr__(self, name: str) -> Any:
        return self.instead[name] if name in self.instead else getattr(self.module, name)


class _File(io.FileIO):
    def __init__(self, disk: Disk, path: int | str, mode: str, **options: Any) -> None:
        super().__init__(path, mode, **options)
        self._disk = disk

    def write(self, data: Any, /) -> int:
        with memoryview(data) as view:
            content = bytes(view)
        write = super().write
        return self._disk.call(
            "write", lambda: write(content), lambda: write(content[: len(content) // 2])
        )

    def truncate(self, size: int | None = None, /) -> int:
        truncate = super().truncate
        return self._disk.call("truncate", lambda: truncate(size))

    def close(self) -> None:
        close = super().close
        if self.closed or not hasattr(self, "_disk"):
            close()
        else:
            self._disk.call("close file", close, close)
