"""Checkpoint policies: callables that decide from measurements if a checkpoint is due.

A policy takes a `Since` and returns True if a checkpoint is due. `every_steps`, `every_seconds` and
`automatic` make the usual ones; ``|`` and ``&`` combine them, and any callable is a policy::

    @trax.resumable(policy=trax.every_steps(1000) | trax.every_seconds(60))
    @trax.resumable(policy=lambda since: since.log_bytes > 1e9)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from operator import and_, or_
from typing import Any

from trax._public import public
from trax.display import show
from trax.errors import UsageError
from trax.whole_numbers import check_whole

_SMALL = 1 << 20  # bytes; a checkpoint of that size costs a few milliseconds
_LONGEST = 600.0  # seconds; damage in a log costs the work since the checkpoint before it
_EARLY = 60.0  # seconds; a minute with little stored would be lost by whoever tries trax

__all__ = [
    "Call",
    "Made",
    "Policy",
    "Since",
    "automatic",
    "every_seconds",
    "every_steps",
    "seconds",
]


@public
class Since:
    """The measurements since the last checkpoint; a policy reads them and changes nothing.

    Attributes
    ----------
    step : int
        Increments since the run began.
    now : float
        The time of the present step, in seconds of a monotonic clock.
    begun : float
        The time at which the call began, on the same clock.
    replay_seconds : float
        The time that replaying the log would take; if nothing is logged, repeating the steps.
    log_bytes : int
        The size of the logs that recovery would read, in bytes.
    checkpoint_seconds : float
        The time for which the last checkpoint kept the loop waiting; or half of the time that it
        took in the background, if that is longer.
    checkpoint_bytes : int
        The size of the last checkpoint, in bytes.
    checkpoints : int
        The number of checkpoints of this call: the valid one that it began with, if any, and those
        that it stored, or tried to store.
    is_logged : bool
        Whether increments are logged; if not, only a checkpoint stores what the loop has done.
    logs : int
        The number of logs that recovery would read.
    """

    __slots__ = (
        "begun",
        "checkpoint_bytes",
        "checkpoint_seconds",
        "checkpoints",
        "is_logged",
        "log_bytes",
        "logs",
        "now",
        "replay_seconds",
        "started",
        "started_step",
        "step",
    )

    def __init__(self, step: int, now: float) -> None:
        self.step = step
        self.begun = now
        self.checkpoint_seconds = 0.0
        self.checkpoint_bytes = 0
        self.checkpoints = 0
        self.is_logged = True
        self.restart(now)

    def restart(self, now: float) -> None:
        """Start measuring again: a checkpoint was stored, or tried, just now."""
        self.started = self.now = now
        self.started_step = self.step
        self.replay_seconds = 0.0
        self.log_bytes = 0
        self.logs = 1

    def resume(self, steps: int, replay_seconds: float, age: float) -> None:
        """Count the steps that were replayed; the checkpoint is `age` seconds old."""
        if steps:
            self.started_step = self.step - steps
            self.started = self.now - age
            self.replay_seconds = replay_seconds

    @property
    def steps(self) -> int:
        """Increments since the last checkpoint."""
        return self.step - self.started_step

    @property
    def seconds(self) -> float:
        """The time since the last checkpoint, in seconds."""
        return self.now - self.started


Call = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Made:
    """A value that is compared and pickled by the call of a public function that makes it."""

    __slots__ = ("_made",)

    def __init__(self, made: Call) -> None:
        self._made = made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Made) and self._made == other._made

    def __hash__(self) -> int:
        return hash(self._made[:2])

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        function, args, options = self._made
        return partial(function, **options), args


@public
class Policy(Made):
    """A callable that combines with others by ``|`` (either) and ``&`` (both).

    Parameters
    ----------
    due : callable
        Takes a `Since`, returns True if a checkpoint is due.
    exact : bool
        Whether it must be called after every step, as a callable of the user's is. Otherwise it is
        called once a millisecond, even if the loop takes many steps in that time.
    steps : int
        The steps since the last checkpoint from which on that holds; until then, once a millisecond
        suffices.
    made : tuple, optional
        The call that makes it, as a function, its arguments and those by keyword: by these it is
        pickled, and compared with other policies.
    """

    __slots__ = ("due", "exact", "steps")

    def __init__(
        self,
        due: Callable[[Since], bool],
        *,
        exact: bool = True,
        steps: int = 0,
        made: Call | None = None,
    ) -> None:
        super().__init__(made or (Policy, (due,), {"exact": exact, "steps": steps}))
        self.due = due
        self.exact = exact
        self.steps = steps

    def __call__(self, since: Since) -> bool:
        return self.due(since)

    def __or__(self, other: Callable[[Since], bool]) -> Policy:
        mine = self.due
        return self._with(or_, other, lambda since: mine(since) or other(since))

    def __and__(self, other: Callable[[Since], bool]) -> Policy:
        mine = self.due
        return self._with(and_, other, lambda since: mine(since) and other(since))

    def _with(
        self,
        join: Callable[..., Any],
        other: Callable[[Since], bool],
        due: Callable[[Since], bool],
    ) -> Policy:
        both = [self, other if isinstance(other, Policy) else Policy(other)]
        exact = [one.steps for one in both if one.exact]
        made: Call = join, (self, other), {}
        return Policy(due, exact=bool(exact), steps=min(exact, default=0), made=made)


@public
def every_steps(steps: int) -> Policy:
    """Return a policy by which a checkpoint is due after a number of increments.

    Parameters
    ----------
    steps : int
        The number of increments.

    Returns
    -------
    Policy
        It combines with others by ``|`` and ``&``.

    Raises
    ------
    UsageError
        Unless `steps` is a whole number of at least 1.

    Examples
    --------
    >>> import trax
    >>> policy = trax.every_steps(1000) | trax.every_seconds(60)
    """
    steps = check_whole(steps, "every_steps")
    made: Call = every_steps, (steps,), {}
    return Policy(lambda since: since.step - since.started_step >= steps, steps=steps, made=made)


@public
def every_seconds(duration: float | timedelta) -> Policy:
    """Return a policy by which a checkpoint is due after some time.

    Parameters
    ----------
    duration : float or timedelta
        The time, in seconds or as a timedelta.

    Returns
    -------
    Policy
        It combines with others by ``|`` and ``&``.

    Raises
    ------
    UsageError
        Unless `duration` is a positive, finite time.

    Examples
    --------
    >>> from datetime import timedelta
    >>> import trax
    >>> policy = trax.every_seconds(timedelta(minutes=5))
    """
    limit = seconds(duration, "every_seconds")
    made: Call = every_seconds, (limit,), {}
    return Policy(lambda since: since.now - since.started >= limit, exact=False, made=made)


@public
def automatic(
    *,
    overhead: float = 0.01,
    recovery_seconds: float | timedelta = 60.0,
    log_bytes: int = 64_000_000,
) -> Policy:
    """Return the default policy.

    A checkpoint is due when it is worth it and cheap. It is worth it if replaying the log would
    take longer than `recovery_seconds`, if the log has outgrown both `log_bytes` and twice the size
    of the checkpoint, or if the last one is ten minutes old; and always if increments are not
    logged. It is cheap if the loop waits for checkpoints for at most the fraction `overhead` of the
    time, and if writing them in the background takes at most twice that.

    A call that has only one good checkpoint to rely on stores a second one: at its first step if
    the checkpoint is small, else as soon as it is cheap. If increments are not logged, the call
    also stores one each time it is twice as old, in its first minute.

    Parameters
    ----------
    overhead : float
        The fraction of the time for which the loop may wait for checkpoints, between 0 and 1.
    recovery_seconds : float or timedelta
        The time that replaying the log may take.
    log_bytes : int
        The size, in bytes, up to which the log may grow in any case.

    Returns
    -------
    Policy
        It combines with others by ``|`` and ``&``.

    Raises
    ------
    UsageError
        Unless `overhead` is a fraction above 0 and up to 1, and `recovery_seconds` a positive,
        finite time.

    Examples
    --------
    >>> import trax
    >>> policy = trax.automatic(recovery_seconds=10)
    """
    if not 0 < overhead <= 1:
        raise UsageError(f"overhead must be between 0 and 1, not {show(overhead)}")
    target = seconds(recovery_seconds, "recovery_seconds")

    def due(since: Since) -> bool:
        age = since.now - since.started
        is_alone = since.checkpoints < 2
        if is_alone and since.checkpoint_bytes <= _SMALL:
            return True
        is_worth_it = (
            since.replay_seconds >= target
            or age >= _LONGEST
            or (since.log_bytes >= log_bytes and since.log_bytes >= 2 * since.checkpoint_bytes)
            or is_alone
            or not since.is_logged
        )
        if is_worth_it and age >= since.checkpoint_seconds / overhead:
            return True
        return not since.is_logged and _is_early(since)

    options = {"overhead": overhead, "recovery_seconds": target, "log_bytes": log_bytes}
    return Policy(due, exact=False, made=(automatic, (), options))


def _is_early(since: Since) -> bool:
    """Return whether, in its first minute, a call has become twice as old since the checkpoint."""
    age = since.now - since.started
    total = since.now - since.begun
    return total <= _EARLY and age >= total / 2 and age >= 10 * since.checkpoint_seconds


def seconds(duration: float | timedelta, name: str) -> float:
    """Return a duration in seconds, checked to be positive and finite."""
    value = _in_seconds(duration)
    if not 0 < value < math.inf:
        raise UsageError(
            f"{name} must be a positive number of seconds or a timedelta, not {show(duration)}"
        )
    return value


def wait_seconds(duration: float | timedelta) -> float:
    """Return the option ``wait`` in seconds, checked: it may be zero, and infinite."""
    value = _in_seconds(duration)
    if not value >= 0:
        raise UsageError(
            f"wait must be a number of seconds or a timedelta, not {show(duration)}.\n"
            "Give 0 not to wait at all."
        )
    return value


def _in_seconds(duration: object) -> float:
    """Return a duration in seconds; NaN if it is none."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    if isinstance(duration, (int, float)) and not isinstance(duration, bool):
        return float(duration)
    return math.nan
