"""Default RNGs are those of all threads: a run in another than the main one leaves them alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trax
from trax.storage.process import process


@pytest.fixture(autouse=True)
def nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test be a process to which nothing was said."""
    monkeypatch.setattr(process, "said", set())


def in_thread(function: Callable[[], object]) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # raised below
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def beside(draw: Callable[[], object]) -> Callable[[], None]:
    """Return a function that has another thread draw, as threads do beside a loop."""
    return lambda: in_thread(draw)


def draw() -> None:
    random.random()
    np.random.random()  # it is what is tested


def loop_of(meanwhile: Callable[[], object], **options: Any) -> Any:
    @trax.resumable(name="loop", create=list, replay_log="append", every_steps=5, **options)
    def loop(done: list[int], n: int) -> Iterator[int]:
        while len(done) < n:
            meanwhile()
            yield len(done)

    return loop


def plain_of(meanwhile: Callable[[], object]) -> Any:
    @trax.resumable(name="loop", every_steps=5)
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            meanwhile()
            yield i

    return loop


def size() -> int:
    return sum(path.stat().st_size for path in Path(".trax/runs/loop").iterdir())


@pytest.mark.parametrize("make", [loop_of, plain_of])
def test_draws_of_other_threads_are_neither_logged_nor_undone(
    make: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "trax")
    in_thread(lambda: make(lambda: None).fresh(40).result())
    quiet = size()
    in_thread(lambda: make(beside(draw)).fresh(40).result())
    assert size() < quiet + 1000

    run = make(beside(draw)).fresh(40)
    in_thread(lambda: [next(run) for _ in range(7)])
    run.close()
    random.seed(8)
    np.random.seed(8)
    expected = random.Random(8).random()
    in_thread(lambda: [next(again) for again in [make(lambda: None)(40)]])
    in_thread(lambda: make(lambda: None)(40).result())
    assert random.random() == expected
    assert np.random.random() == np.random.RandomState(8).random_sample()
    said = [message for message in caplog.messages if "random" in message]
    assert len(said) == 1
    assert "loop is driven in a thread, where draws from random are not" in said[0]


def test_it_is_a_warning_if_the_loop_seems_to_draw(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise another thread is likely to have drawn."""

    @trax.resumable
    def drawing(n: int) -> Iterator[float]:
        for _ in range(n):
            yield random.random()

    @trax.resumable
    def numpy_drawing(n: int) -> Iterator[float]:
        for _ in range(n):
            yield np.random.normal()  # it is what is tested

    @trax.resumable
    def seeded(n: int) -> Iterator[float]:
        rng = random.Random(1)
        for _ in range(n):
            beside(random.random)()
            yield rng.random()

    caplog.set_level("INFO", "trax")
    for loop, level in ((seeded, "INFO"), (drawing, "WARNING"), (numpy_drawing, "WARNING")):
        process.said.clear()
        caplog.clear()
        in_thread(lambda loop=loop: loop(5).result())  # type: ignore[misc]
        levels = [one.levelname for one in caplog.records if "not followed" in one.message]
        assert levels == [level], loop


def test_a_replay_beside_draws_is_no_mistake() -> None:
    """Neither is a fold during which another thread draws."""

    def add(state: list[int], increment: int) -> list[int]:
        beside(draw)()
        return [*state, increment]

    @trax.resumable(name="loop", create=list, replay_log=add, every_steps=5)
    def loop(done: list[int], n: int) -> Generator[int, list[int], None]:
        while len(done) < n:
            done = yield len(done)

    in_thread(lambda: [next(run) for run in [loop(9)] for _ in range(3)])
    in_thread(lambda: loop(9).result())
    assert loop.load() == [*range(9)]


@pytest.mark.parametrize("rng", [random, [random, np.random]], ids=["random", "both"])
def test_a_module_that_is_named_is_followed(rng: Any, caplog: pytest.LogCaptureFixture) -> None:
    @trax.resumable(name="loop", create=list, replay_log="append", rng=rng, every_steps=3)
    def loop(done: list[float], n: int) -> Iterator[float]:
        while len(done) < n:
            yield random.random()

    random.seed(3)
    expected = [random.random() for _ in range(9)]
    random.seed(3)
    in_thread(lambda: [next(run) for run in [loop(9)] for _ in range(4)])
    random.seed(99)
    in_thread(lambda: loop(9).result())
    assert loop.load() == expected
    assert not [message for message in caplog.messages if "not followed" in message]


def test_draws_of_the_main_thread_that_a_thread_does_not_follow_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make = loop_of(random.random)
    run = make(9)
    next(run)
    run.close()
    in_thread(lambda: [next(later) for later in [make(9)]])
    said = [message for message in caplog.messages if "random" in message]
    assert len(said) == 1
    assert "draws from random are not followed" in said[0]


def test_an_rng_of_its_own_is_followed_in_any_thread(caplog: pytest.LogCaptureFixture) -> None:
    def run_of(rng: random.Random) -> Any:
        return loop(rng, 9)

    @trax.resumable(name="loop", create=list, replay_log="append", every_steps=3)
    def loop(done: list[float], rng: random.Random, n: int) -> Iterator[float]:
        while len(done) < n:
            yield rng.random()

    expected = [random.Random(3).random()]
    in_thread(lambda: [next(run) for run in [run_of(random.Random(3))] for _ in range(4)])
    in_thread(lambda: run_of(random.Random(3)).result())
    numbers = random.Random(3)
    assert loop.load() == [numbers.random() for _ in range(9)]
    assert loop.load()[:1] == expected
    assert not [message for message in caplog.messages if "not followed" in message]
