"""The RNGs and the attributes of an iterable as they are before a loop goes through it.

A loader may shuffle its list in place, or count its epochs, each time that it is gone through. To
go through it once more, what has changed since is put back for that time.
"""

from __future__ import annotations

import collections
import contextlib
import io
import operator
import sys
import types
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from trax.frames.remade_kinds import CONSTANTS
from trax.tracking.rng_state import track
from trax.tracking.rngs import canonical, is_rng

__all__ = ["Changes", "SourceState", "positions", "rewound"]

_OBJECTS: Final = 100  # of a source that are looked at
_LENGTH: Final = 1_000_000  # of a container that is copied
_CONTAINERS: Final = (list, dict, set, collections.deque, bytearray)
_SKIPPED: Final = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType)

Changes = tuple[
    list[tuple[Any, tuple[bytes, ...]]], list[tuple[Any, dict[str, Any]]], list[tuple[Any, int]]
]
"""RNGs and objects, each with its position or attributes before; and files, with theirs."""


class SourceState:
    """The state of an iterable before a loop goes through it.

    Parameters
    ----------
    source : object
        The iterable.
    files : list, optional
        Files that it reads, with their positions before it was made.
    """

    def __init__(self, source: Any, files: list[tuple[Any, int]] | None = None) -> None:
        self._rngs: list[tuple[Any, tuple[bytes, ...]]] = []
        self._attributes: list[tuple[Any, dict[str, Any]]] = []
        self._files = files if files is not None else positions(_objects(source))
        for one in _objects(source):
            if is_rng(one):
                self._rngs.append((one, track(one).parts()))
            elif not isinstance(one, io.IOBase):
                self._attributes.append((one, {k: _copied(v) for k, v in vars(one).items()}))

    def changes(self) -> Changes:
        """Return what is different now, each with its value before."""
        rngs = [(rng, parts) for rng, parts in self._rngs if track(rng).parts() != parts]
        attributes = []
        for one, before in self._attributes:
            now = vars(one)
            changed = {k: v for k, v in before.items() if k in now and not _is_same(v, now[k])}
            if changed:
                attributes.append((one, changed))
        files = [(file, place) for file, place in self._files if not file.closed]
        return rngs, attributes, files


def positions(objects: Iterable[Any]) -> list[tuple[Any, int]]:
    """Return the files among some objects that can be read once more, with their positions."""
    files = [one for one in objects if isinstance(one, io.IOBase)]
    return [(one, one.tell()) for one in files if not one.closed and one.seekable()]


def _objects(source: Any) -> Iterator[Any]:
    """Yield the RNGs in an object, and the objects that have attributes; the nearest ones first."""
    waiting, seen = deque([source]), {id(source)}
    while waiting and len(seen) <= _OBJECTS:
        one = waiting.popleft()
        parts: list[Any] = []
        if is_rng(one):
            yield canonical(one)
        elif isinstance(one, io.IOBase):
            yield one
        elif isinstance(one, types.MethodType):
            parts = [one.__self__]
        elif isinstance(one, list | tuple) and len(one) <= _OBJECTS:
            parts = [*one]
        elif _has_attributes(one) and not isinstance(one, _SKIPPED):
            yield one
            parts = [*vars(one).values()]
        for part in parts:
            if id(part) not in seen and not isinstance(part, CONSTANTS):
                seen.add(id(part))
                waiting.append(part)


def _has_attributes(one: Any) -> bool:
    try:
        return isinstance(one.__dict__, dict)
    except Exception:  # noqa: BLE001  # a proxy may raise anything
        return False


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject


def _copied(value: Any) -> Any:
    if type(value) in _CONTAINERS and len(value) <= _LENGTH:
        return value.copy()
    if _is_array(value) and value.size <= _LENGTH:
        return value.copy()
    return value


def _is_same(before: Any, now: Any) -> bool:
    if before is now:
        return True
    if type(before) is not type(now):
        return False
    if _is_array(before):
        return before.shape == now.shape and bool(before.tobytes() == now.tobytes())
    if type(before) is dict:
        return _is_same([*before], [*now]) and _is_same([*before.values()], [*now.values()])
    if type(before) in _CONTAINERS:
        return len(before) == len(now) and all(map(operator.is_, before, now))
    return type(before) in (*CONSTANTS, tuple) and bool(before == now)


@contextlib.contextmanager
def rewound(changes: Changes) -> Iterator[None]:
    """Put back what has changed in a source while a block runs."""
    rngs, attributes, files = changes
    present = [(rng, track(rng).parts()) for rng, _ in rngs]
    values = [(one, {k: _copied(vars(one).get(k)) for k in before}) for one, before in attributes]
    _set(rngs, attributes)
    for file, place in files:  # it is read once more, up to its present place
        file.seek(place)
    try:
        yield
    finally:
        _set(present, values)


def _set(rngs: list[tuple[Any, tuple[bytes, ...]]], attributes: list[tuple[Any, Any]]) -> None:
    for rng, parts in rngs:
        track(rng).restore(parts)
    for one, values in attributes:
        for name, value in values.items():
            if not _is_replaced(vars(one).get(name), value):
                vars(one)[name] = _copied(value)


def _is_replaced(present: Any, value: Any) -> bool:
    """Replace the content of a container by another one, if that is possible."""
    if type(present) is not type(value):
        return False
    if _is_array(present) and present.shape == value.shape and present.dtype == value.dtype:
        present[...] = value
    elif type(present) in (list, bytearray):
        present[:] = value
    elif type(present) in (dict, set):
        present.clear()
        present.update(value)
    elif type(present) is collections.deque:
        present.clear()
        present.extend(value)
    else:
        return False
    return True
