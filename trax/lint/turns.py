"""The turns of the loops around yields: how many increments one hands out, and its last part."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from trax.lint.trees import has_yield, nodes_of

__all__ = [
    "Exit",
    "Loop",
    "asked_alone",
    "bodies",
    "ends_without_yield",
    "exits",
    "increments",
    "loops_around_yields",
    "tail",
    "test_text",
    "yields_in",
]

Loop = ast.For | ast.AsyncFor | ast.While

_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_JUMPS: Final = (ast.Break, ast.Continue, ast.Return, ast.Raise)
_MANY: Final = 2


class Exit(NamedTuple):
    """A condition under which a loop is left."""

    node: ast.If
    text: str


def yields_in(*parts: ast.AST | Sequence[ast.AST]) -> list[ast.Yield | ast.YieldFrom]:
    """Return the yields in some nodes and bodies, without those of functions inside."""
    found: list[ast.Yield | ast.YieldFrom] = [*nodes_of(ast.Yield, *parts)]
    found += nodes_of(ast.YieldFrom, *parts)
    return sorted(found, key=lambda one: (one.lineno, one.col_offset))


def loops_around_yields(
    statements: Sequence[ast.stmt], around: tuple[Loop, ...] = ()
) -> Iterator[tuple[Loop, ...]]:
    """Yield each loop around a yield, after the loops around itself, from the outside inwards."""
    for node in statements:
        if not has_yield(node):
            continue
        inner = around
        if isinstance(node, _LOOPS):
            inner = (*around, node)
            yield inner
        for body in bodies(node):
            yield from loops_around_yields(body, inner)


def bodies(node: ast.stmt) -> Iterator[list[ast.stmt]]:
    """Yield the lists of statements in a statement that are run in the same scope."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        for name in ("body", "orelse", "finalbody"):
            yield getattr(node, name, None) or []
        for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
            yield part.body


# -- the number of increments of a turn ------------------------------------------------------


def increments(body: Sequence[ast.stmt]) -> set[int]:
    """Return the numbers of increments that a turn may hand out, where 2 is any larger number."""
    after, continued = _paths(body)
    return after | continued


def _paths(body: Sequence[ast.stmt]) -> tuple[set[int], set[int]]:
    """Return the numbers on the paths to the end of statements, and to a ``continue``."""
    after, continued = {0}, set[int]()
    for node in body:
        through, jumped = _paths_of(node)
        if through != {0} or jumped:
            continued |= _sums(after, jumped)
            after = _sums(after, through)
    return after, continued


def _sums(one: set[int], other: set[int]) -> set[int]:
    return {min(_MANY, a + b) for a in one for b in other}


def _paths_of(node: ast.stmt) -> tuple[set[int], set[int]]:
    if isinstance(node, ast.Continue):
        return set(), {0}
    if isinstance(node, (ast.Break, ast.Return, ast.Raise)):
        return set(), set()
    if isinstance(node, _LOOPS):
        return ({_MANY} if has_yield(node) else {0}), set()
    if isinstance(node, ast.If):
        return _any(_paths(node.body), _paths(node.orelse))
    if isinstance(node, ast.Match):
        return _any(({0}, set()), *(_paths(one.body) for one in node.cases))
    if isinstance(node, (ast.With, ast.AsyncWith)):
        return _paths(node.body)
    if isinstance(node, (ast.Try, ast.TryStar)):
        body = _paths([*node.body, *node.orelse])
        after, continued = _any(body, *(_paths(one.body) for one in node.handlers))
        last, jumped = _paths(node.finalbody)
        return _sums(after, last), continued | jumped
    if not has_yield(node):
        return {0}, set()
    found = yields_in(node)
    number = len(found) + any(isinstance(one, ast.YieldFrom) for one in found)
    return {min(_MANY, number)}, set()


def _any(*paths: tuple[set[int], set[int]]) -> tuple[set[int], set[int]]:
    after, continued = zip(*paths, strict=True)
    return set().union(*after), set().union(*continued)


# -- a variable that ends a loop ---------------------------------------------------------------


def asked_alone(test: ast.expr) -> str:
    """Return the variable that a condition asks, if it asks nothing else."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test = test.operand
    return test.id if isinstance(test, ast.Name) else ""


def ends_without_yield(loop: ast.While) -> bool:
    """Whether no turn that hands out an increment ends a loop by the variable that it asks.

    So the variable is what it was before the loop wherever a run resumes.
    """
    through, continued = _mixed(loop.body, loop.test, {_NEITHER})
    return _BOTH not in through | continued


_NEITHER, _SET, _YIELDED, _BOTH = range(4)  # bits: the variable may be set, and a yield is done


def _mixed(body: Sequence[ast.stmt], test: ast.expr, before: set[int]) -> tuple[set[int], set[int]]:
    """Return what may be done on the paths to the end of statements, and to a ``continue``."""
    continued = set[int]()
    for node in body:
        if isinstance(node, ast.Break | ast.Return | ast.Raise):
            return set(), continued
        if isinstance(node, ast.Continue):
            return set(), continued | before
        if isinstance(node, ast.If):
            is_asked = asked_alone(node.test) == asked_alone(test)
            going_on = {one & ~_SET for one in before} if is_asked else before
            is_same = type(node.test) is type(test)
            first, second = (going_on, before) if is_same else (before, going_on)
            parts = _mixed(node.body, test, first), _mixed(node.orelse, test, second)
            before, jumped = _any(*parts)
            continued |= jumped
        else:
            done = _SET * _binds(node, test) | _YIELDED * has_yield(node)
            before = {one | done for one in before}
    return before, continued


def _binds(node: ast.stmt, test: ast.expr) -> bool:
    name = asked_alone(test)
    bound = (one for one in nodes_of(ast.Name, node) if not isinstance(one.ctx, ast.Load))
    return any(one.id == name for one in bound)


# -- the part of a turn after its last yield -------------------------------------------------


def tail(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return the statements that are run after the last yield of a turn."""
    places = [number for number, node in enumerate(body) if has_yield(node)]
    if not places:
        return []
    last = body[places[-1]]
    if isinstance(last, _LOOPS):  # which has a tail of its own, and may find itself at its end
        return []
    return [*_inner_tail(last), *(body[places[-1] + 1 :] if _comes_out(last) else [])]


def _inner_tail(node: ast.stmt) -> list[ast.stmt]:
    found = []
    for inner in bodies(node):
        if any(map(has_yield, inner)):
            found += tail(inner)
    return found


def _comes_out(node: ast.stmt) -> bool:
    """Whether what follows a statement may be run after a yield in it."""
    inner = [body for body in bodies(node) if any(map(has_yield, body))]
    return not inner or any(
        not isinstance(body[-1], _JUMPS) and _comes_out(body[-1]) for body in inner
    )


def exits(statements: Sequence[ast.stmt]) -> Iterator[Exit]:
    """Yield the conditions under which statements leave the loop around them."""
    for node in statements:
        if isinstance(node, ast.If):
            jumps = [*_jumps(node.body), *_jumps(node.orelse)]
            if jumps:
                yield Exit(node, test_text(node.test))
        if not isinstance(node, _LOOPS):
            for body in bodies(node):
                yield from exits(body)


def _jumps(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    return [one for one in body if isinstance(one, ast.Break | ast.Return)]


def test_text(test: ast.expr) -> str:
    """Return a text for a condition that is the same for its opposite."""
    while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        test = test.operand
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        return f"{ast.unparse(test.left)} ? {ast.unparse(test.comparators[0])}"
    return ast.unparse(test)
