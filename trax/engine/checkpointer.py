"""Encodes the checkpoints of a run and stores them.

Those that are due now and then are written in the background, if they are large. The log is
switched in the loop's thread, and until the checkpoint counts, the one before it and both logs give
the state. The loop waits for the others, which it relies on: the first one, the last one, and each
to which no log leads.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
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
    from trax.hooks import Hooks
    from trax.storage.context import Key
    from trax.storage.run_writer import RunWriter, Write
    from trax.tracking.rng_tracking import RngTracking
    from trax.tracking.tracker import Parts

__all__ = ["Checkpointer"]

_SMALL = 1 << 20  # bytes; smaller ones are not worth a thread
_SLOW = 1.0  # seconds of pickling that are worth a word
_SHARE = 0.02  # of the time
_LONGEST = 300.0  # seconds
_LARGE_FUNCTION = 1 << 16  # bytes; the pickle of a lambda includes the globals that it uses


class Checkpointer:
    """Stores the checkpoints of one run; the pulse is told of each, and knows the step.

    Attributes
    ----------
    has_failed : bool
        Whether the last checkpoint failed; not known while it is being written.
    """

    def __init__(
        self,
        call: Call,
        writer: RunWriter,
        tracking: RngTracking,
        pulse: Pulse,
        proof: LoadProof,
        hooks: Hooks,
    ) -> None:
        self.has_failed = False
        self._hooks = hooks
        self._noted: int | None = None  # the step of which the hooks were told last
        self._begun = 0, 0.0  # the step of the newest, and the time at which it was begun
        self._call = call
        self._writer = writer
        self._tracking = tracking
        self._pulse = pulse
        self._background = pulse.background
        self._proof = proof
        self._since = pulse.since
        self._has_warned = False
        self._is_slow = False  # the newest one, while its state was pickled
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
        waits: bool = True,
    ) -> None:
        """Store a checkpoint at the present step.

        `take` returns the state, which may be encoded already. `result` is the loop's return value,
        and `done` tells whether it has ended. `derived` tells whether the previous checkpoint and
        the log lead to the same state. Unless it `waits`, it may be written in the background.

        Raises
        ------
        CodecError
            Something cannot be pickled; the log still has everything.
        StorageError
            The disk refused; the previous checkpoint and the logs still give the state.
        """
        self.wait_silently()  # for the one before, which this one replaces
        begun = process.monotonic()
        self._begun = self._since.step, begun
        self.has_failed = True
        try:
            positions = self._tracking.snapshot()
            meta, parts = self._encode(take, result, positions, done=done)
            if not waits:
                self._tell_slow(process.monotonic() - begun, begun - self._since.started)
            is_logged = self._call.log_mode.is_logged
            note = note_beginning(meta, parts) if is_logged and not self._since.checkpoints else b""
            may_leave = not waits and self._may_leave(parts) and self._tracking.is_logged(positions)
            leave = partial(self._leave, parts) if may_leave else None
            derived = derived and is_logged
            size = self._writer.checkpoint(meta, parts, derived=derived, note=note, leave=leave)
            self._tracking.mark_stored(positions)
            self.has_failed = False
            self._since.checkpoint_bytes = size
            if self._background.job is None:
                self._note_stored()
        finally:
            self._pulse.restart(begun)

    def _may_leave(self, parts: Mapping[str, Encoded]) -> bool:
        """Whether a checkpoint is wanted in the background, and large enough for that."""
        return self._call.options.background and _size(parts) >= _SMALL

    def _leave(self, parts: dict[str, Encoded], write: Write) -> int:
        """Have the parts of a checkpoint written in the background; return their size."""
        try:
            self._background.begin(partial(write, self._background.copied(parts)))
        except MemoryError as error:
            self._tell_once("memory", f"waits while its checkpoints are written: {error}")
            return write(parts)
        return _size(parts)

    def wait_silently(self) -> None:
        """Wait for the checkpoint that is being written, if there is one."""
        with contextlib.suppress(Exception):
            self._wait()

    def wait_if_possible(self) -> None:
        """Do the same; warn if the checkpoint failed, as `store_if_possible` does."""
        self._try(self._wait)

    def end(self) -> None:
        """Do the same, and then release what was needed to store checkpoints."""
        self.wait_if_possible()
        self._background.end()

    def _wait(self) -> None:
        job = self._background.wait()
        if job is not None:
            self.has_failed = True
            self._pulse.measure_rest(job.seconds)
            self._since.checkpoint_bytes = job.result()
            self.has_failed = False
            self._note_stored()

    def _note_stored(self) -> None:
        step, begun = self._begun
        if step == self._noted:  # the last one only adds the result
            return
        self._noted = step
        seconds = process.monotonic() - begun
        self._hooks.note("checkpoint", step, seconds, self._since.checkpoint_bytes)

    def store_if_possible(self, take: Callable[[], Any]) -> None:
        """Store a checkpoint; warn if that fails, since the logs have every increment.

        Raises
        ------
        CodecError
            The state cannot be pickled, and there is no log that has it.
        DurabilityError
            The log failed as well.
        """
        self._try(partial(self.store, take, waits=False))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
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
            self._has_warned &= self._background.job is not None

    def _tell_slow(self, spent: float, age: float) -> None:
        """Say that pickling takes long, at a checkpoint that comes so long after another."""
        was_slow = self._is_slow
        self._is_slow = spent > max(_SLOW, _SHARE * min(age, _LONGEST))
        if was_slow and self._is_slow:  # once may be a process that was stopped meanwhile
            self._tell_once(
                "slow",
                f"waits {spent:.1f} s at each checkpoint, while its state is pickled. Large NumPy "
                "arrays take hardly any time, but many small objects do: keep their data in arrays",
            )

    def _tell_once(self, kind: str, line: str) -> None:
        if (self._writer.run, kind) not in process.said:
            process.said.add((self._writer.run, kind))
            notices.warn(f"{self._call.name} {line}")

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


def _size(parts: Mapping[str, Encoded]) -> int:
    return sum(part.nbytes for part in parts.values())
