"""``trax plot``: the numbers of runs over their steps."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

import click

from trax.cli.canvas import draw
from trax.cli.common import common, is_json, matching, names, survey
from trax.cli.panels import Panel, make_panels
from trax.cli.screen import write, write_error, write_json
from trax.cli.svg import STYLE, drawing
from trax.display import count
from trax.errors import one_line
from trax.survey.series import Mark, Series, marks_of, read_series

__all__ = ["plot"]

_SHOWN = 3  # fields at a terminal
_ROWS, _COLUMNS = 24, 80  # in a pipe
_FORMATS = ("html", "pdf", "png", "svg")


@click.command(
    epilog="""\b
Examples:
  trax plot fit              its numbers, in the terminal
  trax plot 'fit-*' --field loss --log
  trax plot fit --x time -o fit.svg
  trax plot fit -o fit.png   needs matplotlib; svg and html need nothing

The exit status is 1 if a run has no numbers, or is damaged.
"""
)
@names(required=True)
@click.option(
    "--field",
    "fields",
    metavar="NAME",
    multiple=True,
    help="What to draw, such as loss or 'metrics.*'; all by default.",
)
@click.option(
    "--x", type=click.Choice(["step", "time"]), default="step", help="The horizontal axis."
)
@click.option("--log", is_flag=True, help="Draw powers of ten at the same distance.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    help="A file to write: .svg, .html, .png or .pdf.",
)
@common
@click.pass_context
def plot(
    context: click.Context,
    /,
    names: tuple[str, ...],
    fields: tuple[str, ...],
    x: str,
    log: bool,
    output: str | None,
    **_: object,
) -> int:
    """Draw the numbers in the increments of runs: of several runs in one picture.

    Each number is a field: those in dicts, tuples and objects by their keys, positions and names,
    of arrays their norms. Of millions of steps the extremes are drawn, so no outlier is missed.
    """
    kind = os.path.splitext(output or "x.svg")[1][1:].lower()
    if kind not in _FORMATS:
        raise click.UsageError(f"{output} must end in .svg, .html, .png or .pdf")
    store = survey(context)
    runs = [
        (read_series(store, name, fields=fields), marks_of(store, name))
        for name in matching(store, names)
    ]
    panels = make_panels(runs, x=x, log=log)
    if is_json(context):
        write_json([_plain(series, marks) for series, marks in runs])
    elif panels and output:
        _save(panels, output, kind)
    elif panels:
        write(_pictures(panels))
    return _complain(runs, panels)


def _complain(runs: Sequence[tuple[Series, Sequence[Mark]]], panels: Sequence[Panel]) -> int:
    """Tell of everything that is not in the picture; return the exit status."""
    for series, _ in runs:
        if series.problem:
            write_error(f"{series.name}: {series.problem}")
        elif not series.fields:
            write_error(f"{series.name}: no numbers in its increments")
        if series.omitted:
            write_error(f"{series.name}: {count(series.omitted, 'field')} left out; give --field")
        for label, course in series.fields.items():
            if course.first is None:
                write_error(f"{series.name}: {label or 'value'}: {course.odd:,} are not finite")
    for panel in panels:
        for note in panel.notes:
            write_error(f"{panel.title}: {note}")
    return int(not panels or any(series.problem or not series.fields for series, _ in runs))


def _pictures(panels: Sequence[Panel]) -> list[str]:
    """Return the first panels one below the other, as they fit a terminal."""
    columns, rows = _COLUMNS, _ROWS
    if sys.stdout.isatty():
        columns, rows = shutil.get_terminal_size()
    shown = panels[:_SHOWN]
    lines = []
    for panel in shown:
        lines += draw(panel, columns, max(8, (rows - 2) // len(shown)))
    if others := [one_line(panel.title) for panel in panels[_SHOWN:]]:
        lines.append(f"and {count(len(others), 'field')} more, such as {others[0]}: give --field")
    return lines


def _save(panels: Sequence[Panel], path: str, kind: str) -> None:
    if kind in ("png", "pdf"):
        _save_with_matplotlib(panels, path)
        return
    text = drawing(panels)
    if kind == "html":
        text = (
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width">\n<title>trax plot</title>\n'
            f"<style>{STYLE}body {{ margin: 1rem; background: var(--page); }}\n"
            f"svg {{ max-width: 100%; height: auto; }}</style>\n{text}</html>\n"
        )
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _save_with_matplotlib(panels: Sequence[Panel], path: str) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise click.ClickException(
            f"{path} needs matplotlib: pip install 'trax-resumable[plot]'.\n"
            "Or write an .svg or .html file, which needs nothing."
        ) from None
    figure = Figure(figsize=(8, 2.6 * len(panels)), layout="constrained")
    for axes, panel in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        for line in panel.lines:
            axes.plot(*zip(*line.points, strict=True), label=line.label.replace("$", r"\$"))
        for at in panel.resumes:
            axes.axvline(at, color="gray", linestyle=":", linewidth=1)
        axes.plot(panel.checkpoints, [0] * len(panel.checkpoints), "|", color="gray",
                  transform=axes.get_xaxis_transform())  # fmt: skip
        axes.set(xlabel=panel.x.kind, ylabel=panel.title.replace("$", r"\$"))
        axes.set_yscale("log" if panel.y.kind == "log" else "linear")
        ticks = panel.x.ticks(6)
        axes.set_xticks([value for value, _ in ticks], [text for _, text in ticks])
        if len(panel.lines) > 1:
            axes.legend()
    figure.savefig(path, dpi=150)


def _plain(series: Series, marks: Sequence[Mark]) -> dict[str, object]:
    """Return what is drawn as plain values."""
    return {
        "name": series.name,
        "first": series.first,
        "last": series.last,
        "problem": series.problem,
        "fields": {
            label: {
                "points": [[*point] for point in course.points],
                "not_finite": course.odd,
                "not_finite_since": course.odd_since,
            }
            for label, course in series.fields.items()
        },
        "marks": [mark._asdict() for mark in marks],
    }
