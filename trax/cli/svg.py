"""Draws panels of a plot as SVG, which needs nothing else, and fits a light page and a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from trax.cli.panels import Panel
from trax.cli.screen import cut
from trax.errors import printable

__all__ = ["PAGE_STYLE", "STYLE", "drawing", "figure", "safe"]

_WIDTH, _HEIGHT = 656, 178  # of the picture of a panel in a file; in a page it is as wide as that
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 30, 30, 42  # around the picture
_ACROSS = 1000  # units of the lines, which are stretched to the width
_LINES = 6  # colours
_CAPTION = 100  # characters that fit above a picture

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
.plot polyline { fill: none; stroke-width: 1.5; stroke-linejoin: round; stroke-linecap: round;
  vector-effect: non-scaling-stroke; }
.plot .alone { stroke-width: 5; }
.title { font-weight: 600; }
.dim { fill: var(--dim); color: var(--dim); }
"""
STYLE += "".join(
    f".line{n} {{ stroke: var(--line{n}); }} "
    f".name{n} {{ fill: var(--line{n}); color: var(--line{n}); }}\n"
    for n in range(_LINES)
)
PAGE_STYLE = f"""
figure {{ margin: 0; min-width: 0; }}
figcaption {{ font: 13px/1.4 system-ui, sans-serif; color: var(--ink); overflow-wrap: anywhere; }}
figcaption span {{ margin-right: .6rem; }}
figure .plot {{ display: block; overflow: visible; margin: .7rem {_RIGHT}px {_BOTTOM}px {_LEFT}px;
  width: calc(100% - {_LEFT + _RIGHT}px); height: {_HEIGHT}px; }}
@media (max-width: 32rem) {{ .plot .every-other {{ display: none; }} }}
"""


def safe(text: str) -> str:
    """Return a text of the user for HTML and SVG: no tag, and no character that cannot be seen."""
    return escape(printable(text))


def drawing(panels: Sequence[Panel]) -> str:
    """Return a file with the panels below each other."""
    width, step = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _BOTTOM
    height = step * len(panels)
    parts = []
    for number, panel in enumerate(panels):
        caption = " ".join(
            f'<tspan class="{kind}" dx="{8 * bool(place)}">{safe(text)}</tspan>'
            for place, (kind, text) in enumerate(_fitting(_caption(panel)))
        )
        parts.append(
            f'<text x="{_LEFT}" y="{step * number + 18}">{caption}</text>\n'
            f'<svg x="{_LEFT}" y="{step * number + _TOP}" width="{_WIDTH}" height="{_HEIGHT}" '
            f'overflow="visible">\n{_picture(panel)}</svg>\n'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" class="plot">\n<style>{STYLE}</style>\n'
        f'<rect width="100%" height="100%" style="fill: var(--page)"/>\n{"".join(parts)}</svg>\n'
    )


def figure(panel: Panel, *, is_named: bool = True) -> str:
    """Return a panel for a page of HTML: as wide as its place there, with texts of one size."""
    caption = " ".join(
        f'<span class="{kind}">{safe(text)}</span>'
        for kind, text in _caption(panel)
        if is_named or not kind.startswith("name")
    )
    return (
        f"<figure>\n<figcaption>{caption}</figcaption>\n"
        f'<svg class="plot" role="img" aria-label="{safe(panel.title)}">\n{_picture(panel)}</svg>\n'
        "</figure>\n"
    )


def _caption(panel: Panel) -> list[tuple[str, str]]:
    """Return the texts above a panel with their classes: its title, its runs, its notes."""
    names = [(f"name{number % _LINES}", line.label) for number, line in enumerate(panel.lines)]
    return [("title", panel.title), *names, *(("dim", note) for note in panel.notes)]


def _fitting(caption: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return as much of a caption as there is room for in one line."""
    found, left = [], _CAPTION
    for kind, text in caption:
        if left <= 1:
            break
        found.append((kind, cut(text, left)))
        left -= len(text) + 2
    return found


def _picture(panel: Panel) -> str:
    """Return the elements of a panel without its caption: across in parts of the width."""
    box = f'viewBox="0 0 {_ACROSS} {_HEIGHT}" width="100%" height="{_HEIGHT}"'
    begin = f'<svg {box} preserveAspectRatio="none" overflow="visible">\n'
    return "".join([*_axes(panel), *_marks(panel), begin, *_lines(panel), "</svg>\n"])


def _down(panel: Panel, value: float) -> str:
    return f"{(1 - panel.y.at(value)) * _HEIGHT:.1f}"


def _axes(panel: Panel) -> list[str]:
    parts = []
    for value, text in panel.y.ticks(5):
        at = _down(panel, value)
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="-8" y="{at}" dy="4" text-anchor="end">{text}</text>\n')
    for number, (value, text) in enumerate(panel.x.ticks(6)):
        at, low = f"{panel.x.at(value):.2%}", _HEIGHT
        kind = ' class="every-other"' * (number % 2)
        parts.append(
            f'<line class="grid" x1="{at}" x2="{at}" y1="{low}" y2="{low + 5}"/>'
            f'<text{kind} x="{at}" y="{low + 18}" text-anchor="middle">{text}</text>\n'
        )
    parts.append(
        f'<text class="dim" x="100%" y="{_HEIGHT + 34}" text-anchor="end">{panel.x.kind}</text>\n'
    )
    return parts


def _marks(panel: Panel) -> list[str]:
    resumes, checkpoints = (
        {f"{panel.x.at(at):.2%}" for at in places} for places in (panel.resumes, panel.checkpoints)
    )
    parts = [
        f'<line class="mark" x1="{at}" x2="{at}" y1="0" y2="{_HEIGHT}"><title>resumed</title>'
        "</line>\n"
        for at in sorted(resumes)
    ]
    parts += [
        f'<line class="dot" x1="{at}" x2="{at}" y1="{_HEIGHT - 4}" y2="{_HEIGHT}">'
        "<title>checkpoint</title></line>\n"
        for at in sorted(checkpoints)
    ]
    return parts


def _lines(panel: Panel) -> list[str]:
    parts = []
    for number, line in enumerate(panel.lines):
        places = [
            f"{panel.x.at(at) * _ACROSS:.1f},{_down(panel, value)}" for at, value in line.points
        ]
        kind = f"line{number % _LINES}"
        if len(places) == 1:  # a line without a length, of which the round ends are seen
            places, kind = places * 2, f"{kind} alone"
        parts.append(
            f'<polyline class="{kind}" points="{" ".join(places)}">'
            f"<title>{safe(line.label)}</title></polyline>\n"
        )
    return parts
