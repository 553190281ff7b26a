"""RngTracking are stored with the steps, in logs and in checkpoints."""

from __future__ import annotations

import random
from collections.abc import Generator
from pathlib import Path
from typing import Any

from test_rng_tracking import State, add

import trax


def test_an_older_checkpoint_stands_in_where_a_step_behind_it_drew_in_its_folding(
    store_here: Path,
) -> None:
    """The log behind the newer checkpoint says nothing of generators that have not moved since."""

    def fold(state: State, number: float) -> State:
        return add(state, number + (state.new.random() if len(state.numbers) == 3 else 0))

    @trax.resumable(create=State, replay_log=fold, every_steps=4)
    def loop(state: State) -> Generator[float, Any, None]:
        while len(state.numbers) < 8:
            state = yield state.new.random() if len(state.numbers) >= 6 else 0.0

    whole = loop().result().numbers
    with loop.fresh() as run:
        while run.step < 6:
            next(run)
    newest = max((store_here / "runs" / "loop").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    assert loop().result().numbers == whole


def test_a_checkpoint_by_hand_keeps_the_positions() -> None:
    """The state is the person's, and the random numbers go on."""

    @trax.resumable(create=list, replay_log=lambda got, x: [*got, x], every_steps=1000)
    def loop(numbers: list[float]) -> Generator[float, list[float], None]:
        while len(numbers) < 4:
            numbers = yield random.random()

    random.seed(1)
    expected = [random.random() for _ in range(4)]
    random.seed(1)
    with loop() as run:
        next(run)
        next(run)
        state = run.state
    with trax.Trax() as store:
        store.checkpoint(loop=state)
    random.seed(1)
    assert loop().result() == expected


def test_a_step_that_draws_stores_little() -> None:
    """A few bytes, also where the words of a Mersenne Twister are made anew."""

    def length(*, draws: bool) -> int:
        @trax.resumable(create=int, replay_log=lambda n, x: n + x, name="length", check=False)
        def loop(n: int) -> Generator[int, int, None]:
            for _ in range(6000):
                if draws:
                    random.random()
                yield 1

        run = loop.fresh()
        for _ in zip(range(5999), run, strict=False):
            pass
        log_bytes = run._lifecycle.session._writer.log_bytes
        run.close()
        return int(log_bytes)

    assert length(draws=True) - length(draws=False) < 6000 * 56
