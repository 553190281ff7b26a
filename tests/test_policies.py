"""When a checkpoint is due."""

from __future__ import annotations

import math
import pickle
from datetime import timedelta
from typing import Any

import cloudpickle
import pytest

import trax
from trax.policies import Since


def since(**values: Any) -> Since:
    """Return measurements of a run at step 0, with these changed."""
    measured = Since(0, 0.0)
    measured.checkpoints = 2
    for name, value in values.items():
        setattr(measured, name, value)
    return measured


def test_every_steps_counts_from_the_last_checkpoint() -> None:
    """A checkpoint is due after so many steps, not before."""
    policy = trax.every_steps(10)
    assert not policy(since(step=9))
    assert policy(since(step=10))
    assert not policy(since(step=19, started_step=10))


@pytest.mark.parametrize("duration", [2, 2.0, timedelta(seconds=2)])
def test_every_seconds_takes_seconds_or_a_timedelta(duration: Any) -> None:
    """Both ways to write a duration mean the same."""
    policy = trax.every_seconds(duration)
    assert not policy(since(now=1.9))
    assert policy(since(now=2.0))


@pytest.mark.parametrize("steps", [0, -1, 1.5, True, "10", None])
def test_every_steps_refuses_what_is_no_number_of_steps(steps: Any) -> None:
    """A mistake is named when the policy is made, not at the first checkpoint."""
    with pytest.raises(trax.UsageError, match="every_steps must be a whole number"):
        trax.every_steps(steps)


@pytest.mark.parametrize("duration", [0, -1, math.nan, math.inf, "60", timedelta(0), True])
def test_every_seconds_refuses_what_is_no_duration(duration: Any) -> None:
    """A mistake is named when the policy is made."""
    with pytest.raises(trax.UsageError, match="every_seconds must be a positive number"):
        trax.every_seconds(duration)


def test_policies_combine_with_each_other_and_with_any_callable() -> None:
    """`|` is due when either is, `&` when both are."""
    steps, seconds = trax.every_steps(10), trax.every_seconds(5)
    assert (steps | seconds)(since(step=10, now=0.0))
    assert (steps | seconds)(since(step=0, now=5.0))
    assert not (steps & seconds)(since(step=10, now=0.0))
    assert (steps & (lambda measured: measured.log_bytes > 1))(since(step=10, log_bytes=2))


def test_automatic_waits_until_recovery_would_take_long() -> None:
    """A checkpoint that nothing needs yet is not taken, however cheap it is."""
    policy = trax.automatic()
    assert not policy(since(now=599.0, replay_seconds=59.0, checkpoint_seconds=0.001))
    assert policy(since(now=599.0, replay_seconds=60.0, checkpoint_seconds=0.001))


def test_automatic_bounds_the_log() -> None:
    """A log that outgrows 64 MB and twice the checkpoint is a reason for a checkpoint."""
    policy = trax.automatic()
    assert policy(since(now=599.0, log_bytes=64_000_000, checkpoint_bytes=1))
    assert not policy(since(now=599.0, log_bytes=64_000_000, checkpoint_bytes=40_000_000))
    assert policy(since(now=599.0, log_bytes=80_000_000, checkpoint_bytes=40_000_000))


def test_automatic_bounds_the_stretch_that_one_damaged_log_can_cost() -> None:
    """Every ten minutes a checkpoint is worth its cost, however short the log is."""
    policy = trax.automatic()
    assert not policy(since(now=599.0, checkpoint_seconds=5.0))
    assert policy(since(now=600.0, checkpoint_seconds=5.0))
    assert not policy(since(now=600.0, checkpoint_seconds=7.0))


def test_automatic_stores_a_second_checkpoint_soon() -> None:
    """At once where that costs little, and where it is large as soon as it costs one per cent."""
    policy = trax.automatic()
    assert policy(since(checkpoints=1, checkpoint_bytes=1 << 20, checkpoint_seconds=2.0))
    large = {"checkpoints": 1, "checkpoint_bytes": 1 + (1 << 20), "checkpoint_seconds": 2.0}
    assert not policy(since(now=199.0, **large))
    assert policy(since(now=200.0, **large))
    assert not policy(since(now=200.0, **{**large, "checkpoints": 2}))


def test_automatic_stores_a_checkpoint_as_soon_as_it_is_cheap_if_nothing_is_logged() -> None:
    """And in the first minute each time that the call is twice as old."""
    policy = trax.automatic()
    unlogged = {"is_logged": False, "checkpoint_seconds": 0.01}
    assert not policy(since(now=0.99, started=0.6, **unlogged))
    assert policy(since(now=1.0, started=0.5, **unlogged))
    assert policy(since(now=0.2, started=0.1, **unlogged))
    assert not policy(since(now=0.2, started=0.11, **unlogged))
    assert not policy(since(now=101.0, started=101.0 - 0.99, **unlogged))
    assert policy(since(now=101.0, started=100.0, **unlogged))
    late = {"is_logged": False, "checkpoint_seconds": 1.0}
    assert policy(since(now=60.0, started=30.0, **late))
    assert not policy(since(now=61.0, started=30.0, **late))


def test_automatic_costs_the_loop_one_percent() -> None:
    """An expensive checkpoint waits until a hundred times its cost has passed."""
    policy = trax.automatic()
    assert not policy(since(now=199.0, replay_seconds=1e6, checkpoint_seconds=2.0))
    assert policy(since(now=200.0, replay_seconds=1e6, checkpoint_seconds=2.0))


@pytest.mark.parametrize("options", [{"overhead": 0}, {"overhead": 2}, {"recovery_seconds": 0}])
def test_automatic_refuses_what_makes_no_sense(options: Any) -> None:
    """A mistake is named when the policy is made."""
    with pytest.raises(trax.UsageError):
        trax.automatic(**options)


def has_logs(measured: Since) -> bool:
    return measured.logs > 3


POLICIES = [
    trax.every_steps(10),
    trax.every_seconds(timedelta(minutes=5)),
    trax.automatic(),
    trax.automatic(overhead=0.05, recovery_seconds=10),
    trax.every_steps(10) | trax.every_seconds(60),
    trax.every_steps(10) & trax.automatic() & trax.every_seconds(60),
    trax.every_steps(10) | has_logs,
    trax.Policy(has_logs, exact=False, steps=3),
]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_is_the_same_after_a_pickle(policy: trax.Policy) -> None:
    """Also by cloudpickle, as a library of jobs sends it; and it decides the same."""
    for pickled in (pickle.dumps(policy), cloudpickle.dumps(policy)):
        made = pickle.loads(pickled)
        assert (made, made.exact, made.steps) == (policy, policy.exact, policy.steps)
        assert hash(made) == hash(policy)
        for step, now in ((0, 0.0), (10, 0.0), (10, 700.0)):
            measured = since(step=step, now=now)
            assert bool(made(measured)) is bool(policy(measured))
        assert b"trax.policies" not in pickled  # it does not depend on the modules in trax
    assert [other for other in POLICIES if other == policy] == [policy]
    assert policy != "policy"
