"""Finds objects that a new state shares with arguments and variables, and tells if they change."""

from __future__ import annotations

import inspect
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from trax.comparing import freeze, frozen_difference, is_value, owner
from trax.display import show
from trax.storage.members import attributes, closure
from trax.tracking.rngs import rng_types

if TYPE_CHECKING:
    from trax.calls.call import Call

__all__ = ["NEAR", "Shared", "Touched", "inner_parts", "landmarks", "overlap"]

_MOST = 5_000  # objects that are looked at, on each side
_LARGE = 1 << 20  # bytes; larger objects are not remembered
_DEEP, NEAR = 6, 2  # levels at which arguments and variables are searched
_CLOSED = (type, ModuleType, FunctionType, MethodType, str, bytes, bytearray)


class Part(NamedTuple):
    path: str
    value: Any


class Shared:
    """The objects that a new state shares with the arguments of its call and with variables.

    A resumed run has a copy of them in its state, and the call has others again. That matters if
    they change.
    """

    def __init__(self, state: Any, call: Call) -> None:
        self._found: list[tuple[str, str, Any, bytes]] = []
        mine = {id(part.value): part.path for part in inner_parts(("state", state), _DEEP)}
        if not mine:
            return
        for kind, name, value, depth in _outside(call):
            for part in inner_parts((name, value), depth):
                path = mine.pop(id(part.value), None)
                if path is not None:
                    self._remember(path, f"{kind} {part.path}", part.value)

    def _remember(self, path: str, name: str, value: Any) -> None:
        try:
            frozen = freeze(value)
        except Exception:  # noqa: BLE001  # a __reduce__ may raise anything
            return
        if len(frozen) < _LARGE:
            self._found.append((path, name, value, frozen))

    def changed(self) -> str:
        """Return a line about the first object that has changed; empty if there is none."""
        for path, name, value, frozen in self._found:
            try:
                found = frozen_difference(frozen, freeze(value), path)
            except Exception:  # noqa: BLE001, S112  # a __reduce__ may raise anything
                continue
            if found:
                return (
                    f"{path} is the {name} itself, and the loop changes it; a resumed run has a "
                    "copy in its state, and never changes the other. Let create make the copy, as "
                    "with copy.deepcopy"
                )
        return ""


class Touched:
    """The objects that replaying on a copy of a state would change in the state itself.

    Parameters
    ----------
    state, copy : object
        Both states.
    lent : dict of int to object
        Objects that both may have, by identity.

    Attributes
    ----------
    is_separate : bool
        Whether the copy has no object of the state, as that of a singleton has.
    kinds : list of type
        The classes of objects in the state, and classes that are in it.
    members : list
        The members of Enums in it, and what is lent: a copy has the same ones.
    """

    def __init__(self, state: Any, copy: Any, lent: Mapping[int, Any]) -> None:
        mine = [part.value for part in inner_parts(("", state), _DEEP)]
        inner = [part for value in mine for _, part in _inside(value)]
        self.members = [part for part in [*mine, *inner] if isinstance(part, Enum)]
        self.members += lent.values()
        self.kinds = [*{type(value) for value in mine}]
        self.kinds += [part for part in inner if isinstance(part, type)]
        ids = {id(value) for value in mine if not isinstance(value, Enum)} - lent.keys()
        self.is_separate = all(id(part.value) not in ids for part in inner_parts(("", copy), _DEEP))


def overlap(increment: Any, state: Any) -> str:
    """Return a text about a part that an increment and a state have in common, if there is one."""
    whole = "the increment", increment
    parts = {_key(part.value): part.path for part in inner_parts(whole, _DEEP)}
    if parts:
        for part in inner_parts(("state", state), _DEEP):
            path = parts.get(_key(part.value))
            if path is not None:
                return f"{path} is {part.path} itself"
    return ""


def landmarks(call: Call) -> dict[int, str]:
    """Return the names of variables without content, which only ``is`` compares, by identity."""
    return {id(value): name for name, value in _variables(call) if _is_landmark(value)}


def _is_landmark(value: Any) -> bool:
    kind: Any = type(value)
    if kind is object:
        return True
    if isinstance(value, _CLOSED) or kind.__eq__ is not object.__eq__ or callable(value):
        return False
    if kind.__module__ == "builtins" or not hasattr(value, "__dict__"):
        return False
    return not attributes(value, builtin=False)


def _key(value: Any) -> int:
    numpy: Any = sys.modules.get("numpy")
    is_array = numpy is not None and isinstance(value, numpy.ndarray)
    return id(owner(value) if is_array else value)  # arrays of one memory may overlap


def _outside(call: Call) -> Iterator[tuple[str, str, Any, int]]:
    for name, value in call.arguments.items():
        yield "argument", name, value, _DEEP
    for name, value in _variables(call):
        yield "variable", name, value, NEAR


def _variables(call: Call) -> Iterator[tuple[str, Any]]:
    """Yield the variables of the loop and of `create`: of their modules, and of their closures."""
    seen = set()
    functions = [call.function, call.options.create]
    for function in [inspect.unwrap(each) for each in functions if each is not None]:
        if not isinstance(function, FunctionType):
            continue
        yield from closure(function).items()
        if id(function.__globals__) not in seen:
            seen.add(id(function.__globals__))
            for name, value in [*function.__globals__.items()]:
                if not name.startswith("__"):
                    yield name, value


def inner_parts(root: tuple[str, Any], depth: int) -> Iterator[Part]:
    """Yield an object and its parts that can change, breadth first, down to a depth."""
    rngs = rng_types()
    queue = deque([(*root, depth)])
    seen: set[int] = set()
    while queue and len(seen) < _MOST:
        path, value, left = queue.popleft()
        if id(value) in seen or isinstance(value, (*_CLOSED, *rngs)):
            continue
        seen.add(id(value))
        if not is_value(value):
            yield Part(path, value)
        if left:
            room = _MOST - len(seen) - len(queue)
            inside = zip(range(room), _inside(value), strict=False)
            queue.extend((path + suffix, part, left - 1) for _, (suffix, part) in inside)


def _inside(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from ((f"[{show(key)}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"[{number}]", part) for number, part in enumerate(value))
    elif isinstance(value, (set, frozenset)):
        yield from (("", part) for part in value)
    yield from ((f".{name}", part) for name, part in attributes(value, builtin=False))
