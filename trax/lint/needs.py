"""Finds the variables that increments, results and effects still need at the turn of each loop.

Strategy: liveness, but a statement reads nothing if nobody needs what it binds or changes, and a
condition reads nothing if nothing in its branches is needed. So counters that are only printed are
not needed. The function is walked backwards, and again until what is needed at the loops is stable.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trax.frames.source import Function
from trax.lint.facts import Facts, FactsOf, keys_read, related
from trax.lint.trees import key_of

__all__ = ["Needs"]

_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_MOST: Final = 40  # walks; a loop around loops needs a few more of them than its depth

Loop = ast.For | ast.AsyncFor | ast.While


@dataclass
class _Turn:
    """What is needed before the turn of a loop, and before its body; whether it matters at all."""

    header: set[str] = field(default_factory=set)
    body: set[str] = field(default_factory=set)
    matters: bool = False


@dataclass(slots=True)
class _Around:
    """Where the jumps in a statement lead, and if anything that matters follows in the turn."""

    raised: set[str]
    after_loop: set[str]
    turn: _Turn | None
    follows: bool


class Needs:
    """The variables that are needed in a function.

    Parameters
    ----------
    node : FunctionDef or AsyncFunctionDef
        The function.
    facts : FactsOf
        The facts of its statements.
    outer : set of str
        The variables that are not its own; they are needed at its end.
    """

    def __init__(self, node: Function, facts: FactsOf, outer: set[str]) -> None:
        self._facts = facts
        self._turns: dict[int, _Turn] = {}
        self._matters: set[int] = set()
        for _ in range(_MOST):
            before = self._size()
            self._body(node.body, {*outer}, _Around(set(), set(), None, follows=False))
            if self._size() == before:
                return

    def at(self, loop: Loop) -> set[str]:
        """Return the variables that are needed when a turn of a loop is done."""
        return self._turns[id(loop)].header if id(loop) in self._turns else set()

    def in_body(self, loop: Loop) -> set[str]:
        """Return the variables that are needed at the beginning of a loop's body."""
        return self._turns[id(loop)].body if id(loop) in self._turns else set()

    def matters(self, node: ast.stmt) -> bool:
        """Whether a statement has any part in increments, results and effects."""
        return id(node) in self._matters

    def _size(self) -> tuple[int, int]:
        turns = self._turns.values()
        return sum(len(one.header) + one.matters for one in turns), len(self._matters)

    # -- statements, backwards ----------------------------------------------------------------

    def _body(self, statements: Sequence[ast.stmt], live: set[str], around: _Around) -> set[str]:
        follows = around.follows
        for node in reversed(statements):
            here = _Around(around.raised, around.after_loop, around.turn, follows)
            live = self._statement(node, live, here) | around.raised
            follows = follows or id(node) in self._matters
        return live

    def _any_matters(self, *bodies: Sequence[ast.stmt]) -> bool:
        return any(id(node) in self._matters for body in bodies for node in body)

    def _statement(self, node: ast.stmt, live: set[str], around: _Around) -> set[str]:
        if isinstance(node, _LOOPS):
            return self._loop(node, live, around)
        if isinstance(node, ast.If):
            before = self._body(node.body, live, around) | self._body(node.orelse, live, around)
            return self._condition(node, before, node.body, node.orelse)
        if isinstance(node, ast.With | ast.AsyncWith):
            before = self._body(node.body, live, around)
            head = self._facts(node)
            if self._any_matters(node.body):
                self._matters.add(id(node))
                return (before - head.replaces) | head.reads
            return self._apply(node, head, before)
        if isinstance(node, ast.Try | ast.TryStar):
            return self._try(node, live, around)
        if isinstance(node, ast.Match):
            before = live.union(*(self._body(one.body, live, around) for one in node.cases))
            return self._condition(node, before, *(one.body for one in node.cases))
        return self._simple(node, live, around)

    def _simple(self, node: ast.stmt, live: set[str], around: _Around) -> set[str]:
        if isinstance(node, ast.Break):
            if around.turn is not None and (around.turn.matters or around.follows):
                self._matters.add(id(node))
            return around.after_loop
        if isinstance(node, ast.Continue):
            if around.follows:
                self._matters.add(id(node))
            return {*around.turn.header} if around.turn is not None else set()
        if isinstance(node, ast.Return | ast.Raise):
            self._matters.add(id(node))
            return keys_read(node) if isinstance(node, ast.Return) else {*around.raised}
        if isinstance(node, ast.Assert):
            return live
        return self._apply(node, self._facts(node), live)

    def _apply(self, node: ast.stmt, facts: Facts, live: set[str]) -> set[str]:
        is_needed = facts.matters or any(related(key, live) for key in facts.binds | facts.changes)
        if not is_needed:
            return live
        self._matters.add(id(node))
        kept = {key for key in live if key.partition(".")[0] not in facts.replaces}
        return (kept - facts.replaces) | facts.reads

    def _condition(
        self,
        node: ast.stmt,
        before: set[str],
        *bodies: Sequence[ast.stmt],
    ) -> set[str]:
        facts = self._facts(node)
        if facts.matters or self._any_matters(*bodies):
            self._matters.add(id(node))
            return (before - facts.replaces) | facts.reads
        return self._apply(node, facts, before)

    # -- loops and exceptions ------------------------------------------------------------------

    def _loop(self, node: Loop, after: set[str], around: _Around) -> set[str]:
        turn = self._turns.setdefault(id(node), _Turn())
        end = self._body(node.orelse, after, around)
        inside = _Around(around.raised, after, turn, follows=False)
        turn.body |= self._body(node.body, turn.header, inside)
        turn.matters = turn.matters or self._any_matters(node.body)
        if turn.matters:
            self._matters.add(id(node))
        if isinstance(node, ast.While):
            is_endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
            facts = self._facts(node)
            before = turn.body | (set() if is_endless else end)
            turn.header |= (before - facts.replaces) | facts.reads if turn.matters else before
            return {*turn.header}
        facts = self._facts(node)
        fills = _filled(node)
        turn.header |= (turn.body - facts.replaces) | end
        if turn.matters or any(key in turn.body for key in facts.binds):
            self._matters.add(id(node))
            return (turn.header - fills) | keys_read(node.iter)
        return turn.header - fills

    def _try(self, node: ast.Try | ast.TryStar, live: set[str], around: _Around) -> set[str]:
        last = self._body(node.finalbody, live, around)
        handled = [self._body(one.body, last, around) for one in node.handlers]
        raised = around.raised.union(*handled)
        after = self._body(node.orelse, last, around)
        inside = _Around(raised, around.after_loop, around.turn, around.follows)
        before = self._body(node.body, after, inside)
        handlers = (one.body for one in node.handlers)
        if self._any_matters(node.body, node.orelse, node.finalbody, *handlers):
            self._matters.add(id(node))
        return before


def _filled(node: ast.For | ast.AsyncFor) -> set[str]:
    """Return the arrays of which a loop sets each item, and that it does not read."""
    names = {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
    found: set[str] = set()
    for one in node.body:
        if isinstance(one, ast.For):
            found |= _filled(one)
        for target in one.targets if isinstance(one, ast.Assign) else ():
            base: ast.expr = target
            while isinstance(base, ast.Subscript):
                base = base.value
            used = {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
            if isinstance(base, ast.Name) and base is not target and names & (used - {base.id}):
                found.add(base.id)
    return {name for name in found if _is_only_set(name, node)}


def _is_only_set(name: str, node: ast.AST) -> bool:
    """Whether a tree names an array only to set items of it."""
    named = sum(isinstance(one, ast.Name) and one.id == name for one in ast.walk(node))
    assigned = (one.targets for one in ast.walk(node) if isinstance(one, ast.Assign))
    set_here = (target for targets in assigned for target in targets)
    return named == sum(
        isinstance(target, ast.Subscript) and key_of(target) == name for target in set_here
    )
