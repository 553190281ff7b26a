"""When blocking work is done."""

from __future__ import annotations

import pytest

from trax.engine.deferral import AtOnce, Deferred


def test_an_ordinary_loop_waits_for_the_work() -> None:
    """Nothing is left to be done later."""
    done: list[str] = []
    deferral = AtOnce()
    deferral.do(lambda: done.append("work"))
    assert done == ["work"]
    assert not deferral.pending
    assert deferral.take() is None


@pytest.mark.parametrize("forces", [False, True])
def test_an_async_loop_has_it_done_later(forces: bool) -> None:
    """The driver sees that something is pending, and takes it once."""
    done: list[str] = []
    deferral = Deferred(forces=forces)
    assert deferral.pending is forces
    deferral.do(lambda: done.append("work"))
    assert deferral.pending
    work = deferral.take()
    assert not done
    assert work is not None
    work()
    assert done == ["work"]
    assert deferral.pending is forces
    assert deferral.take() is None


def test_of_two_checkpoints_one_is_enough() -> None:
    """The first one that is due is stored, and it stores the present state."""
    done: list[str] = []
    deferral = Deferred(forces=False)
    deferral.do(lambda: done.append("first"))
    deferral.do(lambda: done.append("second"))
    work = deferral.take()
    assert work is not None
    work()
    assert done == ["first"]
