"""Sources in another order in every process are refused, also inside of iterators."""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
from collections.abc import AsyncIterator, Iterator
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
from tqdm import tqdm

import trax
from trax.engine.item_sources import check_order, check_source


def futures() -> Iterator[concurrent.futures.Future[int]]:
    done: concurrent.futures.Future[int] = concurrent.futures.Future()
    done.set_result(1)
    return concurrent.futures.as_completed([done])


WRAPPED: dict[str, Any] = {
    "alone": lambda source: source,
    "enumerate": enumerate,
    "map": lambda source: map(str, source),
    "zip": lambda source: zip(source, "ab", strict=False),
    "chain": lambda source: itertools.chain([], source),
    "islice": lambda source: itertools.islice(source, 1),
    "a generator expression": lambda source: (item for item in source),
    "tqdm": lambda source: tqdm(source, disable=True),
    "several": lambda source: enumerate(tqdm((item for item in source), disable=True)),
}


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_results_as_they_are_completed_are_refused(wrapped: str) -> None:
    """Their order differs from run to run."""
    with pytest.raises(trax.UsageError, match=r"as_completed\(\) has another") as caught:
        check_order(WRAPPED[wrapped](futures()))
    assert "Executor.map()" in str(caught.value)


@pytest.mark.parametrize("chunk", [1, 2])
def test_an_unordered_map_of_a_pool_is_refused(chunk: int) -> None:
    """In both of its forms; the ordered one is not."""
    with ThreadPool(1) as pool:
        with pytest.raises(trax.UsageError, match=r"imap_unordered\(\) has another"):
            check_order(pool.imap_unordered(str, [1, 2], chunk))
        check_order(pool.imap(str, [1, 2], chunk))


def test_tasks_as_they_are_completed_are_refused() -> None:
    """Those of asyncio."""

    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0))
        with pytest.raises(trax.UsageError, match=r"asyncio\.as_completed\(\) has another"):
            check_order(source := asyncio.as_completed([task]))
        for done in source:
            await done

    asyncio.run(main())


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_sets_are_refused(wrapped: str) -> None:
    """The order of their items depends on the process."""
    with pytest.raises(trax.UsageError, match="Sort them"):
        check_order(WRAPPED[wrapped]({"a"} if wrapped == "alone" else iter({"a"})))


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_other_sources_are_not(wrapped: str) -> None:
    """Whatever they contain: only what is iterated over counts."""
    check_order(WRAPPED[wrapped]([{"a"}, futures()]))
    check_order(WRAPPED[wrapped](iter([{"a"}])))
    check_order(WRAPPED[wrapped](iter((futures(),))))


def test_a_generator_may_sort_what_has_no_order() -> None:
    """Only a generator expression shows what it takes from."""

    class Inbox(set[str]):
        def in_order(self) -> Iterator[str]:
            yield from sorted(self)

    check_order(Inbox("ab").in_order())


def test_a_sequence_of_the_old_kind_is_iterable() -> None:
    """It has no __iter__."""

    class Old:
        def __getitem__(self, number: int) -> int:
            return range(3)[number]

    check_source(Old())


@pytest.mark.parametrize("items", [5, None])
def test_what_is_no_iterable_is_named(items: Any) -> None:
    """With what to do."""
    with pytest.raises(trax.UsageError, match=r"takes an iterable.*is none"):
        check_source(items)


def test_an_async_iterable_is_refused() -> None:
    """There is no remaining() for it."""

    async def items() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(trax.UsageError, match="Collect the items"):
        check_source(items())
