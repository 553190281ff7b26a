"""Reads what an object refers to, as far as an RNG or a function can be reached by it.

Strategy: attributes and items are read without running code of the user's, and have the names of
these. What types written in C keep to themselves, such as iterators and caches, is asked of the
garbage collector, and has a number.
"""

from __future__ import annotations

import contextlib
import contextvars
import gc
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import BuiltinMethodType, CodeType, FunctionType, GeneratorType, ModuleType
from typing import Any, Final

from trax.storage.members import attributes, closure

__all__ = ["first_items", "items", "parts"]

_MOST: Final = 5_000  # items; containers with more are not searched
_FIRST: Final = 10
_PLAIN: Final = (int, float, complex, str, bytes, bool, type(None), CodeType)
_CONTAINERS: Final[tuple[Any, ...]] = (dict, list, tuple, deque, set, frozenset)
_Parts = list[tuple[str, Any]]
_NAMED: Final[dict[type, Callable[[Any], _Parts]]] = {
    BuiltinMethodType: lambda method: [(".__self__", method.__self__)],
    GeneratorType: lambda generator: _dotted(generator.gi_frame.f_locals),
    contextvars.ContextVar: lambda variable: [(".get()", variable.get())],
    weakref.ref: lambda reference: [("()", reference())],
}


def parts(place: str, value: Any) -> _Parts:
    """Return what an object refers to, with its places below that of the object.

    The attributes of modules and classes are left out; so are containers of over 5,000 items, and
    sets of several, whose order is another in each process.

    Examples
    --------
    >>> import random
    >>> rng = random.Random(1)
    >>> parts("table", {"draw": rng.random})
    [("table['draw']", <built-in method random of Random object at ...>)]
    >>> parts("draw", rng.random)
    [('draw.__self__', <random.Random object at ...>)]
    """
    kind = type(value)
    found: _Parts = []
    if kind in _CONTAINERS:  # most are, and these have no attributes
        found = [(f"[{key!r}]", item) for key, item in items(value) if type(item) not in _PLAIN]
    elif not issubclass(kind, (type, ModuleType, *_PLAIN)):
        with contextlib.suppress(Exception):  # an object may raise anything when it is read
            found = [(f"[{key!r}]", item) for key, item in items(value) if type(item) not in _PLAIN]
            found += _attributes(kind, value)
    return [(f"{place}{step}", part) for step, part in found if type(part) not in _PLAIN]


def first_items(value: Any) -> list[Any]:
    """Return the first items of a list, a tuple or a dictionary that is too large for `parts`."""
    base: Any = next((one for one in (dict, list, tuple) if issubclass(type(value), one)), None)
    if base is None or base.__len__(value) <= _MOST:
        return []
    return [*islice(dict.values(value) if base is dict else base.__iter__(value), _FIRST)]


def items(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the items of a container with their keys; none of those that `parts` leaves out.

    The methods that a subclass may have changed are not called.
    """
    # In a library that another thread is importing, names are missing.
    arrays: Any = getattr(sys.modules.get("numpy"), "ndarray", ())
    if issubclass(type(value), arrays):
        value = value.ravel().tolist() if value.dtype == object and value.size <= _MOST else ()
    base: Any = next((one for one in _CONTAINERS if issubclass(type(value), one)), None)
    if base is None or base.__len__(value) > (1 if base in (set, frozenset) else _MOST):
        return ()
    return [*dict.items(value)] if base is dict else enumerate([*base.__iter__(value)])


def _attributes(kind: type, value: Any) -> _Parts:
    if kind is FunctionType:
        defaults = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
        return [*_dotted(closure(value)), *_dotted(vars(value)), *_numbered(defaults)]
    found = _dotted(dict(attributes(value)))
    if kind in _NAMED:
        found += _NAMED[kind](value)
    if not issubclass(kind, _CONTAINERS):
        own = getattr(value, "__dict__", None)
        found += _numbered(one for one in gc.get_referents(value) if one is not own)
    return found


def _dotted(variables: Mapping[str, Any]) -> _Parts:
    return [(f".{name}", value) for name, value in variables.items()]


def _numbered(values: Iterable[Any]) -> _Parts:
    return [(f"({number})", value) for number, value in enumerate(values)]
