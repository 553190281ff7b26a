"""Writes to a terminal, in colours and within its width; to a pipe whole lines, as they are."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.color import ColorSystem
from rich.console import Console
from rich.style import Style

from trax.errors import one_line

__all__ = [
    "Cell",
    "cut",
    "cut_name",
    "has_colours",
    "styled",
    "table",
    "write",
    "write_error",
    "write_json",
    "write_problem",
]

Cell = tuple[str, str]  # a text, and the style of rich that it has on a terminal

_GAP = "  "
_NARROWEST = 8  # columns that a cell keeps if the terminal is narrow


def write(lines: Iterable[str]) -> None:
    """Write lines to standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def write_error(text: str) -> None:
    """Write a line to standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"trax: {one_line(text)}\n")


def write_problem(name: str, error: Exception) -> None:
    """Write the lines of an error of a run to standard error."""
    for number, line in enumerate(str(error).splitlines()):
        write_error(line if number else f"{name}: {line}")


def write_json(value: Any) -> None:
    """Write plain values as JSON, in ASCII, so that no text can steer a terminal."""
    write([json.dumps(value, indent=2)])


def width() -> int | None:
    """Return the width of the terminal; None if standard output is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@cache
def has_colours() -> bool:
    """Return whether standard output is a terminal with colours."""
    console = Console()
    return console.color_system is not None and not console.no_color and console.is_terminal


def styled(text: str, style: str) -> str:
    """Return a text in a style, if this terminal has colours."""
    if not style or not text or not has_colours():
        return text
    return Style.parse(style).render(text, color_system=ColorSystem.STANDARD)


def cut(text: str, columns: int) -> str:
    """Return a text, or its beginning and a mark if it takes more columns of a terminal."""
    if _cells(text) <= columns:
        return text
    return set_cell_size(text, max(0, columns - 1)).rstrip() + "…"


def cut_name(text: str, columns: int) -> str:
    """Return a name, or both its ends if it takes more columns: names of a sweep differ at last."""
    if cell_len(text) <= columns:
        return text
    end = set_cell_size(text[::-1], max(0, columns - 1) // 2)[::-1].lstrip()
    return set_cell_size(text, max(0, columns - 1 - cell_len(end))).rstrip() + "…" + end


def _cells(text: str) -> int:
    """Return the columns that a text takes; most have only characters that take one."""
    return len(text) if text.isascii() and text.isprintable() else cell_len(text)


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[int]) -> list[str]:
    """Return the lines of a table.

    On a terminal that is too narrow the first column, the names, becomes narrower, and then the
    others that are wide; in a pipe nothing is cut. The columns in `right` have their texts at the
    right.
    """
    lines = [[(text, "bold") for text in head], *rows]
    widths = [max(_cells(line[column][0]) for line in lines) for column in range(len(head))]
    room = width()
    if room is not None:
        excess = sum(widths) + len(_GAP) * (len(widths) - 1) - room
        for column in (0, *sorted(range(1, len(widths)), key=lambda column: -widths[column])):
            spared = min(max(0, excess), max(0, widths[column] - _NARROWEST))
            widths[column] -= spared
            excess -= spared
    return [_line(cells, widths, right) for cells in lines]


def _line(cells: Sequence[Cell], widths: Sequence[int], right: Sequence[int]) -> str:
    shown = []
    for column, (whole, style) in enumerate(cells):
        text = (cut if column else cut_name)(whole, widths[column])
        space = " " * (widths[column] - _cells(text))
        shown.append(
            space + styled(text, style) if column in right else styled(text, style) + space
        )
    return _GAP.join(shown).rstrip()
