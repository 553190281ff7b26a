"""Refuses loops that could not go on after a crash, at once, with the line and the remedy."""

from __future__ import annotations

import ast
import io
from collections.abc import Iterator
from types import FunctionType
from typing import Final

from trax.calls.source_text import statements
from trax.errors import UsageError
from trax.frames.names import assigned, assignments, own_nodes, resolved, target_names
from trax.frames.program import Program
from trax.frames.repeated import writing_mode
from trax.frames.sites import Site
from trax.frames.source import place
from trax.frames.unordered import unordered_loops
from trax.frames.written_files import TRAX_OPEN

__all__ = ["check"]

_REMEDIES: Final = {
    "a yield in `finally`": "Move it out of the `finally`.",
    "a yield in `except*`": "Move it out: collect the errors, and yield after the `try`.",
    "a yield in `async for`": (
        "Collect the items first, and loop over the list with an ordinary `for`.\n"
        "Or ask for them one by one in a `while` loop, with a cursor that is a local variable."
    ),
    "a yield inside of a larger expression": (
        "Put it on a line of its own, such as `value = yield from ...`, and use the value after it."
    ),
}
_VALUE_IS_USED: Final = (
    "Without create= a `yield` returns None: put it on a line of its own, and go on after it.\n"
    "If the loop takes its state from the `yield`, declare that: @trax.resumable(create=...)."
)
_FILE: Final = f"Open it {TRAX_OPEN}"


def check(function: FunctionType, program: Program) -> None:
    """Refuse a loop that could not go on at one of its yields.

    Parameters
    ----------
    function : FunctionType
        The function, as it was decorated.
    program : Program
        Its program.

    Raises
    ------
    UsageError
        The message has the line and the remedy.
    """
    for line, reason, remedy in _reasons(function, program):
        raise UsageError(f"{place(program.source.code, line)}: {reason}.\n{remedy}")


_Reason = tuple[int, str, str]
_Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _reasons(function: FunctionType, program: Program) -> Iterator[_Reason]:
    node = program.source.node
    if function.__code__ != program.source.code or hasattr(function, "__wrapped__"):
        reason = "another decorator stands between trax and the function"
        yield node.lineno, reason, "Put @trax.resumable directly above its `def`."
    for site in program.sites:
        yield from _of_yield(site)
    yield from _outer_variables(program)
    for line, name, remedy in unordered_loops(program, lambda one: resolved(one, function)):
        yield line, f"{name}() has another order in each run", remedy
    yield from _written_files(function, program)


def _of_yield(site: Site) -> Iterator[_Reason]:
    statement = site.path[-1].node
    line = site.node.lineno
    is_alone = isinstance(statement, ast.Expr) and statement.value is site.node
    if isinstance(site.node, ast.Yield) and not is_alone:
        yield line, "the value of a yield is used", _VALUE_IS_USED
    elif site.obstacle:
        remedy = _REMEDIES.get(site.obstacle, "Give one of the two objects another name.")
        yield line, site.obstacle, remedy


# -- variables of the surroundings ----------------------------------------------------------


def _outer_variables(program: Program) -> Iterator[_Reason]:
    """Yield the assignments to variables that are no part of the loop."""
    node = program.source.node
    if not any(isinstance(one, ast.Global | ast.Nonlocal) for one in statements(node)):
        return
    for line, kind, name in _rebound(node, frozenset()):
        remedy = "Use a local variable, or an attribute of an argument."
        yield line, f"the {kind} variable {name!r} is assigned to", remedy


def _rebound(scope: _Scope, own: frozenset[str]) -> Iterator[tuple[int, str, str]]:
    """Yield the outer variables that a scope assigns to, with `own` those of the loop around it."""
    body = ast.Module(scope.body, [])
    bound, declared = assigned(body), set[str]()
    for node in own_nodes(body):
        if isinstance(node, ast.Global | ast.Nonlocal):
            declared |= {*node.names}
            outer = {*node.names} - (own if isinstance(node, ast.Nonlocal) else set())
            kind = type(node).__name__.lower()
            yield from ((node.lineno, kind, name) for name in sorted(outer & bound))
    if not isinstance(scope, ast.ClassDef):
        arguments = {one.arg for one in ast.walk(scope.args) if isinstance(one, ast.arg)}
        own |= arguments | bound - declared
    for node in own_nodes(body):
        if isinstance(node, _Scope):
            yield from _rebound(node, own)


# -- files -----------------------------------------------------------------------------------


def _written_files(function: FunctionType, program: Program) -> Iterator[_Reason]:
    """Yield the files that are open for writing at a yield, and not by `trax.open`."""
    reason = "a file that is written stays open across a yield"
    for site in program.sites:
        for _, item in site.entered:
            for call in _opened(item.context_expr, function):
                yield call.lineno, reason, _FILE
    for target, value in assignments(ast.Module(program.source.node.body, [])):
        for call in _opened(value, function):
            # Asked only here: which variables are needed is not known at once.
            needed = set(program.shared).union(*(program.live[one.number] for one in program.sites))
            if needed & set(map(program.source.mangled, target_names(target))):
                yield call.lineno, reason, _FILE


def _opened(value: ast.expr | None, function: FunctionType) -> Iterator[ast.Call]:
    """Yield the call that opens a file for writing, if a value is that file, or is made of it."""
    if not isinstance(value, ast.Call):
        return
    found = resolved(value.func, function)
    is_method = found is None and getattr(value.func, "attr", "") == "open"
    if (found is io.open or is_method) and writing_mode(value, 0 if is_method else 1):
        yield value
    for argument in value.args:
        yield from _opened(argument, function)
