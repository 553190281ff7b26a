"""Proves that steps and states come back from the disk as they are, and reports each flaw once.

Strategy: all of this costs time, so it is done in the first steps of a process, and then at
checkpoints, as long as it takes no more than 1 % of the run's time. A state of more than 64 MB is
never copied. An object that cannot be compared is passed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from trax import notices
from trax.engine.fidelity import ORDER, flaws
from trax.engine.rehearsal import Rehearsal, body_change
from trax.engine.sharing import Shared, landmarks
from trax.errors import CodecError
from trax.storage.codec import Encoded, decode
from trax.storage.process import process

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.engine.outer_objects import OuterObjects

__all__ = ["LARGE", "Proofs"]

LARGE = 64 << 20  # bytes; a state of this size is not copied
_SHARE = 0.01  # of the run's time, which proofs may take after the first steps
_SECONDS = 0.3  # that a comparison may take
_SLOW = 1.0  # seconds; a fold that takes longer is not repeated


class Proofs:
    """The proofs of one run; `encode` pickles its state, and `outer` has objects outside of it."""

    def __init__(
        self, call: Call, run_id: str, encode: Callable[[Any], Encoded], outer: OuterObjects
    ) -> None:
        self._outer = outer
        self._name = call.name
        self._names = call.names
        self._encode = encode
        self._run_id = run_id
        self._call = call
        self._mode = call.log_mode
        self._clock = process.monotonic
        self._begun = self._clock()
        self._spent = self._last = 0.0
        self._landmarks: dict[int, str] | None = None
        self._shared: Shared | None = None
        self._before: Encoded | None = None
        self._rehearsal: Rehearsal | None = None
        self._loaded: tuple[Any] | None = None
        self._folding = 0.0

    # -- before the body of the loop runs --------------------------------------------------

    def begin(self, state: Any, size: int, *, is_new: bool) -> None:
        """Remember a state before the loop's body runs; `size` is that of its checkpoint."""
        if size > LARGE:
            return
        with self._timed():
            if is_new:
                self._shared = Shared(state, self._call)
            if self._mode.has_function:
                self._remember(self._encode(state))

    def _remember(self, encoded: Encoded) -> None:
        self._before = encoded.copied() if encoded.nbytes <= LARGE else None

    # -- at a step -------------------------------------------------------------------------

    def see_increment(self, increment: Any, encoded: bytes | Encoded, state: Any) -> None:
        """Prove an increment before it is folded, and prepare to replay the step.

        Raises
        ------
        CodecError
            The increment cannot be loaded again.
        """
        size = len(encoded) if isinstance(encoded, bytes) else encoded.nbytes
        if size > LARGE:
            return
        own = encoded if isinstance(encoded, bytes) else encoded.copied()
        with (proving := self._outer.proving()):
            loaded = decode(own, "increment", self._names.for_copy())
        with self._timed():
            where = "state" if self._mode.replaces_state else "increment"
            is_faithful = self._report_flaws(increment, loaded, where)
            before, self._before = self._before, None
            if before is not None:
                now = self._encode(state).copied()
                change = body_change(before, now, self._names, _SECONDS)
                self._report("body", change)
                if is_faithful and not change:
                    with proving:
                        self._rehearsal = Rehearsal(
                            now, self._names, loaded, state, increment, self._outer
                        )
        self._folding = self._clock()

    def see_state(self, encoded: Encoded) -> bool:
        """Take the encoded state after a step, which must load again; return False if it is large.

        Raises
        ------
        CodecError
            It cannot be loaded again.
        """
        self._folding = self._clock() - self._folding
        self._loaded = None
        if encoded.nbytes > LARGE:
            return False
        with self._outer.proving():
            self._loaded = (decode(encoded.copied(), "state", self._names.for_copy()),)
        if self._mode.has_function:
            self._remember(encoded)
        return True

    def compare(self, state: Any) -> None:
        """Compare the state with its copy, and with the result of replaying the step."""
        loaded, self._loaded = self._loaded, None
        rehearsal, self._rehearsal = self._rehearsal, None
        if loaded is None:
            return
        with self._timed():
            is_faithful = self._report_flaws(state, loaded[0], "state")
            if rehearsal is not None and is_faithful and self._folding < _SLOW:
                fold, outer = self._mode.fold, self._call.outer_rngs
                line = rehearsal.difference(fold, loaded[0], outer, _SECONDS)
                self._report("replay", line)
            if self._shared is not None:
                self._report("shared", self._shared.changed())

    def report_found(self, kind: str, find: Callable[[], str]) -> None:
        """Report the line that a function finds, if it finds one."""
        with self._timed():
            self._report(kind, find())

    def end_first_steps(self) -> None:
        """Forget everything that was kept to compare the first steps."""
        self._before = self._rehearsal = self._shared = self._loaded = None

    # -- at a checkpoint -------------------------------------------------------------------

    def compare_again(self, state: Any, size: int) -> None:
        """Compare the state with its copy, if there is time for that."""
        elapsed = self._clock() - self._begun
        if size > LARGE or self._spent + self._last > _SHARE * elapsed:
            return
        with self._timed(), contextlib.suppress(CodecError):
            loaded = decode(self._encode(state).copied(), "state", self._names.for_copy())
            self._report_flaws(state, loaded, "state")

    # -- reports ---------------------------------------------------------------------------

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time of a block; an object that cannot be compared ends it."""
        begun = self._clock()
        try:
            with contextlib.suppress(Exception):
                yield
        finally:
            self._last = self._clock() - begun
            self._spent += self._last

    def _report_flaws(self, live: Any, loaded: Any, where: str) -> bool:
        """Report the flaws of a copy; return whether it can be replayed on like the original."""
        if self._landmarks is None:
            self._landmarks = landmarks(self._call)
        found = dict(
            flaws(
                live,
                loaded,
                where,
                self._landmarks,
                _SECONDS,
                ignores_order=partial(self._ignores_order, live),
            )
        )
        for kind, line in found.items():
            self._report(kind, line)
        return found.keys() <= {ORDER}

    def _ignores_order(self, state: Any, path: str) -> bool:
        from trax.engine.set_uses import ignores_order  # seldom needed

        return ignores_order(self._call, state, path)

    def _report(self, kind: str, line: str) -> None:
        if line and (self._run_id, kind) not in process.said:
            process.said.add((self._run_id, kind))
            notices.warn(f"{self._name}: {line}")
