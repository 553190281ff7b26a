"""The type and the shape of an object: all that must stay the same of what is no plain data.

The weights of a model differ from process to process, and a client is another one each time. So a
call whose state is the loop's local variables is compared by content as far as it is given data,
and by types and shapes for all else.
"""

from __future__ import annotations

import dataclasses
import datetime
import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from inspect import getattr_static, isroutine
from pathlib import PurePath
from typing import Any
from uuid import UUID

from trax.calls.structure import LEAVES
from trax.storage.definitions import full_name, home

__all__ = ["is_data", "shape_of"]

_SEQUENCES = (list, tuple, set, frozenset, deque)
_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)
_VALUES = (*LEAVES, range, array, Decimal, Fraction, UUID, type)
_VALUE_CLASSES = (Enum, PurePath, datetime.date, datetime.time, datetime.timedelta)
_NAMESPACES = ("types.SimpleNamespace", "argparse.Namespace")
_LIBRARY = (
    *(("numpy", name) for name in ("ndarray", "generic", "dtype")),
    *(("pandas", name) for name in ("DataFrame", "Series", "Index")),
)


def is_data(value: Any) -> bool:
    """Return whether an object is plain data: numbers, texts, arrays, and containers of these.

    Data classes and namespaces are such containers.
    """
    waiting, met = [value], set[int]()
    while waiting:
        part = waiting.pop()
        if type(part) in LEAVES or id(part) in met:
            continue
        met.add(id(part))
        inner = _inner(part)
        if inner is None:
            return False
        waiting.extend(inner)
    return True


def _inner(part: Any) -> list[Any] | None:
    """Return what data consists of; None for an object that is no data."""
    kind = type(part)
    if kind in _SEQUENCES or (isinstance(part, tuple) and hasattr(kind, "_fields")):
        return [*part]
    if kind in _MAPPINGS:
        return [*part.keys(), *part.values()]
    if kind in _VALUES or issubclass(kind, _VALUE_CLASSES):
        return []
    if any(_is_a(kind, *name) for name in _LIBRARY):
        has_objects = _is_a(kind, "numpy", "ndarray") and part.dtype.hasobject
        return [*part.flat] if has_objects else []
    if dataclasses.is_dataclass(kind) or full_name(kind) in _NAMESPACES:
        return [*vars(part).values()] if hasattr(part, "__dict__") else None
    return None


def shape_of(value: Any, above: tuple[int, ...] = ()) -> Any:
    """Return data that is the same for objects of one type and shape; for data it is that itself.

    `above` has the ids of the objects that contain the object.
    """
    if is_data(value):
        return value
    kind, inside = type(value), (*above, id(value))
    if id(value) in above:
        return "cycle", above[::-1].index(id(value))
    if isroutine(value):
        return "function", home(getattr(value, "__module__", None)), value.__qualname__
    if kind in _MAPPINGS:
        parts = [(_key(key), shape_of(part, inside)) for key, part in value.items()]
        return kind, parts
    if kind in (list, tuple, deque):
        return kind, [shape_of(part, inside) for part in value]
    if _is_a(kind, "torch.nn", "Module"):
        return kind, {name: _measure(part) for name, part in value.state_dict().items()}
    return kind, _measure(value)


def _key(key: Any) -> Any:
    return key if is_data(key) else type(key)


def _measure(value: Any) -> Any:
    """Return the shape and the type of the items of an array of any library, if it is one."""
    if getattr_static(value, "shape", None) is None:  # an object may make any attribute up
        return ()
    try:
        return [int(n) for n in value.shape], str(getattr(value, "dtype", ""))
    except Exception:  # noqa: BLE001  # it has none, or its property raises anything
        return ()


def _is_a(kind: type, module: str, name: str) -> bool:
    found = getattr(sys.modules.get(module), name, None)
    return isinstance(found, type) and issubclass(kind, found)
