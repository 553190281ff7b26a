"""Encodes the checkpoints of a run and stores them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.engine.first_state import describe, note_beginning
from trax.errors import CodecError, DurabilityError, StorageError
from trax.storage.codec import Encoded, encode, find_copy
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.load_proof import LoadProof
    from trax.engine.pulse import Pulse
    from trax.storage.context import Key
    from trax.storage.run_writer import RunWriter
    from trax.tracking.rng_tracking import RngTracking
    from trax.tracking.tracker import Parts

__all__ = ["Checkpointer"]

_LARGE_FUNCTION = 1 << 16  # bytes; the pickle of a lambda includes the globals that it uses


class Checkpointer:
    """Stores the checkpoints of one run; the pulse is told of each, and knows the step.

    Attributes
    ----------
    has_failed : bool
        Whether the last checkpoint failed.
    """

    def __init__(
        self,
        call: Call,
        writer: RunWriter,
        tracking: RngTracking,
        pulse: Pulse,
        proof: LoadProof,
    ) -> None:
        self.has_failed = False
        self._call = call
        self._writer = writer
        self._tracking = tracking
        self._pulse = pulse
        self._proof = proof
        self._since = pulse.since
        self._has_warned = False
        self._names = call.names
        self._told: set[str] = set()
        self._parts: dict[str, Encoded] = {}
        if call.log_mode.has_function:
            with contextlib.suppress(CodecError):  # only trax.load(name) needs it
                encoded = encode(call.log_mode.fold, "replay_log")
                if encoded.nbytes < _LARGE_FUNCTION:
                    self._parts["replay_log"] = encoded

    def encode_for_proof(self, state: Any) -> Encoded:
        """Pickle the state; say once of each class and function in it that its code is copied."""
        copied = self._names.definitions.copied
        copied.clear()
        encoded = self._tracking.encode_state(state)
        new = copied.keys() - self._told
        if new:
            path = find_copy(state, "state", new) or "the state"
            notices.info(
                f"{self._call.name}: {path} contains a function or a class that no name leads to; "
                "a copy of its code is stored, which later changes of the script do not reach"
            )
        self._told |= new
        return encoded

    def _encode_state(self, take: Callable[[], Any]) -> Encoded:
        """Pickle the state for a checkpoint; prove that classes which are new in it load again."""
        state = take()
        if isinstance(state, Encoded):
            return state
        encoded = self.encode_for_proof(state)
        is_first = not self._since.step  # the checks of the first step load it
        self._proof.prove_state(state, encoded, self._since.step, loads=not is_first)
        return encoded

    def store(
        self,
        take: Callable[[], Any],
        *,
        result: Any = None,
        done: bool = False,
        derived: bool = True,
    ) -> None:
        """Store a checkpoint at the present step.

        `take` returns the state, which may be encoded already. `result` is the loop's return value,
        and `done` tells whether it has ended. `derived` tells whether the previous checkpoint and
        the log lead to the same state.

        Raises
        ------
        CodecError
            Something cannot be pickled; the log still has everything.
        StorageError
            The disk refused; the previous checkpoint and the logs still give the state.
        """
        begun = process.monotonic()
        self.has_failed = True
        try:
            positions = self._tracking.snapshot()
            meta, parts = self._encode(take, result, positions, done=done)
            is_logged = self._call.log_mode.is_logged
            note = note_beginning(meta, parts) if is_logged and not self._since.checkpoints else b""
            size = self._writer.checkpoint(meta, parts, derived=derived and is_logged, note=note)
            self._tracking.mark_stored(positions)
            self.has_failed = False
            self._since.checkpoint_bytes = size
        finally:
            self._pulse.restart(begun)

    def store_if_possible(self, take: Callable[[], Any]) -> None:
        """Store a checkpoint; warn if that fails, since the logs have every increment.

        Raises
        ------
        CodecError
            The state cannot be pickled, and there is no log that has it.
        DurabilityError
            The log failed as well.
        """
        try:
            self.store(take)
        except DurabilityError:
            raise
        except (CodecError, StorageError) as error:
            if isinstance(error, CodecError) and not self._call.log_mode.is_logged:
                raise
            if not self._has_warned:
                cause = str(error).partition("\n")[0]
                notices.warn(f"{self._call.name} continues without a checkpoint for now: {cause}")
            self._has_warned = True
        else:
            self._has_warned = False

    def _encode(
        self, take: Callable[[], Any], result: Any, positions: dict[Key, Parts], *, done: bool
    ) -> tuple[dict[str, Any], dict[str, Encoded]]:
        """Return the meta record of a checkpoint, and its parts."""
        call, tracking = self._call, self._tracking
        parts = {"state": self._encode_state(take), **self._parts}
        tracked, parts["context"] = tracking.describe(positions)
        if result is not None:
            parts["result"] = encode(result, "result", self._names)
        meta = {"step": self._since.step, "done": done, **describe(call), **tracked}
        return meta, parts
