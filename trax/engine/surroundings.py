"""Finds variables outside of the state that a loop changes from step to step.

A resumed loop finds them as they were at the beginning: a counter on a class starts over, a list in
a module is empty again. So the variables that the functions of a call refer to, its arguments and
the loop's local variables are compared after its first two steps; with a plain loop only
those that do not come back. Only what can be pickled, and is small, is compared; RNGs are left out,
and so are caches, as in the warnings at decoration.
"""

from __future__ import annotations

import gc
import itertools
import pickle
import re
import sys
from collections.abc import Iterator
from types import FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.comparing import frozen_difference
from trax.lint.words import is_cache
from trax.storage.codec import PROTOCOL, Limited
from trax.storage.members import closure
from trax.storage.process import process
from trax.tracking.references import references
from trax.tracking.rngs import is_rng

if TYPE_CHECKING:
    from trax.calls.call import Call

__all__ = ["Surroundings"]

_SIZE = 1 << 16  # bytes of a pickle; larger values are not compared
_SECONDS = 0.02  # that one look may take
_OBJECTS = 50_000  # of the state that are searched; nothing is said of larger ones
_SHOWN = 3
_NAME = re.compile(r"\w+")
_REBOUND = (int, float, complex, str, bytes, bool, type(None), tuple, frozenset)
_SCRATCH = (bytearray, memoryview)


class Surroundings:
    """The variables outside of a call's state, as they were after the step before."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._before: dict[str, tuple[Any, bytes]] = {}
        self._found_again: set[str] | None = None

    def check(self, frame: FrameType | None, state: Any) -> None:
        """Tell of the variables that have changed since the call before, in one line."""
        before, self._before = self._before, self._look(frame, state)
        changed = {
            place: value
            for place, (value, frozen) in self._before.items()
            if place in before and _differs(before[place], value, frozen)
        }
        if not changed:
            return
        variables = frame.f_locals if frame is not None else {}
        # A loop that yields copies may go on with the object that it was given as its state.
        contained = _contained([state, variables.get(self._call.state_parameter)])
        outside = [
            place
            for place, value in changed.items()
            if type(value) in _REBOUND or id(value) not in contained
        ]
        outside = [place for place in outside if not self._is_found_again(place)]
        if outside and len(contained) < _OBJECTS:
            more = len(outside) - _SHOWN
            shown = ", ".join(outside[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
            is_plain = self._call.is_plain
            place = "outside of its variables" if is_plain else "outside of its state"
            way = "Pass it as an argument" if is_plain else "Keep it in the state"
            notices.warn(
                f"{self._call.name} changes {shown}, {place}: a resumed run finds it as it was at "
                f"the start. {way} if the results depend on it"
            )

    def _is_found_again(self, place: str) -> bool:
        """Whether a resumed run makes a variable anew, as the warnings at decoration see it."""
        name = _NAME.findall(place)[-1]
        if not is_cache(name) and self._found_again is None:
            from trax.lint.reader import made_again  # seldom needed

            function: Any = self._call.function
            is_read = not self._call.is_plain
            self._found_again = made_again(function, self._call.options) if is_read else set()
        return is_cache(name) or name in (self._found_again or ())

    def _look(self, frame: FrameType | None, state: Any) -> dict[str, tuple[Any, bytes]]:
        """Return the values of the variables, and pickles of them, by place."""
        until = process.monotonic() + _SECONDS
        seen = {}
        met: set[int] = set()
        for place, value in self._variables(frame, state):
            if process.monotonic() > until:
                break
            if id(value) in met and type(value) not in _REBOUND:
                continue
            met.add(id(value))
            frozen = _freeze(value)
            if frozen is not None:
                seen[place] = value, frozen
        return seen

    def _variables(self, frame: FrameType | None, state: Any) -> Iterator[tuple[str, Any]]:
        call = self._call
        given = [state, *call.arguments.values()]
        kinds = [one if isinstance(one, type) else type(one) for one in given]
        stored = _enclosed(call.function) if call.is_plain else {}
        for name, value in references([call.function, *call.helpers, *kinds]).variables.items():
            if name not in stored or stored[name] is not value:
                yield name, value
        for name, value in call.arguments.items() if not call.is_plain else ():
            yield f"the argument {name!r}", value
        for name, value in frame.f_locals.items() if frame is not None else ():
            # Other local variables are bound anew in each step.
            if value is not state and type(value) not in _REBOUND and not _is_scratch(value):
                yield f"the local variable {name!r}", value


def _enclosed(function: Any) -> dict[str, Any]:
    """Return the variables of the functions around a function, and of those around these."""
    found: dict[str, Any] = {}
    left = [function]
    while left:
        new = {name: value for name, value in closure(left.pop()).items() if name not in found}
        found |= new
        left += (value for value in new.values() if isinstance(value, FunctionType))
    return found


class _Freezer(pickle.Pickler):
    """Pickles values without their RNGs: `RngTracking` tells of those that are not stored."""

    def reducer_override(self, obj: Any) -> Any:
        if is_rng(obj):
            return str, ("RNG",)
        return (str, (repr(obj),)) if type(obj) is itertools.count else NotImplemented


def _freeze(value: Any) -> bytes | None:
    """Return a pickle of a value without its RNGs; None if there is none, or it is large."""
    if type(value).__module__.partition(".")[0] == "trax":
        return None
    file = Limited(_SIZE)
    try:
        _Freezer(file, PROTOCOL).dump(value)
    except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
        return None
    return file.getvalue()


def _differs(before: tuple[Any, bytes], value: Any, frozen: bytes) -> bool:
    was, content = before
    if content == frozen or (was is not value and type(value) not in _REBOUND):
        return False
    try:
        return bool(frozen_difference(content, frozen, ""))
    except Exception:  # noqa: BLE001  # a __setstate__ may raise anything
        return False


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
