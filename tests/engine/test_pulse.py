"""The policy, signals and the time limit are consulted after a step, or once a millisecond."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from test_sync_driver import squares, take

import trax
from trax.engine.background import Job
from trax.engine.pulse import CHECKPOINT, SAVE, WRITTEN, Pulse
from trax.storage.process import process


class Clock:
    """A monotonic clock that a test sets, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of the process by one that the test sets."""
    clock = Clock()
    monkeypatch.setattr(process, "monotonic", clock)
    return clock


def counting(policy: Callable[[trax.Since], bool]) -> trax.Run[int, int, None]:
    """Return a call that yields the number 1 forever."""

    @trax.resumable(
        create=int, replay_log=lambda state, increment: state + increment, policy=policy
    )
    def loop(n: int) -> Iterator[int]:
        while True:
            yield 1

    return loop()


def pulse_of(run: trax.Run[int, int, None]) -> Pulse:
    """Open a run and return its pulse."""
    assert run.step == 0
    return run._lifecycle.session._pulse


class DueAt:
    """A policy of the user's own, whose attributes mean nothing to trax."""

    due = 3
    exact = False

    def __init__(self, due: Callable[[trax.Since], bool]) -> None:
        self._due = due

    def __call__(self, since: trax.Since) -> bool:
        return self._due(since)


EVERY_STEP = list(range(1, 13))
# The checks of the first two steps wake the pulse for the next step.
ONCE_A_MILLISECOND = [1, 2, 3, 7, 11]
FROM_STEP_6 = [1, 2, 3, *range(6, 13)]


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda due: due, EVERY_STEP),
        (DueAt, EVERY_STEP),
        (trax.Policy, EVERY_STEP),
        (lambda due: trax.Policy(due, exact=False), ONCE_A_MILLISECOND),
        (lambda due: trax.Policy(due, exact=False) | trax.every_seconds(60), ONCE_A_MILLISECOND),
        (lambda due: trax.Policy(due, exact=False) | (lambda since: False), EVERY_STEP),
        (lambda due: trax.Policy(due) & trax.every_steps(6), EVERY_STEP),
        (lambda due: trax.Policy(due, exact=False) | trax.every_steps(99), ONCE_A_MILLISECOND),
        (
            lambda due: trax.Policy(due, exact=False) | trax.Policy(lambda since: False, steps=6),
            FROM_STEP_6,
        ),
        (lambda due: trax.every_steps(6) & trax.Policy(due), EVERY_STEP[5:]),
    ],
    ids=[
        "callable",
        "object",
        "exact",
        "not exact",
        "neither is exact",
        "one is exact",
        "both",
        "exact from a later step on",
        "exact from step 6 on",
        "not asked before step 6",
    ],
)
def test_an_exact_policy_is_asked_after_every_step_and_others_once_a_millisecond(
    make: Callable[[Callable[[trax.Since], bool]], Callable[[trax.Since], bool]],
    steps: list[int],
    clock: Clock,
) -> None:
    """The steps of this loop take 0.3 ms each."""
    asked: list[int] = []

    def due(since: trax.Since) -> bool:
        assert since.now == clock.now
        asked.append(since.step)
        return False

    with counting(make(due)) as run:
        for _ in range(12):
            next(run)
            clock.now += 0.0003
    assert asked == steps


def test_every_steps_is_exact_although_no_time_passes(clock: Clock) -> None:
    """Each checkpoint is of the step that is due, after a resumption as well."""
    found = []
    for steps in (3, 9):
        with counting(trax.every_steps(5)) as run:
            for _ in range(steps):
                next(run)
                found.append(run._lifecycle.checkpointed_step)
    assert found == [0, 0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 10]


@pytest.mark.parametrize("policy_says", [False, True])
def test_a_stop_request_is_due_whatever_the_policy_says(policy_says: bool) -> None:
    """A checkpoint that was asked for is due once, and a reason to stop remains one."""
    with counting(lambda since: policy_says) as run:
        pulse, request = pulse_of(run), run._lifecycle.stop_request
        otherwise = CHECKPOINT if policy_says else ""
        assert pulse.look(0.0) == otherwise
        request.asked = True
        assert pulse.look(0.0) == SAVE
        pulse.end_request()
        assert pulse.look(0.0) == otherwise
        request.reason = "SIGTERM"
        assert pulse.look(0.0) == SAVE
        pulse.end_request()
        assert pulse.look(0.0) == SAVE


def test_a_pulse_that_is_woken_looks_at_the_next_step(clock: Clock) -> None:
    """Even if the last one was looked at less than a millisecond ago."""
    with counting(trax.every_seconds(60)) as run:
        pulse = pulse_of(run)
        pulse.look(clock.now)
        assert pulse.at == clock.now + 0.001
        pulse.wake()
        assert pulse.at == -math.inf


def test_what_is_due_waits_until_the_checkpoint_before_is_written(clock: Clock) -> None:
    """A policy may say so once only, and is asked all the same."""
    said = [True, False, False, False]

    def due(since: trax.Since) -> bool:
        return said.pop(0)

    with counting(due) as run:
        pulse = pulse_of(run)
        pulse.background.job = job = Job(lambda: 0)
        assert pulse.look(clock.now) == ""
        assert pulse.look(clock.now) == ""
        job.work()
        assert pulse.look(clock.now) == WRITTEN
        pulse.background.wait()
        assert pulse.look(clock.now) == CHECKPOINT
        said[:] = [False] * 9
        pulse.restart(clock.now)
        assert pulse.look(clock.now) == ""


def test_the_time_in_the_background_counts_half(clock: Clock) -> None:
    """Until it is known, it is as long as the loop waited before."""
    with counting(lambda since: False) as run:
        pulse = pulse_of(run)
        since = pulse.since
        clock.now += 10.0
        pulse.restart(clock.now - 10.0)
        assert since.checkpoint_seconds == 10.0
        clock.now += 1.0
        pulse.background.job = Job(lambda: 0)
        pulse.restart(clock.now - 1.0)
        assert since.checkpoint_seconds == 4.5
        pulse.background.wait()
        pulse.measure_rest(0.5)
        assert since.checkpoint_seconds == 1.0
        pulse.measure_rest(6.0)
        assert since.checkpoint_seconds == 3.0
        pulse.restart(clock.now - 2.0)
        assert since.checkpoint_seconds == 2.0


# -- the policy ----------------------------------------------------------------------------


def test_a_custom_policy_sees_what_was_measured() -> None:
    """A policy is asked after every step, with the numbers since the last checkpoint."""
    asked: list[tuple[int, int]] = []

    def policy(since: trax.Since) -> bool:
        asked.append((since.step, since.steps))
        assert since.log_bytes > 0
        assert since.seconds >= 0
        assert since.checkpoint_bytes > 0
        return since.steps == 2

    @trax.resumable(create=int, policy=policy)
    def loop(n: int) -> Generator[int, int, None]:
        while n < 5:
            n = yield n + 1

    loop().result()
    assert asked == [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1)]


def test_steps_before_a_crash_count_towards_the_next_checkpoint(store_here: Path) -> None:
    """A run that is interrupted more often than its interval is checkpointed all the same."""
    for _ in range(5):
        with squares(n=40) as run:
            take(run, 3)
    checkpoint = max(store_here.glob("runs/squares/checkpoint-*"))
    assert b'"step":12' in checkpoint.read_bytes()


def test_time_before_a_crash_counts_towards_the_next_checkpoint(store_here: Path) -> None:
    """The age of the checkpoint is what `every_seconds` means, whoever stored it."""

    @trax.resumable(create=int, every_seconds=timedelta(days=1))
    def loop(n: int) -> Generator[int, int, None]:
        while True:
            n = yield n + 1

    with loop() as run:
        take(run, 3)
    checkpoints = list(store_here.glob("runs/loop/checkpoint-*"))
    with pytest.MonkeyPatch.context() as patch:
        now = time.time()
        patch.setattr(process, "time", lambda: now + 86_400)
        with loop() as run:
            take(run, 1)
    assert len(list(store_here.glob("runs/loop/checkpoint-*"))) == len(checkpoints) + 1
