"""The causes of a difference between a resumed run and an uninterrupted one, for messages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trax.calls.call import Call

__all__ = [
    "ELSEWHERE",
    "LATER",
    "LOST",
    "NOT_THE_SAME_TWICE",
    "OUTPUT",
    "RANDOM",
    "STATE",
    "causes_of",
]

_SHOWN = 3  # causes that the source shows

NOT_THE_SAME_TWICE = (
    "So the cause is not resuming: the loop differs from run to run. Possible causes: the time; an "
    "RNG made without a seed; the order of a set; threads that finish in any order; a global "
    "variable that an earlier run has changed."
)
STATE = (
    "The same increments, folded into the same state, did not give the same state again. Possible "
    "causes: an object was changed after it was yielded; the generator changes the state itself "
    "instead of yielding; replay_log depends on more than its two arguments; __getstate__ leaves "
    "something out."
)
LATER = (
    "So the loop depends on something outside of the stored state. Possible causes: a local "
    "variable that is kept from one step to the next; a variable of a module or a class; an object "
    "that is compared by `is`; an RNG that trax does not know; the time; a part of the state that "
    "__getstate__ leaves out."
)
OUTPUT = (
    "Write to the file with trax.open(), which removes the output of an interrupted step.\n"
    "Write before the yield: code after the yield is not run again for the resumed step.\n"
    "If the file need not be the same, name it with ignore=."
)
_OF_PLAIN_LOOPS = {
    LATER: (
        "So the loop depends on something outside of its local variables. Possible causes: a "
        "variable of a module or a class; an object that is compared by `is`; an RNG that trax "
        "does not know; the time; an object whose __getstate__ leaves something out."
    ),
    OUTPUT: (
        "Write to the file with trax.open(), which removes the output of an interrupted step.\n"
        "If the file need not be the same, name it with ignore=."
    ),
}
RANDOM = "The next random numbers would differ: see the how-to about random numbers."
ELSEWHERE = (
    "trax.testing runs the loop in an empty directory.\n"
    "Create the files that it reads in prepare= of trax.testing.check_resume, or give absolute "
    "paths."
)
LOST = "This is a bug in trax, or the increments were not forced to the disk: see sync=."


def causes_of(call: Call, advice: str, line: int) -> list[str]:
    """Return the likely causes: those that the source of the loop shows, or else all there are.

    `advice` is the text for the kind of difference, and `line` that of the yield, if it is known.
    """
    function = inspect.unwrap(call.function)
    assert isinstance(function, FunctionType)
    path = function.__code__.co_filename
    found = _of_plain(function) if call.is_plain else _of_declared(function, call)
    likely = [
        text
        for number, cause, *ways in found[:_SHOWN]
        for text in (f"Likely cause: {path}:{number}: {cause}.", *ways)
    ]
    all_there_are = _OF_PLAIN_LOOPS.get(advice, advice) if call.is_plain else advice
    causes = likely if likely and advice in (LATER, STATE) else [all_there_are, *likely]
    return [*causes, f"The step ends at {path}:{line}."] if line else causes


def _of_declared(function: FunctionType, call: Call) -> list[tuple[int, str, *tuple[str, ...]]]:
    from trax.lint.reader import findings  # only a loop that is not exact is read again

    return [(one.line, one.cause, *one.ways) for one in findings(function, call.options)]


def _of_plain(function: FunctionType) -> list[tuple[int, str, *tuple[str, ...]]]:
    from trax.frames.clocks import clock_lines
    from trax.frames.program import program_of

    program = program_of(function.__code__)
    clock = "the increment depends on the clock or the process, and differs after a crash"
    found = [(line, clock, "Leave it out.") for line in clock_lines(function, program)]
    for line, name in _changes_outside(function):
        cause = f"{name!r} is outside of the loop's variables, and a resumed run finds it as it was"
        found.append(
            (line, cause, "Keep it in a local variable, or in an object that is an argument.")
        )
    return sorted(found)


def _changes_outside(function: FunctionType) -> Iterator[tuple[int, str]]:
    """Yield the lines in which a loop changes variables of its module, or around its function."""
    from trax.frames.program import program_of
    from trax.frames.prologue import changed

    code = function.__code__
    node = program_of(code).source.node
    for (name, part), line in changed(node).items():
        is_own = name in (*code.co_varnames, *code.co_cellvars)
        if not is_own and not isinstance(function.__globals__.get(name), ModuleType):
            yield line, name + part * part.startswith(".")
