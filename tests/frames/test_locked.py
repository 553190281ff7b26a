"""Objects with a lock and data in them are told from those that lead out of the process."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Self

import pytest
from remaking import begin, can_store

from trax.errors import CodecError
from trax.frames.locked import locked
from trax.frames.program import program_of
from trax.frames.remakes import Remakes


class Stats:
    def __init__(self, **others: Any) -> None:
        self.lock = threading.Lock()
        self.counts: dict[int, int] = {}
        self.log = logging.getLogger("stats")
        self.__dict__ |= others

    def count(self, key: int) -> int:
        """Count a key."""
        with self.lock:
            self.counts[key] = self.counts.get(key, 0) + 1
        return self.counts[key]

    def total(self) -> int:
        """Return the sum."""
        return sum(self.counts.values())


class Node:
    def __init__(self, parent: Node | None = None) -> None:
        self.children: list[Node] = []
        self.parent = weakref.ref(parent) if parent else None

    def grow(self) -> None:
        """Have one child more."""
        self.children.append(Node())


def test_the_nearest_lock_is_named() -> None:
    """With what to do."""
    found = locked({"all": [Stats()]}, "stats", can_store)
    assert found is not None
    assert found.reason == "stats['all'][0].lock is a lock"
    assert "__getstate__" in found.advice


@pytest.mark.parametrize("kind", [threading.RLock, threading.Condition, threading.Semaphore])
def test_kinds_of_locks(kind: Any) -> None:
    """Those in others of the standard library are found, too."""
    found = locked(Stats(lock=kind()), "stats", can_store)
    assert found is not None
    assert found.reason.startswith("stats.lock")


def test_weak_references() -> None:
    """An ordinary one is stored."""
    root = Node()
    root.children.append(Node(root))
    found = locked(root, "root", can_store)
    assert found is not None
    assert found.reason == "root.children[0].parent is a weak reference"
    assert "ordinary reference" in found.advice


def test_the_digest_is_that_of_all_else() -> None:
    """It stays as long as nothing changes."""
    stats = Stats()
    before = locked(stats, "stats", can_store)
    assert locked(stats, "stats", can_store) == before
    stats.count(1)
    assert locked(stats, "stats", can_store) != before


@pytest.mark.parametrize(
    "other",
    [
        threading.Lock(),
        Stats(client=http.client.HTTPConnection("localhost")),
        Stats(rows=memoryview(b"")),
    ],
)
def test_others_are_no_data(other: Any) -> None:
    """A lock alone, and what leads out of the process, or could not be stored without a lock."""
    assert locked(other, "other", can_store) is None


def test_a_socket_leads_out_of_the_process() -> None:
    """Whatever is counted beside it."""
    with socket.socket() as connected:
        assert locked(Stats(connected=connected), "stats", can_store) is None


# -- loops ---------------------------------------------------------------------------------


def asked(n: int) -> Iterator[Any]:
    stats = Stats()
    for i in range(n):
        if stats.count(i % 3) < n:
            yield i, stats.total()


def passed(n: int) -> Iterator[Any]:
    stats = Stats()
    for i in range(n):
        helped(stats, i)
        yield i


def helped(stats: Stats, number: int) -> None:
    stats.count(number)


def grown(n: int) -> Iterator[Any]:
    root = Node()
    for _ in range(n):
        root.children.append(Node(root))
        yield len(root.children)


def only_used(n: int) -> Iterator[Any]:
    stats = Stats(counts={1: 2})
    for i in range(n):
        with stats.lock:
            number = stats.total()
        yield i, number


def client(n: int) -> Iterator[Any]:
    stats = Stats(client=http.client.HTTPConnection("localhost"))
    for i in range(n):
        stats.counts[i] = 1
        yield i


class Entered(Stats):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def given(n: int) -> Iterator[Any]:
    rows, others = Node(), Node()
    stats = Stats(rows=rows)
    with Entered(rows=rows, others=others) as entered:
        for i in range(n):
            rows.grow()
            yield i, stats.total(), entered.total()


def frames(loop: Any) -> list[str]:
    """Return what is made again after each step."""
    program = program_of(loop.__code__, provides_iterators=True)
    remakes, generator, found = Remakes(program, "loop", can_store), begin(loop, 3), []
    for number, _ in enumerate(generator):
        frame = program.snapshot(generator, remakes.needs)
        remakes.stored(generator, frame) if number else remakes.plan(generator, frame)
        found.append(" ".join(sorted(remakes.plan_of(frame.site).names)))
    return found


@pytest.mark.parametrize(
    ("loop", "name"), [(only_used, "stats"), (client, "stats"), (given, "entered stats")]
)
def test_what_the_loop_uses_is_made_again(loop: Any, name: str) -> None:
    """It has a lock, too."""
    assert frames(loop) == [name] * 3


def test_what_the_loop_visibly_changes_is_refused_at_the_first_frame() -> None:
    """With the part that cannot be stored."""
    with pytest.raises(CodecError, match=r"root \(line \d+\) cannot be made again") as caught:
        frames(grown)
    assert "(root.children[0].parent is a weak reference)" in str(caught.value)


@pytest.mark.parametrize("loop", [asked, passed])
def test_what_the_loop_changes_is_told_when_it_has_changed(
    loop: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """However it did that; once."""
    frames(loop)
    assert caplog.text.count("steps change stats") == 1
    assert "since stats.lock is a lock" in caplog.text
    assert "__setstate__" in caplog.text
