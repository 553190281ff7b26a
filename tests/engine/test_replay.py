"""The log is replayed on top of a checkpoint, as its increments were folded live."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import run_script
from test_decorator import total

import trax


def test_a_log_is_not_replayed_in_another_sense() -> None:
    """Increments that were states are not folded, and the other way round."""

    def loop(n: int) -> Iterator[int]:
        for i in trax.steps(9):
            yield i

    with trax.resumable(create=int)(loop)() as run:
        next(run), next(run)
    with pytest.raises(trax.UsageError, match="replay_log left out, and now it is a function"):
        trax.resumable(create=int, replay_log=total)(loop)().result()
    assert trax.load("loop") == 1


def test_by_default_the_increment_replaces_the_state() -> None:
    """In the log of each name in the call."""
    with trax.Trax() as store:
        store.checkpoint(one=1, two=2)
        store.log(one=10, two=20)
        store.log(two=200)
        assert (store.recover("one"), store.recover("two")) == (10, 200)


def test_a_replay_log_that_raises_says_at_which_step() -> None:
    """Its own exception, with a note; the store is as it was."""
    with trax.Trax() as store:
        store.checkpoint(number=0)
        for number in (1, 2, 0, 4):
            store.log(number=number)
        with pytest.raises(ZeroDivisionError) as caught:
            store.recover("number", replay_log=lambda state, increment: 1 // increment)
        assert caught.value.__notes__ == ["trax: raised by replay_log at step 3 of 'number'"]
        assert store.recover("number") == 4


def test_a_replay_log_of_another_script_can_be_given() -> None:
    """The message offers that; and it was not raised by a function that could not be loaded."""
    run_script(
        "import trax\n"
        "def fold(state, increment):\n"
        "    return state + increment\n"
        "@trax.resumable(create=int, replay_log=fold)\n"
        "def count(state):\n"
        "    for i in trax.steps(5):\n"
        "        yield i\n"
        "with count() as run:\n"
        "    next(run), next(run), next(run)\n"
    )
    with pytest.raises(trax.CodecError, match="Or give replay_log=") as caught:
        trax.load("count")
    assert not hasattr(caught.value, "__notes__")
    assert trax.load("count", replay_log=lambda state, increment: state + increment) == 3
