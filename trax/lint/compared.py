"""Finds values of the first state that a loop goes on using, where a resumed run has later ones.

What is made from the state before a loop is right if it is meant to be of the present state, such
as what is left to do. It is wrong if it is compared or computed with what later states give, as in
``energy(state) - before``: there it stands for the state of the first call.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator
from types import FunctionType
from typing import Any, Final

from trax.frames.names import COMPREHENSIONS, target_names
from trax.lint.callees import dotted
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.facts import keys_read, related
from trax.lint.findings import DROP_CREATE, Finding
from trax.lint.origins import KEPT, STATE
from trax.lint.outdated import contents_read
from trax.lint.parts import part_of
from trax.lint.trees import children, function_tree, key_of, nodes_of, scope_nodes
from trax.lint.turns import Loop

__all__ = ["compared"]

# Names of what belongs to the first state.
_FIRST: Final = r"(?i)[a-z]+_?0|(\w+_)?(init|initial|orig|original|baseline|reference)(_\w+)?"
_SIZES: Final = {"len", "range", "enumerate", "sorted", "set", "iter"}
_COMPARING: Final = {"min", "max", "isclose", "allclose", "array_equal", "dist", "distance"}
_COPIES: Final = {"copy", "deepcopy", "array", "asarray", "float", "int", "list", "tuple", "clone"}
_DEEP: Final = 4  # variables that are made of others
_WAYS: Final = ("Keep it in the state, or make it from the arguments.", DROP_CREATE)


def compared(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield the variables that stand for the first state, and those that the first call sets."""
    met: set[str] = set()
    by_first_call = _set_by_first_call(loop)
    for around in loop.loops:
        node = around[-1]
        entry = loop.origins.entries[id(node)]
        needed = loop.needs.in_body(node) | loop.needs.at(node)
        changed = {key.partition(".")[0] for key in loop.changed_in(node)}
        fixed = {key for key in entry if related(key, needed)} - changed - met - {loop.state}
        for name in sorted(fixed & by_first_call):
            cause = f"{name!r} is set by the first call alone, and is another in a resumed run"
            yield Finding(loop.line_of(name), 1, "reference", name, cause, _WAYS)
        made = {key.partition(".")[0] for key, flags in entry.items() if STATE in flags}
        first = fixed & made - by_first_call
        found = _Turn(loop, node, first).compared() if first else set()
        for name in sorted(found.union(one for one in first if _is_named_first(loop, one))):
            cause = f"{name!r} is made from the first state, but from a later one in a resumed run"
            yield Finding(loop.line_of(name), 1, "reference", name, cause, _WAYS)
        met |= fixed


def _is_named_first(loop: DeclaredLoop, name: str) -> bool:
    made = loop.callees.maker(name) if re.fullmatch(_FIRST, name) else None
    is_called = isinstance(made, ast.Call) and dotted(made.func) not in _SIZES
    return is_called or (isinstance(made, ast.Name) and made.id == loop.state)


def _set_by_first_call(loop: DeclaredLoop) -> set[str]:
    """Return the variables whose value tells nothing but that the run has just begun."""
    asking = [
        node
        for node, _, _ in loop.origins.before_loops
        if isinstance(node, ast.If) and loop.origins.asks_if_begun(node.test)
    ]
    env = dict(loop.origins.entries[id(loop.loops[0][-1])]) if asking and loop.loops else {}
    names = {name for one in nodes_of(ast.Assign, *asking) for name in _targets(one)}
    return {
        name
        for name in names
        if not any(loop.origins.flags(value, env) & KEPT for value in loop.callees.values(name))
    }


class _Turn:
    """A turn of a loop, and what follows it, with the variables that stay what they were before.

    Parameters
    ----------
    loop : DeclaredLoop
        The function.
    node : For, AsyncFor or While
        Its loop.
    first : set of str
        The variables that are made from the state before it, and not changed in it.
    """

    def __init__(self, loop: DeclaredLoop, node: Loop, first: set[str]) -> None:
        self._loop = loop
        self._node = node
        self._first = first
        changed = {key.partition(".")[0] for key in loop.changed_in(node)}
        self._before = loop.origins.entries[id(node)].keys() - changed
        statements = nodes_of(ast.stmt, loop.node.body)
        after = [one for one in statements if one.lineno > (node.end_lineno or 0)]
        parts: list[Any] = [node.body, *after]
        parts += [node.test] if isinstance(node, ast.While) else []
        self._nodes = [*scope_nodes(*parts)]
        self._items = dict(_items(self._nodes))
        self._moving = self._moving_names()

    def compared(self) -> set[str]:
        """Return the variables that are compared or computed with the same of the present state."""
        found: set[str] = set()
        ignored = self._ignored()
        of_first = self._first | {name for name, read in self._items.items() if read & self._first}
        for one in self._nodes:
            is_combined = isinstance(one, (ast.BinOp, ast.Compare, ast.Call))
            if not is_combined or one in ignored or self._read(one).isdisjoint(of_first):
                continue
            operands = self._operands(one)
            read = [*map(self._contents_read, operands)]
            for name in self._first.intersection(set().union(*read)) - found:
                if any(
                    name not in self._read(other) and self._is_same(name, other)
                    for other in operands
                ):
                    found.add(name)
        return found

    def _is_same(self, name: str, other: ast.expr) -> bool:
        """Whether an expression gives of the present state what a variable has of the first one."""
        if not self._read(other) & self._moving:
            return False
        if self._holds_name(name):
            return True
        measures = self._measures(ast.Name(name, ast.Load()), self._before | self._moving)
        return bool(measures) and measures <= self._measures(other, self._moving)

    # -- expressions -----------------------------------------------------------------------

    def _read(self, node: ast.AST) -> set[str]:
        """Return the variables that an expression reads, or has items of."""
        names = {key.partition(".")[0] for key in keys_read(node)}
        return names.union(*(self._items.get(name, ()) for name in names))

    def _contents_read(self, node: ast.AST) -> set[str]:
        """Return those of which it reads more than the size, and not as an index."""
        indices = {id(one.slice) for one in nodes_of(ast.Subscript, node)}
        names = contents_read(node, without=indices)
        return names.union(*(self._items.get(name, ()) for name in names))

    def _operands(self, node: ast.AST) -> list[ast.expr]:
        if isinstance(node, ast.BinOp):
            return [node.left, node.right]
        if isinstance(node, ast.Compare):
            return [node.left, *node.comparators]
        if isinstance(node, ast.Call) and self._is_followed(node.func):
            return [node.func, *node.args, *(one.value for one in node.keywords)]
        return []

    def _is_followed(self, func: ast.expr) -> bool:
        """Whether it is known of a function that it computes with what it is given."""
        name = dotted(func)
        if name.partition(".")[0] in self._first or name.rpartition(".")[2] in _COMPARING:
            return True
        found = self._loop.callees.resolved(func)
        is_near = isinstance(found, FunctionType) and self._loop.callees.is_near(found)
        return is_near or name in self._loop.callees.inner

    def _ignored(self) -> set[ast.AST]:
        """Return the nodes that decide about messages, and those that index what is left."""
        needs = self._loop.needs
        parts: list[ast.AST] = [
            one for one in nodes_of(ast.stmt, self._node.body) if not needs.matters(one)
        ]
        parts += [
            one.slice
            for one in self._nodes
            if isinstance(one, ast.Subscript) and self._read(one.value) & self._first
        ]
        return set(scope_nodes(*parts))

    def _moving_names(self) -> set[str]:
        """Return the variables that are made from the present state in a turn."""
        found = {self._loop.state}
        pairs = [*map(_assignment, self._nodes)]
        for _ in range(_DEEP):
            found.update(*(names for names, read in pairs if read & found))
            found.update(name for name, read in self._items.items() if read & found)
        return found

    # -- values of the first state -----------------------------------------------------------

    def _holds_name(self, name: str, depth: int = _DEEP) -> bool:
        """Whether a variable is the state itself, a copy of it, or an object that has it."""
        inner = self._loop.callees.inner.get(name)
        values = [] if name in self._unpacked else self._loop.callees.values(name)
        if inner is not None:
            defaults = [*inner.args.defaults, *filter(None, inner.args.kw_defaults)]
            names = keys_read(inner) & self._before
            return any(self._holds(one, self._is_new, depth) for one in defaults) or any(
                self._holds_name(one, depth - 1) for one in names - {name} if depth
            )
        return any(self._holds(one, self._is_new, depth) for one in (*values, *self._set(name)))

    @functools.cached_property
    def _unpacked(self) -> set[str]:
        """The variables that are parts of what is assigned."""
        before = [one for one, _, _ in self._loop.origins.before_loops]
        targets = [
            target for one in before if isinstance(one, ast.Assign) for target in one.targets
        ]
        return set().union(*(target_names(one) for one in targets if not isinstance(one, ast.Name)))

    @functools.cached_property
    def _is_new(self) -> bool:
        """Whether each step makes another object, and leaves the former state as it is."""
        return self._loop.folding in ("new", "increment")

    def _set(self, name: str) -> Iterator[ast.expr]:
        """Yield what the attributes and items of a variable are set to before the loops."""
        for one, _, _ in self._loop.origins.before_loops:
            if not isinstance(one, ast.Assign) or isinstance(one.targets[0], ast.Name):
                continue
            if (key_of(one.targets[0]) or "").partition(".")[0] == name:
                yield one.value

    def _holds(self, node: ast.expr | None, is_new: bool, depth: int) -> bool:
        """Whether a value has the first state in it, and not what becomes of it."""
        if not depth:
            return False
        if isinstance(node, ast.Name):
            is_state = node.id == self._loop.state and is_new
            return is_state or (node.id in self._before and self._holds_name(node.id, depth - 1))
        if isinstance(node, ast.Lambda):
            return any(self._holds_name(one, depth - 1) for one in keys_read(node) & self._before)
        parts: list[Any] = []
        if isinstance(node, ast.Call):
            parts = self._parts_kept(node)
            is_new = is_new or dotted(node.func).rpartition(".")[2] in _COPIES
        elif isinstance(node, ast.BinOp):
            parts, is_new = [node.left, node.right], True
        elif isinstance(node, ast.UnaryOp):
            parts, is_new = [node.operand], True
        elif isinstance(node, ast.Tuple | ast.List):
            parts = node.elts
        elif isinstance(node, ast.Dict):
            parts = node.values
        elif isinstance(node, ast.NamedExpr | ast.Starred):
            parts = [node.value]
        return any(self._holds(one, is_new, depth - 1) for one in parts)

    def _parts_kept(self, call: ast.Call) -> list[ast.expr]:
        """Return those arguments of a call that the result has in it."""
        given = [*call.args, *(one.value for one in call.keywords)]
        name = dotted(call.func).rpartition(".")[2]
        if name in _COPIES:
            return given or ([call.func.value] if isinstance(call.func, ast.Attribute) else [])
        if name == "partial":
            return given
        kind = self._loop.callees.resolved(call.func)
        return _arguments_kept(call, kind) if isinstance(kind, type) else []

    def _measures(self, node: ast.expr, names: set[str], depth: int = _DEEP) -> set[str]:
        """Return what an expression asks of the state: functions, and sizes and parts as texts.

        Those of `names` are what they are made of.
        """
        if isinstance(node, ast.Name):
            is_made = depth and node.id in names and node.id != self._loop.state
            made = self._loop.callees.maker(node.id) if is_made else None
            return set() if made is None else self._measures(made, names, depth - 1)
        part = part_of(node, self._loop.state)
        if part:
            return {part}
        if isinstance(node, ast.Call) and self._read(node) & self._moving:
            name = dotted(node.func)
            return {ast.unparse(node) if name in _SIZES else name.rpartition(".")[2]}
        parts = (one for one in children(node) if isinstance(one, ast.expr))
        return set().union(*(self._measures(one, names, depth) for one in parts))


def _arguments_kept(call: ast.Call, kind: type) -> list[ast.expr]:
    """Return the arguments that an object of one of the user's classes has as they are given."""
    if dataclasses.is_dataclass(kind):
        return [*call.args, *(one.value for one in call.keywords)]
    init = vars(kind).get("__init__")
    tree = function_tree(init.__code__) if isinstance(init, FunctionType) else None
    if tree is None:
        return []
    kept = {
        one.value.id
        for one in nodes_of(ast.Assign, tree.body)
        if isinstance(one.value, ast.Name) and isinstance(one.targets[0], ast.Attribute)
    }
    names = [one.arg for one in tree.args.args[1:]]
    given = [one for name, one in zip(names, call.args, strict=False) if name in kept]
    return given + [one.value for one in call.keywords if one.arg in kept]


def _targets(node: ast.Assign) -> set[str]:
    return set().union(*map(target_names, node.targets))


def _assignment(node: ast.AST) -> tuple[set[str], set[str]]:
    """Return the variables that a node binds, and those of which their values are made."""
    if isinstance(node, ast.Assign):
        names = _targets(node)
    elif isinstance(node, ast.AugAssign | ast.AnnAssign | ast.NamedExpr):
        names = target_names(node.target)
    else:
        return set(), set()
    read = keys_read(node.value) if node.value is not None else set()
    return names, {key.partition(".")[0] for key in read}


def _items(nodes: Iterable[ast.AST]) -> Iterator[tuple[str, set[str]]]:
    """Yield the variables of loops and comprehensions, with those of whose items they are."""
    for node in nodes:
        if isinstance(node, ast.For | ast.AsyncFor):
            parts = [(node.target, node.iter)]
        elif isinstance(node, COMPREHENSIONS):
            parts = [(one.target, one.iter) for one in node.generators]
        else:
            continue
        for target, source in parts:
            for part, given in _pairs(target, source):
                read = {key.partition(".")[0] for key in keys_read(given)}
                yield from ((name, read) for name in target_names(part))


def _pairs(target: ast.expr, source: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    called = dotted(source.func) if isinstance(source, ast.Call) else ""
    elements = target.elts if isinstance(target, ast.Tuple) else []
    if isinstance(source, ast.Call) and called == "zip":
        for one, given in zip(elements, source.args, strict=False):
            yield from _pairs(one, given)
    elif isinstance(source, ast.Call) and called == "enumerate" and elements[1:] and source.args:
        yield from _pairs(elements[1], source.args[0])
    elif called != "range":
        yield target, source
