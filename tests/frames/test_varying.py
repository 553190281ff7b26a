"""Arguments that may vary, of a loop that has begun."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest

import trax


@trax.resumable(varying=("n", "rate"))
def walk(n: int, rate: int = 1, stride: int = 2) -> Generator[tuple[int, int], None, int]:
    """Walk up to a number."""
    total = 0
    for i in range(0, n, stride):
        total += rate
        yield i, total
    return total


def begun(steps: int) -> None:
    """Leave a walk of ten after some steps."""
    with walk(10) as run:
        for _ in range(steps):
            next(run)


@pytest.mark.parametrize("n", [20, 12, 10, 6, 4, 2])
def test_a_loop_over_a_range_ends_where_it_ends_now(n: int) -> None:
    """Earlier as well; the steps that are done stay done."""
    begun(2)
    assert [i for i, _ in walk(n)] == list(range(4, n, 2))


def test_a_value_that_the_loop_does_not_bind_anew_is_the_present_one() -> None:
    """Such as a rate."""
    begun(2)
    assert list(walk(10, rate=100)) == [(4, 102), (6, 202), (8, 302)]


def test_a_loop_over_something_else_is_refused() -> None:
    """What it goes over was made of the former value."""

    @trax.resumable(varying=("items",))
    def loop(items: list[int]) -> Iterator[int]:
        for item in items:
            yield item

    with loop([1, 2, 3]) as run:
        next(run)
    with pytest.raises(trax.UsageError, match="begun with another value of items"):
        next(loop([1, 5, 3]))
    assert list(loop([1, 2, 3])) == [2, 3]


def test_a_loop_that_has_ended_does_not_go_on() -> None:
    """Its variables are gone."""
    assert walk(4).result() == 2
    assert walk(4).result() == 2
    with pytest.raises(
        trax.UsageError, match="has ended, and cannot go on with another value of n"
    ):
        next(walk(6))
    assert walk.fresh(6).result() == 3


def test_a_run_that_has_ended_is_not_offered_a_way_that_fails() -> None:
    """While it has not, `varying` is one."""

    def counting(n: int) -> Iterator[int]:
        yield from range(n)

    loop = trax.resumable(counting)
    with loop(3) as run:
        next(run)
    with pytest.raises(trax.ArgumentsChangedError, match=r"give varying=\('n',\)"):
        loop(4).result()
    loop(3).result()
    with pytest.raises(trax.ArgumentsChangedError, match="It has ended, and") as caught:
        loop(4).result()
    assert "varying=" not in str(caught.value)
