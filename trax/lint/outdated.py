"""Finds values of an early state that a loop goes on using, and steps that it does twice.

A loop that takes a part of the state once, before it begins, has the part as it was at the call. In
a resumed run it has a later one, if the steps replace it.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from typing import Any, Final

from trax.frames.names import target_names
from trax.lint.callees import dotted
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.findings import DROP_CREATE, Finding
from trax.lint.parts import Made, part_of, parts_of
from trax.lint.trees import nodes_of
from trax.lint.turns import yields_in

__all__ = ["contents_read", "outdated"]

_SHAPES: Final = {"dtype", "ndim", "shape", "size"}
_SIZES: Final = {"empty_like", "full_like", "isinstance", "len", "ones_like", "type", "zeros_like"}


def outdated(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield parts of the state that are taken too early, and starts that are too low."""
    if loop.folding not in ("new", "increment") or not loop.loops:
        return
    taken = dict(_taken(loop))
    yield from _stale(loop, taken)
    if loop.folding == "increment":
        yield from _again(loop, taken)


def _taken(loop: DeclaredLoop) -> Iterator[tuple[str, str]]:
    """Yield the variables that are a part of the state before the loop, and which part it is."""
    for node, _, _ in loop.origins.before_loops:
        if not isinstance(node, ast.Assign):
            continue
        part = part_of(node.value, loop.state)
        for target in node.targets:
            if isinstance(target, ast.Name) and part is not None:
                yield target.id, part
            elif isinstance(target, ast.Tuple) and part == "":
                for number, one in enumerate(target.elts):
                    if isinstance(one, ast.Starred):
                        break
                    if isinstance(one, ast.Name):
                        yield one.id, f"[{number}]"


def _renewed(loop: DeclaredLoop) -> set[str]:
    """Return the parts of the state that a step makes anew."""
    tree = loop.node if loop.folding == "increment" else loop.replay
    if isinstance(tree, ast.Lambda):
        values: list[ast.expr | None] = [tree.body]
    else:
        kind = ast.Yield if tree is loop.node else ast.Return
        nodes: list[Any] = [*nodes_of(kind, tree.body)] if tree is not None else []
        values = [one.value for one in nodes]
    made = Made(tree)
    parts = [pair for value in values for pair in parts_of(value, made).items()]
    return {part for part, value in parts if made.is_computed(value)}


# -- findings ----------------------------------------------------------------------------------


def _stale(loop: DeclaredLoop, taken: dict[str, str]) -> Iterator[Finding]:
    """Yield variables that stay a part of the first state, while the steps replace that part."""
    node = loop.loops[0][0]
    pairs = loop.facts_in(loop.node.body)
    changed = [key.partition(".")[0] for _, one in pairs for key in (*one.binds, *one.changes)]
    if loop.state not in changed or not taken:
        return
    renewed = _renewed(loop)
    read = contents_read(*node.body, *([node.test] if isinstance(node, ast.While) else []))
    for name in sorted(taken.keys() & read & loop.needs.in_body(node)):
        if taken[name] in renewed and changed.count(name) == 1:
            part = f"{loop.state}{taken[name]}"
            cause = f"{name!r} is {part} as it was at first; a resumed run has a later one"
            ways = (f"Take it from {loop.state!r} in each turn.", DROP_CREATE)
            line = next(one.lineno for one, facts in pairs if name in facts.binds)
            yield Finding(line, 0, "stale", name, cause, ways)


def contents_read(*nodes: ast.AST, without: Collection[int] = ()) -> set[str]:
    """Return the variables of whose content more than its size is read.

    Nodes are left out whose ids are in `without`.
    """
    found: set[str] = set()
    waiting = [*nodes]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Attribute) and node.attr in _SHAPES:
            continue
        if id(node) in without:
            continue
        if isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in _SIZES:
            continue
        if isinstance(node, ast.Name):
            found.add(node.id)
        waiting += ast.iter_child_nodes(node)
    return found


def _again(loop: DeclaredLoop, taken: dict[str, str]) -> Iterator[Finding]:
    """Yield loops that start with the number that the state has of the last step."""
    made = Made(loop.node)
    for *_, node in loop.loops:
        if isinstance(node, ast.While) or not isinstance(node.iter, ast.Call):
            continue
        if dotted(node.iter.func) != "range" or len(node.iter.args) < len(("start", "stop")):
            continue
        start = node.iter.args[0]
        part = taken.get(start.id) if isinstance(start, ast.Name) else None
        part = part_of(start, loop.state) if part is None else part
        for one in yields_in(node.body):
            parts = parts_of(one.value, made) | ({"": one.value} if one.value else {})
            last = parts.get(part) if part is not None else None
            if isinstance(last, ast.Name) and last.id in target_names(node.target):
                cause = f"the range begins with {last.id!r} of the last step, which is done"
                ways = (f"Store {last.id} + 1, the number of the next one.", DROP_CREATE)
                yield Finding(node.lineno, 0, "twice", last.id, cause, ways)
