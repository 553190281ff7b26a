"""Faults that come from outside: calls of the disk that fail, and interrupts between two calls."""

from __future__ import annotations

import builtins
import fcntl
import functools
import inspect
import io
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import pytest

from trax import cutting, output
from trax.storage import files, lock, store

T = TypeVar("T")

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
        for module in (files, store, lock, cutting, output):
            patch.setattr(module, "os", disk_os)
        for module in (lock, cutting):
            patch.setattr(module, "fcntl", disk_fcntl)
        patch.setattr(files, "force", self._force)
        patch.setattr(files, "io", _Instead(io, {"FileIO": self._file}))
        patch.setattr(output, "builtins", _Instead(builtins, {"open": self._open}))
        for module in (store, cutting):
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
