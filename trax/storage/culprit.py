"""Finds the part of an object that cannot be pickled, or has another fault, and names its path.

The search is bounded in time. A path is shown with its first and last steps if it is long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import takewhile
from types import FunctionType, GeneratorType, ModuleType
from typing import Any

from trax.display import show
from trax.storage.members import attributes, closure

__all__ = ["SECONDS", "find_culprit", "find_part"]

SECONDS = 1.0
_SHOWN = 8  # steps of a path
_KEY = 60  # characters of a key
_CONTAINERS = (dict, list, tuple, set, frozenset)


def _limit() -> Callable[[Any], bool]:
    """Return a function that is true until the time of a search is over."""
    end = time.monotonic() + SECONDS
    return lambda _: time.monotonic() <= end


def find_culprit(
    obj: Any, path: str, error: Exception, fault: Callable[[Any], Exception | None]
) -> tuple[str, Any, Exception]:
    """Find the smallest part that has a fault.

    Parameters
    ----------
    obj : object
        An object that has it.
    path : str
        Its name.
    error : Exception
        Its fault.
    fault : callable
        Returns the fault of a part, or None.

    Returns
    -------
    path : str
        The path of the part.
    part : object
        The part.
    error : Exception
        The fault of the part; that of the whole where it is too deep for the search.
    """
    is_in_time, seen = _limit(), {id(obj): obj}
    steps: list[str] = []
    found = True
    while found and getattr(error, "refused", None) is not obj:
        found = False
        for step, part in takewhile(is_in_time, _parts(obj)):
            if id(part) in seen:
                continue
            seen[id(part)] = part
            failure = fault(part)
            if failure is not None:
                obj, found = part, True
                error = error if isinstance(failure, RecursionError) else failure
                steps.append(step)
                break
    return _text(path, steps), obj, error


def find_part(
    obj: Any,
    path: str,
    is_wanted: Callable[[Any], bool],
    enters: Callable[[Any], bool] = lambda _: True,
) -> tuple[str, Any] | None:
    """Return the path of the nearest part that is wanted, and the part; None if there is none.

    Parts that the search `enters` are searched as well.
    """
    is_in_time, seen = _limit(), {id(obj): obj}
    level: list[tuple[tuple[str, ...], Any]] = [((), obj)]
    while level:
        for steps, one in level:
            if is_wanted(one):
                return _text(path, list(steps)), one
        following = []
        for steps, one in level:
            for step, part in takewhile(is_in_time, _parts(one) if enters(one) else ()):
                if id(part) not in seen:
                    seen[id(part)] = part
                    following.append(((*steps, step), part))
        level = following
    return None


def _text(path: str, steps: list[str]) -> str:
    if len(steps) > _SHOWN:
        half = _SHOWN // 2
        steps = [*steps[:half], f" ... {len(steps) - _SHOWN:,} steps ... ", *steps[-half:]]
    return path + "".join(steps)


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    kind = type(obj)
    base: Any = next((one for one in _CONTAINERS if issubclass(kind, one)), None)
    if base is dict:  # a subclass may have methods that raise
        yield from ((f"[{show(key, _KEY)}]", value) for key, value in dict.items(obj))
        yield from ((f" key {show(key, _KEY)}", key) for key in dict.__iter__(obj))
    elif base is not None:
        yield from ((f"[{index}]", value) for index, value in enumerate(base.__iter__(obj)))
    elif kind is FunctionType:
        yield from ((f" closure {name}", value) for name, value in closure(obj).items())
    elif kind is GeneratorType and obj.gi_frame is not None:
        yield from ((f".{name}", value) for name, value in obj.gi_frame.f_locals.items())
    if not issubclass(kind, (type, ModuleType)):  # which lead to all of the program
        yield from ((f".{name}", value) for name, value in attributes(obj, builtin=False))
