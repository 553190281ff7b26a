"""Finds effects that a resumed run repeats or leaves out, and values of the process alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from trax.frames.names import target_names
from trax.lint import words
from trax.lint.callees import dotted
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.facts import keys_read
from trax.lint.findings import Finding
from trax.lint.origins import CLOCK, FILE, KEPT, LISTED, OUTPUT, UNORDERED, Found
from trax.lint.trees import has_yield, key_of, nodes_of, scope_nodes
from trax.lint.turns import Loop, tail, yields_in

__all__ = ["effects"]

_LONG: Final = 24  # characters of an expression in a message
_TAKING: Final = {"rename", "renames", "replace", "move", "unlink", "remove"}
_HARMLESS: Final = {"close", "flush", "seek", "tell", "truncate", "fileno"}


def effects(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield effects that come again or are left out, and increments that no rerun can give."""
    yield from _headers(loop)
    yield from _late_effects(loop)
    yield from _plain_files(loop)
    yield from _seeds(loop)
    yield from _clocks(loop)
    yield from _memos(loop)
    yield from _moved(loop)
    yield from _scratch(loop)


# -- files -----------------------------------------------------------------------------------


def _headers(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield what is written into a file of `trax.open` before the loop."""
    if not loop.loops:
        return
    first = loop.loops[0][-1].lineno
    for node, env, control in loop.origins.before_loops:
        if not isinstance(node, ast.Expr) or node.lineno > first or control & (KEPT | {OUTPUT}):
            continue
        name = _written(node.value, env)
        if name:
            cause = f"{name!r} is written to before the loop, and so again in each resumed run"
            ways = ("Write it in the first step alone: if trax.step() == 0.",)
            yield Finding(node.lineno, 0, "header", name, cause, ways)
            return


def _written(value: ast.expr, env: Found) -> str:
    """Return the file of `trax.open` that a call writes into."""
    if not isinstance(value, ast.Call):
        return ""
    if isinstance(value.func, ast.Attribute) and value.func.attr in _HARMLESS:
        return ""
    for key in sorted(keys_read(value)):
        if OUTPUT in env.get(key, frozenset()):
            return key
    return ""


def _late_effects(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield writing and the like after the last yield of a turn."""
    for around in loop.loops:
        for node in nodes_of(ast.Expr, *tail(around[-1].body)):
            if has_yield(node):
                continue
            value = node.value.value if isinstance(node.value, ast.Await) else node.value
            # An input that is taken away too early is lost; a resumed run may find one again.
            if isinstance(value, ast.Call) and _is_effect(loop, value) and not _takes(loop, value):
                name = dotted(value.func)
                cause = f"{name}() after the yield is left out in a run that resumes there"
                ways = ("Do it before the yield.",)
                yield Finding(node.lineno, 1, "late", name, cause, ways)
                return


def _takes(loop: DeclaredLoop, call: ast.Call) -> bool:
    """Whether a call takes an input of the turn away."""
    name = dotted(call.func).rpartition(".")[2]
    targets = [one[-1].target for one in loop.loops if not isinstance(one[-1], ast.While)]
    items = set().union(*map(target_names, targets))
    taken = call.func.value if isinstance(call.func, ast.Attribute) else call
    is_item = bool({*map(key_of, (taken, *call.args[:1]))} & items)
    return name in _TAKING and (is_item or _is_read(loop, call))


def _is_effect(loop: DeclaredLoop, call: ast.Call) -> bool:
    if any(one.arg == "file" and dotted(one.value) != "sys.stderr" for one in call.keywords):
        return True
    return words.stores(dotted(call.func)) and not loop.callees.is_report(call)


def _plain_files(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield files that are written in the loop, but not opened by `trax.open`."""
    nested = [around for around in loop.loops if len(around) == 1]
    for around in nested:
        node = around[0]
        entry = loop.origins.entries[id(node)]
        read = keys_read(*node.body)
        for name in sorted(read):
            opening = _opening(loop, name) if FILE in entry.get(name, frozenset()) else None
            if opening is not None:
                yield _plain_file(opening)
        varying = {loop.state, *loop.writes(node).binds, *loop.facts(node).binds}
        for one in nodes_of(ast.Call, node.body):
            if "a" in loop.callees.opened_mode(one) and not varying & keys_read(one):
                yield _plain_file(one)


def _opening(loop: DeclaredLoop, name: str) -> ast.Call | None:
    """Return the call that opens the file which a variable is, or which it writes into."""
    made = loop.callees.maker(name)
    if isinstance(made, ast.Call) and loop.callees.opened_mode(made):
        return made
    given: list[ast.expr] = made.args if isinstance(made, ast.Call) else []
    if isinstance(made, ast.Attribute):  # a method such as `file.write`
        given = [made.value]
    for one in given:
        if isinstance(one, ast.Call) and loop.callees.opened_mode(one):
            return one
        found = _opening(loop, one.id) if isinstance(one, ast.Name) and one.id != name else None
        if found is not None:
            return found
    return None


def _plain_file(call: ast.Call) -> Finding:
    text = ast.unparse(call.func)
    text = text if len(text) <= _LONG else "open"
    cause = f"a resumed run empties the file that {text}() opens here, or writes lines twice"
    ways = ("Open it with trax.open, which cuts it back to the output of the stored steps.",)
    return Finding(call.lineno, 0, "file", f"{text} {call.lineno}", cause, ways)


# -- random numbers and clocks ---------------------------------------------------------------


def _seeds(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield calls before the loop that seed shared RNGs."""
    if not loop.loops:
        return
    first = loop.loops[0][-1].lineno
    for node, env, control in loop.origins.before_loops:
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
            continue
        if not loop.callees.seeds(node.value) or node.lineno >= first:
            continue
        if not (control | loop.origins.flags(node.value, dict(env))) & KEPT:
            name = dotted(node.value.func)
            cause = f"{name}() is called again in a resumed run, and the same numbers come again"
            ways = ("Call it before the run begins, outside of the loop.",)
            yield Finding(node.lineno, 0, "seed", name, cause, ways)


def _clocks(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield increments, and conditions of loops, that depend on the time or the process."""
    for one in yields_in(loop.node.body):
        flags = loop.origins.yielded.get(id(one), frozenset())
        if CLOCK in flags and not _is_record(loop, one.value):
            yield _clock(one.lineno, "the increment", "Leave it out, or print it instead.")
            return
        if UNORDERED in flags:
            cause = "the increment depends on the order of a set of texts, another in every process"
            yield Finding(one.lineno, 1, "order", "the increment", cause, ("Write sorted(...).",))
            return
    if loop.folding == "none":
        for node, root, flags in loop.origins.stored:
            if CLOCK in flags and root == loop.state:
                yield _clock(node.lineno, "the state", "Leave it out, or print it instead.")
                return
    for around in loop.loops:
        node = around[-1]
        if isinstance(node, ast.While) and CLOCK in loop.origins.tests[id(node)]:
            yield _clock(node.lineno, "the end of the loop", "To end in time, give time_limit=.")
            return


def _clock(line: int, thing: str, way: str) -> Finding:
    cause = f"{thing} depends on the clock or the process, and differs after a crash"
    return Finding(line, 2, "clock", thing, cause, (way,))


def _is_record(loop: DeclaredLoop, value: ast.expr | None) -> bool:
    """Whether an increment only notes the time, or a new UUID, beside other things.

    It is stored with them, and nobody makes it again.
    """
    if isinstance(value, ast.Name):
        value = loop.callees.maker(value.id)
    parts: list[ast.expr] = []
    if isinstance(value, ast.Dict):
        parts = value.values
    elif isinstance(value, ast.Tuple | ast.List):
        parts = value.elts
    elif isinstance(value, ast.Call):
        parts = [*value.args, *(one.value for one in value.keywords)]
    return len(parts) > 1 and all(_is_noted(loop, one) for one in parts)


def _is_noted(loop: DeclaredLoop, part: ast.expr) -> bool:
    """Whether a value is nothing of the clock, or the time of now, or of what a turn took."""
    entries = loop.origins.entries.values()
    values, names, met = [part], keys_read(part), set[str]()
    while names - met:
        name = min(names - met)
        met.add(name)
        if any(CLOCK in entry.get(name, frozenset()) for entry in entries):
            return False  # it is measured from before the loop
        if not any(name in entry for entry in entries):
            values += loop.callees.values(name)
            names = names | keys_read(*loop.callees.values(name))
    timed = [one for one in values if CLOCK in loop.origins.flags(one, {})]
    calls = nodes_of(ast.Call, *timed)
    is_own = any((loop.callees.followed(one) or (None, None))[1] for one in calls)
    is_of_process = any(dotted(one.func) in ("hash", "id") for one in calls)
    decides = any(isinstance(one, ast.Compare | ast.IfExp) for one in scope_nodes(*timed))
    return not (is_own or is_of_process or decides)


def _memos(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield functions of the loop that remember values made of random numbers."""
    for around in loop.loops[:1]:
        names = {one.id for one in nodes_of(ast.Name, around[0].body)}
        for one in loop.callees.near(names):
            name = loop.callees.remembers_noise(one)
            if name:
                cause = f"{name!r} is empty in a resumed run, and its random values are drawn again"
                ways = ("Keep it in the state.", "Or draw from an RNG that is seeded by the key.")
                yield Finding(around[0].lineno, 1, "memo", name, cause, ways)


# -- files that steps leave behind, and files that they take ----------------------------------


def _moved(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield the removal of listed files before the increment that is made of them is stored."""
    if not any(LISTED in flags for flags in loop.origins.yielded.values()):
        return
    for around in loop.loops[:1]:
        late = set(nodes_of(ast.Call, *tail(around[-1].body)))
        for node, flags in loop.origins.removals:
            is_early = node not in late and _is_read(loop, node)
            if is_early and LISTED in flags and not flags & KEPT:
                name = dotted(node.func)
                cause = f"{name}() takes the input away before the yield has stored its increment"
                ways = ("Do it in the next turn, where the state tells that it is done.",)
                yield Finding(node.lineno, 1, "moved", name, cause, ways)
                return


def _is_read(loop: DeclaredLoop, removal: ast.Call) -> bool:
    """Whether the file that a call removes or renames is an input, and not one just written."""
    is_method = isinstance(removal.func, ast.Attribute) and not removal.args[1:]
    path = removal.func.value if is_method and isinstance(removal.func, ast.Attribute) else None
    given = [*removal.args[:1], *([path] if path is not None else [])]
    if any(isinstance(loop.callees.maker(dotted(one)), ast.Subscript) for one in given):
        return True  # an item of the list of files
    calls = nodes_of(ast.Call, loop.node.body)
    reading = [one for one in calls if words.reads_file(dotted(one.func))]
    read = {
        ast.unparse(part)
        for one in reading
        if not loop.callees.opened_mode(one)
        for part in (*one.args, getattr(one.func, "value", one))
    }
    return not read.isdisjoint(map(ast.unparse, given))


def _scratch(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield temporary files and directories in which steps leave what is read after the loop."""
    for around in loop.loops[:1]:
        node = around[0]
        made = {name: loop.callees.maker(name) for name in keys_read(*node.body)}
        scratch = {
            name: value.lineno
            for name, value in made.items()
            if value is not None and any(map(words.is_temporary, _called(value)))
        }
        for name in sorted(scratch.keys() & _read_after(loop, node) if scratch else ()):
            cause = f"{name!r} is another, empty one in a resumed run"
            ways = ("Keep the files in a directory that the run's arguments name.",)
            yield Finding(scratch[name], 0, "scratch", name, cause, ways)


def _read_after(loop: DeclaredLoop, node: Loop) -> set[str]:
    """Return the variables that are read after a loop, for more than to remove what they name."""
    return keys_read(
        *(
            one
            for one in nodes_of(ast.stmt, loop.node.body)
            if one.lineno > (node.end_lineno or 0)
            and loop.needs.matters(one)
            and not any(map(words.cleans_up, _called(one)))
        )
    )


def _called(node: ast.AST) -> list[str]:
    return [dotted(one.func) for one in nodes_of(ast.Call, node)]
