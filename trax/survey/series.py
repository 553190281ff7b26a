"""The course of the numbers in a run's increments, in few points, however many steps there are.

Strategy: the steps of a field fall into buckets of one width, of which the least and the greatest
number are kept. If there are too many buckets, neighbours are merged and the width doubles. So a
single outlier among millions of steps is still seen, and memory stays flat.
"""

from __future__ import annotations

import math
import struct
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, NamedTuple

from trax.errors import CodecError, NotFoundError, TraxError
from trax.storage.checkpoint import read_meta
from trax.storage.codec import Encoded
from trax.storage.filenames import FileName
from trax.storage.filesystem import LocalDirectory
from trax.storage.history_reader import Past, read_history
from trax.storage.plain_data import decode_plain, numbers
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.stand_ins import Named
from trax.storage.store import Store
from trax.survey.runs import Survey

__all__ = [
    "Course",
    "Mark",
    "Point",
    "Series",
    "marks_of",
    "plain",
    "read_series",
    "rows",
    "stored",
]

_BATCH = 8192  # increments that are decoded together
_FIELDS = 100  # that are kept of a run, unless some are asked for
_ALONE = struct.Struct(">12xdx")  # a pickle of a float, which most loops of numbers log
_OPENING, _STOP = b"\x80\x05\x95\x0a" + bytes(7) + b"G", b"."
_MARKS = 1000  # checkpoints
_COUNTED = 1000  # fields that are left out
_TRIES = 3


_Columns = dict[str, tuple[Sequence[int], list[float]]]


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


class Row(NamedTuple):
    """The numbers in one increment, by the names of their fields."""

    step: int
    time: float | None
    values: dict[str, float]


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
        self.first = self.first or Point(steps[0], times[0], values[0])
        self.last = Point(steps[-1], times[-1], values[-1])
        begin = 0
        while begin < len(values):
            bucket = steps[begin] // self._width
            end = _end(steps, begin, (bucket + 1) * self._width)
            part = values[begin:end]
            ends = [begin + part.index(pick(part)) for pick in (min, max)]
            low, high = (Point(steps[at], times[at], values[at]) for at in ends)
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
            for batch in _batches(stored(store, name, start)):
                reading.add(*batch)
        except NotFoundError as error:  # steps may have been removed before they were read
            reading.series.problem = _first_line(error)
            if left and start is None and reading.series.last is not None:
                continue
        except (TraxError, OSError) as error:
            reading.series.problem = _first_line(error)
        break
    return reading.series


class _Reading:
    """Adds batches of numbers to a series."""

    def __init__(self, series: Series, patterns: Sequence[str], most: int) -> None:
        self.series = series
        self._patterns = patterns
        self._most = most
        self._others: set[str] = set()

    def add(self, steps: Sequence[int], times: Sequence[float | None], columns: _Columns) -> None:
        """Add the numbers of some steps, by their fields."""
        series = self.series
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
                if not any(label == one or fnmatchcase(label, one) for one in self._patterns):
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


def _batches(
    pasts: Iterator[Past],
) -> Iterator[tuple[Sequence[int], Sequence[float | None], _Columns]]:
    """Yield steps, times, and of each field the places among them with its values there.

    What can be read before an error is yielded before it is raised.
    """
    failure: Exception | None = None
    while failure is None:
        batch: list[Past] = []
        try:
            batch.extend(islice(pasts, _BATCH))
        except (TraxError, OSError) as error:
            failure = error
        if not batch:
            break
        steps, times, increments = zip(*batch, strict=True)
        yield steps, times, _columns(increments)
    if failure is not None:
        raise failure


def _columns(increments: Sequence[bytes | Encoded]) -> _Columns:
    if (alone := _floats(increments)) is not None:
        return {"": (range(len(alone)), alone)}
    columns: dict[str, tuple[list[int], list[float]]] = {}
    for place, increment in enumerate(increments):
        for label, value in numbers(plain(increment)).items():
            places, values = columns.setdefault(label, ([], []))
            places.append(place)
            values.append(value)
    return {**columns}


def _floats(increments: Sequence[bytes | Encoded]) -> list[float] | None:
    """Return the floats in pickles that contain nothing else, which are read together; or None."""
    pickles = increments
    if set(map(type, increments)) != {bytes}:
        pickles = [one if isinstance(one, bytes) else _pickle(one) for one in increments]
    if set(map(len, pickles)) != {_ALONE.size}:
        return None
    data = b"".join(pickles)  # type: ignore[arg-type]
    around = enumerate([*_OPENING, *[None] * 8, *_STOP])
    if any(
        byte is not None and data[place :: _ALONE.size].count(byte) < len(pickles)
        for place, byte in around
    ):
        return None
    return [value for (value,) in _ALONE.iter_unpack(data)]


def _pickle(increment: Encoded) -> bytes:
    """Return the pickle of an increment; nothing unless that is all of it."""
    return b"" if increment.buffers else bytes(increment.payload)


def plain(increment: bytes | Encoded) -> Any:
    """Return an increment as plain data, executing nothing; a stand-in if it is no pickle."""
    try:
        if isinstance(increment, bytes):
            return decode_plain(increment)
        return decode_plain(increment.payload, increment.buffers)
    except CodecError:
        return Named("(not readable)")


def rows(pasts: Iterable[Past]) -> Iterator[Row]:
    """Yield the numbers in increments, one by one."""
    for past in pasts:
        yield Row(past.step, past.time, numbers(plain(past.increment)))


def stored(
    store: Survey, name: str, start: int | None = None, stop: int | None = None
) -> Iterator[Past]:
    """Return an iterator over the stored increments, in bytes; see `read_history`.

    Raises
    ------
    NotFoundError
        The run logs no increments.
    """
    opened = Store(store.path)
    if opened.peek(name).get("replay_log") == "none":
        raise NotFoundError(f"no increments of {name!r} are stored, since it has replay_log=None.")
    return read_history(opened, name, start, stop)


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
    path = Store(store.path).run_path(name)
    try:
        directory = LocalDirectory(path, store.key)
        files = [file for file in map(FileName.parse, directory.list()) if file]
    except (OSError, TraxError):
        files = []
    checkpoints = sorted(file for file in files if file.kind == "checkpoint")
    for file in checkpoints[:: max(1, len(checkpoints) // _MARKS)]:
        try:
            meta = read_meta(directory, file)
        except (OSError, Damage, Forged, NewerVersion):
            continue
        if isinstance(step := meta.get("step"), int):
            found.append(Mark("checkpoint", step, meta.get("written")))
    return sorted(found, key=lambda mark: mark.step)
