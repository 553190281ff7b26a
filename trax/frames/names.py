"""The names in a tree: which are read, bound or assigned there, and what they lead to."""

from __future__ import annotations

import ast
import builtins
import inspect
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any, Final

from trax.calls.source_text import children
from trax.storage.members import closure

__all__ = [
    "COMPREHENSIONS",
    "assigned",
    "assignments",
    "bound_inside",
    "loaded",
    "own_names",
    "own_nodes",
    "read",
    "resolved",
    "root",
    "target_names",
]

COMPREHENSIONS: Final = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SCOPES: Final = (*_DEFINITIONS, ast.Lambda, *COMPREHENSIONS)
_NAMED: Final = (*_DEFINITIONS, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)


def own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node, and those in it that are run in the same scope, in the order of the text."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += reversed(_own_children(one))


def _own_children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes in a node, without those that are run in a scope of its own."""
    return _OUTSIDE.get(type(node), children)(node)


def _outside_of_function(node: Any) -> list[ast.AST]:
    defaults = (*node.args.defaults, *filter(None, node.args.kw_defaults))
    return [*getattr(node, "decorator_list", ()), *defaults]


def _outside_of_class(node: Any) -> list[ast.AST]:
    return [*node.decorator_list, *node.bases, *node.keywords]


def _outside_of_comprehension(node: Any) -> list[ast.AST]:
    return [node.generators[0].iter]


_OUTSIDE: Final[dict[type[ast.AST], Callable[[ast.AST], list[ast.AST]]]] = {
    **dict.fromkeys((ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef), _outside_of_function),
    **dict.fromkeys(COMPREHENSIONS, _outside_of_comprehension),
    ast.ClassDef: _outside_of_class,
}


def target_names(target: ast.AST | None) -> set[str]:
    """Return the variables that a target of an assignment binds."""
    if isinstance(target, ast.Name):
        return {target.id}
    if isinstance(target, ast.Starred):
        return target_names(target.value)
    if isinstance(target, (ast.Tuple, ast.List)):
        return set().union(*map(target_names, target.elts))
    return set()


def loaded(node: ast.AST, without: ast.AST | None = None) -> set[str]:
    """Return the names that a part of a function reads, those in comprehensions included.

    If there is a node that it is `without`, the names in that one are left out.
    """
    names = (one for one in _nodes(node, without) if isinstance(one, ast.Name))
    return {one.id for one in names if isinstance(one.ctx, ast.Load)}


def _nodes(node: ast.AST, without: ast.AST | None = None) -> Iterator[ast.AST]:
    """Yield a node, and those in it and its comprehensions, which may be run in the same scope."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        if isinstance(one, COMPREHENSIONS):
            waiting.append(one.generators[0].iter)
            own = set().union(*(target_names(part.target) for part in one.generators))
            inside = _nodes(_inside(one), without)
            yield from (n for n in inside if not (isinstance(n, ast.Name) and n.id in own))
        elif one is not without:
            waiting += _own_children(one)


def _inside(node: Any) -> ast.AST:
    """Return what a comprehension evaluates with its own variables."""
    parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    parts += [one.iter for one in node.generators[1:]]
    return ast.Tuple([*parts, *(test for one in node.generators for test in one.ifs)], ast.Load())


def assigned(node: ast.AST) -> set[str]:
    """Return the names that a part of a function may bind or delete.

    Those that a comprehension binds are its own.
    """
    names: set[str] = set()
    for one in _nodes(node):
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
            names.add(one.id)
        elif isinstance(one, _NAMED) and one.name:
            names.add(one.name)
        elif isinstance(one, ast.MatchMapping) and one.rest:
            names.add(one.rest)
        elif isinstance(one, ast.alias):
            names.add((one.asname or one.name).partition(".")[0])
    return names


def bound_inside(node: ast.AST) -> set[str]:
    """Return the variables that functions in a tree bind, which are outside of them."""
    found = [one for one in ast.walk(node) if isinstance(one, ast.Nonlocal)]
    return {name for one in found for name in one.names}


def read(node: ast.AST) -> set[str]:
    """Return the variables that a tree reads, also in the functions in it, but not their own."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    names = {name for child in children(node) for name in read(child)}
    return names - own_names(node) if isinstance(node, _SCOPES) else names


def own_names(node: ast.AST) -> set[str]:
    """Return the variables of a function or a comprehension inside another function."""
    if isinstance(node, COMPREHENSIONS):  # what `:=` binds in one is bound around it
        return set().union(*(target_names(one.target) for one in node.generators))
    parts = children(node)
    own = set().union(*map(assigned, parts)) - bound_inside(node)
    return own | {n.arg for part in parts for n in own_nodes(part) if isinstance(n, ast.arg)}


def assignments(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the targets of the assignments in a tree, with the values."""
    for one in own_nodes(node):
        if isinstance(one, ast.Assign):
            yield from ((target, one.value) for target in one.targets)
        elif isinstance(one, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and one.value:
            yield one.target, one.value


def root(node: ast.AST) -> str | None:
    """Return the variable with which an expression begins, such as ``a`` of ``a.b[0].c()``."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Await):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return None
    return node.id


def resolved(node: ast.expr, function: FunctionType) -> Any:
    """Return the object that a name outside of a function leads to; None if unknown.

    The name may be that of an attribute of a module or of a class.
    """
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value, function)
        is_named = issubclass(type(owner), type | ModuleType)
        return inspect.getattr_static(owner, node.attr, None) if is_named else None
    code = function.__code__
    if not isinstance(node, ast.Name) or node.id in (*code.co_varnames, *code.co_cellvars):
        return None
    scopes = closure(function), function.__globals__, vars(builtins)
    return next((names[node.id] for names in scopes if node.id in names), None)
