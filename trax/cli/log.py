"""``trax log``: the steps of a run, a line for each."""

from __future__ import annotations

import json
import math
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import dropwhile, islice

import click

from trax.cli.common import common, is_json, name, one, survey
from trax.cli.screen import cut, width, write, write_error
from trax.errors import one_line
from trax.plain.data import numbers, shown
from trax.storage.history_reader import Past
from trax.survey.columns import plain
from trax.survey.runs import Survey
from trax.survey.series import newest, none_stored, stored
from trax.survey.texts import clock

__all__ = ["fields_of", "log", "write_steps"]

_LONGEST = 200  # characters of an increment, in a pipe
_TOGETHER = 500  # lines
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


@click.command(
    epilog="""\b
Examples:
  trax log fit               all steps that are stored
  trax log fit -n 20         the newest 20
  trax log fit --since 300   from step 300 on
  trax log fit --since 10min
  trax log fit --since 2026-11-26T18:00
  trax log fit --json | jq -c 'select(.values.loss > 1) | .step'

The exit status is 1 if the run is damaged, or none has the name.
"""
)
@name
@click.option("-n", "most", type=click.IntRange(1), help="The newest steps, at most so many.")
@click.option("--since", metavar="WHEN", help="A step, a time, or how long ago that was.")
@common
@click.pass_context
def log(
    context: click.Context, /, name: str, most: int | None, since: str | None, **_: object
) -> int:
    """Write the steps of a run, with their times and increments.

    Nothing is unpickled: of objects the types and their parts are shown. With --json each step is
    an object in a line of its own.
    """
    store = survey(context)
    name = one(store, name)
    pasts: Iterable[Past]
    if since is None and most is not None:
        pasts = newest(store, name, most)
    else:
        pasts = _since(store, name, since)
        pasts = pasts if most is None else deque(pasts, most)
    if not write_steps(pasts, as_json=is_json(context)):
        why = none_stored(store, name) if since is None else f"no step since {one_line(since)}"
        write_error(f"{name}: {why}")
    return 0


def _since(store: Survey, name: str, since: str | None) -> Iterator[Past]:
    """Yield the steps since a step or a time."""
    if since is None:
        return stored(store, name)
    if since.isdecimal():
        return stored(store, name, int(since))
    begin = _time_of(since)
    info = store.run(name)
    began = info.began if info and info.began is not None else math.inf
    # The first second of a run has no times.
    return dropwhile(
        lambda past: (began if past.time is None else past.time) < begin, stored(store, name)
    )


def _time_of(text: str) -> float:
    if match := _SPAN.fullmatch(text):
        return time.time() - float(match[1]) * _SECONDS[match[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise click.UsageError(
            f"--since {text!r} is no step, no time such as 2026-11-26T18:00, and no 10min"
        ) from None


def write_steps(pasts: Iterable[Past], *, as_json: bool) -> int:
    """Write the steps, each as a line, and return their number.

    What can be read is written before an error is raised.
    """
    lines = (json.dumps(fields_of(past)) for past in pasts) if as_json else map(_line, pasts)
    iterator, count = iter(lines), 0
    while True:
        together: list[str] = []
        try:
            together.extend(islice(iterator, _TOGETHER))
        finally:
            write(together)
        if not together:
            return count
        count += len(together)


def _line(past: Past) -> str:
    room = width()
    head = f"{past.step:>10,}  {clock(past.time):19}  "
    text = shown(plain(past.increment), _LONGEST if room is None else max(10, room - len(head)))
    return f"{head}{text}" if room is None else cut(f"{head}{text}", room)


def fields_of(past: Past) -> dict[str, object]:
    """Return a step as plain values; numbers that JSON does not have are texts."""
    value = plain(past.increment)
    found = {
        label: number if math.isfinite(number) else str(number)
        for label, number in numbers(value).items()
    }
    return {
        "step": past.step,
        "time": past.time,
        "values": found,
        "text": shown(value, _LONGEST),
    }
