"""Calls whose runs and maps nobody drives."""

from __future__ import annotations

import pytest

from trax.engine.undriven import Undriven


def test_what_is_not_used_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    one = Undriven("work", "run")
    one.end()
    one.end()
    (record,) = caplog.records
    assert record.getMessage() == (
        "work was called and did nothing: iterate over the run that the call returns, or ask for "
        "its result()"
    )


def test_what_an_event_loop_drives_is_awaited(caplog: pytest.LogCaptureFixture) -> None:
    Undriven("work", "map", is_async=True).end()
    (line,) = caplog.messages
    assert line == (
        "work was called and did nothing: iterate over the map that the call returns with async "
        "for, or await its result()"
    )


def test_what_is_used_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    one = Undriven("work", "run")
    one.use()
    one.end()
    assert not caplog.records
