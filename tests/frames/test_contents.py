"""Each object has the facets of its type, and values have none."""

from __future__ import annotations

import datetime
import enum
import functools
import logging
import random
import threading
from collections import Counter, OrderedDict, deque, namedtuple
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trax.frames.contents import Contents, is_iterator
from trax.frames.facets import (
    Attributes,
    Elements,
    Facet,
    Pairs,
    Parts,
    Position,
    Reduced,
    State,
    StateDict,
)
from trax.frames.memory import ArrayMemory, ArrayObjects


class Plain:
    pass


class Listed(list[int]):
    pass


class WithState:
    def __getstate__(self) -> Any:
        return {}


class WithStateDict(WithState):
    def state_dict(self) -> Any:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


class Color(enum.Enum):
    RED = 1


Pair = namedtuple("Pair", "a b")  # noqa: PYI024

FACETS: list[tuple[Any, list[type[Facet]]]] = [
    ([], [Parts]),
    (deque(), [Parts]),
    (Listed(), [Parts, Attributes]),
    ({}, [Pairs]),
    (OrderedDict(), [Pairs]),
    (Counter(), [Pairs]),
    (set(), [Elements]),
    (frozenset({1}), [Elements]),
    ((1,), [Parts]),
    (Pair(1, 2), [Parts]),
    (Plain(), [Attributes]),
    (SimpleNamespace(), [Attributes]),
    (WithState(), [State]),
    (WithStateDict(), [StateDict]),
    (threading.Lock(), [Reduced]),
    (random.Random(), [Position, Attributes]),
    (np.random.default_rng(), [Parts]),
    (np.zeros(3), [ArrayMemory]),
    (np.zeros(3, object), [ArrayObjects]),
    (np.ma.zeros(3), [ArrayMemory, Attributes]),
    ([].append, [Parts]),
    (functools.partial(print), [Parts]),
    (lambda: 1, [Parts]),
]


@pytest.mark.parametrize(("obj", "kinds"), FACETS, ids=[type(c[0]).__name__ for c in FACETS])
def test_facets(obj: Any, kinds: list[type[Facet]]) -> None:
    """In the order of the class."""
    assert [type(facet) for facet in Contents().facets(obj) or ()] == kinds


@pytest.mark.parametrize(
    "value",
    [
        *(1, 2.5, "a", b"b", None, ..., True, 1j, range(3), Decimal(1), Path("a"), Color.RED, int),
        *(datetime.date(2020, 1, 1), datetime.UTC, np.float64(1), np.dtype("i4"), ()),
        *(random, len, test_facets, logging.getLogger("a"), frozenset()),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_values_have_none(value: Any) -> None:
    """A copy is as good, or they are stored by their names."""
    assert Contents().is_value(value)


def test_iterators_are_pickled_with_their_position() -> None:
    """And not those that are more than that."""
    assert all(map(is_iterator, (iter([]), iter({}), map(len, []), (n for n in [1]), zip())))
    with Path(__file__).open() as file:
        assert not any(map(is_iterator, ([], {}, Plain(), file)))


def test_classes_of_packages() -> None:
    """Those of the standard library, too."""
    contents = Contents()
    assert contents.is_installed(threading.Event)
    assert contents.is_installed(list)
    assert not contents.is_installed(Plain)
