"""A run that is held for writing: its lock, its files, and the sync in the background."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from faults import Disk
from support import run_script
from test_store import hold

import trax
from trax import DurabilityError, LockedError
from trax.storage.codec import decode, encode
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory, LocalDirectory
from trax.storage.journal import read_status
from trax.storage.log import open_log
from trax.storage.process import Sync, process
from trax.storage.run_writer import RunWriter
from trax.storage.store import Store


def test_a_held_run_has_a_lock_and_a_directory(store_here: Path) -> None:
    """Closing it releases the lock; closing it again does nothing."""
    store = Store()
    held = hold(store)
    with pytest.raises(LockedError, match=f"the run 'run' in {store_here} is held by"):
        hold(store)
    assert sorted(path.name for path in store_here.iterdir()) == [".gitignore", "locks", "runs"]
    assert store.run_path("run") == str(store_here / "runs" / "run")
    held.close()
    held.close()
    hold(store).close()


def run_files(store: Store) -> dict[str, bytes]:
    """Return the files of the run, by name."""
    return {path.name: path.read_bytes() for path in Path(store.run_path("run")).iterdir()}


def test_a_held_run_leaves_no_descriptor_open() -> None:
    """Whether it could be opened or not."""
    store = Store()
    hold(store).close()
    before = {*os.listdir("/dev/fd")}
    held = hold(store)
    with pytest.raises(LockedError):
        hold(store)
    held.writer.append(b"\x80\x05K\x01.")
    held.writer.checkpoint({}, {}, derived=False)
    held.close()
    assert {*os.listdir("/dev/fd")} <= before


def test_a_small_checkpoint_asks_little_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """It lists the directory once, writes each of its two files once, and removes two."""
    disk = Disk(monkeypatch)
    held = hold(Store())
    state = encode([1, 2], "state")
    for _ in range(4):
        held.replace_state(state)
    disk.calls.clear()
    held.replace_state(state)
    calls = Counter(disk.calls)
    held.close()
    assert (calls["write"], calls["force"], calls["rename"]) == (2, 4, 1)
    assert (calls["open"], calls["listdir"], calls["remove"]) == (3, 1, 2)
    assert calls.total() <= 24, calls


def test_closing_again_leaves_the_next_holder_alone() -> None:
    """The lock stays locked and the files stay the same."""
    store = Store()
    first = hold(store)
    first.writer.append(encode(1, "increment"))
    first.close()
    second, reader = hold(store), store.recover("run")
    assert reader is not None
    reader.read()
    second.writer.adopt(reader)
    second.writer.append(encode(2, "increment"))
    before = run_files(store)
    first.close()
    with pytest.raises(LockedError):
        hold(store)
    assert run_files(store) == before
    second.close()


def test_closing_in_a_forked_child_leaves_lock_and_files_alone() -> None:
    """Even during a sync: the thread that would end it is not in the child."""
    script = """
import os, signal, threading
from pathlib import Path
from trax import LockedError
from trax.storage.codec import encode
from trax.storage.process import Sync, process
from trax.storage.run_writer import RunWriter
from trax.storage.store import Store

begun, done = threading.Event(), threading.Event()

def force(fd):
    begun.set()
    done.wait()

def hold():
    return Store().hold("run", sync="interval", keep=2, report=print)

def files():
    return {path: path.read_bytes() for path in Path(".trax").rglob("*") if path.is_file()}

held = hold()
held.writer.append(encode(1, "increment"))
process.force = force
begun.wait()
before = files()
child = os.fork()
if not child:
    signal.alarm(20)  # ends a child that waits forever
    held.close()
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
assert files() == before
try:
    hold()
except LockedError:
    print("held")
done.set()
held.writer.append(encode(2, "increment"))
held.close()
hold().close()
"""
    assert run_script(script).stdout == "7\nheld\n"
    reader = Store().recover("run")
    assert reader is not None
    assert [decode(one, "increment") for one in reader.increments()] == [1, 2]


def test_the_lock_is_released_even_if_the_disk_refuses_the_last_sync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is raised, and the sync in the background has ended."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store, threads = Store(), {*threading.enumerate()}
    held = hold(store, sync="interval")
    held.writer.append(encode(1, "increment"))
    with monkeypatch.context() as patch:
        patch.setattr(process, "force", fail)
        with pytest.raises(DurabilityError):
            held.close()
    assert {*threading.enumerate()} <= threads
    hold(store).close()


def test_another_state_is_stored_with_the_other_parts_as_they_were() -> None:
    """Except for the result: the run is not done any more."""
    store = Store()
    held = hold(store)
    parts = {name: encode(name, name) for name in ("state", "result", "replay_log")}
    meta = {"step": 3, "done": True, "function": "loop"}
    held.writer.checkpoint(meta, parts, derived=True)
    held.writer.append(encode(1, "increment"))
    held.close()
    held, reader = hold(store), store.recover("run")
    assert reader is not None
    held.take_over(reader)
    held.replace_state(encode("another", "state"))
    held.close()
    again = store.recover("run")
    assert again is not None
    assert again.meta.items() >= {"step": 4, "done": False, "function": "loop"}.items()
    found = again.checkpoint.parts if again.checkpoint else {}
    assert found.keys() == {"state", "replay_log", "context"}
    assert decode(found["state"], "state") == "another"
    assert decode(found["replay_log"], "replay_log") == "replay_log"


# -- the sync in the background ------------------------------------------------------------


def test_what_is_logged_is_forced_to_the_disk_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under ``sync="interval"``, in the background; the log is then marked as durable."""
    forced = threading.Event()
    marked = threading.Event()
    pwrite = os.pwrite

    def watch_force(fd: int) -> None:
        os.fsync(fd)
        forced.set()

    def watch_pwrite(fd: int, data: bytes, offset: int) -> int:
        assert forced.is_set() or offset == 0  # the note in the lock file is at 0
        done = pwrite(fd, data, offset)
        if offset:
            marked.set()
        return done

    store = Store()
    held = hold(store, sync="interval")
    held.writer.append(encode(1, "increment"))
    monkeypatch.setattr(process, "force", watch_force)
    monkeypatch.setattr("os.pwrite", watch_pwrite)
    assert marked.wait(60)
    with open_log(LocalDirectory(store.run_path("run")), "log-00000001") as reader:
        assert reader.durable == reader.size
    held.close()


@pytest.mark.parametrize("sync", ["always", "os"])
def test_otherwise_there_is_no_thread(sync: Sync) -> None:
    """Nothing has to be done in the background."""
    before = {*threading.enumerate()}
    held = hold(Store(), sync=sync)
    assert {*threading.enumerate()} <= before
    held.close()


class Ticks:
    """Stands for the thread of a run: the test does what it would do twice a second."""

    def __init__(self) -> None:
        self.action: Callable[[], None] = lambda: None

    def __call__(self, seconds: float, action: Callable[[], None]) -> Ticks:
        self.action = action
        return self

    def stop(self) -> None: ...


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Ticks:
    """Replace the thread."""
    monkeypatch.setattr(process, "repeat", found := Ticks())
    return found


def checkpoints(store: Store) -> list[int]:
    """Return the generations of the stored checkpoints."""
    names = filter(None, map(FileName.parse, run_files(store)))
    return sorted(name.generation for name in names if name.kind == "checkpoint")


def test_what_small_checkpoints_make_superfluous_is_removed_in_the_background(
    ticks: Ticks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the thread, and at the end; the loop does not wait for it."""
    store, disk = Store(), Disk(monkeypatch)
    held = hold(store, sync="interval")
    for number in range(5):
        held.replace_state(encode(number, "state"))
    assert checkpoints(store) == [1, 2, 3, 4, 5]
    assert "remove" not in disk.calls
    ticks.action()
    assert checkpoints(store) == [4, 5]
    assert disk.calls.count("remove") == 6
    held.replace_state(encode(5, "state"))
    assert checkpoints(store) == [4, 5, 6]
    held.close()
    assert checkpoints(store) == [5, 6]


def test_what_a_large_checkpoint_makes_superfluous_is_removed_at_once(ticks: Ticks) -> None:
    """The room may be needed for the next one."""
    store = Store()
    with contextlib.closing(hold(store, sync="interval")) as held:
        for number in range(4):
            held.replace_state(encode(bytes(1 << 20) + bytes([number]), "state"))
            assert checkpoints(store) == [*range(1, number + 2)][-2:]


def test_nothing_is_removed_from_a_run_that_another_process_continues(ticks: Ticks) -> None:
    """Such as one that has gone back to an older checkpoint, after somebody removed the lock."""
    store = Store()
    held = hold(store, sync="interval")
    for number in range(4):
        held.replace_state(encode(number, "state"))
    for kind in ("checkpoint", "log"):
        os.remove(f"{store.run_path('run')}/{FileName(kind, 4)}")
    before = run_files(store)
    ticks.action()
    assert run_files(store) == before
    with pytest.raises(DurabilityError):
        held.close()
    assert run_files(store) == before


def test_a_checkpoint_that_begins_a_run_anew_removes_the_one_before(ticks: Ticks) -> None:
    """At once: nothing leads from one to the other."""
    store = Store()
    with contextlib.closing(hold(store)) as held:
        held.replace_state(encode("old", "state"))
    with contextlib.closing(hold(store, sync="interval")) as held:
        reader = store.recover("run")
        assert reader is not None
        reader.read()
        held.writer.adopt(reader)
        held.writer.begin_again()
        held.replace_state(encode("new", "state"))
        assert checkpoints(store) == [2]


class Refused:
    """Stands for a thread that the system does not start."""

    def __init__(self, seconds: float, action: object) -> None:
        raise RuntimeError("can't start new thread")


def test_a_thread_that_cannot_start_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is not held then, and the same modes without a thread work."""
    monkeypatch.setattr(process, "repeat", Refused)
    store = Store()
    with pytest.raises(DurabilityError, match="could not be started: can't start new thread"):
        hold(store, sync="interval")
    hold(store, sync="always").close()


REMOVALS: dict[str, Callable[[Path], object]] = {
    "the store": shutil.rmtree,
    "the runs": lambda store: shutil.rmtree(store / "runs"),
    "the log": lambda store: list(map(os.remove, store.glob("runs/run/log-*"))),
    "moved": lambda store: store.rename(store.with_name("other")),
    "a run moved": lambda store: (store / "runs/run").rename(store / "away"),
    "replaced": lambda store: (
        store.rename(store.with_name("other")), shutil.copytree(store.with_name("other"), store)
    ),
}  # fmt: skip


@pytest.mark.parametrize("sync", ["interval", "always", "os"])
@pytest.mark.parametrize("removal", REMOVALS)
def test_files_that_are_gone_are_noticed(removal: str, sync: Sync, store_here: Path) -> None:
    """By the next look, at a checkpoint and at the end; increments are refused from then on."""
    with trax.Trax(sync=sync) as store:
        store.checkpoint(run=0)
        store.log(run=1)
        REMOVALS[removal](store_here)
        held = store._held["run"]
        held.check_at = 0.0
        with pytest.raises(DurabilityError, match=f"{store_here}/runs/run is gone at step 1"):
            store.log(run=2)
        with pytest.raises(DurabilityError, match="is gone"):
            held.writer.append(encode(2, "increment"))
        with pytest.raises(DurabilityError, match="is gone at step 1"):
            store.checkpoint(run=2)
    other = trax.Trax(sync=sync)
    other.checkpoint(other=0)
    other.log(other=1)
    shutil.rmtree(store_here)
    with pytest.raises(DurabilityError, match="is gone"):
        other.close()


def test_a_lock_that_is_removed_is_said_once(
    store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The run continues: its files are all there."""
    with trax.Trax() as store:
        store.log(run=1)
        (store_here / "locks/run").unlink()
        for number in range(3):
            store._held["run"].check_at = 0.0
            store.log(run=number)
    [line] = caplog.messages
    assert f"the lock {store_here}/locks/run was removed or replaced" in line
    with trax.Trax() as store:
        assert store.recover("run") == 2


class Recorded:
    """Copying that only takes note of when it is asked for what."""

    def __init__(self, store: Store) -> None:
        self.calls: list[tuple[str, bool, bool]] = []
        self.failure: LockedError | None = None
        self._store = store
        self._writer: RunWriter | None = None

    def _note(self, name: str) -> None:
        is_writing = self._writer is not None and self._writer.forced()[1] is not None
        self.calls.append((name, self._store.is_held("run"), is_writing))

    def bring(self) -> None:
        self._note("bring")

    def bring_outputs(self, lengths: Mapping[str, int]) -> None: ...

    def begin(self, writer: RunWriter, directory: Directory, step: int) -> None:
        self._writer = writer
        self._note(f"begin {step}")

    def check(self) -> None:
        if self.failure:
            raise self.failure

    def status(self) -> dict[str, object]:
        return {"lag": 1.5}

    def end(self) -> None:
        self._note("end")


def test_a_run_is_copied_while_it_is_held() -> None:
    """From before its files are looked at until the writer is closed and nothing is added."""
    store = Store()
    copying = Recorded(store)
    held = store.hold("run", sync="interval", keep=2, report=print, copying=copying)
    held.begin(0, resumed=False)
    held.append(b"\x80\x05K\x01.")
    held.close()
    assert copying.calls == [
        ("bring", True, False),
        ("begin 0", True, False),
        ("end", True, False),
    ]
    assert not store.is_held("run")
    journal = Path(store.run_path("run"), "journal").read_bytes()
    assert read_status(journal, None)["lag"] == 1.5


def test_a_run_that_may_not_be_copied_any_more_ends() -> None:
    store = Store()
    copying = Recorded(store)
    held = store.hold("run", sync="interval", keep=2, report=print, copying=copying)
    held.begin(0, resumed=False)
    copying.failure = LockedError("another machine has it")
    with pytest.raises(LockedError, match="another machine has it"):
        held.append(b"\x80\x05K\x01.")
    held.close()


def test_a_writer_waits_for_what_it_is_told_to() -> None:
    """Before an increment is acknowledged, also the first one after the first checkpoint."""
    store = Store()
    held = store.hold("run", sync="always", keep=1, report=print)
    held.writer.checkpoint({}, {}, derived=True)
    seen: list[int | None] = []
    held.writer.acknowledge_by(lambda: seen.append(held.writer.forced()[1]))
    end = held.writer.append(b"\x80\x05K\x01.")
    assert seen == [end]
    held.writer.may_remove = lambda name: name.kind == "checkpoint"
    for _ in range(3):
        held.writer.checkpoint({}, {}, derived=True)
    assert seen == [end]
    names = [name for name in store.files("run") if FileName.parse(name)]
    assert names == ["checkpoint-00000004", *(f"log-{n:08d}" for n in range(1, 5))]
    held.writer.refuse(refused := LockedError("another machine has it"))
    with pytest.raises(LockedError) as raised:
        held.writer.append(b"\x80\x05K\x01.")
    assert raised.value is refused
    held.close()
