"""Finds out by its source if entering a context manager changes anything outside of the loop.

A manager that changes only what is stored with the loop, such as a list of the loop's, is stored
itself: its block was entered already. One that changes the process, such as an attribute of a
module, has to be entered again. Functions that it calls are looked into.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import decimal
import inspect
from collections.abc import Collection, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, Final, NamedTuple

from trax.errors import CodecError
from trax.frames.names import own_nodes, root
from trax.frames.prologue import changed_place, is_harmless
from trax.frames.remade_kinds import CONSTANTS
from trax.frames.settings import SETTERS, is_known
from trax.frames.source import node_of
from trax.frames.suspended import code_of, frame_of, variables

__all__ = ["acts_outside", "changed_state"]

_DEEP: Final = 3  # calls of functions that are looked into
_APART: Final = (ModuleType, type, FunctionType, decimal.Context)  # not stored as what they are
_UNKNOWN: Final = object()
_OUTSIDE: Final = object()  # stands for an object that is not stored with a loop
_SETTINGS: Final = ("decimal.getcontext()", "environ", "getcontext()", "os.environ")
_RNGS: Final = ("set_rng_state", "set_state", "setstate")
# Functions whose result is not all that they do, by the beginnings of their names.
_STARTING: Final = (
    *("acquire", "activate", "disable", "enable", "install", "patch", "push", "redirect"),
    *("register", "set", "signal", "start", "switch"),
)


def acts_outside(manager: Any) -> bool:
    """Whether entering a manager may change anything that is not stored with a loop."""
    if isinstance(manager, contextlib.ExitStack | contextlib.AsyncExitStack):
        ends = (end for _, end in manager._exit_callbacks)  # type: ignore[union-attr]  # noqa: SLF001
        return any(acts_outside(end.__self__) for end in ends if type(end) is MethodType)
    if hasattr(manager, "acquire"):  # a lock
        return True
    entering = _entering(manager)
    return entering is None or entering.acts_outside(_DEEP)


def changed_state(manager: Any, values: Collection[Any], *, is_kept: bool = False) -> str:
    """Return what entering a manager visibly changes of a loop's values; empty if nothing.

    A manager that the loop keeps, and enters more than once, may count that.
    """
    entering = _entering(manager)
    if entering is None:
        return ""
    known = {id(one) for one in values if one is not manager and not isinstance(one, CONSTANTS)}
    return entering.changed_state(known) or (entering.counted(manager) if is_kept else "")


class _Entering(NamedTuple):
    """What runs when a manager is entered.

    Attributes
    ----------
    nodes : list of AST
        The nodes of the statements that run.
    local : mapping
        The variables of the function, with their values as far as they are known.
    around : mapping
        The variables of its module.
    """

    nodes: list[ast.AST]
    local: Mapping[str, Any]
    around: Mapping[str, Any]

    def acts_outside(self, depth: int) -> bool:
        """Whether the statements may change anything outside; calls are followed to a depth."""
        alone = {id(_awaited(one.value)) for one in self.nodes if isinstance(one, ast.Expr)}
        entered = {id(one.context_expr) for one in self.nodes if isinstance(one, ast.withitem)}
        for node in self.nodes:
            if isinstance(node, ast.Global):
                return True
            if isinstance(node, ast.Call):
                is_alone = id(node) in alone
                if id(node) not in entered and self._calls_outside(node, depth, is_alone=is_alone):
                    return True
            elif (place := _owner(node)) is not None and self._is_outside(place):
                return True
        return False

    def _calls_outside(self, call: ast.Call, depth: int, *, is_alone: bool) -> bool:
        function = self._value(call.func)
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if function in (setattr, delattr):
            return self._is_outside(call.args[0])
        if is_harmless(name) or name in (*SETTERS, *_RNGS) or isinstance(function, type):
            return False
        if type(function) is FunctionType and depth:
            entering = _called(function, [*self._given(call)])
            if entering is not None:
                return entering.acts_outside(depth - 1)
        owner = call.func.value if isinstance(call.func, ast.Attribute) else call.func
        is_starting = name.lower().lstrip("_").startswith(_STARTING)
        return (is_alone or is_starting) and self._is_outside(owner)

    def _given(self, call: ast.Call) -> Iterator[Any]:
        """Yield the arguments of a call, with the object that it is a method of."""
        nodes = [*call.args]
        if isinstance(call.func, ast.Attribute):
            owner = call.func.value
            nodes[:0] = [] if isinstance(self._value(owner), ModuleType) else [owner]
        for node in nodes:
            yield _OUTSIDE if self._is_outside(node) else self._value(node)

    def _is_outside(self, node: Any) -> bool:
        """Whether an expression leads to an object that is not stored with a loop."""
        if isinstance(self._value(node), _APART):
            return True
        if ast.unparse(node) in _SETTINGS or not root(node):
            return False
        if isinstance(node, ast.Attribute) and self._is_of_class(node):
            return True
        if not isinstance(node, ast.Name):
            return self._is_outside(node.func if isinstance(node, ast.Call) else node.value)
        if node.id not in self.local:
            return not hasattr(builtins, node.id)
        value = self.local[node.id]
        is_shared = any(value is one for one in self.around.values())
        return value is _OUTSIDE or (is_shared and not isinstance(value, CONSTANTS))

    def _is_of_class(self, node: ast.Attribute) -> bool:
        """Whether an attribute is one of the class, which all its objects share."""
        owner, value = self._value(node.value), self._value(node)
        is_data = value is not _UNKNOWN and not hasattr(type(value), "__get__")
        return is_data and node.attr not in getattr(owner, "__dict__", ())

    def _value(self, node: ast.AST) -> Any:
        """Return the object that a name or attribute leads to, without running anything."""
        if isinstance(node, ast.Name):
            if node.id in self.local:
                return self.local[node.id]
            return self.around.get(node.id, getattr(builtins, node.id, _UNKNOWN))
        if isinstance(node, ast.Attribute):
            return inspect.getattr_static(self._value(node.value), node.attr, _UNKNOWN)
        return _UNKNOWN

    def changed_state(self, known: Collection[int]) -> str:
        """Return the first change of an object, or of a part of one, whose identity is known."""
        for place in filter(None, map(changed_place, self.nodes)):
            one: Any = place
            while id(self._value(one)) not in known and not isinstance(one, ast.Name):
                one = getattr(one, "value", None) or getattr(one, "func", None) or ast.Name("")
            if id(self._value(one)) in known:
                return ast.unparse(place)
        return ""

    def counted(self, manager: Any) -> str:
        """Return the first attribute of the manager that is raised each time."""
        raised = (node.target for node in self.nodes if isinstance(node, ast.AugAssign))
        owned = (one for one in raised if isinstance(one, ast.Attribute))
        return next((ast.unparse(one) for one in owned if self._value(one.value) is manager), "")


def _awaited(value: ast.expr) -> ast.expr:
    return value.value if isinstance(value, ast.Await) else value


def _owner(node: ast.AST) -> ast.expr | None:
    """Return the object of which a node assigns an attribute or an item."""
    is_place = isinstance(node, ast.Attribute | ast.Subscript)
    return node.value if is_place and not isinstance(node.ctx, ast.Load) else None  # type: ignore[attr-defined]


def _entering(manager: Any) -> _Entering | None:
    """Return what runs when a manager is entered; None if it has no source."""
    kind = type(manager)
    try:
        if isinstance(manager, contextlib._GeneratorContextManagerBase):  # noqa: SLF001
            return _until_yield(manager.gen)
        enter: Any = getattr(kind, "__enter__", None) or getattr(kind, "__aenter__", None)
        is_ours = type(enter) is FunctionType and not is_known(manager)
        return _called(enter, [manager]) if is_ours else None
    except CodecError:  # the generator cannot be read
        return None


def _until_yield(loop: Any) -> _Entering | None:
    """Return what has run of a generator."""
    frame = frame_of(loop)
    if frame is None:
        return None
    tree, last = node_of(code_of(loop)), frame.f_lineno
    if tree is None:
        return None
    body = own_nodes(ast.Module(tree.body, []))
    nodes = [node for node in body if getattr(node, "lineno", last) < last]
    local = _unknown(code_of(loop)) | variables(loop)
    return _Entering(nodes, local, frame.f_globals)


def _called(function: FunctionType, given: list[Any]) -> _Entering | None:
    """Return what runs when a function is called; None if it has no source."""
    code = function.__code__
    tree = node_of(code)
    if tree is None:
        return None
    local = _unknown(code) | dict(zip(code.co_varnames, given, strict=False))
    return _Entering([*own_nodes(ast.Module(tree.body, []))], local, function.__globals__)


def _unknown(code: CodeType) -> dict[str, Any]:
    return dict.fromkeys((*code.co_varnames, *code.co_cellvars, *code.co_freevars), _UNKNOWN)
