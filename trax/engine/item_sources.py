"""Refuses sources for `remaining` whose items come in another order in every process."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterable
from types import GeneratorType
from typing import Any

from trax.errors import UsageError
from trax.frames.unordered import unordered_source

__all__ = ["check_order", "check_source"]

_DEEP = 8  # iterators around iterators


def check_source(items: Any) -> None:
    """Refuse what cannot be iterated over.

    Raises
    ------
    UsageError
        It is such a source.
    """
    if isinstance(items, Iterable) or hasattr(items, "__getitem__"):
        return
    is_async = hasattr(items, "__aiter__")
    raise UsageError(
        f"remaining() takes an iterable, and {type(items).__name__!r} "
        f"{'is an async one' if is_async else 'is none'}.\n"
        + (
            "Collect the items first, as in [item async for item in items]."
            if is_async
            else "Give it the items, or use trax.steps(total) for numbers."
        )
    )


def check_order(items: Any) -> None:
    """Refuse what cannot be iterated over in the same order every time.

    Iterators are looked through, such as ``enumerate(as_completed(futures))``.

    Raises
    ------
    UsageError
        It is such a source.
    """
    found = [items]
    for _ in range(_DEEP):
        for source in found:
            _check_one(source)
        found = [inner for source in found for inner in _inside(source)]


def _check_one(source: Any) -> None:
    if isinstance(source, (set, frozenset)) or type(source) is type(iter(set())):
        raise UsageError(
            "remaining() needs items in the same order every time, and sets have none."
            "\nSort them, or give key=, by which items are known in whatever order they come."
        )
    if name := unordered_source(source):
        raise UsageError(
            f"remaining() needs items in the same order every time; {name} has another in each run."
            "\nHand out the tasks with remaining() and wait for the result of each.\n"
            "Or take the results in the order of the tasks, as Executor.map() and imap() do.\n"
            "Or give key=, by which items are known in whatever order they come."
        )


def _inside(source: Any) -> list[Any]:
    """Return the iterators that an iterator of the standard library, or of tqdm, takes from."""
    kind = type(source)
    if isinstance(source, GeneratorType):  # a generator expression, or tqdm's own
        variables = source.gi_frame.f_locals if source.gi_frame else {}
        owner = variables.get("self")
        found = [variables.get(".0"), owner if "tqdm" in type(owner).__module__ else None]
        return [inner for inner in found if inner is not None]
    if kind.__module__ in ("builtins", "itertools") and hasattr(source, "__next__"):
        return [inner for inner in _referents(source) if hasattr(inner, "__next__")]
    return [source.iterable] if "tqdm" in kind.__module__ and hasattr(source, "iterable") else []


def _referents(source: Any) -> list[Any]:
    """Return what an iterator refers to; in place of a tuple, such as that of `zip`, its parts."""
    if type(source) is type(iter(())):  # its items are not what it takes from
        return []
    found = gc.get_referents(source)
    if type(source) is itertools.chain:  # it goes through a tuple
        found += [inner for one in found for inner in gc.get_referents(one)]
    tuples = [inner for inner in found if type(inner) is tuple]
    return [*found, *itertools.chain.from_iterable(tuples)]
