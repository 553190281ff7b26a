"""Finds sets that a loop goes through, and that have another order once they are loaded.

The order of a set depends on all that was ever in it, so a copy may have another one. That of texts
also depends on a number that each process draws, unless ``PYTHONHASHSEED`` gives it.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["UNORDERED", "SetOrder"]

_TAKERS: Final = {"list", "tuple", "iter", "enumerate", "zip", "map", "filter", "sum"}
UNORDERED: Final = {"all", "any", "frozenset", "len", "max", "min", "set", "sorted"}
_BATCH: Final = 1000  # elements that a pickle adds at once


class SetOrder:
    """The variables of a function that it goes through, in an order that may matter.

    Parameters
    ----------
    node : AST
        The tree of the function.

    Examples
    --------
    >>> left = set(range(0, 4000, 37))
    >>> while len(left) > 3:
    ...     _ = left.pop()
    >>> order = SetOrder(ast.parse("while left: left.pop()"))
    >>> order.lost({"right": left}), order.lost({"left": {1, 2}}), order.lost({"left": left})
    ('', '', 'left')
    """

    def __init__(self, node: ast.AST) -> None:
        self.names = frozenset(_gone_through(node))

    def lost(self, variables: Mapping[str, Any]) -> str:
        """Return the name of a set whose copy has another order, once; empty if there is none."""
        for name in self.names & variables.keys():
            value = variables[name]
            if type(value) in (set, frozenset) and len(value) > 1 and _has_another(value):
                self.names -= {name}
                return name
        return ""


def _gone_through(node: ast.AST, *, repeats: bool = False) -> Iterator[str]:
    """Yield the variables of which elements are taken one by one, so that their order matters.

    A ``for`` around a yield goes on with the elements that are left, in their order; it counts only
    if another loop around it begins it again.
    """
    if isinstance(node, ast.Call) and _name(node.func) in UNORDERED:
        made = [one for one in node.args if isinstance(one, ast.GeneratorExp | ast.ListComp)]
        for each in made:
            yield from _gone_through(each.elt)
        others = [one for one in ast.iter_child_nodes(node) if one not in made]
    elif isinstance(node, ast.SetComp):
        others = [node.elt]
    else:
        taken = [] if _goes_on(node) and not repeats else _taken(node)
        yield from (part.id for part in taken if isinstance(part, ast.Name))
        others = [*ast.iter_child_nodes(node)]
    repeats = repeats or isinstance(node, ast.For | ast.AsyncFor | ast.While)
    for one in others:
        yield from _gone_through(one, repeats=repeats)


def _goes_on(node: ast.AST) -> bool:
    yields = (ast.Yield, ast.YieldFrom)
    return isinstance(node, ast.For) and any(isinstance(one, yields) for one in ast.walk(node))


def _taken(node: ast.AST) -> list[ast.expr]:
    """Return the expressions whose elements a node takes."""
    if isinstance(node, ast.For | ast.comprehension):
        return [node.iter]
    if isinstance(node, ast.Starred):
        return [node.value]
    if isinstance(node, ast.Call) and _name(node.func) in _TAKERS:
        return node.args
    is_pop = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args
    return [node.func.value] if is_pop and node.func.attr == "pop" else []  # type: ignore[attr-defined]


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _has_another(value: Any) -> bool:
    """Whether a copy in another process has another order."""
    are_drawn = os.environ.get("PYTHONHASHSEED", "random") in ("", "random")
    if any(_hashes_anew(element, are_drawn) for element in value):
        return True
    return [*map(id, value)] != [*map(id, _copy(value))]


def _hashes_anew(element: Any, are_drawn: bool) -> bool:
    """Whether the hash of an element is another one in each process."""
    if isinstance(element, tuple | frozenset):
        return any(_hashes_anew(part, are_drawn) for part in element)
    by_address: Any = object.__hash__
    return (are_drawn and isinstance(element, str | bytes)) or (
        type(element).__hash__ is by_address and element is not None
    )


def _copy(value: Any) -> Any:
    """Return a set as a pickle makes it anew."""
    elements = [*value]
    if type(value) is frozenset:
        return frozenset(elements)
    copy: set[Any] = set()
    for begin in range(0, len(elements), _BATCH):
        copy.update(elements[begin : begin + _BATCH])
    return copy
