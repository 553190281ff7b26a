"""Random arguments, changed at random, come back with all that is shared between them."""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from test_arguments_in_place import Author, Derived, Frame, NamedList, Nested, Slotted, Solver

from trax.comparing import difference

_KINDS: list[Callable[[Callable[[], Any]], Any]] = [
    lambda part: [part(), part()],
    lambda part: {"a": part(), 1: part(), (1, 2): part()},
    lambda part: Solver(inner=part(), rows=[part()]),
    lambda part: with_attributes(Slotted(), x=part()),
    lambda part: with_attributes(Derived(), z=part()),
    lambda part: with_attributes(NamedList([part()]), name=part()),
    lambda part: (part(), part()),
    lambda part: deque([part()]),
    lambda part: OrderedDict(a=part()),
    lambda _: {1, "a"},
    lambda _: bytearray(b"ab"),
    lambda _: np.zeros(3),
    lambda _: random.Random(3),
    lambda _: with_attributes(Author(), handle=None),
    lambda _: with_attributes(Nested(), handle=None),
]


def with_attributes(obj: Any, **named: Any) -> Any:
    for name, value in named.items():
        setattr(obj, name, value)
    return obj


class Maker:
    """Makes the same objects whenever it is made from the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.made: list[Any] = []

    def make(self, depth: int = 0) -> Any:
        """Return a new object, or one that was made before."""
        if self.made and self.random.random() < 0.25:
            return self.random.choice(self.made)
        if depth > 3 or self.random.random() < 0.1:
            return self.random.choice([1, 2.5, "a", None, b"x", (1, 2), "y" * 5000])
        obj = self.random.choice(_KINDS)(partial(self.make, depth + 1))
        self.made.append(obj)
        return obj

    def change(self) -> None:
        """Change one of the objects."""
        obj, new = self.random.choice(self.made), self.make(2)
        if isinstance(obj, (list, deque)):
            way = self.random.choice(["reverse", "append", "pop"])
            if way != "pop" or obj:
                getattr(obj, way)(*[new] * (way == "append"))
        elif isinstance(obj, dict):
            obj[self.random.choice(["a", "b", 3])] = new
        elif isinstance(obj, (Solver, Slotted)):
            setattr(
                obj, self.random.choice(["x", "inner"] if hasattr(obj, "__dict__") else ["x"]), new
            )
        elif isinstance(obj, Author):
            obj.rows.append(self.random.randrange(99))
        elif isinstance(obj, np.ndarray):
            obj[self.random.randrange(3)] += 1
        elif isinstance(obj, random.Random):
            obj.random()
        elif isinstance(obj, (set, bytearray)):
            getattr(obj, "add" if isinstance(obj, set) else "append")(self.random.randrange(9))


@pytest.mark.parametrize("begin", range(0, 200, 20))
def test_all_that_is_shared_is_shared_again(begin: int) -> None:
    """Between arguments, and with local variables; in a second process and in a third."""
    for seed in range(begin, begin + 20):
        makers: list[Maker] = []

        def make(seed: int = seed, makers: list[Maker] = makers) -> dict[str, Any]:
            makers.append(Maker(seed))
            return {name: makers[-1].make() for name in ("a", "b", "self")}

        frame = Frame(make)
        live = makers[0]
        for _ in range(3):
            for _ in range(live.random.randrange(6) if live.made else 0):
                live.change()
            local = [live.random.choice(live.made) for _ in range(3 * bool(live.made))]
            named, again = frame.resume(local)
            found = difference([frame.named, local], [named, again], "it", identity=True)
            assert not found, f"seed {seed}: {found}"
