"""Power cuts of the whole thing: loops as they run, whatever of their files has arrived.

Loops are run for real, what they do to the disk is recorded, and from what a power cut could leave
of it they are resumed. A history of many crashes, at the level of one run's files, is made up at
random.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import NAME, as_operations

import trax
from trax import LockedError
from trax.engine import checkpointer
from trax.storage import checkpoint, filesystem
from trax.storage.codec import Encoded, decode, encode
from trax.storage.context import encode_context
from trax.storage.filenames import FileName
from trax.storage.log import LogWriter
from trax.storage.process import process
from trax.storage.records import DURABLE_OFFSET, encode_durable
from trax.storage.run_reader import RunReader
from trax.storage.run_writer import RunWriter, Write
from trax.testing import check_power_cut
from trax.testing.crashes import Disk, Image
from trax.testing.memory import MemoryDirectory
from trax.testing.moments import Crash, Promise, crashes
from trax.testing.recording import Recorder, replaced, snapshot, write_image
from trax.tracking.output_files import OutputFiles
from trax.tracking.rng_tracking import RngTracking

Count = Callable[[str, int], None]
Loop = Generator[Any, Any, Any]


@pytest.fixture(autouse=True)
def keep_here(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a failure keeps belongs to the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("kept")))


def append(state: list[Any], increment: Any) -> list[Any]:
    state.append(increment)
    return state


class Drawing:
    """A state that draws from a generator of its own when it is folded."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(2)
        self.drawn: list[float] = []

    def add(self, increment: float) -> Drawing:
        self.drawn.append(increment + self.rng.normal())
        return self


def looping(what: str, **options: Any) -> Any:
    """Return a call of a loop of this kind."""

    def numbers(state: int, steps: int) -> Loop:
        while state < steps:
            state = yield state + 1

    def arrays(state: list[Any], steps: int) -> Loop:
        for i in trax.steps(steps):
            yield np.full(200, i, float)

    def draws(state: Drawing, steps: int) -> Loop:
        for _ in trax.steps(steps):
            yield random.random() + np.random.normal()

    def writes(state: int, steps: int) -> Loop:
        with trax.open("out.txt") as file:
            while state < steps:
                file.write(f"line {state}\n" * 30)
                state = yield state + 1
        return "the end"

    def appends(state: int, steps: int) -> Loop:
        with trax.open("given.bin", "ab") as file, trax.open("out.bin", "wb") as other:
            while state < steps:
                file.write(struct.pack("<Q", state) * (1 + state % 3))
                if state % 2:
                    other.write(os.fsencode(f"{state}") * 100)
                state = yield state + 1

    def reopens(state: int, steps: int) -> Loop:
        while state < steps:
            with trax.open(f"{state // 2}.txt", "a") as file:
                file.write(f"{state}\n")
            state = yield state + 1

    def trains(state: dict[str, Any], steps: int) -> Loop:
        for _ in trax.steps(steps):
            state["sum"] = state.get("sum", 0.0) + random.random()
            with trax.open("losses.txt", "a") as file:
                file.write(f"{state['sum']}\n")
            yield state["sum"]

    loops: dict[str, tuple[Callable[..., Loop], dict[str, Any]]] = {
        "numbers": (numbers, {"create": int}),
        "arrays": (arrays, {"create": list, "replay_log": append}),
        "draws": (draws, {"create": Drawing, "replay_log": Drawing.add}),
        "writes": (writes, {"create": int}),
        "appends": (appends, {"create": int}),
        "reopens": (reopens, {"create": int}),
        "trains": (trains, {"create": dict, "replay_log": None}),
    }
    function, given = loops[what]
    return trax.resumable(**given, **options, name="loop")(function)


def prepare() -> None:
    """Write the file that a loop goes on with."""
    if not Path("given.bin").exists():
        Path("given.bin").write_bytes(b"given before")


# -- loops ---------------------------------------------------------------------------------

SCENARIOS: dict[str, tuple[str, dict[str, Any]]] = {
    "log only": ("numbers", {"every_steps": 1000}),
    "checkpoints": ("arrays", {"every_steps": 2}),
    "pruned": ("numbers", {"every_steps": 1, "keep": 1}),
    "kept": ("draws", {"every_steps": 2, "keep": 3}),
    "random numbers": ("draws", {"every_steps": 3, "keep": 1}),
    "output": ("writes", {"every_steps": 3, "keep": 1}),
    "output in a log": ("writes", {"every_steps": 1000}),
    "binary output": ("appends", {"every_steps": 3}),
    "several outputs": ("reopens", {"every_steps": 3}),
    "not logged": ("trains", {"every_steps": 2, "keep": 1}),
}
# The same, with checkpoints that are written while the next steps are done.
BACKGROUND = ["checkpoints", "pruned", "kept", "random numbers", "output", "several outputs"]


@pytest.mark.parametrize("sync", ["always", "interval", "os"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_loop_goes_on_exactly_after_power_cuts(scenario: str, sync: str, count: Count) -> None:
    """Nothing that was promised is lost, and the end is that of a run that nobody disturbed."""
    seed = random.randrange(1 << 32)
    what, options = SCENARIOS[scenario]
    checked = check_power_cut(
        looping(what, sync=sync, **options)(steps=7), limit=50, seed=seed, prepare=prepare
    )
    assert checked.steps == 7
    assert checked.crashes > 20
    count("crash images recovered", checked.crashes)


@pytest.mark.parametrize("sync", ["always", "interval", "os"])
@pytest.mark.parametrize("scenario", BACKGROUND)
def test_a_power_cut_while_a_checkpoint_is_written_in_the_background_costs_nothing(
    scenario: str, sync: str, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it counts, the one before it and both logs give the state."""
    monkeypatch.setattr(checkpointer, "_SMALL", 0)
    test_a_loop_goes_on_exactly_after_power_cuts(scenario, sync, count)


# -- mistakes ------------------------------------------------------------------------------


def nothing(*args: Any, **kwargs: Any) -> None: ...


def rename_before_sync(patch: pytest.MonkeyPatch) -> None:
    write = checkpoint._write

    def write_and_rename(output: Any, fields: Any, *args: Any) -> int:
        size = write(output, fields, *args)
        name = f"checkpoint-{fields['generation']:08d}"
        path = os.path.join(".trax", "runs", "loop", name)
        os.rename(f"{path}.tmp", path)
        filesystem.sync_directory(os.path.dirname(path))
        return size

    patch.setattr(checkpoint, "_write", write_and_rename)
    patch.setattr(filesystem.LocalDirectory, "rename", nothing)


def prune_before_it_counts(patch: pytest.MonkeyPatch) -> None:
    store = RunWriter.checkpoint

    def prune_and_store(self: Any, *args: Any, **kwargs: Any) -> int:
        for name in filter(None, map(FileName.parse, self._directory.list())):
            if name.generation <= self._highest:
                self._directory.remove(str(name))
        self._directory.sync()
        return store(self, *args, **kwargs)

    patch.setattr(RunWriter, "checkpoint", prune_and_store)
    patch.setattr(RunWriter, "check_place", nothing)  # which notices that the log is gone


def mark_before_force(patch: pytest.MonkeyPatch) -> None:
    sync = LogWriter.sync

    def mark_and_sync(self: Any, end: int | None = None, *, mark: bool = True) -> None:
        if end is None:
            end = self.end
        self.file.overwrite(DURABLE_OFFSET, encode_durable(end))
        sync(self, end, mark=mark)

    patch.setattr(LogWriter, "sync", mark_and_sync)


def context_left_out(patch: pytest.MonkeyPatch) -> None:
    describe = RngTracking.describe

    def describe_nothing(self: Any, taken: Any) -> tuple[dict[str, Any], Encoded]:
        meta, encoded = describe(self, taken)
        return meta, encoded._replace(payload=encode_context([]))

    patch.setattr(RngTracking, "describe", describe_nothing)


def cut_without_force(patch: pytest.MonkeyPatch) -> None:
    def cut(self: Any, name: str, length: int, forced: int) -> None:
        path = os.path.join(self.path, name)
        if os.stat(path).st_size > length:
            os.truncate(path, length)

    patch.setattr(filesystem.LocalDirectory, "cut", cut)


def output_cut_without_force(patch: pytest.MonkeyPatch) -> None:
    def cut(path: str, length: int, forced: int, kept: str) -> None:
        if os.stat(path).st_size > length:
            os.truncate(path, length)

    patch.setattr("trax.tracking.truncate._cut", cut)


def leave_out(owner: Any, name: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(owner, name, nothing)


def outputs_without_force(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(OutputFiles, "sync", nothing)
    patch.setattr("trax.tracking.output_files._Output.sync", nothing)


MISTAKES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "the directory is not forced": (leave_out(filesystem.LocalDirectory, "sync"), "checkpoints"),
    "files are not forced": (leave_out(filesystem._LocalOutput, "sync"), "log only"),
    "increments are not forced": (leave_out(LogWriter, "sync"), "output in a log"),
    "a checkpoint is renamed, then forced": (rename_before_sync, "pruned"),
    "the old is removed before the new counts": (prune_before_it_counts, "pruned"),
    "a log is marked, then forced": (mark_before_force, "log only"),
    "output is not forced": (outputs_without_force, "output in a log"),
    "a checkpoint has no context": (context_left_out, "random numbers"),
    "a log is continued that is not forced": (cut_without_force, "log only"),
    "output is gone on with that is not forced": (output_cut_without_force, "output in a log"),
}


@pytest.mark.proof
@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_in_what_is_forced_and_when_is_found(
    mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same loops, and trax with one thing changed."""
    change, scenario = MISTAKES[mistake]
    what, options = SCENARIOS[scenario]
    sync = "os" if "that is not forced" in mistake else "always"
    run = looping(what, sync=sync, **options)(steps=7)
    change(monkeypatch)
    with pytest.raises(AssertionError, match="does not resume exactly") as found:
        check_power_cut(run, limit=3000, prepare=prepare)
    # What is wrong with the change itself is no finding.
    assert isinstance(found.value.__cause__, (trax.TraxError, type(None)))


# -- whatever happens to a store -----------------------------------------------------------


def record(directory: Path, image: Image, happens: Callable[[Recorder], Any]) -> Recorder:
    """Record what happens in a directory that begins with an image."""
    directory.mkdir()
    write_image(image, str(directory))
    with contextlib.chdir(directory), replaced(process, boot_id=lambda: "first"):
        recorder = Recorder(str(directory), (".trax/locks",))
        with recorder.recording():
            happens(recorder)
        recorder.close()
    return recorder


@contextlib.contextmanager
def left_by(crash: Crash, directory: Path) -> Iterator[None]:
    """Work, after a power cut, in what it has left."""
    with tempfile.TemporaryDirectory(dir=directory) as path:
        write_image(crash.image, path)
        with (
            contextlib.chdir(path),
            replaced(process, boot_id=lambda: "second", force=nothing),
            replaced(os, fsync=nothing),
        ):
            yield


def test_a_fresh_start_never_loses_the_run_that_it_moves_aside(
    tmp_path: Path, count: Count
) -> None:
    """It is at its place or aside, whole, with its output; and the loop goes on with either."""
    seed = random.randrange(1 << 32)
    loop = looping("numbers", every_steps=2, sync="always")
    image = crash_free(record(tmp_path / "old", {}, lambda recorder: loop(steps=5).result()))

    def begin_anew(recorder: Recorder) -> None:
        for increment in loop.fresh(steps=5):
            recorder.mark(Promise(increment, increment))

    recorder = record(tmp_path / "new", image, begin_anew)
    whole = {path: data for path, data in image.items() if path.startswith(".trax/runs/loop/")}
    assert len(whole) >= 5
    found = {"in place": 0, "aside": 0}
    for crash in crashes(recorder, 300, random.Random(seed)):
        moved = ".trax/aside/loop~1/" in crash.image
        place = ".trax/aside/loop~1/" if moved else ".trax/runs/loop/"
        found["aside" if moved else "in place"] += 1
        for path, data in whole.items():
            there = crash.image[place + path.removeprefix(".trax/runs/loop/")]
            assert there == data, f"seed {seed}"
        with left_by(crash, tmp_path):
            run = loop(steps=5)
            assert (run.done and run.resumed_at == 5) or moved, f"seed {seed}"
            assert (run.resumed_at or 0) >= crash.promise.durable, f"seed {seed}"
            assert run.result() == 5
    assert found["in place"] > 0
    assert found["aside"] > 30
    count("crash images recovered", sum(found.values()))


def crash_free(recorder: Recorder) -> Image:
    """Return what is there in the end where nothing is lost."""
    disk = Disk()
    for operation in recorder.operations:
        disk.apply(operation)
    return disk.live.image()


def test_what_is_recorded_is_what_is_there(tmp_path: Path) -> None:
    """The model, told what was recorded, has the same files as the real disk."""
    for number, (what, options) in enumerate(SCENARIOS.values()):
        directory = tmp_path / f"{number}"

        def happens(recorder: Recorder) -> None:
            prepare()
            looping(what, **options)(steps=5).result()  # noqa: B023  # it is called at once
            looping(what, **options).fresh(steps=5).result()  # noqa: B023
            os.rename("given.bin", "other.bin")
            os.link("other.bin", "link.bin")
            Path("over.bin").write_bytes(b"over")
            os.replace("over.bin", "link.bin")
            Path("other.bin").write_bytes(b"shorter")
            os.makedirs("a/b")
            Path("a/b/c").write_bytes(b"gone")
            os.remove("a/b/c")
            os.rmdir("a/b")

        recorder = record(directory, {}, happens)
        real = {k: v for k, v in snapshot(str(directory)).items() if "locks" not in k}
        assert crash_free(recorder) == real


# -- long histories ------------------------------------------------------------------------


class Process:
    """One that holds a run for writing, or thinks so.

    Attributes
    ----------
    history : list
        The increments of the run, as far as this process knows.
    """

    def __init__(self, directory: MemoryDirectory, sync: str, keep: int) -> None:
        self.generations = RunWriter(directory, NAME, sync=sync, keep=keep, report=nothing)
        recovery = RunReader(directory, NAME)
        self.history = history_of(recovery)
        self.unwritten: Callable[[], int] | None = None
        self.generations.adopt(recovery)
        self.begun = False  # its own log

    def begin(self) -> None:
        """Begin a checkpoint, which is written later."""
        parts = {"state": encode(self.history, "state")}

        def leave(write: Write) -> int:
            self.unwritten = partial(write, parts)
            return 0

        self.generations.checkpoint({}, parts, derived=True, leave=leave)


def history_of(recovery: RunReader) -> list[Any]:
    """Read a recovery to its end; return the increments, which are all of the state."""
    found = recovery.checkpoint
    state: list[Any] = decode(found.parts["state"], "state") if found else []
    state += [decode(encoded, "increment") for encoded in recovery.increments()]
    assert recovery.position.step == len(state)
    return state


class Promised(NamedTuple):
    """What must be found by whoever finds the beginning, which is that of one process."""

    beginning: list[Any]
    history: list[Any]


def is_kept(promises: list[Promised], found: list[Any]) -> bool:
    """Return whether the newest of the promises that apply is kept."""
    applying = [one for one in promises if one.beginning == found[: len(one.beginning)]]
    history = applying[-1].history
    return found[: len(history)] == history


class Histories(RuleBasedStateMachine):
    """Processes that take a run over from each other, are killed, and lose power.

    Each increment is one of a kind, and the state is the list of all. So whatever is found can be
    told: it goes on from what was promised, and is what some process has had.
    """

    @initialize(
        sync=st.sampled_from(["always", "interval", "os"]),
        keep=st.integers(1, 3),
        seed=st.integers(0, 1 << 32),
    )
    def begin(self, sync: str, keep: int, seed: int) -> None:
        self.sync, self.keep = sync, keep
        self.rng = random.Random(seed)
        self.number = 0
        self.boots = 0
        self.boot({}, [])

    def boot(self, image: Image, promised: list[Any]) -> None:
        """Begin with what is on the disk, and what must be."""
        self.boots += 1
        self.directory = MemoryDirectory(image, boot=f"boot-{self.boots}")
        self.disk = Disk()
        for operation in as_operations(image):
            self.disk.apply(operation)
        self.seen = 0
        self.processes: list[Process] = []
        self.owner: Process | None = None
        self.truth = promised
        self.histories: list[list[Any]] = [promised]
        self.promises = [Promised([], promised)]
        self.before = self.promises  # those before the last action

    # -- what processes do --

    @rule()
    def start(self) -> None:
        """Another process takes the run over; those before it may not know."""
        self.act(self._start)

    def _start(self) -> None:
        process = Process(self.directory, self.sync, self.keep)
        assert process.history == self.truth
        self.processes.append(process)
        self.promise(process.history)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 3), often=st.integers(1, 3))
    def append(self, which: int, often: int) -> None:
        process = self.pick(which)
        for _ in range(often):
            if process in self.processes:
                self.act(lambda: self._append(process))

    def _append(self, process: Process) -> None:
        self.number += 1
        wanted = [*process.history, self.number]
        self.histories.append(wanted)
        if self.lets(process, lambda: process.generations.append(encode(self.number, "increment"))):
            process.history = wanted
            if not process.begun:
                # What another one did since it was read is no part of the run, if this is found.
                self.promises = [*self.promises, Promised(wanted, wanted)]
            self.begin_log(process)
            if process is self.owner:
                self.truth = wanted
                if self.sync == "always":
                    self.promise(wanted)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 3))
    def checkpoint(self, which: int) -> None:
        process = self.pick(which)
        self.act(lambda: self._checkpoint(process))

    def _checkpoint(self, process: Process) -> None:
        parts = {"state": encode(process.history, "state")}
        self.histories.append(process.history)
        process.unwritten = None  # it was written, or could not be
        if self.lets(process, lambda: process.generations.checkpoint({}, parts, derived=True)):
            self.begin_log(process)
            self.promise(process.history)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 3))
    def checkpoint_in_the_background(self, which: int) -> None:
        process = self.pick(which)
        if process.unwritten is not None:  # it may have lost the run since then
            write, process.unwritten = process.unwritten, None
            self.act(write)
        elif process is self.owner:
            self.histories.append(process.history)
            self.act(lambda: self._begin(process))

    def _begin(self, process: Process) -> None:
        if self.lets(process, process.begin):
            self.promise(process.history)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 3))
    def sync_(self, which: int) -> None:
        process = self.pick(which)
        self.act(process.generations.sync)
        if process is self.owner:
            self.promise(process.history)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 3))
    def kill(self, which: int) -> None:
        process = self.pick(which)
        if process.generations._log is not None:
            process.generations._log.close()
        self.processes.remove(process)

    @precondition(lambda self: self.processes)
    @rule(which=st.integers(0, 3))
    def close(self, which: int) -> None:
        process = self.pick(which)
        self.act(lambda: self._close(process))

    def _close(self, process: Process) -> None:
        if self.lets(process, process.generations.close):
            self.processes.remove(process)
            if process is self.owner and self.sync != "os":
                self.promise(process.history)

    # -- what the disk does --

    @rule(share=st.floats(0, 1))
    def lose_power(self, share: float) -> None:
        """At once, or at any operation of what was done last."""
        operations = self.directory.operations
        count = self.seen + round(share * (len(operations) - self.seen))
        is_whole = count == len(operations)
        for operation in operations[self.seen : count]:
            self.disk.apply(operation)
        for image in [*self.disk.images(4, self.rng)]:
            after = MemoryDirectory(image, boot="none")
            found = Process(after, self.sync, self.keep).history
            if is_whole:
                assert is_kept(self.promises, found)
            else:
                assert is_kept(self.before, found) or found == self.truth
            assert any(found == history[: len(found)] for history in self.histories)
            for boot in ("none", "another"):
                again = MemoryDirectory(after.files(), boot=boot)
                assert history_of(RunReader(again, NAME)) == found
        self.boot(image, found)

    # -- what must hold --

    def act(self, action: Callable[[], Any]) -> None:
        """Do something, in the middle of which the power may go."""
        for operation in self.directory.operations[self.seen :]:
            self.disk.apply(operation)
        self.seen = len(self.directory.operations)
        self.before = self.promises
        action()

    def lets(self, process: Process, action: Callable[[], Any]) -> bool:
        """Let a process go on, unless another one has taken the run over; return whether."""
        try:
            action()
        except LockedError:
            assert process is not self.owner
            self.processes.remove(process)
            return False
        return True

    def begin_log(self, process: Process) -> None:
        """The process has begun a log, unless it had; by its first one it takes the run over."""
        if not process.begun:
            process.begun = True
            self.owner = process
            self.truth = process.history

    def promise(self, history: list[Any]) -> None:
        """Nothing but this history can be found from now on, and no less of it."""
        self.promises = [Promised([], history)]

    def pick(self, which: int) -> Process:
        return self.processes[which % len(self.processes)]

    @invariant()
    def what_is_read_is_the_truth(self) -> None:
        if hasattr(self, "directory"):
            assert history_of(RunReader(self.directory, NAME)) == self.truth


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=40)
