"""Checks of loops that take items with keys, in whatever order they come."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest

import trax
from trax.testing import Checked, check_resume, check_stored

Steps = Generator[Any, Any, None]


@trax.resumable(create=dict, replay_log="update", varying="numbers", keep=5)
def squares(found: dict[int, int], numbers: Iterable[int]) -> Steps:
    for n in trax.remaining(numbers, key=str):
        yield {n: n * n}


@pytest.mark.parametrize("numbers", [range(10), range(9, -1, -1), [*range(20, 30), *range(10)]])
def test_a_stored_run_may_be_checked_with_its_items_in_another_order(numbers: Any) -> None:
    """And with others before them; it took them in its own."""
    squares(range(10)).result()
    squares(range(10)).result()
    with squares([*range(12)]):
        pass
    assert check_stored(squares(numbers), steps=None).steps > 0


def test_items_that_are_missing_are_no_change_of_the_code() -> None:
    """They are needed to run their steps again."""
    with squares(range(10)) as run:
        for _ in range(6):
            next(run)
    with pytest.raises(trax.UsageError, match=r"needs the items of all stored steps.*step 4"):
        check_stored(squares(range(3)))


def shuffled() -> Iterator[int]:
    numbers = [*range(8)]
    random.SystemRandom().shuffle(numbers)
    yield from numbers


@trax.resumable(create=dict, replay_log="update")
def in_any_order(found: dict[int, int]) -> Steps:
    for n in trax.remaining(shuffled(), key=str):
        yield {n: n}


@trax.resumable(create=dict, replay_log="update")
def completed(found: dict[int, int], n: int) -> Steps:
    with ThreadPoolExecutor(3) as pool:
        tasks = {pool.submit(pow, i, 2): i for i in range(n)}
        for task in trax.remaining(as_completed(tasks), key=lambda task: tasks[task]):
            yield {tasks[task]: task.result()}


def test_items_may_come_in_another_order_in_every_run() -> None:
    """All runs of a check take them in that of the first."""
    checked = check_resume(in_any_order())
    assert isinstance(checked, Checked)
    assert checked.steps == 8
    assert check_resume(completed(n=6), limit=10).steps == 6


@trax.resumable(create=dict, replay_log="update", check=False)
def wrong(found: dict[int, int]) -> Steps:
    kept = 0
    for n in trax.remaining(shuffled(), key=str):
        kept += n
        yield {n: kept}


def test_what_differs_otherwise_is_found() -> None:
    with pytest.raises(AssertionError, match="does not resume exactly"):
        check_resume(wrong())
