"""A request to stop: the checkpoint before it, and what happens to the program after it."""

from __future__ import annotations

import gc
import pickle
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from test_signals import (
    MODES,
    clock,  # noqa: F401  # a fixture of every test here, as the next one
    counting,
    handler,
    handlers_are_put_back,  # noqa: F401
    is_watched,
    load_checkpoint,
    nothing,
    terminate,
)

import trax
from trax import notices
from trax.interrupts import stop_request
from trax.interrupts.signals import Arrival
from trax.interrupts.stop_request import StopRequest
from trax.storage.filesystem import LocalDirectory


def test_one_line_says_what_stopped_it(caplog: pytest.LogCaptureFixture) -> None:
    """The person learns what to do, and that nothing is lost."""
    with (
        caplog.at_level("INFO", "trax"),
        pytest.raises(trax.Preempted, match="loop was stopped at step 3 by SIGTERM"),
    ):
        counting(2, terminate)().result()
    line = "loop stopped at step 3: SIGTERM; that step is stored, and the same script resumes there"
    assert caplog.messages == [line]


def test_preempted_survives_pickling() -> None:
    """A worker can hand it to its parent."""
    again = pickle.loads(pickle.dumps(trax.Preempted("loop", 3, "SIGTERM")))
    assert (again.run, again.step, again.reason, again.code) == ("loop", 3, "SIGTERM", 75)


@pytest.mark.parametrize(
    ("mode", "says"), [("function", "the log has every"), ("none", "previous")]
)
def test_a_checkpoint_that_fails_does_not_keep_the_loop_from_stopping(
    mode: str, says: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and with a log nothing is lost."""

    def refuse() -> None:
        patch.setattr(LocalDirectory, "create", full)
        terminate()

    def full(self: LocalDirectory, name: str) -> Any:
        raise OSError(28, "No space left on device", name)

    with (
        monkeypatch.context() as patch,
        caplog.at_level("INFO", "trax"),
        pytest.raises(trax.Preempted),
    ):
        counting(2, refuse, mode, every_steps=1000)().result()
    assert "could not be stored" in caplog.text
    assert says in caplog.text
    run = counting(-1, nothing, mode)()
    assert run.resumed_at == (3 if mode == "function" else None)
    assert run.result() == [*range(10)]


@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_checkpoint_that_failed_before_is_tried_again_at_the_end(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk may have room by now; without a log it is the only copy of that work."""

    def full(self: LocalDirectory, name: str) -> Any:
        raise OSError(28, "No space left on device", name)

    run = counting(-1, nothing, "none", policy=trax.every_steps(3))()
    assert [next(run), next(run)] == [0, 1]
    with monkeypatch.context() as patch:
        patch.setattr(LocalDirectory, "create", full)
        assert next(run) == 2
    if how == "stop":
        terminate()
        with pytest.raises(trax.Preempted):
            next(run)
    else:
        run.close()
    assert load_checkpoint("loop") == [0, 1, 2]


def test_a_run_that_was_closed_after_the_signal_says_so() -> None:
    """Whoever catches the stop and asks again gets an answer."""
    run = counting(-1, nothing)()
    for i in run:
        if i == 2:
            break
    steps = iter(run)
    terminate()
    with pytest.raises(trax.Preempted):
        run.close()
    with pytest.raises(trax.UsageError, match="ended at step 3"):
        next(steps)


def test_a_signal_in_the_last_step_of_a_loop_is_not_lost() -> None:
    """The loop ends and its result is stored; then the program ends, too."""

    @trax.resumable(create=list, replay_log=lambda state, i: [*state, i], name="loop")
    def loop(state: list[int]) -> Iterator[int]:
        yield 1
        terminate()

    with pytest.raises(trax.Preempted):
        loop().result()
    assert loop().done
    assert loop().result() == [1]


def test_a_run_within_a_step_of_another_stops_first_and_ends_that_step() -> None:
    """The handler before is called once, and both are as they were stored."""
    inner = counting(4, terminate, name="inner")

    @trax.resumable(create=list, replay_log=lambda state, i: [*state, i], name="outer")
    def outer(state: list[int]) -> Iterator[int]:
        for i in trax.steps(3):
            if i == 1:
                inner().result()
            yield i

    with handler(signal.SIGTERM, None) as called, pytest.raises(trax.Preempted) as stop:
        outer().result()
    assert called == [signal.SIGTERM]
    assert stop.value.run == "inner"
    assert trax.load("outer") == [0]
    assert trax.load("inner") == [0, 1, 2, 3, 4]


def test_a_run_that_begins_after_the_signal_does_no_step() -> None:
    """The step that it is a part of is being waited for."""
    inner = counting(0, lambda: pytest.fail("a step was run"), name="inner")

    @trax.resumable(create=list, replay_log=lambda state, i: [*state, i], name="outer")
    def outer(state: list[int]) -> Iterator[int]:
        yield 0
        terminate()
        inner().result()

    with pytest.raises(trax.Preempted):
        outer().result()


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_begins_in_a_step_after_trax_stop_does_none(mode: str) -> None:
    """That step may be long before it, and the run may be long as well."""
    inner = counting(0, lambda: pytest.fail("a step was run"), mode, name="inner")

    @trax.resumable(create=list, replay_log=lambda state, i: [*state, i], name="outer")
    def outer(state: list[int]) -> Iterator[int]:
        yield 0
        trax.stop()
        for _ in inner():
            pass

    with pytest.raises(trax.Preempted) as stop:
        outer().result()
    assert (stop.value.run, stop.value.reason) == ("inner", "trax.stop()")
    assert trax.load("outer") == [0]
    later = counting(-1, nothing, name="later")()
    assert next(later) == 0
    later.close()


def test_a_run_that_begins_after_trax_stop_goes_on_if_none_waits_for_it() -> None:
    """A run that was left at a yield may never be asked again."""
    left = counting(-1, nothing, name="left")()
    next(left)
    trax.stop()
    assert next(counting(-1, nothing, name="later")()) == 0
    with pytest.raises(trax.Preempted):
        next(left)


def test_a_run_that_is_opened_just_before_the_one_around_it_is_asked_stops() -> None:
    """Whatever the other threads do meanwhile."""
    first, around, inner = (StopRequest(name, None, None, ctrl_c=False) for name in "abc")
    first.watch(lambda: inner.watch(nothing, lambda: True, restarts=True), bool, restarts=True)
    around.watch(nothing, lambda: True, restarts=True)
    trax.stop()
    assert inner.reason == "trax.stop()"
    for request in (first, around, inner):
        request.end_watch()


@pytest.mark.parametrize("mode", MODES)
def test_runs_that_take_turns_are_all_stored(mode: str) -> None:
    """The first that is asked stops; the other is closed like any other."""
    one = counting(3, terminate, mode, name="one")
    two = counting(-1, nothing, mode, name="two")
    with handler(signal.SIGTERM, None) as called:
        with pytest.raises(trax.Preempted):
            for _ in zip(one(), two(), strict=True):
                pass
        gc.collect()
        assert not is_watched()
    assert called == [signal.SIGTERM]
    assert (one().resumed_at, two().resumed_at) == (4, 3)


def test_the_other_run_stops_as_well_if_it_is_asked() -> None:
    """The signal was for the whole program."""
    one, two = counting(3, terminate, name="one")(), counting(-1, nothing, name="two")()
    assert next(two) == 0
    with pytest.raises(trax.Preempted):
        one.result()
    with pytest.raises(trax.Preempted) as stop:
        next(two)
    assert stop.value.run == "two"


def test_a_run_that_is_left_leaves_the_signal_to_another_that_goes_on() -> None:
    """It finishes its step; the handler before is called once, at the end."""
    with handler(signal.SIGTERM, None) as called:
        two = counting(-1, nothing, name="two")()
        next(two)
        for _ in counting(0, terminate, name="one")():
            break
        gc.collect()
        time.sleep(0.05)  # longer than a signal that is passed on takes
        assert called == []
        with pytest.raises(trax.Preempted):
            next(two)
    assert called == [signal.SIGTERM]


def test_a_program_that_catches_the_stop_can_go_on() -> None:
    """What is over is forgotten: a later run is a run like any other."""
    with pytest.raises(trax.Preempted):
        counting(2, terminate)().result()
    assert counting(-1, nothing)().result() == [*range(10)]


def test_runs_with_different_signals_watch_for_their_own() -> None:
    """What the last one needed is put back when it goes."""

    def look() -> None:
        assert is_watched(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR2)

    outer = counting(-1, nothing, name="outer")()
    next(outer)
    with pytest.raises(trax.Preempted):
        counting(2, look, name="inner", signals="SIGUSR2")().result()
    assert not is_watched(signal.SIGUSR2)
    assert is_watched(signal.SIGTERM)
    assert next(outer) == 1
    outer.close()


def test_a_step_that_fails_after_a_signal_ends_as_the_signal_says(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A worker may have died of the same signal; a scheduler must not take that for a failure."""

    def fail() -> None:
        terminate()
        raise RuntimeError("a worker died")

    with pytest.raises(trax.Preempted) as stop:
        counting(2, fail)().result()
    assert isinstance(stop.value.__context__, RuntimeError)
    assert "after SIGTERM came RuntimeError: a worker died" in caplog.text
    assert counting(-1, nothing)().resumed_at == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_long_step_is_told(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it goes on, by a thread: the code of the step may hold the lock of a logger."""
    monkeypatch.setattr(stop_request, "_LATE", 0.0)
    lines, is_told = list[str](), threading.Event()

    def tell(line: str) -> None:
        lines.append(line)
        is_told.set()

    def wait() -> None:
        signal.raise_signal(number)
        assert is_told.wait(60)

    monkeypatch.setattr(notices, "info", tell)
    with pytest.raises((trax.Preempted, KeyboardInterrupt)):
        counting(2, wait)().result()
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert lines[0] == (
        f"loop finishes what it is computing, and then stops ({name}); another {name} ends the "
        "program at once"
    )


def test_a_signal_is_told_once_and_only_while_a_step_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A sweep and the run of its case may both wait for a step."""
    running = [False]
    arrival = Arrival(signal.SIGTERM, 0.0)
    for name in ("outer", "inner"):
        request = StopRequest(name, None, None, ctrl_c=False)
        request.watch(lambda: None, lambda: running[0], restarts=True)
        request.tell_late(arrival)
        assert len(caplog.messages) == running[0]
        running[0] = True
        request.tell_late(arrival)
        request.end_watch()
    assert [line.partition(" ")[0] for line in caplog.messages] == ["outer"]


def test_a_signal_that_ends_a_wait_for_a_lock_is_told_with_the_holder(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not an error that came after it."""
    request = StopRequest("loop", (signal.SIGTERM,), None, ctrl_c=False)
    request.watch(lambda: None, lambda: False, restarts=True)
    terminate()
    with pytest.raises(trax.Preempted):
        request.act(0, trax.LockedError("it is held", "process 12"))
    request.end_watch()
    assert caplog.messages == ["loop was ended by SIGTERM, while it waited for process 12"]


def test_a_step_that_exits_after_a_signal_exits() -> None:
    """It is on its way to the end already."""

    def leave() -> None:
        terminate()
        sys.exit(5)

    with pytest.raises(SystemExit) as stop:
        counting(2, leave)().result()
    assert stop.value.code == 5


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_closed_after_a_signal_ends_the_program(mode: str) -> None:
    """The signal is not swallowed because the loop was left instead of asked."""

    def leave() -> None:
        with counting(-1, nothing, mode)() as run:
            for _ in run:
                if run.step == 3:
                    terminate()
                    break

    with pytest.raises(trax.Preempted):
        leave()
    assert counting(-1, nothing, mode)().resumed_at == 3


def test_a_loop_that_is_left_after_a_signal_passes_it_on() -> None:
    """The handler before gets it, a moment later."""
    came = threading.Event()
    with handler(signal.SIGTERM, came.set) as called:
        for i in counting(-1, nothing)():
            if i == 2:
                terminate()
                break
        gc.collect()
        while not came.wait(0.01):  # a handler runs between two waits, at the latest
            pass
    assert called == [signal.SIGTERM]
