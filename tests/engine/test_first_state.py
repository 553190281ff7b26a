"""The first state is made again if its checkpoint is lost, or the loss is refused."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import finish_writing
from test_sync_driver import take

import trax
from trax.storage.process import process


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)


LOSSES: dict[str, Callable[[Path], None]] = {
    "damaged": flip,
    "emptied": empty,
    "removed": Path.unlink,
}


def extend(state: list[Any], increment: Any) -> list[Any]:
    return [*state, increment]


class Walk:
    """A state that draws from an RNG of its own when an increment is folded into it."""

    def __init__(self, seed: int | None) -> None:
        self.rng = np.random.default_rng(seed)
        self.sum = 0.0

    def add(self, increment: float) -> Walk:
        self.sum += increment + self.rng.normal()
        return self


def sums(create: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Return a function that keeps one checkpoint, and draws from a global RNG late."""

    def first(size: int) -> np.ndarray[Any, Any]:
        return np.arange(size, dtype=float)

    def fold(state: Any, increment: float) -> Any:
        state[0] += increment
        return state

    @trax.resumable(create=create or first, replay_log=fold, every_steps=1_000_000, **options)
    def sums(state: Any, size: int, steps: int) -> Iterator[float]:
        for i in trax.steps(steps):
            yield i + (np.random.normal() if i >= 8 else random.random())

    return sums


def lose(store: Path, name: str, loss: str) -> Path:
    """Lose the one checkpoint of a run; return the path that it had."""
    (checkpoint,) = store.glob(f"runs/{name}/checkpoint-*")
    LOSSES[loss](checkpoint)
    return checkpoint


@pytest.mark.parametrize("loss", LOSSES)
def test_a_call_makes_the_first_state_again_and_loses_nothing(
    loss: str, store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The RNGs go on as they stood, also those that the run had not drawn from until then."""
    random.seed(1)
    np.random.seed(2)
    whole = sums(name="whole")(size=200_000, steps=12).result()
    random.seed(1)
    np.random.seed(2)
    with sums()(size=200_000, steps=12) as run:
        take(run, 5)
    checkpoint = lose(store_here, "sums", loss)
    random.seed(3)
    np.random.seed(4)
    run = sums()(size=200_000, steps=12)
    assert run.resumed_at == 5
    assert "create has made the same state again" in caplog.text
    assert np.array_equal(run.result(), whole)
    assert checkpoint.with_name(f"{checkpoint.name}.broken").exists() == (loss != "removed")
    assert trax.verify("sums").good


@pytest.mark.parametrize("loss", LOSSES)
def test_the_state_of_an_attempt_without_a_step_is_never_replayed_on(
    loss: str, store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that began anew has nothing of it any more, and its own first state is made again."""
    with sums(lambda size: np.zeros(size) + 1)(size=10, steps=12) as run:
        assert run.step == 0
    with sums()(size=10, steps=12) as run:
        take(run, 5)
        expected = run.state.copy()
    lose(store_here, "sums", loss)
    with sums()(size=10, steps=12) as run:
        assert np.array_equal(run.state, expected)
        assert "create has made the same state again" in caplog.text


@pytest.mark.parametrize("loss", LOSSES)
def test_readers_and_repair_name_the_call_that_makes_it_again(loss: str, store_here: Path) -> None:
    """They do not have `create`, nor its arguments."""
    with sums()(size=10, steps=9) as run:
        take(run, 3)
    lose(store_here, "sums", loss)
    before = {path: path.read_bytes() for path in store_here.glob("runs/*/*")}
    for read in (trax.load, trax.repair, trax.Trax().recover):
        with pytest.raises(trax.CorruptionError, match="it makes the first state again"):
            read("sums")
    assert trax.verify("sums").step is None
    assert {path: path.read_bytes() for path in store_here.glob("runs/*/*")} == before
    assert sums()(size=10, steps=9).resumed_at == 3


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("change", ["create", "size", "steps"])
def test_another_first_state_or_call_is_refused(loss: str, change: str, store_here: Path) -> None:
    """Nothing is replayed on a state that the log does not continue, and nothing is changed."""

    def other(size: int) -> np.ndarray[Any, Any]:
        return np.ones(size)

    with sums()(size=10, steps=9) as run:
        take(run, 3)
    lose(store_here, "sums", loss)
    before = {path: path.read_bytes() for path in store_here.glob("runs/*/*")}
    call = {"size": 10, "steps": 9} | ({change: 11} if change != "create" else {})
    with pytest.raises(trax.CorruptionError, match="create does not make the first state again"):
        sums(other if change == "create" else None)(**call).result()
    assert {path: path.read_bytes() for path in store_here.glob("runs/*/*")} == before


@pytest.mark.parametrize("seed", [5, None])
def test_an_rng_in_the_state_is_exact_or_refused(seed: int | None, store_here: Path) -> None:
    """One that `create` seeds is the same again; another one would draw other numbers."""

    def walking(name: str) -> Any:
        @trax.resumable(
            create=lambda: Walk(seed), replay_log=Walk.add, every_steps=1_000_000, name=name
        )
        def walk(state: Walk, steps: int) -> Iterator[float]:
            for i in trax.steps(steps):
                yield float(i)

        return walk(steps=9)

    with walking("walk") as run:
        take(run, 4)
    lose(store_here, "walk", "damaged")
    if seed is None:
        with pytest.raises(trax.CorruptionError, match="does not make the first state again"):
            walking("walk").result()
    else:
        assert walking("walk").resumed_at == 4
        assert walking("walk").result().sum == walking("whole").result().sum


def test_a_run_that_was_made_again_is_soon_safe_again(store_here: Path) -> None:
    """By default two checkpoints follow at once, since none is left to rely on."""

    def large(**options: Any) -> Any:
        @trax.resumable(create=lambda: [b"x" * (2 << 20)], replay_log=extend, **options)
        def large(state: list[Any], steps: int) -> Iterator[int]:
            for i in trax.steps(steps):
                yield i

        return large

    with large(every_steps=1_000_000)(steps=9) as run:
        take(run, 3)
    lose(store_here, "large", "emptied")
    with large()(steps=9) as run:
        assert run.resumed_at == 3
        with pytest.MonkeyPatch.context() as patch:
            later = process.monotonic() + 1000
            patch.setattr(run._lifecycle.session, "_clock", lambda: later)
            take(run, 1)
            finish_writing(run)
            take(run, 2)
    checkpoints = sorted(store_here.glob("runs/large/checkpoint-????????"))
    assert len(checkpoints) == 2
    for checkpoint in checkpoints:
        kept = checkpoint.read_bytes()
        empty(checkpoint)
        assert trax.load("large")[1:] == [0, 1, 2, 3, 4, 5]
        checkpoint.write_bytes(kept)
