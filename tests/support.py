"""What tests share: scripts in processes of their own, and a small language of stores.

A store is written by a text such as ``"aacaa|a"``, one letter for each thing that a process does:

====  ============================================================================
a     append the next increment
c     store a checkpoint, as a loop does
C     store a checkpoint whose state need not follow from the log before it
b     begin a checkpoint of which the file is written in the background, unless one is begun
w     write that file
s     force the log to the disk, as the background does
\\|    the process is killed, and another one goes on
e     the process ends, and another one goes on
====  ============================================================================

Increment number i is known to everybody, and the state is the list of all increments. So whatever
`read` finds can be checked: it is the state of some step, or the test fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from xxhash import xxh3_64_intdigest

import trax
import trax.testing
from trax import StorageError
from trax.keep import Keep
from trax.storage.codec import Encoded, decode, encode
from trax.storage.filesystem import Directory
from trax.storage.journal import STATUS_SIZE
from trax.storage.process import process
from trax.storage.records import DURABLE_OFFSET, HEADER_SIZE
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter, Write
from trax.testing.memory import MemoryDirectory, Operation

NAME = "run"

# Public names and their packages, with the classes that a Verification contains.
PUBLIC = [
    *((trax, name) for name in trax.__all__ if name != "__version__"),
    *((trax, name) for name in ("CheckpointFile", "Generation", "LogFile", "OutputFile")),
    *((trax.testing, name) for name in trax.testing.__all__),
]


# -- scripts -------------------------------------------------------------------------------


def run_script(text: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a script in the current directory, in a process of its own, to its end."""
    done = subprocess.run(
        [sys.executable, write_script(text), *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=_with_modules_here(),
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
        env=_with_modules_here(),
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def _with_modules_here() -> dict[str, str]:
    """Return the environment in which a script finds modules in the current directory."""
    given = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (os.getcwd(), given)))}


def write_script(text: str) -> str:
    """Write a script of the same name as all others, as one that was edited; return its path."""
    path = Path(f"script-{xxh3_64_intdigest(text.encode()):x}", "script.py").resolve()
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return str(path)


def peak_memory(action: Callable[[], object]) -> int:
    """Return the bytes of memory that an action takes at most.

    It is the least of three measurements, as what other threads allocate meanwhile counts too.
    """
    peaks = []
    for _ in range(3):
        tracemalloc.start()
        try:
            action()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)


# -- a run that was broken off -------------------------------------------------------------

COUNT = """
import os, signal, sys
import trax

@trax.resumable(create=int, every_steps=5)
def count(n, to):
    with trax.open("out.txt") as file:
        while n < to:
            print(n, file=file)
            n = yield n + 1
"""


def count_to_13() -> Path:
    """Write a run of 13 steps, with checkpoints at 5 and 10; return where its files are."""
    run_script(COUNT + "run = count(to=20)\nfor n in run:\n    if n == 13: break\nrun.close()\n")
    return Path(".trax/runs/count")


# -- a checkpoint in the background --------------------------------------------------------


class Held:
    """Holds what is begun in the background, until a test lets it go on.

    Attributes
    ----------
    actions : list
        What was begun and has not gone on.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.actions: list[Callable[[], None]] = []
        patch.setattr(process, "begin", self.actions.append)

    def go_on(self) -> None:
        """Do what was begun."""
        while self.actions:
            self.actions.pop()()


def finish_writing(run: Any) -> None:
    """Wait until no checkpoint of a run is being written; its loop does not know yet."""
    job = run._lifecycle.session._pulse.background.job
    if job is not None:
        job.work()


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
        self,
        directory: Directory,
        *,
        sync: str = "interval",
        arrays: bool = False,
        keep: int | Keep = 2,
    ) -> None:
        self.said: list[str] = []
        self.unwritten: Callable[[], int] | None = None
        self.arrays = arrays
        self.generations = RunWriter(directory, NAME, sync=sync, keep=keep, report=self.said.append)
        recovery = RunReader(directory, NAME)
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
        with contextlib.suppress(StorageError):  # of one that this one replaces
            self.finish()
        step = self.step
        self.generations.checkpoint({"step": step}, self.parts(), derived=derived)
        self.acknowledged = step

    def parts(self) -> dict[str, Encoded]:
        state = [increment(number, arrays=self.arrays) for number in range(self.step)]
        return {"state": encode(state, "state")}

    def begin(self) -> None:
        with contextlib.suppress(StorageError):  # of the one before
            self.finish()
        step, parts = self.step, self.parts()

        def leave(write: Write) -> int:
            self.unwritten = partial(write, parts)
            return 0

        self.generations.checkpoint({"step": step}, parts, derived=True, leave=leave)
        self.acknowledged = step

    def finish(self) -> None:
        write, self.unwritten = self.unwritten, None
        if write is not None:
            write()

    def close(self) -> None:
        """End the process, which is told of no error of the background."""
        with contextlib.suppress(StorageError):
            self.finish()
        self.generations.close()

    def kill(self) -> None:
        """Die: nothing more is written or forced."""
        if self.generations._log is not None:
            self.generations._log.close()

    def play(self, text: str) -> None:
        actions: dict[str, Callable[[], None]] = {
            "a": self.append,
            "c": self.checkpoint,
            "C": lambda: self.checkpoint(derived=False),
            "b": self.begin,
            "w": self.finish,
            "s": self.generations.sync,
        }
        for letter in text:
            actions[letter]()


def write(
    directory: Directory,
    text: str,
    *,
    sync: str = "interval",
    arrays: bool = False,
    keep: int | Keep = 2,
) -> Writer:
    """Write a store, and return the process that wrote the last of it, still alive."""
    writer = Writer(directory, sync=sync, arrays=arrays, keep=keep)
    for letter in text:
        if letter in "|e":
            if letter == "e":
                writer.close()
            else:
                writer.kill()
            writer = Writer(directory, sync=sync, arrays=arrays, keep=keep)
        else:
            writer.play(letter)
    return writer


def read(directory: Directory) -> int:
    """Recover the run; return its step, having checked that the state is the one of that step."""
    return len(states_of(RunReader(directory, NAME)))


def states_of(recovery: RunReader) -> list[Any]:
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
    """Return the content with some bits of one byte changed; an offset may count from its end."""
    offset %= len(content)
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


def stored(obj: Any) -> Any:
    """Return what comes back: each buffer through the memory that a file is read into."""
    kind, payload, buffers, _ = encode(obj, "obj")
    read = [bytes(b) if memoryview(b).readonly else bytearray(b) for b in buffers]
    return decode(Encoded(kind, bytearray(payload), read), "obj")


# Begins a script that kills itself after as many changes of directories as its argument says.
KILLED_LATER = """
import os, signal, sys
import trax
from trax.storage import filesystem

left = int(sys.argv[1])

def counted(function):
    def call(*args, **kwargs):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return function(*args, **kwargs)
    return call

for name in ("remove", "rename", "sync", "create"):
    setattr(filesystem.LocalDirectory, name, counted(getattr(filesystem.LocalDirectory, name)))
filesystem.os.rename = counted(os.rename)
"""


# A run that is open at its step 100 until its input ends.
LIVE = """
import trax

@trax.resumable(create=int, every_steps=10, keep="all", background=False)
def live(n):
    while True:
        n = yield n + 1

for n in live():
    if n == 100:
        print("here", flush=True)
        input()
"""


def change_status(name: str, changed: dict[str, Any]) -> None:
    """Change fields of the status in a run's journal, and keep it valid."""
    path = Path(".trax/runs", name, "journal")
    data = path.read_bytes()
    fields = json.loads(data[17:STATUS_SIZE]) | changed
    text = json.dumps(fields).encode().ljust(STATUS_SIZE - 18)
    path.write_bytes(b"%016x %b\n" % (xxh3_64_intdigest(text), text) + data[STATUS_SIZE:])
