"""Finds variables that a loop carries from turn to turn, and begins anew in a resumed run."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

from trax.frames.names import target_names
from trax.lint.callees import dotted
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.facts import assigned_values, keys_read, related
from trax.lint.findings import DROP_CREATE, Finding
from trax.lint.origins import DRAWN, FILE, KEPT, OUTPUT, RNG, Flags, mark_of
from trax.lint.trees import has_yield, key_of, nodes_of
from trax.lint.turns import Loop, asked_alone, ends_without_yield, tail
from trax.lint.words import is_cache

__all__ = ["carried", "found_again"]


def carried(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield the variables that are changed in a loop, needed in its next turn, and not kept.

    Those that are made from the state before the loop are found again.
    """
    met: set[str] = set()
    for around in loop.loops:
        node = around[-1]
        turn = _Turn(loop, node)
        for key, line in turn.changed.items():
            if key not in met and turn.is_lost(key):
                met.add(key)
                yield _finding(loop, key, line)
        for name in sorted(turn.unbound() - met):
            met.add(name)
            cause = (
                f"{name!r} is bound in some turns alone, perhaps not in the first of a resumed run"
            )
            ways = ("Bind it before the loop.",)
            yield Finding(turn.changed[name], 1, "carried", name, cause, ways)
        yield from _rngs(loop, node, turn, met)
        yield from _drawn(loop, node, met)


def found_again(loop: DeclaredLoop) -> Iterator[str]:
    """Yield the variables that a resumed run makes from the state, and those that are caches."""
    for around in loop.loops:
        turn = _Turn(loop, around[-1])
        yield from filter(turn.is_found_again, {**turn.entry, **turn.changed})


class _Turn:
    """A turn of a loop around a yield.

    Attributes
    ----------
    entry : dict of str to frozenset of str
        The origins of the variables that are bound before the turn.
    changed : dict of str to int
        The variables that it binds or changes, with the lines.
    """

    def __init__(self, loop: DeclaredLoop, node: Loop) -> None:
        self._loop = loop
        self._node = node
        self.entry = loop.origins.entries[id(node)]
        self._writes = loop.writes(node)
        self.changed = loop.changed_in(node)

    def is_lost(self, key: str) -> bool:
        """Whether a variable is needed in the next turn, and begins anew in a resumed run."""
        loop, node = self._loop, self._node
        root = key.partition(".")[0]
        if root == loop.state or is_cache(key) or not loop.needs.is_needed(key, node):
            return False
        if self._flags(key) & {OUTPUT, FILE} or self._is_made_of_state(key):
            return False
        if not loop.is_local(key) and key not in loop.outside:
            return False
        if mark_of(node, key) in loop.origins.skipping or self.is_passed_over(key):
            return False
        is_end = isinstance(node, ast.While) and asked_alone(node.test) == key
        if is_end and key not in self._writes.changes and self._ends_without_yield:
            return False
        if key == root and key in self._aliases_of_state:
            return False
        is_bound = root in self.entry or root in loop.parameters or not loop.is_local(key)
        if not is_bound and root not in self._bound_sometimes | self._returned:
            return False
        return not (self._is_memo(key) or self._is_made_once(key))

    def is_found_again(self, key: str) -> bool:
        """Whether a variable is made from the state before the loop, or where it is missing."""
        is_made = self._is_memo(key) or self._is_made_once(key)
        return is_made or is_cache(key) or self._is_made_of_state(key)

    def _is_made_of_state(self, key: str) -> bool:
        is_kept = bool(self._flags(key) & KEPT)
        return is_kept and not _is_grown(self._loop, key) and not self._is_former(key)

    def _flags(self, key: str) -> Flags:
        root = key.partition(".")[0]
        flags = self.entry.get(key, self.entry.get(root, frozenset()))
        if key == root:
            parts = (one for one in self.entry if one.startswith(f"{root}."))
            flags = flags.union(*(self.entry[one] for one in parts))
        return flags

    @functools.cached_property
    def _ends_without_yield(self) -> bool:
        return isinstance(self._node, ast.While) and ends_without_yield(self._node)

    def unbound(self) -> set[str]:
        """Return the variables that only turns with some numbers bind, but all of them read."""
        if isinstance(self._node, ast.While):
            return set()
        numbers = target_names(self._node.target)
        found, others = set[str](), set[str]()
        for one in self._node.body:
            facts = self._loop.facts(one)
            if isinstance(one, ast.If) and not one.orelse and not has_yield(one):
                if set() < keys_read(one.test) <= numbers:
                    found.update(*(self._loop.facts(part).binds for part in one.body))
            elif not hasattr(one, "body"):
                others |= facts.reads
        bound = self.entry.keys() | self._loop.parameters | numbers
        often = (name for name, nodes in self._writes.binds.items() if len(nodes) > 1)
        return found & others - bound - {*often}

    def is_passed_over(self, key: str, *, is_read: bool = False) -> bool:
        """Whether a variable changes before a turn passes over what is done, as it did then.

        Of an RNG, it counts where it is read.
        """
        before = self._before_passing
        if not before:
            return False
        pairs = self._loop.facts_in(self._node.body)
        early = [facts for one, facts in pairs if one in before]
        late = [facts for one, facts in pairs if one not in before]
        changed = {self._loop.state}.union(*(facts.binds | facts.changes for facts in late))
        if any(related(one, facts.reads) for one in changed for facts in early):
            return False
        reads = set[str]().union(*(facts.reads for facts in late)) if is_read else set[str]()
        return not related(key, changed | reads)

    @functools.cached_property
    def _before_passing(self) -> set[ast.stmt]:
        """The statements of a turn before a condition that passes over what the state has."""
        body = self._node.body if mark_of(self._node) in self._loop.origins.skipping else []
        for number, one in enumerate(body):
            is_passing = one in self._loop.origins.passing and isinstance(one, ast.If)
            if is_passing and isinstance(one, ast.If) and isinstance(one.body[-1], ast.Continue):
                return {inner for node in body[:number] for inner in nodes_of(ast.stmt, node)}
        return set()

    def _is_former(self, name: str) -> bool:
        """Whether a variable becomes a state that is, or may be, a former one after the turn.

        It may begin as something that is made of the state, but no later state tells a former one.
        """
        state = self._loop.state
        return state in self._writes.binds and any(
            id(one) not in self._always and _takes_state(value, name, state)
            for one in self._writes.binds.get(name, ())
            if isinstance(one, ast.Assign)
            for target, value in assigned_values(one)
            if key_of(target) == name
        )

    @functools.cached_property
    def _always(self) -> set[int]:
        return {id(one) for one in tail(self._node.body)}

    @functools.cached_property
    def _aliases_of_state(self) -> set[str]:
        """The variables to which nothing is bound but yields, which return the state."""
        found, others = set[str | None](), set[str | None]()
        for one in nodes_of(ast.Assign, self._node.body):
            keys = found if isinstance(one.value, ast.Yield) else others
            keys.update(map(key_of, one.targets))
        return set() if self._node.orelse else {key for key in found - others if key}

    @functools.cached_property
    def _bound_sometimes(self) -> set[str]:
        """The variables that only some of the turns bind."""
        parts = (one for one in self._node.body if isinstance(one, ast.If) and not has_yield(one))
        names = nodes_of(ast.Name, *parts)
        return {one.id for one in names if isinstance(one.ctx, ast.Store)}

    @functools.cached_property
    def _returned(self) -> set[str]:
        """The variables in the result, which a run that resumes at its end lacks."""
        inside = set(nodes_of(ast.Return, self._node))
        outside = [one for one in nodes_of(ast.Return, self._loop.node.body) if one not in inside]
        return keys_read(*outside)

    def _is_memo(self, key: str) -> bool:
        """Whether a mapping only gets values that are missing, which depend on their keys alone."""
        statements = [*self._writes.changes.get(key, ()), *self._writes.binds.get(key, ())]
        guarded = self._guarded.get(key, set())
        return bool(statements) and all(
            one in guarded
            and one not in self._drawn
            and isinstance(one, ast.Assign)
            and isinstance(one.targets[0], ast.Subscript)
            and not related(key, keys_read(one.value))
            for one in statements
        )

    @functools.cached_property
    def _guarded(self) -> dict[str | None, set[ast.stmt]]:
        """The statements that are run where an item of a mapping is missing, by the mapping."""
        found: dict[str | None, set[ast.stmt]] = {}
        for one in nodes_of(ast.If, self._node.body):
            if isinstance(one.test, ast.Compare) and isinstance(one.test.ops[0], ast.NotIn):
                found.setdefault(key_of(one.test.comparators[0]), set()).update(one.body)
        for node in nodes_of(ast.Try, self._node.body):
            for part in nodes_of(ast.Subscript, node.body):
                for handler in node.handlers:
                    found.setdefault(key_of(part), set()).update(handler.body)
        return found

    @functools.cached_property
    def _drawn(self) -> set[ast.stmt]:
        return {one for one, _, flags in self._loop.origins.stored if flags & {DRAWN, RNG}}

    def _is_made_once(self, key: str) -> bool:
        """Whether a variable is made where it is missing, of what no turn changes."""
        made = self._writes.binds.get(key, ())
        return (
            bool(made)
            and key not in self._writes.changes
            and all(
                one in self._tests
                and key in keys_read(self._tests[one])
                and isinstance(one, ast.Assign)
                and not isinstance(one.value, ast.Constant)
                and not any(related(read, self.changed) for read in keys_read(one.value))
                for one in made
            )
        )

    @functools.cached_property
    def _tests(self) -> dict[ast.stmt, ast.expr]:
        """The conditions under which the statements in branches are run."""
        conditions = nodes_of(ast.If, self._node.body)
        return {inner: one.test for one in conditions for inner in one.body}


def _is_grown(loop: DeclaredLoop, name: str) -> bool:
    """Whether a list begins with single items, be they from the state, and gets more later."""
    made = loop.callees.maker(name)
    if isinstance(made, ast.Call) and len(made.args) == 1:
        made = made.args[0]
    is_short = isinstance(made, ast.List | ast.Set) and not any(
        isinstance(one, ast.Starred) for one in made.elts
    )
    return is_short and any(
        isinstance(one.func, ast.Attribute)
        and one.func.attr in ("append", "appendleft", "extend", "add")
        and key_of(one.func.value) == name
        for one in nodes_of(ast.Call, loop.node.body)
    )


def _takes_state(value: ast.expr, name: str, state: str) -> bool:
    """Whether a value is the state, or the smaller or larger one of itself and the state."""
    if isinstance(value, ast.Call) and dotted(value.func) in ("min", "max"):
        return {name, state} <= {one.id for one in value.args if isinstance(one, ast.Name)}
    return isinstance(value, ast.Name) and value.id == state


def _rngs(loop: DeclaredLoop, node: Loop, turn: _Turn, met: set[str]) -> Iterator[Finding]:
    """Yield the RNGs that are made before a loop, and drawn from in it."""
    if loop.ignores_rngs:
        return
    for key, flags in loop.origins.entries[id(node)].items():
        made = loop.callees.maker(key)
        if RNG not in flags or flags & KEPT or key in met or not isinstance(made, ast.Call):
            continue
        if turn.is_passed_over(key, is_read=True):
            continue
        if loop.callees.makes_rng(made) and loop.needs.is_needed(key, node):
            met.add(key)
            cause = f"{key!r} draws the same random numbers again in a resumed run"
            ways = (
                "Keep the RNG in the state, pass it as an argument, or make it in the module.",
                DROP_CREATE,
            )
            yield Finding(made.lineno, 0, "rng", key, cause, ways)


def _drawn(loop: DeclaredLoop, node: Loop, met: set[str]) -> Iterator[Finding]:
    """Yield what is made of random numbers before a loop, with the RNGs where they are then."""
    entry = loop.origins.entries[id(node)]
    kept = {key.partition(".")[0] for key, flags in entry.items() if flags & KEPT}
    drawn = {key for key, flags in entry.items() if DRAWN in flags and not flags & KEPT}
    names = {key for key in drawn if key.partition(".")[0] not in kept}
    needed = loop.needs.in_body(node) | keys_read(*_source(node))
    for name in sorted(names - met):
        if not loop.ignores_rngs and loop.is_local(name) and related(name, needed):
            met.add(name)
            cause = f"{name!r} is drawn again in a resumed run, with other random numbers"
            ways = ("Draw it in create, or outside of the function, and pass it.", DROP_CREATE)
            yield Finding(loop.line_of(name), 1, "drawn", name, cause, ways)


def _source(node: Loop) -> list[ast.expr]:
    return [] if isinstance(node, ast.While) else [node.iter]


def _finding(loop: DeclaredLoop, key: str, line: int) -> Finding:
    is_other = not loop.is_local(key) or key.partition(".")[0] in loop.parameters
    cause = f"{key!r} changes from step to step, but begins anew in a resumed run"
    ways = ("Keep it in the state, or make it from the state before the loop.", DROP_CREATE)
    return Finding(line, 1 + is_other, "carried", key, cause, ways)
