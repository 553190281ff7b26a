"""An open run accepts each increment in a fixed order, and a failure leaves no trace."""

from __future__ import annotations

import errno
import os
import pickle
import re
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_script
from test_sync_driver import take

import trax
from trax.comparing import difference
from trax.engine.session import Session
from trax.storage.filesystem import LocalDirectory
from trax.storage.log import open_log
from trax.storage.process import process
from trax.storage.records import HEADER_SIZE, PICKLE


def session_of(run: trax.Run[Any, Any, Any]) -> Session:
    """Open a run and return its session."""
    assert run.step == 0
    return run._lifecycle.session


def log_size(store: Path) -> int:
    """Return the size of the logs of the run ``loop``, in bytes."""
    return sum(path.stat().st_size for path in store.glob("runs/loop/log-*"))


# -- the order in which an increment is accepted -------------------------------------------


class Increment:
    """Calls a function whenever it is pickled."""

    def __init__(self, on_pickle: Callable[[], object] = int) -> None:
        self.on_pickle = on_pickle

    def __reduce__(self) -> Any:
        self.on_pickle()
        return Increment, ()


@pytest.mark.parametrize("steps", [0, 5], ids=["first step", "later step"])
def test_an_increment_is_pickled_then_folded_then_logged_then_handed_out(
    steps: int, store_here: Path
) -> None:
    """Also at a first step, which is checked more closely, and replayed on copies."""
    happened: list[tuple[str, int]] = []

    def note(event: str) -> None:
        happened.append((event, log_size(store_here)))

    def fold(state: int, increment: Increment) -> int:
        note("folded")
        return state + 1

    @trax.resumable(create=int, replay_log=fold)
    def loop(state: int) -> Iterator[Increment]:
        while True:
            yield Increment(partial(note, "pickled"))

    with loop() as run:
        assert run.step == 0  # it is open now
        take(run, steps)
        before = log_size(store_here)
        happened.clear()
        next(run)
        note("handed out")
    first = {event: happened.index(place) for place in reversed(happened) for event in place[:1]}
    assert sorted(first, key=lambda event: first[event]) == ["pickled", "folded", "handed out"]
    pickled, folded = (happened[first[event]][1] for event in ("pickled", "folded"))
    handed_out = happened[-1][1]
    assert pickled == folded == before
    assert handed_out > before


@pytest.mark.parametrize("steps", [0, 5], ids=["first step", "later step"])
def test_a_fold_that_raises_changes_neither_the_log_nor_the_state(
    steps: int, store_here: Path
) -> None:
    """The step does not count, and the next call resumes before it."""

    @trax.resumable(create=int, replay_log=lambda state, increment: state + 6 // increment)
    def loop(state: int) -> Iterator[int]:
        yield 6

    with loop() as run:
        session = session_of(run)
        for _ in range(steps):
            session.accept(6)
        before = session.state, session.step, log_size(store_here)
        with pytest.raises(ZeroDivisionError):
            session.accept(0)
        assert (session.state, session.step, log_size(store_here)) == before
    assert loop.load() == steps
    assert loop().resumed_at == (steps or None)  # without a step it begins anew


def test_an_increment_that_folding_empties_is_logged_in_full() -> None:
    """It was pickled before it was folded."""

    def fold(state: list[int], increment: list[int]) -> list[int]:
        while increment:
            state.append(increment.pop())
        return state

    @trax.resumable(create=list, replay_log=fold)
    def loop(state: list[int]) -> Iterator[list[int]]:
        yield []

    with loop() as run:
        session = session_of(run)
        for number in range(4):
            increment = [number, -number]
            session.accept(increment)
            assert increment == []
    assert loop.load() == [0, 0, -1, 1, -2, 2, -3, 3]


def test_without_a_log_an_increment_is_only_counted(store_here: Path) -> None:
    """It is neither pickled nor logged, and the state is the same object as before."""

    @trax.resumable(create=list, replay_log=None)
    def loop(state: list[int]) -> Iterator[object]:
        yield None

    with loop() as run:
        session = session_of(run)
        state, logs = session.state, store_here.glob("runs/loop/log-*")
        for step in range(1, 4):
            assert session.accept(part for part in "unpicklable") is session.state is state
            assert session.step == step
        assert {log.stat().st_size for log in logs} == {HEADER_SIZE}


# -- increments that are refused, and a disk that fails ------------------------------------


def test_an_increment_whose_replay_raises_leaves_no_trace() -> None:
    """In the log, the increment would break every later recovery."""

    def fold(state: list[int], increment: int) -> list[int]:
        if increment == 3 and broken:
            raise ZeroDivisionError("a bug in replay_log")
        state.append(increment)
        return state

    @trax.resumable(create=list, replay_log=fold)
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(5):
            yield i

    broken = True
    with pytest.raises(ZeroDivisionError):
        loop().result()
    assert loop.load() == [0, 1, 2]
    broken = False
    assert loop().result() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_what_folding_changes_in_an_increment_is_not_what_is_logged(size: int) -> None:
    """The increment is pickled as it was yielded, however large it is."""

    def fold(state: Any, increment: Any) -> Any:
        increment += state
        return increment

    @trax.resumable(create=lambda: np.zeros(size), replay_log=fold)
    def loop(state: Any) -> Iterator[Any]:
        for i in trax.steps(4):
            yield np.full(size, float(i))

    with loop() as run:
        for _ in range(3):
            next(run)
        live = run.state.copy()
    assert (loop.load() == live).all()


def nested(part: Any, depth: int = 5_000) -> Any:
    """Return lists in lists, which plain pickle cannot take apart; the last has `part`."""
    for _ in range(depth):
        part = [part]
    return part


@pytest.mark.parametrize("make", [lambda array: array, pickle.PickleBuffer, nested])
def test_large_buffers_are_logged_as_they_were_before_folding(make: Callable[[Any], Any]) -> None:
    """They are copied first: a smaller and a larger one, read-only ones, and one beside others."""

    def fold(state: list[Any], increment: Any) -> list[Any]:
        arrays[-1].flags.writeable = True
        arrays[-1][:] = -1
        return state

    @trax.resumable(create=list, replay_log=fold, check=False, every_steps=1000)
    def loop(state: list[Any]) -> Iterator[Any]:
        yield None

    sizes = [100_000, 9, 50_000, 1_000_000, 10_000, 10_000_000, 20_000]
    arrays: list[Any] = []
    with loop() as run:
        session = session_of(run)
        for number, size in enumerate(sizes):
            arrays.append(np.full(size, float(number)))
            arrays[-1].flags.writeable = number != 2
            session.accept(make(arrays[-1]))

    found: list[Any] = []

    def keep(state: list[Any], increment: Any) -> list[Any]:
        while isinstance(increment, list):
            (increment,) = increment
        found.append(np.frombuffer(increment))
        return state

    trax.load("loop", replay_log=keep)
    assert [len(array) for array in found] == sizes
    assert all((array == number).all() for number, array in enumerate(found))
    assert [array.flags.writeable for array in found] == [n != 2 for n in range(len(sizes))]


@pytest.mark.parametrize("mode", ["fold", "replace"])
def test_large_arrays_are_not_copied_into_pickles(mode: str, store_here: Path) -> None:
    """But for the first one of a fold, since it could not be known; small ones are."""
    options: Any = {"replay_log": lambda state, increment: state} if mode == "fold" else {}

    @trax.resumable(create=lambda: 0, policy=lambda since: False, check=False, **options)
    def loop(state: Any) -> Iterator[Any]:
        yield None

    sizes = [9, 90_000, 90_000, 90_000, 9, 9]
    with loop() as run:
        session = session_of(run)
        for size in sizes:
            session.accept(np.zeros(size))
        (path,) = store_here.glob("runs/loop/log-*")
        with open_log(LocalDirectory(str(path.parent)), path.name) as reader:
            found = [len(one.buffers) for one in reader if one.kind == PICKLE]
    assert found == ([0, 0, 1, 1, 1, 0] if mode == "fold" else [1] * len(sizes))


def test_large_and_small_increments_alternate() -> None:
    """The way to pickle them changes with their size, which is looked at after each step here."""
    increments = ["small", "é" * 100_000, b"\x93" * 100_000, 1, 2, bytearray(1_000_000), 3]

    @trax.resumable(create=list, replay_log="append", policy=lambda since: False)
    def loop(state: list[Any]) -> Iterator[Any]:
        yield None

    with loop() as run:
        session = session_of(run)
        for increment in increments * 3:
            session.accept(increment)
    assert loop.load() == increments * 3


def test_large_and_small_states_alternate() -> None:
    """Also with objects of classes, and with parts that are one object."""
    shared = [Fraction(1, 3)] * 3
    states = ["small", ["é" * 100_000, shared, shared], b"\x93" * 100_000, 1, np.zeros(10_000), 3]

    @trax.resumable(create=list, policy=lambda since: False)
    def loop(state: Any) -> Iterator[Any]:
        yield None

    with loop() as run:
        session = session_of(run)
        for state in states * 2:
            session.accept(state)
            found = loop.load()
            assert difference(state, found, "state", identity=True) == ""


def test_an_unpicklable_increment_leaves_no_trace() -> None:
    """The steps before it are stored, and the corrected loop resumes after them."""
    broken = True

    @trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
    def loop(state: list[Any]) -> Iterator[Any]:
        for i in trax.steps(5):
            yield {"value": (part for part in "x")} if broken and i == 3 else i

    with pytest.raises(trax.CodecError, match=r"increment\['value'\]"):
        loop().result()
    broken = False
    run = loop()
    assert (run.resumed_at, run.result()) == (3, [0, 1, 2, 3, 4])


def test_an_increment_that_the_disk_refuses_leaves_no_trace(store_here: Path) -> None:
    """Neither in the store nor, if folding makes a new state, in memory."""

    @trax.resumable(create=int, replay_log=lambda state, increment: state + 1)
    def loop(state: int) -> Iterator[int]:
        while True:
            yield 1

    run = loop()
    take(run, 3)
    # With the file closed, every write fails.
    run._lifecycle.session._writer._log.file.close()  # type: ignore[union-attr]
    with pytest.raises((trax.DurabilityError, ValueError)):
        next(run)
    assert (run.state, run.step, loop.load()) == (3, 3, 3)


def test_a_background_sync_that_fails_is_made_up_for(
    store_here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A new checkpoint and a new log replace the log, which cannot be trusted any more."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    @trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(9):
            yield i

    with loop() as run:
        take(run, 3)
        logs = set(store_here.glob("runs/loop/log-*"))
        with monkeypatch.context() as patch:
            patch.setattr(process, "force", fail)
            run._lifecycle.session._writer.sync()
        assert take(run, 2) == [3, 4]
        assert set(store_here.glob("runs/loop/log-*")) - logs
    assert "a new checkpoint and a new log take its place" in caplog.text
    assert loop.load() == [0, 1, 2, 3, 4]
    assert loop().result() == list(range(9))


def test_a_checkpoint_before_a_stop_that_fails_is_noted_as_a_reason(store_here: Path) -> None:
    """The loop can stop all the same: the log has every increment."""

    @trax.resumable(create=int, every_steps=10)
    def loop(n: int) -> Iterator[int]:
        yield 1

    with loop() as run:
        session = session_of(run)
        session.accept(1)
        # A directory in the way of the next temporary file: a real refusal, also for root.
        blocker = store_here / "runs" / "loop" / "checkpoint-00000002.tmp"
        blocker.mkdir()
        session.save()
        assert isinstance(session.unsaved, trax.StorageError)
        assert session.checkpointed_step is None
        assert loop.load() == 1
        blocker.rmdir()
        session.save()
        assert session.unsaved is None
        assert session.checkpointed_step == 1


GONE = """
import os, shutil, sys
import trax

how, mode, what = sys.argv[1:]
options = {"replay_log": None} if mode == "none" else {}

@trax.resumable(create=list if mode == "none" else int, sync=how, **options)
def loop(n):
    file = trax.open("out.txt")
    for i in trax.steps(10**9):
        if mode == "none":
            n.append(i)
        increment = i + 1 if mode != "none" else None
        n = yield increment

with loop() as run:
    for number, _ in enumerate(run):
        if number == 100:
            os.remove(what) if what == "out.txt" else shutil.rmtree(what)
"""


@pytest.mark.parametrize("what", [".trax", ".trax/runs/loop", "out.txt"])
@pytest.mark.parametrize(("how", "mode"), [("os", "replace"), ("interval", "none")])
def test_a_run_whose_files_are_gone_ends(how: str, mode: str, what: str) -> None:
    """Soon after, with an error that says it; it does not continue without a checkpoint."""
    done = run_script(GONE, how, mode, what, check=False)
    assert done.returncode == 1
    assert "continues" not in done.stderr
    last = done.stderr[done.stderr.rindex("trax.DurabilityError") :]
    gone = r"out\.txt was removed" if what == "out.txt" else r"/\.trax/runs/loop is gone at step \d"
    assert re.search(gone, last)
    assert "trax: in the run 'loop', after step" in last
    assert os.path.exists(what) is False


@pytest.mark.parametrize("error", [MemoryError("once"), SystemExit("once"), RuntimeError("once")])
def test_whatever_ends_a_background_sync_is_made_up_for(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with an error of the disk: nobody knows what was forced. The thread forces again."""
    failed, forced = threading.Event(), threading.Event()
    real = process.force

    def force(fd: int) -> None:
        if threading.current_thread().name == "trax-sync":
            if not failed.is_set():
                failed.set()
                raise error
            forced.set()
        real(fd)

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for i in trax.steps(10**9):
            yield i

    with loop() as run:
        take(run, 3)
        monkeypatch.setattr(process, "force", force)
        assert failed.wait(60)
        run._lifecycle.session._writer.sync()  # waits for the one that has failed
        assert take(run, 2) == [3, 4]
        assert forced.wait(60)
    assert f"syncing the log failed ({type(error).__name__}: once); a new check" in caplog.text
    assert loop.load() == 4


# -- the end -------------------------------------------------------------------------------


def test_a_closed_session_can_still_be_asked_for_its_state() -> None:
    """A later call may continue the run; that changes nothing here."""

    @trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(4):
            yield i

    with loop() as run:
        session = session_of(run)
        take(run, 2)
    loop().result()
    assert (session.name, session.state, session.step) == ("loop", [0, 1], 2)
    assert (session.resumed_at, session.checkpointed_step) == (None, 1)
    assert (run.state, run.step, run.resumed_at, run.done) == ([0, 1], 2, None, False)
