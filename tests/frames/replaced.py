"""Runs generator functions: as they are, and with frames replaced by ones from pickles."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

from trax.frames.iterables import Iterables
from trax.frames.iterators import reductions
from trax.frames.loading import NoRngs, loading
from trax.frames.program import ITER, Frame, program_of
from trax.storage.codec import decode, encode

LIMIT = 60  # yields of one run

ITERABLES = Iterables(NoRngs())


class Running:
    """A generator function that runs, and whose generator can be replaced by one from a pickle."""

    def __init__(self, function: Any, *args: Any, **options: Any) -> None:
        self._function: types.FunctionType = function
        self._program = program_of(function.__code__, provides_iterators=True)
        code = self._program.code
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        cells[ITER] = types.CellType(ITERABLES)
        made = types.FunctionType(
            code,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            tuple(cells[name] for name in code.co_freevars),
        )
        made.__kwdefaults__ = function.__kwdefaults__
        self.loop: Any = made(*args, **options)

    def next(self) -> Any:
        """Return what comes next, and how: by a yield, a return, or an exception."""
        try:
            if hasattr(self.loop, "gi_frame"):
                return "yield", repr(next(self.loop))
            return "yield", repr(_await(self.loop.asend(None)))
        except (StopIteration, StopAsyncIteration) as error:
            return "return", repr(getattr(error, "value", None))
        except Exception as error:  # noqa: BLE001
            return "raise", *_chain(error)

    def replace(self) -> None:
        """Replace the generator by one in the same place."""
        frame = self._program.snapshot(self.loop)
        parts = frame.site, frame.values, frame.cells, frame.slots
        encoded = encode(parts, "the frame", shared=reductions())
        self.close()
        with loading():
            frame = Frame(*decode(encoded, "the frame"))
        self.loop = self._program.resume(frame, self._function, {ITER: ITERABLES})
        assert self.next() == ("yield", "None")

    def close(self) -> None:
        """End the generator, which may need more than one exception for that."""
        for _ in range(100):
            with contextlib.suppress(Exception):
                is_async = hasattr(self.loop, "ag_frame")
                _await(self.loop.aclose()) if is_async else self.loop.close()
                return


def _await(awaitable: Any) -> Any:
    try:
        while True:
            awaitable.send(None)
    except StopIteration as end:
        return end.value


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        # A variable that functions inside share is one of theirs when a generator goes on.
        is_unbound = isinstance(error, NameError)
        yield "unbound" if is_unbound else f"{type(error).__name__}: {error}"
        error = error.__context__


def run(running: Running, replaced: Callable[[int], int] = lambda step: 0) -> list[Any]:
    """Run a program; before each step it is replaced as often as a function says."""
    outputs = []
    for step in range(LIMIT):
        for _ in range(replaced(step)):
            running.replace()
        outputs.append(running.next())
        if outputs[-1][0] != "yield":
            break
    running.close()
    return outputs
