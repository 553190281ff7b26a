"""Finds loops over results in the order in which they are completed, and the way to keep an order.

Where they are made elsewhere, they are refused when the loop begins.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import TYPE_CHECKING, Any, Final

from trax.frames.names import assignments, target_names

if TYPE_CHECKING:
    from trax.frames.program import Program

__all__ = ["unordered_loops", "unordered_source"]

# The modules and names of what hands out results in the order in which they are completed.
_SOURCES: Final = {
    ("concurrent.futures._base", "as_completed"): "concurrent.futures.as_completed()",
    ("asyncio.tasks", "as_completed"): "asyncio.as_completed()",
    ("asyncio.tasks", "_AsCompletedIterator"): "asyncio.as_completed()",
    ("multiprocessing.pool", "IMapUnorderedIterator"): "imap_unordered()",
    ("multiprocessing.pool", "Pool.imap_unordered.<locals>.<genexpr>"): "imap_unordered()",
}

_LISTING: Final = (dict, frozenset, len, list, max, min, set, sorted, sum, tuple)

Resolve = Callable[[ast.expr], Any]


def unordered_source(source: Any) -> str:
    """Return the function that an iterable of results as they are completed is from, or nothing."""
    kind = type(source)
    module, name = kind.__module__, kind.__qualname__
    if kind is GeneratorType and source.gi_frame is not None:
        module, name = source.gi_frame.f_globals.get("__name__", ""), source.__qualname__
    return _SOURCES.get((module, name), "")


def unordered_loops(program: Program, resolve: Resolve) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the function and the remedy for each such loop around a yield.

    `resolve` returns the object that the name of a function leads to.
    """
    if not {"as_completed", "imap_unordered"} & {*program.source.code.co_names}:
        return
    from trax.frames.program import program_of  # importing trax is faster without it

    written = program_of(program.source.code)  # in which the loops are as the user wrote them
    body = ast.Module(written.source.node.body, [])
    for site in written.sites:
        for block in site.blocks:
            if isinstance(block.node, ast.For):
                for call in _calls(block.node.iter, resolve):
                    found = _ordered(call, body, resolve)
                    if found:
                        yield call.lineno, ast.unparse(call.func), found


def _calls(node: ast.expr, resolve: Resolve) -> Iterator[ast.Call]:
    """Yield an iterable that a function returns, and those that it goes through."""
    if isinstance(node, ast.Call):
        yield node
        if resolve(node.func) not in _LISTING:
            for one in node.args:
                yield from _calls(one, resolve)


def _ordered(call: ast.Call, body: ast.Module, resolve: Resolve) -> str:
    """Return what keeps the order of the items instead; empty if this does."""
    if isinstance(call.func, ast.Attribute) and call.func.attr == "imap_unordered":
        other = copy.deepcopy(call)
        other.func = ast.Attribute(call.func.value, "imap", ast.Load())
        return f"Loop over {ast.unparse(other)}, which keeps the order of the items."
    for module, way in _COMPLETED.items():
        function = getattr(sys.modules.get(module), "as_completed", None)
        if function is not None and resolve(call.func) is function:
            return way.format(_mapped(call, body))
    return ""


_COMPLETED: Final = {
    "concurrent.futures": "Loop over {}, which keeps the order of the items.",
    "asyncio": "Loop over the items and await the result of each, or gather() all in one step.",
}


def _mapped(call: ast.Call, body: ast.Module) -> str:
    """Return the `map` that does what submitting single items does, with its names."""
    name = call.args[0].id if call.args and isinstance(call.args[0], ast.Name) else None
    made = [call.args[0]] if call.args and name is None else []
    made += [value for target, value in assignments(body) if name in target_names(target)]
    return next(filter(None, map(_map_of, made)), "executor.map(function, items)")


def _map_of(value: ast.expr) -> str:
    """Return the `map` for a comprehension that submits each item; empty for anything else."""
    match value:
        case ast.DictComp(submitted, _, [loop]):
            pass
        case ast.ListComp(submitted, [loop]) | ast.SetComp(submitted, [loop]):
            pass
        case _:
            return ""
    match submitted, loop:
        case (
            ast.Call(ast.Attribute(executor, "submit"), [function, ast.Name(item)], []),
            ast.comprehension(ast.Name(target), items, []),
        ) if item == target:
            return f"{ast.unparse(executor)}.map({ast.unparse(function)}, {ast.unparse(items)})"
    return ""
