"""A cache of random draws is told, and one of anything else is not."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import trax
from trax.engine import surroundings
from trax.engine.drawn_caches import draws, holds_draws

source = random.Random(1)
_cache: dict[int, float] = {}
other_cache: dict[int, float] = {}
LINE = "told draws random numbers for the cache of {}: a resumed run finds it empty"


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look ends when it is complete, however busy the machine is."""
    monkeypatch.setattr(surroundings, "_SECONDS", 1000)


@functools.cache
def shared(key: int) -> float:
    """Draw from the default RNG."""
    return random.random()


@functools.lru_cache(maxsize=4)
def of_module(key: int) -> float:
    """Draw from one of the module."""
    return source.random()


@functools.cache
def indirect(key: int) -> float:
    """Draw in another function."""
    return _normal() + key


def _normal() -> float:
    return float(np.random.normal())  # what older scripts do


@functools.cache
def seeded(key: int) -> float:
    """Draw what the key says."""
    rng = random.Random(key)
    return rng.random() + np.random.default_rng(key).random()


@functools.cache
def pure(key: int) -> int:
    """Draw nothing."""
    return key * key


@functools.cache
def early(key: int) -> float:
    """Draw before the loop alone, as a rerun of the script does."""
    return random.random()


class World:
    """Has a method with a cache."""

    def __init__(self) -> None:
        self.rng = random.Random(3)

    @functools.lru_cache  # noqa: B019  # that is the mistake
    def terrain(self, x: int) -> str:
        """Draw from an RNG of the object."""
        return self.rng.choice("gwm")


def remembered(key: int) -> float:
    """Draw what is not there yet."""
    if key not in _cache:
        _cache[key] = random.random()
    return _cache[key]


def computed(key: int) -> float:
    """Compute what is not there yet."""
    if key not in other_cache:
        other_cache[key] = key * 0.5
    return other_cache[key]


early(0)


def told(caplog: pytest.LogCaptureFixture, step: Callable[[int], Any]) -> str:
    """Return what a plain loop says whose steps call a function."""

    @trax.resumable(name="told")
    def loop() -> Iterator[None]:
        for i in range(3):
            step(i)
            yield

    # The functions that are called stand in variables around it, as in a script.
    loop.fresh().result()
    return caplog.text


@pytest.mark.parametrize("function", [shared, of_module, indirect])
def test_a_function_that_draws(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever RNG it draws from, itself or in a function that it calls."""
    assert draws(function.__wrapped__)
    function.cache_clear()
    assert LINE.format("step") in told(caplog, function)


@pytest.mark.parametrize("function", [seeded, pure])
def test_a_function_that_draws_nothing_of_others(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It gives the same results again."""
    assert not draws(function.__wrapped__)
    function.cache_clear()
    assert told(caplog, function) == ""


def test_draws_of_before_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    """The script makes them again."""
    assert draws(early.__wrapped__)
    assert told(caplog, lambda _: early(0)) == ""


def test_a_method(caplog: pytest.LogCaptureFixture) -> None:
    """In a plain loop and with a declared state."""

    @trax.resumable(name="told")
    def plain() -> Iterator[str]:
        world = World()
        for i in range(3):
            yield world.terrain(i)

    @trax.resumable(name="told", create=World, replay_log=None)
    def declared(world: World) -> Iterator[str]:
        for i in trax.steps(3):
            yield world.terrain(i)

    plain().result()
    assert caplog.text.count(LINE.format("World.terrain")) == 1
    caplog.clear()
    declared.fresh().result()
    assert caplog.text.count(LINE.format("World.terrain")) == 1


def test_a_function_in_a_local_variable(caplog: pytest.LogCaptureFixture) -> None:
    """It is made again, and its cache with it."""

    @trax.resumable(name="told")
    def loop() -> Iterator[float]:
        rng = random.Random(1)

        @functools.cache
        def weight(key: int) -> float:
            return rng.random()

        for i in range(3):
            yield weight(i)

    loop().result()
    assert LINE.format("the local variable 'weight'") in caplog.text


def test_a_dict_that_is_named_like_a_cache(caplog: pytest.LogCaptureFixture) -> None:
    """It is told as any variable is, if a function puts its draws there."""

    @trax.resumable
    def drawing() -> Iterator[float]:
        for i in range(3):
            yield remembered(i)

    @trax.resumable
    def computing() -> Iterator[float]:
        for i in range(3):
            yield computed(i)

    drawing().result()
    assert "drawing changes _cache, outside of its variables" in caplog.text
    caplog.clear()
    computing().result()
    assert caplog.text == ""
    assert holds_draws("_cache", [computed, remembered])
    assert not holds_draws("other_cache", [computed, remembered])
