"""The numbers of a run, in few points: nothing that stands out is lost, and nothing is executed."""

from __future__ import annotations

import math
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from commands import FITS
from hypothesis import given
from hypothesis import strategies as st
from support import run_script

import trax
from trax.plain.data import shown
from trax.survey.columns import plain
from trax.survey.runs import Survey
from trax.survey.series import (
    Course,
    marks_of,
    newest,
    numbers_of,
    read_series,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def course(values: list[float], most: int, size: int = 7, start: int = 1) -> Course:
    """Return the course of values that are added a few at a time."""
    found = Course(most)
    for begin in range(0, len(values), size):
        part = values[begin : begin + size]
        steps = range(start + begin, start + begin + len(part))
        found.extend(steps, [None] * len(part), part)
    return found


@given(st.lists(FINITE, max_size=300), st.integers(2, 40), st.integers(1, 50), st.integers(0, 99))
def test_the_extremes_and_the_ends_are_kept(
    values: list[float], most: int, size: int, start: int
) -> None:
    found = course(values, most, size, start)
    points = found.points
    assert len(points) <= most + 2
    assert [point.step for point in points] == sorted({point.step for point in points})
    assert all(values[point.step - start] == point.value for point in points)
    if values:
        assert points[0].step == start
        assert points[-1].step == start + len(values) - 1
        assert {min(values), max(values)} <= {point.value for point in points}


def test_an_outlier_among_many_is_seen_where_it_is() -> None:
    values = [random.random() for _ in range(100_000)]
    values[54_321] = 9.0
    points = course(values, 200, 8192).points
    assert (54_322, 9.0) in {(point.step, point.value) for point in points}
    assert 50 < len(points) <= 202


def test_steps_without_the_field_leave_gaps() -> None:
    found = Course(8)
    steps = [1, 2, 5, 6, 7, 100, 1000, 1001, 5000]
    found.extend(steps, [None] * len(steps), [float(step) for step in steps])
    assert all(point.step == point.value for point in found.points)
    assert {point.step for point in found.points} >= {1, 5000}


def test_what_is_not_finite_is_counted_and_not_drawn() -> None:
    found = course([1.0, 2.0, math.nan, 3.0, math.inf, -math.inf], 10)
    assert [point.value for point in found.points] == [1.0, 2.0, 3.0]
    assert (found.odd, found.odd_since) == (3, 3)
    assert course([math.nan], 10).points == []


@trax.resumable(create=dict, every_steps=4, keep="all")
def fit(state, to):  # type: ignore[no-untyped-def]
    for n in trax.steps(to):
        state = yield {"loss": float(n), "w": np.full(4, n), "name": "x"} | (
            {} if n % 3 else {"odd": (n, math.nan)}
        )
    return state


def test_fields_of_increments() -> None:
    fit(20).result()
    series = read_series(Survey(), "fit")
    assert (series.first, series.last, series.problem) == (1, 20, None)
    assert list(series.fields) == ["loss", "|w|", "odd.0", "odd.1"]
    assert [point.value for point in series.fields["|w|"].points] == [2.0 * n for n in range(20)]
    assert [point.step for point in series.fields["odd.0"].points] == [*range(1, 21, 3)]
    assert series.fields["odd.1"].odd == 7
    assert list(read_series(Survey(), "fit", fields=["odd*", "loss"]).fields) == [
        "loss",
        "odd.0",
        "odd.1",
    ]
    assert read_series(Survey(), "fit", start=15).first == 15
    [(batch, columns)] = numbers_of(Survey(), "fit", 3, 5)
    assert (batch.steps, columns["loss"].values) == (range(3, 5), [2.0, 3.0])
    assert [past.step for past in newest(Survey(), "fit", 3)] == [18, 19, 20]
    assert [past.step for past in newest(Survey(), "fit", 99)] == [*range(1, 21)]


def test_many_fields_are_counted() -> None:
    with trax.Trax() as store:
        store.log(word={f"f{n}": {str(k): 0.5 for k in range(50)} for n in range(3)})
    series = read_series(Survey(), "word")
    assert (len(series.fields), series.omitted) == (100, 50)
    assert len(read_series(Survey(), "word", fields=["*"]).fields) == 150


def test_events_and_checkpoints_are_marks() -> None:
    run_script(FITS + "fit(0).result()", "--kill", check=False)
    run_script(FITS + "fit(0).result()")
    marks = marks_of(Survey(), "fit-0")
    assert [mark.step for mark in marks if mark.kind == "resumed"] == [17]
    assert {mark.step for mark in marks if mark.kind == "checkpoint"} == {*range(0, 101, 10)}
    assert all(mark.time for mark in marks)


def test_what_stands_before_damage_is_read() -> None:
    fit(20).result()
    path = Path(".trax/runs/fit/log-00000003")
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    series = read_series(Survey(), "fit")
    assert series.problem is not None
    assert "log-00000003" in series.problem
    assert (series.first, (series.last or 0) >= 8) == (1, True)
    assert [point.value for point in series.fields["loss"].points][:8] == [*range(8)]


def test_a_run_without_a_log_has_no_numbers() -> None:
    @trax.resumable(create=list, replay_log=None, every_steps=1)
    def bare(done, to):  # type: ignore[no-untyped-def]
        while len(done) < to:
            done.append(1.5)
            yield

    bare(3).result()
    series = read_series(Survey(), "bare")
    assert "replay_log=None" in (series.problem or "")


def test_nothing_is_executed() -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return pytest.fail, ("it was unpickled",)

    assert plain(pickle.dumps([1.5, Evil()]))[0] == 1.5
    assert shown(plain(b"no pickle")) == "(not readable)"
