"""Reads the user's own functions and classes: what they change, build up, report, and draw from."""

from __future__ import annotations

import ast
from types import CodeType, FunctionType
from typing import Final

from trax.frames.names import read, target_names
from trax.frames.prologue import changed
from trax.frames.source import Function
from trax.lint import words
from trax.lint.trees import dotted, function_tree, key_of, nodes_of, remembered, scope_nodes

__all__ = [
    "BUILDING",
    "attributes_read",
    "built_attributes",
    "changed_attributes",
    "changed_parameters",
    "gives_rng",
    "has_nonlocals",
    "only_reports",
]

# Methods that are never called for anything else than to change their object.
BUILDING: Final = frozenset(
    ["append", "appendleft", "extend", "insert", "pop", "popleft", "remove", "step"]
)
_ACTING: Final = (ast.Global, ast.Nonlocal, ast.Return, ast.With)
_DEEP: Final = 3  # methods that call others


def _is_seeded(call: ast.Call) -> bool:
    """Whether a call makes an RNG that draws the same numbers whenever it is made."""
    return words.makes_rng(dotted(call.func)) and bool(call.args or call.keywords)


@remembered
def gives_rng(function: FunctionType, kind: type | None) -> bool:
    """Whether what a function returns, or an object that it sets up, draws from an RNG it makes."""
    node = function_tree(function.__code__)
    if node is None:
        return False
    made = {
        (key_of(one.targets[0]) or "").rpartition(".")[2]
        for one in nodes_of(ast.Assign, node.body)
        if isinstance(one.value, ast.Call) and _is_seeded(one.value)
    }
    if kind is not None and function.__name__ == "__init__":
        others = (one for name, one in vars(kind).items() if name != "__init__")
        codes = (one.__code__ for one in others if isinstance(one, FunctionType))
        return any(not made.isdisjoint(code.co_names) for code in codes)
    inner = {one.name: one for one in nodes_of(ast.FunctionDef, node.body)}
    for one in nodes_of(ast.Return, node.body):
        value = inner.get(one.value.id) if isinstance(one.value, ast.Name) else None
        given = value or one.value
        if isinstance(given, ast.Call) and _is_seeded(given):
            return True
        if isinstance(given, ast.Name) and given.id in made:
            return True
        if isinstance(given, ast.Lambda | ast.FunctionDef) and not made.isdisjoint(read(given)):
            return True
    return False


@remembered
def only_reports(node: Function | None) -> bool:
    """Whether a function does nothing but tell a person something."""
    if node is None:
        return False
    calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
    body = ast.Module(node.body, [])
    return (
        any(words.is_report(dotted(one.func)) for one in calls)
        and not changed(body)
        and not any(isinstance(one, _ACTING) for one in ast.walk(body))
    )


@remembered
def changed_attributes(code: CodeType, kind: type | None, depth: int = _DEEP) -> set[str]:
    """Return the attributes of its object that a method visibly changes, without caches."""
    node = function_tree(code)
    if node is None or not code.co_argcount:
        return set()
    own = code.co_varnames[0]
    body = ast.Module(node.body, [])
    found = {part for name, part in changed(body) if name == own and not words.is_cache(part)}
    for one in ast.walk(body) if depth else ():
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            is_own = isinstance(one.func.value, ast.Name) and one.func.value.id == own
            method = getattr(kind, one.func.attr, None) if is_own else None
            if isinstance(method, FunctionType):
                found |= changed_attributes(method.__code__, kind, depth - 1)
    return found


@remembered
def built_attributes(code: CodeType) -> set[str]:
    """Return the attributes of its object to which a method adds."""
    node = function_tree(code)
    body = node.body if node is not None else []
    added = [one.target for one in nodes_of(ast.AugAssign, body)]
    calls = [one.func for one in nodes_of(ast.Call, body) if isinstance(one.func, ast.Attribute)]
    places = [*added, *(one.value for one in calls if one.attr in BUILDING)]
    keys = (key_of(one) or "" for one in places)
    own = f"{code.co_varnames[0]}." if code.co_argcount else "."
    return {
        key.removeprefix(own) for key in keys if key.startswith(own) and not words.is_cache(key)
    }


@remembered
def attributes_read(kind: type) -> set[str]:
    """Return the attributes of their object that methods read, for more than to report them."""
    found: set[str] = set()
    for method in vars(kind).values():
        node = function_tree(method.__code__) if isinstance(method, FunctionType) else None
        statements = nodes_of(ast.stmt, node.body) if node is not None else []
        reports = [one for one in statements if _is_reporting(one)]
        ignored = set(scope_nodes(*reports))
        for call in nodes_of(ast.Call, node.body if node is not None else []):
            if isinstance(call.func, ast.Attribute) and call.func.attr in BUILDING:
                ignored.add(call.func.value)
        for one in nodes_of(ast.Attribute, node.body if node is not None else []):
            if isinstance(one.ctx, ast.Load) and one not in ignored:
                found.add(one.attr)
    return found


def _is_reporting(node: ast.stmt) -> bool:
    if isinstance(node, ast.If):
        return not node.orelse and all(map(_is_reporting, node.body))
    value = node.value if isinstance(node, ast.Expr) else None
    return isinstance(value, ast.Call) and words.is_report(dotted(value.func))


@remembered
def has_nonlocals(code: CodeType) -> bool:
    """Whether a function changes variables of the one around it, or makes one that does."""
    node = function_tree(code)
    return node is not None and any(isinstance(one, ast.Nonlocal) for one in ast.walk(node))


@remembered
def changed_parameters(code: CodeType) -> set[int]:
    """Return the numbers of the parameters whose objects a function visibly changes."""
    node = function_tree(code)
    if node is None:
        return set()
    body = ast.Module(node.body, [])
    roots = {name for name, part in changed(body) if not words.is_cache(name + part)}
    nodes = [*ast.walk(body)]
    for one in nodes:  # the items of an object are parts of it
        if isinstance(one, ast.For) and roots & target_names(one.target):
            roots |= read(one.iter)
    names = [one for one in nodes if isinstance(one, ast.Name)]
    roots -= {one.id for one in names if isinstance(one.ctx, ast.Store)}
    parameters = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
    return {number for number, name in enumerate(parameters) if name in roots}
