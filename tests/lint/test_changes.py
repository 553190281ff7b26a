"""The state that a loop changes, and the one that is stored."""

from __future__ import annotations

from typing import Any

import pytest
from read_loops import kinds


def keep(state: list[Any], increment: Any) -> list[Any]:
    state.append(increment)
    return state


BODY = """
def loop(state, n):
    for i in trax.steps(n):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "replay", "kind"),
    [
        ("state.append(i); state = yield i", keep, ["mutated"]),
        ("state = yield i; state.total = i", keep, ["mutated"]),
        ("row = state[0]; row[i] = 1; state = yield i", keep, ["mutated"]),
        ("row = list(state); row[i] = 1; state = yield i", keep, []),
        ("state = yield i", keep, []),
        ("yield i + len(state)", keep, []),
    ],
)
def test_only_replay_log_changes_a_state_with_a_log(
    body: str, replay: Any, kind: list[str]
) -> None:
    """Copies may be changed."""
    text = BODY.format(body=body)
    assert [one for one, _ in kinds(text, create=list, replay_log=replay)] == kind


def test_an_increment_that_is_the_state_may_be_changed_before_it_is_yielded() -> None:
    """Without replay_log it is stored as it is then."""
    assert kinds(BODY.format(body="state.append(i); state = yield state"), create=list) == []
    late = BODY.format(body="state = yield state; state.append(i)")
    assert [kind for kind, _ in kinds(late, create=list)] == ["mutated"]


def test_a_state_that_is_dropped_is_told() -> None:
    """If the loop reads it again."""
    assert [kind for kind, _ in kinds(BODY.format(body="yield state + i"))] == ["dropped"]
    assert kinds(BODY.format(body="yield i")) == []
    assert kinds(BODY.format(body="state += i; yield state")) == []


def test_without_a_log_the_object_of_create_is_changed_before_the_yield() -> None:
    """Another object is not stored, and a change after the yield is left out."""
    options: dict[str, Any] = {"create": list, "replay_log": None}
    assert kinds(BODY.format(body="state.append(i); yield i"), **options) == []
    late = BODY.format(body="yield i; state.append(i)")
    assert [kind for kind, _ in kinds(late, **options)] == ["late"]
    other = BODY.format(body="state = [*state, i]; yield len(state)")
    assert [kind for kind, _ in kinds(other, **options)] == ["rebound"]


def test_an_increment_is_not_changed_later() -> None:
    """A buffer that is used again is the same object in all of them."""
    text = """
        def loop(state, n):
            buffer = [0]
            for i in trax.steps(n):
                buffer[0] = i
                state = yield {value}
        """
    assert [kind for kind, _ in kinds(text.format(value="buffer"), create=list)] == ["shared"]
    assert ("shared", "buffer") not in kinds(text.format(value="list(buffer)"), create=list)
