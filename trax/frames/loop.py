"""A plain loop: its generator at the beginning, or where another process has left it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Collection, Mapping
from operator import length_hint
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Protocol

from trax import notices
from trax.errors import CodecError, UsageError
from trax.frames import settings
from trax.frames.arguments import Arguments
from trax.frames.clocks import clock_lines
from trax.frames.edition import Edition
from trax.frames.effects import unrepeated, unrepeated_notice
from trax.frames.iterators import reductions
from trax.frames.later import StandIns
from trax.frames.loading import Loading
from trax.frames.marks import find_marks
from trax.frames.names import read
from trax.frames.program import ITER, Frame, Loop, program_of
from trax.frames.put_back import PutBack
from trax.frames.remake import notice
from trax.frames.remakes import Remakes
from trax.frames.repeated import needed_for
from trax.frames.set_order import SetOrder
from trax.frames.state import END, LoopState
from trax.frames.suspended import frame_of, variables
from trax.frames.varying import RANGE, follow
from trax.storage.outside import Outside

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.storage.codec import Encoded

__all__ = ["PlainLoop"]

_RangeIterator: Final = type(iter(range(0)))
_INSIDE: Final = "inside"
_OUTSIDE: Final = "outside"


class Encode(Protocol):
    """Pickles the state of a run."""

    def __call__(
        self, state: Any, *, outside: Outside, also: Callable[[], Mapping[type, Any]]
    ) -> Encoded:
        """Pickle a state; objects `outside` are references, and `also` gives more reductions."""


class PlainLoop:
    """The loop of one call whose local variables are the state.

    Parameters
    ----------
    call : Call
        The call.
    iterate : callable
        Makes the iterators of the loops around a yield.
    encode : callable
        Pickles the state.

    Attributes
    ----------
    unused : list of str
        What an edit has changed without effect on the loop that goes on; see `Moved`.
    """

    def __init__(self, call: Call, iterate: Callable[[Any], Any], encode: Encode) -> None:
        self._call = call
        self._function: FunctionType = call.function  # type: ignore[assignment]
        self._program = program_of(self._function.__code__, provides_iterators=True)
        self._written = program_of(self._function.__code__)
        self._outer: dict[str, Any] = {ITER: iterate}
        self._encode = encode
        self._arguments = Arguments(call.surroundings, call.options.varying)
        self._settings = settings.now()
        self._told: set[str] = set()
        self.unused: list[str] = []
        self._remakes = Remakes(self._program, call.name, self._try)
        marks = find_marks(self._function, self._program.source.node)
        self._marks = {id(mark): path for path, mark in marks.items()}
        self._sets = SetOrder(self._written.source.node)
        self._outside = StandIns({**marks, **self._arguments.objects})
        self._kept = PutBack({})

    # -- a generator -----------------------------------------------------------------------

    @functools.cached_property
    def edition(self) -> Edition:
        """The present text of the function."""
        return Edition.of(self._written)

    def begin(self) -> Loop:
        """Return the generator at the beginning of the loop."""
        loop: Loop = self._call.apply(self._program.function(self._function, self._outer))
        return loop

    @property
    def outside(self) -> Mapping[str, Any]:
        """The objects to which a stored state refers, by their paths."""
        return self._outside

    def moved(self, state: LoopState, stored: Edition | None) -> LoopState:
        """Return a state with its yield as it is numbered now, if the function was edited since.

        Raises
        ------
        UsageError
            The yield is not there any more, or needs a variable that was not stored.
        """
        if stored is None or stored.is_same(self.edition):
            return state
        name = self._call.name
        number, missing, self.unused = stored.move(state.site, self._written, name)
        lost = [one for one in missing if one not in state.variables]
        if lost:
            gone = self._gone(state)
            value = f"variables[{gone[0]!r}]" if len(gone) == 1 else "..."
            raise UsageError(
                f"{name} now needs {', '.join(lost)}, which the stored frame does not have.\n"
                + f"It has {', '.join(gone)}, which the code has no more.\n" * bool(gone)
                + f"Give it: version={self._call.options.version + 1} and migrate="
                f"lambda variables, version: {{**variables, {lost[0]!r}: {value}}}.\n"
                "Or start over with the function's fresh(...)."
            )
        return state._replace(site=number)

    def _gone(self, state: LoopState) -> list[str]:
        """Return the stored variables whose names are not in the function any more."""
        code = self._function.__code__
        return sorted(state.variables.keys() - {*code.co_varnames, *code.co_cellvars})

    def following(self, state: LoopState, changed: Collection[str]) -> LoopState:
        """Return a state in which these arguments have the values of this call."""
        if not changed:
            return state
        arguments, variables = self._call.arguments, self._function.__globals__
        return follow(self._written, state, changed, arguments, variables)

    def resume(self, state: LoopState, loading: Loading) -> Loop:
        """Return a generator that goes on from a state, and first comes to the yield of before.

        `loading` has what is to be done to the objects in the state. After the generator has come
        to that yield, call `enter`.
        """
        self._arguments.restore(state.contents, self._call.options.renames)
        loading.complete()
        slots = [_range_from(slot) if type(slot) is tuple else slot for slot in state.slots]
        frame = Frame(state.site, state.values, state.cells, slots)
        self._restore(state.settings.get(_OUTSIDE, {}))
        self._kept = self._keep(state)
        return self._program.resume(frame, self._function, self._outer, frozenset(state.remade))

    def _keep(self, state: LoopState) -> PutBack:
        """Keep the content of what is read to make other variables again, and may be changed."""
        if not state.remade:
            return PutBack({})
        site = self._program.site(state.site)
        names = needed_for(self._program.source.code, site, state.remade)
        names = names.union(*(read(item.context_expr) for _, item in site.entered))
        variables = state.variables
        unstored = self._outside.keys() - state.contents.keys()  # they are the caller's new ones
        others = {id(self._outside[path]) for path in unstored}
        return PutBack({name: variables[name] for name in names & variables.keys()}, others)

    def put_back(self, state: LoopState) -> None:
        """Undo what has been done to stored objects in order to make others again.

        It had been done to them before they were stored.
        """
        for obj in self._kept.restore():
            notices.warn(
                f"{self._call.name}: a {type(obj).__name__} was changed when "
                f"{', '.join(state.remade)} was made again, and cannot be put back"
            )
        self._kept = PutBack({})

    def enter(self, loop: Loop, state: LoopState, loading: Loading) -> None:
        """Let what the generator uses enter its blocks, and set all settings as they were."""
        self._outside.make(variables(loop))
        loading.enter()
        self._restore(state.settings.get(_INSIDE, {}))

    def _restore(self, stored: Mapping[str, Any]) -> None:
        for name in settings.restore(stored):
            notices.warn(f"{self._call.name}: the setting {name!r} could not be set as it was")

    def tell_resumed(self, state: LoopState) -> None:
        """Say what an edit does not change, what is made again, and what is not."""
        name, site = self._call.name, self._program.site(state.site)
        for text in self.unused:
            notices.info(f"{name}: {text}")
        if told := notice(self._program, site, name, state.remade, self._function):
            notices.info(told)
        code = self._program.source.code
        for line, text in unrepeated(code, site, state.remade):
            notices.info(unrepeated_notice(name, line, text))

    def tell_drawn(self, state: LoopState, rngs: Collection[str]) -> None:
        """Say that random numbers were drawn to make something again."""
        notices.warn(
            f"{self._call.name}: {', '.join(state.remade)} drew from {', '.join(rngs)} when made "
            "again, so it may differ from before; the loop goes on with its own random numbers"
        )

    @functools.cached_property
    def clock_line(self) -> int:
        """The line of the first yield whose increment comes from a clock; 0 if there is none."""
        return next(iter(clock_lines(self._function, self._written)), 0)

    def steps_left(self, loop: Loop) -> int | None:
        """Return how many increments follow that of a yield; None if nobody can know.

        It is known of a loop that has one yield, once for each number of a range.
        """
        sites = self._written.sites
        if len(sites) != 1 or not sites[0].is_once_a_turn:
            return None
        numbers = self._program.snapshot(loop).slots[-1]
        return length_hint(numbers) if type(numbers) is _RangeIterator else None

    # -- its state -------------------------------------------------------------------------

    def encode(self, loop: Loop, increment: Any = None) -> Encoded:
        """Pickle the state of a generator that is suspended at a yield, or has ended.

        Raises
        ------
        CodecError
            A variable can be neither stored nor made again.
        """
        contents = self._arguments.contents()
        self._tell_services()
        changed = self._changed_settings(loop)
        state = self.take(loop, contents, changed, increment)
        if self._sets.names:
            self._tell_order(state)
        try:
            return self._pickle(state)
        except CodecError as error:
            failure = error
        if state.site == END or not self._plan(loop, state):  # an error of its own says more
            raise failure
        return self._pickle(self.take(loop, contents, changed, increment))

    def _changed_settings(self, loop: Loop) -> dict[str, Any]:
        """Return the settings that the loop has changed; see `LoopState`."""
        inside = settings.changed(self._settings, settings.now())
        if not inside:
            return {}
        outside: dict[str, Any] = {}
        if frame_of(loop) is not None:
            slots = self._program.snapshot(loop).slots
            outside = settings.outside(inside, self._settings, slots)
        return {_INSIDE: inside, _OUTSIDE: outside}

    def _tell_services(self) -> None:
        for service in self._arguments.services:
            if service in self._told:
                continue
            self._told.add(service)
            notices.warn(
                f"{self._call.name}: the {service} changes and cannot be stored; a "
                "resumed run gets it as the caller makes it"
            )

    def _tell_order(self, state: LoopState) -> None:
        """Say once of each set that the loop goes through in another order once it is loaded."""
        name = self._sets.lost(state.variables)
        if name:
            notices.warn(
                f"{self._call.name}: the set {name} iterates in another order once it is loaded. "
                "Use sorted(...), or keep a dict, if results depend on it"
            )

    def take(
        self,
        loop: Loop,
        contents: dict[str, Any] | None = None,
        changed: dict[str, Any] | None = None,
        increment: Any = None,
    ) -> LoopState:
        """Return the state of a generator, with what is outside of it if that is given."""
        outside = contents or {}, changed or {}
        if frame_of(loop) is None:
            return LoopState(END, {}, {}, [], *outside, (), increment)
        frame = self._program.snapshot(loop, self._remakes.needs)
        frame = self._remakes.stored(loop, frame)
        site, values, cells = frame.site, frame.values, frame.cells
        slots = [*map(_described, frame.slots, _references(frame.slots))]
        names = tuple(sorted(self._remakes.plan_of(site).names))
        return LoopState(site, values, cells, slots, *outside, names, increment)

    def _pickle(self, state: LoopState) -> Encoded:
        outside = self._arguments.outside
        if state.site != END and self._marks:
            outside = outside.joined(self._marks)
        own = self._remakes.reductions
        if not state.remade and not own:
            return self._encode(tuple(state), outside=outside, also=reductions)
        outside = outside.joined(self._remakes.outside)
        also = {**reductions(), **own}
        return self._encode(tuple(state), outside=outside, also=lambda: also)

    def _try(self, value: Any, paths: Mapping[int, str]) -> Encoded | None:
        """Pickle a value, with others outside of it; return None if it cannot be stored."""
        outside = self._arguments.outside
        try:
            return self._encode(value, outside=outside.joined(paths), also=reductions)
        except CodecError:
            return None

    def _plan(self, loop: Loop, state: LoopState) -> bool:
        """Plan what is made again, because a state could not be stored; False if nothing is new."""
        before = self._remakes.omitted(state.site)
        self._remakes.plan(loop, self._program.snapshot(loop))
        return self._remakes.omitted(state.site) != before


def _references(objects: list[Any]) -> list[int]:
    """Return for each object of a list how many references to it there are."""
    return [sys.getrefcount(objects[number]) for number in range(len(objects))]


_ALONE: Final = 1 + _references([object()])[0]  # the list's and the generator's


def _described(slot: Any, references: int) -> Any:
    """Return the rest of an iterator over a range as plain data, and anything else as it is.

    Without names of classes a pickle is made more quickly, and most loops go over a range. But an
    iterator that a variable has as well, or another loop, must stay the same one.
    """
    if type(slot) is not _RangeIterator or references > _ALONE:
        return slot
    iterator: Any = slot
    _, (numbers,), index = iterator.__reduce__()
    rest = numbers[index or 0 :]
    return RANGE, rest.start, rest.stop, rest.step


def _range_from(rest: tuple[str, int, int, int]) -> Any:
    """Return the iterator that `_described` has described."""
    return iter(range(*rest[1:]))
