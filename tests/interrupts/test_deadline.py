"""Time limits: when a loop stops so that it is in time."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from support import run_script

import trax
from trax.interrupts.deadline import Deadline, check_time_limit, choose
from trax.storage.process import process


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Let the loop measure on a clock that the test moves."""
    clock = Clock()
    monkeypatch.setattr(process, "monotonic", clock)
    return clock


def stopped_at(
    clock: Clock, step: float, limit: Any = "auto", create: Any = int, **options: Any
) -> int | None:
    """Run a loop of 100 steps that take so many seconds each; return where it was stopped."""

    @trax.resumable(create=create, time_limit=limit, **options)
    def loop(n: int) -> Iterator[int]:
        for i in trax.steps(100):
            clock.now += step
            yield i + 1

    try:
        loop().result()
    except trax.Preempted as error:
        stop = error
    else:
        return None
    assert (stop.reason, stop.code) == ("the time limit", 75)
    assert loop.load() == stop.step
    return stop.step


# -- the arithmetic ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "step", "checkpoint", "steps"),
    [
        (100, 10, 0, 9),  # what remains, 10, is less than a step and 5 %
        (100, 10, 10, 8),
        (100, 1, 0, 95),
        (3600, 100, 0, 35),
        (36000, 100, 0, 359),  # the margin is 30 seconds
        (36000, 100, 100, 358),
        (1, 10, 0, 1),
    ],
)
def test_a_loop_stops_before_the_step_that_would_not_fit(
    limit: float, step: float, checkpoint: float, steps: int
) -> None:
    """A step, a checkpoint and the margin."""
    deadline = Deadline(limit, 0.0)
    now, done = 0.0, 0
    while True:
        now += step
        done += 1
        if deadline.is_near(now, checkpoint):
            break
        deadline.begin_step(now)
    assert done == steps
    margin = min(30, limit * 0.05)
    assert now + checkpoint + margin <= limit or done == 1


def test_the_longest_step_counts() -> None:
    """The next one may be as long as that."""
    deadline = Deadline(1000, 0.0)
    assert not deadline.is_near(400, 0)
    deadline.begin_step(400)
    assert not deadline.is_near(401, 0)
    deadline.begin_step(401)
    assert deadline.is_near(600, 0)


def test_what_lies_between_two_steps_is_not_the_step() -> None:
    """A checkpoint is counted by itself."""
    deadline = Deadline(1000, 0.0)
    deadline.begin_step(500)  # it took so long to bring the run back
    assert not deadline.is_near(510, 0)


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [
        (60.0, {}, 60.0),
        (60.0, {"SLURM_JOB_END_TIME": "1500"}, 60.0),
        (None, {"SLURM_JOB_END_TIME": "1500"}, None),
        ("auto", {"SLURM_JOB_END_TIME": "1500"}, 500.0),
        ("auto", {}, None),
        ("auto", {"SLURM_JOB_END_TIME": "1000"}, None),
        ("auto", {"SLURM_JOB_END_TIME": "10"}, None),
        ("auto", {"SLURM_JOB_END_TIME": ""}, None),
        ("auto", {"SLURM_JOB_END_TIME": "NONE"}, None),
        ("auto", {"SLURM_JOB_END_TIME": "nan"}, None),
        ("auto", {"SLURM_JOB_END_TIME": "inf"}, None),
    ],
)
def test_the_limit_is_what_was_asked_for_or_the_end_of_the_job(
    asked: Any, environment: dict[str, str], expected: float | None
) -> None:
    """An end that is past, or that is no time, is none."""
    assert choose(asked, environment, 1000.0) == expected


@pytest.mark.parametrize("limit", [0, -1, math.inf, math.nan, True, "slurm", timedelta(0), []])
def test_what_is_no_limit_is_said_at_once(limit: Any) -> None:
    """With what may be given instead."""
    with pytest.raises(trax.UsageError, match="'auto', or None for none"):
        stopped_at(Clock(), 1, limit)


def test_a_limit_is_seconds_or_a_timedelta() -> None:
    """As everywhere."""
    assert check_time_limit(90) == check_time_limit(timedelta(minutes=1.5)) == 90.0
    assert check_time_limit("auto") == "auto"
    assert check_time_limit(None) is None


# -- loops ---------------------------------------------------------------------------------


def test_a_loop_with_a_limit_stops_in_time_and_goes_on_in_the_next_call(clock: Clock) -> None:
    """Each call has the whole limit for itself."""
    assert stopped_at(clock, 10, 100) == 9
    assert stopped_at(clock, 10, timedelta(seconds=100)) == 18
    assert stopped_at(clock, 10, None) is None


def test_every_call_does_a_step(clock: Clock) -> None:
    """A limit that is too short makes a loop slow, and never keeps it where it is."""
    assert [stopped_at(clock, 10, 1) for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("options", [{}, {"every_steps": 7}, {"replay_log": None}])
def test_a_loop_that_stops_in_time_has_stored_everything(
    clock: Clock, options: dict[str, Any]
) -> None:
    """Whatever its policy, and whether it logs or not."""
    options = {"replay_log": lambda state, i: [*state, i], **options}

    @trax.resumable(create=list, time_limit=100, **options)
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(100):
            clock.now += 10
            if options["replay_log"] is None:
                state.append(i)
            yield i

    for done in (9, 18):
        with pytest.raises(trax.Preempted):
            loop().result()
        assert loop.load() == [*range(done)]


def test_bringing_a_run_back_is_no_step(clock: Clock) -> None:
    """It takes of the time, but nothing as long as that is going to follow."""

    def create() -> int:
        clock.now += 500
        return 0

    assert stopped_at(clock, 10, 1000, create=create) == 47


def test_the_checks_of_the_first_steps_are_no_step(clock: Clock) -> None:
    """They pickle the state, which can take longer than any step."""

    class Slow:
        def __reduce__(self) -> tuple[type[list[int]], tuple[()]]:
            clock.now += 100
            return list, ()

    @trax.resumable(
        create=Slow, replay_log=lambda state, increment: state, time_limit=1500, check=False
    )
    def loop(state: Any) -> Iterator[float]:
        rng = random.Random(1)  # which the checks find, and warn of
        for _ in trax.steps(200):
            clock.now += 10
            yield rng.random()

    with pytest.raises(trax.Preempted) as stop:
        loop().result()
    assert stop.value.step == 57  # seven times 100 seconds of checks, then steps of 10 until 1470
    assert clock.now == 2470


def test_slow_code_of_the_caller_counts(clock: Clock) -> None:
    """It belongs to the time that a step takes."""

    @trax.resumable(create=int, time_limit=100)
    def loop(n: int) -> Iterator[int]:
        for i in trax.steps(100):
            yield i + 1

    def drive() -> None:
        for _ in loop():
            clock.now += 10

    with pytest.raises(trax.Preempted) as stop:
        drive()
    assert stop.value.step == 10  # it is noticed in the step after, which takes no time


def test_in_a_slurm_job_the_limit_is_its_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing needs to be said."""
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 1000))
    assert stopped_at(clock, 100) == 9
    assert stopped_at(clock, 10, 100) == 18  # a limit that is given goes before
    assert stopped_at(clock, 100, None) is None


def test_an_end_of_job_that_is_past_is_that_of_another_job(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell that was opened in a job can outlive it."""
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) - 1))
    assert stopped_at(clock, 100) is None


def test_a_process_that_runs_out_of_time_ends_with_75() -> None:
    """On a real clock, and with a line that says why."""
    script = (
        "import time, trax\n"
        "@trax.resumable(create=int, time_limit=0.5)\n"
        "def loop(n):\n"
        "    while n < 400:\n"
        "        time.sleep(0.05)\n"
        "        n = yield n + 1\n"
        "loop().result()\n"
    )
    done = run_script(script, check=False)
    assert done.returncode == 75
    assert ": the time limit; that step is stored" in done.stderr
    assert trax.load("loop") >= 1
