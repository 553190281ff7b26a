"""``trax plot``: the numbers of runs over their steps."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

import click

from trax.cli.canvas import draw
from trax.cli.common import common, is_json, matching, names, replacing, survey
from trax.cli.panels import Panel, make_panels
from trax.cli.screen import write, write_error, write_json
from trax.cli.svg import PAGE_STYLE, STYLE, drawing, figure
from trax.display import count
from trax.errors import one_line
from trax.survey.runs import Survey
from trax.survey.series import Mark, Series, is_wanted, marks_of, none_stored, not_kept, read_series

__all__ = ["plot"]

_SHOWN = 3  # fields at a terminal
_NAMED = 5  # fields that there are
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
    """Draw the numbers in the increments of runs, in one picture.

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
    asked = " ".join([f"--x {x}"] * (x == "time") + ["--log"] * log)
    unknown = _unknown(store, fields, [series for series, _ in runs])
    return _complain(store, runs, panels, fields, asked) or unknown


def _unknown(store: Survey, fields: Sequence[str], found: Sequence[Series]) -> int:
    """Tell of fields that no run has; return the exit status."""
    labels = [label for series in found for label in series.fields]
    unknown = [one for one in fields if not any(is_wanted(label, [one]) for label in labels)]
    if not unknown:
        return 0
    there = [label or "value" for label in read_series(store, found[0].name, most=1).fields]
    known = f"; {found[0].name} has {', '.join(there[:_NAMED])}" if there else ""
    for one in unknown:
        write_error(f"no field {one!r}{known}{', ...' * (len(there) > _NAMED)}")
    return 1


def _complain(
    store: Survey,
    runs: Sequence[tuple[Series, Sequence[Mark]]],
    panels: Sequence[Panel],
    fields: Sequence[str],
    asked: str,
) -> int:
    """Tell of everything that is not in the picture; return the exit status."""
    drawn = {panel.title for panel in panels}
    for series, _ in runs:
        if series.problem:
            write_error(f"{series.name}: {series.problem}")
        elif series.first is None:
            write_error(f"{series.name}: {none_stored(store, series.name)}")
        elif not series.fields and not fields:
            write_error(f"{series.name}: no numbers in its increments")
        if note := not_kept(series.first):
            write_error(f"{series.name}: {note}")
        if series.omitted:
            write_error(f"{series.name}: {count(series.omitted, 'field')} left out; give --field")
        for label, course in series.fields.items():
            if course.first is None:
                write_error(f"{series.name}: {label or 'value'}: {course.odd:,} are not finite")
            elif (label or "value") not in drawn:
                write_error(f"{series.name}: {label or 'value'}: no point to draw with {asked}")
    for panel in panels:
        for note in panel.notes:
            write_error(f"{panel.title}: {note}")
    return int(not panels or any(series.problem or not series.fields for series, _ in runs))


def _pictures(panels: Sequence[Panel]) -> list[str]:
    """Return the first panels one below the other, as they fit a terminal."""
    columns, rows, is_cut = _COLUMNS, _ROWS, sys.stdout.isatty()
    if is_cut:
        columns, rows = shutil.get_terminal_size()
    shown = panels[:_SHOWN]
    lines = []
    for panel in shown:
        lines += draw(panel, columns, max(8, (rows - 2) // len(shown)), names_all=not is_cut)
    if others := [one_line(panel.title) for panel in panels[_SHOWN:]]:
        lines.append(f"and {count(len(others), 'field')} more, such as {others[0]}: give --field")
    return lines


def _save(panels: Sequence[Panel], path: str, kind: str) -> None:
    if kind in ("png", "pdf"):
        _save_with_matplotlib(panels, path)
        return
    if kind == "svg":
        text = drawing(panels)
    else:
        text = (
            '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>trax plot</title>\n<style>{STYLE}{PAGE_STYLE}"
            "body { margin: 1rem auto; padding: 0 1rem; max-width: 60rem; "
            "background: var(--page); }\n"
            f"</style>\n{''.join(map(figure, panels))}</html>\n"
        )
    with replacing(path) as begun, open(begun, "w", encoding="utf-8") as file:
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
