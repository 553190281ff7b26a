"""Facts of single statements: the variables that one reads, binds and changes in place.

A variable is given by its name, and an attribute of one as in ``opt.rate``, so that a change of one
attribute is none of another. A method is called on the whole object.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from trax.frames.names import COMPREHENSIONS, assigned, bound_inside, own_names, read
from trax.frames.prologue import changed
from trax.frames.source import Function
from trax.lint.callees import Callees
from trax.lint.trees import children, key_of, remembered, scope_nodes

__all__ = ["Facts", "FactsOf", "Writes", "assigned_values", "keys_read", "related", "targets"]

_SCOPES: Final = (*COMPREHENSIONS, ast.Lambda, ast.FunctionDef, ast.AsyncFunctionDef)
_APART: Final = {*ast.stmt.__subclasses__(), *_SCOPES}  # nodes whose variables are found once
_SIMPLE: Final = (ast.Assign, ast.AugAssign, ast.Expr)


@dataclass(slots=True)
class Facts:
    """Facts of a statement without those in it.

    Attributes
    ----------
    reads : set of str
        The variables that it reads.
    binds : set of str
        Those that it binds.
    replaces : set of str
        Those whose former content is of no account afterwards, with those that it binds.
    changes : set of str
        Those that it changes in place.
    matters : bool
        Whether it does more than bind and change variables: it yields, returns, or calls a function
        of which nothing is known.
    """

    reads: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    replaces: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    matters: bool = False


class Writes:
    """The statements in a body that bind a variable, and those that change one in place, by it."""

    def __init__(self, pairs: Iterable[tuple[ast.stmt, Facts]]) -> None:
        self.binds: dict[str, list[ast.stmt]] = {}
        self.changes: dict[str, list[ast.stmt]] = {}
        for node, facts in pairs:
            for key in facts.binds:
                self.binds.setdefault(key, []).append(node)
            for key in facts.changes:
                self.changes.setdefault(key, []).append(node)


def related(key: str, keys: Iterable[str]) -> bool:
    """Whether a change of a variable is seen by those who read one of some variables."""
    root = key.partition(".")[0]
    if key in keys or root in keys:
        return True
    return key == root and any(one.startswith(f"{root}.") for one in keys)


def keys_read(*nodes: ast.AST) -> set[str]:
    """Return the variables that expressions read, also in the functions in them."""
    return set().union(*map(_keys_read, nodes))


@remembered
def _keys_read(node: ast.AST) -> set[str]:
    """Return what `keys_read` does for one node; each statement is looked through once."""
    found = set[str]()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.Name):
            if isinstance(one.ctx, ast.Load):
                found.add(one.id)
        elif type(one) in _APART and one is not node:
            found |= _keys_read(one)
        elif isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name):
            if isinstance(one.ctx, ast.Load):
                found.add(f"{one.value.id}.{one.attr}")
        elif isinstance(one, ast.Subscript) and not isinstance(one.ctx, ast.Load):
            waiting.append(one.slice)  # its object is changed, and perhaps not read
            waiting += children(one.value)
        elif isinstance(one, ast.Call):
            waiting += one.args
            waiting += [given.value for given in one.keywords if given.arg != "out"]  # is written
            # A method may read the whole object.
            waiting.append(one.func.value if isinstance(one.func, ast.Attribute) else one.func)
        else:
            waiting += children(one)
    if isinstance(node, _SCOPES):
        own = own_names(node)
        return {key for key in found if key.partition(".")[0] not in own}
    return found


def targets(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the targets in a target of an assignment."""
    if isinstance(node, (ast.Tuple, ast.List)):
        for one in node.elts:
            yield from targets(one)
    elif isinstance(node, ast.Starred):
        yield from targets(node.value)
    else:
        yield node


def assigned_values(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the targets of an assignment, and the values where they are seen one by one."""
    value, both = node.value, (ast.Tuple, ast.List)
    for target in node.targets:
        if isinstance(target, both) and isinstance(value, both):
            if len(target.elts) == len(value.elts):
                yield from zip(target.elts, value.elts, strict=True)
        else:
            yield target, value


class FactsOf:
    """Finds the facts of the statements of one function, each once."""

    def __init__(self, callees: Callees) -> None:
        self._callees = callees
        self._found: dict[ast.stmt, Facts] = {}
        self._inner = {name: _inner_facts(node) for name, node in callees.inner.items()}
        self._finders: dict[type[ast.AST], Callable[[Facts, Any], None]] = {
            **dict.fromkeys((ast.Assign, ast.AugAssign, ast.AnnAssign), self._assign),
            **dict.fromkeys((ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef), self._define),
            **dict.fromkeys((ast.MatchAs, ast.MatchStar, ast.ExceptHandler), self._define),
            **dict.fromkeys((ast.Yield, ast.YieldFrom, ast.Return, ast.Raise), self._matter),
            ast.NamedExpr: self._assign,
            ast.withitem: self._enter,
            ast.Delete: self._delete,
            ast.Call: self._call,
            ast.Expr: self._express,
            ast.alias: self._import,
        }

    def __call__(self, node: ast.stmt) -> Facts:
        """Return the facts of a statement, without those of the statements in it."""
        found = self._found.get(node)
        if found is None:
            found = self._found[node] = Facts()
            given = _head(node)
            for one in scope_nodes(*given):
                find = self._finders.get(type(one))
                if find is not None:
                    find(found, one)
            if isinstance(node, (ast.For, ast.AsyncFor)):
                self._bind(found, node.target)
            for key in [*found.changes]:
                found.changes |= self._callees.bases(key.partition(".")[0])
            found.reads.update(*map(_keys_read, given))
        return found

    def _matter(self, facts: Facts, _: ast.AST) -> None:
        facts.matters = True

    def _express(self, facts: Facts, node: ast.Expr) -> None:
        facts.matters |= self._has_effect(node.value)

    def _define(self, facts: Facts, node: Any) -> None:
        facts.binds |= {node.name} if node.name else set()

    def _import(self, facts: Facts, node: ast.alias) -> None:
        facts.binds.add((node.asname or node.name).partition(".")[0])

    def _enter(self, facts: Facts, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._bind(facts, node.optional_vars)

    def _delete(self, facts: Facts, node: ast.Delete) -> None:
        for one in node.targets:
            self._bind(facts, one)

    def _assign(
        self, facts: Facts, node: ast.Assign | ast.AugAssign | ast.AnnAssign | ast.NamedExpr
    ) -> None:
        if isinstance(node, ast.AnnAssign) and node.value is None:
            return
        given = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in given:
            if isinstance(node, ast.AugAssign):
                key = key_of(target)
                facts.reads |= {key} if key else set()
                if key and not isinstance(target, ast.Name):
                    facts.changes.add(key)
                    continue
            self._bind(facts, target, is_augmented=isinstance(node, ast.AugAssign))

    def _bind(self, facts: Facts, target: ast.expr, *, is_augmented: bool = False) -> None:
        for one in targets(target):
            key = key_of(one)
            if key is None:
                continue
            if isinstance(one, ast.Name):
                facts.binds.add(key)
                if not is_augmented:
                    facts.replaces.add(key)
                continue
            facts.changes.add(key)
            is_attribute = isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name)
            if is_attribute or _is_whole(one):
                facts.replaces.add(key)

    def _call(self, facts: Facts, call: ast.Call) -> None:
        for one in self._callees.changes(call):
            key = key_of(one)
            if key is not None:
                facts.changes.add(key)
                if getattr(call.func, "attr", "") in ("clear", "fill"):
                    facts.replaces.add(key)
        for given in call.keywords:
            key = key_of(given.value) if given.arg == "out" else None
            if key is not None and key not in keys_read(*call.args):
                facts.replaces.add(key)
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in self._inner:
            facts.changes |= self._inner[name].changes
            facts.reads |= self._inner[name].reads

    def _has_effect(self, value: ast.expr) -> bool:
        """Whether a call is made for an effect that cannot be seen in the function."""
        while isinstance(value, ast.Await):
            value = value.value
        if not isinstance(value, ast.Call):
            return False
        if isinstance(value.func, ast.Name) and value.func.id in self._inner:
            return self._inner[value.func.id].matters and not self._callees.is_report(value)
        return not (self._callees.adds_only(value) or self._callees.is_report(value))


def _head(node: ast.stmt) -> list[ast.AST]:
    """Return a statement, or the parts of a compound one that are run before those in it."""
    if isinstance(node, _SIMPLE):  # as most are
        return [node]
    if isinstance(node, (ast.If, ast.While)):
        return [node.test]
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return [node.target]
    if isinstance(node, (ast.With, ast.AsyncWith)):
        return [*node.items]
    if isinstance(node, ast.Match):
        patterns = (part for case in node.cases for part in (case.pattern, case.guard) if part)
        return [node.subject, *patterns]
    return [] if isinstance(node, (ast.Try, ast.TryStar)) else [node]


def _is_whole(node: ast.expr) -> bool:
    """Whether a target is all of the items of an object, such as ``a[:]``."""
    if not isinstance(node, ast.Subscript) or isinstance(node.value, ast.Subscript):
        return False
    part = node.slice
    is_ellipsis = isinstance(part, ast.Constant) and part.value is ...
    is_slice = isinstance(part, ast.Slice) and not (part.lower or part.upper or part.step)
    return is_ellipsis or is_slice


def _inner_facts(node: Function) -> Facts:
    """Return what a call of a function inside of the loop's function reads and changes there."""
    body = ast.Module(node.body, [])
    outer = bound_inside(node)
    own = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}
    own |= set().union(*map(assigned, node.body)) - outer
    changes = {name + (part if part[:1] == "." else "") for name, part in changed(body)}
    return Facts(
        reads=read(node) - own,
        changes={key for key in changes if key.partition(".")[0] not in own} | outer,
        matters=any(isinstance(one, ast.Call | ast.Global) for one in ast.walk(body)),
    )
