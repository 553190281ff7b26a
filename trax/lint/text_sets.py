"""Finds sets of texts, whose order is another one in every process."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Final

from trax.lint.callees import Callees, dotted
from trax.lint.parts import Made, part_of, parts_of

__all__ = ["TextSets"]

_SPLITTING: Final = {"split", "splitlines", "findall"}
_JOINING: Final = {"union", "difference", "intersection", "symmetric_difference", "copy"}
_OPERATORS: Final = (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)
_DEEP: Final = 4  # expressions in expressions


class TextSets:
    """The sets of texts in a function, as far as they are seen.

    Parameters
    ----------
    callees : Callees
        What names lead to.
    state : str
        The parameter for the state.
    first : expr, optional
        The first state.
    """

    def __init__(self, callees: Callees, state: str, first: ast.expr | None) -> None:
        self._callees = callees
        self._state = state
        self._parts = {} if first is None else {"": first, **parts_of(first, Made(first))}

    def __contains__(self, node: ast.expr) -> bool:
        """Whether an expression is visibly a set of texts."""
        return self._is_set(node, _DEEP)

    def _is_set(self, node: ast.expr, depth: int) -> bool:
        if not depth:
            return False
        if isinstance(node, ast.Set):
            return any(map(_is_text, node.elts))
        if isinstance(node, ast.SetComp):
            is_item = isinstance(node.elt, ast.Name)
            return is_item and any(self._has_texts(one.iter, depth - 1) for one in node.generators)
        if isinstance(node, ast.BinOp) and isinstance(node.op, _OPERATORS):
            return self._is_set(node.left, depth - 1)
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                return node.func.attr in _JOINING and self._is_set(node.func.value, depth - 1)
            is_new = dotted(node.func) in ("set", "frozenset")
            return is_new and any(self._has_texts(one, depth - 1) for one in node.args)
        if (part := part_of(node, self._state)) is not None:
            return part in self._parts and self._is_set(self._parts[part], depth - 1)
        given = self._callees.resolved(node)
        if isinstance(given, set | frozenset):
            return _any_text(given)
        made = self._callees.maker(node.id) if isinstance(node, ast.Name) else None
        return made is not None and self._is_set(made, depth - 1)

    def _has_texts(self, node: ast.expr, depth: int) -> bool:
        """Whether an expression visibly holds texts."""
        if isinstance(node, ast.List | ast.Tuple):
            return any(map(_is_text, node.elts))
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in _SPLITTING:
            return True
        given = self._callees.resolved(node)
        if isinstance(given, list | tuple | dict):
            return _any_text(given)
        return _is_text(node) or self._is_set(node, depth)


def _is_text(node: ast.expr) -> bool:
    is_constant = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_constant or isinstance(node, ast.JoinedStr)


def _any_text(items: Iterable[object]) -> bool:
    return any(isinstance(one, str) for one in items)
