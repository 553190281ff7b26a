"""A repair that is interrupted: whatever instant it is, the next one ends it."""

from __future__ import annotations

import errno
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from faults import FaultyDirectory
from harm import HARMED, Count, harmed, mend, store
from support import changed, flipped, read
from xxhash import xxh3_64_hexdigest

from trax import CorruptionError, StorageError
from trax.fsck.repair_plan import Plan
from trax.storage.filenames import REPAIR
from trax.storage.records import HEADER_SIZE
from trax.testing.memory import MemoryDirectory, crash_images


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


# -- what is in the file -------------------------------------------------------------------


def test_a_repair_file_says_what_will_be_done() -> None:
    """It is JSON behind a checksum, and names nothing but checkpoints and logs."""
    directory = MemoryDirectory(harmed("aacaaca|aasaa"))
    mend(directory)
    written = next(one.data for one in directory.operations if one.kind == "write")
    plan = json.loads(written.partition(b"\n")[2])
    assert plan["remove"] == ["log-00000004"]
    assert (plan["log"], plan["end"]) == ("log-00000003", HEADER_SIZE)


def test_a_repair_file_that_does_not_hold_is_made_anew() -> None:
    """The run asks for a repair, and gets one."""
    damaged = {**harmed("aacaaca|aasaa"), REPAIR: b"0000000000000000\n{}"}
    directory = MemoryDirectory(damaged)
    with pytest.raises(CorruptionError, match="was interrupted"):
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
