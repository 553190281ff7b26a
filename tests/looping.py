"""Loops over iterables, stored at a yield and loaded as in another process."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable
from types import CellType, FunctionType
from typing import Any

from trax.frames.iterables import Iterables
from trax.frames.iterators import reductions
from trax.frames.loading import loading
from trax.frames.program import ITER, Frame, program_of
from trax.storage.codec import decode, encode


class Rngs:
    """The default RNGs of Python and PyTorch, for a run."""

    def snapshot(self) -> Any:
        torch = sys.modules.get("torch")
        return random.getstate(), torch and torch.get_rng_state()

    def restore(self, snapshot: Any) -> None:
        random.setstate(snapshot[0])
        if snapshot[1] is not None:
            sys.modules["torch"].set_rng_state(snapshot[1])


ITERABLES = Iterables(Rngs())


class Loop:
    """The generator of a function, which can be stored, and loaded as in another process."""

    def __init__(self, function: Any, *args: Any) -> None:
        self._function: FunctionType = function
        self._program = program_of(function.__code__, provides_iterators=True)
        code = self._program.code
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        cells[ITER] = CellType(ITERABLES)
        closure = tuple(cells[name] for name in code.co_freevars)
        self.loop: Any = FunctionType(code, function.__globals__, "loop", None, closure)(*args)

    def store(self) -> Any:
        frame = self._program.snapshot(self.loop)
        parts = frame.site, frame.values, frame.cells, frame.slots, Rngs().snapshot()
        return encode(parts, "frame", shared=reductions()).copied()

    def load(self, encoded: Any) -> Any:
        with loading(rngs=Rngs()):
            *parts, state = decode(encoded, "frame")
        self.loop = self._program.resume(Frame(*parts), self._function, {ITER: ITERABLES})
        next(self.loop)
        Rngs().restore(state)
        return self.loop


def seed(number: int) -> None:
    random.seed(number)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(number)


def check(function: Any, make: Callable[[], tuple[Any, ...]] = tuple) -> None:
    """Check that a loop goes on as before, loaded at any step, or at all of them."""
    seed(1)
    expected = [*function(*make())]
    for number in range(1, len(expected) + 1):
        seed(1)
        loop = Loop(function, *make())
        before = [*itertools.islice(loop.loop, number)]
        encoded = loop.store()
        seed(2)
        assert [*before, *loop.load(encoded)] == expected, f"after {number}"
    seed(1)
    loop, found = Loop(function, *make()), []
    for _ in expected:
        found.append(next(loop.loop))
        loop.load(loop.store())
    assert found == expected
