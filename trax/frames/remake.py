"""Plans which variables that cannot be stored are made again, and refuses those that cannot be."""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any, Final, NoReturn

from trax.errors import CodecError, UsageError
from trax.frames.generators import new_cell, reduce_cell
from trax.frames.locked import Locked
from trax.frames.names import assigned, bound_inside, read, resolved, root, target_names
from trax.frames.prologue import changed, has_yield, prologue, rest, used
from trax.frames.remade_kinds import (
    CONSTANTS,
    fault,
    is_container,
    is_data,
    is_stack,
    is_stateless,
    is_writer,
)
from trax.frames.repeated import (
    Repeated,
    is_lasting,
    local_names,
    opens_to_write,
    reads_of,
    repeated,
)
from trax.frames.written_files import written_file
from trax.storage.definitions import full_name
from trax.storage.refusals import RefusedError

if TYPE_CHECKING:
    from trax.frames.program import Program
    from trax.frames.sites import Site

__all__ = ["Plan", "Planner", "empty_cells", "notice"]

_ONCE: Final = (
    "Make it once before the loop, under a name of its own, from what the loop does not change.\n"
    "Or make it inside the step, and delete it before the yield."
)


_MEMORY: Final = "Keep a bytearray or an array, or map a file, whose content stays."
_READ_ON: Final = (
    "Loop over it with for, in the function itself, or read all of it before the loop.\n"
    "Or ask for each part in its step, by a number that is kept in a variable."
)
_READING: Final = frozenset(
    [
        *("fetchall", "fetchmany", "fetchone", "get_chunk", "read", "read1", "readinto"),
        *("readline", "readlines", "recv", "recv_into"),
    ]
)
_ASKING: Final = ("execute", "send", "write", "put", "post", "request", "query", "seek", "submit")


@dataclass(frozen=True, slots=True)
class Plan:
    """The variables that are made again when a loop goes on behind one of its yields.

    Attributes
    ----------
    names : frozenset of str
        The variables that are not stored: `Program.entry` takes them as ``remade``.
    needs : frozenset of str
        The variables that are read to make them, and are stored with the frame therefore, although
        the rest of the loop does not need them.
    made : dict of str to int
        Those of them that statements make, with the lines.
    lost : dict of str to str
        For those that steps seem to change: what changes them.
    """

    names: frozenset[str]
    needs: frozenset[str]
    made: Mapping[str, int]
    lost: Mapping[str, str]

    def warnings(self, label: str) -> Iterator[str]:
        """Yield the lines to be said at the first frame: what will not be there after a resume."""
        for name, how in self.lost.items():
            yield (
                f"{label}: {name} cannot be stored; after a crash it is made again as in line "
                f"{self.made[name]}, without what steps change in it ({how})"
            )


def notice(
    program: Program, site: Site, label: str, names: Collection[str], function: FunctionType
) -> str:
    """Return the line to be said when a loop goes on so; empty if there is nothing to say.

    A writer of the module csv is nothing but its file, which is told if it is made again.

    Raises
    ------
    UsageError
        The function was changed, and does not make one of the variables any more.
    """
    statements = [*repeated(program.source.code, site, names)]
    made = _made(site, statements, names)
    for name in sorted({*names} - made.keys() - entered_names(site).keys()):
        raise UsageError(
            f"{label}: {name} is needed after line {site.node.lineno}, and no line makes it now.\n"
            "It could not be stored: put the line back that made it before the loop."
        )
    for one in statements:
        if _makes_writer(one.node, function):
            made = {name: line for name, line in made.items() if name not in assigned(one.node)}
    if not made:
        return ""
    again = [one.node for one in statements if (read(one.node) | assigned(one.node)) & {*made}]
    lines = sorted([*made.values(), *(node.lineno for node in again)])
    quoted = [repr(name) for name in made]
    listed = " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))
    place = f"line {lines[0]}" if lines[0] == lines[-1] else f"lines {lines[0]} to {lines[-1]}"
    return f"{label}: {listed} {'is' if len(made) == 1 else 'are'} made again ({place})"


def _makes_writer(node: ast.stmt, function: FunctionType) -> bool:
    value = getattr(node, "value", None)
    made = resolved(value.func, function) if isinstance(value, ast.Call) else None
    return made is csv.writer or made is csv.DictWriter


def _made(site: Site, statements: Collection[Repeated], names: Collection[str]) -> dict[str, int]:
    """Return the variables that are made again, with the lines; settings are no such things."""
    entered = entered_names(site)
    made = {n: line for n, (line, is_setting) in entered.items() if n in names and not is_setting}
    for one in statements:
        for name in sorted(assigned(one.node).intersection(names)):
            made.setdefault(name, one.node.lineno)
    return made


def empty_cells(
    names: Collection[str], dropped: Collection[str], cells: Mapping[str, CellType]
) -> Callable[[CellType], tuple[Any, ...]]:
    """Return a reduction of cells by which those of variables made again are stored empty.

    The statements that make a variable again fill its cell, which functions inside share. Nothing
    that is stored may share a variable that was dropped.
    """
    emptied = {id(cells[name]) for name in names if name in cells}
    unneeded = {id(cells[name]): name for name in dropped if name in cells}

    def reduce(cell: CellType) -> tuple[Any, ...]:
        if id(cell) in unneeded:
            raise RefusedError(cell, _ONCE, f"it refers to {unneeded[id(cell)]}")
        return (new_cell, ()) if id(cell) in emptied else reduce_cell(cell)

    return reduce


class Planner:
    """Plans how the variables of one frame that cannot be stored are made again.

    Parameters
    ----------
    program : Program
        The function.
    site : Site
        The yield.
    label : str
        The name of the loop in errors.
    values : mapping
        All variables that have values, also those that are not needed any more.
    can_store : callable
        Whether a value can be stored.
    data : mapping
        The variables that cannot be stored and are data with locks in it.
    """

    def __init__(
        self,
        program: Program,
        site: Site,
        label: str,
        values: Mapping[str, Any],
        can_store: Callable[[Any], bool],
        data: Mapping[str, Locked],
    ) -> None:
        code = program.source.code
        self._site = site
        self._label = label
        self._values = values
        self._can_store = can_store
        self._data = data
        self._code = code
        self._local = local_names(code)
        self._live = program.live[site.number] | {*program.shared}
        self._entered = entered_names(site)
        self._rest = rest(site)
        self._before = [node for _, node in prologue(site) if not has_yield(node)]
        self._bound_later = assigned(self._rest) | bound_inside(program.source.node)
        self._changed_later = changed(self._rest)
        for node in self._before:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):  # called in the loop
                self._changed_later |= changed(node)

    def plan(self, unstorable: Collection[str]) -> Plan:
        """Return the plan for some variables, with those that must be made again together.

        Raises
        ------
        CodecError
            One of them cannot be made again. The error says why, and what to do.
        """
        names, needs = set(unstorable), set[str]()
        size = -1
        while size != len(names) + len(needs):
            size = len(names) + len(needs)
            statements = [*repeated(self._code, self._site, names)]
            names |= self._made_along(statements, names) | self._derived(statements, names)
            more, stored = self._sources(statements, names)
            names |= more
            needs = stored - names
        for name in sorted(names):
            self._check(name, statements)
        self._check_changes(statements, names)
        made = _made(self._site, statements, names)
        lost = {name: how for name in made if (how := self._loss(name))}
        return Plan(frozenset(names), frozenset(needs), made, lost)

    def _made_along(self, statements: list[Repeated], names: set[str]) -> set[str]:
        """Return the variables that are bound together with these, and belong to them."""
        along: set[str] = set()
        for one in statements:
            if assigned(one.node) & names:
                along |= {n for n in assigned(one.node) - names if self._belongs(n)}
        return along

    def _belongs(self, name: str) -> bool:
        is_fixed = name in self._values and name not in self._bound_later
        return is_fixed and not is_data(self._values[name])

    def _derived(self, statements: list[Repeated], names: set[str]) -> set[str]:
        """Return the variables made from these, such as a cursor, that are used and not stored."""
        derived: set[str] = set()
        for one in statements:
            if not assigned(one.node) & names and isinstance(one.node, ast.Assign | ast.AnnAssign):
                for name in assigned(one.node) - self._live:
                    if self._belongs(name) and not self._can_store(self._values[name]):
                        derived.add(name)
        return derived

    def _sources(self, statements: list[Repeated], names: set[str]) -> tuple[set[str], set[str]]:
        """Return the variables that must be made again for these, and those to be stored."""
        again: set[str] = set()
        stored: set[str] = set()
        fresh = {*self._entered} & names
        for one in statements:
            if not (read(one.node) | assigned(one.node)) & names:  # a setting
                stored |= reads_of(one.parts, self._local).intersection(self._values)
                continue
            for name in sorted(reads_of(one.parts, self._local) - fresh - names):
                if self._is_steady(name, one):
                    can_store = name in self._live or self._can_store(self._values[name])
                    (stored if can_store else again).add(name)
                elif name not in self._live and name not in self._entered and self._is_before(name):
                    again.add(name)
                else:
                    self._refuse_source(one, name, names)
        return again, stored

    def _is_steady(self, name: str, one: Repeated) -> bool:
        """Whether a variable still has what a statement of the prologue has read of it."""
        times = sum(name in assigned(node) for node in self._before)
        if name not in self._values or times > 1 or name in self._bound_later:
            return False
        return not self._line_changing(name, one)

    def _line_changing(self, name: str, one: Repeated) -> int:
        """Return the line that changes what a statement reads of a variable; 0 if none does."""
        read = {part for part_of in one.parts for n, part in used(part_of) if n == name}
        is_whole = is_container(self._values.get(name)) and any(p.endswith("()") for p in read)
        for part, line in self._changes(name):
            if read and (not part or "" in read or part in read or is_whole):
                return line
        return 0

    def _changes(self, name: str) -> list[tuple[str, int]]:
        """Return the parts of a variable that the loop changes, with the lines."""
        if isinstance(self._values.get(name), _FIXED):
            return []
        return [(part, line) for (n, part), line in self._changed_later.items() if n == name]

    def _is_before(self, name: str) -> bool:
        return any(name in assigned(node) for node in self._before)

    # -- refusals ----------------------------------------------------------------------

    def _check(self, name: str, statements: list[Repeated]) -> None:
        value = self._values.get(name)
        if found := fault(value):
            self._refuse(name, *found, how="kept")
        self._check_writing(name, value)
        if name in self._entered:
            if is_stack(value) and (line := self._line_calling(name)):
                advice = "Enter what the loop opens in a with block of its own, inside the step."
                self._refuse(name, f"line {line} gives it more to close", advice)
            return
        if name in self._bound_later and name in self._live:
            line = self._line_later(name)
            how = "binds it as well" if self._is_before(name) else "makes it"
            self._refuse(name, f"line {line} {how}, in the loop", _ONCE)
        if not self._is_before(name):
            self._refuse(name, "no line before the loop makes it", _ONCE)
        if line := self._line_reading_on(name):
            self._refuse(name, f"line {line} reads on in it", _READ_ON)
        if (is_container(value) or name in self._data) and (changes := self._changes(name)):
            line = changes[0][1]
            self._refuse(name, f"line {line} changes it", _ONCE)
        making = [one.node for one in statements if name in assigned(one.node)]
        if full_name(type(value)) == "mmap.mmap" and any(map(_is_anonymous, making)):
            self._refuse(name, "its memory is gone then", _MEMORY)
        for node in making:
            if opens_to_write(node, emptying=True) and not is_writer(value):
                self._refuse(name, "its file would be emptied", "Open it with trax.open.")
            if is_lasting(node) and not hasattr(node, "body"):
                advice = "Make that change on a line of its own, which is not run again."
                self._refuse(name, f"line {node.lineno} changes more than that", advice)

    def _check_writing(self, name: str, value: Any) -> None:
        """Refuse an object with a file that would be emptied, or that steps would write twice."""
        if written := written_file(value, name):
            is_emptied = written.file is value and str(getattr(value, "mode", " "))[:1] in "wx"
            reason = f"{written.path} is open for writing"
            reason = "its file would be emptied" if is_emptied else reason
            advice = f"{written.advice}\nOr open and close it inside the step."
            self._refuse(name, reason, advice)

    def _check_changes(self, statements: list[Repeated], names: set[str]) -> None:
        """Refuse what would change variables that are stored, a second time."""
        for one in statements:
            for part in one.parts:
                for name in sorted(self._touched(part, names) - names):
                    if name in self._values and name in self._live:
                        self._refuse_part(one, name, names)

    def _touched(self, part: ast.stmt, names: set[str]) -> set[str]:
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):  # it is not called here
            return set()
        touched = {name for name, _ in changed(part) if name in self._local}
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            call = part.value
            if root(call.func) not in names:  # such as fill(conn, rows)
                given = [*call.args, *(keyword.value for keyword in call.keywords)]
                passed = {one.id for one in given if isinstance(one, ast.Name)}
                touched |= {n for n in passed if self._is_mutable(n)}
        return touched

    def _is_mutable(self, name: str) -> bool:
        value = self._values.get(name)
        return not isinstance(value, _FIXED) and is_data(value)

    def _loss(self, name: str) -> str:
        """Return what steps change in a variable, as far as it can be seen; empty if nothing."""
        if full_name(type(self._values.get(name))) == "mmap.mmap":  # its file has it
            return ""
        if changes := self._changes(name):
            return f"line {changes[0][1]}"
        if name not in self._values or is_stateless(self._values[name]):
            return ""
        line = self._line_calling(name)
        return f"line {line}" if line else ""

    def _line_calling(self, name: str) -> int:
        """Return the line of the loop that calls a method of a variable; 0 if none does."""
        for node in ast.walk(self._rest):
            if isinstance(node, ast.Expr | ast.Assign) and isinstance(node.value, ast.Call):
                function = node.value.func
                if isinstance(function, ast.Attribute) and root(function) == name:
                    return node.lineno
        return 0

    def _line_reading_on(self, name: str) -> int:
        """Return the line of the loop that reads on in an object, which would begin anew; or 0."""
        methods: dict[str, int] = {}
        for node in ast.walk(self._rest):
            if not isinstance(node, ast.Call):
                continue
            function = node.func
            if isinstance(function, ast.Attribute) and root(function) == name:
                methods.setdefault(function.attr, node.lineno)
            elif isinstance(function, ast.Name) and function.id in ("next", "anext"):
                of = root(node.args[0]) if node.args else None
                methods |= {"read": node.lineno} if of == name else {}
        if any(method.startswith(_ASKING) for method in methods):
            return 0
        return next((line for method, line in methods.items() if method in _READING), 0)

    def _line_later(self, name: str) -> int:
        lines = [
            node.lineno
            for node in ast.walk(self._rest)
            if isinstance(node, ast.stmt) and hasattr(node, "lineno") and name in assigned(node)
        ]
        return max(lines, default=0)

    def _refuse_source(self, one: Repeated, name: str, names: set[str]) -> NoReturn:
        first = _first(one, names)
        line = self._line_changing(name, one) or self._line_later(name)
        if not line and name not in self._values:
            self._refuse(first, f"line {one.node.lineno} reads {name}, which is deleted", _ONCE)
        why = f"line {one.node.lineno} reads {name}, which line {line} changes"
        self._refuse(first, why, _ONCE)

    def _refuse_part(self, one: Repeated, name: str, names: set[str]) -> NoReturn:
        first = _first(one, names)
        advice = f"Let it use {first} on one line, and change {name} on another."
        self._refuse(first, f"line {one.node.lineno} changes {name} as well", advice)

    def _refuse(self, name: str, reason: str, advice: str, how: str = "made again") -> NoReturn:
        kind = full_name(type(self._values[name])) if name in self._values else "unknown"
        line = next((n.lineno for n in self._before if name in assigned(n)), 0)
        place = f" (line {line})" if line else ""
        if name in self._data:
            kind, advice = self._data[name].reason, self._data[name].advice
        raise CodecError(
            f"{self._label}: {name}{place} cannot be {how}: {reason}.\n"
            f"It cannot be stored ({kind}), and is needed after line {self._site.node.lineno}.\n"
            f"{advice}"
        )


def _first(one: Repeated, names: set[str]) -> str:
    """Return the first variable that a statement makes, or else uses."""
    return min(assigned(one.node) & names or read(one.node) & names)


def _is_anonymous(node: ast.stmt) -> bool:
    """Whether a statement maps memory that belongs to no file."""
    calls = (one for one in ast.walk(node) if isinstance(one, ast.Call))
    return any(ast.unparse(one) == "-1" for call in calls for one in call.args[:1])


_FIXED: Final = (*CONSTANTS, tuple, frozenset)


def entered_names(site: Site) -> dict[str, tuple[int, bool]]:
    """Return the variables that ``with`` blocks around a yield bind.

    For each the line, and whether it is the context of decimal numbers, which is a setting.
    """
    found = {}
    for _, item in site.entered:
        is_setting = ast.unparse(item.context_expr).endswith("localcontext()")
        line = item.context_expr.lineno
        found.update(dict.fromkeys(target_names(item.optional_vars), (line, is_setting)))
    return found
