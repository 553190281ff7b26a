"""Finds what ``create`` sets up outside of the state, which no resumed run does again."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import FunctionType, ModuleType

from trax.frames.prologue import changed
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.findings import Finding
from trax.lint.trees import function_tree
from trax.lint.words import is_cache

__all__ = ["set_up"]


def set_up(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield the variables that the loop reads, and the settings, that ``create`` changes."""
    create = loop.create
    if not isinstance(create, FunctionType) or not loop.callees.is_near(create):
        return
    node = function_tree(create.__code__)
    if node is None:
        return
    body = ast.Module(node.body, [])
    changes = {name: line for (name, _), line in changed(body).items()}
    for one in ast.walk(body):
        if isinstance(one, ast.Global):
            changes |= dict.fromkeys(one.names, one.lineno)
    is_same = loop.callees.shares_globals(create)
    used = loop.callees.names_used() if is_same and changes else set()
    for name, line in changes.items():
        if name in create.__code__.co_varnames or is_cache(name):
            continue
        is_setting = isinstance(create.__globals__.get(name), ModuleType)
        if is_setting or (name in used and name in create.__globals__):
            cause = f"create changes {name!r} for this process, and no resumed run calls it"
            ways = ("Do it at the top of the loop's function, or in the module.",)
            place = line if is_same else loop.node.lineno
            yield Finding(place, 0, "setup", name, cause, ways)
