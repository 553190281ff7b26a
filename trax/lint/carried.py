"""Finds variables that a loop carries from turn to turn, and begins anew in a resumed run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from trax.lint.callees import dotted, is_cache
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.facts import assigned_values, keys_read, related
from trax.lint.findings import DROP_CREATE, Finding
from trax.lint.origins import DRAWN, FILE, KEPT, OUTPUT, RNG, STATE, mark_of
from trax.lint.trees import key_of, scope_nodes
from trax.lint.turns import Loop, tail, yields_in

__all__ = ["carried"]

# Names of what belongs to the first state.
_FIRST: Final = re.compile(
    r"[a-zA-Z]+_?0|(\w+_)?(init|initial|orig|original|baseline|reference)(_\w+)?", re.IGNORECASE
)
_SIZES: Final = {"len", "range", "enumerate", "sorted", "set", "iter"}


def carried(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield the variables that are changed in a loop, needed in its next turn, and not kept.

    Those that are made from the state before the loop are found again.
    """
    met: set[str] = set()
    for around in loop.loops:
        node = around[-1]
        for key, line in _changed(loop, node).items():
            if key not in met and _is_lost(loop, node, key):
                met.add(key)
                yield _finding(loop, key, line)
        yield from _rngs(loop, node, met)
        yield from _references(loop, node, met)
        yield from _drawn(loop, node, met)


def _changed(loop: DeclaredLoop, node: Loop) -> dict[str, int]:
    """Return the variables that a loop binds or changes, with the lines."""
    found: dict[str, int] = {}
    for one, facts in loop.facts_in(*node.body, *node.orelse):
        for key in sorted(facts.binds | facts.changes):
            found.setdefault(key, one.lineno)
    if isinstance(node, ast.While):
        for key in loop.facts(node).binds | loop.facts(node).changes:
            found.setdefault(key, node.lineno)
    return found


def _is_lost(loop: DeclaredLoop, node: Loop, key: str) -> bool:
    root = key.partition(".")[0]
    if root == loop.state or is_cache(key) or not related(key, loop.needs.at(node)):
        return False
    entry = loop.origins.entries[id(node)]
    flags = entry.get(key, entry.get(root, frozenset()))
    if flags & {OUTPUT, FILE}:
        return False
    if flags & KEPT and not _is_grown(loop, key) and not _is_former(loop, node, key):
        return False
    if not loop.is_local(key) and key not in loop.outside:
        return False
    if mark_of(node, key) in loop.origins.skipping:
        return False
    if key == root and _is_alias_of_state(node, key):
        return False
    is_bound = root in entry or root in loop.parameters or not loop.is_local(key)
    is_found = is_bound or _is_bound_sometimes(node, root) or _is_returned(loop, node, root)
    if not is_found:
        return False
    return not (_is_memo(loop, node, key) or _is_made_once(loop, node, key))


def _is_grown(loop: DeclaredLoop, name: str) -> bool:
    """Whether a list begins with single items, be they from the state, and gets more later."""
    made = loop.callees.maker(name)
    if isinstance(made, ast.Call) and len(made.args) == 1:
        made = made.args[0]
    is_short = isinstance(made, ast.List | ast.Set) and not any(
        isinstance(one, ast.Starred) for one in made.elts
    )
    return is_short and any(
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and one.func.attr in ("append", "appendleft", "extend", "add")
        and key_of(one.func.value) == name
        for one in scope_nodes(*loop.node.body)
    )


def _is_former(loop: DeclaredLoop, node: Loop, name: str) -> bool:
    """Whether a variable becomes a state that is, or may be, a former one when the turn is done.

    It may begin as something that is made of the state, but no later state tells a former one.
    """
    body = loop.facts_in(*node.body)
    if not any(loop.state in facts.binds for _, facts in body):
        return False
    always = {id(one) for one in tail(node.body)}
    return any(
        id(one) not in always and _takes_state(value, name, loop.state)
        for one, facts in body
        if name in facts.binds and isinstance(one, ast.Assign)
        for target, value in assigned_values(one)
        if key_of(target) == name
    )


def _takes_state(value: ast.expr, name: str, state: str) -> bool:
    """Whether a value is the state, or the smaller or larger one of itself and the state."""
    if isinstance(value, ast.Call) and dotted(value.func) in ("min", "max"):
        return {name, state} <= {one.id for one in value.args if isinstance(one, ast.Name)}
    return isinstance(value, ast.Name) and value.id == state


def _is_alias_of_state(node: Loop, name: str) -> bool:
    """Whether all that a loop binds to a variable are yields, which return the state."""
    values = [
        one.value
        for one in scope_nodes(*node.body)
        if isinstance(one, ast.Assign) and name in map(key_of, one.targets)
    ]
    return bool(values) and all(isinstance(one, ast.Yield) for one in values) and not node.orelse


def _is_bound_sometimes(node: Loop, name: str) -> bool:
    """Whether only some of the turns bind a variable."""
    return any(
        isinstance(one, ast.If) and _binds(one, name) and not yields_in(one) for one in node.body
    )


def _is_returned(loop: DeclaredLoop, node: Loop, name: str) -> bool:
    """Whether a variable is a part of the result, which a run that resumes at its end lacks."""
    inside = {id(one) for one in scope_nodes(node)}
    return any(
        isinstance(one, ast.Return) and id(one) not in inside and name in keys_read(one)
        for one in scope_nodes(*loop.node.body)
    )


def _binds(node: ast.stmt, name: str) -> bool:
    return any(
        isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store)
        for one in scope_nodes(node)
    )


def _is_memo(loop: DeclaredLoop, node: Loop, key: str) -> bool:
    """Whether a mapping only gets values that are missing, which depend on their keys alone."""
    pairs = loop.facts_in(*node.body)
    statements = [one for one, facts in pairs if key in facts.changes | facts.binds]
    drawn = {id(one) for one, _, flags in loop.origins.stored if flags & {DRAWN, RNG}}
    guarded = set[int]()
    for one in scope_nodes(*node.body):
        if isinstance(one, ast.If) and _asks_for_missing(one.test, key):
            guarded.update(id(inner) for inner in one.body)
        if isinstance(one, ast.Try) and any(
            isinstance(part, ast.Subscript) and key_of(part) == key
            for part in scope_nodes(*one.body)
        ):
            guarded.update(id(inner) for handler in one.handlers for inner in handler.body)
    return bool(statements) and all(
        id(one) in guarded - drawn
        and isinstance(one, ast.Assign)
        and isinstance(one.targets[0], ast.Subscript)
        and not related(key, keys_read(one.value))
        for one in statements
    )


def _asks_for_missing(test: ast.expr, key: str) -> bool:
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.ops[0], ast.NotIn)
        and key_of(test.comparators[0]) == key
    )


def _is_made_once(loop: DeclaredLoop, node: Loop, key: str) -> bool:
    """Whether a variable is made where it is missing, of what no turn changes."""
    changed = _changed(loop, node)
    made = [one for one, facts in loop.facts_in(*node.body) if key in facts.binds]
    tests = {
        id(inner): one.test
        for one in scope_nodes(*node.body)
        if isinstance(one, ast.If)
        for inner in one.body
    }
    changes = any(key in facts.changes for _, facts in loop.facts_in(*node.body))
    return (
        bool(made)
        and not changes
        and all(
            id(one) in tests
            and key in keys_read(tests[id(one)])
            and isinstance(one, ast.Assign)
            and not isinstance(one.value, ast.Constant)
            and not any(related(read, changed) for read in keys_read(one.value))
            for one in made
        )
    )


def _rngs(loop: DeclaredLoop, node: Loop, met: set[str]) -> Iterator[Finding]:
    """Yield the RNGs that are made before a loop, and drawn from in it."""
    if loop.ignores_rngs:
        return
    needed = loop.needs.at(node)
    for key, flags in loop.origins.entries[id(node)].items():
        made = loop.callees.maker(key)
        if RNG not in flags or flags & KEPT or key in met or not isinstance(made, ast.Call):
            continue
        if loop.callees.makes_rng(made) and related(key, needed):
            met.add(key)
            cause = f"{key!r} draws the same random numbers again in a resumed run"
            ways = (
                "Keep the RNG in the state, pass it as an argument, or make it in the module.",
                DROP_CREATE,
            )
            yield Finding(made.lineno, 0, "rng", key, cause, ways)


def _references(loop: DeclaredLoop, node: Loop, met: set[str]) -> Iterator[Finding]:
    """Yield values of the first state, by their names, that a resumed run makes of a later one."""
    fixed = loop.origins.entries[id(node)].keys() - _changed(loop, node).keys() - met
    for name in sorted(filter(_FIRST.fullmatch, fixed)):
        made = loop.callees.maker(name)
        is_state = isinstance(made, ast.Name) and made.id == loop.state
        is_called = isinstance(made, ast.Call) and dotted(made.func) not in _SIZES
        flags = loop.origins.entries[id(node)][name]
        if (is_state or is_called) and STATE in flags and related(name, loop.needs.in_body(node)):
            met.add(name)
            assert made is not None
            cause = f"{name!r} is made from the first state, but from a later one in a resumed run"
            ways = ("Keep it in the state, or make it from the arguments.", DROP_CREATE)
            yield Finding(made.lineno, 1, "reference", name, cause, ways)


def _drawn(loop: DeclaredLoop, node: Loop, met: set[str]) -> Iterator[Finding]:
    """Yield what is made of random numbers before a loop, with the RNGs where they are then."""
    entry = loop.origins.entries[id(node)]
    names = {key for key, flags in entry.items() if DRAWN in flags and not flags & KEPT}
    needed = loop.needs.in_body(node) | keys_read(*_source(node))
    for name in sorted(names - met):
        if not loop.ignores_rngs and loop.is_local(name) and related(name, needed):
            met.add(name)
            cause = f"{name!r} is drawn again in a resumed run, with other random numbers"
            ways = ("Draw it in create, or outside of the function, and pass it.", DROP_CREATE)
            yield Finding(_line_of(loop, name), 1, "drawn", name, cause, ways)


def _source(node: Loop) -> list[ast.expr]:
    return [] if isinstance(node, ast.While) else [node.iter]


def _line_of(loop: DeclaredLoop, name: str) -> int:
    """Return the line that binds a variable or changes it first."""
    for one, facts in loop.facts_in(*loop.node.body):
        if name in facts.binds | facts.changes:
            return one.lineno
    return loop.node.lineno


def _finding(loop: DeclaredLoop, key: str, line: int) -> Finding:
    is_other = not loop.is_local(key) or key.partition(".")[0] in loop.parameters
    cause = f"{key!r} changes from step to step, but begins anew in a resumed run"
    ways = ("Keep it in the state, or make it from the state before the loop.", DROP_CREATE)
    return Finding(line, 1 + is_other, "carried", key, cause, ways)
