"""Loops that are taken apart at a yield, stored as bytes, and made anew from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from itertools import islice
from types import CellType, FunctionType
from typing import Any

from trax.errors import CodecError
from trax.frames import settings
from trax.frames.iterables import Iterables
from trax.frames.iterators import REDUCTIONS
from trax.frames.later import StandIns
from trax.frames.loading import NoRngs, loading_into
from trax.frames.program import ITER, Frame, program_of
from trax.frames.remake import notice
from trax.frames.remakes import Remakes
from trax.frames.suspended import variables
from trax.storage.codec import Encoded, decode, encode
from trax.storage.outside import Outside


class Stored:
    """A loop at one of its yields, as bytes, with the plan of what is made again."""

    def __init__(self, function: FunctionType, loop: Any, before: dict[str, Any]) -> None:
        program = program_of(function.__code__, provides_iterators=True)
        remakes = Remakes(program, "loop", can_store)
        frame = remakes.stored(loop, program.snapshot(loop))
        try:
            self._encoded = _encode(frame, remakes)
        except CodecError:
            frame = remakes.plan(loop, frame)
            self._encoded = _encode(frame, remakes)
        again = remakes.stored(loop, program.snapshot(loop, remakes.needs))
        assert again.values.keys() == frame.values.keys()
        self.plan = remakes.plan_of(frame.site)
        self.notice = notice(program, program.site(frame.site), "loop", self.plan.names, function)
        self.slots = frame.slots
        self.settings = settings.changed(before, settings.now())
        self._outside = settings.outside(self.settings, before, program.snapshot(loop).slots)
        self._function = function

    def resume(self) -> Any:
        """Return a generator that stands where the loop stood."""
        function = self._function
        program = program_of(function.__code__, provides_iterators=True)
        stand_ins = StandIns()
        with loading_into() as loading:
            frame = Frame(*decode(self._encoded, "frame", outside=stand_ins))
        loading.complete()
        assert settings.restore(self._outside) == []
        loop: Any = program.resume(frame, function, {ITER: ITERABLES}, self.plan.names)
        next(loop)
        stand_ins.make(variables(loop))
        loading.enter()
        _ABANDONED.append(loop)
        assert settings.restore(self.settings) == []
        return loop


def _encode(frame: Frame, remakes: Remakes) -> Encoded:
    state = frame.site, frame.values, frame.cells, frame.slots
    outside = Outside(remakes.outside)
    return encode(
        state, "frame", shared={**REDUCTIONS, **remakes.reductions}, outside=outside
    ).copied()


def can_store(value: Any, paths: Mapping[int, str]) -> Encoded | None:
    """Store a value, if that is possible."""
    try:
        return encode(value, "value", shared=REDUCTIONS, outside=Outside(paths))
    except CodecError:
        return None


ITERABLES = Iterables(NoRngs())
_ABANDONED: list[Any] = []  # killed: nothing in them is closed


def begin(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return the generator of a loop, as it begins."""
    assert isinstance(function, FunctionType)
    code = program_of(function.__code__, provides_iterators=True).code
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    cells[ITER] = CellType(ITERABLES)
    closure = tuple(cells[name] for name in code.co_freevars)
    made = FunctionType(
        code, function.__globals__, function.__name__, function.__defaults__, closure
    )
    return made(*arguments)


def stored_after(function: Any, steps: int, *arguments: Any) -> Stored:
    """Store a loop after a number of its steps, as if its process were killed then.

    What it does to settings that belong to a context, as decimal and NumPy have them, is not seen
    by others therefore.
    """
    return copy_context().run(_stored_after, function, steps, arguments)[1]


def _stored_after(
    function: Any, steps: int, arguments: tuple[Any, ...]
) -> tuple[list[Any], Stored]:
    before = settings.now()
    loop = begin(function, *arguments)
    _ABANDONED.append(loop)
    items = [*islice(loop, steps)]
    return items, Stored(function, loop, before)


def runs(function: Any, steps: int, *arguments: Any) -> Iterator[list[Any]]:
    """Yield the increments of a loop, first undisturbed, then resumed at each of its yields."""
    loop = begin(function, *arguments)
    _ABANDONED.append(loop)
    undisturbed = [*islice(loop, steps)]
    yield undisturbed
    for done in range(1, len(undisturbed)):
        items, stored = copy_context().run(_stored_after, function, done, arguments)
        yield [*items, *islice(stored.resume(), steps - done)]
