"""Finds effects that a resumed run repeats or leaves out, and values of the process alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from trax.lint.callees import dotted
from trax.lint.declared_loop import DeclaredLoop
from trax.lint.facts import keys_read
from trax.lint.findings import Finding
from trax.lint.origins import CLOCK, FILE, KEPT, LISTED, OUTPUT, UNORDERED, Env
from trax.lint.trees import scope_nodes
from trax.lint.turns import tail, yields_in

__all__ = ["effects"]

_HARMLESS: Final = {"close", "flush", "seek", "tell", "truncate", "fileno"}
_STORING: Final = re.compile(
    r"(.*\.)?((save|write|send|post|upload|publish|notify|commit|store|dump|emit|export|insert"
    r"|execute|unlink|rename|replace|remove_file|copyfile|move)(_\w+)?|write(row|rows|lines|header)"
    r"|to_(csv|json|parquet|sql|pickle)|savetxt|savez|savefig|\w+_to_(disk|file|db))"
)

_TEMPORARY: Final = re.compile(
    r"(tempfile\.)?(TemporaryDirectory|TemporaryFile|NamedTemporaryFile|SpooledTemporaryFile|mkdtemp"
    r"|mkstemp)"
)
_READING: Final = re.compile(r"(.*\.)?(open|read\w*|load\w*|parse\w*)")
_CLEANUP: Final = re.compile(r"(.*\.)?(rmtree|cleanup|close|rmdir|unlink|remove)")


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


def _written(value: ast.expr, env: Env) -> str:
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
        for node in (inner for one in tail(around[-1].body) for inner in scope_nodes(one)):
            if not isinstance(node, ast.Expr) or yields_in(node):
                continue
            value = node.value.value if isinstance(node.value, ast.Await) else node.value
            if isinstance(value, ast.Call) and _is_effect(loop, value):
                name = dotted(value.func)
                cause = f"{name}() after the yield is left out in a run that resumes there"
                ways = ("Do it before the yield.",)
                yield Finding(node.lineno, 1, "late", name, cause, ways)
                return


def _is_effect(loop: DeclaredLoop, call: ast.Call) -> bool:
    if any(one.arg == "file" and dotted(one.value) != "sys.stderr" for one in call.keywords):
        return True
    return bool(_STORING.fullmatch(dotted(call.func))) and not loop.callees.is_report(call)


def _plain_files(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield files that are written in the loop, but not opened by `trax.open`."""
    nested = [around for around in loop.loops if len(around) == 1]
    for around in nested:
        node = around[0]
        entry = loop.origins.entries[id(node)]
        read = keys_read(*node.body)
        for name in sorted(read):
            made = loop.callees.maker(name)
            if FILE not in entry.get(name, frozenset()) or not isinstance(made, ast.Call):
                continue
            if loop.callees.opened_mode(made):
                yield _plain_file(made)
        for one in scope_nodes(*node.body):
            if isinstance(one, ast.Call) and "a" in loop.callees.opened_mode(one):
                varying = set().union(*(facts.binds for _, facts in loop.facts_in(*node.body)))
                varying |= {loop.state}
                varying |= loop.facts(node).binds
                if not varying & keys_read(one):
                    yield _plain_file(one)


def _plain_file(call: ast.Call) -> Finding:
    text = dotted(call.func)
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
        flags = control | loop.origins.flags(node.value, dict(env))
        if loop.callees.seeds(node.value) and node.lineno < first and not flags & KEPT:
            name = dotted(node.value.func)
            cause = f"{name}() is called again in a resumed run, and the same numbers come again"
            ways = ("Call it before the run begins, outside of the loop.",)
            yield Finding(node.lineno, 0, "seed", name, cause, ways)


def _clocks(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield increments, and conditions of loops, that depend on the time or the process."""
    for one in yields_in(*loop.node.body):
        flags = loop.origins.yielded.get(id(one), frozenset())
        if CLOCK in flags:
            yield _clock(one.lineno, "the increment")
            return
        if UNORDERED in flags:
            cause = "the increment depends on the order of a set of texts, another in every process"
            yield Finding(one.lineno, 1, "order", "the increment", cause, ("Write sorted(...).",))
            return
    if loop.folding == "none":
        for node, root, flags in loop.origins.stored:
            if CLOCK in flags and root == loop.state:
                yield _clock(node.lineno, "the state")
                return
    for around in loop.loops:
        node = around[-1]
        if isinstance(node, ast.While) and CLOCK in loop.origins.tests[id(node)]:
            yield _clock(node.lineno, "the end of the loop")
            return


def _clock(line: int, thing: str) -> Finding:
    cause = f"{thing} depends on the clock or the process, and differs after a crash"
    ways = ("Leave it out, or print it instead.", "To end in time, give time_limit=.")
    return Finding(line, 2, "clock", thing, cause, ways)


def _memos(loop: DeclaredLoop) -> Iterator[Finding]:
    """Yield functions of the loop that remember values made of random numbers."""
    for around in loop.loops[:1]:
        names = {one.id for one in scope_nodes(*around[0].body) if isinstance(one, ast.Name)}
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
        late = {id(one) for part in tail(around[-1].body) for one in scope_nodes(part)}
        for node, flags in loop.origins.removals:
            is_early = id(node) not in late and _is_read(loop, node)
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
    calls = [one for one in scope_nodes(*loop.node.body) if isinstance(one, ast.Call)]
    reading = [one for one in calls if _READING.fullmatch(dotted(one.func))]
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
        after = [
            one
            for one in scope_nodes(*loop.node.body)
            if isinstance(one, ast.stmt)
            and one.lineno > (node.end_lineno or 0)
            and loop.needs.matters(one)
            and not any(map(_CLEANUP.fullmatch, _called(one)))
        ]
        for name in sorted(keys_read(*node.body) & keys_read(*after)):
            made = loop.callees.maker(name)
            if made is not None and any(map(_TEMPORARY.fullmatch, _called(made))):
                cause = f"{name!r} is another, empty one in a resumed run"
                ways = ("Keep the files in a directory that the run's arguments name.",)
                yield Finding(made.lineno, 0, "scratch", name, cause, ways)


def _called(node: ast.AST) -> list[str]:
    return [dotted(one.func) for one in scope_nodes(node) if isinstance(one, ast.Call)]
