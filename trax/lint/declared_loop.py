"""A loop with a declared state as it is read: its tree, its options, and what is known of both."""

from __future__ import annotations

import ast
import functools
import operator
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any, Final, Literal

from trax.calls.in_place import InPlace
from trax.calls.log_mode import log_mode
from trax.calls.options import Options
from trax.frames.prologue import changed
from trax.frames.source import Function
from trax.lint.callees import MUTATORS, Callees
from trax.lint.facts import Facts, FactsOf, Writes
from trax.lint.needs import Needs
from trax.lint.origins import Origins
from trax.lint.text_sets import TextSets
from trax.lint.trees import function_tree, key_of, keyword_tree, nodes_of
from trax.lint.turns import Loop, loops_around_yields

__all__ = ["DeclaredLoop", "is_method"]

_VALUES: Final = (int, float, complex, bool, str, bytes, tuple, frozenset)
_PURE: Final = (operator.add, operator.or_, operator.sub, operator.mul, max, min)
_NEW: Final = (
    *(ast.BinOp, ast.List, ast.Tuple, ast.Dict, ast.Set, ast.Constant, ast.ListComp, ast.SetComp),
    *(ast.DictComp, ast.UnaryOp, ast.Compare),
)


class DeclaredLoop:
    """What is known of a function with a declared state.

    Attributes
    ----------
    name : str
        The function's name.
    node : FunctionDef or AsyncFunctionDef
        Its tree.
    state : str
        The parameter for the state.
    parameters : set of str
        All parameters.
    loops : list of tuple of For, AsyncFor or While
        The loops around yields, each after those around itself.
    changed_in_place : set of str
        The objects in the state that ``replay_log`` changes, as expressions.
    adds_one : bool
        Whether each increment makes the state longer by one.
    folding : {"new", "in place", "increment", "none", "unknown"}
        How ``replay_log`` makes the new state: as another object; perhaps by changing the former
        one; by taking the increment; or there is none.
    """

    def __init__(self, function: FunctionType, node: Function, options: Options) -> None:
        code = function.__code__
        self.name = node.name
        self.node = node
        names = code.co_varnames
        self.state = names[is_method(code)]
        number = code.co_argcount + code.co_kwonlyargcount
        self.parameters = {*names[:number]}
        self._locals = {*names, *code.co_cellvars}
        self._free = {*code.co_freevars}
        self.ignores_rngs = options.rng is None
        self.create = options.create
        kind = _class_of(options.create)
        self.state_class = kind
        kinds = {self.state: kind} if kind is not None else {}
        self.callees = Callees(function, node, kinds)
        self.facts = FactsOf(self.callees)
        self._writes: dict[ast.stmt, Writes] = {}
        self.replay = _replay(node, options, kind)
        self.folding = _folding(options, self.replay)
        fold = options.replay_log
        self.adds_one = isinstance(fold, InPlace) and fold.method in ("append", "add")
        self.changed_in_place = {*_changed_objects(self.replay, self.state)}
        self.loops: list[tuple[Loop, ...]] = [*loops_around_yields(node.body)]

    @functools.cached_property
    def origins(self) -> Origins:
        """The origins of the values."""
        sets = TextSets(self.callees, self.state, _first_state(self.node, self.create))
        return Origins(self.node, self.callees, self.facts, self.state, sets)

    @functools.cached_property
    def needs(self) -> Needs:
        """The variables that are needed."""
        stored = {self.state} if self.folding == "none" else set()
        return Needs(self.node, self.facts, self.outside | stored)

    @functools.cached_property
    def outside(self) -> set[str]:
        """The variables of others that the function changes."""
        body, found = self.node.body, set[str]()
        declared: list[Any] = [*nodes_of(ast.Global, body), *nodes_of(ast.Nonlocal, body)]
        for node in declared:
            found.update(node.names)
        for key in self._built_up():
            root = key.partition(".")[0]
            is_other = root not in self._locals or root in self.parameters
            if is_other and root not in (self.state, *self._free):  # perhaps the caller's own
                found.add(key)
        return found

    def is_local(self, key: str) -> bool:
        """Whether a variable is one of the function's own."""
        return key.partition(".")[0] in self._locals

    def _built_up(self) -> set[str]:
        """Return the objects that surely hold what the steps put into them."""
        kinds = (ast.AugAssign, ast.Assign, ast.Call)
        nodes = (node for kind in kinds for node in nodes_of(kind, self.node.body))
        return set().union(*map(self.callees.built_up, nodes))

    def facts_in(self, *bodies: Sequence[ast.stmt]) -> list[tuple[ast.stmt, Facts]]:
        """Return the statements in some bodies, with their facts."""
        return [(one, self.facts(one)) for one in nodes_of(ast.stmt, *bodies)]

    def changed_in(self, node: Loop) -> dict[str, int]:
        """Return the variables that a loop binds or changes, with the first lines."""
        found: dict[str, int] = {}
        for one, facts in self.facts_in(node.body, node.orelse):
            for key in sorted(facts.binds | facts.changes):
                found.setdefault(key, one.lineno)
        if isinstance(node, ast.While):
            for key in self.facts(node).binds | self.facts(node).changes:
                found.setdefault(key, node.lineno)
        return found

    def line_of(self, name: str) -> int:
        """Return the line that binds a variable or changes it first."""
        for one, facts in self.facts_in(self.node.body):
            if name in facts.binds | facts.changes:
                return one.lineno
        return self.node.lineno

    def writes(self, node: Loop | Function) -> Writes:
        """Return which statements in a body bind and change which variables."""
        if node not in self._writes:
            self._writes[node] = Writes(self.facts_in(node.body))
        return self._writes[node]


def is_method(code: CodeType) -> bool:
    """Whether the first parameter of a function is an object or a class."""
    return "." in code.co_qualname.rpartition("<locals>.")[2] and code.co_varnames[:1] in _BOUND


_BOUND: Final = (("self",), ("cls",))


def _class_of(create: Any) -> type | None:
    if isinstance(create, type):
        return create
    owner = getattr(create, "__self__", None)
    return owner if isinstance(owner, type) else None


def _first_state(node: Function, create: Any) -> ast.expr | None:
    """Return the expression that ``create`` returns, if it is a single one."""
    given = keyword_tree(node, "create")
    if isinstance(given, ast.Lambda):
        return given.body
    tree = function_tree(create.__code__) if isinstance(create, FunctionType) else None
    returned = nodes_of(ast.Return, tree.body) if tree is not None else ()
    values = [one.value for one in returned]
    return values[0] if len(values) == 1 else None


def _replay(node: Function, options: Options, kind: type | None) -> Function | ast.Lambda | None:
    """Return the tree of ``replay_log``, if it is a function whose source is there."""
    fold = options.replay_log if log_mode(options.replay_log).has_function else None
    if isinstance(fold, InPlace):
        fold = getattr(kind, fold.method, None)
    if not isinstance(fold, FunctionType) or fold.__code__.co_argcount < len("si"):
        return None
    given = keyword_tree(node, "replay_log")
    return given if isinstance(given, ast.Lambda) else function_tree(fold.__code__)


def _folding(options: Options, tree: Function | ast.Lambda | None) -> Folding:
    mode = log_mode(options.replay_log)
    if not mode.is_logged or mode.replaces_state:
        return "increment" if mode.is_logged else "none"
    if options.replay_log in _PURE:
        return "new"
    if isinstance(options.replay_log, InPlace):
        return "in place"
    if tree is None:
        return "unknown"
    state, increment = (one.arg for one in (*tree.args.posonlyargs, *tree.args.args)[:2])
    returned: list[ast.expr | None] = [tree.body] if isinstance(tree, ast.Lambda) else []
    if isinstance(tree, Function):
        returned = [one.value for one in nodes_of(ast.Return, tree.body)]
    if any(name == state for name, _ in changed(tree)):
        return "in place"
    if returned and all(isinstance(one, ast.Name) and one.id == increment for one in returned):
        return "increment"
    is_new = all(isinstance(one, _NEW) for one in returned) or options.create in _VALUES
    return "new" if returned and is_new else "unknown"


def _changed_objects(tree: Function | ast.Lambda | None, state: str) -> Iterator[str]:
    """Yield the objects in the state that ``replay_log`` changes, as the loop writes them."""
    if tree is None:
        return
    (own, *_) = (*tree.args.posonlyargs, *tree.args.args)
    for one in ast.walk(tree):
        place: ast.expr | None = None
        if isinstance(one, ast.Subscript) and not isinstance(one.ctx, ast.Load):
            place = one.value
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            place = one.func.value if one.func.attr in MUTATORS else None
        if place is not None and (key_of(place) or "").partition(".")[0] == own.arg:
            yield state + ast.unparse(place).removeprefix(own.arg)


Folding = Literal["new", "in place", "increment", "none", "unknown"]
