"""Finding what is provably right: the way from each checkpoint along the logs, and its end."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from harm import SHAPES, OutputWriter, Truth, always, has, mend, recovered, store, with_outputs
from support import NAME, Writer, changed, flipped, read, write

import trax
from trax import CorruptionError, UsageError
from trax.fsck.prefix import Prefix, prefixes
from trax.fsck.scan import Scan
from trax.keep import ALL
from trax.storage.records import BEGINS, CONTEXT, END, HEADER_SIZE, NOTE, PICKLE, Framing
from trax.testing.memory import MemoryDirectory


@pytest.mark.parametrize("text", SHAPES)
def test_in_a_run_without_damage_the_best_prefix_is_all_of_it(text: str) -> None:
    """It begins with the newest checkpoint; the others do not lead farther."""
    directory = MemoryDirectory(store(text))
    scan = Scan(directory, NAME)
    found = [*prefixes(directory, scan, always)]
    assert found[0].position.step == read(directory) == Truth(directory.files()).end
    assert found[0].generation == max(scan.checkpoints)
    assert [one.rank for one in found] == sorted((one.rank for one in found), reverse=True)
    assert {one.generation for one in found} >= set(scan.checkpoints)


def test_a_prefix_ends_where_a_log_is_damaged() -> None:
    """At the end of the last increment before the flaw."""
    files = store("caaaae")
    log = files["log-00000001"]
    directory = MemoryDirectory(changed(files, "log-00000001", flipped(log, len(log) - 10)))
    [best, *_] = prefixes(directory, Scan(directory, NAME), always)
    assert (best.generation, best.path, best.position.step) == (1, [1], 3)
    assert best.end == Truth(files).logs[1].ends[2]


@pytest.mark.parametrize("text", SHAPES)
def test_a_run_goes_back_to_each_step_that_is_stored(text: str) -> None:
    """And to no other; with the state of that step, and all later steps counted as lost."""
    files = store(text)
    end = read(MemoryDirectory(files))
    oldest = min(prefix.position.step for prefix in shortest(files))
    for step in range(end + 2):
        directory = MemoryDirectory(dict(files))
        if step < oldest:
            with pytest.raises(UsageError, match=f"from {oldest} to {end} are stored"):
                mend(directory, step=step)
            assert directory.files() == files
            continue
        plan = mend(directory, step=step)
        assert plan.step == read(directory) == min(step, end)
        assert plan.lost == max(0, end - step)
        write(directory, "aa")
        assert read(directory) == min(step, end) + 2


def shortest(files: dict[str, bytes]) -> list[Prefix]:
    """Return the prefixes that begin as early as possible, each ended at once."""
    directory = MemoryDirectory(files)
    steps = range(read(directory) + 1)
    found = [[*prefixes(directory, Scan(directory, NAME), always, step)] for step in steps]
    return next(prefix for prefix in found if prefix)


def test_a_step_is_one_of_the_run_though_its_logs_lack_some() -> None:
    """Without a log of increments, only checkpoints are steps to go back to."""

    @trax.resumable(create=list, replay_log=None, every_steps=4)
    def loop(done: list[int], n: int) -> Iterator[None]:
        while len(done) < n:
            done.append(len(done))
            yield

    loop(n=11).result()
    done = trax.repair("loop", step=10)
    assert (done.step, done.lost) == (8, 3)
    assert loop.load() == [*range(8)]
    assert loop(n=11).result() == [*range(11)]


class Counting(MemoryDirectory):
    """Counts the files that are opened."""

    opened = 0

    def open(self, name: str) -> Any:
        self.opened += 1
        return super().open(name)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_many_checkpoints_are_not_each_followed_to_the_end(is_damaged: bool) -> None:
    """A log is read a few times, however many checkpoints lead to it."""

    def opened(checkpoints: int) -> int:
        written = MemoryDirectory()
        Writer(written, keep=ALL).play("ca" * checkpoints + "aass")
        files = written.files()
        newest = max(name for name in files if name.startswith("log"))
        size = (len(files[newest]) - HEADER_SIZE) // 3
        if is_damaged:
            files[newest] = flipped(files[newest], len(files[newest]) - size - 3)
        directory = Counting(files)
        plan = mend(directory, step=None if is_damaged else checkpoints // 2)
        assert plan.step == (checkpoints if is_damaged else checkpoints // 2)
        return directory.opened

    assert opened(40) < 5 * opened(10)


# -- logs beside one another ---------------------------------------------------------------


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


# -- output files --------------------------------------------------------------------------


@pytest.mark.parametrize("boot", ["boot-1", "the next boot"])
def test_a_short_output_file_leads_back_to_the_newest_step_that_it_holds(boot: str) -> None:
    """Whether that is in a log or at a checkpoint; and if there is none, it is an error."""
    files = with_outputs("caacaas", "aacaas")
    end = 8
    for length in range(10 * end + 1):
        directory = MemoryDirectory(dict(files), boot=boot)
        fits = has(length)
        if length < 20:
            with pytest.raises(CorruptionError, match="output files are as they were"):
                mend(directory, fits)
            assert not directory.operations
            continue
        plan = mend(directory, fits)
        assert (plan.step, plan.lost) == (length // 10, end - length // 10)
        assert plan.is_exact
        assert read(directory) == plan.step
        assert fits(recovered(directory).context)
        assert not mend(directory, fits).changes_anything


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


# -- what no trax would write --------------------------------------------------------------


def appended(content: bytes, *records: tuple[int, bytes]) -> bytes:
    """Return a log with records behind its end whose checksums hold."""
    (chain,) = struct.unpack("<Q", content[-8:])
    return content + b"".join(Framing(chain, None, 0).chunks(records))


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
