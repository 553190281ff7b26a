"""Proofs are made in the first steps and at checkpoints, within bounds, and say each thing once."""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax
from trax.engine import proofs

LESS = "state.es does not come back"


class Search:
    """A state that leaves out what it goes through."""

    loads = 0

    def __init__(self, size: int = 0) -> None:
        self.gen = 0
        self.es: Any = iter([1, 2])
        self.blob = np.zeros(size, np.uint8)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "es": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Search.loads += 1
        self.__dict__.update(state)

    def add(self, increment: int) -> Search:
        self.gen += increment
        return self


@pytest.mark.parametrize("replay_log", [Search.add, None], ids=["logged", "not logged"])
def test_a_flaw_is_said_once_for_a_run_and_a_process(
    replay_log: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """However often it is called; another run is told, too."""

    @trax.resumable(create=Search, replay_log=replay_log, name="search-{n}", varying=("to",))
    def loop(state: Search, n: int, to: int) -> Iterator[int]:
        for _ in trax.steps(to):
            yield 1

    for to in (3, 5):
        loop(n=1, to=to).result()
    assert caplog.text.count(LESS) == 1
    loop(n=2, to=3).result()
    assert caplog.text.count(LESS) == 2
    loop.fresh(n=2, to=3).result()
    assert caplog.text.count(LESS) == 3


def test_where_increments_are_states_these_come_back(caplog: pytest.LogCaptureFixture) -> None:
    """From the log as from a checkpoint: they are encoded alike."""

    @trax.resumable(create=lambda: None)
    def loop(state: Any) -> Iterator[Any]:
        for _ in trax.steps(3):
            grid = np.zeros(4)
            state = yield {"grid": grid, "inner": grid[1:3], "n": state}

    with loop() as run:
        next(run)
        next(run)
    assert not caplog.text
    state = loop.load()
    state["grid"] += 1
    assert state["inner"].tolist() == [1, 1]


def test_an_increment_that_loses_something_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """It is not replayed then: the cause is known."""

    @trax.resumable(create=list, replay_log=lambda state, search: [*state, search.es])
    def loop(state: list[Any]) -> Iterator[Search]:
        for _ in trax.steps(3):
            search = Search()
            search.es = [1]
            yield search

    loop().result()
    assert "increment.es does not come back (live [1], loaded None)" in caplog.text
    assert "replay_log gives another state" not in caplog.text


def test_an_async_loop_is_proved_as_well(caplog: pytest.LogCaptureFixture) -> None:
    """In a thread."""

    @trax.resumable(create=Search, replay_log=None)
    async def loop(state: Search) -> AsyncIterator[int]:
        for _ in trax.steps(3):
            yield 1

    asyncio.run(loop().result())
    assert caplog.text.count(LESS) == 1


# -- bounds --------------------------------------------------------------------------------


@pytest.mark.parametrize("replay_log", [Search.add, None], ids=["logged", "not logged"])
def test_a_large_state_is_never_copied(
    replay_log: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is encoded, to fail early; that is all."""
    monkeypatch.setattr(proofs, "LARGE", 1000)

    @trax.resumable(create=Search, replay_log=replay_log, every_steps=1)
    def loop(state: Search, size: int) -> Iterator[int]:
        for _ in trax.steps(4):
            yield 1

    monkeypatch.setattr(Search, "loads", 0)
    loop(size=2000).result()
    assert Search.loads == 0
    assert not caplog.text
    loop.fresh(size=0).result()
    assert Search.loads
    assert LESS in caplog.text


def worn(state: dict[str, set[int]]) -> None:
    """Give a set a history."""
    state["ill"].update(range(1000))
    state["ill"].difference_update(range(990))
    state["ill"].update((2**20, 5))


@pytest.mark.parametrize(("share", "is_found"), [(1.0, True), (0.0, False)])
def test_at_checkpoints_a_state_is_proved_if_there_is_time(
    share: float,
    is_found: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Here a set becomes one that iterates otherwise at a later step."""
    monkeypatch.setattr(proofs, "_SHARE", share)

    @trax.resumable(create=lambda: {"ill": {1, 2}}, replay_log=None, every_steps=5)
    def loop(state: dict[str, set[int]]) -> Iterator[None]:
        for i in trax.steps(12):
            if i == 4:
                worn(state)
                assert [*state["ill"]] != [*pickle.loads(pickle.dumps(state["ill"]))]
            yield

    loop().result()
    assert ("the set state['ill'] iterates in another order" in caplog.text) is is_found


def test_a_slow_replay_log_is_not_called_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick one is, in the first two steps."""
    calls: deque[int] = deque()  # its content is not put back

    def fold(state: int, increment: int) -> int:
        calls.append(increment)
        return state + increment

    @trax.resumable(create=int, replay_log=fold)
    def loop(state: int) -> Iterator[int]:
        for i in trax.steps(4):
            yield i

    assert loop().result() == 6
    assert [*calls] == [0, 0, 1, 1, 2, 3]
    calls.clear()
    monkeypatch.setattr(proofs, "_SLOW", -1.0)
    assert loop.fresh().result() == 6
    assert [*calls] == [0, 1, 2, 3]


class Awkward:
    """It can be stored, but not compared."""

    def __init__(self) -> None:
        self.n = 0

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _awkward, (self.n,)

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":
            raise RuntimeError("nobody looks into this")
        return super().__getattribute__(name)


def _awkward(n: int) -> Awkward:
    made = Awkward()
    made.n = n
    return made


@pytest.mark.parametrize("wrap", [lambda made: made, lambda made: [made]])
def test_an_object_that_cannot_be_compared_is_passed_over(
    wrap: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A proof is never the reason for which a run fails."""

    @trax.resumable(create=lambda: wrap(Awkward()), replay_log=None)
    def loop(state: Any) -> Iterator[int]:
        for i in trax.steps(3):
            yield i

    loop().result()
    assert not caplog.text


# -- the whole of it -----------------------------------------------------------------------

SCRIPT = """
import random, sys
import trax

rng = random.Random(3)

class Model:
    def __init__(self):
        self.rng, self.total = rng, 0.0

def apply(model, x):
    model.total = model.total / 2 + x - model.rng.random()
    return model

@trax.resumable(create=Model, replay_log=apply)
def loop(model):
    for _ in trax.steps(5):
        model = yield rng.random()

print(loop().result().total)
"""


def test_a_replay_log_that_draws_from_an_rng_outside_is_refused_in_every_call() -> None:
    """Though the state has the same RNG: it is the one outside in a later call as well."""
    for _ in range(2):
        done = run_script(SCRIPT, check=False)
        assert "replay_log drew random numbers from variable rng" in done.stderr
        assert done.stdout == ""


class Buffered:
    """It empties a buffer when it is loaded, as classes with scratch memory do."""

    def __init__(self) -> None:
        self.sums, self.work = np.zeros(4), np.ones(4)

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        self.work[:] = 0

    def add(self, _: int) -> Buffered:
        self.sums += self.work
        self.work += 1
        return self


@pytest.mark.parametrize("replay_log", [Buffered.add, None], ids=["logged", "not logged"])
def test_what_is_loaded_for_a_proof_shares_no_memory_with_the_state(replay_log: Any) -> None:
    """So nothing that loading does reaches the run."""

    @trax.resumable(create=Buffered, replay_log=replay_log, every_steps=2, name="buffered")
    def loop(state: Buffered) -> Iterator[int]:
        for i in trax.steps(6):
            if replay_log is None:
                state.add(i)
            yield i

    assert loop().result().sums.tolist() == [21.0] * 4
