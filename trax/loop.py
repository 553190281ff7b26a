"""Helpers inside a loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TypeVar

from trax import report
from trax.active import Engine, current
from trax.errors import UsageError

__all__ = ["remaining", "steps"]

T = TypeVar("T")


def steps(total: int) -> range:
    """Return the numbers of the steps still to do, from 0 to `total` in all.

    The progress bar is told the total. One increment must be yielded for each number.

    Parameters
    ----------
    total : int
        How many steps the loop has in all, not how many more.

    Raises
    ------
    UsageError
        Outside of a loop that trax runs, or if `total` is not a whole number of at least 0.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, replay_log=lambda total, square: total + square)
    ... def sum_of_squares(total, n):
    ...     for i in trax.steps(n):
    ...         total = yield i * i
    >>> sum_of_squares(n=4).result()
    14
    """
    if isinstance(total, bool) or not hasattr(total, "__index__") or total.__index__() < 0:
        raise UsageError(f"steps() takes a whole number of at least 0, not {total!r}")
    engine = _counting("trax.steps()")
    engine.total = total.__index__()
    if engine.step > engine.total:
        report.note(
            f"{engine.name} is at step {engine.step:,}, past the {engine.total:,} asked for"
        )
    return range(min(engine.step, engine.total), engine.total)


def remaining(items: Iterable[T]) -> Iterable[T]:
    """Return the items that are not yet done, counting one increment for each that is.

    A sequence is sliced; of any other iterable the first ones are skipped. The items must come
    in the same order every time.

    Parameters
    ----------
    items : iterable
        All items, those done included.

    Raises
    ------
    UsageError
        Outside of a loop that trax runs.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, replay_log=lambda total, length: total + length)
    ... def total_length(total, words):
    ...     for word in trax.remaining(words):
    ...         total = yield len(word)
    >>> total_length(words=["to", "be", "or"]).result()
    6
    """
    if isinstance(items, (set, frozenset)):
        raise UsageError(
            "remaining() needs items in an order that is the same every time: sort them"
        )
    engine = _counting("trax.remaining()")
    if isinstance(items, Sequence):
        engine.total = len(items)
        return items[engine.step :]
    return islice(items, engine.step, None)


def _counting(what: str) -> Engine:
    """Return the engine of the loop, for the one call that counts its steps."""
    engine = current(what)
    if engine.counted:
        raise UsageError(
            f"{what} was called a second time in {engine.name!r}. It counts the increments of the "
            "whole run: call it once, and make one loop of nested ones, as in "
            "remaining(itertools.product(a, b))."
        )
    engine.counted = True
    return engine
