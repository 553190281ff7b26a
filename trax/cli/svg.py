"""Draws panels of a plot as SVG, which needs nothing else, and fits a light page and a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from trax.cli.panels import Panel
from trax.errors import printable

__all__ = ["HEIGHT", "STYLE", "WIDTH", "draw_panel", "drawing", "safe"]

WIDTH, HEIGHT = 760, 250  # of a panel, in the units of the drawing
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 12, 30, 42  # around the picture
_LINES = 6  # colours

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --page: #fff; --faint: #d9dce1; --dim: #667;
  --line0: #0b62c4; --line1: #b4540a; --line2: #7a3fb0; --line3: #12793c; --line4: #b3164d;
  --line5: #6b6a1a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --page: #15171a; --faint: #33373d;
  --dim: #9aa3ad; --line0: #6cb2ff; --line1: #ffae63; --line2: #c79bff; --line3: #6fd798;
  --line4: #ff86ab; --line5: #d3d266; } }
.plot { font: 12px system-ui, sans-serif; fill: var(--ink); }
.plot .grid { stroke: var(--faint); }
.plot .mark { stroke: var(--dim); stroke-dasharray: 3 3; }
.plot .dot { stroke: var(--dim); }
.plot .dim { fill: var(--dim); }
.plot polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round; }
"""
STYLE += "".join(
    f".plot .line{n} {{ stroke: var(--line{n}); }} .plot .name{n} {{ fill: var(--line{n}); }}\n"
    for n in range(_LINES)
)


def safe(text: str) -> str:
    """Return a text of the user for HTML and SVG: no tag, and no character that cannot be seen."""
    return escape(printable(text))


def drawing(panels: Sequence[Panel]) -> str:
    """Return a file with the panels below each other."""
    height = HEIGHT * len(panels)
    parts = [draw_panel(panel, HEIGHT * number) for number, panel in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" class="plot">\n<style>{STYLE}</style>\n'
        f'<rect width="100%" height="100%" style="fill: var(--page)"/>\n{"".join(parts)}</svg>\n'
    )


def draw_panel(panel: Panel, down: int = 0) -> str:
    """Return the elements of one panel."""
    parts = [
        f'<g transform="translate(0 {down})">\n',
        f'<text x="{_LEFT}" y="18" font-weight="600">{safe(panel.title)}</text>\n',
        *_names(panel),
        *_axes(panel),
        *_marks(panel),
        *_lines(panel),
        "</g>\n",
    ]
    return "".join(parts)


def _across(panel: Panel, value: float) -> str:
    return f"{_LEFT + panel.x.at(value) * (WIDTH - _LEFT - _RIGHT):.1f}"


def _down(panel: Panel, value: float) -> str:
    return f"{HEIGHT - _BOTTOM - panel.y.at(value) * (HEIGHT - _TOP - _BOTTOM):.1f}"


def _names(panel: Panel) -> list[str]:
    """Return the names of the runs, in the colours of their lines; and the notes."""
    names = "  ".join(
        f'<tspan class="name{number % _LINES}" dx="10">{safe(line.label)}</tspan>'
        for number, line in enumerate(panel.lines)
    )
    notes = f'<tspan class="dim" dx="10">{safe("; ".join(panel.notes))}</tspan>' * bool(panel.notes)
    return [f'<text x="{WIDTH - _RIGHT}" y="18" text-anchor="end">{names}{notes}</text>\n']


def _axes(panel: Panel) -> list[str]:
    right, low = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = []
    for value, text in panel.y.ticks(5):
        at = _down(panel, value)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{at}" dy="4" text-anchor="end">{text}</text>\n')
    for value, text in panel.x.ticks(6):
        at = _across(panel, value)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{low}" y2="{low + 5}"/>')
        parts.append(f'<text x="{at}" y="{low + 18}" text-anchor="middle">{text}</text>\n')
    parts.append(
        f'<text class="dim" x="{right}" y="{low + 34}" text-anchor="end">{panel.x.kind}</text>\n'
    )
    return parts


def _marks(panel: Panel) -> list[str]:
    low = HEIGHT - _BOTTOM
    resumes, checkpoints = (
        {_across(panel, at) for at in places} for places in (panel.resumes, panel.checkpoints)
    )
    parts = [
        f'<line class="mark" x1="{at}" x2="{at}" y1="{_TOP}" y2="{low}"><title>resumed</title>'
        "</line>\n"
        for at in sorted(resumes)
    ]
    parts += [
        f'<line class="dot" x1="{at}" x2="{at}" y1="{low - 4}" y2="{low}">'
        "<title>checkpoint</title></line>\n"
        for at in sorted(checkpoints)
    ]
    return parts


def _lines(panel: Panel) -> list[str]:
    parts = []
    for number, line in enumerate(panel.lines):
        points = line.points if len(line.points) > 1 else line.points * 2
        places = [(_across(panel, at), _down(panel, value)) for at, value in points]
        if len(line.points) == 1:  # a line as short as a dot
            places[1] = (f"{float(places[0][0]) + 2:.1f}", places[0][1])
        text = " ".join(",".join(place) for place in places)
        parts.append(
            f'<polyline class="line{number % _LINES}" points="{text}">'
            f"<title>{safe(line.label)}</title></polyline>\n"
        )
    return parts
