"""Finds loops that a resumed run enters at another place than where it was broken off."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any, Final

from trax.frames.names import target_names
from trax.lint.callees import Callees, dotted
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.facts import FactsOf, keys_read
from trax.lint.findings import DROP_CREATE, Finding
from trax.lint.needs import Needs
from trax.lint.origins import KEPT, PROGRESS, STATE, mark_of
from trax.lint.trees import function_tree, has_yield, key_of, nodes_of
from trax.lint.turns import (
    Loop,
    bodies,
    exits,
    increments,
    loops_around_yields,
    tail,
    test_text,
    yields_in,
)

__all__ = ["positions"]

_ENDLESS: Final = {"count", "repeat", "cycle"}
_COMPLETED: Final = {"as_completed", "imap_unordered"}
_MISALIGNED: Final = {
    *("reversed", "sorted", "batched", "chunked", "islice", "product", "chain"),
    *("filter", "zip_longest", "cycle", "sample", "dropwhile", "filterfalse"),
    *("accumulate", "groupby"),
}
_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_STAGES: Final = 3  # yields in a row; of fewer no long computation is made
_STEPS: Final = (
    "Go through trax.steps(total) or trax.remaining(items), or begin where the state tells."
)


def positions(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield the loops and yields to which a resumed run comes back at a wrong place."""
    restarting: set[int] = set()
    for around in loop.loops:
        node = around[-1]
        if any(id(one) in restarting or _is_counted(loop, one) for one in around[:-1]):
            continue
        if not isinstance(node, ast.While) and _is_counted(loop, node):
            yield from _alignment(loop, node)
        elif not isinstance(node, ast.While) and _restarts(loop, node):
            restarting.add(id(node))
            yield _restarting(node.iter, node.lineno)
        else:
            yield from _repeated(loop, node.body, is_turn=True)
            if not isinstance(node, ast.While):
                yield from _numbered(loop, node)
                yield from _zipped(loop, node, node.iter)
                if _is_misplaced(loop, node):
                    yield _restarting(node.iter, node.lineno, "goes on at another item")
        yield from _exits(loop, node)
    if loop.loops or len(yields_in(loop.node.body)) >= _STAGES:
        yield from _repeated(loop, loop.node.body, is_turn=False)
    yield from _delegated(loop)


def _is_counted(loop: DeclaredLoop, node: Loop) -> bool:
    """Whether a loop goes through the numbers or items of trax's helpers."""
    if isinstance(node, ast.While):
        return False
    flags = loop.origins.iterables[id(node)]
    return PROGRESS in flags and STATE not in flags and not _is_step(loop, node.iter)


def _is_step(loop: DeclaredLoop, source: ast.expr) -> bool:
    """Whether it is `trax.step` that gives the position."""
    calls = [one for one in ast.walk(source) if isinstance(one, ast.Call)]
    helpers = [name for name in map(loop.callees.helper, calls) if name]
    return "step" in helpers and not {"steps", "remaining"} & {*helpers}


def _restarts(loop: DeclaredLoop, node: ast.For | ast.AsyncFor) -> bool:
    flags = loop.origins.iterables[id(node)]
    if flags & KEPT or mark_of(node) in loop.origins.skipping:
        return False
    called = node.iter.func if isinstance(node.iter, ast.Call) else node.iter
    if dotted(called).rpartition(".")[2] in _ENDLESS:
        return bool(target_names(node.target) & loop.needs.in_body(node))
    return True


def _restarting(
    source: ast.expr, line: int, place: str = "begins at its first item again"
) -> Finding:
    text = _short(source)
    cause = f"the loop over {text} {place} in a resumed run"
    return Finding(line, 0, "restart", text, cause, (_STEPS, DROP_CREATE))


def _short(node: ast.expr) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _made(loop: DeclaredLoop, source: ast.expr) -> ast.expr:
    """Return what a variable is made of, or the expression itself."""
    made = loop.callees.maker(source.id) if isinstance(source, ast.Name) else None
    return source if made is None else made


# -- numbers and items of trax's helpers ---------------------------------------------------


def _alignment(loop: DeclaredLoop, node: ast.For | ast.AsyncFor) -> Iterator[Finding]:
    source = node.iter
    name = _counting(loop, source)
    numbers = increments(node.body)
    if numbers != {1}:
        few = 0 in numbers
        line = _line_of_miscount(node, few=few)
        number = "none" if few else "several"
        cause = f"trax.{name} counts one increment for each turn, but a turn may have {number}"
        ways = (
            "Yield in each turn, such as None where there is nothing to add."
            if few
            else "Yield all that a turn gives as one increment, such as `yield (a, b)`.",
            "Or loop over what the state says is still to be done.",
            DROP_CREATE,
        )
        yield Finding(line, 0, "count", "count", cause, ways)
    elif key_of(source) in loop.writes(node).changes:
        cause = f"trax.{name} counts one increment for each turn, but a turn takes several"
        pairs = ("Make pairs of them before, and give these to trax.remaining.", DROP_CREATE)
        yield Finding(node.lineno, 0, "count", "count", cause, pairs)
    yield from _wrapped(loop, node, source, name)


def _counting(loop: DeclaredLoop, source: ast.expr) -> str:
    source = _made(loop, source)
    calls = (one for one in ast.walk(source) if isinstance(one, ast.Call))
    return next((name for name in map(loop.callees.helper, calls) if name), "steps")


def _line_of_miscount(node: ast.For | ast.AsyncFor, *, few: bool) -> int:
    if few:
        for one in nodes_of(ast.Continue, node.body):
            return one.lineno
    return yields_in(node.body)[-1].lineno


def _wrapped(
    loop: DeclaredLoop, node: ast.For | ast.AsyncFor, source: ast.expr, name: str
) -> Iterator[Finding]:
    """Yield the calls around a helper of trax that change how its items are counted."""
    source = _made(loop, source)
    if not isinstance(source, ast.Call) or loop.callees.helper(source):
        return
    called = dotted(source.func).rpartition(".")[2]
    if called in _COMPLETED:
        yield _as_completed(loop, source)
    elif called == "enumerate":
        yield from _renumbered(loop, node, source, "trax.step()")
    elif called == "zip":
        yield from _zipped(loop, node, source)
    elif called in _MISALIGNED or _carries(loop, source):
        cause = f"{called}() around trax.{name} gives other items in a resumed run"
        ways = (f"Put trax.remaining outermost: trax.remaining({called}(...)).", DROP_CREATE)
        yield Finding(source.lineno, 0, "count", called, cause, ways)


def _carries(loop: DeclaredLoop, source: ast.Call) -> bool:
    """Whether one of the user's generator functions needs what it had of the items before."""
    function, _ = loop.callees.followed(source) or (None, None)
    node = function_tree(function.__code__) if function is not None else None
    if function is None or node is None:
        return False
    callees = Callees(function, node, {})
    facts = FactsOf(callees)
    needs = Needs(node, facts, set())
    for *_, inner in loops_around_yields(node.body):
        if isinstance(inner, ast.For) and _index(inner) & needs.in_body(inner):
            return True
        inside = set(nodes_of(ast.stmt, inner))
        outside = [one for one in nodes_of(ast.stmt, node.body) if one not in inside]
        begun = {
            name
            for name in set().union(*(facts(one).binds for one in outside))
            # What begins with an item, such as the former one of a pair, is found again.
            if not any(
                isinstance(v, ast.Call) and dotted(v.func) == "next" for v in callees.values(name)
            )
        }
        for one in inside:
            changed = facts(one).binds | facts(one).changes
            if any(needs.is_needed(key, inner) for key in changed & begun):
                return True
    return False


def _index(node: ast.For) -> set[str]:
    """Return the variable that ``enumerate`` counts from 0."""
    source, target = node.iter, node.target
    if not isinstance(source, ast.Call) or not isinstance(target, ast.Tuple):
        return set()
    is_counted = dotted(source.func) == "enumerate" and not (source.args[1:] or source.keywords)
    return target_names(target.elts[0]) if is_counted else set()


def _zipped(
    loop: DeclaredLoop, node: ast.For | ast.AsyncFor, source: ast.expr
) -> Iterator[Finding]:
    """Yield the arguments of ``zip`` that begin again beside others that do not."""
    if not isinstance(source, ast.Call) or dotted(source.func) != "zip":
        return
    parts = node.target.elts if isinstance(node.target, ast.Tuple) else []
    for target, part in zip(parts, source.args, strict=False):
        is_kept = _is_kept(loop, node, part)
        is_same = isinstance(part, ast.Call) and dotted(part.func).endswith("repeat")
        if not is_kept and not is_same and target_names(target) & loop.needs.in_body(node):
            yield _restarting(part, part.lineno)


# -- what the state leaves to be done ---------------------------------------------------------


def _is_misplaced(loop: DeclaredLoop, node: ast.For | ast.AsyncFor) -> bool:
    """Whether a loop depends on what is done, but does not go on after it."""
    source, is_reversed = _made(loop, node.iter), False
    while isinstance(source, ast.Call) and dotted(source.func) in ("reversed", "list", "iter"):
        is_reversed ^= dotted(source.func) == "reversed"
        source = _made(loop, source.args[0]) if source.args else ast.Constant(None)
    if isinstance(source, ast.Subscript) and isinstance(source.slice, ast.Slice):
        lower, upper, step = source.slice.lower, source.slice.upper, source.slice.step
        if step is not None or _is_kept(loop, node, source.value):
            return False
        is_begun = _is_kept(loop, node, lower)
        return is_begun if is_reversed else _is_rest(loop, node, upper) and not is_begun
    if isinstance(source, ast.Call) and dotted(source.func) == "range" and not is_reversed:
        return _is_misplaced_range(loop, node, source.args)
    return False


def _is_misplaced_range(
    loop: DeclaredLoop, node: ast.For | ast.AsyncFor, given: list[ast.expr]
) -> bool:
    """Whether a range counts what is left from 0, or in strides from the number of what is done."""
    start = given[0] if given[1:] else ast.Constant(0)
    if len(given) > len(("start", "stop")) and isinstance(start, ast.Call):
        is_one = isinstance(given[-1], ast.Constant) and given[-1].value == 1
        return loop.adds_one and not is_one and _is_kept(loop, node, start)
    stop = given[1] if given[1:] else given[0]
    index = target_names(node.target)
    is_used = bool(index & loop.needs.in_body(node)) and not _is_shifted(loop, node, index)
    return is_used and _is_rest(loop, node, stop) and not _is_kept(loop, node, start)


def _is_kept(loop: DeclaredLoop, node: ast.For | ast.AsyncFor, part: ast.expr | None) -> bool:
    entry = loop.origins.entries[id(node)]
    return bool(loop.origins.flags(part, dict(entry)) & KEPT)


def _is_rest(loop: DeclaredLoop, node: ast.For | ast.AsyncFor, part: ast.expr | None) -> bool:
    """Whether a number becomes smaller by what is done."""
    if isinstance(part, ast.UnaryOp):
        return _is_kept(loop, node, part.operand)
    if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Sub):
        return _is_kept(loop, node, part.right)
    return False


def _numbered(loop: DeclaredLoop, node: ast.For | ast.AsyncFor) -> Iterator[Finding]:
    """Yield ``enumerate`` around what the state leaves to be done, as in ``items[len(done):]``."""
    source = node.iter
    if not isinstance(source, ast.Call) or dotted(source.func) != "enumerate" or not source.args:
        return
    rest = source.args[0]
    rest = _made(loop, rest)
    start: list[ast.expr] = []
    if isinstance(rest, ast.Subscript) and isinstance(rest.slice, ast.Slice) and rest.slice.lower:
        start = [rest.slice.lower]
    elif isinstance(rest, ast.Call) and dotted(rest.func).endswith("islice"):
        start = rest.args[1:2]
    elif isinstance(rest, ast.ListComp | ast.GeneratorExp):  # those that are not in the state
        start = [one for part in rest.generators for one in part.ifs]
    entry = loop.origins.entries[id(node)]
    if any(loop.origins.flags(one, dict(entry)) & KEPT for one in start):
        is_number = isinstance(start[0], ast.Call)
        yield from _renumbered(loop, node, source, _short(start[0]) if is_number else "trax.step()")


def _renumbered(
    loop: DeclaredLoop, node: ast.For | ast.AsyncFor, source: ast.Call, start: str
) -> Iterator[Finding]:
    """Yield an index of ``enumerate`` that counts from its start again, and is needed."""
    entry = loop.origins.entries[id(node)]
    given = [*source.args[1:], *(one.value for one in source.keywords)]
    index = target_names(node.target.elts[0]) if isinstance(node.target, ast.Tuple) else set()
    is_kept = any(loop.origins.flags(one, entry) & KEPT for one in given)
    if index & loop.needs.in_body(node) and not is_kept and not _is_shifted(loop, node, index):
        name = min(index)
        cause = f"enumerate() counts {name!r} from its start again in a resumed run"
        ways = (f"Write enumerate(..., start={start}).", DROP_CREATE)
        yield Finding(source.lineno, 0, "enumerate", name, cause, ways)


def _is_shifted(loop: DeclaredLoop, node: ast.For | ast.AsyncFor, index: set[str]) -> bool:
    """Whether an index is added to what the state tells, as in ``done + i``."""
    entry = dict(loop.origins.entries[id(node)])
    return any(
        isinstance(one.op, ast.Add)
        and index & keys_read(one.left, one.right)
        and loop.origins.flags(one, entry | dict.fromkeys(index, frozenset())) & KEPT
        for one in nodes_of(ast.BinOp, node.body)
    )


def _as_completed(loop: DeclaredLoop, source: ast.Call) -> Finding:
    called = dotted(source.func).rpartition(".")[2]
    ways: tuple[str, ...] = (
        "Take the results in the order of the tasks, as Executor.map() gives them.",
        "Or keep in the state which items are done, and submit only the others.",
        "Or use trax.map, which takes them as they come.",
    )
    cause = f"{called}() has another order each time, but a resumed run leaves out the first items"
    if _has_key(loop, source):
        cause = f"{called}() takes all items of trax.remaining before the first increment"
        ways = (f"Put it inside, as in trax.remaining({called}(...), key=...).", ways[-1])
    return Finding(source.lineno, 0, "order", called, cause, ways)


def _has_key(loop: DeclaredLoop, source: ast.Call) -> bool:
    """Whether the items in a call are known by their keys, and not by their order."""
    names = [one.id for one in ast.walk(source) if isinstance(one, ast.Name)]
    nodes = [source, *filter(None, map(loop.callees.maker, names))]
    calls = [one for node in nodes for one in ast.walk(node) if isinstance(one, ast.Call)]
    given = [one.keywords for one in calls if loop.callees.helper(one) == "remaining"]
    return any(one.arg == "key" for keywords in given for one in keywords)


# -- several yields, and the end of a loop ----------------------------------------------------


def _repeated(loop: DeclaredLoop, body: Sequence[ast.stmt], *, is_turn: bool) -> Iterator[Finding]:
    """Yield the yields that come again, since nothing in the state tells that they are done.

    The last one of a turn is followed by the next turn, and may come again.
    """
    found = [node for node in body if has_yield(node)]
    for node in found:
        is_last = is_turn and node is found[-1]
        if isinstance(node, _LOOPS) or loop.origins.tests.get(id(node), frozenset()) & KEPT:
            continue
        if hasattr(node, "body"):
            for inner in bodies(node):
                yield from _repeated(loop, inner, is_turn=is_last)
        elif not is_last and not isinstance(yields_in(node)[0], ast.YieldFrom):
            cause = "this yield comes again in a run that resumes after it"
            ways = ("Ask the state if it is done, as in `if not state.started:`.", DROP_CREATE)
            yield Finding(node.lineno, 1, "again", "again", cause, ways)


def _delegated(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield the sources of ``yield from`` that know nothing of the state."""
    guarded = {
        inner
        for one in nodes_of(ast.If, loop.node.body)
        if loop.origins.tests.get(id(one), frozenset()) & KEPT
        for inner in nodes_of(ast.YieldFrom, one)
    }
    for one in nodes_of(ast.YieldFrom, loop.node.body):
        is_kept = loop.origins.yielded.get(id(one), frozenset()) & KEPT
        if one not in guarded and not is_kept:
            yield _restarting(one.value, one.lineno)


def _exits(loop: DeclaredLoop, node: Loop) -> Iterator[Finding]:
    """Yield the conditions that end a loop after its last yield, and are not asked before it."""
    last = tail(node.body)
    ends = [*exits(last)]
    if not ends or _goes_on(loop, node):
        return
    inside = set(nodes_of(ast.stmt, *last))
    body = loop.node.body
    asking: list[Any] = [*nodes_of(ast.If, body), *nodes_of(ast.While, body)]
    tests = [one.test for one in asking if one not in inside]
    asked = {part for test in tests for part in _parts(test)}
    if not isinstance(node, ast.While) and isinstance(node.iter, ast.Call):  # as in range(n, end)
        asked.add(" ? ".join(map(ast.unparse, node.iter.args)))
    varying = {loop.state, *loop.writes(node).binds}
    if not isinstance(node, ast.While):
        varying |= target_names(node.target)
    for one in ends:
        names = {key.partition(".")[0] for key in keys_read(one.node.test)}
        if one.text not in asked and names & varying:
            cause = "this condition is not asked again in a run that resumes at the yield before it"
            ways = ("Ask it before the yield, at the beginning of the turn.", DROP_CREATE)
            yield Finding(one.node.lineno, 1, "exit", one.text, cause, ways)


def _goes_on(loop: DeclaredLoop, node: Loop) -> bool:
    """Whether increments follow after a loop, so that its end is not the run's."""
    return any(one.lineno > (node.end_lineno or 0) for one in yields_in(loop.node.body))


def _parts(test: ast.expr) -> Iterator[str]:
    yield test_text(test)
    if isinstance(test, ast.UnaryOp):
        yield from _parts(test.operand)
    if isinstance(test, ast.BoolOp):
        for one in test.values:
            yield from _parts(one)
