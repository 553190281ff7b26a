"""Arguments that may vary: what a loop that has begun makes of another value."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from trax.errors import UsageError
from trax.frames.names import assigned, loaded
from trax.frames.program import Program
from trax.frames.source import place
from trax.frames.state import LoopState

__all__ = ["RANGE", "follow"]

RANGE: Final = "range"  # the first item of what stands for the iterator over a range

_COUNTING: Final = ("range", "steps")


def follow(
    program: Program,
    state: LoopState,
    names: Collection[str],
    arguments: Mapping[str, Any],
    variables: Mapping[str, Any],
) -> LoopState:
    """Return a state in which arguments have other values than when the loop began.

    A loop over a range that ends at such an argument ends there now.

    Parameters
    ----------
    program : Program
        The function.
    state : LoopState
        Its state.
    names : collection of str
        The arguments that differ.
    arguments : mapping
        The present values of all arguments.
    variables : mapping
        The variables of the function's module.

    Raises
    ------
    UsageError
        A loop around the yield goes over something else that was made of such an argument.
    """
    bound = assigned(ast.Module(program.source.node.body, []))
    fixed = {name: value for name, value in arguments.items() if name not in bound}
    given = {name: fixed[name] for name in names if name in fixed}
    for name in given.keys() & state.cells.keys():
        state.cells[name].cell_contents = given[name]
    values = {name: given.get(name, value) for name, value in state.values.items()}
    state = state._replace(values=values)
    known = {**variables, **fixed, **state.variables}
    return state._replace(slots=[*_slots(program, state, given, known)])


def _slots(
    program: Program, state: LoopState, names: Collection[str], known: Mapping[str, Any]
) -> Iterator[Any]:
    for block, slot in zip(program.site(state.site).blocks, state.slots, strict=True):
        made = block.node.iter if isinstance(block.node, ast.For) else None
        read = loaded(made).intersection(names) if made else set()
        if made is None or not read:
            yield slot
            continue
        numbers = _numbers(made, known)
        if numbers is None or type(slot) is not tuple:
            raise UsageError(
                f"{place(program.source.code, made.lineno)}: the loop has begun with another value "
                f"of {', '.join(sorted(read))}.\n"
                "Give the value of before.\n"
                "A loop over a range may end elsewhere, if the range is in its head."
            )
        yield _continued(numbers, slot)


def _numbers(node: ast.expr, known: Mapping[str, Any]) -> range | None:
    """Return the range that an expression makes, if it does nothing else."""
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name not in _COUNTING:
        return None
    try:
        codes = [compile(ast.Expression(one), "", "eval") for one in node.args]
        return range(*(eval(code, {**known}) for code in codes))  # noqa: S307  # it is the loop's
    except (NameError, TypeError):
        return None


def _continued(numbers: range, rest: tuple[str, int, int, int]) -> tuple[str, int, int, int]:
    """Return the rest of a range from the number on at which the other one was."""
    following = rest[1]
    done = max(0, (following - numbers.start) // numbers.step)
    left = numbers[done:]
    return RANGE, left.start, left.stop, left.step
