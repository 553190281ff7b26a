"""Looks after everything that need not be looked at after each of many fast steps.

That is the checkpoint policy, signals and the time limit, output files that were closed, and the
progress bar. Where the policy must be exact, as `every_steps` is, the look comes after each step;
otherwise about once a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trax.policies import Since
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.integrations.tqdm import Bar
    from trax.interrupts.stop_request import StopRequest
    from trax.storage.run_writer import RunWriter
    from trax.tracking.output_files import OutputFiles

__all__ = ["CHECKPOINT", "SAVE", "Pulse"]

CHECKPOINT: Final = "checkpoint"  # the policy asks for one; it can wait
SAVE: Final = "save"  # the loop is about to stop

_PAUSE = 0.001  # seconds


class Pulse:
    """Decides what is due at a step, from the measurements since the last checkpoint.

    Parameters
    ----------
    since : Since
        The measurements that the policy is given.
    policy : callable
        Whether a checkpoint is due.
    stop_request : StopRequest
        Whether the loop is to stop.
    writer : RunWriter
        Tells how long the log is.
    outputs : OutputFiles
        The output files.
    bar : Bar or None
        The progress bar.
    replayed_bytes : int
        How long the logs are that were replayed when the run was resumed.

    Attributes
    ----------
    at : float
        The time, on the monotonic clock, from which a step is looked at.
    total : int or None
        How many steps the loop says it has, for the progress bar.
    """

    def __init__(
        self,
        since: Since,
        policy: Callable[[Since], bool],
        stop_request: StopRequest,
        writer: RunWriter,
        outputs: OutputFiles,
        bar: Bar | None,
        replayed_bytes: int,
    ) -> None:
        self.at = -math.inf
        self.total: int | None = None
        self.since = since
        self._policy = getattr(policy, "due", policy)
        self._pause = -math.inf if getattr(policy, "exact", True) else _PAUSE
        self._stop_request = stop_request
        self._writer = writer
        self._outputs = outputs
        self._bar = bar
        self._replayed_bytes = replayed_bytes
        self._sampled = since.step - 1
        self._clock = process.monotonic

    def wake(self) -> None:
        """Have the next step looked at; a signal handler or another thread may call this."""
        self.at = -math.inf

    def look(self, now: float) -> str:
        """Return `SAVE` or `CHECKPOINT` if that is due after a step, else an empty string."""
        since = self.since
        since.now = now
        since.log_bytes = self._replayed_bytes + self._writer.log_bytes
        self.at = now + self._pause
        stop_request = self._stop_request
        if stop_request.look(now, since.checkpoint_seconds):
            due: str = SAVE
        else:
            due = CHECKPOINT if self._policy(since) else ""
        self._outputs.tidy()
        stop_request.begin_step(self._clock())
        if self._bar is not None:
            self._bar.update(since.step, self.total)
        return due

    def end_due(self) -> None:
        """Take note that the work that was due is done: the next step begins here."""
        self._outputs.tidy()
        self._stop_request.begin_step(self._clock())

    def end_request(self) -> None:
        """Take the checkpoint that was asked for, if one was, as being stored now."""
        self._stop_request.asked = False

    def sample(self, seconds: float) -> None:
        """Add up the time that replaying the log takes, at so many seconds for each step."""
        since = self.since
        since.replay_seconds += seconds * (since.step - self._sampled)
        self._sampled = since.step

    def restart(self, begun: float) -> None:
        """Measure anew: a checkpoint was stored, or tried, from `begun` until now."""
        now = self._clock()
        self.since.checkpoint_seconds = now - begun
        self.since.restart(now)
        self._replayed_bytes = 0
        self.wake()

    def close(self) -> None:
        """Leave the progress bar at the last step."""
        if self._bar is not None:
            self._bar.close(self.since.step)
