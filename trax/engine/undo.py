"""Undoes the changes that user code makes outside of the copies it is given, when it is tried.

Strategy: the variables that the code refers to are remembered with their values, and so is the
content of lists, dictionaries, sets and objects there, one level deep. Afterwards each that has
changed is put back. Effects on files, other systems and objects further away remain.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any

from trax.storage.members import closure
from trax.tracking.references import references

__all__ = ["undone"]

_MOST = 10_000  # items; larger containers are left as they are
_MISSING = object()

_Undo = Callable[[], None]


@contextlib.contextmanager
def undone(roots: Iterable[Any], objects: Iterable[Any]) -> Iterator[None]:
    """Undo what a block changes.

    Parameters
    ----------
    roots : iterable
        Functions and classes; what they refer to is put back.
    objects : iterable
        Objects whose attributes are put back as well.
    """
    undo = [*_variables(references(roots).searched), *filter(None, map(_content, objects))]
    try:
        yield
    finally:
        for each in undo:
            each()


def _variables(searched: Iterable[Any]) -> Iterator[_Undo]:
    met: set[int] = set()
    for owner in searched:
        for name, value in _values(owner):
            if isinstance(value, (FunctionType, classmethod, staticmethod, property)):
                continue
            yield _binding(owner, name, value)
            if id(value) not in met and not isinstance(value, type):
                met.add(id(value))
                if (content := _content(value)) is not None:
                    yield content


def _values(owner: Any) -> list[tuple[str, Any]]:
    if isinstance(owner, type):
        return [(name, value) for name, value in vars(owner).items() if not name.startswith("__")]
    variables = owner.__globals__
    names = [name for name in owner.__code__.co_names if name in variables]
    return [(name, variables[name]) for name in names] + list(closure(owner).items())


def _binding(owner: Any, name: str, value: Any) -> _Undo:
    """Return a function that binds a variable to its value again; a counter is made again."""
    counter = repr(value) if type(value) is itertools.count else ""

    def undo() -> None:
        again = value
        if counter and repr(value) != counter:
            numbers = ast.literal_eval(counter.removeprefix("count"))
            again = itertools.count(*(numbers if isinstance(numbers, tuple) else (numbers,)))
        if isinstance(owner, type):
            if vars(owner).get(name, _MISSING) is not again:
                setattr(owner, name, again)
        elif name in owner.__globals__:
            if owner.__globals__[name] is not again:
                owner.__globals__[name] = again
        elif closure(owner).get(name, _MISSING) is not again:
            owner.__closure__[owner.__code__.co_freevars.index(name)].cell_contents = again

    return undo


def _content(value: Any) -> _Undo | None:
    """Return a function that puts back the content of a container, or of an object."""
    if isinstance(value, FunctionType) or value is None:
        return None
    if isinstance(value, (list, bytearray)):
        return _items(value)
    if isinstance(value, (dict, set)):
        return _elements(value)
    named = getattr(value, "__dict__", None)
    if type(named) is not dict:
        return None
    inside = [_content(each) for each in named.values() if isinstance(each, (list, dict, set))]
    undo = [*filter(None, [_elements(named), *inside])]
    return lambda: deque((each() for each in undo), maxlen=0).clear()


def _items(value: Any) -> _Undo | None:
    if len(value) > _MOST:
        return None
    before = value[:]

    def undo() -> None:
        if list(map(id, value)) != list(map(id, before)):
            value[:] = before

    return undo


def _elements(value: Any) -> _Undo | None:
    if len(value) > _MOST:
        return None
    before = value.copy()

    def undo() -> None:
        if list(map(id, _parts(value))) != list(map(id, _parts(before))):
            value.clear()
            value.update(before)

    return undo


def _parts(value: Any) -> list[Any]:
    return [*value, *value.values()] if isinstance(value, dict) else [*value]
