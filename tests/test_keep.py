"""Policies that say which checkpoints of a run are kept."""

from __future__ import annotations

import os
import pickle
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import cloudpickle
import pytest

import trax
from trax import UsageError
from trax.keep import ALL, Stored

Loop = Generator[int, int, None]


def checkpoints(name: str = "count") -> list[int]:
    """Return the steps whose states are read without a replay."""
    found = trax.verify(name).generations
    return [
        one.checkpoint.step for one in found if one.checkpoint and one.checkpoint.step is not None
    ]


def run(keep: Any, to: int = 20) -> list[int]:
    """Count with a checkpoint at every second step; return the steps of those that are left."""

    @trax.resumable(create=int, every_steps=2, keep=keep, varying="to", background=False)
    def count(n: int, to: int) -> Loop:
        while n < to:
            n = yield n + 1

    list(count(to=to))
    assert trax.verify("count").good
    return checkpoints()


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (2, [20, 20]),
        ("all", [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20]),
        (trax.keep_every(steps=5), [0, 6, 10, 16, 20, 20]),
        (trax.keep_for(days=7), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20]),
        (trax.keep_for(timedelta(hours=1)) & trax.keep_every(steps=10), [0, 10, 20, 20]),
        (trax.keep_bytes(1), [20, 20]),
    ],
    ids=repr,
)
def test_a_policy_is_given_as_keep(keep: Any, kept: list[int]) -> None:
    """The newest checkpoints are kept by each."""
    assert run(keep) == kept


def test_a_later_call_thins_out_what_an_earlier_one_has_left() -> None:
    """The policy of the present call counts for all that is stored."""
    run("all", to=20)
    assert run(trax.keep_every(steps=10), to=21)[:3] == [0, 10, 20]


def test_every_step_is_loaded_whatever_was_thinned_out() -> None:
    """The checkpoint before it and the logs after that lead to it."""
    run(trax.keep_every(steps=10))
    assert [trax.load("count", step=step) for step in range(21)] == [*range(21)]


@pytest.mark.parametrize("keep", [0, -1, True, 1.5, "both", None, lambda stored: stored])
def test_what_is_no_policy_is_refused(keep: Any) -> None:
    """At once."""
    with pytest.raises(UsageError, match="keep must be a whole number of at least 1, 'all' or"):
        run(keep)
    with pytest.raises(UsageError, match="keep must be"):
        trax.Trax(keep=keep)
    assert not os.path.exists(".trax")


@pytest.mark.parametrize(
    "make",
    [
        lambda: trax.keep_every(steps=0),
        lambda: trax.keep_every(steps=1.5),  # type: ignore[arg-type]
        lambda: trax.keep_every(steps=True),
        trax.keep_for,
        lambda: trax.keep_for(5, days=1),
        lambda: trax.keep_for(-5),
        lambda: trax.keep_for(days=float("nan")),
        lambda: trax.keep_for(days="7"),  # type: ignore[arg-type]
        lambda: trax.keep_bytes(0),
        lambda: trax.keep_bytes(float("inf")),
        lambda: trax.keep_bytes("10 GB"),  # type: ignore[arg-type]
    ],
)
def test_a_policy_needs_a_number(make: Any) -> None:
    """The message names the function."""
    with pytest.raises(UsageError, match="keep_"):
        make()


def test_policies_combine_with_policies_alone() -> None:
    """A number is none."""
    policy = trax.keep_every(steps=5)
    with pytest.raises(TypeError):
        policy | 2  # type: ignore[operator]
    with pytest.raises(TypeError):
        policy & 2  # type: ignore[operator]


def test_a_policy_tells_what_it_is() -> None:
    """In the form in which it is written."""
    policy = trax.keep_every(steps=1000) & (trax.keep_for(days=1) | trax.keep_bytes(10e9))
    assert repr(policy) == "(keep_every(steps=1000) & (keep_for(86400) | keep_bytes(1e+10)))"


def test_a_store_of_states_takes_a_policy() -> None:
    """States that need not follow from one another are thinned out with the logs between them."""
    with trax.Trax(keep=trax.keep_every(steps=1)) as store:
        for n in range(4):
            store.checkpoint(number=10 * n)
            store.checkpoint(number=10 * n + 1)
            store.log(number=10 * n + 2)
    assert trax.verify("number").good
    assert trax.load("number", replay_log=lambda state, increment: increment) == 32


def test_a_policy_goes_to_other_processes_with_its_function() -> None:
    """Cloudpickle takes both along."""
    policy = trax.keep_every(steps=2) | trax.keep_bytes(1)
    copy = pickle.loads(cloudpickle.dumps(policy))
    stored = [Stored(number, number, 0.0, 1, 1) for number in range(1, 6)]
    assert copy.choose(stored) == policy.choose(stored) == {1, 2, 4}
    assert repr(copy) == repr(policy)


KEPT = [
    ALL,
    trax.keep_every(steps=10),
    trax.keep_for(days=7),
    trax.keep_for(timedelta(hours=1)),
    trax.keep_bytes(10e9),
    trax.keep_every(steps=10) | trax.keep_for(days=7),
    trax.keep_every(steps=10) & trax.keep_for(days=7) & trax.keep_bytes(1),
]


@pytest.mark.parametrize("keep", KEPT)
def test_a_policy_is_the_same_after_a_pickle(keep: trax.Keep) -> None:
    stored = [Stored(number, number * 3, 1e6 / (number + 1), 9, 9) for number in range(9)]
    for pickled in (pickle.dumps(keep), cloudpickle.dumps(keep)):
        made = pickle.loads(pickled)
        assert (made, repr(made), hash(made)) == (keep, repr(keep), hash(keep))
        assert made.choose(stored) == keep.choose(stored)
    assert [other for other in KEPT if other == keep] == [keep]
    assert keep != trax.every_steps(10)
