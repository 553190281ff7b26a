"""What is known of a function with a declared state."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from read_loops import declared

TEXT = "def loop(state, n):\n    for i in trax.steps(n):\n        state = yield i\n"


def in_place(state: list[int], increment: int) -> list[int]:
    state.append(increment)
    return state


def new(state: list[int], increment: int) -> list[int]:
    return [*state, increment]


def newest(state: int, increment: int) -> int:
    return increment


def unknown(state: Any, increment: Any) -> Any:
    return state.moved(increment)


@pytest.mark.parametrize(
    ("replay_log", "folding"),
    [
        (in_place, "in place"),
        (new, "new"),
        (newest, "increment"),
        (unknown, "unknown"),
        (operator.add, "new"),
        ("append", "in place"),
        (None, "none"),
    ],
)
def test_how_increments_become_state(replay_log: Any, folding: str) -> None:
    """As the text of ``replay_log`` tells."""
    assert declared(TEXT, create=list, replay_log=replay_log).folding == folding
    assert declared(TEXT).folding == "increment"


def test_the_state_and_what_is_outside() -> None:
    """The state is the first parameter; lists of the caller and of the module are outside."""
    loop = declared(
        "MADE = []\ndef loop(state, seen):\n"
        "    seen.append(1); MADE.append(2); own = []; own.append(3); state.append(4)\n"
        "    state = yield 1\n"
    )
    assert loop.state == "state"
    assert loop.outside == {"seen", "MADE"}
    assert loop.is_local("own.part")
    assert not loop.is_local("MADE")
    assert len(loop.facts_in(loop.node.body)) == 6
