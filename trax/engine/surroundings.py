"""Finds variables outside of the state that a loop changes from step to step.

A resumed loop finds them as they were at the beginning: a counter on a class starts over, a list in
a module is empty again. So the variables that the functions of a call refer to, its arguments and
the loop's local variables are compared after its first two steps; with a plain loop only those that
do not come back. What `create` or a plain loop's prologue sets up, which run only once, shows in a
look before them. Later the former are compared again now and then, since a loop may change its
settings in its tenth epoch. What is very large is left out, and so are caches, as in the warnings
at decoration, unless they have random draws. RNGs that are not tracked are looked for at the same
times.
"""

from __future__ import annotations

import gc
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import partial
from types import FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from trax import notices
from trax.engine.frozen_values import CACHED, Freezer, has_changed
from trax.lint.words import is_cache
from trax.storage.members import closure
from trax.storage.process import process
from trax.tracking.references import references
from trax.tracking.rng_discovery import rngs_below

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["Surroundings"]

_SMALL, _LARGE = 1 << 16, 1 << 20  # bytes of a frozen value; larger ones are not compared
_MOST = 8 << 20  # bytes of all of them
_SECONDS = 0.05  # that one look may take
_SHARE = 0.001  # of the time, which the looks after the first steps may take
_OBJECTS = 50_000  # of the state that are searched; nothing is said of larger ones
_SHOWN = 3
_NAME = re.compile(r"\w+")
_REBOUND = (int, float, complex, str, bytes, bool, type(None), tuple, frozenset)
_SCRATCH = (bytearray, memoryview)
_COMBINED = "_value2member_map_"  # where `enum.Flag` keeps the combinations that were made


_Variable = tuple[str, Any, bool]  # the place, the value, and whether it is a local one


class _Seen(NamedTuple):
    """A variable at one look: its value, how it was frozen, and whether it is a local one."""

    value: Any
    frozen: bytes
    is_local: bool


class Surroundings:
    """The variables outside of a call's state, as they were after the step before.

    Attributes
    ----------
    due : float
        The time on the monotonic clock at which to look again; never before the first two looks.
    """

    def __init__(self, call: Call, tracking: RngTracking) -> None:
        self.due = math.inf
        self._call = call
        self._tracking = tracking
        self._before: dict[str, _Seen] | None = None
        self._judged: set[str] = set()  # the places of which it was told, or nothing is to be told
        self._found_again: set[str] | None = None

    def begin(self) -> None:
        """Look at the variables before `create` or a plain loop's prologue, which run only once."""
        self._before = _look(self._call, None, None, self._call.helpers)

    def check_create(self, state: Any) -> None:
        """Tell of what `create` has changed since `begin`, if others than itself refer to it."""
        others = [one for one in self._call.helpers if one is not self._call.options.create]
        self._compare(self._before or {}, _look(self._call, None, state, others), None, state)

    def check(self, frame: FrameType | None, state: Any) -> None:
        """Tell of the variables that have changed since the call before, in one line.

        Of the RNGs among them that the loop has made, which begin anew, another line tells.
        """
        begun = process.monotonic()
        find = rngs_below if self._call.is_plain else self._tracking.rngs_in
        self._tracking.check_strays(frame, partial(find, state))
        before, now = self._before, _look(self._call, frame, state, self._call.helpers)
        if before is None:
            self._before = now
            return
        # Local variables are only compared once: their objects should live no longer for this.
        self._before = {
            place: seen._replace(value=None) for place, seen in now.items() if not seen.is_local
        }
        self._compare(before, now, frame, state)
        spent = process.monotonic() - begun
        self.due = begun + spent + spent / _SHARE

    def _compare(
        self, before: dict[str, _Seen], now: dict[str, _Seen], frame: FrameType | None, state: Any
    ) -> None:
        changed = {
            place: seen.value
            for place, seen in now.items()
            if place in before and place not in self._judged and _differs(before[place], seen)
        }
        if changed:
            self._judged.update(changed)
            self._tell(changed, frame, state)

    def _tell(self, changed: dict[str, Any], frame: FrameType | None, state: Any) -> None:
        contained = _contained(self._kept(frame, state))
        outside = [
            place
            for place, value in changed.items()
            if type(value) in (*_REBOUND, CACHED) or id(value) not in contained
        ]
        outside = [place for place in outside if not self._is_found_again(place, changed[place])]
        caches = [place for place in outside if type(changed[place]) is CACHED]
        outside = [place for place in outside if place not in caches]
        if caches:
            notices.warn(
                f"{self._call.name} draws random numbers for the cache of {_shown(caches)}: a "
                "resumed run finds it empty, and draws others. Keep the values in "
                + ("a dict in a local variable" if self._call.is_plain else "the state")
            )
        if outside and len(contained) < _OBJECTS:
            is_plain = self._call.is_plain
            place = "outside of its variables" if is_plain else "outside of its state"
            local = "Keep it in a local variable, or in an object that is an argument,"
            way = local if is_plain else "Keep it in the state"
            notices.warn(
                f"{self._call.name} changes {_shown(outside)}, {place}: a resumed run finds it as "
                f"it was at the start. {way} if the results depend on it"
            )

    def _kept(self, frame: FrameType | None, state: Any) -> list[Any]:
        """Return what a resumed run has as it was, the same objects for all who refer to them."""
        if self._call.is_plain:  # a copy in a local variable leaves that of the module as it was
            return [*self._call.arguments.values(), *_enclosed(self._call).values()]
        variables = frame.f_locals if frame is not None else {}
        # A loop that yields copies may go on with the object that it was given as its state.
        return [state, variables.get(self._call.state_parameter)]

    def _is_found_again(self, place: str, value: Any) -> bool:
        """Whether a resumed run makes a variable anew, as the warnings at decoration see it."""
        name = _NAME.findall(place)[-1]
        if name == _COMBINED:
            return True
        if is_cache(name):
            # A set has no results, but what was met before.
            return not (isinstance(value, set) or self._holds_draws(name))
        if self._found_again is None:
            from trax.lint.reader import made_again  # seldom needed

            function: Any = self._call.function
            is_read = not self._call.is_plain
            self._found_again = made_again(function, self._call.options) if is_read else set()
        return name in self._found_again

    def _holds_draws(self, name: str) -> bool:
        from trax.engine.drawn_caches import holds_draws  # seldom needed

        searched = references([self._call.function, *self._call.helpers]).searched
        return holds_draws(name, searched)


def _shown(places: list[str]) -> str:
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _look(
    call: Call, frame: FrameType | None, state: Any, helpers: list[Callable[..., Any]]
) -> dict[str, _Seen]:
    """Return the variables as they are, by place."""
    kind = state if isinstance(state, type) else type(state)
    outer = references([call.function, *helpers, kind, *call.arguments.values()])
    found = _Found(Freezer(process.monotonic() + _SECONDS))
    found.add(_given(call, frame, state))
    found.add(_outer(call, outer.variables))
    return found.all()


def _given(call: Call, frame: FrameType | None, state: Any) -> Iterator[_Variable]:
    """Yield the arguments and the local variables, which a plain loop has stored."""
    for name, value in call.arguments.items() if not call.is_plain else ():
        yield f"the argument {name!r}", value, False
    for name, value in state.items() if call.is_plain and state is not None else ():
        if type(value) is CACHED:
            yield f"the local variable {name!r}", value, False
    for name, value in frame.f_locals.items() if frame is not None else ():
        # Other local variables are bound anew in each step.
        if value is not state and type(value) not in _REBOUND and not _is_scratch(value):
            yield f"the local variable {name!r}", value, True


def _outer(call: Call, variables: dict[str, Any]) -> Iterator[_Variable]:
    """Yield the variables outside of a call that are not stored."""
    stored = _enclosed(call) if call.is_plain else {}
    for name, value in variables.items():
        is_stored = name in stored and stored[name] is value and type(value) is not CACHED
        if call.is_plain and type(value) is ContextVar:  # it is set again, to the same object
            is_stored = type(value.get(None)) in _REBOUND
        if not is_stored:
            yield name, value, False


class _Found:
    """The variables that one look has found; each object only once."""

    def __init__(self, freezer: Freezer) -> None:
        self._freezer = freezer
        self._met: dict[int, Any] = {}
        self._places: set[str] = set()
        self._larger: list[_Variable] = []
        self._seen: dict[str, _Seen] = {}
        self._room = _MOST

    def add(self, variables: Iterable[_Variable]) -> None:
        """Freeze the small ones; the others come last, since they take long."""
        for place, value, is_local in variables:
            is_new = place not in self._places and id(value) not in self._met
            self._places.add(place)
            if is_new and not self._freeze(place, value, is_local, _SMALL):
                self._larger.append((place, value, is_local))
            if type(value) not in _REBOUND:
                self._met[id(value)] = value

    def all(self) -> dict[str, _Seen]:
        """Freeze those that are left, and return all by place."""
        for one in self._larger:
            self._freeze(*one, _LARGE)
        return self._seen

    def _freeze(self, place: str, value: Any, is_local: bool, size: int) -> bool:
        frozen = self._freezer.freeze(value, min(size, self._room))
        if frozen is not None:
            self._room -= len(frozen)
            self._seen[place] = _Seen(value, frozen, is_local)
        return frozen is not None


def _enclosed(call: Call) -> dict[str, Any]:
    """Return the variables of the functions around a loop, and around functions it is given."""
    found: dict[str, Any] = {}
    given = (one for one in call.arguments.values() if isinstance(one, FunctionType))
    left: list[Any] = [*given, call.function]
    while left:
        new = {name: value for name, value in closure(left.pop()).items() if name not in found}
        found |= new
        left += (value for value in new.values() if isinstance(value, FunctionType))
    return found


def _differs(before: _Seen, now: _Seen) -> bool:
    is_other = before.is_local and before.value is not now.value
    return not is_other and has_changed(before.frozen, now.frozen)


def _is_scratch(value: Any) -> bool:
    numpy: Any = sys.modules.get("numpy")
    return isinstance(value, _SCRATCH) or (numpy is not None and isinstance(value, numpy.ndarray))


def _contained(state: Any) -> set[int]:
    """Return the identities of the objects in a state; at most `_OBJECTS`."""
    found = {id(state)}
    left = [state]
    while left and len(found) < _OBJECTS:
        for part in gc.get_referents(left.pop()):
            if id(part) not in found and not isinstance(part, (type, ModuleType, FunctionType)):
                found.add(id(part))
                left.append(part)
    return found
