"""What is known of a run without reading its state, as a value, as texts, and as HTML."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass, fields
from typing import Any

from trax._public import public
from trax.display import as_html, as_html_table, count
from trax.storage.journal import RUNNING
from trax.survey.texts import ago, duration, rate, size

__all__ = ["HEAD", "PAUSED", "SILENT", "Failure", "RunInfo", "Runs", "texts"]

# Told by the survey alone: a process cannot say so itself.
PAUSED, SILENT = "paused", "silent"
_BEHIND = 10.0  # seconds of lag that are shown of a run that has ended
HEAD = ("RUN", "STATE", "STEP", "RATE", "ETA", "LAST", "SIZE")


@public
@dataclass(frozen=True, slots=True)
class Failure:
    """The exception that ended a run.

    Attributes
    ----------
    type, message : str
        The name of its class, and the first line of its message.
    file : str or None
        The file of the user's code that raised it.
    line : int or None
        The line there.
    """

    type: str
    message: str
    file: str | None
    line: int | None

    def __str__(self) -> str:
        text = f"{self.type}: {self.message}".removesuffix(": ")
        return f"{text}  {os.path.basename(self.file)}:{self.line}" if self.file else text


@public
@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known of a run without reading its state.

    Attributes
    ----------
    name : str
        The run's name.
    path : str
        The directory of its files.
    state : str
        "running", or "paused" if its process was suspended, as by Ctrl-Z, on this machine;
        "stopped" by the user, a signal or a time limit; "failed" with an exception, or, of a map,
        with items that failed; "killed", if its process ended without a word; "done"; or, if it
        cannot be read, "damaged", "untrusted", as others can write to its files, or "signed" with a
        key that is not there.
        Of a replica, "running" if something was copied in the last minute, and then "silent":
        nobody knows there if it is idle, or its machine is gone.
    step : int or None
        The step that it has come to.
    total : int or None
        The number of its steps, if the loop has told it.
    rate : float or None
        Steps a second, of late.
    eta : float or None
        The seconds until it is done, if it is running and the total is known.
    began, last : float or None
        The times of its begin and of its last step, in seconds since 1970.
    seconds : float or None
        The seconds that its processes have spent on it.
    size, prunable : int
        The bytes of its files, and of those among them that no recovery needs.
    resumes : int or None
        How often it was resumed.
    host : str or None
        The machine of the last process.
    pid : int or None
        Its process ID.
    reason : str or None
        What has stopped it.
    error : Failure or None
        The exception with which it failed, or that has refused the last call.
    problem : str or None
        The reason for which it cannot be read.
    replica : str or None
        The URL of the store to which it is copied as it goes on.
    lag : float or None
        The seconds since all that was stored then is in the replica; 0 if it has ended, and all of
        it is there.
    """

    name: str
    path: str
    state: str
    step: int | None = None
    total: int | None = None
    rate: float | None = None
    eta: float | None = None
    began: float | None = None
    last: float | None = None
    seconds: float | None = None
    size: int = 0
    prunable: int = 0
    resumes: int | None = None
    host: str | None = None
    pid: int | None = None
    reason: str | None = None
    error: Failure | None = None
    problem: str | None = None
    replica: str | None = None
    lag: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the same as plain values."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return found | {"error": self.error and asdict(self.error)}

    @property
    def is_open(self) -> bool:
        """Whether a process has the run open."""
        return self.state in (RUNNING, PAUSED)

    def _repr_html_(self) -> str:
        _, *facts = zip(HEAD, texts(self, time.time()), strict=True)
        shown = {label.lower(): text for label, text in facts if text != "-"}
        if self.error is not None:
            shown["error"] = str(self.error)
        return as_html(self.name, shown)


class Runs(list[RunInfo]):
    """The runs of a store, in a list."""

    def _repr_html_(self) -> str:
        now = time.time()
        return as_html_table(count(len(self), "run"), HEAD, [texts(one, now) for one in self])


def texts(info: RunInfo, now: float) -> list[str]:
    """Return what a table shows of a run, in the order of `HEAD`."""
    is_running = info.state == RUNNING
    return [
        info.name,
        info.state,
        _step(info),
        rate(info.rate) if is_running else "-",
        duration(info.eta) if info.eta is not None else "-",
        ago(info.last, now, is_running=is_running),
        size(info.size),
    ]


def _step(info: RunInfo) -> str:
    """Return the step, how much of all that is, and why it is no more."""
    if info.problem is not None:
        return info.problem
    step = f"{info.step:,}"
    if info.total is not None and info.state != "done":
        step += f"/{info.total:,}"
        if info.is_open and info.total:
            step += f" {100 * (info.step or 0) // info.total}%"
    why = info.error.type if info.error else info.reason
    step = f"{step}  {why}" if why and why != "closed" else step
    lags = info.lag is not None and (info.is_open or info.lag >= _BEHIND)
    return f"{step}  lag {duration(info.lag or 0.0)}" if lags else step
