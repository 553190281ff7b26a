"""Retention policies: values that choose which checkpoints of a run are kept.

`keep_every`, `keep_for` and `keep_bytes` make them, and ``|`` and ``&`` combine them::

    @trax.resumable(keep=trax.keep_every(steps=1000) | trax.keep_for(days=1))
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from operator import and_, or_
from typing import NamedTuple

from trax._public import public
from trax.display import show
from trax.errors import UsageError
from trax.policies import Call, Made, seconds
from trax.whole_numbers import check_whole

__all__ = ["ALL", "Keep", "Stored", "keep_bytes", "keep_every", "keep_for"]

_DAY = 86_400  # seconds


class Stored(NamedTuple):
    """A stored checkpoint, as a policy sees it.

    Attributes
    ----------
    generation : int
        The number in its name.
    step : int
        Its step.
    age : float
        The time since it was written, in seconds.
    size : int
        Its size, in bytes.
    log_bytes : int
        The size of all logs from its own on, in bytes.
    """

    generation: int
    step: int
    age: float
    size: int
    log_bytes: int


@public
class Keep(Made):
    """A policy that chooses the checkpoints of a run to keep.

    By ``|`` a checkpoint is kept if either policy keeps it. By ``&`` the second policy chooses
    among those that the first one keeps. The two newest checkpoints are kept in any case.
    """

    __slots__ = ("_text", "choose")

    def __init__(
        self, choose: Callable[[Sequence[Stored]], set[int]], text: str, made: Call
    ) -> None:
        super().__init__(made)
        self.choose = choose  # takes the checkpoints, oldest first, and returns generations
        self._text = text

    def __or__(self, other: Keep) -> Keep:
        if not isinstance(other, Keep):
            return NotImplemented
        text = f"({self!r} | {other!r})"
        made: Call = or_, (self, other), {}
        return Keep(lambda stored: self.choose(stored) | other.choose(stored), text, made)

    def __and__(self, other: Keep) -> Keep:
        if not isinstance(other, Keep):
            return NotImplemented

        def choose(stored: Sequence[Stored]) -> set[int]:
            kept = self.choose(stored)
            return other.choose([one for one in stored if one.generation in kept])

        return Keep(choose, f"({self!r} & {other!r})", (and_, (self, other), {}))

    def __repr__(self) -> str:
        return self._text


def _keep_all() -> Keep:
    """Return the policy that keeps all checkpoints."""
    return Keep(lambda stored: {one.generation for one in stored}, "'all'", (_keep_all, (), {}))


ALL = _keep_all()


@public
def keep_every(*, steps: int) -> Keep:
    """Return a policy that keeps one checkpoint for each so many steps.

    Logs are not thinned out: every step after the oldest checkpoint can still be loaded.

    Parameters
    ----------
    steps : int
        The number of steps. With 1000, the first checkpoint of the steps from 0 to 999 is kept,
        the first of those from 1000 to 1999, and so on.

    Returns
    -------
    Keep
        It combines with others by ``|`` and ``&``.

    Raises
    ------
    UsageError
        Unless `steps` is a whole number of at least 1.

    Examples
    --------
    >>> import trax
    >>> keep = trax.keep_every(steps=1000) | trax.keep_for(days=1)
    """
    steps = check_whole(steps, "keep_every: steps")

    def choose(stored: Sequence[Stored]) -> set[int]:
        return set({one.step // steps: one.generation for one in reversed(stored)}.values())

    return Keep(choose, f"keep_every(steps={steps})", (keep_every, (), {"steps": steps}))


@public
def keep_for(age: float | timedelta | None = None, *, days: float | None = None) -> Keep:
    """Return a policy that keeps the checkpoints of a past time, and the one before them.

    So every step of that time can be loaded.

    Parameters
    ----------
    age : float or timedelta, optional
        The time, in seconds or as a timedelta.
    days : float, optional
        The time in days, instead.

    Returns
    -------
    Keep
        It combines with others by ``|`` and ``&``.

    Raises
    ------
    UsageError
        Unless one of the two is given, as a positive, finite time.

    Examples
    --------
    >>> import trax
    >>> keep = trax.keep_for(days=7)
    """
    if (age is None) == (days is None):
        raise UsageError("keep_for needs a time: write keep_for(days=7), or give a timedelta.")
    if age is None:
        _check_positive(days, "keep_for: days")
        age = timedelta(days=days or 0)
    limit = seconds(age, "keep_for")

    def choose(stored: Sequence[Stored]) -> set[int]:
        older = [one.generation for one in stored if one.age > limit]
        return {one.generation for one in stored} - set(older[:-1])

    return Keep(choose, f"keep_for({limit:g})", (keep_for, (limit,), {}))


@public
def keep_bytes(size: float) -> Keep:
    """Return a policy that keeps the newest checkpoints which fit into a size with their logs.

    Parameters
    ----------
    size : int or float
        The size of the run's checkpoints and logs together, in bytes.

    Returns
    -------
    Keep
        It combines with others by ``|`` and ``&``: ``keep_every(steps=1000) & keep_bytes(10e9)``
        thins checkpoints out, and goes back as far as 10 GB suffice.

    Raises
    ------
    UsageError
        Unless `size` is a positive, finite number.

    Examples
    --------
    >>> import trax
    >>> keep = trax.keep_bytes(10e9)
    """
    _check_positive(size, "keep_bytes: size")

    def choose(stored: Sequence[Stored]) -> set[int]:
        kept: set[int] = set()
        total = 0
        for one in reversed(stored):
            total += one.size
            if total + one.log_bytes > size:
                break
            kept.add(one.generation)
        return kept

    return Keep(choose, f"keep_bytes({size:g})", (keep_bytes, (size,), {}))


def _check_positive(value: object, name: str) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:  # type: ignore[operator]
        raise UsageError(f"{name} must be a positive number, not {show(value)}")
