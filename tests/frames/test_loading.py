"""What is left to do to loaded objects is done when all of them are there."""

from __future__ import annotations

import pytest

from trax.frames.loading import NoRngs, end_of_loading, loading, loading_into, present_rngs


def test_actions_are_done_at_the_end_and_generators_after_them() -> None:
    done: list[str] = []
    with loading():
        end_of_loading(lambda: done.append("inner"), is_generator=True)
        end_of_loading(lambda: done.append("place"))
        end_of_loading(lambda: done.append("outer"), is_generator=True)
        assert done == []
    assert done == ["place", "outer", "inner"]


def test_outside_of_loading_everything_is_done_at_once() -> None:
    done: list[int] = []
    end_of_loading(lambda: done.append(1), is_generator=True)
    assert done == [1]


def test_what_is_only_looked_at_enters_nothing() -> None:
    done: list[str] = []
    with loading(enters=False):
        end_of_loading(lambda: done.append("generator"), is_generator=True)
        end_of_loading(lambda: done.append("place"))
    assert done == ["place"]


def test_it_can_be_done_later() -> None:
    done: list[str] = []
    with loading_into() as later:
        end_of_loading(lambda: done.append("generator"), is_generator=True)
        end_of_loading(lambda: done.append("place"))
    assert done == []
    later.complete()
    assert done == ["place"]
    later.enter()
    assert done == ["place", "generator"]


def test_nothing_is_done_after_an_error() -> None:
    done: list[int] = []
    with pytest.raises(KeyError), loading():  # noqa: PT012
        end_of_loading(lambda: done.append(1))
        raise KeyError
    assert done == []


def test_the_rngs_of_the_run() -> None:
    rngs = NoRngs()
    with loading(rngs=rngs):
        assert present_rngs() is rngs
    assert present_rngs() is not rngs
    assert present_rngs().snapshot() is None
