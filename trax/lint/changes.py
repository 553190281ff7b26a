"""Finds states that a loop changes where only ``replay_log`` may, or that it does not take over."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Final

from trax.frames.names import target_names
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.facts import keys_read
from trax.lint.findings import Finding
from trax.lint.origins import KEPT
from trax.lint.trees import has_yield, key_of, nodes_of, scope_nodes
from trax.lint.turns import Loop, tail, yields_in
from trax.lint.words import is_cache

__all__ = ["changes"]


def changes(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield the places where the state of the loop is not the one that is stored."""
    mutations = [*_mutations(loop)]
    if loop.folding == "none":
        yield from _rebound(loop)
        yield from _early(loop, mutations)
        yield from _late(loop, mutations)
        return
    yield from _mutated(loop, mutations)
    yield from _dropped(loop, mutations)
    yield from _shared_buffers(loop)


_Mutations = Sequence[tuple[ast.stmt, str]]
_BINDING: Final = {
    *(ast.Assign, ast.For, ast.AsyncFor, ast.NamedExpr, ast.AugAssign, ast.withitem),
}


def _aliases(loop: DeclaredLoop) -> set[str]:
    """Return the variables that are always the state or a part of it."""
    bound: dict[str, list[ast.expr]] = {}
    for one in scope_nodes(loop.node.body):
        if type(one) not in _BINDING:
            continue
        if isinstance(one, ast.Assign):
            for name in set().union(*map(target_names, one.targets)):
                bound.setdefault(name, []).append(one.value)
        else:
            for name in target_names(getattr(one, "target", getattr(one, "optional_vars", None))):
                bound.setdefault(name, []).append(ast.Constant(None))
    found: set[str] = set()
    if all(isinstance(one, ast.Yield) for one in bound.pop(loop.state, ())):
        found.add(loop.state)
    for _ in range(2):
        for name, values in bound.items():
            if all(_is_part(value, found) for value in values):
                found.add(name)
    return found


def _is_part(value: ast.expr, states: set[str]) -> bool:
    node = value
    while isinstance(node, ast.Attribute | ast.Subscript):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
            return False
        node = node.value
    return isinstance(node, ast.Name) and node.id in states


def _mutations(loop: DeclaredLoop) -> Iterator[tuple[ast.stmt, str]]:
    """Yield the statements that visibly change the state in place."""
    names = _aliases(loop)
    optional = {one for node in _optional(loop) for one in nodes_of(ast.stmt, node)}
    for node, facts in loop.facts_in(loop.node.body):
        if node in optional:
            continue
        for key in sorted(facts.changes):
            name, _, attribute = key.partition(".")
            if name in names and not is_cache(attribute) and not attribute.startswith("_"):
                yield node, key
                break


def _optional(loop: DeclaredLoop) -> Iterator[ast.If]:
    """Yield the conditions that are the same in all of a run, such as on an argument."""
    bound = {loop.state, *loop.writes(loop.node).binds}
    for one in nodes_of(ast.If, loop.node.body):
        names = {key.partition(".")[0] for key in keys_read(one.test)}
        if not names & bound:
            yield one


def _mutated(loop: DeclaredLoop, found: _Mutations) -> Iterator[Finding]:
    """Yield the first change of the state in the body, unless the increment has it."""
    if not found:
        return
    late = {one for around in loop.loops for one in nodes_of(ast.stmt, *tail(around[-1].body))}
    if loop.folding == "increment":
        values = [one.value for one in yields_in(loop.node.body) if one.value is not None]
        if all(_has_state(loop, value) for value in values):
            found = [(node, key) for node, key in found if node in late]
    for node, key in found[:1]:
        cause = f"{key!r} is changed in the loop, but only replay_log changes the stored state"
        ways = (
            "Yield what changes, and change the state in replay_log.",
            "Or give replay_log=None, and the loop's own changes of the state are stored.",
        )
        yield Finding(node.lineno, 0, "mutated", loop.state, cause, ways)


def _has_state(loop: DeclaredLoop, value: ast.expr) -> bool:
    """Whether an increment may contain the whole state, perhaps by way of other variables."""
    names = {key.partition(".")[0] for key in keys_read(value)}
    for _ in range(3):
        for one in nodes_of(ast.Assign, loop.node.body):
            if not isinstance(one.value, ast.Yield) and names & set(map(key_of, one.targets)):
                names |= {key.partition(".")[0] for key in keys_read(one.value)}
    return loop.state in names


def _dropped(loop: DeclaredLoop, mutations: _Mutations) -> Iterator[Finding]:
    """Yield a `yield` whose new state nobody takes, although the state is needed afterwards."""
    if loop.folding not in ("new", "increment") or not loop.loops:
        return
    if loop.state in loop.writes(loop.node).binds or mutations:
        return
    for around in loop.loops:
        node = around[-1]
        bare = [one for one in nodes_of(ast.Expr, node.body) if isinstance(one.value, ast.Yield)]
        if bare and loop.needs.is_needed(loop.state, node):
            yield _stale(loop, bare[0])
            return


def _stale(loop: DeclaredLoop, node: ast.Expr) -> Finding:
    cause = f"the new state is dropped, and {loop.state!r} stays as it was when the call began"
    ways = (f"Write {loop.state} = yield ..., which hands it over.",)
    return Finding(node.lineno, 0, "dropped", loop.state, cause, ways)


# -- without a log ---------------------------------------------------------------------------


def _rebound(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield assignments of another object to the variable of the state, which is not stored."""
    for node in loop.writes(loop.node).binds.get(loop.state, ()):
        if not isinstance(node, ast.Assign):
            continue
        if yields_in(node.value) or not loop.needs.matters(node):
            continue
        names = {one.id for one in node.targets if isinstance(one, ast.Name)}
        if loop.state in names and key_of(node.value) != loop.state:
            cause = f"{loop.state!r} is another object now, but the one that create made is stored"
            ways = (
                "Without replay_log, change the state in place, such as an attribute of it.",
                "Or leave out replay_log=, and yield the new state.",
            )
            yield Finding(node.lineno, 0, "rebound", loop.state, cause, ways)
            return


def _early(loop: DeclaredLoop, mutations: _Mutations) -> Iterator[Finding]:
    """Yield changes of the state before the loops, which each resumed run makes again."""
    changing = {node for node, _ in mutations}
    before = loop.origins.before_loops
    early = [one for one, _, control in before if one in changing and not control & KEPT]
    inside = {*map(ast.unparse, _targets(loop))} if early else set()
    for node in early:
        if has_yield(node):
            continue
        call = node.value if isinstance(node, ast.Expr) else node
        is_reset = isinstance(node, ast.Assign) and not inside.isdisjoint(
            ast.unparse(target) for target in node.targets if not isinstance(target, ast.Name)
        )
        if is_reset or (not isinstance(node, ast.Assign) and loop.callees.built_up(call)):
            cause = f"{loop.state!r} is changed before the loop, and again in each resumed run"
            ways = ("Let create do it.", "Or ask the state if it is done.")
            yield Finding(node.lineno, 0, "early", loop.state, cause, ways)
            return


def _targets(loop: DeclaredLoop) -> Iterator[ast.expr]:
    """Yield the targets of the assignments in the loops around yields."""
    for around in loop.loops:
        for one in nodes_of(ast.Assign, around[-1].body):
            yield from one.targets
        for each in nodes_of(ast.AugAssign, around[-1].body):
            yield each.target


def _late(loop: DeclaredLoop, mutations: _Mutations) -> Iterator[Finding]:
    """Yield changes of the state after the last yield, which a resumed run leaves out."""
    for around in loop.loops:
        last = set(nodes_of(ast.stmt, *tail(around[-1].body)))
        for node, key in mutations:
            if node in last:
                cause = f"{key!r} changes after the yield, but not in a run that resumes there"
                ways = ("Change it before the yield.", "Or leave out create= and replay_log=.")
                yield Finding(node.lineno, 0, "late", key, cause, ways)
                return


# -- increments ------------------------------------------------------------------------------


def _shared_buffers(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield increments that are an object which the loop changes later."""
    for around in loop.loops:
        node = around[-1]
        entry = loop.origins.entries[id(node)]
        yield from _parts_of_the_state(loop, node)
        writes = loop.writes(node)
        bound = {loop.state, *writes.binds}
        if not isinstance(node, ast.While):
            bound |= {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
        again = (writes.changes.keys() - bound) & {*entry, *loop.parameters}
        for one in yields_in(node.body):
            for name in sorted(again & _bare(one.value)):
                cause = f"{name!r} is yielded and then changed, and with it the increment"
                ways = (f"Yield a copy, such as {name}.copy().",)
                yield Finding(one.lineno, 0, "shared", name, cause, ways)


def _parts_of_the_state(loop: DeclaredLoop, node: Loop) -> Iterator[Finding]:
    """Yield increments that are an object in the state which ``replay_log`` changes."""
    for one in yields_in(node.body):
        text = ast.unparse(one.value) if one.value is not None else ""
        if text in loop.changed_in_place:
            cause = f"{text} is yielded and changed by replay_log, and with it the increment"
            yield Finding(one.lineno, 0, "shared", text, cause, ("Yield a copy of it.",))


def _bare(value: ast.expr | None) -> set[str]:
    """Return the variables that an increment is, or has as a part of a tuple, list or dict."""
    if isinstance(value, ast.Name):
        return {value.id}
    if isinstance(value, ast.Tuple | ast.List):
        return set().union(*map(_bare, value.elts))
    return set().union(*map(_bare, value.values)) if isinstance(value, ast.Dict) else set()
