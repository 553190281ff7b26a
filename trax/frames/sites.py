"""The yields of a function: where each is, the blocks around it, and if a loop can go on there."""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from trax.calls.source_text import statements
from trax.frames.names import assigned, loaded, own_nodes
from trax.frames.source import Function

__all__ = ["START", "Block", "Site", "Step", "find_sites", "start_of"]

START: Final = -1  # the number of the place before the first statement, which is no yield

_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_WITH: Final = (ast.With, ast.AsyncWith)
_JUMPS: Final = (ast.Break, ast.Continue, ast.Return)
_FIELDS: Final = ("body", "orelse", "finalbody")

# What Python evaluates first, of the statements and expressions in which it is clear.
_FIRST: Final[dict[type[ast.AST], str]] = {
    ast.Expr: "value",
    ast.Assign: "value",
    ast.AnnAssign: "value",
    ast.Return: "value",
    ast.If: "test",
    ast.Match: "subject",
    ast.For: "iter",
    ast.Raise: "exc",
    ast.NamedExpr: "value",
    ast.UnaryOp: "operand",
    ast.Await: "value",
    ast.Compare: "left",
    ast.BinOp: "left",
    ast.IfExp: "test",
    ast.Attribute: "value",
    ast.Subscript: "value",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One statement on the way to a yield.

    Attributes
    ----------
    statements : list of stmt
        The statements among which it stands.
    index : int
        Its place among them.
    part : str
        The field of it that leads on to the yield; empty at the statement of the yield.
    """

    statements: list[ast.stmt]
    index: int
    part: str

    @property
    def node(self) -> ast.stmt:
        """The statement."""
        return self.statements[self.index]


class Block(NamedTuple):
    """A block around a yield for which a generator keeps something.

    Attributes
    ----------
    kind : {"for", "while", "with", "handler", "from"}
        The kind of block; "from" is a ``yield from``.
    node : AST
        The loop, the item of the ``with``, the handler or the ``yield from``.
    """

    kind: str
    node: ast.AST


@dataclass(frozen=True, eq=False)
class Site:
    """One yield of a function.

    Attributes
    ----------
    number : int
        Its number in the order of the text, from 0; `START` for the place before the first
        statement.
    node : Yield or YieldFrom
        Its tree; at the start that of a yield that stands for it.
    path : tuple of Step
        The statements around it, from the outermost to its own.
    blocks : tuple of Block
        The blocks around it, from the outermost.
    changed_inside : frozenset of str
        The variables that functions inside of this one assign to.
    """

    number: int
    node: ast.Yield | ast.YieldFrom
    path: tuple[Step, ...]
    blocks: tuple[Block, ...]
    changed_inside: frozenset[str] = frozenset()

    @functools.cached_property
    def entered(self) -> list[tuple[int, ast.withitem]]:
        """The items of the ``with`` blocks around it, with the numbers of the blocks."""
        nodes = (block.node for block in self.blocks)
        return [(n, node) for n, node in enumerate(nodes) if isinstance(node, ast.withitem)]

    @property
    def is_once_a_turn(self) -> bool:
        """Whether a ``for`` over a range comes by here once in each turn, until the range ends.

        Of ``trax.steps`` that is taken for granted: it tells how many steps there are.
        """
        *around, last = [block.kind for block in self.blocks] or [""]
        if last != "for" or {*around} - {"with"}:
            return False
        loop, own = (step.node for step in self.path[-2:])
        if not isinstance(loop, ast.For) or not isinstance(own, ast.Expr):
            return False
        may_end = any(isinstance(one, _JUMPS) for one in ast.walk(loop))
        may_end |= any(getattr(step.node, "handlers", ()) for step in self.path)
        called = _called(loop.iter)
        is_known = called == "steps" or (called == "range" and not may_end)
        return own.value is self.node and is_known

    @functools.cached_property
    def obstacle(self) -> str:
        """The reason for which nothing can go on from here; empty if it can."""
        for step in self.path:
            if step.part == "finalbody":
                return "a yield in `finally`"
            if isinstance(step.node, ast.TryStar) and step.part.startswith("handlers"):
                return "a yield in `except*`"
            if isinstance(step.node, ast.AsyncFor) and step.part == "body":
                return "a yield in `async for`"
        if self.path and not _is_first(self.node, self.path[-1].node):
            return "a yield inside of a larger expression"
        around = (step.node for step in self.path if step.part == "body")
        for node in around:
            if isinstance(node, _WITH) and (name := _changed_name(node, self.changed_inside)):
                return f"a `with` reads {name!r}, which changes inside of it"
        return ""


def _called(node: ast.expr) -> str:
    """Return the name of the function that an expression calls, without that of its module."""
    function = getattr(node, "func", None)
    return str(getattr(function, "id", getattr(function, "attr", "")))


@functools.lru_cache(maxsize=64)
def _changed_name(node: ast.With | ast.AsyncWith, changed_inside: frozenset[str]) -> str:
    """Return a name in a ``with`` that may lead to another object at a yield in it; empty if none.

    The expression of the ``with`` is evaluated again.
    """
    after = set(changed_inside).union(*map(assigned, node.body))
    for item in reversed(node.items):
        after |= assigned(item)
        changed = loaded(item) & after
        if changed:
            return min(changed)
    return ""


def start_of(function: Function) -> Site:
    """Return the place before the first statement of a function; it has no width."""
    line = function.lineno
    mark = ast.Yield(None, lineno=line, end_lineno=line, col_offset=0, end_col_offset=0)
    return Site(START, mark, (), ())


def find_sites(function: Function) -> list[Site]:
    """Return the yields of a function, in the order of the text."""
    found = sorted(_walk(function.body, (), ()), key=lambda one: (one[0].lineno, one[0].col_offset))
    inside = (node.names for node in statements(function) if isinstance(node, ast.Nonlocal))
    changed = frozenset(itertools.chain.from_iterable(inside))
    return [Site(number, *one, changed) for number, one in enumerate(found)]


_Found = tuple[ast.Yield | ast.YieldFrom, tuple[Step, ...], tuple[Block, ...]]


def _walk(
    statements: list[ast.stmt], path: tuple[Step, ...], blocks: tuple[Block, ...]
) -> Iterator[_Found]:
    for index, node in enumerate(statements):
        for one in _head(node):
            if isinstance(one, ast.Yield | ast.YieldFrom):
                own = (Block("from", one),) if isinstance(one, ast.YieldFrom) else ()
                yield one, (*path, Step(statements, index, "")), (*blocks, *own)
        for part, inner, around in _parts(node):
            yield from _walk(inner, (*path, Step(statements, index, part)), (*blocks, *around))


def _parts(node: ast.stmt) -> Iterator[tuple[str, list[ast.stmt], list[Block]]]:
    """Yield the lists of statements in a statement, and the blocks that each is in."""
    if isinstance(node, _DEFINITIONS):
        return
    for field in _FIELDS:
        inner = getattr(node, field, None)
        if inner:
            yield field, inner, [*_own_blocks(node)] if field == "body" else []
    if isinstance(node, ast.Try | ast.TryStar):
        for number, handler in enumerate(node.handlers):
            yield f"handlers {number}", handler.body, [Block("handler", handler)]
    if isinstance(node, ast.Match):
        for number, case in enumerate(node.cases):
            yield f"cases {number}", case.body, []


def _own_blocks(node: ast.stmt) -> Iterator[Block]:
    if isinstance(node, ast.For | ast.AsyncFor):
        yield Block("for", node)
    elif isinstance(node, ast.While):
        yield Block("while", node)
    elif isinstance(node, ast.With | ast.AsyncWith):
        for item in node.items:
            yield Block("with", item)


def _head(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield the nodes of a statement that are not in the statements in it."""
    if isinstance(node, _DEFINITIONS):
        yield from own_nodes(node)
        return
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.ExceptHandler) and one.type:
            yield from own_nodes(one.type)
        elif isinstance(one, ast.match_case):
            yield from own_nodes(one.pattern)
            if one.guard:
                yield from own_nodes(one.guard)
        elif not isinstance(one, ast.stmt | ast.ExceptHandler):
            yield from own_nodes(one)


def _is_first(node: ast.AST, statement: ast.AST) -> bool:
    """Whether a statement evaluates an expression before all others."""
    one: ast.AST | None = statement
    while one is not None and one is not node:
        if isinstance(one, ast.With) and one.items:
            one = one.items[0].context_expr
        elif isinstance(one, ast.BoolOp):
            one = one.values[0]
        else:
            one = getattr(one, _FIRST.get(type(one), ""), None)
    return one is node
