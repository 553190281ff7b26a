"""The properties of a run, which are the same for ordinary and async loops."""

from __future__ import annotations

from test_sync_driver import squares, take


def test_asking_for_the_state_brings_it_back() -> None:
    """The properties open the run, without starting the loop."""
    with squares(n=9) as run:
        assert (run.state, run.step, run.resumed_at, run.done) == ([], 0, None, False)
        assert take(run, 3) == [0, 1, 4]
    with squares(n=9) as run:
        assert (run.state, run.step, run.resumed_at, run.name) == ([0, 1, 4], 3, 3, "squares")


def test_the_repr_says_where_it_stands() -> None:
    """For a person at a prompt."""
    run = squares(n=3)
    assert repr(run) == "<Run 'squares', new, step 0>"
    run.result()
    assert repr(run) == "<Run 'squares', done, step 3>"
