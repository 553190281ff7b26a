"""What tests share: scripts in processes of their own, and a small language of stores.

A store is written by a text such as ``"aacaa|a"``, one letter for each thing that a process does:

====  ============================================================================
a     append the next increment
c     store a checkpoint, as a loop does
C     store a checkpoint whose state need not follow from the log before it
s     force the log to the disk, as the background does
\\|    the process is killed, and another one goes on
e     the process ends, and another one goes on
====  ============================================================================

Increment number i is known to everybody, and the state is the list of all increments. So whatever
`read` finds can be checked: it is the state of some step, or the test fails.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from hypothesis import settings
from xxhash import xxh3_64_intdigest

from trax.storage.codec import decode, encode
from trax.storage.files import Directory, Input, Output
from trax.storage.frames import DURABLE_OFFSET, HEADER_SIZE
from trax.storage.generations import Generations
from trax.storage.recovery import Recovery
from trax.testing.memory import MemoryDirectory, Operation

NAME = "run"
T = TypeVar("T")

# A slow machine is no failure; nothing is written beside the tests.
settings.register_profile("trax", deadline=None, database=None)
settings.load_profile("trax")


# -- scripts -------------------------------------------------------------------------------


def run_script(text: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a script in the current directory, in a process of its own, to its end."""
    done = subprocess.run(
        [sys.executable, write_script(text), *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def start_script(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a script for the length of a block; what it prints and reads are pipes."""
    with subprocess.Popen(
        [sys.executable, write_script(text), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def write_script(text: str) -> str:
    """Write a script into the current directory, as a person would; return its path."""
    path = Path(f"script-{xxh3_64_intdigest(text.encode()):x}.py").resolve()
    path.write_text(text)
    return str(path)


# -- the language of stores ----------------------------------------------------------------


def increment(number: int, *, arrays: bool = False) -> Any:
    """Return increment `number`; as an array it is read-only at every third number."""
    if not arrays:
        return number
    array = np.arange(number, number + 3.0)
    array.flags.writeable = number % 3 != 0
    return array


class Writer:
    """A process that holds the run for writing: it recovers, puts right, and goes on.

    Attributes
    ----------
    acknowledged : int
        The step up to which increments were acknowledged.
    said : list of str
        What was reported.
    """

    def __init__(
        self, directory: Directory, *, sync: str = "interval", arrays: bool = False, keep: int = 2
    ) -> None:
        self.said: list[str] = []
        self.arrays = arrays
        self.generations = Generations(
            directory, NAME, sync=sync, keep=keep, report=self.said.append
        )
        recovery = Recovery(directory, NAME)
        self.acknowledged = len(states_of(recovery))
        self.generations.adopt(recovery)

    @property
    def step(self) -> int:
        return self.generations.position.step

    def append(self) -> None:
        step = self.step
        self.generations.append(encode(increment(step, arrays=self.arrays), "increment"))
        self.acknowledged = step + 1

    def checkpoint(self, *, derived: bool = True) -> None:
        step = self.step
        state = [increment(number, arrays=self.arrays) for number in range(step)]
        parts = {"state": encode(state, "state")}
        self.generations.checkpoint({"step": step}, parts, derived=derived)
        self.acknowledged = step

    def kill(self) -> None:
        """Die: nothing more is written or forced."""
        if self.generations._log is not None:
            self.generations._log.close()

    def play(self, text: str) -> None:
        actions: dict[str, Callable[[], None]] = {
            "a": self.append,
            "c": self.checkpoint,
            "C": lambda: self.checkpoint(derived=False),
            "s": self.generations.sync,
        }
        for letter in text:
            actions[letter]()


def write(
    directory: Directory, text: str, *, sync: str = "interval", arrays: bool = False, keep: int = 2
) -> Writer:
    """Write a store, and return the process that wrote the last of it, still alive."""
    writer = Writer(directory, sync=sync, arrays=arrays, keep=keep)
    for letter in text:
        if letter in "|e":
            if letter == "e":
                writer.generations.close()
            else:
                writer.kill()
            writer = Writer(directory, sync=sync, arrays=arrays, keep=keep)
        else:
            writer.play(letter)
    return writer


def read(directory: Directory) -> int:
    """Recover the run; return its step, having checked that the state is the one of that step."""
    return len(states_of(Recovery(directory, NAME)))


def states_of(recovery: Recovery) -> list[Any]:
    """Read a recovery to its end, check the state, and return it."""
    checkpoint = recovery.checkpoint
    state: list[Any] = decode(checkpoint.parts["state"], "state") if checkpoint else []
    assert checkpoint is None or checkpoint.meta["step"] == len(state)
    state += [decode(encoded, "increment") for encoded in recovery.increments()]
    for number, found in enumerate(state):
        if isinstance(found, np.ndarray):
            assert found.tolist() == [number, number + 1, number + 2]
            assert found.flags.writeable == (number % 3 != 0)
        else:
            assert found == number
    assert recovery.position.step == len(state)
    return state


# -- damage --------------------------------------------------------------------------------


def changed(files: Mapping[str, bytes], name: str, content: bytes) -> dict[str, bytes]:
    """Return the same files with one of them replaced."""
    return {**files, name: content}


def flipped(content: bytes, offset: int, bits: int = 1) -> bytes:
    """Return the content with some bits of one byte changed."""
    return content[:offset] + bytes([content[offset] ^ bits]) + content[offset + 1 :]


def of_version(content: bytes, version: int) -> bytes:
    """Return a log or a checkpoint as a trax of another format version would have begun it."""
    block = bytearray(content[:HEADER_SIZE])
    struct.pack_into("<I", block, 8, version)
    struct.pack_into("<Q", block, HEADER_SIZE - 8, xxh3_64_intdigest(block[:DURABLE_OFFSET]))
    return bytes(block) + content[HEADER_SIZE:]


def with_next_boot(files: Mapping[str, bytes]) -> MemoryDirectory:
    """Return a directory with these files, after a reboot."""
    return MemoryDirectory(dict(files), boot="the next boot")


def as_operations(files: Mapping[str, bytes]) -> Iterator[Operation]:
    """Yield what makes these files, and makes them durable."""
    for number, (name, content) in enumerate(files.items()):
        yield Operation("create", number, name=name)
        yield Operation("write", number, 0, content)
        yield Operation("sync", number)
    yield Operation("sync directory")


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
