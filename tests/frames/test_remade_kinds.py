"""Kinds of objects: data, connections and clients, and what no other process can have."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import decimal
import hashlib
import logging
import queue
import socket
import sqlite3
import subprocess
import tempfile
import threading
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trax.frames.remade_kinds import (
    fault,
    is_container,
    is_data,
    is_stack,
    is_stateless,
    is_writer,
)


@dataclasses.dataclass
class Point:
    """A dataclass."""

    x: Any


class Custom(list[int]):
    """A list with more to it."""


@pytest.mark.parametrize(
    "value",
    [
        *(None, 1, 1.5, "a", b"a", bytearray(b"a"), True, 2j, range(3)),
        *([1, [2]], (1,), {"a": {1}}, frozenset("a"), deque([1])),
        *(np.arange(3), np.float64(1), Point([1]), Path("a"), datetime.datetime.min),
        decimal.Decimal(1),
    ],
)
def test_data(value: object) -> None:
    """What a variable of a `with` keeps from step to step."""
    assert is_data(value)


@pytest.mark.parametrize(
    "value",
    [
        *(object(), [object()], {"a": object()}, Point(object()), Point, len, threading.Lock()),
        *(np.array([object()]), SimpleNamespace(a=1), [[[[[[1]]]]]], decimal.getcontext()),
    ],
)
def test_no_data(value: object) -> None:
    """Objects that may be more than their contents."""
    assert not is_data(value)


def test_other_kinds() -> None:
    """Containers, stacks, settings, output files."""
    assert is_container(Custom())
    assert not is_container("a")
    assert is_stack(contextlib.ExitStack())
    assert not is_writer(tempfile)


def test_what_steps_do_not_change() -> None:
    """Connections, loggers and locks are what they were; an own class may be anything."""
    kinds: list[Any] = [sqlite3.connect(":memory:"), logging.getLogger("a"), threading.RLock()]
    with socket.socket() as one, ThreadPoolExecutor() as pool:
        kinds += [one, pool, queue.Queue()]
        assert all(map(is_stateless, kinds))
    assert not any(map(is_stateless, [Point(1), Custom(), object()]))
    kinds[0].close()


async def _a_task() -> Any:
    return asyncio.ensure_future(asyncio.sleep(0))


class _Waiting(threading.Thread):
    """A subclass is refused as its base is."""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Future[int](), "its work ends with this process"),
        (_Waiting(), "its thread ends with this process"),
        (hashlib.sha256(), "its state cannot be read"),
        (hashlib.blake2b(), "its state cannot be read"),
        (zlib.compressobj(), "its state cannot be read"),
        ([1, Future[int]()], "its work ends with this process"),
        ({"a": [Future[int]()]}, "its work ends with this process"),
    ],
)
def test_what_no_other_process_can_have(value: object, reason: str) -> None:
    """Also in containers."""
    found = fault(value)
    assert found
    assert found[0] == reason
    assert found[1]


def test_what_can_be_made_again() -> None:
    """If there is nothing in it."""
    assert fault(threading.Lock()) is None
    assert fault(queue.Queue()) is None
    assert fault(threading.Event()) is None
    assert fault([queue.Queue()]) is None


def test_events_and_queues_that_are_in_use() -> None:
    """What was put into them would not be there."""
    event = threading.Event()
    event.set()
    waiting = queue.SimpleQueue[int]()
    waiting.put(1)
    assert fault(event)
    assert fault(waiting)


def test_processes_and_temporary_files() -> None:
    """They end with the process."""
    with subprocess.Popen(["true"]) as process:
        assert fault(process)
    with tempfile.NamedTemporaryFile() as file:
        assert fault(file)


def test_databases(tmp_path: Path) -> None:
    """Tables in memory, and rows that are not committed, are lost."""
    with contextlib.closing(sqlite3.connect(":memory:")) as memory:
        found = fault(memory)
        assert found
        assert "memory" in found[0]
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as file:
        assert fault(file) is None
        file.execute("CREATE TABLE a (b)")
        file.execute("INSERT INTO a VALUES (1)")
        found = fault(file)
        assert found
        assert "committed" in found[0]
        file.commit()
        assert fault(file) is None


def test_simulations_name_their_generators() -> None:
    """As simpy keeps them: in a queue of events with callbacks."""
    environment = type("Environment", (), {"__module__": "simpy.core"})()

    def arrivals() -> Any:
        yield

    process = SimpleNamespace(_generator=arrivals())
    event = SimpleNamespace(callbacks=[SimpleNamespace(__self__=process)])
    environment._queue = [(0, 0, 0, event)]
    found = fault(environment)
    assert found
    assert found[0] == "it runs generators (arrivals)"


def test_a_class_may_say_otherwise_what_its_module_is() -> None:
    class Odd:
        __module__ = property(lambda self: "odd")

    assert not is_stateless(Odd())
