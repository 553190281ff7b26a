"""Finds the RNGs that belong to a run, and names them."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import FrameType, MemberDescriptorType
from typing import Any

from trax.errors import UsageError
from trax.storage.context import Key, Kind
from trax.tracking.rng_state import (
    TrackedRng,
    canonical,
    defaults,
    is_rng,
    put_back,
    rng_types,
    seed_of,
    track,
)
from trax.tracking.tracker import Parts

__all__ = ["InnerRngs", "OuterRngs", "Strays", "check_rng", "import_for", "outer_key"]

_CONTAINERS = (list, tuple, dict)
_SMALL = 100  # items; containers with more are not searched


def check_rng(rng: Any) -> tuple[Any, ...] | None:
    """Return the RNGs of the option ``rng=`` as a tuple; None turns all tracking off."""
    if rng is None:
        return None
    named = tuple(rng) if isinstance(rng, (tuple, list)) else (rng,)
    for each in named:
        if not is_rng(each):
            raise UsageError(
                f"rng takes RNGs that have a state, a list of them, or None; not {each!r}.\n"
                "Such RNGs are random.Random, numpy.random.Generator or RandomState, and "
                "torch.Generator.\n"
                "Give None to leave random numbers alone."
            )
    return named


class OuterRngs:
    """The RNGs outside of the state that a loop can draw from, with their places.

    They are the default RNGs of the libraries, those that were `named`, and those found in the
    arguments, the attributes of arguments, and the variables of the function's module and closure;
    small lists, tuples and dictionaries there are searched as well. Each iteration searches again:
    loading, migrating or replaying a state can import a library, make an RNG or replace one.
    """

    def __init__(
        self, named: Iterable[Any], arguments: Mapping[str, Any], function: Callable[..., Any]
    ) -> None:
        self._named = named
        self._arguments = arguments
        self._function = inspect.unwrap(function)

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

    def _scan(self) -> list[tuple[str, Any]]:
        found = [(f"rng {number}", rng) for number, rng in enumerate(self._named)]
        for name, value in self._arguments.items():
            found += _rngs_among("argument ", [(name, value)])
            found += _rngs_among(f"argument {name}.", _attributes(value))
        variables = {**getattr(self._function, "__globals__", {}), **_closure(self._function)}
        return found + _rngs_among("variable ", variables.items())


def _rngs_among(prefix: str, values: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Return the RNGs among values and in small containers among them."""
    types = rng_types()
    found = []
    for name, value in values:
        if isinstance(value, types):
            found.append((f"{prefix}{name}", value))
        elif type(value) in _CONTAINERS and len(value) <= _SMALL:
            for key, item in value.items() if type(value) is dict else enumerate(value):
                if isinstance(item, types):
                    found.append((f"{prefix}{name}[{key!r}]", item))
    return [(place, rng) for place, rng in found if not isinstance(rng, random.SystemRandom)]


def _attributes(value: Any) -> list[tuple[str, Any]]:
    found = list(getattr(value, "__dict__", {}).items())
    for kind in type(value).__mro__:
        for name, member in kind.__dict__.items():
            if type(member) is MemberDescriptorType:  # of __slots__
                with contextlib.suppress(AttributeError):  # not set
                    found.append((name, member.__get__(value)))
    return found


def _closure(function: Any) -> dict[str, Any]:
    found = {}
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(function.__code__.co_freevars if cells else (), cells, strict=True):
        with contextlib.suppress(ValueError):  # not set
            found[name] = cell.cell_contents
    return found


def outer_key(place: str, tracked: TrackedRng) -> Key:
    """Return the key of an RNG outside of the state."""
    return Key(Kind.OUTER_RNG, f"{place}: {tracked.kind}")


def import_for(name: str) -> None:
    """Import the library whose default RNG has this name, if there is one."""
    library = name.partition(":")[0].partition(" ")[0]
    if library in ("numpy.random", "torch", "torch.cuda"):
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

    @property
    def objects(self) -> list[Any]:
        """The RNGs that were ever in the state."""
        return self._objects

    def renew(self, found: Mapping[int, Any]) -> dict[str, int]:
        """Track the RNGs found in the present state; return their places, by number."""
        before, self.tracked = self.tracked, {}
        places = {}
        for place, value in found.items():
            rng = canonical(value)
            if not is_rng(rng):
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
        for key, parts in self.stored(context).items():
            put_back(str(key), self.tracked[key], parts)


def _inner_key(number: int) -> Key:
    return Key(Kind.INNER_RNG, str(number))


class Strays:
    """Finds RNGs that stay in a local variable of a loop from one step to the next.

    A resumed loop would create such an RNG again, and draw the same numbers again.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[Any, Parts]] = {}

    def find(self, frame: FrameType | None, known: AbstractSet[int]) -> dict[str, Any]:
        """Return the strays among the variables after a step, by name; the first call finds none.

        `known` has the identities of the RNGs that are tracked.
        """
        before, self._before = self._before, {}
        strays = {}
        for name, value in frame.f_locals.items() if frame is not None else ():
            rng = canonical(value) if is_rng(value) else None
            if rng is None or id(rng) in known:
                continue
            parts = track(rng).parts()
            self._before[name] = rng, parts
            if name in before and before[name][0] is rng and before[name][1] != parts:
                strays[name] = rng
        return strays
