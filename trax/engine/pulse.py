"""Does the work that once a millisecond suffices for, if there are many steps in one.

That is to ask the checkpoint policy, check for signals and the time limit, release output files
that were closed, and update the progress bar. A policy that must be exact, such as `every_steps`,
is asked after each step at which it may be due; any other about once a millisecond.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trax.engine.background import Background
from trax.policies import Policy, Since
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.hooks import Display
    from trax.interrupts.stop_request import StopRequest
    from trax.storage.run_writer import RunWriter
    from trax.tracking.output_files import OutputFiles

__all__ = ["CHECKPOINT", "SAVE", "WRITTEN", "Pulse"]

CHECKPOINT: Final = "checkpoint"  # the policy asks for one; it can wait
SAVE: Final = "save"  # the loop is about to stop
WRITTEN: Final = "written"  # in the background: there is no more to wait for

_PAUSE = 0.001  # seconds
_NEVER = sys.maxsize  # steps; to compare whole numbers with infinity takes longer
_BESIDE = 2  # times as long as the loop may wait for checkpoints, writing beside it may take
_MANY_LOGS = 8  # each restart leaves one, and opening the run reads them all


class Pulse:
    """Decides what is due at a step, from the measurements since the last checkpoint.

    `replayed_bytes` is the size of the logs that were replayed when the run was resumed.

    Attributes
    ----------
    at : float
        The time on the monotonic clock, in seconds, from which on a step calls `look`.
    at_step : int
        The step from which on each calls `look` as well.
    total : int or None
        The total number of steps; None if neither an option nor the loop has given it.
    background : Background
        Room for a checkpoint that is being written; another one that is due waits for it.
    """

    def __init__(
        self,
        since: Since,
        policy: Callable[[Since], bool],
        stop_request: StopRequest,
        writer: RunWriter,
        outputs: OutputFiles,
        display: Display | None,
        replayed_bytes: int,
    ) -> None:
        self.at = -math.inf
        self.at_step = 0
        self.total: int | None = None
        self.since = since
        self.background = Background()
        self._policy = policy
        self._steps = 0  # from one checkpoint to where the policy must be asked at each step
        if isinstance(policy, Policy):
            self._policy = policy.due  # one call less
            self._steps = policy.steps if policy.exact else _NEVER
        self._stop_request = stop_request
        self._writer = writer
        self._outputs = outputs
        self._display = display
        self._replayed_bytes = replayed_bytes
        self._sampled = since.step - 1
        self._is_due = False  # a checkpoint, once the one that is being written is done
        self._stall = since.checkpoint_seconds  # of the loop, by the last checkpoint
        self._rest = 0.0  # seconds that it took in the background
        self._clock = process.monotonic

    def wake(self) -> None:
        """Make `look` due at the next step; a signal handler or another thread may call this."""
        self.at = -math.inf

    def look(self, now: float) -> str:
        """Return what is due after a step: `SAVE`, `CHECKPOINT`, `WRITTEN` or an empty string."""
        since = self.since
        since.now = now
        since.log_bytes = self._replayed_bytes + self._writer.log_bytes
        self.at = now + _PAUSE
        self.at_step = since.started_step + self._steps
        stop_request, job = self._stop_request, self.background.job
        # A stop first waits for the checkpoint that is being written.
        if stop_request.look(now, self._stall + self._rest * (1 if job is None else 2)):
            due: str = SAVE
        else:
            if self._policy(since) or since.logs >= _MANY_LOGS:
                self._is_due = True
            if job is None:
                due = CHECKPOINT if self._is_due else ""
            else:
                due = WRITTEN if job.is_done else ""
        self._outputs.tidy()
        stop_request.begin_step(self._clock())
        self.show()
        return due

    def show(self) -> None:
        """Update the progress bar."""
        if self._display is not None:
            self._display.update(self.since.step, self.total)

    def end_due(self) -> None:
        """Start the next step here: a checkpoint or the first checks may have taken long."""
        self._outputs.tidy()
        self._stop_request.begin_step(self._clock())

    def end_request(self) -> None:
        """Clear the request for a checkpoint: it is being stored now."""
        self._stop_request.asked = False

    def sample(self, seconds: float) -> None:
        """Count `seconds` of replay time for each step since the last sample."""
        since = self.since
        since.replay_seconds += seconds * (since.step - self._sampled)
        self._sampled = since.step

    def restart(self, begun: float) -> None:
        """Restart the measurements: a checkpoint was stored, or tried, from `begun` until now.

        If it is still being written, that is taken to last as long as for the one before.
        """
        now = self._clock()
        before, self._stall = self._stall + self._rest, now - begun
        is_written = self.background.job is None
        self.measure_rest(0.0 if is_written else max(0.0, before - self._stall))
        self._is_due = False
        self.since.checkpoints += 1
        self.since.restart(now)
        self._replayed_bytes = 0
        self.wake()

    def measure_rest(self, seconds: float) -> None:
        """Take note of the time that the last checkpoint takes in the background."""
        self._rest = seconds
        self.since.checkpoint_seconds = max(self._stall, seconds / _BESIDE)

    def close(self) -> None:
        """Leave the progress bar at the last step."""
        if self._display is not None:
            self._display.close(self.since.step)
