"""`create`, called with those of a call's arguments that it names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import trax
from trax.calls.creation import call_create, check_create


def test_create_is_called_with_the_arguments_that_it_names() -> None:
    """Of the call's arguments create takes those that it has parameters for."""

    def create(b: int, a: int = 0, other: int = 7) -> list[int]:
        return [a, b, other]

    @trax.resumable(create=create, replay_log=lambda state, increment: state)
    def loop(state: list[int], a: int, b: int = 2, *, c: int = 3) -> Iterator[int]:
        yield c

    assert loop(1).result() == [1, 2, 7]


@pytest.mark.parametrize(
    ("create", "state"),
    [
        (lambda a, /, *, b: (a, b), (1, 2)),
        (lambda *args, **kwargs: (args, kwargs), ((), {"a": 1, "b": 2})),
        (lambda b, **others: (b, others), (2, {"a": 1})),
        (dict, {}),
        (Counter, Counter()),
        (SimpleNamespace, SimpleNamespace()),
    ],
)
def test_create_may_have_parameters_of_every_kind(create: Callable[..., Any], state: Any) -> None:
    """Positional ones, keywords, and all but those of Python's own classes."""
    check_create(create, ["a", "b"])
    assert call_create(create, {"a": 1, "b": 2}) == state


def test_a_create_that_needs_something_else_is_refused() -> None:
    """The error names it, and what there is."""
    with pytest.raises(trax.UsageError, match=r"(?s)create needs 'seed'.*arguments: a, b\."):
        check_create(lambda a, seed: seed, ["a", "b"])
