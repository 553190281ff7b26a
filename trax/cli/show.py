"""``trax show``: what is known of one run."""

from __future__ import annotations

import os
import time

import click

from trax.cli.canvas import spark
from trax.cli.common import common, is_json, matching, names, survey
from trax.cli.ls import STYLES, UNREAD
from trax.cli.panels import number
from trax.cli.screen import cut, styled, width, write, write_json
from trax.cli.texts import ago, duration, moment, rate, size
from trax.display import count
from trax.errors import one_line
from trax.survey.details import Details, details

__all__ = ["show"]

_LABEL = 9  # columns
_BARS = 20


@click.command(
    epilog="""\b
Examples:
  trax show fit              one run
  trax show 'fit-*' --json   several, for programs
  trax show fit --verify     read every byte of it, however large it is

The exit status is 1 if a run is damaged, or none has the name.
"""
)
@names(required=True)
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
    """Show a run: its arguments, its history, what went wrong, and what a restart begins with."""
    store = survey(context)
    found = [details(store, name, verify=verify) for name in matching(store, names)]
    shown = [one for one in found if one is not None]
    if is_json(context):
        write_json([one.as_dict() for one in shown])
    else:
        now = time.time()
        for number, one in enumerate(shown):
            write([""] * bool(number) + _lines(one, now))
    return int(not shown or any(one.info.state in UNREAD or one.good is False for one in shown))


def _lines(one: Details, now: float) -> list[str]:
    info = one.info
    name, state = one_line(info.name), styled(info.state, STYLES.get(info.state, ""))
    lines = [f"{styled(name, 'bold')}  {state}{_standing(one, now)}"]
    if info.problem is not None:
        lines.append(f"  {info.problem}")
    if info.error is not None:
        where = f"{os.path.basename(info.error.file or '')}:{info.error.line}"
        what = f"{info.error.type}: {info.error.message}".removesuffix(": ")
        lines.append(f"  {what}  {styled(where, 'cyan')}" if info.error.file else f"  {what}")
    arguments = " ".join(f"{key}={text}" for key, text in one.arguments.items())
    lines += _labelled("args", arguments)
    if one.code_edited is not None:
        lines += _labelled("code", "edited since" if one.code_edited else "not edited since")
    lines += _labelled("history", ", ".join(_history(one, now)))
    lines += _labelled("values", _values(one))
    lines += _labelled("restore", _restore(one))
    verified = {True: ", verified", False: ", damaged (trax verify)", None: ""}
    prunable = f", {size(info.prunable)} prunable" if info.prunable else ""
    return [*lines, *_labelled("disk", f"{size(info.size)}{verified[one.good]}{prunable}")]


def _labelled(label: str, text: str) -> list[str]:
    """Return a line with a label; on a terminal it is cut to the width of that."""
    if not text:
        return []
    room, text = width(), one_line(text)
    if room is not None:
        text = cut(text, room - _LABEL - 2)
    return [f"  {styled(label.ljust(_LABEL), 'dim')}{text}"]


def _standing(one: Details, now: float) -> str:
    """Return how far a run is, since when, and where."""
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
    if info.last is not None and info.state != "running":
        text += f", {ago(info.last, now)}"
    at = f"host {info.host}, pid {info.pid}" if info.host else ""
    return one_line(f"{text} ({at})" if at else text)


def _history(one: Details, now: float) -> list[str]:
    """Return what has happened to a run, oldest first, and its state at last."""
    shown, day = [], ""
    for event in one.events:
        when = moment(event["time"], now)
        date, _, clock = when.rpartition(" ")
        when, day = (clock if date == day else when), date
        word = {"began": "began", "resumed": "resumed"}.get(event["event"], event["event"])
        at = f" at {event['step']:,}" if event["event"] == "resumed" else ""
        shown.append(f"{word}{at} {when}")
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
    others = len(one.series.fields) + one.series.omitted - 1
    more = f"  and {count(others, 'field')} more (trax plot)" if others else ""
    return f"{name}{number(course.first.value)} {bars} {number(course.last.value)}{more}"


def _restore(one: Details) -> str:
    if one.checkpoint is None or one.info.step is None:
        return ""
    replayed = one.info.step - one.checkpoint
    again = f", {replayed:,} increments after it" if replayed > 1 else ", 1 increment after it"
    return f"checkpoint {one.checkpoint:,}{again * bool(replayed)}"
