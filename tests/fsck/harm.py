"""Stores for the tests of verify and repair, harm done to them, and what is right of them."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import pytest
from support import NAME, Writer, changed, flipped, increment, read, write

from trax import CorruptionError
from trax.fsck.repair import mend as mend_run
from trax.fsck.repair_plan import Plan
from trax.storage.codec import Encoded, encode
from trax.storage.context import Key, encode_context
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory
from trax.storage.records import (
    CLOUDPICKLE,
    CONTEXT,
    DURABLE_OFFSET,
    HEADER_SIZE,
    PICKLE,
    Records,
    decode_header,
)
from trax.storage.run_reader import RunReader
from trax.testing.memory import MemoryDirectory

# Every kind of end and beginning, two checkpoints and more, states that nothing leads to.
SHAPES = ("aacaaca|aasaa", "aaa|aacaae", "caaaCaasa", "caac|a|aCaaca|a", "aca|e|saaa", "Caasa")

KINDS = ["flip", "flip", "flip", "cut", "zeros", "missing"]

Count = Callable[[str, int], None]


@cache
def store(text: str, sync: str = "interval", arrays: bool = False) -> dict[str, bytes]:
    """Return the files of a store."""
    directory = MemoryDirectory()
    write(directory, text, sync=sync, arrays=arrays)
    return directory.files()


def always(context: Mapping[Key, bytes]) -> bool:
    """All output files are long enough."""
    return True


def mend(
    directory: Directory,
    fits: Callable[[Mapping[Key, bytes]], bool] = always,
    step: int | None = None,
) -> Plan:
    """Repair; the copy is somebody else's affair."""
    return mend_run(directory, NAME, fits, lambda: "aside/run~1", step)


def recovered(directory: Directory) -> RunReader:
    recovery = RunReader(directory, NAME)
    for _ in recovery.increments():
        pass
    return recovery


# -- what is right, independently ----------------------------------------------------------


@dataclass(frozen=True)
class _Log:
    after: int
    begins: int
    derived: bool
    is_first: bool
    ends: list[int]  # where each increment ends


class Truth:
    """What an undamaged store holds, byte by byte.

    Parameters
    ----------
    files : dict of str to bytes
        The store.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.checkpoints: dict[int, int] = {}
        self.logs: dict[int, _Log] = {}
        for text, content in files.items():
            name = FileName.parse(text)
            assert name
            fields, chain = decode_header(name.kind, content[:HEADER_SIZE])
            if name.kind == "checkpoint":
                self.checkpoints[name.generation] = fields["step"]
                continue
            after, begins, _ = fields["after"]
            is_first = after == 0 and fields["origin"] == "create"
            records = Records(MemoryDirectory({text: content}).open(text), chain)
            ends = [records.offset for record in records if record.kind in (PICKLE, CLOUDPICKLE)]
            assert records.flaw is None
            self.logs[name.generation] = _Log(after, begins, fields["derived"], is_first, ends)
        self.end = max(log.begins + len(log.ends) for log in self.logs.values())

    def best(self, damaged: Mapping[str, bytes], limit: int = 1 << 62) -> int | None:
        """Return the highest step whose every byte is still there; None for no step at all.

        Parameters
        ----------
        damaged : dict of str to bytes
            The files as they are now.
        limit : int
            The last step that may count.
        """
        ranges = [
            (step, self._reach(damaged, step, generation))
            for generation, step in self.checkpoints.items()
            if unmarked(damaged.get(name := f"checkpoint-{generation:08d}", b""))
            == unmarked(self.files[name])
        ]
        ranges += [
            (0, step)
            for generation, log in self.logs.items()
            if log.is_first and (step := self._along(damaged, generation)) is not None
        ]
        return max((min(end, limit) for begin, end in ranges if begin <= limit), default=None)

    def _reach(self, damaged: Mapping[str, bytes], step: int, generation: int) -> int:
        along = self._along(damaged, generation)
        return step if along is None else along

    def _along(self, damaged: Mapping[str, bytes], generation: int) -> int | None:
        name = f"log-{generation:08d}"
        log, was, now = self.logs[generation], self.files[name], damaged.get(name, b"")
        is_head_whole = len(now) >= HEADER_SIZE and all(
            was[part] == now[part]
            for part in (slice(DURABLE_OFFSET), slice(HEADER_SIZE - 8, HEADER_SIZE))
        )
        if not is_head_whole:
            return None
        same = HEADER_SIZE
        while same < len(was) and was[same : same + 1] == now[same : same + 1]:
            same += 1
        count = sum(end <= same for end in log.ends)
        step = log.begins + count
        for number, following in self.logs.items():
            if following.after == generation and following.begins == step:
                further = self._along(damaged, number)
                if further is not None and following.derived:
                    return further
        return step


def unmarked(content: bytes) -> bytes:
    """Return a file without its durable mark, which may be anything."""
    return content[:DURABLE_OFFSET] + content[DURABLE_OFFSET + 16 :]


# -- harm ----------------------------------------------------------------------------------


def harm(files: dict[str, bytes], rng: random.Random, kinds: Sequence[str] = KINDS) -> None:
    """Do something bad to one of the files."""
    name = rng.choice(sorted(files))
    content = files[name]
    kind = rng.choice(kinds)
    if kind == "missing":
        del files[name]
    elif not content:
        return
    elif kind == "cut":
        files[name] = content[: rng.randrange(len(content))]
    elif kind == "zeros":
        begin = rng.randrange(len(content))
        end = min(len(content), begin + rng.choice((8, 100, 512)))
        files[name] = content[:begin] + bytes(end - begin) + content[end:]
    else:
        files[name] = flipped(content, rng.randrange(len(content)), rng.randrange(1, 256))


HARMED = {
    "aacaaca|aasaa": ("log-00000003", 1030),  # in the middle of a chain
    "caaaCaasa": ("checkpoint-00000002", 1100),  # nothing leads to it
    "caac|a|aCaaca|a": ("log-00000006", 10),  # a header, and what is behind it
    "aca|e|saaa": ("log-00000002", 10),  # the log of the only checkpoint
}


def harmed(text: str) -> dict[str, bytes]:
    """Return a store that needs a repair."""
    files = store(text)
    name, offset = HARMED[text]
    damaged = changed(files, name, flipped(files[name], offset))
    with pytest.raises(CorruptionError):
        read(MemoryDirectory(damaged))
    return damaged


# -- output files --------------------------------------------------------------------------

OUTPUT = Key.parse("output out.txt#0")


class OutputWriter(Writer):
    """A process whose every step writes ten bytes to an output file."""

    def append(self) -> None:
        step = self.step
        encoded = encode(increment(step), "increment")
        self.generations.append(encoded, at(step + 1))
        self.acknowledged = step + 1

    def checkpoint(self, *, derived: bool = True) -> None:
        state = encode(list(range(self.step)), "state")
        parts = {"state": state, "context": Encoded(CONTEXT, at(self.step), [])}
        self.generations.checkpoint({"step": self.step}, parts, derived=derived)


def at(step: int) -> bytes:
    return encode_context([(OUTPUT, struct.pack("<Q", 10 * step))])


def has(length: int) -> Callable[[Mapping[Key, bytes]], bool]:
    """Return what says whether an output file of this length is long enough."""

    def fits(context: Mapping[Key, bytes]) -> bool:
        (needed,) = struct.unpack("<Q", context.get(OUTPUT, bytes(8)))
        return length >= int(needed)

    return fits


def with_outputs(*texts: str) -> dict[str, bytes]:
    """Return the store that processes with output files have written, one behind the other."""
    directory = MemoryDirectory()
    for text in texts:
        writer = OutputWriter(directory)
        writer.play(text)
        writer.kill()
    return directory.files()
