"""What the checkpoints of a loop are made of."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from trax import notices
from trax.calls.call import Call
from trax.errors import CodecError
from trax.storage.codec import Encoded, decode, encode
from trax.storage.context import Key
from trax.storage.records import CLOUDPICKLE
from trax.storage.run_writer import Generations
from trax.tracking.rng_tracking import RngTracking
from trax.tracking.tracker import Parts

__all__ = ["Checkpoints", "Prepared"]

_LARGE_FUNCTION = 1 << 16  # bytes; a lambda takes the globals that it uses along


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checkpoint that can be stored.

    Attributes
    ----------
    meta : dict
        Its meta record.
    parts : dict of str to Encoded
        Its parts.
    positions : dict
        What of the positions is in it, see `RngTracking.snapshot`.
    """

    meta: dict[str, Any]
    parts: dict[str, Encoded]
    positions: dict[Key, Parts]


class Checkpoints:
    """Stores the checkpoints of one run.

    Parameters
    ----------
    call : Call
        The call that the run is of.
    positions : RngTracking
        What is kept beside the state.
    generations : Generations
        The run, held for writing.

    Attributes
    ----------
    behind : bool
        Whether the last one failed.
    """

    def __init__(self, call: Call, positions: RngTracking, generations: Generations) -> None:
        self.behind = False
        self._call = call
        self._positions = positions
        self._generations = generations
        self._parts: dict[str, Encoded] = {}
        if call.mode == "function":
            with contextlib.suppress(CodecError):  # only trax.load(name) would miss it
                encoded = encode(call.options.replay_log, "replay_log")
                if encoded.nbytes < _LARGE_FUNCTION:
                    self._parts["replay_log"] = encoded

    def prove(self, state: Any) -> None:
        """Store and load the state once in memory: better to fail now than at a checkpoint."""
        encoded = self._positions.encode_state(state)
        decode(encoded, "state")
        if encoded.kind == CLOUDPICKLE:
            notices.info(
                f"{self._call.name}: the state holds a function or a class that no name leads to; "
                "it is stored with its code, and keeps that when the script changes"
            )

    def prepare(self, state: Any, step: int, result: Any, *, done: bool) -> Prepared:
        """Pickle what one is made of.

        Parameters
        ----------
        state : object
            The state.
        step : int
            Increments since the run began.
        result : object
            What the loop returned, or None.
        done : bool
            Whether the loop has ended.

        Raises
        ------
        CodecError
            Something cannot be pickled; nothing was stored.
        """
        call, positions = self._call, self._positions
        taken = positions.snapshot()
        parts = {"state": positions.encode_state(state), **self._parts}
        where, parts["context"] = positions.describe(taken)
        if result is not None:
            parts["result"] = encode(result, "result")
        meta = {
            "step": step,
            "done": done,
            "replay_log": call.mode,
            "arguments": call.described,
            "varying": call.varying,
            "code": call.code,
            "function": call.function.__qualname__,
            **where,
            "version": call.options.version,
        }
        return Prepared(meta, parts, taken)

    def store(self, prepared: Prepared, *, derived: bool) -> int:
        """Store one; `derived` says whether what is stored already leads to it.

        Returns
        -------
        int
            Its size, in bytes.
        """
        self.behind = True
        size = self._generations.checkpoint(prepared.meta, prepared.parts, derived=derived)
        self._positions.mark_stored(prepared.positions)
        self.behind = False
        return size
