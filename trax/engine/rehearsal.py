"""Replays a step on copies of its state and increment, as a recovery does, and compares the result.

Strategy: the state is encoded before the loop's body runs, and again when the body has yielded. If
the two differ, the body has changed the state, which only ``replay_log`` may do. Then copies of the
state and the increment are folded, and compared with a copy of the state that the live fold gave.
All of them have gone through a pickle, so no difference comes from that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from trax.comparing import ABSENT, IDENTITY, VALUE, Visitor, differences
from trax.engine.fidelity import is_cache
from trax.engine.sharing import Touched, overlap
from trax.engine.undo import undone
from trax.storage.codec import Encoded, Names, decode
from trax.tracking.rng_state import put_back, track
from trax.tracking.rngs import defaults, rng_types

if TYPE_CHECKING:
    from trax.engine.outer_objects import OuterObjects
    from trax.tracking.rng_discovery import OuterRngs

__all__ = ["Rehearsal", "body_change"]


class Rehearsal:
    """One step, to be replayed on copies once it is done.

    Parameters
    ----------
    encoded : Encoded
        The state before the fold, with buffers of its own.
    names : Names
        The meaning of the names in it.
    increment : object
        A copy of the increment.
    live_state, live_increment : object
        Both as they are now; they are not kept.
    outer : OuterObjects
        The objects outside of the state; copies may have those that it has lent.
    """

    def __init__(
        self,
        encoded: Encoded,
        names: Names,
        increment: Any,
        live_state: Any,
        live_increment: Any,
        outer: OuterObjects,
    ) -> None:
        self._state = decode(encoded, "state", names.for_copy())
        self._increment = increment
        self._overlap = overlap(live_increment, live_state)
        self._outer, self._lent = outer, outer.lent
        self._touched = Touched(live_state, self._state, self._lent)

    def difference(
        self,
        fold: Callable[[Any, Any], Any],
        expected: Any,
        outer: OuterRngs | None,
        seconds: float,
    ) -> str:
        """Replay the step; return a line about the first difference, or an empty text.

        `expected` is a copy of the state that the live fold gave. Draws from the RNGs outside of
        the state are undone, and so are changes of variables that the fold refers to.
        """
        touched = self._touched
        if not touched.is_separate or not self._outer.can_restore(self._lent):
            return ""
        with _kept(outer) as drawn, undone([fold, *touched.kinds], touched.members):
            try:
                state = fold(self._state, self._increment)
            except Exception as error:  # noqa: BLE001  # the live fold did not raise
                return (
                    f"replay_log raised {type(error).__name__}: {error}, when the step was "
                    "replayed on copies of the state and the increment, as a resumed run does. "
                    "It may depend on nothing but these two"
                )
        if outer is None and drawn:  # with rng=None the user answers for that
            return ""
        found = differences(
            expected, state, "state", sides=("live", "replayed"), identity=True, seconds=seconds
        )
        line = next((each.line for each in found if each.kind in (VALUE, IDENTITY)), "")
        if line and self._overlap:
            return (
                f"{self._overlap}, and a copy when it is replayed ({line}). Yield a copy, or a key "
                "by which replay_log finds the part in the state"
            )
        return line and (
            f"replay_log gives another state when the step is replayed on copies ({line}). It may "
            "depend on nothing but the state and the increment"
        )


def body_change(before: Encoded, now: Encoded, names: Names, seconds: float) -> str:
    """Return a line about the first change from one encoded state to another, or an empty text.

    RNGs do not count, since their positions are stored with each increment.
    """
    if before.payload == now.payload and before.buffers == now.buffers:
        return ""
    one, two = (decode(encoded, "state", names.for_copy()) for encoded in (before, now))
    found = differences(
        one,
        two,
        "state",
        sides=("before", "now"),
        ignored=rng_types(),
        visitor=_Caches(),
        seconds=seconds,
    )
    change = next((each for each in found if each.kind == VALUE), None)
    if change is None:
        return ""
    return (
        f"the loop has changed {change.path} ({change.values}), which only replay_log may do: a "
        "resumed run lacks the change. Put it into the increment, so that replay_log makes it; and "
        "yield copies of objects that change later"
    )


class _Caches(Visitor):
    """Passes over attributes that may be caches, which a method fills when it is called."""

    def skips(self, kind: type, name: str, one: Any, two: Any) -> bool:  # noqa: ARG002
        return is_cache(kind, name) or (name.startswith("_") and (one is None or one is ABSENT))


@contextlib.contextmanager
def _kept(outer: OuterRngs | None) -> Iterator[list[str]]:
    """Undo the draws in a block from RNGs outside of the state; yield the names of these RNGs."""
    rngs = defaults() if outer is None else outer.followed()
    before = [(name, tracked := track(rng), tracked.parts()) for name, rng in rngs]
    drawn: list[str] = []
    try:
        yield drawn
    finally:
        for name, tracked, parts in before:
            if tracked.parts() != parts:
                put_back(name, tracked, parts)
                drawn.append(name)
