"""What tests of replicas share: objects in memory that can fail, and machines that use them.

A `Machine` does what a text says, one letter for each thing:

====  ===========================================================================
a     append the next increment
A     append a large one, which is copied with several puts
c     store a checkpoint, as a loop does
l     store a large checkpoint, which is copied in pieces
u     store a checkpoint of a step that is not logged
t     do a round of copying, and build the image that is due
o     write to the output file of the run, and append an increment
O     write much to it, and append an increment
w     write to it in a step that is not stored
\\|    the process is killed, and another one goes on
x     the machine is gone: another one goes on, with an empty disk
e     the process ends, and another one goes on
====  ===========================================================================
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from xxhash import xxh3_64_intdigest

import trax
from trax.replica import attempts, copier
from trax.replica.run_replica import RunReplica
from trax.replica.seam import Away, Missing
from trax.storage.codec import Encoded, encode
from trax.storage.context import Key, Kind, encode_context
from trax.storage.process import process
from trax.storage.records import CONTEXT
from trax.storage.store import Store
from trax.tracking.output_digest import Extent
from trax.tracking.truncate import cut_back

NAME = "magnet"


class Done(NamedTuple):
    """A put or a deletion that had an effect; the content of a deletion is None."""

    key: str
    content: bytes | None


class Objects:
    """A store of objects in memory.

    Attributes
    ----------
    contents : dict of str to bytes
        The objects.
    done : list of Done
        All that had an effect, in order.
    before, after : callable
        Called with the key before a put and after it; either may fail with an exception.
    asked : callable
        Called before any request but a put; likewise.
    listings : int
        The number of listings.
    """

    url = "memory://test"

    def __init__(self, contents: dict[str, bytes] | None = None) -> None:
        self.contents = dict(contents or {})
        self.done: list[Done] = []
        self.before: Callable[[str], object] = lambda key: None
        self.after: Callable[[str], object] = lambda key: None
        self.asked: Callable[[str], object] = lambda key: None
        self.listings = 0

    def put(self, key: str, parts: Sequence[Any]) -> bool:
        self.before(key)
        is_new = key not in self.contents
        if is_new:
            self.contents[key] = b"".join(parts)
            self.done.append(Done(key, self.contents[key]))
        self.after(key)
        return is_new

    def get(self, key: str) -> bytes:
        self.asked(key)
        if key not in self.contents:
            raise Missing(f"there is no {key}")
        return self.contents[key]

    def read(self, key: str, start: int, length: int) -> bytes:
        return self.get(key)[start : start + length]

    def list(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        self.asked(prefix)
        self.listings += 1
        for key in sorted(self.contents):
            if key.startswith(f"{prefix}/" if prefix else "") and key > after:
                yield key, len(self.contents[key])

    def delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self.asked(key)
            if self.contents.pop(key, None) is not None:
                self.done.append(Done(key, None))

    def images(self) -> Iterator[Objects]:
        """Yield the objects as they were at first, and after each thing that was done."""
        contents: dict[str, bytes] = {}
        yield Objects(contents)
        for key, content in self.done:
            if content is None:
                del contents[key]
            else:
                contents[key] = content
            yield Objects(contents)

    def at_put(self, count: int, action: Callable[[], object]) -> None:
        """Do something before the put of this number, counted from 0."""
        self.before = at_call(count, action)

    def after_put(self, count: int, action: Callable[[], object]) -> None:
        """Do something after the put of this number, whose answer it may lose."""
        self.after = at_call(count, action)


def at_call(count: int, action: Callable[[], object]) -> Callable[[str], None]:
    left = [count]

    def hook(_: str) -> None:
        left[0] -= 1
        if left[0] == -1:
            action()

    return hook


def with_checksum(data: bytes) -> bytes:
    """Return an object with a valid checksum, whoever has changed it."""
    return data[:-8] + struct.pack("<Q", xxh3_64_intdigest(data[:-8]))


def no_answer() -> None:
    """Fail as a store whose answer is lost."""
    raise Away("no answer")


class _Still:
    """A thread that does nothing by itself."""

    def stop(self) -> None: ...


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing happen in the background, and nobody wait; pieces are small."""
    monkeypatch.setattr(process, "repeat", lambda seconds, action: _Still())
    monkeypatch.setattr(copier, "SMALL", 8 << 10)
    monkeypatch.setattr(copier, "PIECE", 16 << 10)
    monkeypatch.setattr(attempts, "_PAUSE", 1e-9)
    monkeypatch.setattr(attempts, "_GRACE", 60.0)


_WITH_OUTPUT = "o"


def _line(value: str) -> bytes:
    """Return the output of a step."""
    return f"{value}\n".encode() if value.endswith(_WITH_OUTPUT) else b""


class Machine:
    """A machine that runs the run in a directory.

    Attributes
    ----------
    values : list
        All increments of the run, as this machine knows them.
    """

    def __init__(self, objects: Any, place: str, label: str = "", **options: Any) -> None:
        self.objects = objects
        self.label = label
        self._place = place
        self._machines = 0
        self._options = options
        self._open()

    @property
    def store(self) -> str:
        """The directory of the store."""
        return f"{self._place}{self._machines or ''}/.trax"

    def _open(self) -> None:
        os.makedirs(os.path.dirname(self.store), exist_ok=True)
        store = Store(self.store)
        self.replica = RunReplica(self.objects, store, NAME, 3600, **self._options)
        sync: Any = "always" if self._options.get("waits") else "interval"
        self.held = store.hold(NAME, sync=sync, keep=2, report=print, copying=self.replica)
        try:
            reader = store.recover(NAME)
            if reader is not None and reader.found:
                self._cut_back(store)
                self.held.take_over(reader)
            else:
                self.held.begin(0, resumed=False)
            self.values = read(self.store)
        except BaseException:
            self.kill()
            raise
        self._output = len(written := self._written())
        assert written == b"".join(map(_line, self.values))

    def _cut_back(self, store: Store) -> None:
        reader = store.recover(NAME)
        assert reader is not None
        reader.read()
        cut_back(store.path, store.run_path(NAME), reader.context, reader.forced_context)

    def do(self, things: str) -> None:
        """Do what a text says."""
        for thing in things:
            getattr(self, f"_do_{_NAMES[thing]}")()

    def _do_append(self, kind: str = "", context: bytes = b"") -> None:
        value = f"{self.label}{len(self.values)}{kind}"
        self.held.writer.append(pickle.dumps(value), context)
        self.held.check_place(len(self.values))
        self.values.append(value)

    def _do_checkpoint(self, size: int = 0, *, derived: bool = True) -> None:
        writer = self.held.writer
        meta = {"step": writer.position.step, "done": False, "replay_log": "unknown"}
        state = encode([*self.values, bytes(size)] if size else self.values, NAME)
        outputs = self._context()
        parts = {"state": state} | ({"context": outputs} if outputs else {})
        writer.checkpoint(meta, parts, derived=derived)

    def _do_large(self) -> None:
        self._do_checkpoint(40 << 10)

    def _do_unlogged(self) -> None:
        self.values.append(f"{self.label}{len(self.values)}")
        self._do_checkpoint(derived=False)

    def tick(self) -> None:
        """Do a round of copying, as the thread does."""
        self.replica._attempts._retry_at = 0.0
        self.replica._tick()

    def _do_round(self) -> None:
        self.tick()

    def _do_output(self, more: str = "") -> None:
        if not self._output:
            self.held.writer.note(self._extent(0))
        kind = f"{more}{_WITH_OUTPUT}"
        value = f"{self.label}{len(self.values)}{kind}"
        with self._path().open("ab") as file:
            file.write(_line(value))
            self._output += len(_line(value))
        self._do_append(kind, self._extent(self._output))

    def _do_large_output(self) -> None:
        self._do_output("." * (20 << 10))

    def _do_write(self) -> None:
        if self._output:
            with self._path().open("ab") as file:
                file.write(b"of no step" * 1000)

    def _do_large_append(self) -> None:
        self._do_append("." * (40 << 10))

    def _do_kill(self) -> None:
        self.kill()
        self._open()

    def _do_lose(self) -> None:
        self.kill()
        self._machines += 1
        self._open()

    def _do_end(self) -> None:
        self.held.close()
        self._open()

    def kill(self) -> None:
        """End as a process that is killed: nothing is done any more."""
        held = self.held
        held._lock.release()
        for file in (held.writer._log, held.journal._file):
            if file is not None:
                file.close()

    def close(self) -> None:
        """End in order."""
        self.held.close()

    # -- its output file -------------------------------------------------------------------

    def _path(self) -> Path:
        return Path(self.store).parent / "out.txt"

    def _written(self) -> bytes:
        return self._path().read_bytes() if self._path().exists() else b""

    def _extent(self, length: int) -> bytes:
        key = Key(Kind.OUTPUT, "../out.txt")
        parts = Extent.uncovered(length).encode()
        return encode_context((key.at(number), part) for number, part in enumerate(parts))

    def _context(self) -> Any:
        return Encoded(CONTEXT, self._extent(self._output), []) if self._output else None


_NAMES = {
    "a": "append",
    "c": "checkpoint",
    "l": "large",
    "u": "unlogged",
    "t": "round",
    "o": "output",
    "O": "large_output",
    "w": "write",
    "A": "large_append",
    "|": "kill",
    "x": "lose",
    "e": "end",
}


def read(store: str) -> list[str]:
    """Return the increments of the run in a store."""

    def fold(state: list[Any], increment: str) -> list[Any]:
        return [*state, increment]

    reader = Store(store).recover(NAME)
    if reader is None or not reader.found:
        return []
    with trax.Trax(store, replica="") as there:
        found = there.recover(NAME, create=list, replay_log=fold)
    return [one for one in found if isinstance(one, str)]


def read_replica(objects: Objects, place: str) -> list[str]:
    """Return the increments that a new machine finds in a replica, which it then leaves."""
    machine = Machine(Objects(objects.contents), place)
    machine.kill()
    return machine.values
