"""The prologue of a yield: the statements that ran once before its loops, and what they change."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import Final, NamedTuple

from trax.frames.sites import COMPREHENSIONS, Site, Step, own_nodes

__all__ = [
    "Statement",
    "bound",
    "changed",
    "has_yield",
    "prologue",
    "read",
    "rest",
    "root",
    "tree",
    "used",
]

_SCOPE_STATEMENTS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_SCOPES: Final = (*_SCOPE_STATEMENTS, ast.Lambda, *COMPREHENSIONS)
_NAMED: Final = (*_SCOPE_STATEMENTS, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)
_PLACES: Final = (ast.Attribute, ast.Subscript)
_MUTATORS: Final = frozenset(
    [
        *("add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert"),
        *("pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort"),
        "update",
    ]
)


class Statement(NamedTuple):
    """A statement before the loops around a yield.

    Attributes
    ----------
    depth : int
        The depth in the path to the yield of the statements among which it stands.
    node : stmt
        Its tree.
    """

    depth: int
    node: ast.stmt


def prologue(site: Site) -> Iterator[Statement]:
    """Yield the statements that ran once before a yield, in order.

    They stand before it in the function, or in the blocks around it, up to the outermost loop.
    """
    for depth, step in enumerate(site.path):
        for node in step.statements[: step.index]:
            yield Statement(depth, node)
        if not _runs_once(step):
            return


def rest(site: Site) -> ast.stmt:
    """Return the function without its prologue, as one statement."""
    return ast.If(ast.Constant(True), _rest(site.path), [])


def _rest(path: tuple[Step, ...]) -> list[ast.stmt]:
    step, *inner = path
    node = step.node
    if _runs_once(step):
        node = copy.copy(node)
        if isinstance(node, ast.Match):
            cases = [copy.copy(case) for case in node.cases]
            cases[int(step.part.split()[1])].body = _rest((*inner,))
            node.cases = cases
        else:
            setattr(node, step.part, _rest((*inner,)))
        if isinstance(node, ast.With | ast.AsyncWith):  # it binds its variables before
            node.items = [ast.withitem(item.context_expr, None) for item in node.items]
    before = [one for one in step.statements[: step.index] if has_yield(one)]
    return [*before, node, *step.statements[step.index + 1 :]]


def _runs_once(step: Step) -> bool:
    node, part = step.node, step.part
    if isinstance(node, ast.With | ast.AsyncWith | ast.Match):
        return bool(part)
    return isinstance(node, ast.If | ast.Try) and part in ("body", "orelse")


def tree(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield a statement, and what is in it and belongs to the same scope."""
    yield node
    if not isinstance(node, _SCOPE_STATEMENTS):
        yield from own_nodes(node)


def has_yield(node: ast.stmt) -> bool:
    """Whether a statement hands out increments."""
    return any(isinstance(one, ast.Yield | ast.YieldFrom) for one in tree(node))


def bound(node: ast.stmt) -> set[str]:
    """Return the variables that a statement binds or deletes."""
    names: set[str] = set()
    for one in tree(node):
        names.update(_bound_here(one))
    for one in ast.walk(node):
        if isinstance(one, ast.NamedExpr):  # in a comprehension it binds outside
            names.add(one.target.id)
    return names


def bound_inside(node: ast.AST) -> set[str]:
    """Return the variables that functions in a tree bind, which are outside of them."""
    found = [one for one in ast.walk(node) if isinstance(one, ast.Nonlocal)]
    return {name for one in found for name in one.names}


def _bound_here(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, _NAMED) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]


def read(node: ast.AST) -> set[str]:
    """Return the variables that a tree reads, also in the functions in it, but not their own."""
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Load) else set()
    names = {name for child in ast.iter_child_nodes(node) for name in read(child)}
    return names - _own(node) if isinstance(node, _SCOPES) else names


def read_at_once(node: ast.AST) -> set[str]:
    """Return the variables that a tree reads before any function in it is called."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        defaults = [one for one in (*node.args.defaults, *node.args.kw_defaults) if one]
        decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
        return {name for one in (*defaults, *decorators) for name in read(one)}
    if isinstance(node, ast.Name | ast.GeneratorExp | ast.ListComp | ast.SetComp | ast.DictComp):
        return read(node)
    return {name for child in ast.iter_child_nodes(node) for name in read_at_once(child)}


def _own(node: ast.AST) -> set[str]:
    """Return the variables of a function or a comprehension inside another function."""
    inside = [one for child in ast.iter_child_nodes(node) for one in (child, *own_nodes(child))]
    own = {name for one in inside for name in _bound_here(one)} - bound_inside(node)
    return own | {one.arg for one in inside if isinstance(one, ast.arg)}


def root(node: ast.AST) -> str | None:
    """Return the variable with which an expression begins, such as ``a`` of ``a.b[0].c()``."""
    while not isinstance(node, ast.Name):
        if isinstance(node, (*_PLACES, ast.Starred, ast.Await)):
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        else:
            return None
    return node.id


def changed(node: ast.AST) -> dict[tuple[str, str], int]:
    """Return the objects that a tree visibly changes in place, with the lines.

    An attribute or an item is assigned, or a method is called that changes lists, sets and dicts.
    An object is given by its variable, and the attribute or item of it, or an empty text.
    """
    found: dict[tuple[str, str], int] = {}
    for one in ast.walk(node):
        place: ast.AST | None = None
        if isinstance(one, _PLACES) and not isinstance(one.ctx, ast.Load):
            place = one
        elif isinstance(one, ast.AugAssign):
            place = one.target
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            place = one.func.value if one.func.attr in _MUTATORS else None
        name = root(place) if place else None
        if place and name:
            found.setdefault((name, _part(place)), getattr(one, "lineno", 0))
    return found


def used(node: ast.AST) -> set[tuple[str, str]]:
    """Return the objects that a tree reads, as `changed` gives them; ``name()`` is a method.

    An object that only becomes part of a list, a tuple or a dict is not read.
    """
    called = {id(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)}
    inner: set[int] = set()
    found: set[tuple[str, str]] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.List | ast.Tuple):
            inner.update(map(id, one.elts))
        elif isinstance(one, ast.Dict):
            inner.update(map(id, one.values))
        elif isinstance(one, _PLACES) and isinstance(one.value, ast.Name):
            inner.add(id(one.value))
            found.add((one.value.id, _part(one) + "()" * (id(one) in called)))
    bare = (one for one in ast.walk(node) if isinstance(one, ast.Name) and id(one) not in inner)
    return found | {(one.id, "") for one in bare if isinstance(one.ctx, ast.Load)}


def _part(place: ast.AST) -> str:
    """Return the attribute or item of its variable that an expression begins with."""
    part = ""
    while not isinstance(place, ast.Name):
        if isinstance(place, ast.Attribute):
            part, place = f".{place.attr}", place.value
        elif isinstance(place, ast.Subscript):
            key = place.slice
            part = f"[{key.value!r}]" if isinstance(key, ast.Constant) else ""
            place = place.value
        elif isinstance(place, ast.Call):
            place = place.func
        else:
            place = place.value  # type: ignore[attr-defined]  # as `root` goes
    return part
