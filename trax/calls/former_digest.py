"""Digests of values of version 1, for comparison with those that runs were stored with.

They contain the full names of classes and functions, bytecode, and the arguments with which objects
pickle, so that another version of Python or NumPy can change them. The order of dicts does not
count.
"""

from __future__ import annotations

import copyreg
import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any

from xxhash import xxh3_128

from trax.calls.bytecode import content
from trax.storage.members import is_routine
from trax.storage.unpickler import present_name
from trax.tracking.rngs import canonical, seed_of

__all__ = ["former_digest"]


def former_digest(value: Any, names: Mapping[str, str], above: tuple[int, ...] = ()) -> str:
    """Return the digest of a value; errors of its pickling are passed on.

    `names` has other names for classes, functions and modules, by their present ones; see
    `present_name`. `above` has the ids of the objects that contain the value.
    """
    digest = xxh3_128()
    _feed(digest.update, value, names, above)
    return digest.hexdigest()


def _feed(
    update: Callable[[Any], None], value: Any, names: Mapping[str, str], above: tuple[int, ...]
) -> None:
    """Feed the structure of a value; `above` has the ids of the objects that contain it."""

    def head(kind: str, size: int) -> None:
        update(f"{kind}:{size};".encode())

    def leaf(kind: str, content: Any) -> None:
        view = memoryview(content).cast("B")
        head(kind, len(view))
        update(view)

    inside = (*above, id(value))

    def each(values: Iterable[Any]) -> None:
        for part in values:
            _feed(update, part, names, inside)

    def unordered(values: Iterable[Any]) -> None:
        for digest in sorted(former_digest(part, names, inside) for part in values):
            leaf("part", digest.encode())

    kind = type(value)
    if id(value) in above:
        head("cycle", above[::-1].index(id(value)))
    elif kind is int:
        leaf("int", hex(value).encode())
    elif value is None or kind in (bool, float, complex):
        leaf(kind.__name__, repr(value).encode())
    elif kind is str:
        leaf("str", value.encode("utf-8", "surrogatepass"))
    elif kind in (bytes, bytearray):
        leaf(kind.__name__, value)
    elif isinstance(value, PurePath):
        leaf("path", os.fsencode(value))
    elif kind in (tuple, list):
        head(kind.__name__, len(value))
        each(value)
    elif kind in (set, frozenset):
        head(kind.__name__, len(value))
        unordered(value)
    elif kind is dict:
        head("dict", len(value))
        unordered(value.items())
    elif (seed := seed_of(value)) is not None:  # its position is stored with the run
        each([kind, type(canonical(value)), seed.entropy, seed.spawn_key])
    elif isinstance(value, ModuleType):
        leaf("module", present_name(value.__name__, names).encode())
    elif isinstance(value, type) or is_routine(value):
        name = f"{value.__module__}.{value.__qualname__}"
        leaf("name", present_name(name, names).encode())
        each(_distinctions(value))
    else:
        reduce = copyreg.dispatch_table.get(kind)
        reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        head("object", 1)
        if isinstance(reduced, str):
            each([kind, reduced])
        else:
            function, args, *rest = reduced
            state, items, pairs = [*rest, None, None, None][:3]
            if kind is partial:  # whoever looks at its attributes gives it an empty dictionary
                state = (*state[:3], state[3] or None)
            each([function, args, state, list(items or ())])
            each([list(pairs)] if isinstance(value, OrderedDict) else [dict(pairs or ())])


def _distinctions(routine: Any) -> list[Any]:
    """Return the parts of a function that its name does not determine."""
    owner = getattr(routine, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        return [owner]
    if isinstance(routine, FunctionType) and "<" in routine.__qualname__:
        cells = [cell.cell_contents for cell in routine.__closure__ or ()]
        code = repr(content(routine.__code__))
        return [code, routine.__defaults__, routine.__kwdefaults__, cells]
    return []
