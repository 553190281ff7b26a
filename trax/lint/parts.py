"""The parts of a state: which of them an expression is, and those of which a new one is made."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Final

from trax.frames.names import target_names
from trax.lint.callees import dotted
from trax.lint.trees import nodes_of

__all__ = ["Made", "part_of", "parts_of"]

_COPIES: Final = {"copy", "deepcopy", "dict", "list", "set", "tuple"}
_DEEP: Final = 3  # names that are made of others


def part_of(node: ast.expr, state: str) -> str | None:
    """Return which part of the state an expression is: none of it, all (an empty text), or one."""
    base, part = node, ""
    if isinstance(node, ast.Attribute):
        base, part = node.value, f".{node.attr}"
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        base, part = node.value, f"[{node.slice.value!r}]"
    return part if isinstance(base, ast.Name) and base.id == state else None


def parts_of(node: ast.expr | None, made: Made) -> dict[str, ast.expr]:
    """Return the parts of a new state, as far as they are written one by one."""
    node = made.value(node)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {f"[{key.value!r}]": one for key, one in pairs if isinstance(key, ast.Constant)}
    if isinstance(node, ast.Call):
        return {f".{one.arg}": one.value for one in node.keywords if one.arg}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return parts_of(node.right, made)
    if isinstance(node, ast.Tuple):
        return {f"[{number}]": one for number, one in enumerate(_elements(node, made))}
    return {}


def _elements(node: ast.Tuple, made: Made) -> Iterator[ast.expr]:
    for one in node.elts:
        if isinstance(one, ast.Starred):
            inner = made.value(one.value)
            inner = inner.body if isinstance(inner, ast.IfExp) else inner
            if not isinstance(inner, ast.Tuple):
                return
            yield from _elements(inner, made)
        else:
            yield one


class Made:
    """The values that a function assigns to its variables."""

    def __init__(self, node: ast.AST | None) -> None:
        self._values: dict[str, list[ast.expr]] = {}
        body = node.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else []
        for one in nodes_of(ast.Assign, body):
            for name in set().union(*map(target_names, one.targets)):
                self._values.setdefault(name, []).append(one.value)
        turning: list[Any] = [*nodes_of(ast.AugAssign, body), *nodes_of(ast.For, body)]
        self._turned = set().union(*(target_names(one.target) for one in turning))

    def value(self, node: ast.expr | None) -> ast.expr | None:
        """Return the only value of a variable, or the expression itself."""
        values = self._values.get(node.id, ()) if isinstance(node, ast.Name) else ()
        return values[0] if len(values) == 1 else node

    def is_computed(self, node: ast.expr, depth: int = _DEEP) -> bool:
        """Whether a value is visibly another one in each step."""
        if isinstance(node, ast.Name):
            values = self._values.get(node.id, ())
            is_made = bool(values) and depth > 0
            return node.id in self._turned or (
                is_made and all(self.is_computed(one, depth - 1) for one in values)
            )
        if isinstance(node, ast.Call):
            return dotted(node.func).rpartition(".")[2] not in _COPIES
        return isinstance(node, ast.BinOp | ast.ListComp | ast.DictComp | ast.SetComp)
