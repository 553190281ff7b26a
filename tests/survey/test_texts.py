"""Texts for numbers are short, and right at the limits of their units."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trax.survey.texts import ago, duration, moment, place, rate, size


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_949, "9.9 kB"), (9_950, "10 kB"),
     (999_499, "999 kB"), (999_500, "1.0 MB"), (84_300_000, "84 MB"), (10**21, "1000 EB")],
)  # fmt: skip
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"),
     (172_799, "48 h"), (172_800, "2 d")],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("steps", "text"),
    [(None, "-"), (0, "-"), (0.0, "-"), (0.001, "3.6/h"), (1 / 60, "1.0/min"), (0.99, "59/min"),
     (1, "1.0/s"), (12.3, "12/s"), (999.4, "999/s"), (999.6, "1.0k/s"), (23e3, "23k/s"),
     (2.5e6, "2.5M/s")],
)  # fmt: skip
def test_rates(steps: float | None, text: str) -> None:
    assert rate(steps) == text


def test_times() -> None:
    assert ago(5.0, 4.0) == "0 s ago"  # the clock was set back
    assert ago(1.0, 100.0, is_running=True) == "99 s ago"
    assert moment(0, 10 * 86400).startswith("19")
    assert len(moment(0, 86400).split()) == len(moment(1e17, 0).split()) == 2


def test_places() -> None:
    assert place(os.path.abspath(".trax")) == "./.trax"
    assert place(os.path.abspath(".")) == "."
    assert place("/somewhere/else") == "/somewhere/else"
    assert place(str(Path.cwd().parent)) == str(Path.cwd().parent)
