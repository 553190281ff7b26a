"""What is known of a run is a value, which a notebook shows."""

from __future__ import annotations

import pickle
import time

import trax
from trax.survey.run_info import HEAD, Failure, RunInfo, Runs, texts

NOW = time.time()


def test_a_run_in_a_notebook() -> None:
    error = Failure("ValueError", "loss is <nan>", "/home/me/train.py", 33)
    info = RunInfo("fit", "p", "failed", 41, 100, last=NOW, size=9_000_000, error=error)
    shown = info._repr_html_()
    assert "<caption>fit</caption>" in shown
    assert "<th>step</th><td>41/100  ValueError</td>" in shown
    assert "<th>error</th><td>ValueError: loss is &lt;nan&gt;  train.py:33</td>" in shown
    assert "eta" not in shown


def test_runs_in_a_notebook_are_a_table() -> None:
    shown = Runs([RunInfo("<fit>", "p", "done", 3), RunInfo("bad", "p", "damaged", problem="why")])
    html = shown._repr_html_()
    assert html.count("<tr>") == 3
    assert all(f"<th>{text}</th>" in html for text in HEAD)
    assert "&lt;fit&gt;" in html
    assert "why" in html
    assert "0 runs" in Runs()._repr_html_()


def test_a_run_that_is_paused_is_open_and_has_no_rate() -> None:
    info = RunInfo("fit", "p", "paused", 50, 100, rate=3.0, last=NOW)
    assert info.is_open
    assert texts(info, NOW)[1:5] == ["paused", "50/100 50%", "-", "-"]
    assert not RunInfo("fit", "p", "killed").is_open


def test_a_failure_as_text() -> None:
    assert str(Failure("KeyError", "", None, None)) == "KeyError"


def test_runs_are_values() -> None:
    """Also in another process."""
    info = RunInfo("fit", "p", "failed", error=Failure("E", "m", None, None))
    assert pickle.loads(pickle.dumps(info)) == info
    assert info.as_dict()["error"] == {"type": "E", "message": "m", "file": None, "line": None}
    assert type(pickle.loads(pickle.dumps(trax.runs()))) is Runs


def test_a_lag_is_shown_of_an_open_run_and_of_one_that_has_ended_with_a_long_one() -> None:
    for state, lag, shown in (
        ("running", 0.4, "5  lag 0 s"),
        ("running", 90.0, "5  lag 90 s"),
        ("stopped", 0.4, "5"),
        ("stopped", 25.0, "5  lag 25 s"),
        ("running", None, "5"),
    ):
        assert texts(RunInfo("a", "p", state, 5, lag=lag), 0.0)[2] == shown
