"""Large checkpoints are written beside the loop, from a copy, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import mmap
import os
import random
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faults import Interrupt
from support import Held, finish_writing, run_script, start_script

import trax
from trax.engine import background as module
from trax.engine.background import Background
from trax.errors import StorageError
from trax.storage.checkpoint import read_checkpoint, read_meta
from trax.storage.codec import Encoded, encode
from trax.storage.filenames import FileName
from trax.storage.filesystem import LocalDirectory
from trax.storage.process import process
from trax.storage.records import PICKLE

SIZE = 300_000  # numbers: 2.4 MB


def begin() -> dict[str, Any]:
    """Return a state with a large array."""
    return {"step": 0, "array": np.zeros(SIZE)}


def advance(state: dict[str, Any], increment: int) -> dict[str, Any]:
    """Change the whole array in place, so that each step has another content."""
    state["step"] += 1
    state["array"] += increment
    state["array"][state["step"]] = -1
    return state


def expected(steps: int) -> np.ndarray[Any, Any]:
    """Return the array after so many steps."""
    state = begin()
    for number in range(steps):
        advance(state, number)
    array: np.ndarray[Any, Any] = state["array"]
    return array


def large(**options: Any) -> Any:
    """Return a loop with a large state."""

    def large(state: dict[str, Any], steps: int) -> Iterator[int]:
        for number in trax.steps(steps):
            yield number

    given = {"create": begin, "replay_log": advance, "every_steps": 3, **options}
    return trax.resumable(**given)(large)


def plain(**options: Any) -> Any:
    """Return a loop without a declared state, with a large variable."""

    def large(steps: int) -> Iterator[int]:
        state = begin()
        for number in range(steps):
            state = advance(state, number)
            yield number

    given = {"every_steps": 3, **options}
    return trax.resumable(**given)(large)


def take(run: Any, number: int) -> None:
    """Drive a run by so many steps."""
    for _ in range(number):
        next(run)


def checkpoints(store: Path) -> list[str]:
    """Return the names of the checkpoints that count."""
    return sorted(path.name for path in store.glob("runs/large/checkpoint-????????"))


def stored_step(store: Path) -> int:
    """Return the step of the newest checkpoint."""
    directory = LocalDirectory(str(store / "runs" / "large"))
    name = FileName.parse(checkpoints(store)[-1])
    assert name is not None
    step: int = read_meta(directory, name)["step"]
    return step


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    """Hold what is begun in the background."""
    return Held(monkeypatch)


# -- the loop goes on ----------------------------------------------------------------------


@pytest.mark.parametrize("make", [large, plain])
def test_the_checkpoint_has_the_state_of_its_step_and_not_a_later_one(
    make: Any, held: Held, store_here: Path
) -> None:
    """The loop has changed its arrays in place when the file is written."""
    with make()(steps=20) as run:
        take(run, 3)
        assert len(held.actions) == 1
        take(run, 2)
        assert checkpoints(store_here) == ["checkpoint-00000001"]
        held.go_on()
    directory = LocalDirectory(str(store_here / "runs" / "large"))
    stored = read_checkpoint(directory, FileName("checkpoint", 2))
    (buffer,) = stored.parts["state"].buffers
    assert stored.meta["step"] == 3
    np.testing.assert_array_equal(np.frombuffer(buffer), expected(3))


@pytest.mark.parametrize("key", ["", "0" * 64], ids=["unsigned", "signed"])
def test_until_it_counts_the_one_before_and_both_logs_give_the_state(
    key: str, held: Held, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For whoever reads the run meanwhile, and afterwards."""
    monkeypatch.setenv("TRAX_KEY", key)
    with large(keep=1)(steps=20) as run:
        take(run, 5)
        assert trax.load("large")["step"] == 5
        assert trax.verify("large").good
        assert len([*store_here.glob("runs/large/log-*")]) == 2
        held.go_on()
        assert checkpoints(store_here) == ["checkpoint-00000002"]  # pruned afterwards
        assert trax.load("large")["step"] == 5
        assert trax.verify("large").good
        take(run, 1)
    np.testing.assert_array_equal(trax.load("large")["array"], expected(6))


def test_a_second_one_that_is_due_meanwhile_waits(held: Held, store_here: Path) -> None:
    """There are never two at once, and never a queue."""
    asked: list[int] = []

    def policy(since: trax.Since) -> bool:
        asked.append(since.step)
        return since.step in (2, 4, 6)

    with large(every_steps=None, policy=policy)(steps=20) as run:
        take(run, 7)
        assert asked == [*range(1, 8)]
        assert len(held.actions) == 1
        held.go_on()
        take(run, 2)  # learn that it is written, and then begin the one that was due
        assert len(held.actions) == 1
        held.go_on()
        assert stored_step(store_here) == 9
        take(run, 5)
        assert not held.actions


def test_many_steps_have_many_checkpoints_and_the_state_is_right(store_here: Path) -> None:
    """With a real thread, and every kept checkpoint leads to the state."""
    with large(every_steps=1, keep=3)(steps=60) as run:
        take(run, 59)
        finish_writing(run)
    for name in checkpoints(store_here)[1:]:
        path = store_here / "runs" / "large" / name
        path.rename(path.with_suffix(".aside"))
        np.testing.assert_array_equal(trax.load("large")["array"], expected(59))
        path.with_suffix(".aside").rename(path)
    assert len(checkpoints(store_here)) > 1
    assert large()(steps=60).result()["step"] == 60


def test_its_memory_is_used_again(held: Held) -> None:
    """There is one copy of the arrays, however often they are stored."""
    with large(every_steps=1)(steps=20) as run:
        take(run, 1)
        room = run._lifecycle.session._pulse.background
        memory = room._memory
        assert len(memory) == 8 * SIZE
        for _ in range(3):
            held.go_on()
            take(run, 2)
            assert held.actions
            assert room._memory is memory
    assert room._memory is None


@pytest.mark.parametrize("options", [{"background": False}, {"replay_log": None}])
def test_what_must_not_be_written_in_the_background_is_not(
    options: dict[str, Any], held: Held, store_here: Path
) -> None:
    """Where it is not wanted, and where no log has the steps."""
    with large(every_steps=2, **options)(steps=20) as run:
        take(run, 2)
        assert not held.actions
        assert stored_step(store_here) == 2


def test_a_small_one_is_not_worth_a_thread(held: Held) -> None:
    """Less than a mebibyte is written in a few milliseconds."""

    @trax.resumable(create=lambda: np.zeros(1000), every_steps=2)
    def small(state: Any, steps: int) -> Iterator[Any]:
        while state[0] < steps:
            state = yield state + 1

    with small(steps=20) as run:
        take(run, 10)
        assert not held.actions


def test_the_first_and_the_last_one_are_not(held: Held, store_here: Path) -> None:
    """The step after relies on the first, and whoever gets the result on the last."""
    run = large(every_steps=100)(steps=4)
    next(run)
    assert stored_step(store_here) == 0
    assert run.result()["step"] == 4
    assert stored_step(store_here) == 4
    assert not held.actions


def test_the_second_one_after_a_migration_is(held: Held, store_here: Path) -> None:
    """The migrated state itself is stored before the loop goes on."""
    with large()(steps=20) as run:
        take(run, 2)
    moved = large(version=2, migrate=lambda state, version: {**state, "new": 1})
    with moved(steps=20) as run:
        assert run.step == 2
        assert stored_step(store_here) == 2
        assert not held.actions
        take(run, 3)
        assert len(held.actions) == 1


def test_one_after_a_failed_sync_is_not(
    held: Held, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log that it would be read with is not trusted."""
    with large(sync="os")(steps=20) as run:
        take(run, 2)
        with monkeypatch.context() as patch:
            patch.setattr(process, "force", failing_once(process.force))
            take(run, 1)
        assert not held.actions
        assert stored_step(store_here) == 3
        take(run, 3)
        assert len(held.actions) == 1
    np.testing.assert_array_equal(trax.load("large")["array"], expected(6))


def failing_once(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call that fails the first time."""
    errors = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def fail(*args: Any) -> Any:
        if errors:
            raise errors.pop()
        return call(*args)

    return fail


def test_an_rng_that_is_new_in_the_state_is_stored_at_once(held: Held, store_here: Path) -> None:
    """No log tells where it was."""

    def add(state: dict[str, Any], number: int) -> dict[str, Any]:
        if number == 0:
            state["rng"] = np.random.default_rng(1)
        state["sum"] = state.get("sum", 0.0) + state["rng"].random()
        return state

    @trax.resumable(create=begin, replay_log=add, every_steps=1, name="large")
    def loop(state: dict[str, Any], steps: int) -> Iterator[int]:
        for number in trax.steps(steps):
            yield number

    with loop(steps=9) as run:
        take(run, 1)
        assert stored_step(store_here) == 1
        take(run, 1)
        assert len(held.actions) == 1


def test_what_was_drawn_since_the_step_was_logged_is_stored_at_once(
    held: Held, store_here: Path
) -> None:
    """A policy may draw, or another task of an event loop; the next step need not tell of it."""

    def policy(since: trax.Since) -> bool:
        if since.step == 2:
            random.random()
        return since.step in (2, 4)

    with large(every_steps=None, policy=policy)(steps=9) as run:
        take(run, 2)
        assert stored_step(store_here) == 2
        take(run, 2)
        assert len(held.actions) == 1


# -- errors --------------------------------------------------------------------------------


def test_an_error_in_the_thread_is_said_once_and_it_is_tried_again(
    held: Held, store_here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that the loop waits for; the logs have everything."""
    said = "continues without a checkpoint for now"
    with large()(steps=30) as run:
        take(run, 3)
        with monkeypatch.context() as patch:
            patch.setattr(LocalDirectory, "rename", failing)
            held.go_on()
            assert said not in caplog.text
            take(run, 3)
            assert caplog.text.count(said) == 1
            assert "No space left" in caplog.text
            assert len(held.actions) == 1
            held.go_on()
            take(run, 3)
            assert caplog.text.count(said) == 1
        assert run._lifecycle.checkpointed_step is None
        held.go_on()
        take(run, 1)
        assert stored_step(store_here) == 9
        assert run._lifecycle.checkpointed_step == 9
        take(run, 2)
        with monkeypatch.context() as patch:
            patch.setattr(LocalDirectory, "rename", failing)
            held.go_on()
            take(run, 1)
        assert caplog.text.count(said) == 2
    np.testing.assert_array_equal(trax.load("large")["array"], expected(13))


def failing(*args: Any) -> None:
    """Fail as a full disk."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_another_error_in_the_thread_ends_the_loop_at_the_next_look(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is none of the disk, and nobody would hear of it."""

    def fail(*args: Any) -> None:
        raise MemoryError("too much")

    run = large()(steps=30)
    take(run, 3)
    with monkeypatch.context() as patch:
        patch.setattr(LocalDirectory, "rename", fail)
        held.go_on()
    with pytest.raises(MemoryError, match="too much"):
        next(run)
    assert large()(steps=30).step == 4


def test_without_threads_the_next_step_waits(
    store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A system that starts no more of them is no reason to do without checkpoints."""

    def refuse(action: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(process, "begin", refuse)
    with large()(steps=30) as run:
        take(run, 4)
        assert stored_step(store_here) == 3
        take(run, 4)
        assert stored_step(store_here) == 6


def test_without_memory_for_a_copy_the_loop_waits_and_that_is_said_once(
    held: Held, store_here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On a machine that the state takes up by more than half."""
    monkeypatch.setattr("trax.engine.free_memory.free_memory", lambda: 300 << 20)
    with large()(steps=30) as run:
        take(run, 3)
        assert len(held.actions) == 1
        held.go_on()
        monkeypatch.setattr(module, "_MARGIN", 299 << 20)
        run._lifecycle.session._pulse.background.end()
        take(run, 7)
        assert not held.actions
        assert stored_step(store_here) == 9
    line = "large waits while its checkpoints are written: a copy takes 2,400,000 bytes, and"
    assert caplog.text.count(line) == 1


def test_a_system_that_gives_no_memory_is_one_without_it(
    held: Held, store_here: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as one with a limit of its own for each process."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(mmap, "mmap", refuse)
    with large()(steps=30) as run:
        take(run, 3)
        assert stored_step(store_here) == 3
    assert "Cannot allocate memory" in caplog.text


def test_pickling_that_takes_long_is_said_once_with_what_helps(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """That cannot be done in the background; once may be a process that was stopped meanwhile."""
    now = itertools.count(1000.0, 2.0)
    line = "at each checkpoint, while its state is pickled"
    with large(background=False)(steps=30) as run:
        take(run, 2)
        with monkeypatch.context() as patch:
            patch.setattr(process, "monotonic", lambda: next(now))
            take(run, 1)
            assert line not in caplog.text
            take(run, 15)
    assert caplog.text.count(line) == 1


# -- whoever ends it meanwhile -------------------------------------------------------------


def test_a_loop_that_ends_meanwhile_waits_for_it(held: Held, store_here: Path) -> None:
    """Its last checkpoint comes after that one."""
    run = large()(steps=5)
    assert run.result()["step"] == 5
    assert stored_step(store_here) == 5
    held.go_on()  # a thread that comes too late does nothing
    assert stored_step(store_here) == 5
    assert checkpoints(store_here) == ["checkpoint-00000002", "checkpoint-00000003"]


@pytest.mark.parametrize("make", [large, plain])
def test_a_run_that_is_closed_meanwhile_waits_for_it(
    make: Any, held: Held, store_here: Path
) -> None:
    """Nothing of it is under way when the lock is released."""
    with make()(steps=20) as run:
        take(run, 4)
    assert stored_step(store_here) == 3
    assert not [*store_here.glob("runs/large/*.tmp")]
    assert make()(steps=20).step == 4


def test_a_stop_right_after_it_was_begun_stores_another_one_if_it_failed(
    held: Held, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is time for that, and the log need not be replayed."""
    with large()(steps=20) as run:
        take(run, 3)
        assert held.actions
        monkeypatch.setattr(LocalDirectory, "rename", failing_once(LocalDirectory.rename))
        run._lifecycle.save()
        assert stored_step(store_here) == 3
        assert run._lifecycle.session.unsaved is None


def test_one_that_nobody_waited_for_removes_nothing(
    held: Held, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing was interrupted, and another call goes on."""

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    run = large(keep=1)(steps=20)
    take(run, 4)
    with monkeypatch.context() as patch:
        patch.setattr(Background, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run.close()
    with large(keep=1)(steps=20) as other:
        assert other.step == 4
        held.go_on()
        assert checkpoints(store_here) == ["checkpoint-00000001", "checkpoint-00000002"]
        take(other, 1)
    np.testing.assert_array_equal(trax.load("large")["array"], expected(5))


def test_closing_says_if_it_failed(
    held: Held, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise a loop that is always closed early would never say so."""
    with large()(steps=20) as run:
        take(run, 4)
        with monkeypatch.context() as patch:
            patch.setattr(LocalDirectory, "rename", failing)
            run.close()
    assert "large continues without a checkpoint for now" in caplog.text
    assert large()(steps=20).step == 4


def test_closing_waits_for_the_thread(store_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is in the middle of the file."""
    may_end = threading.Event()
    rename, work = LocalDirectory.rename, module.Job.work

    def gated(self: LocalDirectory, old: str, new: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            assert may_end.wait(60)
        rename(self, old, new)

    def wait(self: module.Job) -> None:
        if threading.current_thread() is threading.main_thread():
            may_end.set()
        work(self)

    monkeypatch.setattr(LocalDirectory, "rename", gated)
    monkeypatch.setattr(module.Job, "work", wait)
    run = large()(steps=20)
    take(run, 4)
    assert checkpoints(store_here) == ["checkpoint-00000001"]
    run.close()
    assert stored_step(store_here) == 3
    assert large()(steps=20).step == 4


STOPPED = """
import os, sys
import pytest
sys.path[:0] = [{here!r}, {tests!r}]
import test_background as module

held = module.Held(pytest.MonkeyPatch())

@module.trax.resumable(create=module.begin, replay_log=module.advance, every_steps=3)
def large(state, steps):
    for number in module.trax.steps(steps):
        if number == 4:
            assert held.actions
            os.kill(os.getpid(), {number})
        yield number

large(steps=20).result()
"""


def script(text: str, **words: object) -> str:
    """Return a script that can import this module."""
    here = os.path.dirname(__file__)
    return text.format(here=here, tests=os.path.dirname(here), **words)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_meanwhile_stores_the_present_step(number: int, store_here: Path) -> None:
    """After the one that was begun."""
    done = run_script(script(STOPPED, number=int(number)), check=False)
    assert "stopped at step 5" in done.stderr
    assert checkpoints(store_here) == ["checkpoint-00000002", "checkpoint-00000003"]
    assert stored_step(store_here) == 5
    np.testing.assert_array_equal(trax.load("large")["array"], expected(5))


def test_a_time_limit_leaves_time_for_both(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop waits for the checkpoint that is being written, and stores another one."""
    with large(time_limit=1000)(steps=20) as run:
        assert run.step == 0
        pulse = run._lifecycle.session._pulse
        asked: list[float] = []
        monkeypatch.setattr(pulse._stop_request, "look", lambda now, seconds: asked.append(seconds))
        pulse._stall, pulse._rest = 1.0, 10.0
        next(run)
        pulse.background.job = module.Job(lambda: 0)
        next(run)
        pulse.background.job = None
        assert asked == [11.0, 21.0]


@pytest.mark.filterwarnings("ignore:.*unclosed file.*")  # the interrupt comes before it is kept
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_at_any_place_leaves_a_run_that_goes_on(store_here: Path) -> None:
    """And at most one checkpoint is being written, which somebody waits for."""
    for place in itertools.count(1, 7):
        options = {"every_steps": 1, "name": f"large-{place}", "varying": "steps"}
        run = large(**options)(steps=20)
        take(run, 1)
        finish_writing(run)
        interrupt = Interrupt(
            place, KeyboardInterrupt(), "background.py", "checkpointer.py", "run_writer.py"
        )
        interrupted = False
        with interrupt:
            try:
                take(run, 3)
            except KeyboardInterrupt:
                interrupted = True
        run.close()
        resumed = large(**options)(steps=6)
        assert 1 <= resumed.step <= 4
        state = resumed.result()
        np.testing.assert_array_equal(state["array"], expected(6))
        for path in store_here.glob(f"runs/large-{place}/checkpoint-*"):
            assert path.suffix == "", path
        if not interrupted:
            break
    assert place > 30


FORKED = """
import os, sys
import pytest
sys.path[:0] = [{here!r}, {tests!r}]
import test_background as module
import trax

held = module.Held(pytest.MonkeyPatch())
store = module.Path(".trax")
run = module.large()(steps=20)
module.take(run, 4)
child = os.fork()
if not child:
    run._lifecycle.session._hold.check_at = 0.0  # so it looks for its files as well
    try:
        next(run)
    except trax.LockedError:
        run.close()
        os._exit(7)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert module.checkpoints(store) == ["checkpoint-00000001"]
held.go_on()
assert module.stored_step(store) == 3
module.take(run, 1)
run.close()
assert module.large()(steps=20).step == 5
"""


def test_a_forked_child_does_not_wait_for_it_nor_write_it() -> None:
    """It has no such thread; the parent goes on."""
    run_script(script(FORKED))


IN_THE_MIDDLE = """
import os, sys, threading
sys.path[:0] = [{here!r}, {tests!r}]
import test_background as module
from trax.storage import filesystem

begun, may_end = threading.Event(), threading.Event()
sync = filesystem._LocalOutput.sync

def gated(self):
    if threading.current_thread().name == "trax-write":
        begun.set()
        assert may_end.wait(60)
    sync(self)

filesystem._LocalOutput.sync = gated
run = module.large(sync="os")(steps=20)
module.take(run, 4)
begun.wait()
child = os.fork()
if not child:
    paths = [f"/proc/self/fd/{{fd}}" for fd in range(100)]
    links = [os.readlink(path) for path in paths if os.path.lexists(path)]
    os._exit(1 if any("checkpoint" in link for link in links) else 7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
may_end.set()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="it shows what is open")
def test_a_child_that_is_forked_in_the_middle_keeps_nothing_open_and_the_end_waits_for_it(
    store_here: Path,
) -> None:
    """A file that is removed takes up its room as long as anybody has it open."""
    run_script(script(IN_THE_MIDDLE))
    assert stored_step(store_here) == 3
    assert not [*store_here.glob("runs/large/*.tmp")]


GATED = """
import os, signal, sys, threading
sys.path[:0] = [{here!r}, {tests!r}]
import test_background as module
from trax.storage.filesystem import LocalDirectory

call = getattr(LocalDirectory, {call!r})

def gated(self, *args):
    if threading.current_thread() is not threading.main_thread() and "checkpoint" in args[0]:
        if {after}:
            call(self, *args)
        os.write(1, b"begun\\n")
        threading.Event().wait()
    return call(self, *args)

setattr(LocalDirectory, {call!r}, gated)
run = module.large(sync="os")(steps=20)
module.take(run, 5)
os.write(1, b"5\\n")
threading.Event().wait()
"""


@pytest.mark.parametrize(
    ("call", "after"), [("create", False), ("create", True), ("rename", False), ("rename", True)]
)
def test_a_kill_in_the_middle_of_it_costs_nothing(call: str, after: bool, store_here: Path) -> None:
    """All increments that were handed out are there, and the next process writes it anew."""
    with start_script(script(GATED, call=call, after=after)) as killed:
        assert killed.stdout is not None
        assert sorted(killed.stdout.readline().strip() for _ in range(2)) == ["5", "begun"]
        killed.kill()
        killed.wait()
    run = large()(steps=20)
    assert run.step == 5
    np.testing.assert_array_equal(run.state["array"], expected(5))
    assert run.result()["step"] == 20
    assert not [*store_here.glob("runs/large/*.tmp")]


# -- async runs ----------------------------------------------------------------------------


def test_an_async_loop_goes_on_as_well(held: Held, store_here: Path) -> None:
    """It waits in a thread for the copy and the log, and not for the file."""

    @trax.resumable(create=begin, replay_log=advance, every_steps=3)
    async def large(state: dict[str, Any], steps: int) -> AsyncIterator[int]:
        for number in trax.steps(steps):
            yield number

    async def main() -> None:
        async with large(steps=20) as run:
            for _ in range(5):
                await anext(run)
            assert len(held.actions) == 1
            assert checkpoints(store_here) == ["checkpoint-00000001"]
            held.go_on()
            assert stored_step(store_here) == 3
            await anext(run)
            await anext(run)
            assert len(held.actions) == 1
        assert stored_step(store_here) == 7

    asyncio.run(main())
    np.testing.assert_array_equal(trax.load("large")["array"], expected(7))


# -- by itself -----------------------------------------------------------------------------


def test_a_copy_is_as_writable_as_the_original() -> None:
    """The file says which it is."""
    array, fixed, empty = np.arange(4.0), np.arange(3.0), np.zeros(0)
    fixed.flags.writeable = False
    encoded = encode([array, fixed, empty], "state")
    other = Encoded(PICKLE, b"N.", [])
    copies = Background().copied({"state": encoded, "other": other})
    array[:] = 7
    assert copies["other"] == other
    kinds = [kind for kind, _ in encoded.records()]
    assert [kind for kind, _ in copies["state"].records()] == kinds
    np.testing.assert_array_equal(np.frombuffer(copies["state"].buffers[0]), np.arange(4.0))
    np.testing.assert_array_equal(np.frombuffer(copies["state"].buffers[1]), np.arange(3.0))


def test_memory_that_is_much_too_large_is_given_back() -> None:
    """Less than twice what is needed stays."""
    room = Background()
    sizes = []
    for size in (100, 60, 100, 49, 101):
        room.copied({"state": Encoded(PICKLE, b"", [bytearray(1000 * size)])})
        assert room._memory is not None
        sizes.append(len(room._memory) // 1000)
    assert sizes == [100, 100, 100, 49, 101]


def test_an_interrupt_when_the_thread_was_just_started_leaves_it_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else another one could be begun, in the same memory."""
    begun, written = [], []

    def begin(action: Callable[[], None]) -> None:
        begun.append(action)
        raise KeyboardInterrupt

    def write() -> int:
        written.append("once")
        return 7

    monkeypatch.setattr(process, "begin", begin)
    room = Background()
    with pytest.raises(KeyboardInterrupt):
        room.begin(write)
    assert room.job is not None
    assert room.job.is_done
    job = room.wait()
    assert job is not None
    assert job.result() == 7
    begun[0]()
    assert written == ["once"]


def test_an_error_is_raised_once() -> None:
    """And there is room for another one."""
    room = Background()

    def fail() -> int:
        raise StorageError("full")

    room.begin(fail)
    job = room.wait()
    assert job is not None
    with contextlib.suppress(StorageError):
        job.result()
        raise AssertionError("it has failed")
    assert room.wait() is None
    room.begin(lambda: 7)
    job = room.wait()
    assert job is not None
    assert job.result() == 7
