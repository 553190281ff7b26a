"""Finds out by the source of a loop if the order of a set in its state can matter to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from trax.calls.in_place import InPlace
from trax.frames.set_order import UNORDERED
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.trees import forget, function_tree

if TYPE_CHECKING:
    from trax.calls.call import Call

__all__ = ["ignores_order"]

_PATH: Final = re.compile(r"state(\.(?P<attribute>\w+)|\['(?P<item>\w+)'\])?")
_BUILTIN: Final = (set, frozenset, dict, list)
_ASKING: Final = {
    *("add", "clear", "difference_update", "discard", "intersection_update", "isdisjoint"),
    *("issubset", "issuperset", "remove", "symmetric_difference_update", "update"),
}
_ADDING: Final = {"append", "extend", "update"}  # methods of builtin states that hand out no part
_COPIES: Final = {"frozenset", "set"}  # in which a loop may look for an order again
_HANDED: Final = (ast.Yield, ast.Return)


def ignores_order(call: Call, state: Any, path: str) -> bool:
    """Return whether a loop only asks a set for elements, and adds some or takes some away.

    The set is the state, or directly in it, where `path` leads. All functions that get the state
    are read: the loop, ``replay_log`` and the methods of the state's class. If the source of one
    is not there, or hands the set or the state on, the order may matter.
    """
    found = _PATH.fullmatch(path)
    if found is None:
        return False
    part = found["attribute"] or found["item"] or ""
    try:
        functions = [*_functions(call, type(state))]
        return all(
            node is not None and _only_asks(node, root, part, type(state) in _BUILTIN)
            for node, root in functions
        )
    except Exception:  # noqa: BLE001  # what cannot be read, such as too deep a tree, can be run
        return False
    finally:
        forget()


def _functions(call: Call, kind: type) -> Iterator[tuple[ast.AST | None, str]]:
    """Yield the functions that get the state, and its name in each; None without the source."""
    code = call.function.__code__
    node = function_tree(code)
    if node is None:
        yield None, ""
        return
    loop = DeclaredLoop(call.function, node, call.options)  # type: ignore[arg-type]
    yield ast.Module(node.body, []), loop.state
    is_builtin = kind in _BUILTIN and isinstance(call.log_mode.fold, InPlace)
    if call.log_mode.has_function and not is_builtin:
        yield loop.replay, _first(loop.replay)
    for cls in kind.__mro__:
        if cls in (*_BUILTIN, object):
            continue
        for name, method in vars(cls).items():
            function = getattr(method, "fget", None) or getattr(method, "__func__", method)
            if isinstance(function, FunctionType) and not _is_for_show(name, function):
                tree = function_tree(function.__code__)
                yield tree, _first(tree)


def _is_for_show(name: str, function: FunctionType) -> bool:
    """Return whether a method makes a text of an object, or `dataclass` has made it."""
    is_made = function.__code__.co_filename == "<string>" or function.__module__ == "dataclasses"
    return name in ("__repr__", "__str__") or is_made


def _first(node: Any) -> str:
    arguments = (*node.args.posonlyargs, *node.args.args) if node is not None else ()
    return arguments[0].arg if arguments else ""


def _only_asks(tree: ast.AST, root: str, part: str, is_builtin: bool) -> bool:
    """Return whether a function only asks a set: the variable `root`, or `part` of any object."""
    above = {one: node for node in ast.walk(tree) for one in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        is_root = isinstance(node, ast.Name) and node.id == root
        if _is_part(node, part) if part else is_root:
            if not _is_asked(node, above, hands_out=not part):
                return False
        elif is_root and not _is_taken_apart(node, above[node], is_builtin):
            return False
    return True


def _is_part(node: ast.AST, part: str) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == part
    key = node.slice if isinstance(node, ast.Subscript) else None
    return isinstance(key, ast.Constant) and key.value == part


def _is_asked(node: ast.AST, above: dict[ast.AST, ast.AST], *, hands_out: bool) -> bool:
    """Return whether an expression of a set stands where its order does not matter."""
    user = above[node]
    if isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
        return True
    match user:
        case ast.Compare() | ast.UnaryOp():
            return True
        case ast.If(test) | ast.While(test) | ast.IfExp(test) if test is node:
            return True
        case ast.Attribute(_, name):
            return name in _ASKING
        case ast.Call(ast.Name(name)):
            return name in UNORDERED - _COPIES
        case ast.BinOp() | ast.BoolOp():
            return _is_asked(user, above, hands_out=hands_out)
    return hands_out and isinstance(user, (*_HANDED, ast.Lambda))


def _is_taken_apart(node: ast.AST, user: ast.AST, is_builtin: bool) -> bool:
    """Return whether a part of a state is taken, or all of it is handed over as the new state."""
    if isinstance(getattr(node, "ctx", None), ast.Store) or isinstance(user, (*_HANDED, ast.arg)):
        return True
    if isinstance(user, ast.Attribute):
        return not is_builtin or user.attr in _ADDING
    return isinstance(user, ast.Subscript) and isinstance(user.slice, ast.Constant)
