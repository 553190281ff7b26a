"""``trax watch``: the runs of a store on a full screen, live."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

from trax.cli.canvas import spark
from trax.cli.common import common, is_json, is_meant, matching, names, survey
from trax.cli.ls import HEAD, RIGHT, row, summary
from trax.cli.screen import Cell, cut, styled, table
from trax.storage.filenames import JOURNAL
from trax.survey.run_info import RunInfo
from trax.survey.runs import Survey

__all__ = ["watch"]

_PAUSE = 1.0  # seconds, at least, between two looks
_SHARE = 150  # times the processor's time that a look takes
_RATES = 6  # of the past that are shown
_ENTER = "\x1b[?1049h\x1b[?25l"  # another screen, without a cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"
_AROUND = 4  # rows: a head, an empty one, the sum, and the keys


def _nothing_last(value: float | None) -> float:
    return float("inf") if value is None else value


class _Order(NamedTuple):
    word: str
    key: Callable[[RunInfo], Any]


_ORDERS = {
    "n": _Order("name", lambda info: info.name),
    "s": _Order("state", lambda info: info.state),
    "r": _Order("rate", lambda info: -(info.rate or 0) if info.state == "running" else 1),
    "e": _Order("eta", lambda info: _nothing_last(info.eta)),
    "l": _Order("last", lambda info: -(info.last or 0)),
    "z": _Order("size", lambda info: -info.size),
}


@click.command(
    epilog="""\b
Examples:
  trax watch                 all runs, those that go on first
  trax watch 'fit-*' --sort name

\b
Keys:
  n s r e l z                sort by name, state, rate, ETA, last, size;
                             the same again reverses that
  space b                    the next page, the page before
  q                          quit
"""
)
@click.option(
    "--sort",
    type=click.Choice([order.word for order in _ORDERS.values()]),
    default="last",
    help="What to sort by.",
)
@names(required=False)
@common
@click.pass_context
def watch(context: click.Context, /, names: tuple[str, ...], sort: str, **_: object) -> int:
    """Show all runs live, with the course of their rates.

    The rest is as in ls. Press q to leave.
    """
    if is_json(context):
        raise click.UsageError("watch writes no JSON: trax ls --json does")
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        raise click.UsageError("watch needs a terminal; trax ls does not")
    store = survey(context)
    matching(store, names)  # an error if one of them means no run
    screen = _Screen(store, sort, names)
    with _full_screen() as fd:
        while screen.is_open:
            begun = time.process_time()
            screen.draw()
            pause = max(_PAUSE, _SHARE * (time.process_time() - begun))
            until = time.monotonic() + pause
            while screen.is_open and (left := until - time.monotonic()) > 0:
                if select.select([fd], [], [], left)[0]:
                    screen.press(os.read(fd, 64).decode(errors="replace"))
                    until = 0.0
    return 0


@contextmanager
def _full_screen() -> Iterator[int]:
    """Use the whole terminal, and leave it as it was, however this ends."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    handler = signal.signal(signal.SIGTERM, _end)
    try:
        tty.setcbreak(fd)
        sys.stdout.write(_ENTER)
        yield fd
    except KeyboardInterrupt:
        return
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        signal.signal(signal.SIGTERM, handler)


def _end(number: int, frame: object) -> None:  # noqa: ARG001  # of signal's protocol
    raise SystemExit(128 + number)


class _Screen:
    """What is on the screen."""

    def __init__(self, store: Survey, sort: str, patterns: Sequence[str] = ()) -> None:
        self.is_open = True
        self._patterns = patterns
        self._store = store
        self._order = next(key for key, order in _ORDERS.items() if order.word == sort)
        self._is_reversed = False
        self._page = 0
        self._known: dict[str, tuple[tuple[int, ...], RunInfo]] = {}
        self._rates: dict[str, deque[float]] = {}
        self._looked = 0.0
        self._infos: list[RunInfo] = []

    def press(self, keys: str) -> None:
        """Do what keys mean."""
        for key in keys:
            if key in ("q", "\x04"):
                self.is_open = False
            elif key in _ORDERS:
                self._is_reversed = key == self._order and not self._is_reversed
                self._order, self._page = key, 0
            elif key in " b":
                self._page = max(0, self._page + (1 if key == " " else -1))

    def draw(self) -> None:
        """Draw the screen anew; the runs are read again at most once a second."""
        if time.monotonic() - self._looked >= _PAUSE / 2:
            self._look()
        columns, rows = shutil.get_terminal_size()
        ordered = sorted(self._infos, key=lambda info: info.name)
        ordered.sort(key=_ORDERS[self._order].key, reverse=self._is_reversed)
        room = max(1, rows - _AROUND)
        self._page = min(self._page, max(0, (len(ordered) - 1) // room))
        shown = ordered[self._page * room :][:room]
        now = time.time()
        lines = table(HEAD, self._with_rates(shown, [row(info, now) for info in shown]), RIGHT)
        lines += [""] * (room + 2 - len(lines))
        lines.append(cut(summary(self._store, ordered, self._store.aside_bytes()), columns))
        lines.append(styled(cut(self._keys(len(ordered), room), columns), "dim"))
        sys.stdout.write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")
        sys.stdout.flush()

    def _keys(self, count: int, room: int) -> str:
        pages = -(-count // room)
        page = f"  page {self._page + 1} of {pages}: space, b" if pages > 1 else ""
        order = _ORDERS[self._order].word + " (reversed)" * self._is_reversed
        return f"q quit  sorted by {order}: n s r e l z{page}"

    def _look(self) -> None:
        """Read the runs: of those that have ended only what was changed since."""
        self._infos = []
        for name in self._store.names():
            if self._patterns and not any(is_meant(name, one) for one in self._patterns):
                continue
            seen, info = self._known.get(name, ((), None))
            state = self._changed(name)
            if info is None or info.is_open or seen != state or not state:
                info = self._store.run(name)
                if info is None:
                    self._known.pop(name, None)
                    continue
                self._known[name] = state, info
            self._infos.append(info)
            if info.state == "running":
                self._rates.setdefault(name, deque(maxlen=_RATES)).append(info.rate or 0.0)
            else:
                self._rates.pop(name, None)
        self._looked = time.monotonic()

    def _changed(self, name: str) -> tuple[int, ...]:
        """Return what is another when a run is opened, written or pruned; nothing if unknown."""
        path = self._store.path_of(name)
        try:
            found = os.stat(path), os.stat(os.path.join(path, JOURNAL))
        except OSError:
            return ()
        return tuple(number for one in found for number in (one.st_mtime_ns, one.st_size))

    def _with_rates(self, infos: list[RunInfo], rows: list[list[Cell]]) -> list[list[Cell]]:
        """Return the rows with the course of the rates: beside the rate, after the step."""
        column = HEAD.index("RATE") - 1
        bars = [spark([*self._rates.get(info.name, ())], _RATES) for info in infos]
        pairs = [*zip(rows, bars, strict=True)]
        wide = max((len(cells[column][0]) for cells, course in pairs if course), default=0)
        for cells, course in pairs:
            if course:
                step, style = cells[column]
                cells[column] = f"{step:{wide}} {course}", style
        return rows
