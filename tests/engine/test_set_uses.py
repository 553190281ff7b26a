"""The order of a set in the state is told only where it may matter."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import trax


def sparse() -> set[int]:
    """Return a set that has another order once it is loaded."""
    found = {*range(1000)}
    found.difference_update(range(990))
    found.update((2**20, 5))
    assert [*found] != [*pickle.loads(pickle.dumps(found))]
    return found


class Crawl:
    def __init__(self) -> None:
        self.queue = [1, 2]
        self.seen = sparse()

    def visit(self, page: int) -> bool:
        is_new = page not in self.seen
        self.seen |= {page}
        return is_new and len(self.seen) > 1


class Tour(Crawl):
    def places(self) -> list[int]:
        return [*self.seen]


@dataclasses.dataclass
class Plain:
    seen: set[int] = dataclasses.field(default_factory=sparse)


def visit(crawl: Crawl, page: int) -> Crawl:
    if crawl.visit(page):
        crawl.queue.append(page)
    return crawl


def asks(state: Any) -> Iterator[int]:
    for i in trax.steps(3):
        if i not in state.seen and len(state.seen) < 90 and state.seen:
            state.seen.add(i)
        yield i


def asks_items(state: Any) -> Iterator[int]:
    for i in trax.steps(3):
        if not state["seen"].isdisjoint([i]):
            continue
        state = yield {"seen": {i}}  # type: ignore[misc]


def asks_lower(state: Any) -> Iterator[int]:
    for i in trax.steps(3):
        state["seen"]["inner"].add(i)
        yield i


def asks_itself(seen: Any) -> Iterator[int]:
    for i in trax.steps(3):
        if i in seen or sorted(seen) == [i]:
            pass
        seen = yield i


def hands_over(seen: Any) -> Iterator[Any]:
    for i in trax.steps(3):
        seen = yield seen | {i}


def goes_through(state: Any) -> Iterator[int]:
    for _ in trax.steps(3):
        yield sum(1 for page in state.seen if page)


def binds(state: Any) -> Iterator[int]:
    seen = state.seen
    for i in trax.steps(3):
        yield i + next(iter(seen))


def hands_on(state: Any) -> Iterator[int]:
    for i in trax.steps(3):
        yield i + len(str(state))


def pops(seen: Any) -> Iterator[int]:
    for _ in trax.steps(3):
        seen = yield seen.pop()


def is_told(caplog: pytest.LogCaptureFixture, loop: Callable[..., Any], **options: Any) -> bool:
    caplog.clear()
    trax.resumable(check=False, **options)(loop)().result()
    return "iterates in another order" in caplog.text


@pytest.mark.parametrize(
    ("loop", "create", "replay_log"),
    [
        (asks, Crawl, None),
        (asks, Crawl, visit),
        (asks, Plain, None),
        (asks_items, lambda: {"seen": sparse()}, None),
        (asks_itself, sparse, "add"),
        (hands_over, sparse, trax.resumable),
    ],
)
def test_a_set_that_is_only_asked_is_not_told(
    loop: Any, create: Any, replay_log: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """By the loop, `replay_log`, and the methods of the state."""
    options = {} if replay_log is trax.resumable else {"replay_log": replay_log}
    assert not is_told(caplog, loop, create=create, **options)


@pytest.mark.parametrize(
    ("loop", "create"),
    [
        (goes_through, Crawl),
        (asks, Tour),
        (binds, Crawl),
        (hands_on, Crawl),
        (pops, sparse),
        (asks_lower, lambda: {"seen": {"inner": sparse()}}),
    ],
)
def test_a_set_whose_order_may_matter_is_told(
    loop: Any, create: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Where elements are taken in order, and where what becomes of the set is not to be seen."""
    assert is_told(caplog, loop, create=create, replay_log=None)


def test_a_set_is_told_where_the_source_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    """Then nobody knows what the loop does with it."""
    names: dict[str, Any] = {"trax": trax}
    exec("def loop(seen):\n    for i in trax.steps(3):\n        yield i", names)
    assert is_told(caplog, names["loop"], create=sparse, replay_log=None)
