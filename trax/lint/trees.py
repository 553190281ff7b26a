"""The trees of functions, each from its own lines alone, so that a long file costs nothing."""

from __future__ import annotations

import ast
import inspect
import itertools
import linecache
import warnings
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

from trax.frames.source import Function, nested_codes

__all__ = [
    "children",
    "forget",
    "function_tree",
    "has_yield",
    "key_of",
    "keyword_tree",
    "scope_nodes",
]

_MARKS = (ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@lru_cache(maxsize=1 << 10)
def function_tree(code: CodeType) -> Function | None:
    """Return the tree of a function with the lines of its file; None if its source is not there."""
    if code.co_name == "<lambda>":
        return None
    lines = linecache.getlines(code.co_filename)[code.co_firstlineno - 1 :]
    codes = (code, *nested_codes(code))
    last = max(end or 0 for one in codes for _, end, _, _ in one.co_positions())
    node = _parse(lines[: last - code.co_firstlineno + 1], code)
    if node is None and lines:  # statements without code are at its end
        try:
            node = _parse(inspect.getblock(lines), code)
        except (SyntaxError, IndentationError):
            return None
    return node


def _parse(lines: list[str], code: CodeType) -> Function | None:
    is_indented = bool(lines) and lines[0][:1].isspace()
    above = "\n" * (code.co_firstlineno - 1 - is_indented)  # so that lines are those of the file
    text = "".join([above, "if 1:\n" * is_indented, *lines])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    found = [one for one in module.body if is_indented or isinstance(one, Function)]
    node = found[0] if found else None
    if isinstance(node, ast.If):
        node = node.body[0]
    return node if isinstance(node, Function) and _is_of(node, code) else None


def _is_of(node: Function, code: CodeType) -> bool:
    arguments = node.args
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    number = code.co_argcount + code.co_kwonlyargcount
    mangled = zip(names, code.co_varnames[:number], strict=False)
    return (
        node.name == code.co_name
        and len(names) == number
        and all(given.endswith(name) for name, given in mangled)
    )


def keyword_tree(node: Function, name: str) -> ast.expr | None:
    """Return the value of a keyword that a decorator of a function is called with."""
    for decorator in node.decorator_list:
        for one in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if one.arg == name:
                return one.value
    return None


def scope_nodes(*nodes: ast.AST) -> Iterator[ast.AST]:
    """Return nodes and those in them, in order, but not what is in functions inside."""
    return itertools.chain.from_iterable(map(_scope, nodes))


@lru_cache(maxsize=1 << 14)
def _scope(node: ast.AST) -> tuple[ast.AST, ...]:
    """Return a node and those in it; a tree stays as it is."""
    found = [node]
    for one in () if isinstance(node, _SCOPES) else children(node):
        found += _scope(one)
    return (*found,)


@lru_cache(maxsize=1 << 14)
def children(node: ast.AST) -> tuple[ast.AST, ...]:
    """Return the nodes directly in a node, without marks such as operators."""
    values = (getattr(node, name, None) for name in node._fields)
    parts = (one for value in values for one in (value if type(value) is list else (value,)))
    return tuple(one for one in parts if isinstance(one, ast.AST) and not isinstance(one, _MARKS))


@lru_cache(maxsize=1 << 12)
def has_yield(node: ast.stmt) -> bool:
    """Whether a statement hands out increments."""
    return any(isinstance(one, ast.Yield | ast.YieldFrom) for one in _scope(node))


def forget() -> None:
    """Forget the trees that were looked through."""
    function_tree.cache_clear()
    _scope.cache_clear()
    children.cache_clear()
    has_yield.cache_clear()


def key_of(node: ast.AST) -> str | None:
    """Return the variable, or the attribute of one, with which an expression begins."""
    attribute = ""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Attribute):
            attribute, node = f".{node.attr}", node.value
        elif isinstance(node, ast.Subscript | ast.Starred | ast.Await):
            attribute, node = "", node.value
        elif isinstance(node, ast.Call):
            attribute, node = "", node.func
        else:
            return None
    return node.id + attribute
