"""The states of earlier steps: the checkpoint before, and the log after it."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from support import flipped, start_script

import trax
from trax import CorruptionError, NotFoundError, UsageError

Loop = Generator[Any, Any, Any]


class Walker:
    """A state with an RNG of its own, which draws when it is folded."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)
        self.path: list[float] = []

    def go(self, increment: float) -> Walker:
        self.path.append(increment + self.rng.normal())
        return self


@trax.resumable(create=Walker, replay_log=Walker.go, every_steps=7, keep="all")
def walk(walker: Walker, steps: int) -> Loop:
    for _ in trax.steps(steps):
        yield random.random()


@trax.resumable(create=lambda: [0], replay_log=None, every_steps=5, keep="all")
def change(state: list[int], steps: int) -> Loop:
    while state[0] < steps:
        state[0] += 1
        yield state[0]


@trax.resumable(every_steps=5, keep="all")
def squares(steps: int) -> Loop:
    total = 0
    for i in range(steps):
        total += i * i
        yield total


def test_every_step_of_a_logged_run_has_its_state() -> None:
    """With the RNGs in it at their positions of that step."""
    with walk(steps=30) as run:
        paths = [(list(run.state.path), run.state.rng.bit_generator.state) for _ in run]
    for step, (path, place) in enumerate(paths, 1):
        state = trax.load("walk", step=step)
        assert (state.path, state.rng.bit_generator.state) == (path, place)
        assert walk.load(step=step).path == path
    assert trax.load("walk", step=0).path == []
    assert trax.load("walk", step=cast(int, np.int64(3))).path == paths[2][0]


def test_the_state_at_a_checkpoint_is_that_of_the_checkpoint() -> None:
    """Nothing else has it where nothing is logged; the message lists what there is."""
    change(steps=12).result()
    assert [trax.load("change", step=step) for step in (0, 5, 10, 12)] == [[0], [5], [10], [12]]
    with pytest.raises(NotFoundError) as caught:
        trax.load("change", step=7)
    assert str(caught.value).splitlines() == [
        f"no state of step 7 of 'change' is stored in {os.path.realpath('.trax')}.",
        "Give one of these steps: 0, 5, 10 and 12.",
        "To have more of a later run, give keep='all' or another policy as keep=.",
    ]
    with pytest.raises(NotFoundError, match=re.escape("no state of step 13 of 'change'")) as caught:
        change.load(step=13)
    assert str(caught.value).splitlines()[1:] == ["Give one of these steps: 0, 5, 10 and 12."]


def test_of_a_plain_loop_it_is_the_newest_frame_until_then() -> None:
    """The mapping knows its step, which may be an earlier one; nothing is run."""
    totals = list(squares(steps=30))
    found = [trax.load("squares", step=step) for step in range(31)]
    assert dict(found[0]) == {}
    for step, state in enumerate(found):
        assert state.step <= step
        if state and state.step:
            assert state["total"] == totals[state.step - 1]
    assert {state.step for state in found} >= {0, 5, 10, 15, 20, 25, 30}
    assert squares.load(step=12).step == found[12].step


def test_what_is_removed_is_not_there() -> None:
    """The steps that there are go from the oldest checkpoint to the end."""

    @trax.resumable(create=int, every_steps=10, keep=2)
    def count(n: int) -> Loop:
        while n < 45:
            n = yield n + 1

    with count() as run:
        for n in run:
            if n == 44:
                break
    for step in (0, 29):
        with pytest.raises(NotFoundError, match=r"Give one of these steps: 30 to 44\."):
            trax.load("count", step=step)
    assert [trax.load("count", step=step) for step in range(30, 45)] == [*range(30, 45)]


def test_states_stored_by_hand_are_not_led_to_by_those_before() -> None:
    """Each has the increments after it."""
    with trax.Trax(keep="all") as store:
        store.checkpoint(word="a")
        store.log(word="b")
        store.log(word="c")
        store.checkpoint(word="x")
        store.log(word="y")

        def join(state: str, increment: str) -> str:
            return state + increment

        found = [trax.load("word", step=step, replay_log=join) for step in range(4)]
    assert found == ["a", "ab", "x", "xy"]  # of step 2, the one that was stored last


def test_nothing_stored_is_another_error() -> None:
    """Without a run there is no step to give."""
    with pytest.raises(NotFoundError, match="nothing is stored as 'walk'"):
        trax.load("walk", step=3)
    with pytest.raises(NotFoundError, match="nothing is stored as 'walk'"):
        walk.load(step=3)


@pytest.mark.parametrize("step", [-1, 1.0, "3", True])
def test_what_is_no_step_is_refused(step: Any) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError, match="step must be a whole number of at least 0"):
        trax.load("walk", step=step)
    with pytest.raises(UsageError, match="step must be a whole number of at least 0"):
        walk.load(step=step)


def test_an_argument_named_step_is_that_of_the_function() -> None:
    """`trax.load` has the other one."""

    @trax.resumable(create=int, name="by-{step}", keep="all", every_steps=1)
    def count(n: int, step: int) -> Loop:
        while n < 10:
            n = yield n + step

    count(step=2).result()
    assert count.load(step=2) == 10
    assert trax.load("by-2", step=2) == 4


def test_an_async_loop_and_a_method_have_earlier_steps_too() -> None:
    """They are called like any other."""

    class Counter:
        @trax.resumable(create=int, name="counter", keep="all")
        def count(self, n: int) -> Loop:
            while n < 5:
                n = yield n + 1

    Counter().count().result()
    assert Counter().count.load(step=3) == 3
    assert Counter.count.load(step=4) == 4

    @trax.resumable(keep="all", every_steps=1)
    async def wait(to: int) -> AsyncIterator[int]:
        for number in range(to):
            yield number

    async def drive() -> None:
        async for _ in wait(to=5):
            pass

    asyncio.run(drive())
    assert wait.load(step=2).step == 2


def test_damage_of_a_later_checkpoint_does_not_matter() -> None:
    """Damage of a log that leads to the step does."""
    walk(steps=30).result()
    states = [trax.load("walk", step=step).path for step in range(31)]
    run = Path(".trax/runs/walk")
    for file in ("checkpoint-00000004", "checkpoint-00000005"):
        (run / file).write_bytes(flipped((run / file).read_bytes(), -1))
    assert [trax.load("walk", step=step).path for step in range(31)] == states
    log = run / "log-00000002"
    log.write_bytes(flipped(log.read_bytes(), 1040))
    with pytest.raises(CorruptionError, match="log-00000002 is damaged"):
        trax.load("walk", step=13)
    assert trax.load("walk", step=3).path == states[3]


def test_a_signed_run_has_earlier_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of it is checked as for the newest one."""
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    squares(steps=20).result()
    assert trax.load("squares", step=10).step == 10
    monkeypatch.setenv("TRAX_KEY", "cd" * 32)
    with pytest.raises(trax.UntrustedError):
        trax.load("squares", step=10)


LIVE = """
import trax

@trax.resumable(create=int, every_steps=20, keep=trax.keep_every(steps=100), background=False)
def count(n):
    while True:
        n = yield n + 1

for n in count():
    if n in (1000, 2000, 3000):
        print(n, flush=True)
"""


def test_a_live_run_is_read_and_a_killed_one() -> None:
    """While checkpoints are removed between the kept ones, and when the process is killed."""
    with start_script(LIVE) as started:
        assert started.stdout is not None
        for line in started.stdout:
            newest = int(line)
            for step in range(0, newest + 1, 307):
                assert trax.load("count", step=step) == step
            if newest == 3000:
                started.send_signal(signal.SIGKILL)
                break
    assert trax.verify("count").good
    assert [trax.load("count", step=step) for step in range(0, 3000, 211)] == [*range(0, 3000, 211)]
