"""The content of an object is taken from it and put into another one, facet by facet."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from types import CellType
from typing import Any

import pytest

from trax.frames.contents import Contents
from trax.frames.facets import (
    Attributes,
    Characters,
    Elements,
    Facet,
    Pairs,
    Parts,
    Position,
    Reduced,
    State,
    StateDict,
    digest,
)


class Slotted:
    __slots__ = ("__dict__", "a")


class Stateful:
    """A class with a state of its own, for pickle and for training."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __getstate__(self) -> dict[str, Any]:
        return {"twice": 2 * self.count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.count = state["twice"] // 2

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def slotted(**named: Any) -> Slotted:
    obj = Slotted()
    for name, value in named.items():
        setattr(obj, name, value)
    return obj


def facet_of(obj: Any) -> Facet:
    """Return the one facet of an object."""
    (facet,) = Contents().facets(obj) or ()
    return facet


CASES: list[tuple[Facet, Any, Any]] = [
    (facet_of([]), [1, [2]], [3]),
    (facet_of(deque()), deque([1], 2), deque([3, 4], 2)),
    (Pairs(dict), {"a": [1], 2: 3}, {"b": 1}),
    (Elements(set, lambda _: True), {1, 2}, {3}),
    (Characters(), bytearray(b"abc"), bytearray(b"d")),
    (Attributes(Slotted), slotted(a=1, b=2), slotted(c=3)),
    (Attributes(Slotted), slotted(b=2), slotted(a=1, b=1)),
    (facet_of(CellType()), CellType([1]), CellType(2)),
    (facet_of(CellType()), CellType(), CellType(2)),
    (State(), Stateful(3), Stateful(4)),
    (StateDict(), Stateful(3), Stateful(4)),
    (Reduced(), iter([1, 2]), iter([1, 2])),
]


@pytest.mark.parametrize(("facet", "one", "other"), CASES, ids=[type(c[0]).__name__ for c in CASES])
def test_content_is_put_into_another_object(facet: Facet, one: Any, other: Any) -> None:
    """Both are alike then, by values and by mark."""
    if isinstance(facet, Reduced):
        next(one)
    assert (facet.values(one), facet.mark(one)) != (facet.values(other), facet.mark(other))
    assert facet.misfit(other, facet.content(one)) == ""
    facet.restore(other, facet.content(one))
    assert facet.mark(one) == facet.mark(other)
    assert facet.values(one) == facet.values(other)


def test_labels_lead_to_values() -> None:
    """They are unique, also for keys that have no short text."""
    mapping = {"a": 1, 2: 3, (4, 5): 6, "x" * 100: 7, 1.5: 8, True: 9}
    facet = Pairs(dict)
    values = facet.values(mapping)
    labels = [facet.label(values, None, index) for index in range(len(values))]
    assert labels[6:8] == ["['a']", "[2]"]
    assert len({*labels}) == len(values)
    for label, value in zip(labels, values, strict=True):
        assert eval(f"mapping{label}", {"mapping": Keyed(mapping)}) == value


class Keyed(dict[Any, Any]):
    """A dictionary whose keys and values have numbers."""

    def keys(self) -> Any:
        return [*super().keys()]

    def values(self) -> Any:
        return [*super().values()]


def test_attributes_have_their_names() -> None:
    """Also those that no program could write."""
    obj = slotted(a=1)
    vars(obj)["not a name"] = 2
    facet = Attributes(Slotted)
    labels = [facet.label([], facet.mark(obj), index) for index in range(2)]
    assert labels == [".__dict__['not a name']", ".a"]


def test_obstacles_are_told() -> None:
    """Of content that cannot be replaced, read or written."""
    assert Parts(tuple).obstacle((), None, None)
    counter = itertools.count(3)
    before = Reduced().mark(counter)
    next(counter)
    assert "count cannot be given" in Reduced().obstacle(counter, before, Reduced().mark(counter))
    assert Position(id, None, "why").obstacle(counter, 1, 2) == "why"
    assert Position(id, lambda _obj, _state: None).obstacle(counter, 1, 2) == ""
    assert facet_of([]).obstacle([], None, None) == ""


def test_a_digest_of_what_cannot_be_taken_apart_says_so() -> None:
    """Then nothing is known, and nothing is compared."""
    assert digest(threading.Lock()) == digest([threading.Lock()])
    assert digest(1, [2]) == digest(1, [2]) != digest(1, [3])
