"""The three meanings of ``replay_log``, live and in a replay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import trax
from trax.calls.log_mode import (
    REPLACE,
    STORED,
    AsStored,
    Fold,
    LogMode,
    NoLog,
    Replace,
    describe,
    log_mode,
)
from trax.storage.codec import Encoded, decode, encode


def add(state: int, increment: int) -> int:
    return state + increment


@pytest.mark.parametrize(
    ("replay_log", "kind", "word"),
    [
        (add, Fold, "function"),
        (REPLACE, Replace, "replace"),
        (None, NoLog, "none"),
        (STORED, AsStored, "unknown"),
    ],
)
def test_each_argument_has_its_mode(
    replay_log: Callable[[Any, Any], Any] | None, kind: type[LogMode], word: str
) -> None:
    """A checkpoint stores the mode's word."""
    mode = log_mode(replay_log)
    assert type(mode) is kind
    assert mode.word == word


def test_a_step_calls_the_users_function_and_nothing_in_between() -> None:
    """No wrapper makes a step longer."""
    assert log_mode(add).fold is add


@pytest.mark.parametrize(("replay_log", "state"), [(add, 16), (REPLACE, 3), (None, 10)])
def test_a_replay_gives_the_state_that_the_steps_gave(
    replay_log: Callable[[Any, Any], Any] | None, state: int
) -> None:
    """Without a log there are no increments, and the checkpoint is the state."""
    increments = [1, 2, 3] if replay_log is not None else []
    assert replayed(log_mode(replay_log), 10, increments) == state


def test_the_newest_increment_alone_is_loaded_where_it_is_the_state() -> None:
    """The others may be large, and of classes that are gone."""
    loaded = []

    def load(encoded: Encoded) -> Any:
        loaded.append(decode(encoded, "increment"))
        return loaded[-1]

    Replace().replay(0, (encode(n, "increment") for n in range(5)), load, str)
    assert loaded == [4]


def test_an_increment_that_nothing_can_replay_is_an_error() -> None:
    """It says where it is, and what to give."""
    with pytest.raises(trax.CodecError, match=r"step 1 of 'run'.*(\n.*)*replay_log="):
        replayed(NoLog(), 0, [1])


def test_an_exception_of_replay_log_says_at_which_step_it_was_raised() -> None:
    """It is the user's own exception, with a note."""
    with pytest.raises(TypeError) as raised:
        replayed(Fold(add), 0, [1, 2, None])
    assert raised.value.__notes__ == ["trax: raised by replay_log at step 3 of 'run'"]


def test_a_person_is_told_the_mode_as_it_is_written() -> None:
    """In the words of a call of `resumable`."""
    assert [describe(word) for word in ("function", "replace", "none")] == [
        "a function",
        "left out",
        "None",
    ]


def replayed(mode: LogMode, state: Any, increments: list[Any]) -> Any:
    read = 0

    def each() -> Iterator[Encoded]:
        nonlocal read
        for increment in increments:
            read += 1
            yield encode(increment, "increment")

    def load(encoded: Encoded) -> Any:
        return decode(encoded, "increment")

    return mode.replay(state, each(), load, lambda: f"step {read} of 'run'")
