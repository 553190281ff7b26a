"""Loops over any iterable go on at their item, or are refused at the first frame."""

from __future__ import annotations

import collections
import contextlib
import csv
import itertools
import os
import random
import re
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, as_completed
from io import StringIO
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from looping import Loop, check
from support import run_script
from tqdm import tqdm

import trax
from trax.errors import ArgumentsChangedError, CodecError, UsageError


class Shuffled:
    """A loader that shuffles each time, and whose iterator cannot be stored."""

    def __init__(self) -> None:
        self.items = [*range(6)]
        self.epoch = 0

    def __iter__(self) -> Iterator[Any]:
        random.shuffle(self.items)
        self.epoch += 1
        return Opaque([*self.items])


class Opaque:
    def __init__(self, items: Any) -> None:
        self.items = iter(items)
        self.lock = threading.Lock()

    def __iter__(self) -> Opaque:
        return self

    def __next__(self) -> Any:
        return next(self.items)


def epochs(loader: Any) -> Iterator[Any]:
    for epoch in range(2):
        for item in loader:
            yield epoch, item, random.random()


def numbered(loader: Any) -> Iterator[Any]:
    for number, item in enumerate(loader, 3):
        yield number, item, random.random()
    for pair in zip(loader, "abcd", strict=False):
        yield pair
    for item in map(str, iter(loader)):
        yield item
    for item in itertools.islice(loader, 2):
        yield item


def barred(loader: Any) -> Iterator[Any]:
    for item in tqdm(loader, disable=True):
        yield item
    for number, item in enumerate(tqdm(loader, disable=True)):
        yield number, item
    for number, item in tqdm(enumerate(loader), disable=True):
        yield number, item


@pytest.mark.parametrize("loop", [epochs, numbered, barred])
def test_a_shuffling_loader_goes_on(loop: Any) -> None:
    """From the RNGs, and from its attributes, as they were before it was gone through."""
    check(loop, lambda: (Shuffled(),))


class Numbers:
    """An iterator of the user's, which begins anew when it is asked for an iterator."""

    def __init__(self, stop: int) -> None:
        self.stop = stop

    def __iter__(self) -> Numbers:
        self.number = 0
        return self

    def __next__(self) -> int:
        self.number += 1
        if self.number > self.stop:
            raise StopIteration
        return self.number


class Sequence:
    """Only its items can be asked for."""

    def __getitem__(self, index: int) -> int:
        if index > 3:
            raise IndexError
        return index


class Generating:
    """Its iterator is a generator."""

    def __iter__(self) -> Iterator[float]:
        rng = random.Random(random.random())
        for _ in range(4):
            yield rng.random()


@pytest.mark.parametrize("kind", [lambda: Numbers(4), Sequence, Generating])
@pytest.mark.parametrize("loop", [epochs, numbered])
def test_iterables_of_the_users(loop: Any, kind: Any) -> None:
    check(loop, lambda: (kind(),))


def calls(text: str) -> Iterator[Any]:
    for found in re.finditer("a.", text):
        yield found.span()
    for (number, found), letter in zip(enumerate(re.finditer("a.", text)), "xyz", strict=False):
        yield number, found.span(), letter
    for row in csv.reader(StringIO("a,b\nc,d\n")):
        yield row
    for one in np.nditer(np.arange(3)):
        yield str(one)
    for one in np.ndindex(2, 2):
        yield one
    for folder, _, _ in os.walk("."):
        yield folder
    for row in Rows(StringIO("1\n2\n3\n")):
        yield row


def Rows(file: Any) -> Any:  # noqa: N802
    return Opaque(line.strip() if isinstance(line, str) else line for line in file)


def test_what_a_function_returns_is_made_again() -> None:
    """With the same arguments; a file among them is read from where it was."""
    Path("a", "b").mkdir(parents=True)
    check(calls, lambda: ("abacadae",))


def read(stream: Any) -> Iterator[Any]:
    stream.readline()
    for row in Rows(stream):
        yield row


def test_a_stream_is_read_again_from_where_it_was() -> None:
    check(read, lambda: (StringIO("title\n1\n2\n3\n"),))


def natives(items: Any) -> Iterator[Any]:
    for key, value in items.items():
        yield key, value
    for value in sorted(items):
        yield value
    for value in iter(collections.deque([1, 2, 3]).popleft, 3):
        yield value
    for one in np.arange(4).reshape(2, 2):
        yield one.tolist()
    yield from zip(items, range(9), strict=False)
    yield from [*items]
    yield from (value * 2 for value in items.values())


def test_natives() -> None:
    check(natives, lambda: ({"a": 1, "b": 2},))


def test_other_items_are_never_taken_for_those_of_before() -> None:
    loader = Changing([[1, 2, 3]] * 9)
    loop = Loop(epochs, loader)
    next(loop.loop), next(loop.loop)
    encoded = loop.store()
    Changing.lists = [[1, 5, 3]]
    with pytest.raises(ArgumentsChangedError) as error:
        next(loop.load(encoded))
    assert str(error.value).startswith(
        "the loop has passed 2 items of Changing, which gives others\nGive its items a fixed order"
    )
    Changing.lists = [[1]]
    with pytest.raises(ArgumentsChangedError, match="passed 2 items of Changing, which gives only"):
        next(loop.load(encoded))
    Changing.lists = []
    with pytest.raises(ArgumentsChangedError, match="once more: IndexError: pop from empty list"):
        next(loop.load(encoded))


class Changing:
    """A source that is not the same each time, and does not show that."""

    lists: ClassVar[list[list[Any]]] = []

    def __init__(self, lists: list[list[Any]]) -> None:
        Changing.lists = lists

    def __iter__(self) -> Iterator[Any]:
        return Opaque(Changing.lists.pop())


def test_a_source_that_is_other_each_time_is_refused_at_the_first_frame() -> None:
    """It is gone through once more there, on a copy."""
    loop = Loop(epochs, Changing([[1, 2], [1, 2], [3, 2], [1, 2]]))
    next(loop.loop)
    with pytest.raises(CodecError) as error:
        loop.store()
    assert "gone through once more, the Changing gives other items\n" in str(error.value)
    with pytest.raises(CodecError, match="gives other items"):
        loop.store()


class Drawing:
    """Draws its items one by one from the RNG that the loop draws from as well."""

    def __iter__(self) -> Iterator[Any]:
        return Opaque(random.random() for _ in range(9))


def test_items_that_depend_on_the_draws_of_the_loop_are_refused() -> None:
    """The first one does not; the second one does."""
    loop = Loop(epochs, Drawing())
    next(loop.loop)
    loop.store()
    next(loop.loop)
    with pytest.raises(CodecError, match="gone through once more, the Drawing gives other items"):
        loop.store()


def test_arrays_are_compared_by_their_content() -> None:
    check(arrays, lambda: (Arrays(),))


def arrays(source: Any) -> Iterator[Any]:
    for one, _ in source:
        yield one.tolist()


class Arrays:
    def __iter__(self) -> Iterator[Any]:
        return Opaque((np.arange(3) + number, [np.float64(number)]) for number in range(4))


def locks() -> Any:
    return Opaque(threading.Lock() for _ in range(3))


def test_items_that_cannot_be_compared_are_told(said: list[str]) -> None:
    """Once for each time that a loop begins."""

    def loop() -> Iterator[Any]:
        for _ in locks():
            yield 1

    running = Loop(loop)
    for _ in range(3):
        next(running.loop)
        running.store()
    (line,) = said
    assert line == (
        "a resumed run goes through locks() once more; of the items passed it compares those "
        "of lock by their type only"
    )


def test_matches_are_compared_by_what_they_match(said: list[str]) -> None:
    """So nothing needs to be told."""

    def loop() -> Iterator[Any]:
        for found in re.finditer("a(.)", "ab ac ad"):
            yield found[1]

    running = Loop(loop)
    next(running.loop)
    running.store()
    assert said == []


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr("trax.notices.info", found.append)
    return found


def test_an_iterator_that_exists_once_is_refused() -> None:
    """With what to write instead."""

    def loop(connection: Any) -> Iterator[Any]:
        rows = connection.execute("select 1 union select 2")
        for row in rows:
            yield row

    connection = sqlite3.connect(":memory:")
    running = Loop(loop, connection)
    next(running.loop)
    with pytest.raises(CodecError) as error:
        running.store()
    connection.close()
    assert str(error.value) == (
        "frame[3][0] (trax.frames.iterables.Again) cannot be stored: "
        "a sqlite3.Cursor can be gone through only once\n"
        "Write it into the head of the loop, as in `for item in make(...)`, to be made again.\n"
        "Or loop over a list of its items."
    )


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: as_completed([Future()]), "concurrent.futures.as_completed()"),
        (lambda: enumerate(as_completed([])), "concurrent.futures.as_completed()"),
        (lambda: ThreadPool(1).imap_unordered(str, [1]), "imap_unordered()"),
    ],
)
def test_an_order_that_differs_from_run_to_run_is_refused(make: Any, name: str) -> None:
    """Before the loop has begun."""

    def completed() -> Iterator[Any]:
        nothing: list[Any] = []
        for one in as_completed(nothing):
            yield one

    def enumerated() -> Iterator[Any]:
        nothing: list[Any] = []
        for one in enumerate(as_completed(nothing)):
            yield one

    def mapped() -> Iterator[Any]:
        with ThreadPool(1) as pool:
            for one in pool.imap_unordered(str, [1]):
                yield one

    loops = [completed, enumerated] if "as_completed" in name else [mapped]
    for loop in loops:
        with pytest.raises(UsageError) as error:
            next(Loop(loop).loop)
        assert str(error.value) == (
            f"{name} has another order in each run, so a loop over it cannot resume.\n"
            "Loop over the tasks, and wait for the result of each."
        )


def test_functions_that_look_at_their_frame() -> None:
    def loop() -> Iterator[Any]:
        one = 1
        for name in sorted(locals()):
            yield name
        yield str(one)
        for name in [*vars()]:
            yield name

    assert [one for one in Loop(loop).loop if ".iter" not in one] == [*loop()]


def test_own_functions_of_the_names_of_python() -> None:
    """They get what they are given."""

    def loop() -> Iterator[Any]:
        def zip(*lists: Any) -> Any:  # noqa: A001
            return [one[0] for one in lists]

        for one in zip([1, 2], [*"ab"], list("xy")):
            yield one

    assert [*Loop(loop).loop] == [1, "a", "x"]


SCRIPT = """
import os, random, signal, sys
import numpy as np
import trax
from tqdm import tqdm

class Loader:
    def __init__(self):
        self.order = list(range(7))
    def __iter__(self):
        random.shuffle(self.order)
        np.random.shuffle(self.order)
        return map(self.load, open_(self.order))
    def load(self, number):
        return number, number * 2

class open_:
    def __init__(self, order):
        self.order, self.file = iter(list(order)), os.popen("true")
    def __iter__(self):
        return self
    def __next__(self):
        return next(self.order)

def double(items):
    for item in items:
        yield item, item

@trax.resumable(every_steps=3)
def loop(kill):
    loader = Loader()
    for epoch in range(2):
        for number, item in enumerate(tqdm(loader, disable=True)):
            yield epoch, number, item, random.random()
        for pair in double(random.random() for _ in range(3)):
            if trax.step() == int(os.environ.get("KILL", -1)):
                os.kill(os.getpid(), signal.SIGKILL)
            yield pair

random.seed(5), np.random.seed(5)
run = loop(kill=1)
with open("found.txt", "a") as file:
    for one in run:
        print(one, file=file, flush=True)
"""


def test_killed_processes_go_on(store_here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the numbers of an undisturbed run."""
    run_script(SCRIPT)
    expected = Path("found.txt").read_text().splitlines()
    assert len(expected) == 20
    Path("found.txt").unlink()
    monkeypatch.setenv("TRAX_DIR", "other")
    for kill in ("7", "9", "18"):
        monkeypatch.setenv("KILL", kill)
        run_script(SCRIPT.replace("kill=1", "kill=2"), check=False)
    monkeypatch.delenv("KILL")
    run_script(SCRIPT.replace("kill=1", "kill=2"))
    assert Path("found.txt").read_text().splitlines() == expected


def test_a_query_that_steps_change_is_refused_before_a_crash() -> None:
    """Rows that are marked as done do not come again; a list of all rows does."""

    with contextlib.closing(sqlite3.connect("jobs.db")) as connection, connection:
        connection.execute("CREATE TABLE jobs (number, done)")
        connection.executemany("INSERT INTO jobs VALUES (?, 0)", [(n,) for n in range(5)])
    query = "SELECT number FROM jobs WHERE done = 0 ORDER BY number"

    @trax.resumable
    def loop() -> Iterator[int]:
        connection = sqlite3.connect("jobs.db")
        for (number,) in connection.execute(query).fetchall():
            connection.execute("UPDATE jobs SET done = 1 WHERE number = ?", (number,))
            connection.commit()
            yield number

    @trax.resumable
    def refused() -> Iterator[int]:
        connection = sqlite3.connect("jobs.db")
        for (number,) in connection.execute(query):
            connection.execute("UPDATE jobs SET done = 1 WHERE number = ?", (number,))
            connection.commit()
            yield number

    assert list(loop()) == [*range(5)]
    with contextlib.closing(sqlite3.connect("jobs.db")) as connection, connection:
        connection.execute("UPDATE jobs SET done = 0")
    with pytest.raises(CodecError, match=r"Connection\.execute\(\) gives other items\n") as caught:
        next(refused())
    assert "Or loop over a list of them." in str(caught.value)


def test_the_same_query_again_is_no_fault() -> None:

    with contextlib.closing(sqlite3.connect("jobs.db")) as connection, connection:
        connection.execute("CREATE TABLE jobs (number)")
        connection.executemany("INSERT INTO jobs VALUES (?)", [(n,) for n in range(5)])

    @trax.resumable
    def loop() -> Iterator[int]:
        connection = sqlite3.connect("jobs.db")
        for (number,) in connection.execute("SELECT number FROM jobs"):
            yield number

    assert list(loop()) == [*range(5)]
