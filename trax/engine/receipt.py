"""Checks that a loop takes the new state that its `yield` returns."""

from __future__ import annotations

import dis
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from trax.comparing import differences

if TYPE_CHECKING:
    from trax.calls.call import Call

__all__ = ["Receipt"]

_SECONDS = 0.1  # that a comparison may take
_AFTER_YIELD = 1  # the argument of the instruction RESUME; others follow yield from and await


class Receipt:
    """The state before a step and the one after it; the loop should now have the latter."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._states: tuple[Any, Any] | None = None
        self._next: tuple[Any, Any] | None = None

    def sign(self, before: Any, after: Any) -> None:
        """Record a step; the loop gets the state afterwards."""
        self._states, self._next = self._next, (before, after)

    def forgotten(self, frame: FrameType | None) -> str:
        """Return a line if the loop goes on with a former state, or an empty text.

        It does if its parameter still is that state, with another value than the newest one, if no
        variable is the new state, and if the parameter is read where the loop yields again.
        """
        if self._states is None or self._next is None or frame is None:
            return ""
        (before, after), (_, newest) = self._states, self._next
        name = self._call.state_parameter
        variables = frame.f_locals
        if before is after or variables.get(name, after) is not before:
            return ""
        if any(value is after for value in variables.values()):
            return ""
        if _is_delegating(frame) or not _is_used_again(frame.f_code, name):
            return ""
        if next(differences(before, newest, name, seconds=_SECONDS), None) is None:
            return ""  # the loop changes it, and yields copies
        return (
            f"the loop goes on with the state of its first step, as {name}. It should take the new "
            f"one, which a resumed run begins with: {name} = yield ..."
        )

    def end(self) -> None:
        """Forget the states."""
        self._states = self._next = None


def _is_delegating(frame: FrameType) -> bool:
    """Return whether a frame waits at a `yield from`, so that another one gets the state."""
    later = (i for i in dis.get_instructions(frame.f_code) if i.offset >= frame.f_lasti)
    resume = next((i for i in later if i.opname == "RESUME"), None)
    return resume is not None and int(resume.arg or 0) & 3 != _AFTER_YIELD


def _is_used_again(code: CodeType, name: str) -> bool:
    """Return whether a variable is read in a loop of the code that also yields.

    What a branch without a `yield` reads does not count: perhaps it is never run.
    """
    instructions = [*dis.get_instructions(code)]
    reads = [each.offset for each in instructions if _reads(each, name)]
    yields = [each.offset for each in instructions if each.opname == "YIELD_VALUE"]
    loops, branches = [], []
    for jump in instructions:
        if "JUMP_BACKWARD" in jump.opname and "NO_INTERRUPT" not in jump.opname:
            loops.append(range(jump.argval, jump.offset))
        elif "JUMP" in jump.opname and "IF" in jump.opname:
            branches.append(range(jump.offset, jump.argval))
    loops = [body for body in loops if any(place in body for place in yields)]
    branches = [body for body in branches if not any(place in body for place in yields)]
    return any(
        any(read in body for body in loops) and not any(read in body for body in branches)
        for read in reads
    )


def _reads(instruction: dis.Instruction, name: str) -> bool:
    if not instruction.opname.startswith("LOAD_"):
        return False
    value = instruction.argval
    return value == name or (isinstance(value, tuple) and name in value)
