"""The properties of a run, which are the same for ordinary and async loops."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, ClassVar

import pytest
from test_sync_driver import squares, take

import trax


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


# -- length and displays -------------------------------------------------------------------


@trax.resumable(create=int, total="n", varying="n")
def counted(state: int, n: int) -> Generator[int, int, None]:
    while state < n:
        state = yield state + 1


def test_the_length_of_a_run_is_the_number_of_steps_that_are_left() -> None:
    """A number, an argument's value or its length; none once it is done."""
    with counted(n=5) as run:
        assert [len(run), next(run), len(run)] == [5, 1, 4]
    assert len(run) == 4
    assert len(counted(n=9)) == 8
    assert len(counted(n=0)) == 0
    assert list(counted(n=3)) == [2, 3]
    assert (len(counted(n=3)), bool(counted(n=3))) == (0, True)


@pytest.mark.parametrize(
    ("total", "length"), [(7, 7), ("items", 3), ("n", 2), (0, 0), ("other", None), (None, None)]
)
def test_the_total_may_be_given_in_several_ways(total: Any, length: int | None) -> None:
    """What is neither a number nor has a length gives none."""

    @trax.resumable(total=total)
    def loop(items: Any = "abc", n: int = 2, other: Any = None) -> Iterator[int]:
        yield 1

    run = loop()
    if length is None:
        with pytest.raises(TypeError, match="number of steps of 'loop' is not known"):
            len(run)
        assert list(run) == [1]
    else:
        assert len(run) == length
    assert run


def test_a_loop_gives_its_total_itself() -> None:
    """From then on the run has a length; before that, nobody opens it to ask."""

    @trax.resumable
    def loop() -> Iterator[int]:
        yield from trax.steps(4)

    run = loop()
    with pytest.raises(TypeError):
        len(run)
    assert "new" in repr(run)
    next(run)
    assert len(run) == 3


class Shown(list[Any]):
    """A display of one's own."""

    all: ClassVar[list[Shown]] = []

    def __init__(self, name: str, step: int) -> None:
        super().__init__([(name, step)])
        self.all.append(self)

    def update(self, step: int, total: int | None) -> None:
        self.append((step, total))

    def close(self, step: int) -> None:
        self.append(step)


def test_other_displays_are_told_the_same() -> None:
    """The name, the step at which it begins, the first ones, and the last."""

    @trax.resumable(create=int, total=5, progress=Shown)
    def loop(n: int) -> Generator[int, int, None]:
        while n < 5:
            n = yield n + 1

    with loop() as run:
        next(run)
    list(loop())
    first, second = Shown.all
    assert first[:2] == [("loop", 0), (0, 5)]
    assert first[-2:] == [(1, 5), 1]
    assert second[:2] == [("loop", 1), (1, 5)]
    assert second[-1] == 5
    Shown.all.clear()


def test_a_display_that_fails_leaves_no_lock() -> None:
    """Its error is raised, and the run can go on."""

    class Fails(Shown):
        def close(self, step: int) -> None:
            raise RuntimeError("no screen")

    def loop(n: int) -> Generator[int, int, None]:
        while n < 5:
            n = yield n + 1

    run = trax.resumable(create=int, progress=Fails)(loop)()
    next(run)
    with pytest.raises(RuntimeError, match="no screen"):
        run.close()
    Shown.all.clear()
    assert list(trax.resumable(create=int)(loop)()) == [2, 3, 4, 5]


def test_what_is_no_display_is_refused() -> None:
    """When it is decorated, or when the run is opened."""

    def loop(n: int) -> Generator[int, int, None]:
        yield n

    wrong: list[Any] = [1, "bar", lambda: None]
    for progress in wrong:
        with pytest.raises(trax.UsageError, match="progress"):
            trax.resumable(create=int, progress=progress)(loop)
    run = trax.resumable(create=int, progress=lambda name, step: None)(loop)()  # type: ignore[arg-type, return-value]
    with pytest.raises(trax.UsageError, match=r"this NoneType has no update\(\)"):
        next(run)
