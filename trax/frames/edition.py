"""The text of a loop's function, as it was when a frame was stored, compared with the present one.

The crash was often a bug, so the function may have been edited since. A frame has the number of a
yield; the edition has what is needed to find this yield in the present text.
"""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple, Self

from trax.display import shorten
from trax.errors import UsageError
from trax.frames.program import Program
from trax.frames.source import nested_codes
from trax.frames.spots import Spot, find_spot, has_line, missing, spot_of
from trax.storage.parsing import parse

__all__ = ["Edition", "Moved"]

_BODIES: Final = {"body", "cases", "finalbody", "handlers", "orelse"}
_LOOPS: Final = (ast.For, ast.AsyncFor, ast.While)
_UNUSED: Final = "the new one is not used"


class Moved(NamedTuple):
    """A yield that was found again in the present text.

    Attributes
    ----------
    number : int
        Its present number.
    missing : list of str
        The variables that are needed there now, and were not when the frame was stored.
    unused : list of str
        Texts that tell which changes have no effect any more.
    """

    number: int
    missing: list[str]
    unused: list[str]


def _why_not_found(program: Program, spot: Spot) -> str:
    if not has_line(program, spot):
        return "which is no longer in the function.\nPut it back, with the blocks around it."
    around = " and ".join(spot.kinds) or "nothing"
    return f"which has other blocks around it now.\nPut those back that it had: {around}."


class _Part(NamedTuple):
    """A statement without those in it; the iterable of a loop is a part of its own.

    Attributes
    ----------
    path : str
        The fields that lead to it.
    text : str
        Its text, however it is written.
    line : int
        The number of its first line.
    is_iterable : bool
        Whether it is an iterable.
    shown : str
        Its first line and its number, as a text.
    """

    path: str
    text: str
    line: int
    is_iterable: bool = False
    shown: str = ""


class Edition(NamedTuple):
    """One edition of a function.

    Attributes
    ----------
    spots : tuple of Spot
        Its yields.
    first : int
        The number of its first line.
    lines : tuple of str
        Its lines.
    """

    spots: tuple[Spot, ...]
    first: int
    lines: tuple[str, ...]

    @classmethod
    def of(cls, program: Program) -> Self:
        """Return the present edition of a function."""
        code, node = program.source.code, program.source.node
        lines = program.source.lines
        first, last = code.co_firstlineno, node.end_lineno or code.co_firstlineno
        spots = tuple(spot_of(program, number) for number in range(len(program.sites)))
        return cls(spots, first, tuple(line.rstrip() for line in lines[first - 1 : last]))

    def encode(self) -> bytes:
        """Return the edition as bytes."""
        return json.dumps([self.spots, self.first, self.lines]).encode()

    @classmethod
    def decode(cls, stored: bytes) -> Self:
        """Return the edition that `encode` has stored."""
        spots, first, lines = json.loads(stored)
        found = tuple(Spot(n, o, t, (*kinds,), c, (*needs,)) for n, o, t, kinds, c, needs in spots)
        return cls(found, first, tuple(lines))

    def is_same(self, other: Edition) -> bool:
        """Return whether another edition has the same text, wherever it stands."""
        return self.lines == other.lines

    def move(self, number: int, program: Program, name: str) -> Moved:
        """Find a yield of this edition in the present function.

        Raises
        ------
        UsageError
            It is not there any more.
        """
        spot = self.spots[number]
        found = find_spot(program, spot)
        if found is None:
            raise UsageError(
                f"{name} stopped at `{spot.line}`, {_why_not_found(program, spot)}\n"
                "Or start over with the function's fresh(...)."
            )
        unused = [*self._unused(program, found)]
        return Moved(found, missing(program, found, spot), unused)

    def _unused(self, program: Program, number: int) -> Iterator[str]:
        """Tell the first statement that was changed and is not run any more, and the iterable."""
        code, _ = program.entry(program.site(number))
        runs = {line for one in (code, *nested_codes(code)) for *_, line in one.co_lines()}
        path = (step.node for step in program.site(number).path)
        loop = next((node for node in path if isinstance(node, _LOOPS)), None)
        changed = [*self._changed(Edition.of(program))]
        if loop and any(one.is_iterable and one.line == loop.lineno for one in changed):
            yield (
                f"line {loop.lineno}: the loop goes on through the iterable that it had; " + _UNUSED
            )
        if gone := next((one for one in changed if one.line not in runs), None):
            yield f"{gone.shown!r} was changed, and runs only when the run begins"

    def first_change(self, other: Edition) -> str:
        """Return the first line of another edition that differs, as a text; empty if none does."""
        return next((one.shown for one in self._changed(other)), "")

    def _changed(self, other: Edition) -> Iterator[_Part]:
        """Yield the parts of another edition that differ; not those that are written otherwise."""
        if self.is_same(other):
            return
        before, now = _parts_of(self), _parts_of(other)
        old, new = ([one[:2] for one in parts] for parts in (before, now))
        for kind, _, _, begin, end in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if kind != "equal":
                is_gone = kind == "delete" and begin > 0  # then the part before it is told
                yield from now[begin - is_gone : end]


def _parts_of(edition: Edition) -> list[_Part]:
    # In a block of its own the text may be indented; a text in it need not be.
    lines = edition.lines
    is_inside = bool(lines) and lines[0][:1].isspace()
    try:
        tree: Any = parse("\n".join(["if True:"] * is_inside + [*lines]))
    except SyntaxError:  # of a newer Python
        return []
    found = []
    for one in _parts(tree.body[0].body[0] if is_inside else tree):
        index = one.line - 1 - is_inside
        line = edition.first + index
        found.append(one._replace(line=line, shown=f"line {line}: {shorten(lines[index].strip())}"))
    return found


def _parts(node: Any, path: str = "") -> Iterator[_Part]:
    for name, field in ast.iter_fields(node):
        inner = f"{path} {name}"
        for one in field if isinstance(field, list) else ():
            if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):  # a docstring
                continue
            if isinstance(one, ast.stmt | ast.ExceptHandler | ast.match_case):
                yield from _heads(one, inner)
                yield from _parts(one, inner)


def _heads(node: Any, path: str) -> Iterator[_Part]:
    line = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
    head = copy.copy(node)
    for name in _BODIES.intersection(node._fields):
        setattr(head, name, [])
    if isinstance(head, ast.For | ast.AsyncFor):
        yield _Part(path, f"in {ast.unparse(head.iter)}", line, is_iterable=True)
        head.iter = ast.Constant(...)
    yield _Part(path, ast.unparse(head), line)
