"""Finds the variables that a function still needs at each of its yields.

Strategy: the flow of control is a graph whose points read some variables and then set others. A
variable is needed at a point if it is read there, or if it is needed at one of the next points and
not set. A worklist spreads this backwards until nothing changes, with one bit for each variable; no
point is visited more often than it has news.

What is not known is assumed to be needed: any statement may raise an exception before it has set
anything, and a ``finally`` may lead to all the places for which it was ever entered.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Final

from trax.frames.names import assigned, loaded, target_names
from trax.frames.sites import START, Site
from trax.frames.source import Function, Source

__all__ = ["live_names"]

# With these a function may read any of its variables.
_READ_ALL: Final = {"locals", "vars", "eval", "exec", "dir", "currentframe", "_getframe"}
_READ_FRAMES: Final = {"currentframe", "_getframe"}
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)


def live_names(
    source: Source, sites: Sequence[Site], *, surely: bool = False
) -> dict[int, frozenset[str]]:
    """Return the variables that are needed at each yield and at the start, by its number.

    Those that functions inside share are left out, since they are always needed. If `surely`, these
    are among the others, where they are needed if no ``with`` suppresses an exception; a function
    that was defined before may need more of them.
    """
    code = source.code
    names = [name for name in code.co_varnames if surely or name not in code.co_cellvars]
    names += [name for name in code.co_cellvars if surely and name not in names]
    if _reads_all(source.node):
        return dict.fromkeys([START, *(site.number for site in sites)], frozenset(names))
    graph = _Graph(source, names, sites, suppresses=not surely)
    live = graph.solve()
    return {number: graph.names(live[point]) for number, point in graph.stops.items()}


def _reads_all(node: ast.AST) -> bool:
    attributes = (one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute))
    names = set().union(*map(loaded, node.body)) if isinstance(node, Function) else set()
    return not (_READ_ALL.isdisjoint(names) and _READ_FRAMES.isdisjoint(attributes))


class _Graph:
    """The flow of control in a function.

    Attributes
    ----------
    stops : dict of int to int
        The points after the yields, by the numbers of these.
    """

    def __init__(
        self, source: Source, names: Iterable[str], sites: Sequence[Site], *, suppresses: bool
    ) -> None:
        self._suppresses = suppresses
        self._bits = {name: 1 << number for number, name in enumerate(names)}
        self._source = source
        self._sites: dict[int, list[Site]] = {}
        for site in sites:
            self._sites.setdefault(id(site.path[-1].node), []).append(site)
        self._reads: list[int] = []
        self._kept: list[int] = []  # what a point does not set
        self._next: list[list[int]] = []
        self._raises: list[int | None] = []
        self.stops: dict[int, int] = {}
        self._handler: int | None = None  # where an exception leads
        self._leave: list[tuple[int, int]] = []  # of loops: where `break` and `continue` lead
        self._finally: list[tuple[int, int]] = []  # entry of a `finally`, and depth of loops there
        self._exits: dict[int, list[int]] = {}  # of a `finally`: where it may lead
        self._end = self._point([])
        self.stops[START] = self._body(source.node.body, self._end)

    # -- points ----------------------------------------------------------------------------

    def _mask(self, names: Iterable[str]) -> int:
        mask = 0
        for name in names:
            mask |= self._bits.get(self._source.mangled(name), 0)
        return mask

    def _point(
        self, following: list[int], reads: Iterable[str] = (), sets: Iterable[str] = ()
    ) -> int:
        """Add a point that reads some variables, and then sets others."""
        reads = {*reads}
        if "super" in reads:  # it reads the first parameter without naming it
            arguments = self._source.node.args
            reads |= {one.arg for one in (*arguments.posonlyargs, *arguments.args)[:1]}
        self._reads.append(self._mask(reads))
        self._kept.append(~self._mask(sets))
        self._next.append(following)
        self._raises.append(self._handler)
        return len(self._next) - 1

    def _read(self, node: ast.AST, without: ast.AST | None = None) -> set[str]:
        """Return the names that a part of the function reads, also in the functions in it."""
        inside = (one for one in ast.walk(node) if isinstance(one, _FUNCTIONS))
        parts = (part for one in inside for part in ast.walk(one))
        names = {part.id for part in parts if isinstance(part, ast.Name)}
        return loaded(node, without) | names.intersection(self._source.code.co_cellvars)

    def names(self, mask: int) -> frozenset[str]:
        """Return the names of a mask."""
        return frozenset(name for name, bit in self._bits.items() if mask & bit)

    def solve(self) -> list[int]:
        """Return the variables that are needed before each point."""
        before: list[list[int]] = [[] for _ in self._next]
        for point, following in enumerate(self._next):
            raises = self._raises[point]
            for one in following if raises is None else (*following, raises):
                before[one].append(point)
        live = [0] * len(self._next)
        waiting = [*reversed(range(len(live)))]
        is_waiting = [True] * len(live)
        while waiting:
            point = waiting.pop()
            is_waiting[point] = False
            after = 0
            for one in self._next[point]:
                after |= live[one]
            needed = self._reads[point] | after & self._kept[point]
            raises = self._raises[point]
            if raises is not None:
                needed |= live[raises]
            if needed != live[point]:
                live[point] = needed
                for one in before[point]:
                    if not is_waiting[one]:
                        is_waiting[one] = True
                        waiting.append(one)
        return live

    # -- statements, from the last to the first ------------------------------------------------

    def _body(self, statements: list[ast.stmt], after: int) -> int:
        for node in reversed(statements):
            after = self._statement(node, after)
        return after

    def _statement(self, node: ast.stmt, after: int) -> int:
        """Add a statement that leads to a point, and return its own first point."""
        if isinstance(node, _LOOPS):
            return self._loop(node, after)
        if isinstance(node, ast.If):
            following = [self._body(node.body, after), self._body(node.orelse, after)]
            return self._head(node, [node.test], following)
        if isinstance(node, ast.With | ast.AsyncWith):
            return self._with(node, after)
        if isinstance(node, ast.Try | ast.TryStar):
            return self._try(node, after)
        if isinstance(node, ast.Match):
            return self._match(node, after)
        return self._simple(node, after)

    def _simple(self, node: ast.stmt, after: int) -> int:
        if isinstance(node, ast.Return | ast.Raise):
            following = [self._jump(self._end, 0)] if isinstance(node, ast.Return) else []
        elif isinstance(node, ast.Break | ast.Continue):
            place = self._leave[-1][isinstance(node, ast.Continue)]
            following = [self._jump(place, len(self._leave))]
        else:
            following = [after]
        return self._head(node, [node, *_also_read(node)], following, _surely_set(node))

    def _head(
        self,
        node: ast.stmt,
        reads: Sequence[ast.AST],
        following: list[int],
        sets: Iterable[str] = (),
    ) -> int:
        """Add what a statement evaluates; if there is a yield in it, also the point after that."""
        for site in self._sites.get(id(node), ()):
            entered = (block.node for block in site.blocks if block.kind == "with")
            others = [self._read(one, site.node) for one in reads]
            names = set().union(*others, *map(self._read, entered))
            self.stops[site.number] = self._point(following, names, sets)
        return self._point(following, set().union(*map(self._read, reads)), sets)

    def _loop(self, node: ast.For | ast.AsyncFor | ast.While, after: int) -> int:
        end = self._body(node.orelse, after)
        turn = self._point([end])  # to be completed: it leads to the body, too
        self._leave.append((after, turn))
        body = self._body(node.body, turn)
        self._leave.pop()
        if isinstance(node, ast.While):
            test = self._head(node, [node.test], [body, end])
            self._next[turn] = [test]
            return test
        begin = self._point([body], self._read(node.target), target_names(node.target))
        self._next[turn] = [begin, end]
        return self._head(node, [node.iter], [turn])

    def _with(self, node: ast.With | ast.AsyncWith, after: int) -> int:
        outer = self._handler
        if self._suppresses:  # its end may do that to an exception
            self._handler = self._point([after])
        following = self._body(node.body, after)
        for item in reversed(node.items[1:]):
            following = self._point([following], self._read(item), target_names(item.optional_vars))
        self._handler = outer
        first = node.items[0]
        return self._head(node, [first], [following], target_names(first.optional_vars))

    def _match(self, node: ast.Match, after: int) -> int:
        following = after
        for case in reversed(node.cases):
            body = self._body(case.body, after)
            if case.guard:
                body = self._point([body, following], self._read(case.guard))
            bound = self._point([body], (), assigned(case.pattern))
            following = self._point([bound, following], self._read(case.pattern))
        return self._head(node, [node.subject], [following])

    # -- exceptions ----------------------------------------------------------------------------

    def _try(self, node: ast.Try | ast.TryStar, after: int) -> int:
        outer = self._handler
        if node.finalbody:
            leads = [after] if outer is None else [after, outer]
            last = self._point(leads)
            entry = self._body(node.finalbody, last)
            self._exits[entry] = leads
            self._finally.append((entry, len(self._leave)))
            self._handler = after = entry
        handlers = [self._handle(handler, after) for handler in node.handlers]
        otherwise = self._body(node.orelse, after)
        if handlers:
            types = (handler.type for handler in node.handlers if handler.type)
            self._handler = self._point(handlers, set().union(*map(self._read, types)))
        body = self._body(node.body, otherwise)
        self._handler = outer
        if node.finalbody:
            self._finally.pop()
        return body

    def _handle(self, handler: ast.ExceptHandler, after: int) -> int:
        names = [handler.name] if handler.name else []
        body = self._body(handler.body, self._point([after], (), names))
        return self._point([body], (), names)

    def _jump(self, place: int, depth: int) -> int:
        """Return where a jump leads at first: to the innermost ``finally`` that it leaves."""
        for entry, loops in self._finally:
            if loops >= depth:
                self._exits[entry].append(place)
                place = entry
        return place


def _surely_set(node: ast.stmt) -> set[str]:
    """Return the variables that a simple statement binds or deletes, unless it fails."""
    if isinstance(node, ast.Assign | ast.Delete):
        return set().union(*map(target_names, node.targets))
    if isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value):
        return target_names(node.target)
    if isinstance(node, ast.Import | ast.ImportFrom):
        return assigned(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    return set()


def _also_read(node: ast.stmt) -> list[ast.AST]:
    """Return the variables that a simple statement reads though it is written as if it set them."""
    targets: Sequence[ast.expr] = [node.target] if isinstance(node, ast.AugAssign) else []
    if isinstance(node, ast.Delete):
        targets = node.targets
    return [ast.Name(name, ast.Load()) for one in targets for name in target_names(one)]
