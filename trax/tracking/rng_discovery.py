"""Finds the RNGs that belong to a run, and names them."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import FrameType
from typing import Any

from trax.storage.context import Key, Kind
from trax.storage.members import attributes, closure
from trax.tracking.object_parts import first_items, items, parts
from trax.tracking.references import References, references
from trax.tracking.rng_state import TrackedRng, put_back, track
from trax.tracking.rngs import (
    bits_of,
    canonical,
    default_of,
    defaults,
    has_numba,
    is_rng,
    rng_types,
    seed_of,
)
from trax.tracking.tracker import Parts

__all__ = [
    "InnerRngs",
    "OuterRngs",
    "Strays",
    "import_for",
    "kept",
    "outer_key",
    "rngs_below",
    "tracked_below",
]

_CONTAINERS = (list, tuple, dict)
_LEVELS = 20  # of attributes and items below an argument or a variable that are searched
_OBJECTS = 30_000  # that are searched there at most
# Libraries whose RNGs cannot be read, and the names by which they are drawn from.
_UNREADABLE = {
    "cupy": {"random"},
    "polars": {"sample", "shuffle"},
    "tensorflow": {"random"},
}
_MAKERS = {"Random", "RandomState", "default_rng"}  # which are attributes of a module `random`


class OuterRngs:
    """The RNGs outside of the state that a loop can draw from, with their places.

    They are the default RNGs of the libraries, those that were `named`, and those found in the
    arguments, and in the variables of the function's module and closure, also in small lists,
    tuples and dictionaries. In arguments, and in variables that the function and the `others` refer
    to, the `parts` of objects are searched as well, some levels deep. Each iteration searches
    again: loading, migrating or replaying a state can import a library, make an RNG or replace one.

    Attributes
    ----------
    follows_defaults : bool
        Whether the loop is the only one that draws from the default RNGs, as in the main thread. In
        another one they are followed if they are named, and the variables of the module if the loop
        refers to them.
    missed : str
        The place of objects that the last search has not reached, and that may have RNGs.
    """

    def __init__(
        self,
        named: Iterable[Any],
        arguments: Mapping[str, Any],
        function: Callable[..., Any],
        others: Iterable[Any] = (),
    ) -> None:
        self.follows_defaults = True
        self.missed = ""
        self._found: list[tuple[str, Any]] = []
        self._named = named
        self._arguments = arguments
        self._function = inspect.unwrap(function)
        self._others = others

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for place, value in [*_rngs_among("", defaults()), *self._scan()]:
            rng = canonical(value)
            if id(rng) in seen:
                continue
            seen.add(id(rng))
            yield place, rng
            seed = seed_of(rng)
            if seed is not None and id(seed) not in seen:
                seen.add(id(seed))
                yield f"{place} seed", seed

    def followed(self) -> Iterator[tuple[str, Any]]:
        """Yield those that are put back and logged: without the default RNGs of other threads."""
        others = self._left_alone()
        return ((place, rng) for place, rng in self if id(rng) not in others)

    def left_alone(self) -> Iterator[tuple[str, Any]]:
        """Yield the others."""
        others = self._left_alone()
        return ((place, rng) for place, rng in self if id(rng) in others) if others else iter(())

    def bindings(self) -> dict[str, Any]:
        """Return the RNGs in variables of modules at the last search, under each of their names."""
        enclosed = tuple(f"variable {name}" for name in closure(self._function))
        return {
            place: canonical(rng)
            for place, rng in self._found
            if place.startswith("variable ") and not place.startswith(enclosed)
        }

    def seems_to_draw(self, library: str) -> bool:
        """Return whether the loop has the name of a function of a library with a default RNG."""
        module = sys.modules.get(library)
        rng, functions = default_of(module), getattr(module, "__dict__", {}).items()
        words = {name for name, value in functions if getattr(value, "__self__", None) is rng}
        names = self._references().names
        return bool(words & names - {"random"} or ("random" in names and names.isdisjoint(_MAKERS)))

    def _left_alone(self) -> set[int]:
        if self.follows_defaults:
            return set()
        named = [canonical(default_of(rng)) for rng in self._named]
        rngs = [canonical(rng) for _, rng in defaults()]
        found = [rng for rng in rngs if not any(rng is one for one in named)]
        return {id(one) for rng in found for one in (rng, seed_of(rng))} - {id(None)}

    def _scan(self) -> list[tuple[str, Any]]:
        found = [(f"rng {number}", default_of(rng)) for number, rng in enumerate(self._named)]
        for name, value in self._arguments.items():
            found += _rngs_among("argument ", [(name, value)])
            found += _rngs_among(f"argument {name}.", attributes(value))
        if self.follows_defaults:
            variables = {**getattr(self._function, "__globals__", {}), **closure(self._function)}
            found += _rngs_among("variable ", variables.items())
        places = {f"argument {name}": value for name, value in self._arguments.items()}
        places |= {f"variable {name}": v for name, v in self._references().variables.items()}
        below = _Below(places)
        found += _without_system(below)
        self.missed, self._found = below.missed, found
        return found

    def _references(self) -> References:
        return references([self._function, *self._others, *self._arguments.values()])

    def libraries(self) -> list[str]:
        """Return the libraries that the loop may draw from, and whose RNGs cannot be read."""
        found = self._references()
        used = [
            library
            for library, words in _UNREADABLE.items()
            if library in found.libraries and not found.names.isdisjoint(words)
        ]
        return [*used, "numba"] if "numba" in found.libraries and not has_numba() else used


def _rngs_among(prefix: str, values: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the RNGs among values and in small containers among them."""
    types = rng_types()
    found = []
    for name, value in values:
        if issubclass(type(value), types):
            found.append((f"{prefix}{name}", value))
        elif type(value) in _CONTAINERS:
            inside = [(key, item) for key, item in items(value) if issubclass(type(item), types)]
            found += [(f"{prefix}{name}[{key!r}]", item) for key, item in inside]
    return _without_system(found)


def _without_system(found: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(place, rng) for place, rng in found if not issubclass(type(rng), random.SystemRandom)]


def tracked_below(variables: Mapping[str, Any]) -> list[tuple[str, TrackedRng]]:
    """Return the RNGs in variables, to be `kept`."""
    return [(name, track(rng)) for name, rng in _rngs_below(variables)]


def rngs_below(variables: Mapping[str, Any]) -> list[Any]:
    """Return the RNGs in variables, in their attributes and items."""
    return [rng for _, rng in _rngs_below(variables)]


@contextlib.contextmanager
def kept(rngs: Iterable[tuple[str, TrackedRng]]) -> Iterator[list[str]]:
    """Put RNGs back at the end of a block.

    It gives a list, which then has the names of those that the block has drawn from.
    """
    before = [(name, rng, rng.parts()) for name, rng in rngs]
    drawn: list[str] = []
    yield drawn
    for name, rng, position in before:
        if rng.parts() != position:
            put_back(name, rng, position)
            drawn.append(name)


def _rngs_below(places: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the RNGs in values, in their attributes and items, with their places."""
    return _without_system(_Below(places))


class _Below:
    """The RNGs in values, in their attributes and items, with their places; a level at a time.

    Attributes
    ----------
    missed : str
        The place of an object that was not reached, since there were too many, and that is of a
        kind that was not met or that had an RNG; not one in a large table of numbers.
    """

    def __init__(self, places: Mapping[str, Any]) -> None:
        self.missed = ""
        self._places = places
        self._types = rng_types()
        self._met: dict[int, Any] = {}
        self._kinds: set[int] = set()  # of the objects that were searched, by identity
        self._leading: set[int] = set()  # those of them that had an RNG

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        level = [(place, value, 0) for place, value in self._places.items()]
        for _ in range(_LEVELS):
            below: list[tuple[str, Any, int]] = []
            for place, value, above in level:
                kind = type(value)
                if id(value) in self._met:
                    continue
                if len(self._met) >= _OBJECTS:
                    self._miss(place, value)
                    continue
                self._met[id(value)] = value
                if self._is_rng(value):
                    self._leading.add(above)
                    yield place, value
                    continue
                self._kinds.add(id(kind))
                below += [(*part, id(kind)) for part in parts(place, value)]
                if any(map(self._leads, first_items(value))):
                    self.missed = self.missed or place
            level = below

    def _miss(self, place: str, value: Any) -> None:
        kind = id(type(value))
        is_new = kind not in self._kinds
        self._kinds.add(kind)
        if kind in self._leading or (is_new and (self._is_rng(value) or parts(place, value))):
            self.missed = self.missed or place

    def _leads(self, value: Any) -> bool:
        return any(map(self._is_rng, (value, *(part for _, part in parts("", value)))))

    def _is_rng(self, value: Any) -> bool:
        return issubclass(type(value), self._types)


def outer_key(place: str, tracked: TrackedRng) -> Key:
    """Return the key of an RNG outside of the state."""
    return Key(Kind.OUTER_RNG, f"{place}: {tracked.kind}")


def import_for(name: str) -> None:
    """Import the library whose default RNG has this name, if there is one."""
    library = name.partition(":")[0].partition(" ")[0]
    if library in ("numpy.random", "torch", "torch.cuda", "numba"):
        with contextlib.suppress(Exception):  # the library is gone; `RngTracking.begin` warns
            module = importlib.import_module(library)
            if library == "torch.cuda":
                module.init()


class InnerRngs:
    """The RNGs in a state, each under a number that never changes; `objects` has the known ones.

    Attributes
    ----------
    tracked : dict of Key to TrackedRng
        The trackers of the RNGs that are in the state now.
    """

    def __init__(self, objects: Mapping[int, Any]) -> None:
        self._numbers = {id(canonical(rng)): number for number, rng in objects.items()}
        self._next = max(objects, default=-1) + 1
        # A reference to each, so that no other object can get its identity.
        self._objects = [canonical(rng) for rng in objects.values()]
        self.tracked = {_inner_key(number): track(rng) for number, rng in objects.items()}
        self._loaded = {key: rng.parts() for key, rng in self.tracked.items()}

    @property
    def known(self) -> AbstractSet[int]:
        """The identities of the RNGs that were ever in the state."""
        return self._numbers.keys()

    def renew(self, found: Mapping[int, Any]) -> dict[str, int]:
        """Track the RNGs found in the present state; return their places, by number."""
        before, self.tracked = self.tracked, {}
        places = {}
        # The position of a `RandomState` has that of its bit generator, which is found as well.
        contained = {id(bits_of(value)) for value in found.values()}
        for place, value in found.items():
            rng = canonical(value)
            if id(rng) in contained or not is_rng(rng):
                continue
            if id(rng) not in self._numbers:
                self._numbers[id(rng)] = self._next
                self._objects.append(rng)
                self._next += 1
            number = self._numbers[id(rng)]
            key = _inner_key(number)
            if key not in self.tracked:
                self.tracked[key] = before.get(key) or track(rng)
                places[str(number)] = place
        return places

    def stored(self, context: Mapping[Key, bytes]) -> dict[Key, Parts]:
        """Return the positions in a context of the RNGs that the loaded state had."""
        return {
            key: tuple(context.get(key.at(n), part) for n, part in enumerate(loaded))
            for key, loaded in self._loaded.items()
        }

    def now(self) -> dict[Key, bytes]:
        """Return the present positions of the RNGs that the loaded state had, as a context."""
        return {
            key.at(number): part
            for key in self._loaded
            for number, part in enumerate(self.tracked[key].parts())
        }

    def restore(self, context: Mapping[Key, bytes]) -> None:
        """Set the RNGs that the loaded state had to their positions in a context."""
        for key, stored in self.stored(context).items():
            put_back(str(key), self.tracked[key], stored)


def _inner_key(number: int) -> Key:
    return Key(Kind.INNER_RNG, str(number))


class Strays:
    """Finds RNGs that a loop has made for itself, and draws from in one step after another.

    They are in local variables, or new in arguments and variables outside of the loop. A resumed
    loop would make such an RNG again, and draw the same numbers again.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[Any, Parts]] = {}

    def find(
        self, frame: FrameType | None, outer: Iterable[tuple[str, Any]], known: AbstractSet[int]
    ) -> dict[str, Any]:
        """Return the strays after a step, by place; the first call finds none.

        `outer` are the RNGs outside of the state as they are now, and `known` has the identities of
        the RNGs that are tracked.
        """
        before, self._before = self._before, {}
        found = list(outer)
        if frame is not None:
            places = {f"local variable {name}": v for name, v in frame.f_locals.items()}
            found += _rngs_below(places)
        strays = {}
        for place, value in found:
            rng = canonical(value)
            if id(rng) in known:
                continue
            parts = track(rng).parts()
            self._before[place] = rng, parts
            if place in before and before[place][0] is rng and before[place][1] != parts:
                strays[place] = rng
        return strays
