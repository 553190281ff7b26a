"""Checks, in the first steps of a call, that its loop can be resumed.

A loop should fail in its first second, not after a crash. So an increment and the state must pickle
and load again. ``replay_log`` must return the state, and draw random numbers only from RNGs in it.
And the loop should change nothing outside of the state, since a resumed loop finds it unchanged. A
resumed run is checked like a new one: it may run other code.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

from trax.errors import UsageError
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.checkpointer import Checkpointer
    from trax.engine.outer_objects import OuterObjects
    from trax.engine.surroundings import Surroundings
    from trax.storage.codec import Encoded
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["Preflight"]

_CHECKS = 2  # the second step shows whether a local variable changes
_COLLECTIONS: dict[type, str] = {list: "append", deque: "append", set: "add", dict: "update"}


class Preflight:
    """The checks of the first steps.

    Attributes
    ----------
    checks_left : int
        The number of steps that are still to be checked.
    frame : FrameType or None
        The frame of the generator that is driven, with these variables.
    """

    def __init__(
        self,
        call: Call,
        run_id: str,
        tracking: RngTracking,
        checkpointer: Checkpointer,
        surroundings: Surroundings,
        outer: OuterObjects,
    ) -> None:
        # Importing trax is faster without these.
        from trax.engine.proofs import Proofs
        from trax.engine.receipt import Receipt

        self._surroundings = surroundings
        self.checks_left = _CHECKS
        self._tracking = tracking
        self._checkpointer = checkpointer
        self._mode = call.log_mode
        self._clock = process.monotonic
        self._proofs = Proofs(call, run_id, checkpointer.encode_for_proof, outer)
        self._receipt = Receipt(call)
        self.frame: FrameType | None = None

    def begin(self, state: Any, size: int, *, is_new: bool) -> None:
        """Prepare the checks before the loop's body runs; `size` is that of the checkpoint."""
        self._proofs.begin(state, size, is_new=is_new)

    def check_increment(self, increment: Any, encoded: bytes | Encoded, state: Any) -> float:
        """Prove an increment before it is folded; return how long that took, in seconds.

        Raises
        ------
        UsageError
            The loop yielded nothing, and the increment would be the new state.
        CodecError
            The increment cannot be loaded again.
        """
        if not self.checks_left:
            return 0.0
        begun = self._clock()
        is_first = self.checks_left == _CHECKS
        if is_first and increment is None and state is not None and self._mode.replaces_state:
            raise UsageError(
                "The loop yielded None, which would replace its state.\n"
                "Yield the new state, since replay_log is left out.\n"
                "Or give replay_log=None, if the loop changes the state itself.\n"
                "Or give replay_log=, a function that makes the new state of state and increment."
            )
        if is_first and self._mode.replaces_state:
            self._proofs.report_found("type", partial(_other_type, state, increment))
        self._proofs.see_increment(increment, encoded, state)
        return self._clock() - begun

    def check_fold(self, before: Any, state: Any) -> None:
        """Prove the state that the first increments were folded into, before they are logged.

        Raises
        ------
        UsageError
            ``replay_log`` did not return the state, or drew random numbers of its own.
        CodecError
            The state cannot be stored, or cannot be loaded again.
        """
        is_first = self.checks_left == _CHECKS
        if is_first and self._mode.has_function and state is None and before is not None:
            raise UsageError(
                "replay_log returned None.\n"
                "It must return the state, even if it changes it in place, as in "
                "'state.append(increment); return state'."
            )
        drawn = self._tracking.drawn_outside()
        if drawn:
            raise UsageError(
                f"replay_log drew random numbers from {', '.join(drawn)}: a recovery would draw "
                "others.\n"
                "Draw them in the loop and yield them.\n"
                "Or draw from an RNG in the state."
            )
        if self.check_state(state):
            self._receipt.sign(before, state)

    def check_state(self, state: Any) -> bool:
        """Prove that the state can be stored and loaded; return whether it was, for its size."""
        return self._proofs.see_state(self._checkpointer.encode_for_proof(state))

    def check_step(self, state: Any) -> None:
        """Compare the state of a step that is done with its copy; check what is outside of it."""
        self._proofs.compare(state)
        self._proofs.report_found("forgotten", partial(self._receipt.forgotten, self.frame))
        self.checks_left -= 1
        self._surroundings.check(self.frame, state)
        if not self.checks_left:
            self.end()

    def check_again(self, state: Any, size: int) -> None:
        """Compare the state with its copy at a checkpoint, if that takes little time."""
        if not self.checks_left:
            self._proofs.compare_again(state, size)

    def end(self) -> None:
        """Forget what only the first steps need."""
        self.frame = None
        self._receipt.end()
        self._proofs.end_first_steps()


def _other_type(state: Any, increment: Any) -> str:
    """Return a line about a collection whose new state is none of its kind."""
    method = _COLLECTIONS.get(type(state))
    is_text = isinstance(increment, (str, bytes))
    is_collection = hasattr(increment, "__iter__") and not is_text
    is_like_dict = hasattr(increment, "keys")
    if method is None or (is_collection and is_like_dict == (method == "update")):
        return ""
    was, now = type(state).__name__, type(increment).__name__
    return (
        f"the state was of type {was}, and is now of type {now}: without replay_log= the increment "
        f"is the new state. Did you mean replay_log={method!r}?"
    )
