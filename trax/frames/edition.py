"""The text of a loop's function, as it was when a frame was stored, compared with the present one.

The crash was often a bug, so the function may have been edited since. A frame has the number of a
yield; the edition has what is needed to find this yield in the present text.
"""

from __future__ import annotations

import ast
import difflib
import json
import linecache
from collections.abc import Iterator
from typing import NamedTuple, Self

from trax.errors import UsageError
from trax.frames.program import Program
from trax.frames.source import nested_codes
from trax.frames.spots import Spot, find_spot, missing, spot_of

__all__ = ["Edition", "Moved"]

_SHOWN = 40  # characters of a line


class Moved(NamedTuple):
    """A yield that was found again in the present text.

    Attributes
    ----------
    number : int
        Its present number.
    missing : list of str
        The variables that are needed there now, and were not when the frame was stored.
    unrun : str
        The first line that was changed and is not run any more, as a text; empty if there is none.
    """

    number: int
    missing: list[str]
    unrun: str


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
        lines = linecache.getlines(code.co_filename)
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
                f"{name} stopped at `{spot.line}`, which is no longer in the function.\n"
                "Put this yield back, with the loops around it.\n"
                "Or start over with the function's fresh(...)."
            )
        return Moved(found, missing(program, found, spot), self._unrun(program, found))

    def _unrun(self, program: Program, number: int) -> str:
        """Return the first line that was changed and that the loop does not come to any more."""
        code, _ = program.entry(program.site(number))
        runs = {line for one in (code, *nested_codes(code)) for *_, line in one.co_lines()}
        written = {one.lineno for one in ast.walk(program.source.node) if isinstance(one, ast.stmt)}
        loops = [one.node.lineno for one in program.site(number).path if _is_loop(one.node)]
        runs -= {*loops[:1]}  # the loop goes on over what it began with
        for line, text in self._changed(Edition.of(program)):
            if line in written and line not in runs:
                return f"line {line}: {_shorten(text)}"
        return ""

    def first_change(self, other: Edition) -> str:
        """Return the first line of another edition that differs, as a text; empty if none does."""
        return next((f"line {n}: {_shorten(text)}" for n, text in self._changed(other)), "")

    def _changed(self, other: Edition) -> Iterator[tuple[int, str]]:
        """Yield the lines of another edition that differ, with their numbers."""
        matcher = difflib.SequenceMatcher(None, self.lines, other.lines, autojunk=False)
        for kind, _, _, begin, end in matcher.get_opcodes():
            if kind == "equal":
                continue
            before = kind == "delete" and begin > 0  # then the line before it is told
            for index in range(begin - before, end):
                if other.lines[index].strip():
                    yield other.first + index, other.lines[index].strip()


def _is_loop(node: ast.stmt) -> bool:
    return isinstance(node, ast.For | ast.AsyncFor)


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."
