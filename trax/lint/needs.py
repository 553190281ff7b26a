"""Finds the variables that increments, results and effects still need at the turn of each loop.

Strategy: liveness, but a statement reads nothing if nobody needs what it binds or changes, and a
condition reads nothing if nothing in its branches is needed. So counters that are only printed are
not needed. The function is walked backwards, and again until what is needed at the loops is stable.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from trax.frames.source import Function
from trax.lint.facts import Facts, FactsOf, keys_read
from trax.lint.trees import has_yield, key_of, nodes_of

__all__ = ["Needs"]

_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_MOST_COMMON: Final = (ast.Assign, ast.AugAssign, ast.Expr)
_MOST: Final = 40  # walks; a loop around loops needs a few more of them than its depth

Loop = ast.For | ast.AsyncFor | ast.While


class _Turn:
    """What is needed before the turn of a loop, and before its body; whether it matters at all."""

    def __init__(self) -> None:
        self.header = self.body = 0
        self.matters = False


class _Around(NamedTuple):
    """Where the jumps in a statement lead, and if anything that matters follows in the turn."""

    raised: int
    after_loop: int
    turn: _Turn | None
    follows: bool


class _Effects:
    """What a statement does to the variables that are needed after it.

    Attributes
    ----------
    reads : int
        It reads these.
    replaces : int
        It sets these to something new.
    forgets : int
        Those, and their attributes.
    touches : int
        It matters to whoever needs one of these.
    matters : bool
        Whether it matters in any case.
    """

    __slots__ = ("forgets", "matters", "reads", "replaces", "touches")

    def __init__(self, facts: Facts, keys: _Keys) -> None:
        self.reads = keys.mask(facts.reads)
        self.replaces = keys.mask(facts.replaces)
        self.forgets = keys.with_parts(facts.replaces)
        self.touches = keys.related(facts.binds | facts.changes)
        self.matters = facts.matters


class _Keys:
    """Sets of variables as numbers that have a bit for each."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._bits: dict[str, int] = {}
        self._parts: dict[str, int] = {}  # a variable and its attributes
        for number, key in enumerate(keys):
            root = key.partition(".")[0]
            self._bits[key] = 1 << number
            self._parts[root] = self._parts.get(root, 0) | 1 << number

    def mask(self, keys: Iterable[str]) -> int:
        """Return some variables as a number."""
        return _joined([self._bits.get(key, 0) for key in keys])

    def with_parts(self, keys: Iterable[str]) -> int:
        """Return some variables, with the attributes of those that are none."""
        return _joined([self._parts.get(key, self._bits.get(key, 0)) for key in keys])

    def related(self, keys: Iterable[str]) -> int:
        """Return the variables of which one must be needed for `facts.related`."""
        return self.with_parts(keys) | self.mask([key.partition(".")[0] for key in keys])

    def names(self, mask: int) -> set[str]:
        """Return the variables in a number."""
        return {key for key, bit in self._bits.items() if mask & bit}


def _joined(masks: Iterable[int]) -> int:
    joined = 0
    for mask in masks:
        joined |= mask
    return joined


class Needs:
    """The variables that are needed in a function.

    Parameters
    ----------
    node : FunctionDef or AsyncFunctionDef
        The function.
    facts : FactsOf
        The facts of its statements.
    outer : set of str
        The variables that others see too: they are needed at its end, and at each `yield`.
    """

    def __init__(self, node: Function, facts: FactsOf, outer: set[str]) -> None:
        statements = nodes_of(ast.stmt, node.body)
        loops = [one for one in statements if isinstance(one, ast.For | ast.AsyncFor)]
        read = (facts(one).reads for one in statements)
        self._keys = keys = _Keys(outer.union(*read, *(keys_read(one.iter) for one in loops)))
        self._effects = {one: _Effects(facts(one), keys) for one in statements}
        at_end = keys.mask(outer)
        for one, effects in self._effects.items():
            if isinstance(one, _MOST_COMMON) and has_yield(one):
                effects.reads |= at_end
        # Of a loop: what its items are made of, the variables that it binds, and those it fills.
        self._heads = {
            one: (*map(keys.mask, (keys_read(one.iter), facts(one).binds, _filled(one))),)
            for one in loops
        }
        self._turns: dict[int, _Turn] = {}
        self._matters: set[int] = set()
        for _ in range(_MOST):
            before = self._size()
            self._body(node.body, at_end, _Around(0, 0, None, follows=False))
            if self._size() == before:
                return

    def at(self, loop: Loop) -> set[str]:
        """Return the variables that are needed when a turn of a loop is done."""
        return self._keys.names(self._turn(loop).header)

    def is_needed(self, key: str, loop: Loop) -> bool:
        """Whether a change of a variable is seen when a turn of a loop is done."""
        return bool(self._turn(loop).header & self._keys.related([key]))

    def in_body(self, loop: Loop) -> set[str]:
        """Return the variables that are needed at the beginning of a loop's body."""
        return self._keys.names(self._turn(loop).body)

    def _turn(self, loop: Loop) -> _Turn:
        return self._turns.setdefault(id(loop), _Turn())

    def matters(self, node: ast.stmt) -> bool:
        """Whether a statement has any part in increments, results and effects."""
        return id(node) in self._matters

    def _size(self) -> tuple[int, int]:
        turns = self._turns.values()
        return sum(one.header.bit_count() + one.matters for one in turns), len(self._matters)

    # -- statements, backwards ----------------------------------------------------------------

    def _body(self, statements: Sequence[ast.stmt], live: int, around: _Around) -> int:
        raised = around.raised
        for node in reversed(statements):
            live = self._statement(node, live, around) | raised
            if not around.follows and id(node) in self._matters:
                around = around._replace(follows=True)
        return live

    def _any_matters(self, *bodies: Sequence[ast.stmt]) -> bool:
        return any(id(node) in self._matters for body in bodies for node in body)

    def _statement(self, node: ast.stmt, live: int, around: _Around) -> int:
        if isinstance(node, _MOST_COMMON):
            return self._apply(node, live)
        if isinstance(node, _LOOPS):
            return self._loop(node, live, around)
        if isinstance(node, ast.If):
            before = self._body(node.body, live, around) | self._body(node.orelse, live, around)
            return self._condition(node, before, node.body, node.orelse)
        if isinstance(node, (ast.With, ast.AsyncWith)):
            before = self._body(node.body, live, around)
            if self._any_matters(node.body):
                return self._replace(node, before)
            return self._apply(node, before)
        if isinstance(node, (ast.Try, ast.TryStar)):
            return self._try(node, live, around)
        if isinstance(node, ast.Match):
            before = live | _joined(self._body(one.body, live, around) for one in node.cases)
            return self._condition(node, before, *(one.body for one in node.cases))
        return self._simple(node, live, around)

    def _simple(self, node: ast.stmt, live: int, around: _Around) -> int:
        if isinstance(node, ast.Break):
            if around.turn is not None and (around.turn.matters or around.follows):
                self._matters.add(id(node))
            return around.after_loop
        if isinstance(node, ast.Continue):
            if around.follows:
                self._matters.add(id(node))
            return around.turn.header if around.turn is not None else 0
        if isinstance(node, (ast.Return, ast.Raise)):
            self._matters.add(id(node))
            is_end = isinstance(node, ast.Return)
            return self._keys.mask(keys_read(node)) if is_end else around.raised
        if isinstance(node, ast.Assert):
            return live
        return self._apply(node, live)

    def _apply(self, node: ast.stmt, live: int) -> int:
        effects = self._effects[node]
        if not (effects.matters or live & effects.touches):
            return live
        self._matters.add(id(node))
        return live & ~effects.forgets | effects.reads

    def _condition(self, node: ast.stmt, before: int, *bodies: Sequence[ast.stmt]) -> int:
        if self._effects[node].matters or self._any_matters(*bodies):
            return self._replace(node, before)
        return self._apply(node, before)

    def _replace(self, node: ast.stmt, live: int) -> int:
        self._matters.add(id(node))
        return live & ~self._effects[node].replaces | self._effects[node].reads

    # -- loops and exceptions ------------------------------------------------------------------

    def _loop(self, node: Loop, after: int, around: _Around) -> int:
        turn, effects = self._turn(node), self._effects[node]
        end = self._body(node.orelse, after, around)
        inside = _Around(around.raised, after, turn, follows=False)
        turn.body |= self._body(node.body, turn.header, inside)
        turn.matters = turn.matters or self._any_matters(node.body)
        if turn.matters:
            self._matters.add(id(node))
        if isinstance(node, ast.While):
            is_endless = isinstance(node.test, ast.Constant) and bool(node.test.value)
            before = turn.body if is_endless else turn.body | end
            read = before & ~effects.replaces | effects.reads
            turn.header |= read if turn.matters else before
            return turn.header
        source, binds, fills = self._heads[node]
        turn.header |= turn.body & ~effects.replaces | end
        before = turn.header & ~fills
        if turn.matters or turn.body & binds:
            self._matters.add(id(node))
            return before | source
        return before

    def _try(self, node: ast.Try | ast.TryStar, live: int, around: _Around) -> int:
        last = self._body(node.finalbody, live, around)
        handled = [self._body(one.body, last, around) for one in node.handlers]
        raised = around.raised | _joined(handled)
        after = self._body(node.orelse, last, around)
        inside = around._replace(raised=raised)
        before = self._body(node.body, after, inside)
        handlers = (one.body for one in node.handlers)
        if self._any_matters(node.body, node.orelse, node.finalbody, *handlers):
            self._matters.add(id(node))
        return before


def _filled(node: ast.For | ast.AsyncFor) -> set[str]:
    """Return the arrays of which a loop sets each item, and that it does not read."""
    names = {one.id for one in nodes_of(ast.Name, node.target)}
    found: set[str] = set()
    for one in node.body:
        if isinstance(one, ast.For):
            found |= _filled(one)
        for target in one.targets if isinstance(one, ast.Assign) else ():
            base: ast.expr = target
            while isinstance(base, ast.Subscript):
                base = base.value
            used = {part.id for part in nodes_of(ast.Name, target)}
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
