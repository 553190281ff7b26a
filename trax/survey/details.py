"""All that is known of one run, for `trax show`: its call, its history, and if it is whole."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

from trax.errors import TraxError, one_line
from trax.storage.context import FRAME
from trax.storage.filenames import FileName
from trax.storage.records import Damage, Forged, NewerVersion
from trax.survey.run_info import RunInfo
from trax.survey.runs import Survey
from trax.survey.series import Point, Series, read_series
from trax.survey.steps import newest_meta

__all__ = ["Details", "details"]

_SOON = 100_000_000  # bytes; a smaller run is read at once
_POINTS = 100


@dataclass(frozen=True, slots=True)
class Details:
    """All that is known of one run.

    Attributes
    ----------
    info : RunInfo
        What is known of it in short.
    arguments : dict of str to str
        The arguments of the call, as texts.
    code_edited : bool or None
        Whether the file of its function was changed since a process made steps of it; None if the
        file is not at hand.
    events : tuple of dict
        The events in its journal.
    checkpoint : int or None
        The step of the newest checkpoint.
    restart : int or None
        The step from which the steps after it run again, of a loop without a declared state: that
        of its newest stored variables; None for other runs, and if it was not read.
    good : bool or None
        Whether every byte of it was read and nothing is damaged; None if it was not read.
    series : Series or None
        The numbers in its increments, in a few points; None if they were not read.
    """

    info: RunInfo
    arguments: dict[str, str]
    code_edited: bool | None
    events: tuple[dict[str, Any], ...]
    checkpoint: int | None
    restart: int | None
    good: bool | None
    series: Series | None

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain values."""
        return self.info.as_dict() | {
            "arguments": self.arguments,
            "code_edited": self.code_edited,
            "events": list(self.events),
            "checkpoint": self.checkpoint,
            "restart": self.restart,
            "good": self.good,
            "values": {
                label: [*map(_value, (course.first, course.last))]
                for label, course in (self.series.fields if self.series else {}).items()
            },
        }


def _value(point: Point | None) -> float | None:
    return None if point is None else point.value


def details(
    store: Survey, name: str, *, verify: bool | None = None, most: int = _POINTS
) -> Details | None:
    """Return all that is known of a run; None if it was removed.

    Parameters
    ----------
    store : Survey
        Its store.
    name : str
        Its name.
    verify : bool, optional
        Whether to read every byte of it; by default if that does not take long.
    most : int
        The number of points of each field, at most.
    """
    info = store.run(name)
    if info is None:
        return None
    events = store.events(name)
    meta = _meta(store, name)
    good = series = restart = None
    if info.size < _SOON:
        restart = _restart(store, name) if meta.get("replay_log") == "frames" else None
        series = read_series(store, name, most=most)
    if verify or (verify is None and info.size < _SOON):
        try:
            good = store.verify(name).good
        except (TraxError, OSError):  # removed meanwhile, or signed with another key
            good = None
    described = {**meta.get("arguments", {}), **meta.get("varying", {})}
    arguments = {one_line(key): one_line(one["text"]) for key, one in described.items()}
    step = meta.get("step")
    return Details(
        info, arguments, _is_edited(events, info.step), tuple(events), step, restart, good, series
    )


def _restart(store: Survey, name: str) -> int | None:
    """Return the step of the newest frame of a plain loop; None if the run cannot be read."""
    try:
        reader = store.opened.recover(name)
        if reader is None:
            return None
        step = reader.step
        for _ in reader.increments():
            if reader.context.pop(FRAME, None) is not None:
                step = reader.step
    except (TraxError, OSError):
        return None
    return step


def _meta(store: Survey, name: str) -> dict[str, Any]:
    """Return the meta record of the newest checkpoint that can be read; else nothing."""
    try:
        with store.opened.reading(name) as directory:
            return newest_meta(directory, filter(None, map(FileName.parse, directory.list())))
    except (OSError, TraxError, Damage, Forged, NewerVersion):
        return {}


def _is_edited(events: list[dict[str, Any]], step: int | None) -> bool | None:
    """Return whether the file of the loop was changed since a process made steps of the run here.

    A process that has come no further than it began, as after an error, is not that one.
    """
    opened = [event for event in events if event["event"] in ("began", "resumed")]
    ends = [*(event.get("step") for event in opened[1:]), step]
    made = [one for one, end in zip(opened, ends, strict=False) if one.get("step") != end]
    newest: dict[str, Any] = next(reversed(made or opened), {})
    path, edited = newest.get("file"), newest.get("edited")
    if not isinstance(path, str) or newest.get("host") != socket.gethostname():
        return None
    try:
        return os.stat(path).st_mtime != edited
    except (OSError, ValueError):
        return None
