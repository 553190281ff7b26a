"""Checks, in the first steps of a call, that its loop can be resumed.

Better to fail in the first second than after the crash: an increment and the state must pickle and
load again, ``replay_log`` must return the state and draw no random numbers outside of it, and no
RNG may be kept where a resumed loop would make it anew.
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Any

from trax.errors import UsageError
from trax.storage.codec import decode

if TYPE_CHECKING:
    from trax.engine.checkpointer import Checkpointer
    from trax.storage.codec import Encoded
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["Preflight"]

_CHECKS = 2  # a local variable that changes shows at the second step


class Preflight:
    """The checks of the first steps.

    Parameters
    ----------
    tracking : RngTracking
        Which RNGs are tracked.
    checkpointer : Checkpointer
        Proves that the state can be stored.
    is_proven : bool
        Whether an earlier call has proved increments and state.

    Attributes
    ----------
    is_proven : bool
        Whether that is done.
    checks_left : int
        How many steps are still to be checked.
    """

    def __init__(
        self, tracking: RngTracking, checkpointer: Checkpointer, *, is_proven: bool
    ) -> None:
        self.is_proven = is_proven
        self.checks_left = _CHECKS
        self._tracking = tracking
        self._checkpointer = checkpointer
        self._frame: FrameType | None = None

    def begin(self, frame: FrameType) -> None:
        """Take note of the frame whose local variables are looked at."""
        self._frame = frame

    def end(self) -> None:
        """Let go of the loop."""
        self._frame = None

    def prove_increment(self, encoded: bytes | Encoded, before: Any, state: Any) -> None:
        """Prove the first increment, and the state that it was folded into.

        Raises
        ------
        UsageError
            ``replay_log`` did not return the state, or drew random numbers of its own.
        CodecError
            The increment or the state cannot be stored, or not be loaded again.
        """
        if state is None and before is not None:
            raise UsageError(
                "replay_log returned None: it must return the state, also where it changes it "
                "in place, as in 'state.append(increment); return state'"
            )
        decode(encoded, "increment")
        drawn = self._tracking.drawn_outside()
        if drawn:
            raise UsageError(
                f"replay_log drew random numbers from {', '.join(drawn)}: in a recovery they "
                "would be others. Draw them in the loop and yield them; or draw from a "
                "generator in the state."
            )
        self.prove_state(state)

    def prove_state(self, state: Any) -> None:
        """Prove that the state can be stored and loaded."""
        self._checkpointer.prove(state)
        self.is_proven = True

    def check_locals(self, state: Any) -> None:
        """Look for RNGs in local variables, which a resumed loop would make anew."""
        self.checks_left -= 1
        self._tracking.check_locals(self._frame, state)
        if not self.checks_left:
            self._frame = None
