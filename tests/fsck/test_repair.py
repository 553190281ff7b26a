"""Repairing a run: the longest part that is provably right, and the number of steps that are lost.

What is right is known here without reading anything back: each damaged file is compared with the
one that was written, and `Truth` says up to which step every byte that is needed is as it was.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from harm import (
    KINDS,
    SHAPES,
    Count,
    Truth,
    harm,
    has,
    mend,
    recovered,
    store,
    with_outputs,
)
from support import (
    COUNT,
    Writer,
    changed,
    count_to_13,
    flipped,
    of_version,
    read,
    run_script,
    write,
)

import trax
from trax import CorruptionError, FormatVersionError, LockedError, NotFoundError
from trax.fsck.repair_file import write_plan
from trax.fsck.repair_plan import Plan
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory
from trax.storage.process import process
from trax.storage.records import DURABLE_OFFSET, HEADER_SIZE
from trax.testing.memory import MemoryDirectory


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


# -- every damage ------------------------------------------------------------------------


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


# -- particular damages ------------------------------------------------------------------


def test_what_recovery_mends_itself_is_left_to_it_and_said() -> None:
    """A damaged newest checkpoint, and a torn end."""
    files = store("aacaaca|aasaa")
    name = "checkpoint-00000003"
    directory = MemoryDirectory(changed(files, name, flipped(files[name], 1100)))
    plan = mend(directory)
    assert (plan.step, plan.lost, plan.changes_anything) == (9, 0, False)
    assert plan.actions[0].startswith(f"{name} is damaged and is left to the next writer")
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


# -- in the file system ------------------------------------------------------------------


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
        "count was repaired: it resumes at step 11, and 2 steps are lost.\n"
        "  cut log-00000003 from 1,258 to 1,102 bytes "
        "(a record's checksum is invalid at offset 1102)\n"
        f"The files as they were are kept in {aside}."
    )
    assert json.loads(json.dumps(done.as_dict()))["lost"] == 2
    assert trax.load("count") == 11
    run_script(COUNT + "assert count(to=20).result() == 20\n")
    assert Path("out.txt").read_text().split() == [str(n) for n in range(20)]
    again = trax.repair("count")
    assert (again.step, again.aside, again.lost) == (20, None, 0)
    assert str(again) == "count needs no repair: it resumes at step 20."


def test_the_copy_is_on_the_disk_before_anything_is_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each file of it is forced, and so are the directories that name it."""
    run = count_to_13()
    harm_file(run / "log-00000003", 1110)
    forced: list[int] = []
    force = process.force

    def forcing(fd: int) -> None:
        forced.append(os.fstat(fd).st_ino)
        force(fd)

    def beginning(directory: Directory, plan: Plan) -> None:
        copies = list(Path(".trax", plan.aside).iterdir())
        assert len(copies) == len(list(run.iterdir()))
        assert {path.stat().st_ino for path in copies} <= set(forced)
        write_plan(directory, plan)

    monkeypatch.setattr(process, "force", forcing)
    monkeypatch.setattr("trax.fsck.repair.write_plan", beginning)
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
    harm_file(run / "log-00000002", 1110)
    harm_file(run / "checkpoint-00000003", 1100)
    kills = int(run_script(KILLED).stdout)
    assert kills > 15
    count("kills survived", kills)
