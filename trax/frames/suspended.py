"""Reads a suspended generator: its variables, and the objects that its blocks keep on the stack.

Strategy: nothing is put into the generator's code for this. The garbage collector tells the objects
to which a generator refers, in this order: its name, the frame object, a dict of variables if there
is one, the function, the code, the variables that have a value, the stack of values, and the
exception that it handles. The variables are found by name as well, and each must be the very object
that the collector tells: so no order that is not understood goes unnoticed.

The stack has the iterator of each ``for``, the bound ``__exit__`` of each ``with`` (from Python
3.14 on the function, followed by the manager), the iterator of a ``yield from``, and for each
handler the exception that was handled before.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncGenerator, Generator
from types import CellType, CodeType, FrameType, FunctionType
from typing import Any, Final

from trax.errors import CodecError
from trax.frames.slots import Begun, Held, Turn, slot_name
from trax.frames.source import place
from trax.storage.members import contents

__all__ = [
    "Loop",
    "Read",
    "code_of",
    "frame_of",
    "function_of",
    "layout",
    "read",
    "read_slots",
    "variables",
]

Loop = Generator[Any, Any, Any] | AsyncGenerator[Any, Any]

_BEGIN: Final = 2  # places from the function to the first variable
_BEFORE: Final = _BEGIN + 1  # places from the dict of a frame's variables to the first of these
_NONE: Final = object()

Layout = tuple[tuple[str, bool], ...]
Read = tuple[dict[str, Any], dict[str, CellType], list[Any]]


def frame_of(loop: Any) -> FrameType | None:
    """Return the frame of a generator; None if that has ended."""
    frame: FrameType | None = loop.gi_frame if hasattr(loop, "gi_frame") else loop.ag_frame
    return frame


def code_of(loop: Any) -> CodeType:
    """Return the code of a generator."""
    code: CodeType = loop.gi_code if hasattr(loop, "gi_code") else loop.ag_code
    return code


def function_of(loop: Loop) -> FunctionType:
    """Return the function that made a generator which has not ended."""
    function: FunctionType = _referents(loop, code_of(loop))[1]
    return function


def layout(code: CodeType) -> Layout:
    """Return the variables of a code in the order of a frame, and whether each is in a cell.

    A comprehension that runs in the frame itself may have a variable with the name of one of a
    function around. It has no value at a yield, but its cell is there, under a name of its own.
    """
    shared, free = {*code.co_cellvars}, {*code.co_freevars}
    own = [name for name in code.co_varnames if name in shared or name not in free]
    own += [name for name in code.co_cellvars if name not in code.co_varnames]
    return (
        *((f".{name}" if name in free else name, name in shared) for name in own),
        *((name, True) for name in code.co_freevars),
    )


def read(loop: Loop, frame: FrameType, names: Layout) -> Read:
    """Return the objects of a generator that is suspended, or has not begun.

    Returns
    -------
    values : dict
        The variables that have a value, by name.
    cells : dict
        Those that other functions share, as cells.
    stack : list
        The objects on the stack, and the exception that is handled at last, if there was any.
    """
    referents, _, begin = _referents(loop, code_of(loop))
    values = _variables(frame, referents[begin - _BEFORE])
    cells: dict[str, Any] = {}
    objects = iter(referents[begin:])
    for name, is_cell in names:
        if is_cell:
            values.pop(name, None)
            one = cells[name] = next(objects, None)
            is_understood = type(one) is CellType
        elif name in values:
            is_understood = next(objects, _NONE) is values[name]
        else:
            continue
        if not is_understood:
            raise CodecError(_not_understood(loop))
    return values, cells, [*objects]


def variables(loop: Loop) -> dict[str, Any]:
    """Return all variables of a generator that have values."""
    frame = frame_of(loop)
    if frame is None:
        return {}
    values, cells, _ = read(loop, frame, layout(code_of(loop)))
    return values | contents(cells)


def _referents(loop: Any, code: CodeType) -> tuple[list[Any], FunctionType, int]:
    """Return what a generator refers to, its function, and where its variables begin."""
    referents = gc.get_referents(loop)
    for number, one in enumerate(referents):
        if type(one) is FunctionType and one.__code__ is code:
            return referents, one, number + _BEGIN
    raise CodecError(_not_understood(loop))


def _variables(frame: FrameType, before: Any) -> dict[str, Any]:
    """Return the variables of a frame by name, and leave no trace of that.

    Before Python 3.13 the frame keeps the dict, and by that their values. If it had one `before`,
    the function has called ``locals()`` and may hold it: that one stays as it was.
    """
    former = before.copy() if type(before) is dict else {}
    local = frame.f_locals
    variables = dict(local)
    if type(local) is dict:
        local.clear()
        local.update(former)
    return variables


def read_slots(
    kinds: tuple[str, ...], loop: Loop, values: dict[str, Any], stack: list[Any]
) -> list[Any]:
    """Return what each of the blocks around a yield keeps.

    Parameters
    ----------
    kinds : tuple of str
        Their kinds, from the outermost.
    loop : Loop
        The generator.
    values, stack
        Its variables and its stack; see `read`.
    """
    slots: list[Any] = []
    handlers: list[int] = []
    waiting = _Stack(loop, stack)
    for number, kind in enumerate(kinds):
        kept = None
        if kind == "while":
            waiting.pop_turn()
        elif kind == "for":
            kept = waiting.pop()
            kept = kept.rest if type(kept) is Turn else kept
        elif kind == "with":
            kept = waiting.pop_manager()
        elif kind == "from":
            kept = waiting.pop_delegate()
            if kept is None:  # it stands where it went on, and takes the iterator after that
                (kept,) = values[slot_name(number)]
        else:  # the exception that was handled before is that of the handler around this one
            before = waiting.pop()
            if handlers:
                slots[handlers[-1]] = before
            handlers.append(number)
        slots.append(kept.iterator if type(kept) is Begun else kept)
    if handlers:
        slots[handlers[-1]] = waiting.pop()
    waiting.check_end()
    return slots


class _Stack:
    """The stack of a suspended generator, from the bottom."""

    def __init__(self, loop: Loop, objects: list[Any]) -> None:
        self._loop = loop
        self._objects = objects
        self._next = 0

    def peek(self) -> Any:
        """Return the next object, and leave it there; None if there is none."""
        return self._objects[self._next] if self._next < len(self._objects) else None

    def pop(self) -> Any:
        """Return the next object."""
        if self._next == len(self._objects):
            raise CodecError(_not_understood(self._loop))
        self._next += 1
        return self._objects[self._next - 1]

    def pop_turn(self) -> None:
        """Remove the stand-in for the turn of a ``while``, if there is one."""
        if type(self.peek()) is Turn:
            self._next += 1

    def pop_manager(self) -> Any:
        """Return the manager of a ``with``; None if what ends the block does not tell it."""
        end = self.pop()
        manager = getattr(end, "__self__", None)
        if end in _ends(self.peek()):  # from Python 3.14 on
            return self.pop()
        if type(manager) is Held:
            return manager.manager
        is_its_end = any(one.__get__(manager) == end for one in _ends(manager))
        return manager if is_its_end else None

    def pop_delegate(self) -> Any:
        """Return the iterator of a ``yield from``; None if it has not yet gone on with that."""
        delegate = getattr(self._loop, "gi_yieldfrom", None)
        if delegate is not None and self.pop() is not delegate:
            raise CodecError(_not_understood(self._loop))
        return delegate

    def check_end(self) -> None:
        """Check that only the exception that is handled is left, which is none."""
        if self._objects[self._next :] not in ([], [None]):
            raise CodecError(_not_understood(self._loop))


def _ends(manager: Any) -> list[Any]:
    """Return the functions that end a ``with`` block of a manager."""
    kind = type(manager)
    found = (getattr(kind, name, None) for name in ("__exit__", "__aexit__"))
    return [one for one in found if hasattr(one, "__get__")]


def _not_understood(loop: Loop) -> str:
    frame, code = frame_of(loop), code_of(loop)
    line = frame.f_lineno if frame else code.co_firstlineno
    return (
        f"{place(code, line)}: the generator cannot be taken apart here.\n"
        f"Please report it, with the function and the version of Python ({sys.version.split()[0]})."
    )
