"""What may be removed of a run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from support import NAME, Writer, read, states_of, with_next_boot

from trax.fsck.verify import examine
from trax.keep import ALL, Keep, keep_bytes, keep_every, keep_for
from trax.storage.filenames import FileName
from trax.storage.process import process
from trax.storage.records import HEADER_SIZE
from trax.storage.retention import Described, Describer, removable
from trax.storage.run_reader import RunReader
from trax.storage.stored_steps import stored_steps
from trax.testing.memory import MemoryDirectory, crash_images


def files(text: str) -> list[FileName]:
    """Return files as written: ``c1`` is a checkpoint, ``l1`` its log."""
    kinds = {"c": "checkpoint", "l": "log"}
    return [FileName(kinds[word[0]], int(word[1:])) for word in text.split()]


def unseen(name: FileName, is_final: bool) -> None:
    """A number of checkpoints needs no look at any file."""
    raise AssertionError


@pytest.mark.parametrize(
    ("stored", "whole", "keep", "removed"),
    [
        ("", [], 1, ""),
        ("l1", [], 1, ""),
        ("c1 l1", [1], 1, ""),
        ("c1 l1 c2 l2", [1, 2], 2, ""),
        ("c1 l1 c2 l2", [2], 2, ""),  # nobody has seen that the first one is whole
        ("c1 l1 c2 l2", [2], 1, "c1 l1"),
        ("c1 l1 c2 l2 c3 l3", [1, 2, 3], 2, "c1 l1"),
        ("c1 l1 c2 l2 c3 l3", [2, 3], 2, "c1 l1"),
        ("c1 l1 c2 l2 c3 l3", [1, 3], 2, ""),  # the first one is kept in place of the second
        ("c1 l1 l2 l3 c4 l4", [1, 4], 1, "c1 l1 l2 l3"),  # logs without a checkpoint
        ("l1 l2 c3 l3 l4", [3], 1, "l1 l2"),
        ("c1 l1 l2 c3 l3", [1, 3], 2, ""),  # the second log leads from one to the other
        ("c3 l3 c2 l2 l1 c1", [1, 2, 3], 1, "c1 l1 c2 l2"),  # in whatever order they are listed
        ("l2 c3 l3", [2, 3], 2, ""),  # one is gone; its log is needed no less
        ("c9 l9 c10 l10", [9, 10], 1, "c9 l9"),
    ],
)
def test_what_no_kept_checkpoint_needs_is_removed_oldest_first(
    stored: str, whole: list[int], keep: int, removed: str
) -> None:
    """Nothing of the oldest checkpoint that is kept goes, and nothing of a later one."""
    assert removable(files(stored), whole, keep, unseen) == files(removed)


def test_files_are_not_listed_while_all_are_needed() -> None:
    """So the first checkpoints of a run cost no listing."""

    def listed() -> Iterator[FileName]:
        raise AssertionError
        yield

    assert removable(listed(), [1], 2, unseen) == []
    assert removable(listed(), [1, 2, 3], ALL, unseen) == []
    assert removable(listed(), [1], keep_every(steps=1), unseen) == []


# -- policies ------------------------------------------------------------------------------


def described(**logs: tuple[int, int]) -> Callable[[FileName, bool], Described | None]:
    """Describe checkpoint N as of step 10 N and 100 bytes; logs by ``l1=(bytes, derives from)``."""

    def describe(name: FileName, is_final: bool) -> Described | None:
        if name.kind == "checkpoint":
            return Described(100, name.generation * 10, process.time() - 1000 + name.generation)
        size, derives_from = logs[f"l{name.generation}"]
        return Described(HEADER_SIZE + size, derives_from=derives_from)

    return describe


DERIVED = {f"l{number}": (50, number - 1) for number in range(1, 8)}
BY_CHECKPOINTS = {f"l{number}": (0, 0) for number in range(1, 8)}  # nothing is logged


@pytest.mark.parametrize(
    ("keep", "logs", "removed"),
    [
        (keep_every(steps=20), DERIVED, "c3 c5"),  # the logs lead to what was there
        (keep_every(steps=20), BY_CHECKPOINTS, "c3 l3 c5 l5"),
        (keep_every(steps=20), {**BY_CHECKPOINTS, "l3": (9, 0)}, "c3 c5 l5"),  # it has a step
        (keep_every(steps=20), {**BY_CHECKPOINTS, "l4": (0, 3)}, "c3 c5 l5"),  # it goes on there
        (keep_every(steps=10**6), DERIVED, "c2 c3 c4 c5"),
        (keep_bytes(100 * 3 + (50 + HEADER_SIZE) * 3), DERIVED, "c1 l1 c2 l2 c3 l3 c4 l4"),
        (keep_bytes(1), DERIVED, "c1 l1 c2 l2 c3 l3 c4 l4 c5 l5"),  # the newest two stay anyway
        (keep_for(10**6), DERIVED, ""),
        (keep_for(996.5), DERIVED, "c1 l1 c2 l2"),  # the one before that time leads into it
        (keep_for(days=1) & keep_every(steps=20), DERIVED, "c3 c5"),
        (keep_for(996.5) | keep_every(steps=40), DERIVED, "c2"),
        (
            keep_every(steps=20) & keep_bytes(300 + 5 * (50 + HEADER_SIZE)),
            DERIVED,
            "c1 l1 c2 l2 c3 l3 c5",
        ),
    ],
)
def test_a_policy_removes_checkpoints_and_what_only_they_need(
    keep: Keep, logs: dict[str, tuple[int, int]], removed: str
) -> None:
    """Of the logs after the oldest checkpoint, those that have and lead to nothing."""
    stored = files("c1 l1 c2 l2 c3 l3 c4 l4 c5 l5 c6 l6 c7 l7")
    assert removable(stored, [6, 7], keep, described(**logs)) == files(removed)
    assert removable(stored, [7], keep, described(**logs)) == []


def test_a_checkpoint_that_cannot_be_read_is_left_where_it_is() -> None:
    """Nobody knows its step; it goes with all that is older than the oldest that is kept."""
    whole = described(**DERIVED)

    def describe(name: FileName, is_final: bool) -> Described | None:
        return None if str(name) == "checkpoint-00000003" else whole(name, is_final)

    stored = files("c1 l1 c2 l2 c3 l3 c4 l4 c5 l5 c6 l6 c7 l7")
    assert removable(stored, [6, 7], keep_every(steps=10**6), describe) == files("c2 c4 c5")
    assert removable(stored, [6, 7], keep_bytes(1), describe)[:6] == stored[:6]


def test_a_log_that_grows_is_looked_at_again() -> None:
    """Others are read once."""
    directory = MemoryDirectory()
    writer = Writer(directory)
    writer.play("aca")
    describe = Describer(directory)
    log = FileName("log", 2)
    before = describe(log, False)
    writer.play("a")
    after = describe(log, True)
    assert before is not None
    assert after is not None
    assert after.size > before.size
    directory.remove(str(log))
    assert describe(log, True) == after
    assert describe(FileName("log", 7), True) is None


# Many checkpoints, with steps between them and without; such as follow, and such as do not.
SCENARIO = "cacaaca|acacaaca|acCaCCaCacCaaca|abawawc"

POLICIES = [keep_every(steps=4), keep_every(steps=3) & keep_bytes(20_000), keep_bytes(9000), ALL]


@pytest.mark.parametrize("keep", POLICIES, ids=repr)
def test_after_each_removal_the_rest_is_a_run(
    keep: Keep, count: Callable[[str, int], None]
) -> None:
    """At every instant, and after a power cut: it is good, and every step that is told is there."""
    directory = MemoryDirectory()
    writer = Writer(directory, keep=keep)
    for letter in SCENARIO:
        if letter == "|":
            writer.kill()
            writer = Writer(directory, keep=keep)
        else:
            writer.play(letter)
    images = set()
    for done in range(len(directory.operations)):
        for image in itertools.islice(crash_images(directory.operations[:done]), 0, None, 3):
            key = tuple(sorted(image.items()))
            if key not in images:
                images.add(key)
                check(with_next_boot(image), all_steps=len(images) % 4 == 0)
    assert read(directory) == writer.step
    count("images after removals by a policy", len(images))


def check(directory: MemoryDirectory, *, all_steps: bool) -> None:
    """It is good; each step that is said to be stored has its state, and no other step has one."""
    newest = read(directory)
    found = examine(directory, NAME, "store")
    assert found.good, found
    if not all_steps:
        return
    told = {step for one in stored_steps(directory, RunReader(directory, NAME)) for step in one}
    for step in range(newest + 2):
        reader = RunReader(directory, NAME, until=step)
        reached = reader.found and len(states_of(reader)) == step
        assert reached == (step in told), (step, told, directory.list())
    assert not directory.list() or newest in told or not newest


def test_all_steps_stay_if_all_is_kept() -> None:
    """And with a policy that thins checkpoints out, as long as steps follow from one another."""
    for keep in (ALL, keep_every(steps=10**9)):
        directory = MemoryDirectory()
        Writer(directory, keep=keep).play("cacacaacacaacacacaacacaacacacaaca")
        told = stored_steps(directory, RunReader(directory, NAME))
        assert told == [range(read(directory) + 1)]
