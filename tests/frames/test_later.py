"""Iterators that need what is made again: they get a stand-in until that is there."""

from __future__ import annotations

import pickle
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from remaking import begin, runs, stored_after

from trax.errors import CodecError
from trax.frames.later import Later, StandIns, path_of

Increments = Iterator[Any]


class Pages:
    """An iterator over pages that begins again where it was: it keeps a method to load them."""

    def __init__(self, load: Callable[[int], Any], done: int = 0) -> None:
        self.load = load
        self.done = done

    def __iter__(self) -> Pages:  # a loop names it
        return self

    def __next__(self) -> Any:
        if self.done == 4:
            raise StopIteration
        self.done += 1
        return self.load(self.done)


class Client:
    """A client that cannot be stored."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.lock = threading.Lock()

    def page(self, number: int) -> str:
        """Return a page."""
        return f"{self.base}/{number}"


def pages(base: str) -> Increments:
    client = Client(base)
    for page in Pages(client.page):
        yield page


def rows(path: str) -> Increments:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS t (a)")
    for found in Pages(lambda n: connection.execute(f"SELECT {n}").fetchone()):
        yield found


def built_in(path: str) -> Increments:
    connection = sqlite3.connect(path)
    for found in Pages(connection.execute):  # type: ignore[arg-type]
        yield found


def entered(base: str) -> Increments:
    client = Client(base)
    with client.lock:
        for page in Pages(client.page):
            yield page, client.lock.locked()


def listed(base: str) -> Increments:
    clients = [Client(f"{base}{n}") for n in range(5)]
    for client in clients:
        yield client.base


def counted(base: str) -> Increments:
    clients = [Client(f"{base}{n}") for n in range(5)]
    for n, client in enumerate(reversed(clients)):
        yield n, client.base


def by_name(base: str) -> Increments:
    clients = {f"{base}{n}": Client(f"{base}{n}") for n in range(5)}
    for name, client in clients.items():
        yield name, client.base


def queued(base: str) -> Increments:
    clients = deque(Client(f"{base}{n}") for n in range(5))
    for client in clients:
        yield client.base


@pytest.mark.parametrize("loop", [pages, rows, entered, listed, counted, by_name, queued])
def test_a_loop_goes_on_with_what_is_made_again(loop: Any) -> None:
    """Its iterator has a method of that object, and nothing else needs it."""
    undisturbed, *resumed = runs(loop, 4, "http")
    assert resumed == [undisturbed] * 3


def test_only_what_the_iterator_needs_is_made_again() -> None:
    """Not every variable that cannot be stored."""
    stored = stored_after(pages, 2, "http")
    assert stored.plan.names == {"client"}
    assert "base" in stored.plan.needs


def bound_later() -> Increments:
    client = Client("a")
    for page in Pages(client.page):
        yield page
        client = Client(page)
        print(client.base, end="")


def test_what_cannot_be_made_again_is_refused() -> None:
    """The iterator has another client than the variable by now."""
    with pytest.raises(CodecError, match=r"^frame\[3\]\[0\].* cannot be stored"):
        stored_after(bound_later, 2)


def test_a_stand_in() -> None:
    """Its attributes are looked up when they are needed; it pickles as what it stands for."""
    stand_ins = StandIns(known=1)
    later = stand_ins[path_of("words")]
    split, upper = later.split, later.upper
    with pytest.raises(KeyError):
        stand_ins["args.x"]
    with pytest.raises(IndexError):
        split()
    stand_ins.make({"words": "a b"})
    assert split() == ["a", "b"]
    assert [*later] == ["a", " ", "b"]
    assert pickle.loads(pickle.dumps(later)) == "a b"
    assert pickle.loads(pickle.dumps(upper))() == "A B"
    assert later.lower() == "a b"
    assert not hasattr(Later(), "__len__")
    assert begin(pages, "x")
