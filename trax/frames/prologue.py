"""The prologue of a yield: the statements that ran once before its loops, and what they change."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from trax.frames.names import own_nodes, root

if TYPE_CHECKING:
    from trax.frames.sites import Site, Step

__all__ = [
    "Statement",
    "changed",
    "changed_place",
    "has_yield",
    "is_harmless",
    "prologue",
    "rest",
    "used",
]

_PLACES: Final = (ast.Attribute, ast.Subscript)
_MUTATORS: Final = frozenset(
    [
        *("add", "append", "appendleft", "clear", "discard", "extend", "extendleft", "insert"),
        *("pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort"),
        "update",
    ]
)
# Calls whose effect lasts, is seen at once, or belongs to what is stored anyway.
_HARMLESS: Final = (
    *("assert", "check", "copy", "debug", "display", "dump", "error", "exception", "exit"),
    *("collect", "flush", "info", "isinstance", "log", "make_dirs", "makedirs", "manual_seed"),
    *("mkdir", "move", "next", "open", "plot", "print", "rename", "replace", "rmtree", "save"),
    *("seed", "set_seed", "setattr", "show", "shuffle", "sleep", "symlink", "synchronize", "title"),
    *("touch", "unlink", "validate", "verify", "warn", "write"),
    *("close", "download", "empty_cache", "heap", "input", "insort", "load_dotenv", "shutdown"),
    "system",
)
_STORED: Final = ("seed", "logg")  # RNGs and loggers are as they were


class Statement(NamedTuple):
    """A statement before the loops around a yield.

    Attributes
    ----------
    depth : int
        The depth in the path to the yield of the statements among which it stands.
    node : stmt
        Its tree.
    """

    depth: int
    node: ast.stmt


def prologue(site: Site) -> Iterator[Statement]:
    """Yield the statements that ran once before a yield, in order.

    They stand before it in the function, or in the blocks around it, up to the outermost loop.
    """
    for depth, step in enumerate(site.path):
        for node in step.statements[: step.index]:
            yield Statement(depth, node)
        if not _runs_once(step):
            return


def rest(site: Site) -> ast.stmt:
    """Return the function without its prologue, as one statement."""
    return ast.If(ast.Constant(True), _rest(site.path), [])


def _rest(path: tuple[Step, ...]) -> list[ast.stmt]:
    step, *inner = path
    node = step.node
    if _runs_once(step):
        node = copy.copy(node)
        if isinstance(node, ast.Match):
            cases = [copy.copy(case) for case in node.cases]
            cases[int(step.part.split()[1])].body = _rest((*inner,))
            node.cases = cases
        else:
            setattr(node, step.part, _rest((*inner,)))
        if isinstance(node, ast.With | ast.AsyncWith):  # it binds its variables before
            node.items = [ast.withitem(item.context_expr, None) for item in node.items]
    before = [one for one in step.statements[: step.index] if has_yield(one)]
    return [*before, node, *step.statements[step.index + 1 :]]


def _runs_once(step: Step) -> bool:
    node, part = step.node, step.part
    if isinstance(node, ast.With | ast.AsyncWith | ast.Match):
        return bool(part)
    return isinstance(node, ast.If | ast.Try) and part in ("body", "orelse")


def has_yield(node: ast.stmt) -> bool:
    """Whether a statement hands out increments."""
    return any(isinstance(one, ast.Yield | ast.YieldFrom) for one in own_nodes(node))


def changed(node: ast.AST) -> dict[tuple[str, str], int]:
    """Return the objects that a tree visibly changes in place, with the lines.

    An attribute or an item is assigned, or a method is called that changes lists, sets and dicts.
    An object is given by its variable, and the attribute or item of it, or an empty text.
    """
    found: dict[tuple[str, str], int] = {}
    for one in ast.walk(node):
        place = changed_place(one)
        name = root(place) if place else None
        if place and name:
            found.setdefault((name, _part(place)), getattr(one, "lineno", 0))
    return found


def is_harmless(name: str) -> bool:
    """Whether a function's name tells that its effect lasts, is seen at once, or is stored."""
    name = name.lower().lstrip("_")
    return name.startswith(_HARMLESS) or any(word in name for word in _STORED)


def changed_place(node: ast.AST) -> ast.expr | None:
    """Return the object, or the attribute or item of one, that a node changes in place."""
    if isinstance(node, _PLACES) and not isinstance(node.ctx, ast.Load):
        return node
    if isinstance(node, ast.AugAssign):
        return node.target
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.value if node.func.attr in _MUTATORS else None
    return None


def used(node: ast.AST) -> set[tuple[str, str]]:
    """Return the objects that a tree reads, as `changed` gives them; ``name()`` is a method.

    An object that only becomes part of a list, a tuple or a dict is not read.
    """
    called = {id(one.func) for one in ast.walk(node) if isinstance(one, ast.Call)}
    inner: set[int] = set()
    found: set[tuple[str, str]] = set()
    for one in ast.walk(node):
        if isinstance(one, ast.List | ast.Tuple):
            inner.update(map(id, one.elts))
        elif isinstance(one, ast.Dict):
            inner.update(map(id, one.values))
        elif isinstance(one, _PLACES) and isinstance(one.value, ast.Name):
            inner.add(id(one.value))
            found.add((one.value.id, _part(one) + "()" * (id(one) in called)))
    bare = (one for one in ast.walk(node) if isinstance(one, ast.Name) and id(one) not in inner)
    return found | {(one.id, "") for one in bare if isinstance(one.ctx, ast.Load)}


def _part(place: ast.AST) -> str:
    """Return the attribute or item of its variable that an expression begins with."""
    part = ""
    while not isinstance(place, ast.Name):
        if isinstance(place, ast.Attribute):
            part, place = f".{place.attr}", place.value
        elif isinstance(place, ast.Subscript):
            key = place.slice
            part = f"[{key.value!r}]" if isinstance(key, ast.Constant) else ""
            place = place.value
        elif isinstance(place, ast.Call):
            place = place.func
        else:
            place = place.value  # type: ignore[attr-defined]  # as `root` goes
    return part
