"""Which random generators belong to a run, and under which names they are stored."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from types import FrameType, MemberDescriptorType
from typing import Any

from trax.errors import UsageError
from trax.tracking.rng_state import canonical, defaults, is_generator, put_back, seed_of, watch

__all__ = ["INNER", "Inner", "Strays", "check_rng", "import_for", "outer"]

INNER = "state "  # what the names of generators in the state begin with
_SMALL = 100  # items of a container that are looked at


def check_rng(rng: Any) -> tuple[Any, ...] | None:
    """Return what was named with ``rng=`` as a tuple; None turns all of this off."""
    if rng is None:
        return None
    named = tuple(rng) if isinstance(rng, (tuple, list)) else (rng,)
    for generator in named:
        if not is_generator(generator):
            raise UsageError(
                "rng takes random generators that have a state (random.Random, "
                "numpy.random.Generator or RandomState, torch.Generator), a list of them, or None "
                f"to leave random numbers alone; not {generator!r}"
            )
    return named


def outer(
    named: Iterable[Any], arguments: Mapping[str, Any], function: Callable[..., Any]
) -> Iterator[tuple[str, Any]]:
    """Yield the generators outside of the state that a loop can draw from, with their names.

    They are the global ones, those that were `named`, and those that are an argument, an
    attribute of one, or a variable of the function's module or closure; or lie in a list, a tuple
    or a dictionary there.
    """
    seen: set[int] = set()
    for name, value in _candidates(named, arguments, inspect.unwrap(function)):
        if not is_generator(value) or id(canonical(value)) in seen:
            continue
        seen.add(id(canonical(value)))
        yield name, canonical(value)
        seed = seed_of(value)
        if seed is not None and id(seed) not in seen:
            seen.add(id(seed))
            yield f"{name} seed", seed


def _candidates(
    named: Iterable[Any], arguments: Mapping[str, Any], function: Callable[..., Any]
) -> Iterator[tuple[str, Any]]:
    yield from defaults()
    for number, generator in enumerate(named):
        yield f"rng {number}", generator
    for name, value in arguments.items():
        yield from _with_items(f"argument {name}", value)
        for attribute, inner in _attributes(value):
            yield from _with_items(f"argument {name}.{attribute}", inner)
    for name, value in {**getattr(function, "__globals__", {}), **_closure(function)}.items():
        yield from _with_items(f"variable {name}", value)


def _with_items(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield a value and, where it is a small container, what is in it."""
    yield name, value
    if type(value) in (list, tuple, dict) and len(value) <= _SMALL:
        for key, inner in value.items() if type(value) is dict else enumerate(value):
            yield f"{name}[{key!r}]", inner


def _attributes(value: Any) -> Iterator[tuple[str, Any]]:
    yield from getattr(value, "__dict__", {}).items()
    for kind in type(value).__mro__:
        for name, member in kind.__dict__.items():
            if isinstance(member, MemberDescriptorType):  # of __slots__
                with contextlib.suppress(AttributeError):  # not set
                    yield name, member.__get__(value)


def _closure(function: Any) -> dict[str, Any]:
    found = {}
    cells = getattr(function, "__closure__", None) or ()
    for name, cell in zip(function.__code__.co_freevars if cells else (), cells, strict=True):
        with contextlib.suppress(ValueError):  # not set
            found[name] = cell.cell_contents
    return found


def import_for(name: str) -> None:
    """Import the library whose global generator has this name, if it is one of theirs."""
    library = name.partition(":")[0].partition(" ")[0]
    if library in ("numpy.random", "torch", "torch.cuda"):
        with contextlib.suppress(Exception):  # then it is not there any more
            module = importlib.import_module(library)
            if library == "torch.cuda":
                module.init()


class Inner:
    """The random generators in a state, each under a number that it keeps.

    Parameters
    ----------
    objects : mapping of int to object
        Those that are known, by number.

    Attributes
    ----------
    generators : dict of str to Generator
        What follows them, by their names in a context.
    """

    def __init__(self, objects: Mapping[int, Any]) -> None:
        self._numbers = {id(canonical(value)): number for number, value in objects.items()}
        self._next = max(objects, default=-1) + 1
        # They are kept, so that no other object can have their identity.
        self._objects = [canonical(value) for value in objects.values()]
        self.generators = {_inner(number): watch(value) for number, value in objects.items()}
        self._loaded = {name: each.parts() for name, each in self.generators.items()}

    @property
    def known(self) -> AbstractSet[int]:
        """The identities of those that were ever in the state."""
        return self._numbers.keys()

    def renew(self, found: Mapping[int, Any]) -> dict[str, int]:
        """Take what was found in the state as it is now; return the places found, by number."""
        before, self.generators = self.generators, {}
        places = {}
        for place, value in found.items():
            generator = canonical(value)
            if not is_generator(generator):
                continue
            if id(generator) not in self._numbers:
                self._numbers[id(generator)] = self._next
                self._objects.append(generator)
                self._next += 1
            number = self._numbers[id(generator)]
            name = _inner(number)
            if name not in self.generators:
                self.generators[name] = before.get(name) or watch(generator)
                places[str(number)] = place
        return places

    def stored(self, context: Mapping[str, bytes]) -> dict[str, tuple[bytes, ...]]:
        """Return where the generators of a state that was loaded stood, as a context says."""
        return {
            name: tuple(context.get(f"{name}#{n}", part) for n, part in enumerate(loaded))
            for name, loaded in self._loaded.items()
        }

    def now(self) -> dict[str, bytes]:
        """Return where the generators of a state that was loaded stand, as a context."""
        return {
            f"{name}#{number}": part
            for name in self._loaded
            for number, part in enumerate(self.generators[name].parts())
        }

    def restore(self, context: Mapping[str, bytes]) -> None:
        """Set the generators of a state that was loaded to where they stood."""
        for name, parts in self.stored(context).items():
            put_back(name, self.generators[name], parts)


def _inner(number: int) -> str:
    return f"{INNER}{number}"


class Strays:
    """Finds generators that a loop keeps in a local variable from one step to the next.

    A resumed loop would make such a generator anew, and draw the same numbers again.
    """

    def __init__(self) -> None:
        self._before: dict[str, tuple[Any, tuple[bytes, ...]]] = {}

    def look(self, frame: FrameType | None, known: AbstractSet[int]) -> dict[str, Any]:
        """Look at the variables after a step; from the second look on, return the strays.

        `known` are the identities of the generators that are followed.
        """
        before, self._before = self._before, {}
        strays = {}
        for name, value in frame.f_locals.items() if frame is not None else ():
            generator = canonical(value) if is_generator(value) else None
            if generator is None or id(generator) in known:
                continue
            parts = watch(generator).parts()
            self._before[name] = generator, parts
            if name in before and before[name][0] is generator and before[name][1] != parts:
                strays[name] = generator
        return strays
