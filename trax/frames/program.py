"""A function whose generators can be taken apart at a yield, and made anew."""

from __future__ import annotations

import ast
import dis
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import CellType, CodeType, FunctionType
from typing import Any, Final, NamedTuple

from trax.errors import CodecError
from trax.frames.liveness import live_names
from trax.frames.names import assigned, own_nodes
from trax.frames.reentry import bound_names, compile_entry
from trax.frames.repeated import needed_for, repeated
from trax.frames.sites import START, Site, find_sites, start_of
from trax.frames.slots import fill
from trax.frames.source import Function, Source, compile_function, place, rewritten, source_of
from trax.frames.suspended import (
    Layout,
    Loop,
    code_of,
    frame_of,
    layout,
    read,
    read_slots,
)

__all__ = ["ITER", "START", "Frame", "Loop", "Program", "program_of"]

ITER: Final = ".iter"  # the name under which a program finds the maker of its iterators


class _Unbound:
    """Stands for a variable without a value."""


UNBOUND: Final = _Unbound()


@dataclass(slots=True)
class Frame:
    """A generator that is suspended at a yield, taken apart.

    Attributes
    ----------
    site : int
        The number of the yield; `START` if the generator has not begun.
    values : dict
        The variables that are still needed, by name.
    cells : dict
        Those that functions inside share, as cells.
    slots : list
        For each block around the yield: the iterator of a ``for`` or a ``yield from``, the
        exception of an ``except``, the context manager of a ``with``, None for a ``while``.
    """

    site: int
    values: dict[str, Any]
    cells: dict[str, CellType]
    slots: list[Any]


class _Stop(NamedTuple):
    """A place where a code can be suspended."""

    code: CodeType
    site: Site
    names: Layout
    live: tuple[str, ...]  # in the order of the code, the same in every process
    kinds: tuple[str, ...]


class Program:
    """A generator function, by its source.

    Parameters
    ----------
    source : Source
        The source.
    provides_iterators : bool
        Whether the iterators of loops around a yield come from a function, which the closure has
        under the name of `ITER`.

    Attributes
    ----------
    source : Source
        The source, whose tree may have been changed for that.
    sites : list of Site
        The yields, by number.
    outer : list of str
        Names that the closure must have beside those of the function.
    shared : list of str
        The variables that functions inside share.
    """

    def __init__(self, source: Source, *, provides_iterators: bool) -> None:
        node = _hidden(source)
        if provides_iterators and node is source.node:
            node = rewritten(node, lambda _: None)
        self.sites: list[Site] = find_sites(node)
        if provides_iterators:
            _provide(self.sites)
        self.source = replace(source, node=node)
        self.outer = [ITER] if provides_iterators else []
        self.shared = _shared(self.source)
        self._start = start_of(node)
        self._entries: dict[tuple[int, frozenset[str]], tuple[CodeType, list[str]]] = {}
        self._stops: dict[tuple[int, int], _Stop] = {}

    @functools.cached_property
    def live(self) -> dict[int, frozenset[str]]:
        """The variables that are needed at each site, by its number, without the shared ones."""
        return live_names(self.source, self.sites)

    @functools.cached_property
    def surely_live(self) -> dict[int, frozenset[str]]:
        """All variables that are needed at each site if no ``with`` suppresses an exception."""
        return live_names(self.source, self.sites, surely=True)

    @functools.cached_property
    def code(self) -> CodeType:
        """The code that runs when the loop begins."""
        if not self.outer:
            return self.source.code
        node = self.source.node
        return self._made(compile_function(self.source, node.body, node.args, outer=self.outer))

    def function(self, function: FunctionType, outer: Mapping[str, Any]) -> FunctionType:
        """Return the function that runs when the loop begins, with what trax provides to it."""
        code = self.code
        cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        cells |= {name: CellType(value) for name, value in outer.items()}
        closure = tuple(cells[name] for name in code.co_freevars)
        name, defaults = function.__name__, function.__defaults__
        made = FunctionType(code, function.__globals__, name, defaults, closure)
        made.__kwdefaults__ = function.__kwdefaults__
        made.__qualname__ = function.__qualname__
        return made

    def site(self, number: int) -> Site:
        """Return a yield, or the start, by its number."""
        return self._start if number == START else self.sites[number]

    def entry(self, site: Site, remade: frozenset[str] = frozenset()) -> tuple[CodeType, list[str]]:
        """Return the code that goes on after a yield, and the variables that it takes.

        The variables in `remade` are made again, by their statements before the loop.
        """
        key = site.number, remade
        found = self._entries.get(key)
        if found is None:
            self._check(site)
            source = self.source
            bound = {source.mangled(name) for name in bound_names(site)}
            again: dict[int, list[ast.stmt]] = {}
            for one in repeated(source.code, site, remade):
                again.setdefault(one.depth, []).extend(one.parts)
            needed = needed_for(source.code, site, remade).difference(self.shared)
            names = sorted(self.live[site.number] | needed | bound.intersection(self.shared))
            try:
                code = compile_entry(source, site, names, self.shared, self.outer, again)
            except SyntaxError as error:
                where = place(source.code, site.node.lineno)
                raise CodecError(f"{where}: nothing can go on here: {error.msg}.") from error
            found = self._entries[key] = self._made(code), names
        return found

    def _made(self, code: CodeType) -> CodeType:
        """Return a code of this program, as whose it is known from now on."""
        for provides in (True, False):
            _programs[_key(code, provides_iterators=provides)] = self
        return code

    def snapshot(self, loop: Loop, also: frozenset[str] = frozenset()) -> Frame:
        """Take a generator of this function apart; it may go on afterwards.

        The variables in `also` are read although the rest of the function does not need them.

        Raises
        ------
        CodecError
            It is running, has ended, or is suspended where it cannot be taken apart.
        """
        frame, code = frame_of(loop), code_of(loop)
        if frame is None:
            raise CodecError(f"{code.co_qualname}: the generator has ended.")
        stop = self._stops.get((id(code), frame.f_lasti))
        if stop is None or stop.code is not code:
            stop = self._stop(loop, code, frame.f_lasti)
        values, cells, stack = read(loop, frame, stop.names)
        needed = (*stop.live, *also) if also else stop.live
        return Frame(
            stop.site.number,
            {name: values[name] for name in needed if name in values},
            {name: cells[name] for name in self.shared},
            read_slots(stop.kinds, loop, values, stack),
        )

    def _stop(self, loop: Any, code: CodeType, offset: int) -> _Stop:
        """Return the place where a code is suspended."""
        if loop.gi_running if hasattr(loop, "gi_running") else loop.ag_running:
            raise CodecError(f"{code.co_qualname}: the generator is running.")
        site = self._start if _is_start(code, offset) else self._site_at(code, offset)
        self._check(site)
        kinds = tuple(block.kind for block in site.blocks)
        live = tuple(n for n in self.source.code.co_varnames if n in self.live[site.number])
        stop = _Stop(code, site, layout(code), live, kinds)
        self._stops[id(code), offset] = stop
        return stop

    def _site_at(self, code: CodeType, offset: int) -> Site:
        position = [*code.co_positions()][offset // 2]
        line, _, column, _ = position
        sites = [self._start, *self.sites]
        if column is None:  # Python was told to leave the columns out
            found = [one for one in sites if one.node.lineno == line]
        else:
            found = [one for one in sites if _position(one.node) == position]
        if len(found) == 1:
            return found[0]
        reason = "columns were left out of the code" if found else "it is not at a yield"
        raise CodecError(f"{place(code, line or 0)}: the generator cannot be stored: {reason}.")

    def _check(self, site: Site) -> None:
        """Refuse a yield after which nothing can go on."""
        if site.obstacle:
            where = place(self.source.code, site.node.lineno)
            raise CodecError(f"{where}: the generator cannot be stored at {site.obstacle}.")

    def resume(
        self,
        frame: Frame,
        function: FunctionType,
        outer: Mapping[str, Any],
        remade: frozenset[str] = frozenset(),
    ) -> Loop:
        """Return a generator that stands where another one was suspended, after one `next`.

        That `next`, or `asend` for an async one, hands out None.

        Parameters
        ----------
        frame : Frame
            The other one, taken apart.
        function : FunctionType
            The function; its closure and globals are used.
        outer : mapping
            The objects that trax provides, by name.
        remade : frozenset of str
            The variables that are made again.
        """
        site = self.site(frame.site)
        code, names = self.entry(site, remade)
        closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
        cells = closure | {name: CellType(value) for name, value in outer.items()} | frame.cells
        made = FunctionType(
            code,
            function.__globals__,
            function.__name__,
            None,
            tuple(cells[name] if name in cells else CellType() for name in code.co_freevars),
        )
        made.__qualname__ = function.__qualname__
        values = [_value(frame, name) for name in names]
        slots = map(fill, (block.kind for block in site.blocks), frame.slots)
        loop: Loop = made(*values, *slots, UNBOUND)
        return loop


def _shared(source: Source) -> list[str]:
    """Return the variables that functions inside share.

    A comprehension that is run in the frame itself may have cells of its own there.
    """
    if not source.code.co_cellvars:
        return []
    arguments = (one for one in ast.walk(source.node.args) if isinstance(one, ast.arg))
    own = {one.arg for one in arguments}.union(*map(assigned, source.node.body))
    return sorted({*map(source.mangled, own)}.intersection(source.code.co_cellvars))


def _is_start(code: CodeType, offset: int) -> bool:
    """Whether a code has only made its generator; some versions of Python are one farther then."""
    opcodes = code.co_code[max(offset - 2, 0) : offset + 1 : 2]
    return any(dis.opname[opcode] == "RETURN_GENERATOR" for opcode in opcodes)


def _value(frame: Frame, name: str) -> Any:
    if name not in frame.cells:
        return frame.values.get(name, UNBOUND)
    try:
        return frame.cells[name].cell_contents
    except ValueError:  # it is empty
        return UNBOUND


def _position(node: ast.expr) -> tuple[int | None, ...]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _provide(sites: list[Site]) -> None:
    """Let the loops around yields take their iterators from `ITER`."""
    provided: set[int] = set()
    for site in sites:
        for block in site.blocks:
            if block.kind not in ("for", "from") or id(block.node) in provided:
                continue
            provided.add(id(block.node))
            field = "iter" if block.kind == "for" else "value"
            value = getattr(block.node, field)
            setattr(block.node, field, ast.copy_location(_provided(value), value))


def _hidden(source: Source) -> Function:
    """Return the tree of a function, whose ``locals()`` does not show the names of trax."""
    if _LISTS_NAMES.isdisjoint(source.code.co_names):  # or they are variables of its own
        return source.node
    calls = {id(one) for one in own_nodes(ast.Module(source.node.body, [])) if _lists_names(one)}

    def change(node: ast.AST) -> ast.AST | None:
        return ast.copy_location(_without_dots(node), node) if id(node) in calls else None

    made: Function = rewritten(source.node, change)
    return made


_LISTS_NAMES: Final = {"locals", "vars"}


def _lists_names(node: ast.AST) -> bool:
    is_bare = isinstance(node, ast.Call) and not (node.args or node.keywords)
    return is_bare and getattr(node.func, "id", "") in _LISTS_NAMES  # type: ignore[attr-defined]


def _without_dots(mapping: Any) -> ast.expr:
    """Return an expression for a mapping without the names that cannot be written."""
    name, value = ".name", ".value"
    pair = ast.Tuple([ast.Name(name, ast.Store()), ast.Name(value, ast.Store())], ast.Store())
    load = ast.Name(name, ast.Load())
    starts = ast.Call(ast.Attribute(load, "startswith", ast.Load()), [ast.Constant(".")], [])
    items = ast.Call(ast.Attribute(mapping, "items", ast.Load()), [], [])
    shown = ast.comprehension(pair, items, [ast.UnaryOp(ast.Not(), starts)], 0)
    return ast.DictComp(load, ast.Name(value, ast.Load()), [shown])


# Functions that look at the frame in which they are called.
_BY_FRAME: Final = {"super", "locals", "vars", "dir", "eval", "exec", "globals"}
# Functions, if they are those of Python and tqdm, that return an iterator over others.
_OVER_OTHERS: Final = {"enumerate", "zip", "map", "filter", "islice", "chain", "tqdm"}


def _provided(value: ast.expr) -> ast.Call:
    """Return the call of `ITER` that stands for the iterable of a loop.

    One that a function returns can be made again: `ITER` is told the function and its arguments.
    """
    maker = ast.Name(ITER, ast.Load())
    if not isinstance(value, ast.Call):
        return ast.Call(maker, [value], [])
    function = value.func
    name = getattr(function, "id", getattr(function, "attr", ""))
    if name in _BY_FRAME:
        return ast.Call(maker, [value], [])
    args = value.args
    if name in _OVER_OTHERS:
        args = [_inner(function, one) if isinstance(one, ast.Call) else one for one in args]
    made = ast.Attribute(maker, "call", ast.Load())
    return ast.Call(made, [function, *args], value.keywords)


def _inner(around: ast.expr, value: ast.Call) -> ast.expr:
    """Return a call of `ITER` for an argument of a function that returns an iterator over it."""
    call = _provided(value)
    if not isinstance(call.func, ast.Attribute):
        return value
    call.func.attr = "inner"
    return ast.Call(call.func, [around, *call.args], call.keywords)


_programs: dict[tuple[Any, ...], Program] = {}


def _key(code: CodeType, *, provides_iterators: bool) -> tuple[Any, ...]:
    return code, code.co_filename, provides_iterators  # the file is no part of a code's equality


def program_of(code: CodeType, *, provides_iterators: bool = False) -> Program:
    """Return the program of a function's code; it is made once.

    Raises
    ------
    UsageError
        There is no source, or it is not that of the code.
    """
    key = _key(code, provides_iterators=provides_iterators)
    program = _programs.get(key)
    if program is None:
        program = Program(source_of(code), provides_iterators=provides_iterators)
        _programs[key] = program
    return program
