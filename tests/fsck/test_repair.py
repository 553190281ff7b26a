"""Repairing a run: the longest part that is provably right, and the number of steps that are lost.

What is right is known here without reading anything back: each damaged file is compared with the
one that was written, and `Truth` says up to which step every byte that is needed is as it was.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import platform
import random
import struct
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from faults import FaultyDirectory
from support import (
    COUNT,
    NAME,
    Writer,
    changed,
    count_to_13,
    flipped,
    increment,
    of_version,
    read,
    run_script,
    with_next_boot,
    write,
)
from xxhash import xxh3_64_hexdigest

import trax
from trax import CorruptionError, FormatVersionError, LockedError, NotFoundError, StorageError
from trax.fsck import repair as repairing
from trax.fsck.repair import Plan, repair
from trax.storage import filesystem
from trax.storage.checkpoint import read_checkpoint, write_checkpoint
from trax.storage.codec import Encoded, encode
from trax.storage.context import Key, encode_context
from trax.storage.filenames import REPAIR, FileName
from trax.storage.filesystem import Directory
from trax.storage.records import (
    BEGINS,
    CLOUDPICKLE,
    CONTEXT,
    DURABLE_OFFSET,
    END,
    HEADER_SIZE,
    NOTE,
    PICKLE,
    Records,
    decode_header,
    frame,
)
from trax.storage.run_reader import Recovery
from trax.testing.memory import MemoryDirectory, crash_images

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


def mend(directory: Directory, fits: Callable[[Mapping[Key, bytes]], bool] = always) -> Plan:
    """Repair; the copy is somebody else's affair."""
    return repair(directory, NAME, fits, lambda: "aside/run~1")


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


def check(
    damaged: Mapping[str, bytes], truth: Truth, *, exact_only: bool = False, boot: str = "boot-1"
) -> None:
    """Repair a damaged store, and compare what comes of it with what is right."""
    directory = MemoryDirectory(dict(damaged), boot=boot)
    best = truth.best(damaged)
    try:
        before: int | None = read(directory)
    except CorruptionError:
        before = None
    if before is None and best is None:
        with pytest.raises(CorruptionError, match="cannot be repaired"):
            mend(directory)
        assert directory.files() == damaged
        assert not directory.operations
        return
    plan = mend(directory)
    assert read(directory) == plan.step
    if before is not None:
        assert (plan.step, plan.lost, plan.aside) == (before, 0, "")
        assert not directory.operations
        return
    assert plan.step == best
    assert plan.aside == "aside/run~1"
    assert plan.actions
    check_lost(plan, truth, exact_only=exact_only)
    again = mend(directory)
    assert (again.step, again.lost, again.aside) == (plan.step, 0, "")
    assert not [name for name in directory.list() if FileName.parse(name) is None]
    writer = Writer(directory)
    assert (writer.step, writer.said) == (plan.step, [])
    writer.play("aca")
    assert read(MemoryDirectory(directory.files(), boot=boot)) == plan.step + 2


def check_lost(plan: Plan, truth: Truth, *, exact_only: bool) -> None:
    """The number of lost steps is never too high; and just right where it is said to be."""
    assert 0 <= plan.lost <= truth.end - plan.step
    if plan.is_exact and exact_only:
        assert plan.lost == truth.end - plan.step


# -- every damage --------------------------------------------------------------------------


def places(content: bytes) -> Iterator[int]:
    """Yield every byte but most of those of the header block, of which one is like the other."""
    yield from range(0, 16, 3)
    yield from range(16, DURABLE_OFFSET, 61)
    yield from range(DURABLE_OFFSET, HEADER_SIZE, 3)
    yield from range(HEADER_SIZE, len(content))


@pytest.mark.parametrize("text", SHAPES)
def test_every_byte_flipped(text: str, count: Count) -> None:
    """The state is the right one, as far as possible; the number of lost steps is the true one."""
    files = store(text)
    truth = Truth(files)
    tried = 0
    for name, content in files.items():
        for offset in places(content):
            bits = (0x01, 0x80, 0xFF)[offset % 3]
            damaged = changed(files, name, flipped(content, offset, bits))
            check(damaged, truth, exact_only=True)
            tried += 1
    count("bytes flipped", tried)


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("boot", ["boot-1", "the next boot"])
def test_every_length_and_every_file_missing(text: str, boot: str) -> None:
    """Of a file that was cut nobody knows how many steps it held, unless something else says so."""
    files = store(text)
    truth = Truth(files)
    for name, content in files.items():
        check({other: files[other] for other in files if other != name}, truth, boot=boot)
        for length in (0, 1, 500, 1000, 1023, *range(1024, len(content), 7)):
            check(changed(files, name, content[:length]), truth, boot=boot)


@pytest.mark.parametrize("text", SHAPES)
@pytest.mark.parametrize("arrays", [False, True])
def test_several_damages_at_once(text: str, arrays: bool) -> None:
    """Flipped bytes, zeroed blocks, cut and missing files, two or three of them."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    files = store(text, "always" if arrays else "interval", arrays)
    truth = Truth(files)
    for _ in range(120):
        damaged = dict(files)
        kinds = rng.choice((["flip"], KINDS))
        for _ in range(rng.choice((2, 2, 3))):
            if damaged:
                harm(damaged, rng, kinds)
        try:
            check(damaged, truth, exact_only=kinds != KINDS)
        except BaseException:
            print("seed", seed)
            raise


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


# -- particular damages --------------------------------------------------------------------


def test_a_state_that_was_stored_by_hand_is_not_passed_over_without_a_word() -> None:
    """What is before it may be kept, what is behind it may not; and it is said."""
    files = store("caaaCaasa")
    damaged = changed(files, "checkpoint-00000002", flipped(files["checkpoint-00000002"], 1100))
    plan = mend(MemoryDirectory(damaged))
    assert (plan.step, plan.lost, plan.is_exact) == (3, 3, True)
    assert "stored by hand, or migrated, and no log leads to it" in plan.actions[-1]


def test_a_checkpoint_whose_log_is_gone_gets_an_empty_one() -> None:
    """The state is worth more than the log that continues it."""
    files = store("aacaaca|aasaa")
    damaged = {name: files[name] for name in files if not name.startswith("log-")}
    directory = MemoryDirectory(damaged)
    plan = mend(directory)
    assert (plan.step, plan.lost, plan.is_exact) == (4, 0, False)
    assert "wrote an empty log-00000003" in "".join(plan.actions)
    assert read(directory) == 4
    assert Recovery(directory, NAME).checkpoint is not None


def test_the_log_that_is_cut_keeps_its_header_and_is_marked_as_forced() -> None:
    """So the same damage is found if it happens again."""
    files = store("caaaae")
    (name, log), *_ = ((name, files[name]) for name in files if name.startswith("log-"))
    directory = MemoryDirectory(changed(files, name, flipped(log, len(log) - 10)))
    assert mend(directory).step == 3
    cut = directory.files()[name]
    assert unmarked(cut[:HEADER_SIZE]) == unmarked(log[:HEADER_SIZE])
    with pytest.raises(CorruptionError, match="were forced to the disk"):
        read(MemoryDirectory({**directory.files(), name: cut[:-1]}))


def test_what_recovery_mends_itself_is_left_to_it_and_said() -> None:
    """A damaged newest checkpoint, and a torn end."""
    files = store("aacaaca|aasaa")
    name = "checkpoint-00000003"
    directory = MemoryDirectory(changed(files, name, flipped(files[name], 1100)))
    plan = mend(directory)
    assert (plan.step, plan.lost, plan.changes_anything) == (9, 0, False)
    assert plan.actions[0].startswith(f"{name} does not hold and is left to the next writer")
    torn = MemoryDirectory(changed(files, "log-00000004", files["log-00000004"][:-3]))
    plan = mend(torn)
    assert (plan.step, plan.changes_anything) == (8, False)
    assert "log-00000004 was torn by a crash" in plan.actions[0]
    assert not directory.operations
    assert not torn.operations


def test_nothing_is_taken_from_another_run() -> None:
    """A file of another run, or of another generation, is an error; nothing is guessed."""
    files = store("aacaaca|aasaa")
    other = MemoryDirectory()
    write(other, "aacaaca|aasaa")
    swapped = changed(files, "log-00000004", other.files()["log-00000004"])
    moved = changed(files, "log-00000003", files["log-00000004"])
    for damaged in (swapped, moved):
        directory = MemoryDirectory(damaged)
        with pytest.raises(CorruptionError, match="was moved or renamed"):
            mend(directory)
        assert not directory.operations


def test_a_newer_format_is_not_touched() -> None:
    """Whatever else is wrong."""
    files = store("aacaaca|aasaa")
    damaged = changed(files, "log-00000003", of_version(files["log-00000003"], 2))
    del damaged["checkpoint-00000003"]
    directory = MemoryDirectory(damaged)
    with pytest.raises(FormatVersionError, match="format version 2"):
        mend(directory)
    assert not directory.operations


def test_a_writer_that_had_lost_the_run_does_not_win_by_its_length() -> None:
    """Where two logs continue one, the newer one is the run's, even where the older is longer."""
    directory = MemoryDirectory()
    write(directory, "caa")
    lost = Writer(directory)
    lost.play("aaaaaa")
    beside = directory.files()["log-00000002"]
    directory.remove("log-00000002")
    rightful = Writer(directory)
    rightful.generations._highest = 2
    rightful.play("aas")
    files = changed(directory.files(), "log-00000002", beside)
    assert read(MemoryDirectory(files)) == 4
    log = files["log-00000003"]
    damaged = MemoryDirectory(changed(files, "log-00000003", flipped(log, len(log) - 10)))
    plan = mend(damaged)
    assert plan.step == 3
    assert read(damaged) == 3


def test_what_a_writer_appended_after_it_had_lost_the_run_is_cut_with_the_rest() -> None:
    """The next log says where it ends, also where nothing of that log is left."""
    directory = MemoryDirectory()
    lost = write(directory, "caa")
    rightful = Writer(directory)
    lost.play("aas")
    rightful.play("aas")
    files = directory.files()
    assert read(MemoryDirectory(files)) == 4
    log = files["log-00000002"]
    damaged = MemoryDirectory(changed(files, "log-00000002", flipped(log, HEADER_SIZE + 10)))
    assert (mend(damaged).step, read(damaged)) == (2, 2)


@pytest.mark.parametrize(("byte", "is_exact"), [(8, True), (1, False), (6, False)])
def test_steps_between_damaged_records_are_counted_where_their_lengths_hold(
    byte: int, is_exact: bool
) -> None:
    """Two records do not hold, and one does behind them."""
    files = store("caaaaae")
    name = "log-00000001"
    [_, first, second, *_] = [HEADER_SIZE, *Truth(files).logs[1].ends]
    log = flipped(flipped(files[name], first + byte), second + 9)
    plan = mend(MemoryDirectory(changed(files, name, log)))
    assert (plan.step, plan.is_exact) == (1, is_exact)
    assert plan.lost == (4 if is_exact else 2)


# -- output files --------------------------------------------------------------------------


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


LENGTH_OF_OUTPUT = Key.parse("output out.txt#0")


def at(step: int) -> bytes:
    return encode_context([(LENGTH_OF_OUTPUT, struct.pack("<Q", 10 * step))])


def has(length: int) -> Callable[[Mapping[Key, bytes]], bool]:
    """Return what says whether an output file of this length is long enough."""

    def fits(context: Mapping[Key, bytes]) -> bool:
        (needed,) = struct.unpack("<Q", context.get(LENGTH_OF_OUTPUT, bytes(8)))
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


@pytest.mark.parametrize("boot", ["boot-1", "the next boot"])
def test_a_short_output_file_leads_back_to_the_newest_step_that_it_holds(boot: str) -> None:
    """Whether that is in a log or at a checkpoint; and if there is none, it is an error."""
    files = with_outputs("caacaas", "aacaas")
    end = 8
    for length in range(10 * end + 1):
        directory = MemoryDirectory(dict(files), boot=boot)
        fits = has(length)
        if length < 20:
            with pytest.raises(CorruptionError, match="output files are as long as they were"):
                mend(directory, fits)
            assert not directory.operations
            continue
        plan = mend(directory, fits)
        assert (plan.step, plan.lost) == (length // 10, end - length // 10)
        assert plan.is_exact
        assert read(directory) == plan.step
        assert fits(recovered(directory).context)
        assert not mend(directory, fits).changes_anything


def recovered(directory: Directory) -> Recovery:
    recovery = Recovery(directory, NAME)
    for _ in recovery.increments():
        pass
    return recovery


def test_after_a_reboot_only_forced_steps_count_where_there_is_output() -> None:
    """What the others wrote may not have reached the disk; where a log follows, all of it has."""
    files = with_outputs("caasaa", "aasaa")
    for damaged in (
        changed(files, "log-00000002", flipped(files["log-00000002"], HEADER_SIZE + 130)),
        changed(files, "log-00000001", files["log-00000001"][:-1]),
    ):
        steps = []
        for boot in ("boot-1", "the next boot"):
            directory = MemoryDirectory(dict(damaged), boot=boot)
            with pytest.raises(CorruptionError):
                read(directory)
            steps.append(mend(directory, has(1000)).step)
            assert read(directory) == steps[-1]
            assert read(MemoryDirectory(directory.files(), boot="yet another boot")) == steps[-1]
        assert steps[0] == steps[1]


def test_what_was_not_forced_is_not_marked_as_forced_where_there_is_output() -> None:
    """The log that is written anew is forced, but the output files may not be."""
    files = with_outputs("caasaa", "aasaa")
    directory = MemoryDirectory(dict(files))
    assert mend(directory, has(79)).step == read(directory) == 7
    assert read(with_next_boot(directory.files())) == 6


def test_what_was_not_forced_is_not_kept_after_a_reboot_where_there_is_output() -> None:
    """Also where it is not for that that a repair is needed."""
    files = with_outputs("caasaa")
    directory = MemoryDirectory(files)
    writer = OutputWriter(directory)
    writer.generations._highest = 2
    writer.play("aasaa")
    files = {**directory.files(), "log-00000002": bytes(2000)}
    for boot, step in (("boot-1", 8), ("the next boot", 6)):
        directory = MemoryDirectory(dict(files), boot=boot)
        with pytest.raises(CorruptionError):
            read(directory)
        assert mend(directory, has(1000)).step == read(directory) == step


@pytest.mark.parametrize("texts", [("caacaas", "aacaas"), ("aaas", "aacaa", "aCaas")])
def test_damaged_files_and_short_output_files_at_once(texts: tuple[str, ...]) -> None:
    """The newest step that is right in both respects."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    files = with_outputs(*texts)
    truth = Truth(files)
    for _ in range(150):
        damaged = dict(files)
        harm(damaged, rng)
        length = rng.randrange(10 * truth.end + 5)
        directory = MemoryDirectory(dict(damaged))
        try:
            check_outputs(directory, truth.best(damaged, length // 10), length)
        except BaseException:
            print("seed", seed)
            raise


def check_outputs(directory: MemoryDirectory, best: int | None, length: int) -> None:
    """Repair, and compare with what is right."""
    if not is_sound(directory, length) and best is None:
        with pytest.raises(CorruptionError, match="cannot be repaired"):
            mend(directory, has(length))
        assert not directory.operations
        return
    was_sound = is_sound(directory, length)
    plan = mend(directory, has(length))
    assert was_sound or plan.step == best
    assert plan.step == read(directory) <= length // 10
    assert is_sound(directory, length)


def is_sound(directory: Directory, length: int) -> bool:
    try:
        return has(length)(recovered(directory).context)
    except CorruptionError:
        return False


# -- crashes and failures of the repair itself ---------------------------------------------

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


def on_disk(files: Mapping[str, bytes]) -> MemoryDirectory:
    """Return a directory that remembers how these files came to be, and durable."""
    directory = MemoryDirectory()
    for name, content in files.items():
        output = directory.create(name)
        output.write(content)
        output.sync()
    directory.sync()
    return directory


def check_interrupted(files: dict[str, bytes], damaged: dict[str, bytes], done: Plan) -> None:
    """What an interrupted repair has left is an error, or repaired; a second repair ends it."""
    directory = MemoryDirectory(files)
    try:
        assert read(directory) == done.step
    except CorruptionError as error:
        said = str(error)
    else:
        assert not mend(directory).changes_anything
        return
    if REPAIR in files:
        assert "trax.repair('run') again" in said
    else:
        assert {name: files[name] for name in damaged} == damaged
    again = mend(directory)
    assert (again.step, again.lost, again.actions) == (done.step, done.lost, done.actions)
    assert read(directory) == done.step
    assert not mend(directory).changes_anything


@pytest.mark.parametrize("text", HARMED)
def test_a_power_cut_at_any_instant(text: str, count: Count) -> None:
    """Never a wrong state, never a fresh one, and never one that a second repair cannot end."""
    damaged = harmed(text)
    directory = on_disk(damaged)
    begun = len(directory.operations)
    done = mend(directory)
    images = 0
    for number in range(begun, len(directory.operations) + 1):
        for image in crash_images(directory.operations[:number]):
            check_interrupted(image, damaged, done)
            images += 1
    count("crash images recovered", images)


def test_names_are_forced_before_anything_builds_on_them() -> None:
    """The repair file before what it says is done, and that before the file is removed."""
    directory = MemoryDirectory(harmed("aacaaca|aasaa"))
    mend(directory)
    names = [
        (one.kind, one.other or one.name)
        for one in directory.operations
        if one.kind in ("rename", "remove", "sync directory")
    ]
    assert names == [
        ("rename", REPAIR),
        ("sync directory", ""),
        ("remove", "log-00000004"),
        ("sync directory", ""),
        ("rename", "log-00000003"),
        ("sync directory", ""),
        ("remove", REPAIR),
        ("sync directory", ""),
    ]


def failing_at(number: int) -> Callable[[int, str], int]:
    return lambda call, kind: errno.EIO if call == number else 0


@pytest.mark.parametrize("text", HARMED)
def test_every_disk_call_that_fails(text: str, count: Count) -> None:
    """The error is passed on; what is left is as after a crash."""
    damaged = harmed(text)
    done = mend(MemoryDirectory(dict(damaged)))
    for number in itertools.count(1):
        directory = FaultyDirectory()
        directory.inner = MemoryDirectory(dict(damaged))
        directory.fault = failing_at(number)
        try:
            mend(directory)
        except (OSError, StorageError):
            check_interrupted(directory.inner.files(), damaged, done)
        else:
            break
    assert number > 5
    count("disk calls failed", number - 1)


def test_a_repair_file_that_does_not_hold_is_made_anew() -> None:
    """The run asks for a repair, and gets one."""
    damaged = {**harmed("aacaaca|aasaa"), REPAIR: b"0000000000000000\n{}"}
    directory = MemoryDirectory(damaged)
    with pytest.raises(CorruptionError, match="was begun and did not end"):
        read(directory)
    assert mend(directory).step == 4
    assert read(directory) == 4
    sound = MemoryDirectory({**store("aacaaca|aasaa"), REPAIR: b""})
    assert mend(sound).step == 9
    assert read(sound) == 9


@pytest.mark.parametrize("text", HARMED)
def test_what_a_repair_had_removed_is_not_said_to_be_nothing(text: str) -> None:
    """Where it was cut short, and its file does not hold, nobody knows what is gone."""
    damaged = harmed(text)
    done = mend(on_disk(damaged))
    for number in itertools.count():
        directory = on_disk(damaged)
        begun = len(directory.operations)
        mend(directory)
        half = MemoryDirectory()
        for operation in directory.operations[: begun + number]:
            half.apply(operation)
        if len(half.operations) == len(directory.operations):
            break
        if REPAIR in half.list():
            half = MemoryDirectory({**half.files(), REPAIR: b"0000000000000000\n{}"})
            plan = mend(half)
            assert (plan.step, read(half)) == (done.step, done.step)
            assert not plan.is_exact
            assert plan.actions
    assert number > 3


def begun(**changes: Any) -> dict[str, bytes]:
    """Return a store whose repair has written what it will do, or something else, and no more."""
    files = store("caaaae")
    log = files["log-00000001"]
    damaged = changed(files, "log-00000001", flipped(log, len(log) - 10))
    directory = MemoryDirectory(damaged)
    assert mend(directory).step == 3
    written = next(one.data for one in directory.operations if one.kind == "write")
    plan = json.dumps(json.loads(written.partition(b"\n")[2]) | changes).encode()
    return {**damaged, REPAIR: xxh3_64_hexdigest(plan).encode() + b"\n" + plan}


@pytest.mark.parametrize(("offset", "step"), [(10, 0), (500, 0), (1040, 0), (1082, 2), (None, 0)])
def test_what_was_damaged_since_a_repair_was_begun_is_not_kept(
    offset: int | None, step: int
) -> None:
    """What the repair was going to do does not lead any more where it says, and is done anew."""
    files = begun()
    if offset is None:
        del files["log-00000001"]
    else:
        files["log-00000001"] = flipped(files["log-00000001"], offset)
    directory = MemoryDirectory(files)
    plan = mend(directory)
    assert (plan.step, plan.is_exact) == (step, False)
    assert read(directory) == step
    assert not mend(directory).changes_anything


@pytest.mark.parametrize(
    "changes",
    [
        {"step": 5},
        {"step": "3"},
        {"remove": ["../../other"]},
        {"remove": 1},
        {"log": "../log-00000001"},
        {"end": 10**17},
        {"end": -1},
        {"durable": 10**30},
        {"fields": {}},
        {"fields": {"run": "x" * 2000}},
        {"more": 1},
        {"actions": None},
    ],
)
def test_a_repair_file_that_makes_no_sense_is_made_anew(changes: dict[str, Any]) -> None:
    """Its checksum holds for whatever was written with it."""
    directory = MemoryDirectory(begun(**changes))
    assert mend(directory).step == 3
    assert read(directory) == 3
    assert REPAIR not in directory.list()


def test_a_repair_file_says_what_will_be_done() -> None:
    """It is JSON behind a checksum, and names nothing but checkpoints and logs."""
    directory = MemoryDirectory(harmed("aacaaca|aasaa"))
    mend(directory)
    written = next(one.data for one in directory.operations if one.kind == "write")
    plan = json.loads(written.partition(b"\n")[2])
    assert plan["remove"] == ["log-00000004"]
    assert (plan["log"], plan["end"]) == ("log-00000003", HEADER_SIZE)


# -- what no trax would write --------------------------------------------------------------


def appended(content: bytes, *records: tuple[int, bytes]) -> bytes:
    """Return a log with records behind its end whose checksums hold."""
    (chain,) = struct.unpack("<Q", content[-8:])
    return content + b"".join(frame(records, chain, None)[0])


@pytest.mark.parametrize(
    "records",
    [
        [(PICKLE, b"\x80\5N.")],
        [(END | BEGINS, bytes(8))],
        [(CONTEXT | BEGINS, b"\1"), (PICKLE, b"\x80\5N.")],
        [(NOTE | BEGINS, b"\1\0\0\0\0\0")],
    ],
)
@pytest.mark.parametrize("number", [3, 4])
def test_a_record_that_holds_and_makes_no_sense_ends_what_is_kept(
    records: list[tuple[int, bytes]], number: int
) -> None:
    """What stands before it is as right as before any other damage."""
    files = store("aacaaca|aasaa")
    name = f"log-{number:08d}"
    damaged = changed(files, name, appended(files[name], *records))
    if number == 3:  # where the next log does not begin before it
        del damaged["log-00000004"]
    directory = MemoryDirectory(damaged)
    with pytest.raises(CorruptionError):
        read(directory)
    assert mend(directory).step == {3: 5, 4: 9}[number]
    assert read(directory) == {3: 5, 4: 9}[number]


def without(files: Mapping[str, bytes], name: str, field: str) -> dict[str, bytes]:
    """Return a store in which the header block of a checkpoint lacks a field."""
    directory = MemoryDirectory(dict(files))
    found = FileName.parse(name)
    assert found
    checkpoint = read_checkpoint(directory, found)
    fields = {key: value for key, value in checkpoint.fields.items() if key != field}
    directory.remove(name)
    write_checkpoint(directory, found, fields, checkpoint.meta, checkpoint.parts)
    return directory.files()


def test_a_checkpoint_that_does_not_say_who_wrote_it_gets_a_log_all_the_same() -> None:
    """Recovery does not ask for it; and the log says who has written that."""
    damaged = without(store("aacaaca|aasaa"), "checkpoint-00000003", "python")
    damaged = {name: damaged[name] for name in damaged if not name.startswith("log-")}
    directory = MemoryDirectory(damaged)
    assert mend(directory).step == 4
    assert read(directory) == 4
    fields, _ = decode_header("log", directory.files()["log-00000003"][:HEADER_SIZE])
    assert fields["python"] == platform.python_version()


@pytest.mark.parametrize("field", ["written", "step", "name"])
def test_a_checkpoint_whose_header_block_makes_no_sense_is_as_good_as_none(field: str) -> None:
    """Though its meta record holds."""
    damaged = without(store("aacaaca|aasaa"), "checkpoint-00000003", field)
    damaged = changed(damaged, "log-00000003", flipped(damaged["log-00000003"], 500))
    directory = MemoryDirectory(damaged)
    assert mend(directory).step == 4
    assert read(directory) == 4


# -- in the file system --------------------------------------------------------------------


def harm_file(path: Path, offset: int) -> None:
    path.write_bytes(flipped(path.read_bytes(), offset))


def test_what_was_there_is_in_the_copy_byte_for_byte_and_the_run_goes_on(store_here: Path) -> None:
    """The whole story, as a person sees it."""
    run = count_to_13()
    harm_file(run / "log-00000003", 1110)
    (run / "a note of mine").write_text("kept")
    (run / "a directory of mine").mkdir()
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(CorruptionError, match=r"trax\.repair\('count'\)"):
        trax.load("count")
    done = trax.repair("count")
    assert (done.name, done.path) == ("count", str(store_here / "runs/count"))
    assert (done.step, done.lost, done.is_exact) == (11, 2, True)
    assert done.aside == str(store_here / "aside/count~1")
    aside = Path(done.aside)
    assert {path.name: path.read_bytes() for path in aside.iterdir()} == before
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in aside.iterdir())
    assert str(done) == (
        "count was repaired: it goes on at step 11, and 2 steps are lost.\n"
        "  cut log-00000003 from 1,234 to 1,094 bytes "
        "(a record's checksum does not hold at offset 1094)\n"
        f"What was there is kept in {aside}."
    )
    assert json.loads(json.dumps(done.as_dict()))["lost"] == 2
    assert trax.load("count") == 11
    run_script(COUNT + "assert count(to=20).result() == 20\n")
    assert Path("out.txt").read_text().split() == [str(n) for n in range(20)]
    again = trax.repair("count")
    assert (again.step, again.aside, again.lost) == (20, None, 0)
    assert str(again) == "count needs no repair: it goes on at step 20."


def test_the_copy_is_on_the_disk_before_anything_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each file of it is forced, and so are the directories that name it."""
    run = count_to_13()
    harm_file(run / "log-00000003", 1110)
    forced: list[int] = []
    force, begin = filesystem.force, repairing._begin

    def forcing(fd: int) -> None:
        forced.append(os.fstat(fd).st_ino)
        force(fd)

    def beginning(directory: Directory, plan: Plan) -> None:
        copies = list(Path(".trax", plan.aside).iterdir())
        assert len(copies) == len(list(run.iterdir()))
        assert {path.stat().st_ino for path in copies} <= set(forced)
        begin(directory, plan)

    monkeypatch.setattr(filesystem, "force", forcing)
    monkeypatch.setattr(repairing, "_begin", beginning)
    assert trax.repair("count").step == 11


def test_a_short_output_file(store_here: Path) -> None:
    """The run goes back to where its output is all there, and the next run goes on."""
    count_to_13()
    os.truncate("out.txt", 15)
    done = trax.repair("count")
    assert (done.step, done.lost, done.is_exact) == (7, 6, True)
    run_script(COUNT + "assert count(to=20).result() == 20\n")
    assert Path("out.txt").read_text().split() == [str(n) for n in range(20)]
    Path("out.txt").unlink()  # a run that is done needs it no more
    assert trax.repair("count").aside is None


def test_only_a_run_that_is_done_needs_no_output_file() -> None:
    """One that has gone on since then is led back to where it was done, and goes on with the file.

    Its steps may have written nothing more, so that none of them speaks of the file.
    """

    @trax.resumable(create=int, varying=("to",))
    def count(n: int, to: int) -> Generator[int, int, None]:
        with trax.open("out.txt") as file:
            while n < to:
                if n < 3:
                    print(n, file=file)
                n = yield n + 1

    count(to=3).result()
    with count(to=9) as run:
        assert [next(run), next(run)] == [4, 5]
    Path("out.txt").rename("moved.txt")
    assert not trax.verify("count").good
    done = trax.repair("count")
    assert (done.step, done.lost, done.is_exact) == (3, 2, True)
    assert count(to=3).result() == 3
    assert trax.repair("count").aside is None
    Path("moved.txt").rename("out.txt")
    assert count(to=9).result() == 9


def test_a_run_that_is_held_is_not_repaired() -> None:
    """The holder may be about to write."""
    with trax.Trax() as held:
        held.checkpoint(run=1)
        with pytest.raises(LockedError, match="is held by"):
            trax.repair("run")
    assert trax.repair("run").aside is None


def test_there_must_be_something_to_repair(store_here: Path) -> None:
    """Asking makes nothing."""
    with pytest.raises(NotFoundError, match="nothing is stored as 'run'"):
        trax.repair("run")
    assert not store_here.exists()


class Bomb:
    """Leaves a trace if it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("exploded", "w")


def test_nothing_is_unpickled() -> None:
    """Neither what holds nor what does not."""
    with trax.Trax() as bombs:
        bombs.checkpoint(run=Bomb())
        for _ in range(3):
            bombs.log(run=Bomb())
    log = Path(".trax/runs/run/log-00000001")
    harm_file(log, log.stat().st_size - 10)
    assert not trax.verify("run").good
    assert trax.repair("run").step == 2
    assert trax.verify("run").good
    assert not Path("exploded").exists()


KILLED = """
import os, shutil, signal
import trax
from trax.storage import filesystem

def killed_at(number, call):
    calls = 0
    def before(function):
        def called(*arguments):
            nonlocal calls
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments)
        return called
    for kind in (filesystem.LocalDirectory, filesystem._LocalOutput):
        for name in ("create", "rename", "remove", "sync", "truncate"):
            if hasattr(kind, name):
                setattr(kind, name, before(getattr(kind, name)))
    call()

def dies(number):
    child = os.fork()
    if not child:
        killed_at(number, lambda: trax.repair("count"))
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL

def contents(path):
    return {f: open(f"{path}/{f}", "rb").read() for f in os.listdir(path) if "repair" not in f}

run = ".trax/runs/count"
shutil.copytree(run, "before")
number = 1
while dies(number):
    try:
        trax.load("count")
    except trax.CorruptionError:
        again = trax.repair("count")
        assert (again.step, again.lost, again.is_exact) == (6, 7, True), again
        assert contents(again.aside) == contents("before")
    assert trax.load("count") == 6
    shutil.rmtree(run)
    shutil.copytree("before", run)
    number += 1
print(number - 1)
"""


def test_a_repair_that_is_killed_is_ended_by_the_next_one(count: Count) -> None:
    """Before each call that changes anything; the copy is whole whenever something was changed."""
    run = count_to_13()
    harm_file(run / "log-00000002", 1100)
    harm_file(run / "checkpoint-00000003", 1100)
    kills = int(run_script(KILLED).stdout)
    assert kills > 15
    count("kills survived", kills)
