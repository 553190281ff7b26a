"""Compiles functions that begin after a yield: the way back into the middle of a loop."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType
from typing import Any, Final

from trax.errors import CodecError
from trax.frames.names import COMPREHENSIONS, own_nodes, target_names
from trax.frames.sites import Site, Step
from trax.frames.slots import slot_name
from trax.frames.source import Function, Source, compile_function, rewritten

__all__ = ["UNBOUND", "bound_names", "compile_entry"]

# Names with a dot cannot be written, so they are no variables of the user's.
ONCE: Final = ".once"  # the variable of a loop that runs once
UNBOUND: Final = ".unbound"  # stands for a variable that has no value
_ITEMS: Final = ".items"  # the items of a comprehension
_KEPT: Final = ".kept."  # before the name of a variable that a block around the yield binds, too


def compile_entry(
    source: Source,
    site: Site,
    names: Sequence[str],
    shared: Sequence[str],
    outer: Sequence[str],
    again: Mapping[int, list[ast.stmt]],
) -> CodeType:
    """Compile the function that goes on after a yield.

    A generator made by it first comes to a yield that stands for that one: it is then suspended as
    the generator was whose place it takes.

    Parameters
    ----------
    source : Source
        The function.
    site : Site
        The yield, or the start.
    names : sequence of str
        The variables that it takes as parameters, before those of the blocks; then comes
        ``UNBOUND``.
    shared : sequence of str
        The variables that functions inside share; they come as cells.
    outer : sequence of str
        Names that trax provides.
    again : mapping of int to list of stmt
        Statements that are run again, by the depth in the path at which they stand.
    """
    bound = {source.mangled(name) for name in bound_names(site)}
    entered = {source.mangled(name) for name in _entered_names(site)}
    entry = _Entry(site, {name: name in entered for name in names if name in bound}, again)
    body = [_take(name, name) for name in names if name not in bound]
    body += entry.block(0) if site.path else [ast.Expr(site.node), *source.node.body]
    parameters = [f"{_KEPT}{name}" if name in bound else name for name in names]
    parameters += [slot_name(number) for number in range(len(site.blocks))]
    return compile_function(
        source,
        [*_declared(source.node), *_adapted(body, source, {*shared})],
        [*parameters, UNBOUND],
        outer=[*shared, *outer],
    )


def bound_names(site: Site) -> set[str]:
    """Return the variables that the blocks around a yield bind when they are entered again."""
    handlers = (block.node for block in site.blocks if isinstance(block.node, ast.ExceptHandler))
    return _entered_names(site).union(handler.name for handler in handlers if handler.name)


def _entered_names(site: Site) -> set[str]:
    return set().union(*(target_names(item.optional_vars) for _, item in site.entered))


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _store(name: str) -> ast.Name:
    return ast.Name(name, ast.Store())


def _call(name: str, method: str) -> ast.Call:
    return ast.Call(ast.Attribute(_load(name), method, ast.Load()), [], [])


def _take(name: str, kept: str, *, keeps_entered: bool = False) -> ast.stmt:
    """Return a statement that gives a variable the value that was kept, which may be none."""
    is_unbound = ast.Compare(_load(kept), [ast.Is()], [_load(UNBOUND)])
    without = ast.Pass() if keeps_entered else ast.Delete([ast.Name(name, ast.Del())])
    taken: list[ast.stmt] = [ast.Assign([_store(name)], _load(kept))] if kept != name else []
    return ast.If(is_unbound, [without], taken)


class _Entry:
    """Builds the statements from one yield on.

    Parameters
    ----------
    site : Site
        The yield.
    bound : dict of str to bool
        The variables that blocks around it bind, and whether a ``with`` does.
    again : mapping of int to list of stmt
        Statements that are run again, by their depth in the path to the yield.
    """

    def __init__(
        self, site: Site, bound: dict[str, bool], again: Mapping[int, list[ast.stmt]]
    ) -> None:
        self._site = site
        self._bound = bound
        self._again = again
        self._slot = 0

    def block(self, depth: int) -> list[ast.stmt]:
        """Return what is left to do of the statements at a depth of the path."""
        step = self._site.path[depth]
        again = self._again.get(depth, ())
        return [*again, *self._enter(step, depth), *step.statements[step.index + 1 :]]

    def _enter(self, step: Step, depth: int) -> list[ast.stmt]:
        node, part = step.node, step.part
        if not part:
            return [*self._restored(), *self._leaf(node)]
        if isinstance(node, ast.For | ast.AsyncFor | ast.While) and part == "body":
            return [self._loop(node, depth)]
        if isinstance(node, ast.With | ast.AsyncWith):
            return [self._with(node, depth)]
        if isinstance(node, ast.Try | ast.TryStar):
            return self._try(node, part, depth)
        return self.block(depth + 1)

    def _next_slot(self) -> str:
        name = slot_name(self._slot)
        self._slot += 1
        return name

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, depth: int) -> ast.stmt:
        """Return a loop that runs once, for the turn that was begun, and then the loop itself.

        So `continue` leads to the loop, and `break` past it.
        """
        slot = self._next_slot()
        begun = self.block(depth + 1)
        again: ast.stmt = node
        if not isinstance(node, ast.While):
            again = type(node)(node.target, _call(slot, "pop"), node.body, node.orelse)
        once = ast.For(_store(ONCE), _call(slot, "pop"), begun, [ast.copy_location(again, node)])
        return ast.copy_location(once, node)

    def _with(self, node: ast.With | ast.AsyncWith, depth: int) -> ast.stmt:
        """Return a ``with`` that is entered again, unless its manager was kept."""
        items: list[ast.withitem] = []
        for item in node.items:
            slot = self._next_slot()
            entered = ast.IfExp(_load(slot), _call(slot, "pop"), item.context_expr)
            items.append(ast.withitem(entered, item.optional_vars))
        return ast.copy_location(type(node)(items, self.block(depth + 1)), node)

    def _try(self, node: ast.Try | ast.TryStar, part: str, depth: int) -> list[ast.stmt]:
        final = node.finalbody
        if part == "body":
            body = self.block(depth + 1)
            made = type(node)(body, node.handlers, node.orelse, final)
            return [ast.copy_location(made, node)]
        if part.startswith("handlers"):
            body = [self._handler(node.handlers[int(part.split()[1])], depth)]
        else:
            body = self.block(depth + 1)
        return [ast.copy_location(ast.Try(body, [], [], final), node)] if final else body

    def _handler(self, handler: ast.ExceptHandler, depth: int) -> ast.stmt:
        """Return a statement that catches an exception again, in the one handler that did.

        The handler has a name but no type, which only a tree can have: the user may have a
        variable named ``BaseException``.
        """
        slot = self._next_slot()
        caught = ast.Expr(ast.Call(ast.Attribute(_call(slot, "pop"), "caught", ast.Load()), [], []))
        thrown = ast.Subscript(_load(slot), ast.Constant(0), ast.Load())
        throw = ast.Expr(ast.Call(ast.Attribute(thrown, "throw", ast.Load()), [], []))
        again = ast.ExceptHandler(None, handler.name, [caught, *self.block(depth + 1)])
        return ast.copy_location(
            ast.Try([throw], [ast.copy_location(again, handler)], [], []), handler
        )

    def _restored(self) -> Iterable[ast.stmt]:
        """Yield statements that give the variables of the blocks around the values they had.

        A variable of a ``with`` that has none keeps the one that it got just now.
        """
        for name, is_entered in self._bound.items():
            kept = f"{_KEPT}{name}"
            yield _take(name, kept, keeps_entered=is_entered)
            yield ast.Assign([_store(kept)], _load(UNBOUND))

    def _leaf(self, node: ast.stmt) -> list[ast.stmt]:
        """Return the statement of the yield, with one that hands out nothing.

        A ``yield from`` follows its own: it goes on with the iterator that it had. An exception
        that comes before that is the iterator's, too.
        """
        old = self._site.node
        bare = ast.copy_location(ast.Yield(None), old)
        if isinstance(old, ast.Yield):
            return [rewritten(node, lambda one: bare if one is old else None)]
        slot = self._next_slot()
        rest = ast.copy_location(ast.YieldFrom(_call(slot, "pop")), old)
        changed = rewritten(node, lambda one: rest if one is old else None)
        leaving = ast.ExceptHandler(None, None, [ast.Expr(_call(slot, "leave")), ast.Raise()])
        first = ast.Try([ast.Expr(bare)], [leaving], [], [])
        return [ast.copy_location(first, node), changed]


def _declared(function: Function) -> Iterable[ast.stmt]:
    """Yield the declarations of a function's names, which may stand before the yield."""
    nodes = [*own_nodes(ast.Module(function.body, []))]
    for kind in (ast.Global, ast.Nonlocal):
        names = dict.fromkeys(name for node in nodes if type(node) is kind for name in node.names)
        if names:
            yield kind([*names])


def _adapted(body: list[ast.stmt], source: Source, shared: set[str]) -> list[ast.stmt]:
    """Return statements of a function as they are right in one with other parameters.

    Declarations stand at its beginning. Variables that come as cells cannot be annotated.
    ``super()`` takes the first parameter, which is another one. And a comprehension must not run
    in a frame that has a cell of the same name from a function around: there Python takes the one
    for the other.
    """
    arguments = (*source.node.args.posonlyargs, *source.node.args.args)
    has_super = bool(arguments) and "__class__" in source.code.co_freevars
    own = {id(node) for node in _scope(ast.Module(body, []))}

    def change(node: ast.AST) -> ast.AST | None:
        if id(node) not in own:
            return node
        made: ast.AST | None = None
        if isinstance(node, ast.Global | ast.Nonlocal):
            made = ast.Pass()
        elif isinstance(node, ast.AnnAssign) and node.simple:
            made = ast.Pass()
            if node.value:
                made = ast.Assign([node.target], rewritten(node.value, change))
        elif has_super and _is_bare_super(node):
            made = ast.Call(_load("super"), [_load("__class__"), _load(arguments[0].arg)], [])
        elif _is_mistaken(node, source, shared):
            made = _called(node, change)
        return ast.copy_location(made, node) if made else None

    return [rewritten(node, change) for node in body]


def _scope(node: ast.AST) -> Iterable[ast.AST]:
    """Yield the nodes that run in the same frame: from Python 3.12 on those of comprehensions."""
    for one in own_nodes(node):
        yield one
        if sys.version_info >= (3, 12) and isinstance(one, COMPREHENSIONS[:-1]):
            for child in ast.iter_child_nodes(one):
                yield from _scope(child)


def _is_mistaken(node: ast.AST, source: Source, shared: set[str]) -> bool:
    """Whether functions in a comprehension refer to a variable of it that is named like another."""
    if sys.version_info < (3, 12) or not isinstance(node, COMPREHENSIONS[:-1]):
        return False
    names = (name for part in node.generators for name in target_names(part.target))
    inside = (ast.Lambda, *COMPREHENSIONS)
    return not shared.isdisjoint(map(source.mangled, names)) and any(
        isinstance(one, inside) for one in ast.walk(node) if one is not node
    )


def _called(node: Any, change: Callable[[ast.AST], ast.AST | None]) -> ast.Call:
    """Return a comprehension that runs in a frame of its own."""
    if any(isinstance(one, ast.NamedExpr | ast.Await) for one in ast.walk(node)):
        raise CodecError(
            f"line {node.lineno}: the comprehension has a variable that is shared with functions.\n"
            "Give the variable of the comprehension another name."
        )
    first, *others = node.generators
    inner = type(node)(**{name: getattr(node, name) for name in node._fields})
    inner.generators = [ast.comprehension(first.target, _load(_ITEMS), first.ifs, 0), *others]
    made = ast.Lambda(ast.arguments([], [ast.arg(_ITEMS)], None, [], [], None, []), inner)
    return ast.Call(made, [rewritten(first.iter, change)], [])


def _is_bare_super(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "super"
        and not (node.args or node.keywords)
    )
