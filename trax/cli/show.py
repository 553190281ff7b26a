"""``trax show``: what is known of one run."""

from __future__ import annotations

import os
import time

import click
from rich.cells import cell_len

from trax.cli.canvas import spark
from trax.cli.common import common, is_json, matching, names, survey
from trax.cli.ls import STYLES, UNREAD
from trax.cli.panels import number
from trax.cli.screen import cut, styled, width, write, write_error, write_json
from trax.display import count
from trax.errors import one_line
from trax.survey.details import Details, details
from trax.survey.series import not_kept
from trax.survey.texts import ago, duration, moment, rate, size

__all__ = ["show"]

_LABEL = 9  # columns
_BARS = 20
_LINES = 4  # of the history, on a terminal
_PLACES = {"resumed": "at step", "forked": "at step", "rewound": "to step", "repaired": "to step"}


@click.command(
    epilog="""\b
Examples:
  trax show fit              one run
  trax show 'fit-*' --json   several, for programs
  trax show fit --verify     read every byte of it, however large it is
  trax show s3://bucket/sweep fit   its replica

The exit status is 1 if a run is damaged, or none has the name.
"""
)
@names(required=True, of_replicas=True)
@click.option(
    "--verify/--no-verify",
    default=None,
    help="Read every byte; by default if the run has less than 100 MB.",
)
@common
@click.pass_context
def show(
    context: click.Context, /, names: tuple[str, ...], verify: bool | None, **_: object
) -> int:
    """Show a run: arguments, history, error, and what a restart does."""
    store = survey(context)
    found = [details(store, name, verify=verify) for name in matching(store, names)]
    shown = [one for one in found if one is not None]
    if is_json(context):
        write_json([one.as_dict() for one in shown])
    else:
        now = time.time()
        for number, one in enumerate(shown):
            write([""] * bool(number) + _lines(one, now))
    if not shown:
        write_error("no files of a run are there")
    return int(not shown or any(one.info.state in UNREAD or one.good is False for one in shown))


def _lines(one: Details, now: float) -> list[str]:
    info = one.info
    name, state = one_line(info.name), styled(info.state, STYLES.get(info.state, ""))
    standing, process = _standing(one, now), f"host {info.host}, pid {info.pid}"
    is_told = info.host is None  # or in the first line, if there is room for it
    if not is_told and _fits(f"{name}  {info.state}{standing} ({process})"):
        standing, is_told = f"{standing} ({process})", True
    lines = [f"{styled(name, 'bold')}  {state}{standing}"]
    if info.problem is not None:
        lines.append(f"  {info.problem}")
    if info.error is not None:
        lines.append(f"  {info.error}")
    lines += _labelled("process", process * (not is_told))
    arguments = " ".join(f"{key}={text}" for key, text in one.arguments.items())
    lines += _labelled("args", arguments)
    if one.code_edited is not None:
        edited = "edited since" if one.code_edited else "not edited since"
        lines += _labelled("code", f"{_file_of(one)}: {edited}")
    lines += _wrapped("history", _history(one, now))
    lines += _labelled("values", _values(one))
    lines += _labelled("restore", _restore(one))
    lines += _labelled("replica", _replica(one))
    verified = {True: ", verified", False: ", damaged (trax verify)", None: ""}
    prunable = f", {size(info.prunable)} prunable" if info.prunable else ""
    return [*lines, *_labelled("disk", f"{size(info.size)}{verified[one.good]}{prunable}")]


def _file_of(one: Details) -> str:
    """Return the name of the file of the function, which alone is looked at."""
    opened = [event for event in one.events if event["event"] in ("began", "resumed")]
    return os.path.basename(str(opened[-1]["file"]))


def _labelled(label: str, text: str) -> list[str]:
    """Return a line with a label; on a terminal it is cut to the width of that."""
    if not text:
        return []
    room, text = width(), one_line(text)
    if room is not None:
        text = cut(text, room - _LABEL - 2)
    return [f"  {styled(label.ljust(_LABEL), 'dim')}{text}"]


def _fits(text: str) -> bool:
    """Return whether there is room for a line on the terminal, if there is one."""
    room = width()
    return room is None or cell_len(text) <= room


def _wrapped(label: str, items: list[str]) -> list[str]:
    """Return lines with a label and items; on a terminal a few of its width, with the newest."""
    *before, last = [*map(one_line, items)] or [""]
    pieces, room = [f"{item}," for item in before] + [last], width()
    lines = _wrap(pieces, room)
    first, newest = pieces[0], pieces[1:]
    while len(lines) > _LINES and len(newest) > 1:
        newest = newest[1:]
        lines = _wrap([first, "…", *newest], room)
    labels = [label] + [""] * (len(lines) - 1)
    return [text for pair in zip(labels, lines, strict=True) for text in _labelled(*pair)]


def _wrap(pieces: list[str], room: int | None) -> list[str]:
    """Return lines of words, none longer than the terminal is wide unless a single word is."""
    lines: list[str] = []
    for piece in pieces:
        longer = f"{lines[-1]} {piece}" if lines else ""
        if lines and (room is None or cell_len(longer) <= room - _LABEL - 2):
            lines[-1] = longer
        else:
            lines.append(piece)
    return lines


def _standing(one: Details, now: float) -> str:
    """Return how far a run is, and since when."""
    info = one.info
    if info.step is None:
        return ""
    text = f" at step {info.step:,}"
    if info.total is not None:
        text += f" of {info.total:,}"
    if info.state == "running":
        text += f", {rate(info.rate)}" if info.rate else ""
        text += f", {duration(info.eta)} to go" if info.eta is not None else ""
    if info.reason is not None:
        text += f" by {info.reason}" if info.reason.startswith("SIG") else f", {info.reason}"
    if info.last is not None and not info.is_open:
        seconds = info.seconds or 0.0
        took = f", took {duration(seconds)}" if seconds >= 1 else ""
        text += f"{took}, {ago(info.last, now)}"
    return one_line(text)


def _history(one: Details, now: float) -> list[str]:
    """Return what has happened to a run, oldest first, and its state at last."""
    shown, day = [], ""
    for event in one.events:
        when = moment(event["time"], now)
        date, _, clock = when.rpartition(" ")
        when, day = (clock if date == day else when), date
        word = event.get("reason") if event["event"] == "forked" else event["event"]
        at = _PLACES.get(event["event"])
        shown.append(f"{when} {word} {at} {event['step']:,}" if at else f"{when} {word}")
    return [*shown, one.info.state] if shown else []


def _values(one: Details) -> str:
    """Return the course of the first numbers in the increments."""
    if one.series is None or not one.series.fields:
        return ""
    label, course = next(iter(one.series.fields.items()))
    if course.first is None or course.last is None:
        return ""
    bars = spark([point.value for point in course.points], _BARS)
    name = f"{label} " if label else ""
    note = not_kept(one.series.first)
    others = len(one.series.fields) + one.series.omitted - 1
    more = f"  and {count(others, 'field')} more" if others else ""
    values = f"{name}from {number(course.first.value)} {bars} to {number(course.last.value)}{more}"
    return f"{values}; {note}" if note else values


def _restore(one: Details) -> str:
    """Return what a restart begins with, and what it does before it goes on."""
    step = one.info.step
    if one.checkpoint is None or step is None:
        return ""
    if one.info.state == "done":
        return "the stored result; nothing runs again"
    if one.restart is not None:
        return f"step {one.restart:,}{_again(max(0, step - one.restart), one.info.rate)}"
    left = step - one.checkpoint
    replayed = f", {count(left, 'increment')} replayed" if left else ""
    return f"checkpoint {one.checkpoint:,}{replayed}"


def _replica(one: Details) -> str:
    """Return where a run is copied to, and how far that is behind."""
    info = one.info
    lag = "" if info.lag is None else f", {duration(info.lag)} behind"
    return f"{info.replica}{lag}" if info.replica else ""


def _again(steps: int, speed: float | None) -> str:
    """Return how many steps run again, and for how long at a speed."""
    if not steps:
        return ", no step runs again"
    seconds = steps / speed if speed else 0.0
    time = f", some {duration(seconds)}" if seconds >= 1 else ""
    return f", {count(steps, 'step')} run{'s' * (steps == 1)} again{time}"
