"""Axes have round values between their ends, and panels what belongs together."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trax.cli.panels import Scale, make_panels
from trax.survey.series import Course, Mark, Series

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("scale", "texts"),
    [
        (Scale(0, 100), ["0", "50", "100"]),
        (Scale(0.1, 0.35), ["0.1", "0.2", "0.3"]),
        (Scale(-2, 1), ["-2", "-1", "0", "1"]),
        (Scale(7, 7), ["7"]),
        (Scale(1, 1e6, "log"), ["1", "100", "1e+04", "1e+06"]),
        (Scale(2, 3, "log"), ["2", "3"]),
        (Scale(1, 3, "step"), ["1", "2", "3"]),
        (Scale(1, 1_500_000, "step"), ["500,000", "1,000,000", "1,500,000"]),
    ],
)
def test_ticks(scale: Scale, texts: list[str]) -> None:
    assert [text for _, text in scale.ticks(3)] == texts


@example(-1e292, sys.float_info.max, 1, "number")
@example(0.0, 5e-324, 1, "number")
@given(FINITE, FINITE, st.integers(1, 10), st.sampled_from(["number", "step", "time"]))
def test_any_numbers_can_be_drawn(one: float, two: float, most: int, kind: str) -> None:
    scale = Scale(min(one, two), max(one, two), kind)
    ticks = scale.ticks(most)
    assert len(ticks) <= most + 2
    for at in (one, two, *(value for value, _ in ticks)):
        assert -1e-6 <= scale.at(at) <= 1 + 1e-6


def series(name: str, **fields: list[float]) -> Series:
    found = Series(name)
    for label, values in fields.items():
        course = found.fields[label] = Course(100)
        steps = range(1, len(values) + 1)
        times = [None, *(1000.0 + step for step in steps[1:])]
        course.extend(steps, times, values)
    return found


def test_runs_share_the_panel_of_a_field() -> None:
    marks = [Mark("began", 0, 1.0), Mark("resumed", 2, 1002.0), Mark("checkpoint", 3, 1003.0)]
    runs = [(series("a", loss=[3, 2, math.nan], acc=[0, 1]), marks), (series("b", loss=[5.0]), [])]
    loss, acc = make_panels(runs)
    assert [line.label for line in loss.lines] == ["a", "b"]
    assert (loss.y.low, loss.y.high, loss.x.high) == (2, 5, 2)
    assert (loss.resumes, loss.checkpoints) == ([2.0], [])
    assert loss.notes == ["a: 1 not finite, the first at step 3"]
    assert [line.label for line in acc.lines] == ["a"]


def test_what_cannot_be_drawn_is_told() -> None:
    (panel,) = make_panels([(series("a", loss=[-1, 0, 1, 10]), [])], log=True)
    assert panel.lines[0].points == [(3.0, 1.0), (4.0, 10.0)]
    assert panel.notes == ["a: values that are not positive are left out"]
    (panel,) = make_panels([(series("a", loss=[1, 2, 3]), [])], x="time")
    assert panel.lines[0].points == [(1002.0, 2), (1003.0, 3)]
    assert panel.notes == ["a: 1 points without a time"]
    assert make_panels([(series("a", loss=[-1.0]), [])], log=True) == []
