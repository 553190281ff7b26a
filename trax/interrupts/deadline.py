"""A call's time limit, and the moment at which its loop must stop to keep it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from trax.display import show
from trax.errors import UsageError
from trax.policies import seconds

__all__ = ["Deadline", "TimeLimit", "check_time_limit", "choose"]

TimeLimit = float | timedelta | Literal["auto"] | None

_MARGIN = 30.0  # seconds; and no more than
_MARGIN_PART = 0.05  # of the limit


def check_time_limit(limit: TimeLimit) -> float | Literal["auto"] | None:
    """Return the limit in seconds; ``"auto"`` and None are returned unchanged."""
    if limit is None:
        return None
    if limit == "auto":
        return "auto"
    try:
        return seconds(limit, "time_limit")
    except UsageError:
        raise UsageError(
            f"time_limit must be a positive number of seconds or a timedelta, not {show(limit)}.\n"
            "Or give 'auto', or None for none."
        ) from None


def choose(
    limit: float | Literal["auto"] | None, environment: Mapping[str, str], now: float
) -> float | None:
    """Return the time in seconds that a call may take from now on, or None for no limit.

    ``"auto"`` reads the end of the SLURM job from the environment. An end in the past belongs to
    another job and is ignored. `now` is in seconds since the epoch.
    """
    if limit != "auto":
        return limit
    try:
        remaining = float(environment["SLURM_JOB_END_TIME"]) - now
    except (KeyError, ValueError):
        return None
    return remaining if 0 < remaining < math.inf else None


class Deadline:
    """The time at which a call must have ended.

    A loop stops when the remaining time is less than its longest step, a checkpoint and a margin of
    30 seconds or 5 % of the limit, whichever is less. The limit is in seconds, and may be infinite;
    all times are those of one clock, which may be any.

    Attributes
    ----------
    longest : float
        The duration of the longest step, in seconds.
    """

    __slots__ = ("_at", "_begun", "_margin", "longest")

    def __init__(self, limit: float, now: float) -> None:
        self._at = now + limit
        self._margin = min(_MARGIN, limit * _MARGIN_PART)
        self.longest = 0.0
        self._begun = now

    def begin_step(self, now: float) -> None:
        """Measure a step from now on; many fast steps count as one."""
        self._begun = now

    def is_near(self, now: float, checkpoint_seconds: float) -> bool:
        """Return whether it is time to stop, at the end of a step."""
        self.longest = max(self.longest, now - self._begun)
        return self._at - now < self.longest + checkpoint_seconds + self._margin
