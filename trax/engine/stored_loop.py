"""A plain loop as it is stored: its newest frame, and the increments after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trax.frames.later import path_of
from trax.frames.loading import loading
from trax.frames.locals import Locals
from trax.frames.state import END, LoopState
from trax.storage.codec import Encoded, Names, decode
from trax.storage.context import EDITION, Key
from trax.storage.partial import Absent, decode_partly

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.frames.edition import Edition

__all__ = ["StoredLoop", "load_frame", "load_locals", "recall"]


@dataclass(slots=True)
class StoredLoop:
    """The newest stored frame of a loop, and the increments after it.

    Attributes
    ----------
    encoded : Encoded or None
        The frame; it may be None, encoded or not, if the loop has not begun.
    step : int
        The step at whose yield it was taken.
    context : dict
        The positions of RNGs and output files there.
    behind : list of Encoded
        The increments after it.
    last : Encoded or None
        The newest increment, if it is in a log.
    migrate : callable or None
        Migrates the variables to the present version, if they are of another one.
    """

    encoded: Encoded | None
    step: int
    context: dict[Key, bytes]
    behind: list[Encoded] = field(default_factory=list)
    last: Encoded | None = None
    migrate: Callable[[Any], Any] | None = None

    @property
    def edition(self) -> Edition | None:
        """The text of the function when the frame was stored; None if the loop had not begun."""
        from trax.frames.edition import Edition  # importing trax is faster without it

        stored = self.context.get(EDITION)
        return None if stored is None else Edition.decode(stored)


def load_frame(
    loop: StoredLoop, names: Names | None, outside: Mapping[str, Any]
) -> LoopState | None:
    """Load the frame, with the objects to which it refers; None if the loop has not begun."""
    if loop.encoded is None:
        return None
    load = decode_partly if type(outside) is _Absent else decode
    stored = load(loop.encoded, "the loop's local variables", names, outside)
    state = None if stored is None else LoopState(*stored)
    if state is None or state.site == END or loop.migrate is None:
        return state
    given = Locals(state.variables, loop.step, _not_needed)
    return state.with_variables(loop.migrate(given))


def load_locals(loop: StoredLoop, names: Names | None) -> Locals:
    """Return the variables in the newest frame; nothing is run, and no call has arguments."""
    with loading(enters=False):
        return show_locals(load_frame(loop, names, _Absent()), loop.step)


def recall(encoded: Encoded, call: Call) -> Any:
    """Return the result of a loop that has ended, and put back what it changed in its arguments.

    The arguments are those of the present call; so is a result that was one of them.
    """
    from trax.frames.arguments import Arguments  # importing trax is faster without it

    arguments = Arguments(call.surroundings, call.options.varying)
    with loading():
        state = load_frame(StoredLoop(encoded, 0, {}), call.names, arguments.objects)
        assert state is not None
        arguments.restore(state.contents, call.options.renames)
    return state.increment


class _Absent(dict[str, Absent]):
    """Has a stand-in for each object outside of a frame, by its path."""

    def __missing__(self, path: str) -> Absent:
        name = path.removeprefix(path_of(""))
        text = f"argument {path}" if name == path else f"{name}, which is made again"
        absent = self[path] = Absent(text)
        return absent


def show_locals(state: LoopState | None, step: int, *, is_done: bool = True) -> Locals:
    """Return the variables in a loop's state, which is that of a step.

    A loop that has ended and is not done was left by an exception.
    """
    if state is None:
        return Locals({}, step, _not_begun)
    if state.site == END:
        missing = _ended if is_done else _broken
        return Locals({}, step, missing, result=state.increment if is_done else None)
    return Locals(state.variables, step, _not_needed)


def _not_begun(name: str) -> str:
    return f"there is no {name!r} yet: the loop has not come to its first yield"


def _ended(name: str) -> str:
    return (
        f"there is no {name!r} any more: the loop has ended. Let it return what is needed, which "
        "is the attribute `result` here, and what result() gives"
    )


def _broken(name: str) -> str:
    return f"there is no {name!r} any more: an exception ended the loop. load() has those stored"


def _not_needed(name: str) -> str:
    return (
        f"{name!r} is not stored: the loop does not need its value any more, or has no such "
        "variable"
    )
