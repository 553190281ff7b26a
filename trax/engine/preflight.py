"""Checks, in the first steps of a call, that its loop can be resumed.

A loop should fail in its first second, not after a crash. So an increment and the state must pickle
and load again. ``replay_log`` must return the state, and draw random numbers only from RNGs in it.
And the loop should change nothing outside of the state, since a resumed loop finds it unchanged.
"""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Any

from trax.engine.surroundings import Surroundings
from trax.errors import UsageError
from trax.storage.codec import decode

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.checkpointer import Checkpointer
    from trax.storage.codec import Encoded
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["Preflight"]

_CHECKS = 2  # the second step shows whether a local variable changes


class Preflight:
    """The checks of the first steps.

    Attributes
    ----------
    is_proven : bool
        Whether an increment and the state have been proved, in this call or an earlier one.
    checks_left : int
        The number of steps whose local variables are still to be checked.
    frame : FrameType or None
        The frame of the generator that is driven, with these variables.
    """

    def __init__(
        self, call: Call, tracking: RngTracking, checkpointer: Checkpointer, *, is_proven: bool
    ) -> None:
        self.is_proven = is_proven
        self._surroundings = Surroundings(call)
        self.checks_left = _CHECKS
        self._tracking = tracking
        self._checkpointer = checkpointer
        self.frame: FrameType | None = None

    def prove_increment(self, encoded: bytes | Encoded, before: Any, state: Any) -> None:
        """Prove the first increment, and the state that it was folded into.

        Raises
        ------
        UsageError
            ``replay_log`` did not return the state, or drew random numbers of its own.
        CodecError
            The increment or the state cannot be stored, or cannot be loaded again.
        """
        if state is None and before is not None:
            raise UsageError(
                "replay_log returned None.\n"
                "It must return the state, even if it changes it in place, as in "
                "'state.append(increment); return state'."
            )
        decode(encoded, "increment")
        drawn = self._tracking.drawn_outside()
        if drawn:
            raise UsageError(
                f"replay_log drew random numbers from {', '.join(drawn)}: a recovery would draw "
                "others.\n"
                "Draw them in the loop and yield them.\n"
                "Or draw from an RNG in the state."
            )
        self.prove_state(state)

    def prove_state(self, state: Any) -> None:
        """Prove that the state can be stored and loaded."""
        self._checkpointer.prove(state)
        self.is_proven = True

    def check_surroundings(self, state: Any) -> None:
        """Tell of RNGs and other objects outside of the state that a resumed loop makes again."""
        self.checks_left -= 1
        self._tracking.check_strays(self.frame, state)
        self._surroundings.check(self.frame, state)
        if not self.checks_left:
            self.frame = None
