"""Short texts for numbers, times and sizes, as they are shown to people."""

from __future__ import annotations

import os
import re
import time

__all__ = ["ago", "clock", "duration", "moment", "natural", "place", "rate", "size"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_WEEK = 7 * 86400
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)")


def natural(name: str) -> tuple[list[float | str], str]:
    """Return the key by which names are sorted: the numbers in them by their values.

    Examples
    --------
    >>> sorted(["lr-16.0", "lr-8.0", "lr-1e-05", "lr"], key=natural)
    ['lr', 'lr-1e-05', 'lr-8.0', 'lr-16.0']
    """
    parts = enumerate(_NUMBER.split(name))
    return [float(part) if at % 2 else part for at, part in parts], name


def size(count: int) -> str:
    """Return a number of bytes.

    Examples
    --------
    >>> size(512), size(84_300_000), size(1_440)
    ('512 B', '84 MB', '1.4 kB')
    """
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            return f"{value:.1f} {unit}" if value < 9.95 and unit != "B" else f"{value:.0f} {unit}"
        value /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Return a time span, in the largest unit of which there are two or more, or in seconds.

    Examples
    --------
    >>> duration(26), duration(90), duration(720), duration(3 * 3600), duration(1e6)
    ('26 s', '90 s', '12 min', '3 h', '12 d')
    """
    for length, unit in _SPANS:
        if seconds >= 2 * length or length == 1:
            return f"{seconds / length:.0f} {unit}"
    raise AssertionError


def ago(then: float | None, now: float, *, is_running: bool = False) -> str:
    """Return how long ago something was; of a run that is going on the last moment is now.

    Examples
    --------
    >>> ago(100, 101, is_running=True), ago(100, 101), ago(None, 0), ago(0, 720)
    ('now', '1 s ago', '-', '12 min ago')
    """
    if then is None:
        return "-"
    seconds = max(0.0, now - then)
    return "now" if is_running and seconds < 2 else f"{duration(seconds)} ago"


def rate(steps: float | None) -> str:
    """Return a number of steps a second, or for slow loops a minute or an hour.

    Examples
    --------
    >>> rate(23_100), rate(2.25), rate(0.1), rate(0.005), rate(None)
    ('23k/s', '2.2/s', '6.0/min', '18/h', '-')
    """
    if not steps:
        return "-"
    for count, unit in ((1, "s"), (60, "min"), (3600, "h")):
        value = steps * count
        if value >= 1 or unit == "h":
            break
    for letter in ("", "k", "M", "G"):
        if value < 999.5 or letter == "G":
            break
        value /= 1000
    return f"{value:.0f}{letter}/{unit}" if value >= 9.95 else f"{value:.1f}{letter}/{unit}"


def moment(then: float, now: float) -> str:
    """Return a time of the last days as the day of the week, and an earlier one by its date.

    Examples
    --------
    >>> moment(0, 0)[4:], moment(0, 1e9)[:4]
    ('00:00', '1970')
    """
    form = "%a %H:%M" if abs(now - then) < _WEEK else "%Y-%m-%d %H:%M"
    try:
        return time.strftime(form, time.localtime(then))
    except (OverflowError, ValueError, OSError):  # no clock has shown it
        return "? ?"


def place(path: str) -> str:
    """Return a path as a person would write it: from the current directory, if it is below that.

    A URL stays as it is.
    """
    if "://" in path:
        return path
    here = os.path.relpath(path)
    if here == os.curdir:
        return here
    return path if here.startswith("..") else os.path.join(".", here)


def clock(then: float | None) -> str:
    """Return a time to the second.

    Examples
    --------
    >>> clock(None), len(clock(0))
    ('-', 19)
    """
    if then is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))
    except (OverflowError, ValueError, OSError):  # no clock has shown it
        return "?"
