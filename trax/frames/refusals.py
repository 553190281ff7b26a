"""Refuses loops that could not go on after a crash, at once, with the line and the remedy."""

from __future__ import annotations

import ast
import builtins
import io
import re
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

from trax.errors import UsageError
from trax.frames.program import Program
from trax.frames.sites import Site, assigned, own_nodes, target_names
from trax.frames.source import place

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
_FILE: Final = "Open it with trax.open, which goes on at the right place after a crash."
_WRITING: Final = re.compile(r"(?=.*[wax+])[rwaxbtU+]{1,4}")


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


def _reasons(function: FunctionType, program: Program) -> Iterator[_Reason]:
    node = program.source.node
    if function.__code__ != program.source.code or hasattr(function, "__wrapped__"):
        reason = "another decorator stands between trax and the function"
        yield node.lineno, reason, "Put @trax.resumable directly above its `def`."
    for site in program.sites:
        yield from _of_yield(site)
    yield from _outer_variables(program)
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
    own = {*program.source.code.co_cellvars}
    for scope in ast.walk(program.source.node):
        if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = ast.Module(scope.body, [])
        for node in own_nodes(body):
            if not isinstance(node, ast.Global | ast.Nonlocal):
                continue
            names = {*node.names} if isinstance(node, ast.Global) else {*node.names} - own
            for name in sorted(names & assigned(body)):
                kind = "global" if isinstance(node, ast.Global) else "nonlocal"
                remedy = "Use a local variable, or an attribute of an argument."
                yield node.lineno, f"the {kind} variable {name!r} is assigned to", remedy


# -- files -----------------------------------------------------------------------------------


def _written_files(function: FunctionType, program: Program) -> Iterator[_Reason]:
    """Yield the files that are open for writing at a yield, and not by `trax.open`."""
    reason = "a file that is written stays open across a yield"
    for site in program.sites:
        for block in site.blocks:
            if isinstance(block.node, ast.withitem):
                for call in _opened(block.node.context_expr, function):
                    yield call.lineno, reason, _FILE
    needed = set(program.shared).union(*(program.live[site.number] for site in program.sites))
    for node in own_nodes(ast.Module(program.source.node.body, [])):
        if isinstance(node, ast.Assign):
            names = set().union(*map(target_names, node.targets))
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value:
            names = target_names(node.target)
        else:
            continue
        if needed & set(map(program.source.mangled, names)):
            for call in _opened(node.value, function):
                yield call.lineno, reason, _FILE


def _opened(value: ast.expr | None, function: FunctionType) -> Iterator[ast.Call]:
    """Yield the call that opens a file for writing, if a value is that file, or is made of it."""
    if not isinstance(value, ast.Call):
        return
    found = _resolved(value.func, function)
    is_method = found is None and getattr(value.func, "attr", "") == "open"
    if (found is io.open or is_method) and _writes(value, is_method=is_method):
        yield value
    for argument in value.args:
        yield from _opened(argument, function)


def _writes(call: ast.Call, *, is_method: bool) -> bool:
    """Whether the mode of a call to ``open`` is one for writing, as far as it can be read."""
    modes = [*call.args[not is_method : 2]]
    modes += [one.value for one in call.keywords if one.arg == "mode"]
    texts = (mode.value for mode in modes if isinstance(mode, ast.Constant))
    return any(isinstance(text, str) and _WRITING.fullmatch(text) for text in texts)


def _resolved(called: ast.expr, function: FunctionType) -> Any:
    """Return the object that a name, or an attribute of a module, leads to; None if unknown."""
    if isinstance(called, ast.Name):
        code = function.__code__
        if called.id in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
            return None
        return function.__globals__.get(called.id, getattr(builtins, called.id, None))
    if isinstance(called, ast.Attribute):
        owner = _resolved(called.value, function)
        return vars(owner).get(called.attr) if isinstance(owner, ModuleType) else None
    return None
