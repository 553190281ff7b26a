"""The course of the numbers in a run's increments, in few points, however many steps there are.

Strategy: the steps of a field fall into buckets of one width, of which the least and the greatest
number are kept. If there are too many buckets, neighbours are merged and the width doubles. So a
single outlier among millions of steps is still seen, and memory stays flat.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import chain
from typing import NamedTuple

from trax.errors import NotFoundError, TraxError
from trax.storage.checkpoint import read_meta
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory
from trax.storage.history_reader import Batch, Past, read_batches
from trax.storage.records import Damage, Forged, NewerVersion
from trax.survey.columns import Column, Columns
from trax.survey.runs import Survey

__all__ = [
    "Course",
    "Mark",
    "Point",
    "Series",
    "is_wanted",
    "marks_of",
    "newest",
    "none_stored",
    "not_kept",
    "numbers_of",
    "read_series",
    "stored",
]

_FIELDS = 100  # that are kept of a run, unless some are asked for
_MARKS = 1000  # checkpoints
_COUNTED = 1000  # fields that are left out
_TRIES = 3
_FIRST = 2  # the first step of which there is an increment in the log of a plain loop


class Point(NamedTuple):
    """A number at a step; the time is None if none was noted."""

    step: int
    time: float | None
    value: float


class Mark(NamedTuple):
    """What happened to a run at a step: an event of its journal, or a ``"checkpoint"``."""

    kind: str
    step: int
    time: float | None


class Course:
    """The course of one field.

    Parameters
    ----------
    most : int
        The number of points, at most.

    Attributes
    ----------
    first, last : Point or None
        The first and the last finite number.
    odd : int
        How many are not finite.
    odd_since : int or None
        The first step at which one is not.
    """

    def __init__(self, most: int) -> None:
        self.first: Point | None = None
        self.last: Point | None = None
        self.odd = 0
        self.odd_since: int | None = None
        self._most = max(1, most // 2)
        self._width = 1
        self._buckets: dict[int, tuple[Point, Point]] = {}

    @property
    def points(self) -> list[Point]:
        """The least and the greatest number of each bucket, and both ends, in order."""
        found = {point for bucket in self._buckets.values() for point in bucket}
        found |= {point for point in (self.first, self.last) if point is not None}
        return sorted(found, key=_step)

    def extend(
        self, steps: Sequence[int], times: Sequence[float | None], values: Sequence[float]
    ) -> None:
        """Add numbers, whose steps increase."""
        if not all(map(math.isfinite, values)):
            steps, times, values = self._finite(steps, times, values)
        if not values:
            return
        self.first = self.first or Point(steps[0], times[0], float(values[0]))
        self.last = Point(steps[-1], times[-1], float(values[-1]))
        begin = 0
        while begin < len(values):
            bucket = steps[begin] // self._width
            end = _end(steps, begin, (bucket + 1) * self._width)
            part = values[begin:end]
            ends = [begin + part.index(pick(part)) for pick in (min, max)]
            low, high = (Point(steps[at], times[at], float(values[at])) for at in ends)
            self._add(bucket, low, high)
            begin = end

    def _add(self, bucket: int, low: Point, high: Point) -> None:
        known = self._buckets.get(bucket)
        self._buckets[bucket] = _merged(known, (low, high)) if known else (low, high)
        while len(self._buckets) > self._most:
            finer, self._buckets = self._buckets, {}
            self._width *= 2
            for number, pair in finer.items():
                known = self._buckets.get(number // 2)
                self._buckets[number // 2] = _merged(known, pair) if known else pair

    def _finite(
        self, steps: Sequence[int], times: Sequence[float | None], values: Sequence[float]
    ) -> tuple[list[int], list[float | None], list[float]]:
        """Return what is finite, and count the rest."""
        kept = [at for at, value in enumerate(values) if math.isfinite(value)]
        self.odd += len(values) - len(kept)
        if self.odd_since is None:
            self.odd_since = next(
                step for step, value in zip(steps, values, strict=True) if not math.isfinite(value)
            )
        return [steps[at] for at in kept], [times[at] for at in kept], [values[at] for at in kept]


def _step(point: Point) -> int:
    return point.step


def _end(steps: Sequence[int], begin: int, limit: int) -> int:
    """Return the index of the first step from `limit` on; most often no step is left out."""
    end = begin + limit - steps[begin]
    if end >= len(steps):
        end = len(steps)
    while steps[end - 1] >= limit:
        end -= 1
    return end


def _merged(one: tuple[Point, Point], two: tuple[Point, Point]) -> tuple[Point, Point]:
    low = two[0] if two[0].value < one[0].value else one[0]
    return low, two[1] if two[1].value > one[1].value else one[1]


@dataclass(slots=True)
class Series:
    """The numbers of a run.

    Attributes
    ----------
    name : str
        The run's name.
    fields : dict of str to Course
        The courses of the fields, by their names.
    first, last : int or None
        The first and the last step whose increment was read.
    omitted : int
        How many fields there are besides.
    problem : str or None
        The reason why the rest could not be read.
    """

    name: str
    fields: dict[str, Course] = field(default_factory=dict)
    first: int | None = None
    last: int | None = None
    omitted: int = 0
    problem: str | None = None


def read_series(
    store: Survey,
    name: str,
    *,
    fields: Sequence[str] = (),
    most: int = 2000,
    start: int | None = None,
) -> Series:
    """Read the numbers of a run, in few points of each field.

    Parameters
    ----------
    store : Survey
        Its store.
    name : str
        Its name.
    fields : sequence of str
        The names of the fields to read, or patterns of them; by default all, up to a hundred.
    most : int
        The number of points of each field, at most.
    start : int, optional
        The first step; by default the first that is stored.
    """
    for left in reversed(range(_TRIES)):
        reading = _Reading(Series(name), fields, most)
        try:
            for batch, columns in numbers_of(store, name, start):
                reading.add(batch, columns)
        except NotFoundError as error:  # steps may have been removed before they were read
            reading.series.problem = _first_line(error)
            if left and start is None and reading.series.last is not None:
                continue
        except (TraxError, OSError) as error:
            reading.series.problem = _first_line(error)
        break
    return reading.series


def is_wanted(label: str, patterns: Sequence[str]) -> bool:
    """Return whether a field is among those that names or patterns mean, or no pattern is given."""
    names = label, label.strip("|")  # the latter of a norm
    return not patterns or any(one in names or fnmatchcase(label, one) for one in patterns)


def not_kept(first: int | None) -> str:
    """Return that the increments before a step are not kept; an empty text if they are.

    The first increment of a plain loop is part of its first checkpoint, and none is missed.
    """
    if first is None or first <= _FIRST:
        return ""
    return f"steps 1 to {first - 1:,} are not kept (keep='all' keeps all)"


def none_stored(store: Survey, name: str) -> str:
    """Return why there are no increments of a run."""
    info = store.run(name)
    if info is not None and info.step == 0:
        return "it has no step"
    return "no increments are stored; keep= says how many are kept"


class _Reading:
    """Adds batches of numbers to a series."""

    def __init__(self, series: Series, patterns: Sequence[str], most: int) -> None:
        self.series = series
        self._patterns = patterns
        self._most = most
        self._others: set[str] = set()

    def add(self, batch: Batch, columns: Mapping[str, Column]) -> None:
        """Add the numbers of some steps, by their fields."""
        series, steps, times = self.series, batch.steps, batch.times
        series.first = steps[0] if series.first is None else series.first
        series.last = steps[-1]
        for label, (places, values) in columns.items():
            course = self._course(label)
            if course is None:
                continue
            if len(places) == len(steps):
                course.extend(steps, times, values)
            else:
                course.extend([steps[n] for n in places], [times[n] for n in places], values)

    def _course(self, label: str) -> Course | None:
        """Return the course of a field; None if it is not wanted."""
        fields = self.series.fields
        if label not in fields:
            if self._patterns:
                if not is_wanted(label, self._patterns):
                    return None
            elif len(fields) >= _FIELDS:
                if len(self._others) < _COUNTED:
                    self._others.add(label)
                self.series.omitted = len(self._others)
                return None
            fields[label] = Course(self._most)
        return fields[label]


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def numbers_of(
    store: Survey, name: str, start: int | None = None, stop: int | None = None
) -> Iterator[tuple[Batch, dict[str, Column]]]:
    """Yield increments, some at a time, with the numbers in them; see `read_batches`."""
    columns = Columns()
    for batch in _batches(store, name, start, stop):
        yield batch, columns.read(batch.increments)


def stored(
    store: Survey, name: str, start: int | None = None, stop: int | None = None
) -> Iterator[Past]:
    """Return an iterator over the stored increments, in bytes; see `read_batches`.

    Raises
    ------
    NotFoundError
        The run logs no increments.
    """
    batches = _batches(store, name, start, stop)
    return chain.from_iterable(batch.pasts() for batch in batches)


def _batches(store: Survey, name: str, start: int | None, stop: int | None) -> Iterator[Batch]:
    opened = store.opened
    if opened.peek(name).get("replay_log") == "none":
        raise NotFoundError(f"no increments of {name!r} are stored, since it has replay_log=None.")
    return _timed(store, name, read_batches(opened, name, start, stop))


def _timed(store: Survey, name: str, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches in which steps of the run's first moment have the time at which it began."""
    is_early = False
    for batch in batches:
        is_early = batch.first <= _FIRST or (is_early and batch.times[0] is None)
        if is_early and batch.times[0] is None:
            yield batch._replace(times=[_began(store, name)] * len(batch.times))
        else:
            yield batch


def _began(store: Survey, name: str) -> float | None:
    """Return the time at which the run's first step began, if its journal has it."""
    opened = (one for one in store.events(name) if one["event"] in ("began", "resumed"))
    times = [one["time"] for one in opened if one["step"] == 0]
    return times[-1] if times else None


def newest(store: Survey, name: str, count: int) -> deque[Past]:
    """Return the newest increments that are stored, at most so many."""
    info = store.run(name)
    step = info.step if info is not None and info.step is not None else 0
    try:
        return deque(stored(store, name, max(1, step - count + 1)), count)
    except NotFoundError:  # the older ones among them are not stored any more
        return deque(stored(store, name), count)


def marks_of(store: Survey, name: str) -> list[Mark]:
    """Return what happened to a run, and the checkpoints that are stored of it, by their steps."""
    found = [Mark(event["event"], event["step"], event["time"]) for event in store.events(name)]
    with suppress(OSError, TraxError), store.opened.reading(name) as directory:
        found += _checkpoints(directory)
    return sorted(found, key=lambda mark: mark.step)


def _checkpoints(directory: Directory) -> Iterator[Mark]:
    files = filter(None, map(FileName.parse, directory.list()))
    checkpoints = sorted(file for file in files if file.kind == "checkpoint")
    for file in checkpoints[:: max(1, len(checkpoints) // _MARKS)]:
        try:
            meta = read_meta(directory, file)
        except (OSError, Damage, Forged, NewerVersion):
            continue
        if isinstance(step := meta.get("step"), int):
            yield Mark("checkpoint", step, meta.get("written"))
