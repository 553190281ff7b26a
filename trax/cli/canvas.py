"""Draws panels of a plot with the characters of a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise

from rich.cells import cell_len

from trax.cli.panels import Panel
from trax.cli.screen import cut, has_colours, styled
from trax.errors import one_line

__all__ = ["draw", "spark"]

_COLOURS = ("cyan", "yellow", "magenta", "green", "blue", "red")
_LETTERS = "•+o*x#"  # of lines where there are no colours
_BARS = "▁▂▃▄▅▆▇█"
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of braille: columns, from above
_BRAILLE = 0x2800
_SHORTEST = 3  # rows of a picture
_FRAME = 3  # rows around it: the title, the axis, and its texts

_Cells = dict[tuple[int, int], tuple[int, int]]  # dots and line, by column and row


def draw(panel: Panel, columns: int, rows: int, *, names_all: bool = False) -> list[str]:
    """Return the lines of a panel, of at most so many columns.

    If it `names_all`, the title is as long as it takes.
    """
    height = max(_SHORTEST, rows - _FRAME)
    ticks = {
        min(height - 1, round((1 - panel.y.at(value)) * (height - 1))): text
        for value, text in panel.y.ticks(max(2, height // 3))
    }
    margin = max(map(len, ticks.values()), default=1)
    width = max(10, columns - margin - 2)
    cells = _cells(panel, width, height)
    bars = {min(width - 1, round(panel.x.at(at) * (width - 1))) for at in panel.resumes}
    picture = [
        f"{ticks.get(row, ''):>{margin}} {'┤' if row in ticks else '│'}"
        + "".join(_cell(cells, bars, panel, column, row) for column in range(width)).rstrip()
        for row in range(height)
    ]
    room = sys.maxsize if names_all else columns
    return [_title(panel, room), *picture, *_axis(panel, margin, width)]


def _title(panel: Panel, columns: int) -> str:
    """Return the name of the field, and the runs with their colours or letters."""
    shown, left = one_line(panel.title), columns
    parts = [styled(cut(shown, left), "bold")]
    left -= cell_len(shown)
    named = 0
    for line in panel.lines:
        text, rest = f"{_letter(panel, named)} {one_line(line.label)}", _rest(panel, named + 1)
        if cell_len(text) + 2 + len(rest) + 2 * bool(rest) > left:
            break
        parts.append(styled(text, _COLOURS[named % len(_COLOURS)]))
        left -= cell_len(text) + 2
        named += 1
    resumed = "╎ resumed" * bool(panel.resumes)
    checkpoint = "┴ checkpoint" * bool(panel.checkpoints)
    for text in (_rest(panel, named), resumed, checkpoint):
        if text and len(text) + 2 <= left:
            parts.append(styled(text, "dim"))
            left -= len(text) + 2
    return "  ".join(parts)


def _rest(panel: Panel, named: int) -> str:
    """Return how many runs are not named, if there are several."""
    count = len(panel.lines) - named
    if not count or len(panel.lines) == 1:
        return ""
    return f"and {count:,} more" if named else f"{count:,} runs"


def _letter(panel: Panel, index: int) -> str:
    is_alone = len(panel.lines) == 1 or has_colours()
    return "━" if is_alone else _LETTERS[index % len(_LETTERS)]


def _axis(panel: Panel, margin: int, width: int) -> list[str]:
    """Return the horizontal axis, with checkpoints, and the texts below it."""
    points = {min(width - 1, round(panel.x.at(at) * (width - 1))) for at in panel.checkpoints}
    line = "".join("┴" if column in points else "─" for column in range(width))
    texts = ""
    for value, text in panel.x.ticks(max(2, width // 16)):
        middle = round(panel.x.at(value) * (width - 1))
        begin = max(0, min(middle - len(text) // 2, width - len(text)))
        if not texts or begin > len(texts):
            texts = texts.ljust(begin) + text
    return [f"{'':{margin}} └{line}", f"{'':{margin}}  {texts}"]


def _cell(cells: _Cells, bars: set[int], panel: Panel, column: int, row: int) -> str:
    if (column, row) not in cells:
        return styled("╎", "dim") if column in bars else " "
    dots, index = cells[column, row]
    letter = _letter(panel, index)
    text = chr(_BRAILLE + dots) if letter == "━" else letter
    return styled(text, _COLOURS[index % len(_COLOURS)])


def _cells(panel: Panel, width: int, height: int) -> _Cells:
    """Return the dots of all lines; where two of them meet, the later one gives the colour."""
    cells: _Cells = {}
    for index, line in enumerate(panel.lines):
        across, down = 2 * width - 1, 4 * height - 1
        places = [
            (round(panel.x.at(at) * across), round((1 - panel.y.at(value)) * down))
            for at, value in line.points
        ]
        for column, row in _strokes(places):
            place = column // 2, row // 4
            dots, _ = cells.get(place, (0, index))
            cells[place] = dots | _DOTS[column % 2][row % 4], index
    return cells


def _strokes(places: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the dots of lines from each place to the next."""
    yield from places[:1]
    for (column, row), (right, low) in pairwise(places):
        count = max(abs(right - column), abs(low - row))
        for number in range(1, count + 1):
            yield (
                column + round((right - column) * number / count),
                row + round((low - row) * number / count),
            )


def spark(values: Sequence[float], columns: int) -> str:
    """Return finite numbers as a row of bars; of many, the average of those that share a bar.

    Examples
    --------
    >>> spark([3, 2, 1, 0], 10), spark([5, 5], 10), spark(range(100), 4)
    ('█▆▃▁', '▄▄', '▁▃▆█')
    """
    count = min(columns, len(values))
    cuts = [len(values) * number // count for number in range(count + 1)] if count else []
    pairs = pairwise(cuts)
    means = [sum(value / (end - begin) for value in values[begin:end]) for begin, end in pairs]
    if not means:
        return ""
    low, high = min(means), max(means)
    if not high > low:
        return _BARS[3] * count
    top = len(_BARS) - 1
    return "".join(
        _BARS[round((mean / 2 - low / 2) / (high / 2 - low / 2) * top)] for mean in means
    )
