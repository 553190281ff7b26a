"""Panels of a plot: the lines of one field, the marks of its runs, and the scales of both axes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trax.survey.series import Mark, Point, Series

__all__ = ["Line", "Panel", "Scale", "make_panels", "number"]

_RESUMED = ("resumed",)
_STEPS = (1.0, 2.0, 5.0, 10.0)  # of ticks, times a power of ten
_SPANS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values lie between the two ends of an axis.

    Attributes
    ----------
    low, high : float
        The ends.
    kind : {"number", "step", "time", "log"}
        How values lie between them, and how they are written.
    """

    low: float
    high: float
    kind: str = "number"

    def at(self, value: float) -> float:
        """Return where a value lies: 0 is the lower end, 1 the upper one."""
        low, high, value = self._plain(self.low), self._plain(self.high), self._plain(value)
        part = 1.0 if math.isfinite(high - low) else 0.5  # halves of the smallest are nothing
        return (value * part - low * part) / (high * part - low * part) if high > low else 0.5

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Return round values between the ends, at most so many, with their texts."""
        most = max(1, most)
        if self.kind == "log":
            values = self._powers(most)
        elif self.low >= self.high:
            values = [self.low]
        else:
            values = self._round(most)
        if len(values) < 2 <= most and self.low < self.high:  # one alone tells no scale
            values = [self.low, self.high]
        return [(value, self.text(value)) for value in values]

    def text(self, value: float) -> str:
        """Return a value as it is written at the axis."""
        if self.kind == "step":
            return f"{value:,.0f}"
        if self.kind == "time":
            return _clock(value, self.high - self.low)
        return number(value)

    def _plain(self, value: float) -> float:
        return math.log10(value) if self.kind == "log" else value

    def _round(self, most: int) -> list[float]:
        rough = (self.high / most) - (self.low / most)
        if self.kind == "time":
            width = float(next((span for span in _SPANS if span >= rough), 0) or _nice(rough))
        else:
            width = max(_nice(rough), 1.0 if self.kind == "step" else 0.0)
        first = math.ceil(self.low / width)
        last = math.floor(self.high / width)
        values = (index * width for index in range(first, min(last, first + most) + 1))
        return [value for value in values if self.low <= value <= self.high]

    def _powers(self, most: int) -> list[float]:
        first = math.ceil(math.log10(self.low))
        last = math.floor(math.log10(self.high))
        found = [10.0**power for power in range(first, last + 1, max(1, (last - first) // most))]
        return found or [self.low]


def _nice(rough: float) -> float:
    """Return the round number that is not less."""
    rough = min(max(rough, 1e-300), 1e308)
    power = 10.0 ** math.floor(math.log10(rough))
    return next((step * power for step in _STEPS if step * power >= rough * 0.999), 10 * power)


def number(value: float) -> str:
    """Return a number in short.

    Examples
    --------
    >>> number(0.30000000000000004), number(1234567.0), number(-0.0)
    ('0.3', '1.235e+06', '0')
    """
    return f"{value + 0.0:.4g}"


def _clock(value: float, span: float) -> str:
    form = "%H:%M:%S" if span < 600 else "%H:%M" if span < 86400 else "%m-%d %H:%M"
    try:
        return time.strftime(form if span < 30 * 86400 else "%Y-%m-%d", time.localtime(value))
    except (OverflowError, ValueError, OSError):  # no clock has shown it
        return "?"


@dataclass(frozen=True, slots=True)
class Line:
    """The points of one run in a panel."""

    label: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """The lines of one field.

    Attributes
    ----------
    title : str
        The name of the field.
    lines : list of Line
        A line for each run.
    resumes, checkpoints : list of float
        Where runs were resumed, and where checkpoints are stored.
    x, y : Scale
        The axes.
    notes : list of str
        What is not to be seen, such as values that are not finite.
    """

    title: str
    lines: list[Line]
    resumes: list[float]
    checkpoints: list[float]
    x: Scale
    y: Scale
    notes: list[str]


def make_panels(
    runs: Sequence[tuple[Series, Sequence[Mark]]], *, x: str = "step", log: bool = False
) -> list[Panel]:
    """Return a panel for each field of some runs, in the order in which they appear.

    Parameters
    ----------
    runs : sequence of (Series, sequence of Mark)
        The numbers of each run, and what has happened to it.
    x : {"step", "time"}
        What is at the horizontal axis.
    log : bool
        Whether the vertical axis is logarithmic.
    """
    labels = dict.fromkeys(label for series, _ in runs for label in series.fields)
    found = (_panel(label, runs, x, log) for label in labels)
    return [panel for panel in found if panel is not None]


def _panel(
    label: str, runs: Sequence[tuple[Series, Sequence[Mark]]], x: str, log: bool
) -> Panel | None:
    lines: list[Line] = []
    notes: list[str] = []
    marks: list[Mark] = []
    for series, events in runs:
        course = series.fields.get(label)
        if course is None:
            continue
        places = [(_x(one, x), one.value) for one in course.points]
        points = [(at, value) for at, value in places if at is not None]
        if len(points) < len(places):
            notes.append(f"{series.name}: {len(places) - len(points):,} points without a time")
        if log and any(value <= 0 for _, value in points):
            points = [(at, value) for at, value in points if value > 0]
            notes.append(f"{series.name}: values that are not positive are left out")
        if course.odd:
            notes.append(
                f"{series.name}: {course.odd:,} not finite, the first at step {course.odd_since:,}"
            )
        if points:
            lines.append(Line(series.name, points))
            marks += events
    if not lines:
        return None
    across = _ends(at for line in lines for at, _ in line.points)
    kind = "log" if log else "number"
    return Panel(
        title=label or "value",
        lines=lines,
        resumes=_places(marks, x, across, lambda one: one in _RESUMED),
        checkpoints=_places(marks, x, across, lambda one: one == "checkpoint"),
        x=Scale(*across, x),
        y=Scale(*_ends(value for line in lines for _, value in line.points), kind),
        notes=notes,
    )


def _x(one: Point | Mark, x: str) -> float | None:
    return one.time if x == "time" else float(one.step)


def _ends(values: Iterable[float]) -> tuple[float, float]:
    found = [*values]
    return min(found), max(found)


def _places(
    marks: Iterable[Mark], x: str, ends: tuple[float, float], is_meant: Callable[[str], bool]
) -> list[float]:
    places = {_x(mark, x) for mark in marks if is_meant(mark.kind)}
    return sorted(at for at in places if at is not None and ends[0] <= at <= ends[1])
