"""How a loop has ended is told by the user's line, and never by an error of its own."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trax
from trax.engine.endings import outcome, source_of


def raised(action: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        action()
    return caught.value


def test_the_line_is_the_innermost_of_the_user() -> None:
    """And not one of trax, of the standard library or of an installed package."""
    import numpy as np

    for action in (lambda: json.loads("nonsense"), lambda: np.ones(3).reshape(7), lambda: 1 / 0):
        told = outcome(raised(action))
        assert told["state"] == "failed"
        assert told["error"]["file"] == __file__
        assert told["error"]["line"] == action.__code__.co_firstlineno


def test_without_a_line_of_the_user_in_it_the_call_counts() -> None:
    """An error of trax itself has only passed through trax when it is noted."""
    error = raised(lambda: trax.load("nothing"))
    assert error.__traceback__ is not None
    told = outcome(error.with_traceback(error.__traceback__.tb_next.tb_next))  # type: ignore[union-attr]
    assert told["error"]["type"] == "NotFoundError"
    assert told["error"]["file"] == __file__
    assert outcome(ValueError("never raised"))["error"] == {
        "type": "ValueError",
        "message": "never raised",
    }


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "message"),
    [(ValueError("a\nb"), "a"), (ValueError("\x1b[31m"), r"\x1b[31m"), (OddError(), ""),
     (ValueError("x" * 999), "x" * 197 + "...")],
)  # fmt: skip
def test_a_message_is_one_short_line(error: Exception, message: str) -> None:
    assert outcome(error)["error"]["message"] == message


def test_what_is_no_failure_has_a_reason() -> None:
    reasons = {
        GeneratorExit(): "closed",
        KeyboardInterrupt(): "KeyboardInterrupt",
        asyncio.CancelledError(): "CancelledError",
        SystemExit(3): "SystemExit",
    }
    for error, reason in reasons.items():
        assert outcome(error) == {"state": "stopped", "reason": reason}
    assert outcome(ValueError(), "SIGTERM") == {"state": "stopped", "reason": "SIGTERM"}


def test_the_file_of_a_function_and_when_it_was_edited() -> None:
    told = source_of(raised)
    assert told == {"file": __file__, "edited": os.stat(__file__).st_mtime}
    assert told["edited"] < time.time()
    space: dict[str, Any] = {}
    exec("def f(): pass", space)
    assert source_of(space["f"]) == source_of(len) == source_of(None) == {}
    exec(compile("def f(): pass", str(Path("gone.py").resolve()), "exec"), space)
    assert source_of(space["f"]) == {}


@trax.resumable(create=dict, varying=("items", "bad"))
def items_of(state: dict[int, int], items: Any, bad: bool = False):  # type: ignore[no-untyped-def]
    for item in trax.remaining(items):
        state = yield {**state, item: item}
        if bad:
            trax.steps(3)


def test_a_call_that_is_refused_has_not_made_the_run_fail() -> None:
    """Before its first step: it was called with something that cannot work."""
    with pytest.raises(trax.UsageError):
        items_of({3, 1}).result()
    (info,) = trax.runs()
    assert info.error is not None
    assert (info.state, info.step, info.error.type) == ("stopped", 0, "UsageError")
    run = items_of([1, 2, 3])
    next(run)
    run.close()
    with pytest.raises(trax.ArgumentsChangedError):
        items_of([5, 2, 3]).result()
    (info,) = trax.runs()
    assert info.error is not None
    assert (info.state, info.step, info.error.type) == ("stopped", 1, "ArgumentsChangedError")
    assert items_of([1, 2, 3]).result() == {1: 1, 2: 2, 3: 3}


def test_an_error_of_trax_after_a_step_is_one_of_the_loop() -> None:
    with pytest.raises(trax.UsageError):
        items_of([1, 2, 3], bad=True).result()
    (info,) = trax.runs()
    assert (info.state, info.step) == ("failed", 1)
