"""A line for each run says how it is."""

from __future__ import annotations

import re

import pytest

import trax
from trax.cli import ls as module
from trax.survey.run_info import Failure, RunInfo

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("info", "cells"),
    [
        (
            RunInfo("m", "p", "running", 301_416, 913_125, 23e3, 26.0, last=NOW, size=84_000_000),
            ["m", "running", "301,416/913,125 33%", "23k/s", "26 s", "now", "84 MB"],
        ),
        (
            RunInfo("m", "p", "stopped", 12_000, rate=5, last=NOW - 3 * 3600, reason="SIGTERM"),
            ["m", "stopped", "12,000  SIGTERM", "-", "-", "3 h ago", "0 B"],
        ),
        (
            RunInfo("m", "p", "failed", 41, 100, error=Failure("ValueError", "x", None, None)),
            ["m", "failed", "41/100  ValueError", "-", "-", "-", "0 B"],
        ),
        (RunInfo("m", "p", "done", 9, 9), ["m", "done", "9", "-", "-", "-", "0 B"]),
        (RunInfo("m", "p", "running", 0, 0), ["m", "running", "0/0", "-", "-", "-", "0 B"]),
        (
            RunInfo("m", "p", "damaged", problem="log-1 is gone"),
            ["m", "damaged", "log-1 is gone", "-", "-", "-", "0 B"],
        ),
    ],
)
def test_a_row(info: RunInfo, cells: list[str]) -> None:
    assert [text for text, _ in module.row(info, NOW)] == cells


def test_runs_are_in_the_order_of_the_numbers_in_their_names() -> None:
    with trax.Trax() as store:
        for name in ("lr-16.0", "lr-8.0", "lr-0.25", "lr-0.5", "lr-1e-05", "b-2", "b-10"):
            store.log(**{name: 1})
    names = ["b-2", "b-10", "lr-1e-05", "lr-0.25", "lr-0.5", "lr-8.0", "lr-16.0"]
    assert [info.name for info in trax.runs()] == names


def test_each_state_that_needs_attention_has_a_style() -> None:
    assert {"failed", "killed", *module.UNREAD} <= module.STYLES.keys()
    assert all(re.fullmatch(r"(bold )?[a-z]+", style) for style in module.STYLES.values())
