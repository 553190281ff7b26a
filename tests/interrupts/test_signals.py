"""Signals that stop a loop: when, after what, with what in the end, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from support import run_script, start_script

import trax
from trax.interrupts import signals
from trax.storage.process import process

SIGNALS = ("SIGTERM", "SIGUSR1")
MODES = ["function", "replace", "none"]


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let signals come at times that do not depend on the machine."""
    clock = Clock()
    monkeypatch.setattr(process, "monotonic", clock)
    return clock


@pytest.fixture(autouse=True)
def handlers_are_put_back() -> Iterator[None]:
    """Whatever a test does, no handler of trax stays behind it, and no run is watched."""
    numbers = [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT]
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    gc.collect()
    after = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, before[number])
    assert after == before
    assert not signals._watches
    assert not signals._installed
    assert signal.set_wakeup_fd(-1) == -1


@contextlib.contextmanager
def handler(number: int, what: Any) -> Iterator[list[int]]:
    """Have a handler of the user's for the length of a block; what it was called with."""
    called: list[int] = []

    def record(number: int, frame: FrameType | None) -> None:
        called.append(number)
        if callable(what):
            what()

    before = signal.signal(number, record if what is None or callable(what) else what)
    try:
        yield called
    finally:
        signal.signal(number, before)


def is_watched(number: int = signal.SIGTERM) -> bool:
    """Whether the handler of a signal is that of trax."""
    return signal.getsignal(number) is signals._handle


def counting(
    at: int, do: Callable[[], object], mode: str = "function", **options: Any
) -> Callable[..., trax.Run[Any, int, Any]]:
    """Return a loop of ten steps that yields their numbers, and does something in one of them."""

    def append(state: list[int], increment: int) -> list[int]:
        return [*state, increment]

    def body(state: list[int]) -> Iterator[int]:
        for i in trax.steps(10):
            if i == at:
                do()
            if mode == "none":
                state.append(i)
            yield i

    def replaced(state: list[int]) -> Any:
        for i in trax.steps(10):
            if i == at:
                do()
            state = yield [*state, i]

    options = {"create": list, "signals": SIGNALS, "name": "loop", **options}
    loop: Callable[..., trax.Run[Any, int, Any]]
    if mode == "replace":
        loop = trax.resumable(**options)(replaced)
    else:
        loop = trax.resumable(replay_log=None if mode == "none" else append, **options)(body)
    return loop


def terminate() -> None:
    """Do what a scheduler does to this process."""
    signal.raise_signal(signal.SIGTERM)


def interrupt() -> None:
    """Do what Ctrl-C does."""
    signal.raise_signal(signal.SIGINT)


def nothing() -> None:
    """Leave the loop alone."""


# -- where and how a loop stops ------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("at", [0, 4, 9])
def test_a_signal_in_a_step_stops_the_loop_behind_it(mode: str, at: int) -> None:
    """The step is finished and handed out, a checkpoint is stored, and nothing more is run."""
    handed_out: list[Any] = []
    with pytest.raises(trax.Preempted) as stop:
        drive(counting(at, terminate, mode)(), handed_out.append)
    assert len(handed_out) == at + 1
    assert (stop.value.run, stop.value.step) == ("loop", at + 1)
    assert (stop.value.reason, stop.value.code) == ("SIGTERM", 75)
    assert not is_watched()
    run = counting(-1, nothing, mode)()
    assert run.resumed_at == at + 1
    assert run.result() == [*range(10)]


def drive(run: Iterator[Any], body: Callable[[Any], object]) -> None:
    """Do something with every increment."""
    for increment in run:
        body(increment)


def test_the_checkpoint_is_stored_before_the_increment_is_handed_out() -> None:
    """What the caller does with it may take longer than the scheduler waits."""
    stored: list[int] = []

    def body(i: int) -> None:
        stored.append(len(load_checkpoint("loop")))

    with pytest.raises(trax.Preempted):
        drive(counting(2, terminate, "none", every_steps=1000)(), body)
    assert stored == [0, 0, 3]


def load_checkpoint(name: str) -> Any:
    """Return the state in the newest checkpoint of a run that has no log."""
    return trax.load(name, replay_log=no_log)


def no_log(state: Any, increment: Any) -> Any:
    """Replay what is not there."""
    raise AssertionError("there is a log")


def test_a_signal_in_the_callers_code_stops_the_loop_before_its_next_step() -> None:
    """What was computed and not handed to a checkpoint goes into one."""
    steps: list[int] = []

    @trax.resumable(create=list, replay_log=None, every_steps=1000, name="loop")
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(10):
            steps.append(i)
            state.append(i)
            yield i

    def body(i: int) -> None:
        if i == 2:
            terminate()
            assert load_checkpoint("loop") == []

    with pytest.raises(trax.Preempted):
        drive(loop(), body)
    assert steps == [0, 1, 2]
    assert load_checkpoint("loop") == [0, 1, 2]


def test_a_signal_while_the_run_is_opened_stops_it_before_its_first_step() -> None:
    """What `create` made is stored."""

    def create() -> list[int]:
        terminate()
        return [7]

    with pytest.raises(trax.Preempted) as stop:
        counting(0, lambda: pytest.fail("a step was run"), create=create)().result()
    assert stop.value.step == 0
    assert trax.load("loop") == [7]


def by_for(run: trax.Run[Any, Any, Any]) -> None:
    for _ in run:
        pass


def by_next(run: trax.Run[Any, Any, Any]) -> None:
    while True:
        next(run)


def by_with(run: trax.Run[Any, Any, Any]) -> None:
    with run:
        run.result()


def by_state(run: trax.Run[Any, Any, Any]) -> None:
    assert run.state == []
    assert not is_watched()  # nothing is driven yet
    run.result()


@pytest.mark.parametrize("how", [by_for, by_next, by_with, by_state, trax.Run.result])
def test_every_way_to_drive_a_loop_is_watched(how: Callable[[Any], object]) -> None:
    """And when it has stopped nothing holds the run: the next call resumes at once."""
    run = counting(2, terminate)()
    with pytest.raises(trax.Preempted):
        how(run)
    assert not is_watched()
    with pytest.raises(trax.UsageError, match="SIGTERM stopped it"):
        next(run)
    assert counting(-1, nothing)().resumed_at == 3


# -- the second signal ---------------------------------------------------------------------


def test_copies_of_a_signal_are_one(clock: Clock) -> None:
    """Launchers send it, and pass on the one that they get."""

    def twice() -> None:
        terminate()
        clock.now += 0.9
        terminate()

    with handler(signal.SIGTERM, sys.exit) as called, pytest.raises(SystemExit):
        counting(2, twice)().result()
    assert called == [signal.SIGTERM]
    assert counting(-1, nothing)().resumed_at == 3


def test_a_second_signal_is_for_the_handler_before_at_once(clock: Clock) -> None:
    """What it raises comes out of the middle of the step, and it is called once."""

    def leave() -> None:
        raise SystemExit(3)

    def twice() -> None:
        terminate()
        clock.now += 1.1
        terminate()

    with handler(signal.SIGTERM, leave) as called, pytest.raises(SystemExit) as stop:
        counting(2, twice)().result()
    assert stop.value.code == 3
    assert called == [signal.SIGTERM]
    assert counting(-1, nothing)().resumed_at == 2


def test_a_handler_that_had_the_second_signal_is_not_called_again(clock: Clock) -> None:
    """It returned; the loop stops behind its step all the same."""

    def twice() -> None:
        terminate()
        clock.now += 1.1
        terminate()

    with handler(signal.SIGTERM, None) as called, pytest.raises(trax.Preempted):
        counting(2, twice)().result()
    assert called == [signal.SIGTERM]
    assert counting(-1, nothing)().resumed_at == 3


def test_a_notice_is_no_first_signal(clock: Clock) -> None:
    """SLURM sends what --signal asks for, and SIGTERM at the end: the step is waited for."""

    def notice() -> None:
        signal.raise_signal(signal.SIGUSR1)
        clock.now += 60
        terminate()

    with (
        handler(signal.SIGTERM, None) as terminated,
        handler(signal.SIGUSR1, None) as noticed,
        pytest.raises(trax.Preempted) as stop,
    ):
        counting(2, notice)().result()
    assert stop.value.reason == "SIGUSR1"
    assert (len(noticed), len(terminated)) == (1, 1)
    assert counting(-1, nothing)().resumed_at == 3


# -- Ctrl-C --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_once_finishes_the_step(mode: str) -> None:
    """The step is stored, then comes KeyboardInterrupt."""
    with pytest.raises(KeyboardInterrupt):
        counting(2, interrupt, mode)().result()
    run = counting(-1, nothing, mode)()
    assert run.resumed_at == 3
    assert run.result() == [*range(10)]


@pytest.mark.parametrize("is_map", [False, True])
def test_ctrl_c_between_two_steps_shows_the_callers_frames(is_map: bool) -> None:
    """And not those by which trax stops."""
    run: Any = counting(2, interrupt)()
    if is_map:
        run = trax.map(lambda n: interrupt() if n == 1 else n, range(3), name="map")
    with pytest.raises(KeyboardInterrupt) as caught:
        run.result()
    names = [frame.name for frame in caught.traceback]
    assert names[:2] == ["test_ctrl_c_between_two_steps_shows_the_callers_frames", "result"]
    assert names[-1] in ("stop", "_stop")
    assert {"deliver", "end_program", "leave"}.isdisjoint(names)


def test_ctrl_c_twice_ends_the_step_at_once(clock: Clock) -> None:
    """A person who waits no longer need not."""

    def twice() -> None:
        interrupt()
        clock.now += 0.3
        interrupt()
        pytest.fail("the step went on")

    with pytest.raises(KeyboardInterrupt):
        counting(2, twice)().result()
    assert counting(-1, nothing)().resumed_at == 2


def test_ctrl_c_after_sigterm_ends_the_step_at_once(clock: Clock) -> None:
    """The second signal need not be the same as the first."""

    def both() -> None:
        terminate()
        clock.now += 2
        interrupt()
        pytest.fail("the step went on")

    with pytest.raises(KeyboardInterrupt):
        counting(2, both)().result()


def test_ctrl_c_in_the_callers_loop_waits_for_its_end() -> None:
    """What the caller does with an increment is finished, too."""
    finished: list[int] = []

    def body(i: int) -> None:
        if i == 2:
            interrupt()
        finished.append(i)

    with pytest.raises(KeyboardInterrupt):
        drive(counting(-1, nothing)(), body)
    assert finished == [0, 1, 2]


def test_ctrl_c_is_not_swallowed_by_a_run_that_nobody_drives() -> None:
    """A run that was begun at a prompt, or in a cell that is over, may never be asked again."""

    def cell() -> trax.Run[Any, int, Any]:
        run = counting(-1, nothing)()
        assert next(run) == 0
        return run

    run = cell()
    assert is_watched(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert next(run) == 1  # and the run is none the worse
    run.close()


def test_ctrl_c_is_not_swallowed_where_an_older_call_asked_for_a_step() -> None:
    """As in a server: each call of a function has a frame of its own, often at the same address."""
    run = counting(-1, nothing)()

    def request(do: Callable[[], object] | None) -> None:
        if do is None:
            next(run)
        else:
            do()

    for _ in range(3):
        request(None)
        with pytest.raises(KeyboardInterrupt):
            request(interrupt)
    run.close()


def test_each_call_that_asks_for_a_step_is_watched() -> None:
    """Even if its frame lies where that of the last one lay: a notebook sets its own handler."""
    run = counting(-1, nothing)()

    def cell() -> bool:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        next(run)
        return is_watched(signal.SIGINT)

    assert [cell() for _ in range(5)] == [True] * 5
    run.close()


@pytest.mark.parametrize("how", [by_for, by_next, by_with, trax.Run.result])
def test_a_cell_that_drives_an_older_run_is_watched(how: Callable[[Any], object]) -> None:
    """A notebook sets its own handler for each cell; driving the run takes it over again."""

    def cell() -> trax.Run[Any, int, Any]:
        run = counting(5, interrupt)()
        assert next(run) == 0
        return run

    run = cell()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        how(run)
    assert counting(-1, nothing)().resumed_at == 6
    assert not is_watched(signal.SIGINT)


def test_a_step_that_another_cell_asks_for_is_finished() -> None:
    """Also where that is done through the iterator itself."""

    def cell() -> Iterator[int]:
        steps = iter(counting(3, interrupt)())
        assert next(steps) == 0
        return steps

    steps = cell()
    assert [next(steps), next(steps), next(steps)] == [1, 2, 3]
    with pytest.raises(KeyboardInterrupt):
        next(steps)


def test_ctrl_c_reaches_a_handler_that_returns_and_still_ends_the_loop() -> None:
    """That of asyncio cancels a task and returns."""
    with handler(signal.SIGINT, None) as called, pytest.raises(KeyboardInterrupt):
        counting(2, interrupt)().result()
    assert called == [signal.SIGINT]


def test_ctrl_c_in_asyncio_ends_the_program() -> None:
    """A loop in a coroutine stops behind its step, and asyncio.run passes it on."""

    async def main() -> None:
        counting(2, interrupt)().result()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    assert counting(-1, nothing)().resumed_at == 3


def test_a_handler_of_an_event_loop_is_called_in_it() -> None:
    """What asyncio installs returns at once, and calls back later."""
    called: list[str] = []

    async def main() -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, called.append, "yes")
        with pytest.raises(trax.Preempted):
            counting(2, terminate)().result()
        while not called:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert called == ["yes"]


def test_a_signal_counts_where_the_loop_fails_and_fails_to_close() -> None:
    """What its generator raises when it is closed comes before both."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[Any]:
        try:
            yield 1
            terminate()
            yield threading.Lock()  # cannot be stored
        finally:
            raise LookupError

    with pytest.raises(trax.Preempted) as caught:
        loop().result()
    assert isinstance(caught.value.__context__, LookupError)
    assert not is_watched()


# -- handlers ------------------------------------------------------------------------------


def test_the_handler_before_is_called_once_after_the_checkpoint() -> None:
    """It finds the run stored and not held."""
    stored: list[int | None] = []

    def look() -> None:
        stored.append(counting(-1, nothing)().resumed_at)

    with handler(signal.SIGTERM, look) as called, pytest.raises(trax.Preempted):
        counting(2, terminate)().result()
    assert called == [signal.SIGTERM]
    assert stored == [3]


def test_the_handler_before_may_choose_the_exit_status() -> None:
    """Its exception takes the place of Preempted."""

    def leave() -> None:
        sys.exit(3)

    with handler(signal.SIGTERM, leave), pytest.raises(SystemExit) as stop:
        counting(2, terminate)().result()
    assert stop.value.code == 3
    assert counting(-1, nothing)().resumed_at == 3


def test_a_run_that_was_done_before_watches_for_nothing() -> None:
    """Whether it is looked at first, driven at once, or iterated over."""
    counting(-1, nothing)().result()
    for look in (False, True):
        run = counting(-1, nothing)()
        assert not look or run.done
        assert run.result() == [*range(10)]
        assert list(run) == []
        assert not is_watched()


@pytest.mark.parametrize("how", ["end", "break", "exception", "close", "never driven", "error"])
def test_handlers_are_put_back_however_a_loop_ends(how: str) -> None:
    """The fixture of this module looks again after every test."""
    with handler(signal.SIGTERM, None):
        before = signal.getsignal(signal.SIGTERM)
        run = counting(5, lambda: 1 / 0 if how == "exception" else None)()
        if how == "end":
            run.result()
        elif how == "break":
            for _ in run:
                assert is_watched()
                break
        elif how == "exception":
            with pytest.raises(ZeroDivisionError):
                run.result()
        elif how == "close":
            next(run)
            assert is_watched()
            run.close()
        elif how == "error":
            next(run)
            script = "import trax\ntrax.Trax(wait=0).log(loop=1)"
            assert "LockedError" in run_script(script, check=False).stderr
            run.close()
            with trax.Trax() as store:
                store.log(loop=3)
                with pytest.raises(trax.LockedError):
                    next(counting(-1, nothing)())
        del run
        assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored() -> None:
    """As under nohup; so does Ctrl-C where it is ignored, as in a job in the background."""
    with handler(signal.SIGTERM, signal.SIG_IGN), handler(signal.SIGINT, signal.SIG_IGN):

        def both() -> None:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
            terminate()
            interrupt()

        assert counting(2, both)().result() == [*range(10)]


def test_a_handler_that_is_not_pythons_stays() -> None:
    """It could not be called from here."""

    def look() -> None:
        assert signal.getsignal(signal.SIGTERM) is None

    with pytest.MonkeyPatch.context() as patch:
        real = signal.getsignal
        patch.setattr(signal, "getsignal", lambda n: None if n == signal.SIGTERM else real(n))
        counting(2, look)().result()
    assert not is_watched()


def test_a_handler_that_is_set_during_the_loop_stays() -> None:
    """It is the user's, and no run takes it away."""
    called = []

    def mine(number: int, frame: FrameType | None) -> None:
        called.append(number)

    before = signal.getsignal(signal.SIGTERM)
    try:
        loop = counting(2, lambda: signal.signal(signal.SIGTERM, mine))
        assert loop().result() == [*range(10)]
        assert signal.getsignal(signal.SIGTERM) is mine
        terminate()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert called == [signal.SIGTERM]


def test_a_handler_that_calls_the_one_it_replaced_calls_no_circle() -> None:
    """Also where trax's is the one, and trax has put itself above it again."""
    called = []

    def chain(number: int, frame: FrameType | None) -> None:
        called.append(number)
        replaced(number, frame)

    before = signal.getsignal(signal.SIGTERM)
    try:
        run = counting(-1, nothing)()
        next(run)
        replaced: Any = signal.signal(signal.SIGTERM, chain)
        assert replaced is signals._handle
        iter(run)
        assert is_watched()
        terminate()
        with pytest.raises(trax.Preempted):
            next(run)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert called == [signal.SIGTERM]


@pytest.mark.parametrize("given", [None, ()])
def test_only_what_is_named_is_watched(given: Any) -> None:
    """None leaves everything alone; the empty tuple is Ctrl-C alone."""

    def look() -> None:
        assert not is_watched(signal.SIGTERM)
        assert is_watched(signal.SIGINT) == (given is not None)

    assert counting(2, look, signals=given)().result() == [*range(10)]


def test_by_default_it_is_sigterm() -> None:
    """What schedulers, Kubernetes and systemd send."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        assert is_watched(signal.SIGTERM)
        assert not is_watched(signal.SIGUSR1)
        yield 1

    loop().result()


def test_ctrl_c_is_left_to_the_main_thread() -> None:
    """A run in another one watches for the other signals alone."""
    watched: list[bool] = []

    def look() -> None:
        watched.extend([is_watched(), is_watched(signal.SIGINT)])

    thread = threading.Thread(target=lambda: counting(2, look)().result())
    thread.start()
    thread.join()
    assert watched == [True, False]
    assert trax.load("loop") == [*range(10)]


def test_a_run_in_another_thread_is_not_stopped_before_that_of_the_main_thread() -> None:
    """Whose step may wait for it, and must not go on without what it gives."""
    inner = counting(2, nothing, name="inner")

    def both() -> None:
        terminate()
        thread = threading.Thread(target=lambda: inner().result())
        thread.start()
        thread.join()

    with pytest.raises(trax.Preempted):
        counting(2, both)().result()
    assert trax.load("inner") == [*range(10)]
    assert counting(-1, nothing)().resumed_at == 3


def test_a_run_that_another_thread_closes_leaves_a_handler_that_does_no_harm() -> None:
    """Only the main thread can put it back; until then the signal has its old effect."""
    with handler(signal.SIGTERM, None) as called:
        run = counting(-1, nothing)()
        next(run)
        thread = threading.Thread(target=run.close)
        thread.start()
        thread.join()
        terminate()
        assert called == [signal.SIGTERM]
        counting(-1, nothing)().result()
        assert not is_watched()


def test_the_state_of_a_run_goes_with_the_run() -> None:
    """It may be large; it does not wait for the collector of cycles."""

    class State(list[int]):
        pass

    run = counting(-1, nothing, "none", create=State)()
    next(run)
    state = weakref.ref(run.state)
    gc.disable()
    try:
        run.close()
        del run
        assert state() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("how", ["break", "left open"])
@pytest.mark.parametrize("does", ["pass", "raise SystemExit(3)", "raise LookupError"])
def test_a_signal_in_the_last_step_of_a_program_reaches_the_handler_before(
    how: str, does: str
) -> None:
    """Nothing waits for a moment later any more; and every run is let go all the same."""
    script = f"""
import os, signal, sys
import trax

def handler(number, frame):
    print("called", number)
    {does}

signal.signal(signal.SIGTERM, handler)

@trax.resumable(create=list, replay_log=None, name="loop-{{number}}", every_steps=1000)
def loop(state, number):
    for n in trax.steps(10):
        if n == 2 and number == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        state.append(n)
        yield n

if sys.argv[1] == "break":
    for n in loop(1):
        if n == 2:
            break
else:
    before, run, behind = loop(0), loop(1), loop(2)
    next(before)
    while next(run) < 2:
        next(behind)
"""
    ended = run_script(script, how, check=False)
    assert ended.stdout.splitlines() == [f"called {int(signal.SIGTERM)}"]
    assert ended.returncode >= 0
    assert ("LookupError" in ended.stderr) == ("LookupError" in does)
    assert "SystemExit" not in ended.stderr
    assert trax.load("loop-1") == [0, 1, 2]
    if how == "left open":
        assert (trax.load("loop-0"), trax.load("loop-2")) == ([0], [0, 1])


# -- what is allowed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("SIGNOT", "'SIGNOT', which is not a signal"),
        (["TERM"], "'TERM', which is not a signal"),
        (12345, "12345, which is not a signal"),
        (["SIGTERM", "SIGKILL"], "SIGKILL, which no process can catch"),
        (signal.SIGSTOP, "SIGSTOP, which no process can catch"),
        ("SIGSEGV", "SIGSEGV, after which"),
        ([signal.SIGINT], "SIGINT, which is always"),
    ],
)
def test_what_cannot_be_watched_is_said_at_once(given: Any, says: str) -> None:
    """At the decorator, not when the job is at its end."""
    with pytest.raises(trax.UsageError, match=says):
        counting(0, nothing, signals=given)


@pytest.mark.parametrize(
    "given", ["SIGTERM", signal.SIGTERM, int(signal.SIGTERM), ["SIGTERM", 15], {"SIGTERM"}]
)
def test_signals_are_named_as_one_likes(given: Any) -> None:
    """By name or by number, one or several."""
    assert signals.check_signals(given) == (signal.SIGTERM,)


# -- whole processes -----------------------------------------------------------------------

WORKER = """
import signal, sys
import trax

MODE, AT = sys.argv[1], int(sys.argv[2])


def advance(state, increment):
    state["step"] += 1
    state["sum"] = (state["sum"] * 31 + increment) % 1_000_003
    return state


def work(state):
    step = state["step"]
    if step == AT:
        print("in step", step, flush=True)
        sys.stdin.readline()
    return step * step % 97


def begin():
    return {"step": 0, "sum": 0}


@trax.resumable(create=begin, replay_log=advance, name="run")
def function(state):
    while state["step"] < 12:
        state = yield work(state)


@trax.resumable(create=begin, name="run")
def replace(state):
    while state["step"] < 12:
        state = yield advance({**state}, work(state))


@trax.resumable(create=begin, replay_log=None, name="run")
def none(state):
    while state["step"] < 12:
        advance(state, work(state))
        yield state["step"]


if MODE.endswith("exit"):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
for increment in globals()[MODE.removesuffix("+exit")]():
    print("seen", increment, flush=True)
print("final", trax.load("run"))
"""


def send(number: int, mode: str, at: int, *, twice: bool = False) -> tuple[int, list[str]]:
    """Send a signal into a step of a worker; return the status, and the lines that it said."""
    with start_script(WORKER, mode, str(at)) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        lines: list[str] = []
        while lines[-1:] != [f"in step {at}"]:
            lines.append(process.stdout.readline().rstrip("\n"))
        process.send_signal(number)
        while twice and process.poll() is None:  # until one of them is no longer a copy
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
            process.send_signal(number)
        if not twice:
            process.stdin.write("\n")
            process.stdin.flush()
        lines += process.stdout.read().splitlines()
        return process.wait(), lines[1:] if at == 0 else lines


def count(state: dict[str, int], increment: int) -> dict[str, int]:
    return {"step": state["step"] + 1}


def seen(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("seen")]


@pytest.mark.parametrize("mode", MODES)
def test_a_process_that_gets_sigterm_ends_with_75_and_is_resumed(mode: str) -> None:
    """No step is lost or done twice in any mode, and the final state is the undisturbed one."""
    status, lines = send(signal.SIGTERM, mode, 5)
    assert status == 75
    assert load_checkpoint("run")["step"] == 6
    rest = run_script(WORKER, mode, "-1").stdout.splitlines()
    os.rename(".trax", "disturbed")
    calm = run_script(WORKER, mode, "-1").stdout.splitlines()
    assert seen(lines) + rest == calm


def test_a_second_sigterm_kills_the_process() -> None:
    """By the signal itself, so that everybody can see what it was."""
    status, lines = send(signal.SIGTERM, "function", 5, twice=True)
    assert status == -signal.SIGTERM
    assert len(seen(lines)) == 5
    assert trax.load("run", replay_log=count)["step"] == 5


STUCK = """
import ctypes, signal, sys, threading
import trax

pthread = ctypes.CDLL(None)
mutex = ctypes.create_string_buffer(256)
pthread.pthread_mutex_init(mutex, None)


def unlock():
    sys.stdin.readline()
    pthread.pthread_mutex_unlock(mutex)


@trax.resumable(create=int)
def loop(n):
    while n < 3:
        if n == 1:
            threading.Thread(target=unlock, daemon=True).start()
            pthread.pthread_mutex_lock(mutex)
            print("in C", flush=True)
            pthread.pthread_mutex_lock(mutex)  # until it is unlocked, whatever signals come
        n = yield n + 1


def handle(number, frame):
    print("handled", flush=True)


if sys.argv[1] == "handled":
    signal.signal(signal.SIGTERM, handle)
loop().result()
"""


def test_a_second_sigterm_ends_a_step_in_c_code() -> None:
    """There no handler in Python is called, so a thread ends the process."""
    with start_script(STUCK, "default") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in C\n"
        while process.poll() is None:  # until one of them is no longer a copy
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
        assert process.returncode == -signal.SIGTERM
    assert trax.load("loop") == 1


def test_the_descriptor_for_signals_is_left_to_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would warn of another one; without it trax sets one while a run is open."""
    monkeypatch.setitem(sys.modules, "trio", None)
    with counting(-1, nothing)() as run:
        next(run)
        assert signal.set_wakeup_fd(-1) == -1
    monkeypatch.delitem(sys.modules, "trio")
    with counting(-1, nothing)() as run:
        next(run)
        descriptor = signal.set_wakeup_fd(-1)
        assert descriptor != -1
        signal.set_wakeup_fd(descriptor)


@pytest.mark.parametrize("how", ["default", "handled"])
def test_a_step_in_c_code_survives_what_need_not_end_it(how: str) -> None:
    """One signal, whose step is finished; and any number if a handler decides what they mean."""
    with start_script(STUCK, how) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "in C\n"
        for _ in range(20 if how == "handled" else 1):
            process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.read() == ("handled\n" if how == "handled" else "")
        assert process.wait() == 75
    assert trax.load("loop") == 2


def test_a_handler_of_the_users_gives_the_exit_status() -> None:
    """After the step is stored."""
    status, lines = send(signal.SIGTERM, "function+exit", 5)
    assert status == 3
    assert len(seen(lines)) == 6
    assert load_checkpoint("run")["step"] == 6


def test_a_process_that_is_interrupted_once_ends_as_python_does_then() -> None:
    """Behind the step, with KeyboardInterrupt."""
    status, lines = send(signal.SIGINT, "function", 5)
    assert status == -signal.SIGINT
    assert len(seen(lines)) == 6


def test_a_process_that_is_interrupted_twice_ends_at_once() -> None:
    """In the middle of the step."""
    status, lines = send(signal.SIGINT, "function", 5, twice=True)
    assert status == -signal.SIGINT
    assert len(seen(lines)) == 5


def test_workers_of_a_pool_die_of_sigterm_as_ever() -> None:
    """`Pool.terminate` sends it; a worker that waited for its next yield would wait for ever."""
    context = multiprocessing.get_context("fork")
    run = counting(-1, nothing)()
    next(run)
    assert is_watched()
    with contextlib.closing(run):
        ready, write = context.Pipe(duplex=False)
        process = context.Process(target=_wait, args=(write,))
        process.start()
        assert ready.recv() == (False, False)
        process.terminate()
        process.join()
        assert process.exitcode == -signal.SIGTERM
        process.close()
        ready.close()
        write.close()
        assert is_watched()
        assert next(run) == 1


def _wait(write: Any) -> None:
    write.send((is_watched(), bool(signals._watches)))
    time.sleep(60)


def test_a_child_that_python_did_not_fork_dies_of_sigterm_too() -> None:
    """Some libraries fork by themselves, so that no hook of Python's runs."""
    run = counting(-1, nothing)()
    next(run)
    with contextlib.closing(run), handler(signal.SIGUSR2, None), pytest.MonkeyPatch.context() as p:
        called: list[int] = []
        p.setattr(signals, "_process", os.getpid() + 1)
        p.setitem(signals._before, signal.SIGTERM, lambda number, frame: called.append(number))
        terminate()
        assert called == [signal.SIGTERM]
        p.undo()
        assert next(run) == 1
