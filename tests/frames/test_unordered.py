"""Loops over results in the order of their completion are refused, with what keeps an order."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest

import trax
from trax.frames.unordered import unordered_source


def work(item: Any) -> Any:
    return item


def submitted(items: list[Any]) -> Iterator[Any]:
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(work, item) for item in items]
        for future in as_completed(waiting):
            yield future.result()


def with_items(items: list[Any]) -> Iterator[Any]:
    with ThreadPoolExecutor(2) as threads:
        waiting = {threads.submit(work, one): one for one in items}
        for _, future in enumerate(concurrent.futures.as_completed(waiting)):
            yield waiting[future]


def otherwise(threads: Any, items: list[Any]) -> Iterator[Any]:
    for future in as_completed([threads.submit(work, 1, item) for item in items]):
        yield future.result()


def in_a_pool(pool: Any, items: list[Any]) -> Iterator[Any]:
    yield from ()
    for result in pool.imap_unordered(work, items, chunksize=4):
        yield result


async def tasks(items: list[Any]) -> AsyncIterator[Any]:
    for task in asyncio.as_completed([asyncio.sleep(item) for item in items]):
        await task
        yield 1


REFUSED = {
    submitted: ("as_completed", "threads.map(work, items), which keeps the order of the items."),
    with_items: (
        "concurrent.futures.as_completed",
        "threads.map(work, items), which keeps the order of the items.",
    ),
    otherwise: (
        "as_completed",
        "executor.map(function, items), which keeps the order of the items.",
    ),
    in_a_pool: (
        "pool.imap_unordered",
        "pool.imap(work, items, chunksize=4), which keeps the order of the items.",
    ),
    tasks: (
        "asyncio.as_completed",
        "the items and await the result of each, or gather() all in one step.",
    ),
}


@pytest.mark.parametrize("loop", REFUSED)
def test_such_a_loop_is_refused_at_decoration(loop: Any) -> None:
    name, way = REFUSED[loop]
    with pytest.raises(trax.UsageError) as caught:
        trax.resumable(loop)
    cause, remedy = str(caught.value).splitlines()
    assert cause.endswith(f": {name}() has another order in each run.")
    assert remedy == f"Loop over {way}"


def test_results_that_are_put_in_order_are_none() -> None:
    """Nor are loops that are over at the yield."""

    @trax.resumable
    def loop(pool: Any, items: list[Any]) -> Iterator[Any]:
        for result in sorted(pool.imap_unordered(work, items)):
            yield result
        for item in items:
            found = [*pool.imap_unordered(work, items)]
            for future in as_completed(found):
                print(future)
            yield item

    assert loop.__name__ == "loop"


def test_sources_that_hand_out_results_as_they_are_completed() -> None:
    """The functions of the standard library, and no other iterator."""
    assert unordered_source(as_completed([])) == "concurrent.futures.as_completed()"
    assert unordered_source(iter([])) == unordered_source(one for one in [1]) == ""
