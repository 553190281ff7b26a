"""Functions that draw random numbers: which are told, and which are right."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import trax

rng = np.random.default_rng(3)


class Sampler:
    def __init__(self) -> None:
        self.rng = random.Random(1)

    def draw(self, n: int) -> float:
        return self.rng.random()


def closed_over() -> Callable[[int], float]:
    own = random.Random(2)
    return lambda n: own.random()


def some(n: int) -> float:
    return random.random() if n % 3 == 2 else 0.0


def seeded(n: int) -> float:
    random.seed(n)
    return random.random()


DRAWING: dict[str, tuple[Any, str]] = {
    "random": (lambda n: random.random(), "random"),
    "numpy": (lambda n: float(np.random.normal()), "numpy.random"),
    "one of the module": (lambda n: float(rng.normal()), "rng"),
    "one of a closure": (closed_over(), "own"),
    "one of an object": (Sampler().draw, "self.rng"),
    "now and then": (some, "random"),
}


@pytest.mark.parametrize("kind", DRAWING)
def test_a_function_that_draws_as_other_items_do_is_told(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once; resumed, an item would get the numbers of one that is done."""
    function, place = DRAWING[kind]
    for count in (6, 9):
        trax.map(function, range(count), name=kind).result()
    assert caplog.text.count(f"{kind}: an item draws from the RNG {place}, as others do") == 1


RIGHT: dict[str, Any] = {
    "nothing": abs,
    "one for each item": lambda n: random.Random(n).random(),
    "one of NumPy": lambda n: np.random.default_rng([1, n]).normal(),
    "seeded for each item": seeded,
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_function_with_an_rng_for_each_item_is_right(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As is one that draws nothing while the caller does, and one in other threads."""
    for _ in trax.map(RIGHT[kind], range(6), name=kind):
        random.random()
    with ThreadPoolExecutor(2) as pool:
        trax.map(RIGHT[kind], range(9), name=kind, executor=pool).result()
    assert "draws from" not in caplog.text
