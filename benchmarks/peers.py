"""What a step costs beside storing it with other tools, if they are installed."""

from __future__ import annotations

import pickle
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from itertools import count, repeat
from typing import Any, NamedTuple

from benchmarks.loops import INCREMENT, loop
from benchmarks.measuring import Group, Row, Side, Steps


def sqlite() -> Steps:
    connection = sqlite3.connect(f"{tempfile.mkdtemp(dir='.')}/db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("CREATE TABLE log (increment BLOB)")

    def steps(number: int) -> None:
        for _ in repeat(None, number):
            connection.execute("INSERT INTO log VALUES (?)", (pickle.dumps(INCREMENT, 5),))

    return steps


def lmdb() -> Steps:
    place = tempfile.mkdtemp(dir=".")
    store = import_module("lmdb").open(place, map_size=1 << 30, writemap=True, sync=False)
    keys = count()

    def steps(number: int) -> None:
        for _ in repeat(None, number):
            with store.begin(write=True) as transaction:
                transaction.put(next(keys).to_bytes(8, "big"), pickle.dumps(INCREMENT, 5))

    return steps


def step(number: int) -> object:
    return INCREMENT


def calling(memoized: Callable[[int], object]) -> Steps:
    """Return steps that call a function, each with another argument."""
    numbers = count()

    def steps(number: int) -> None:
        for _ in repeat(None, number):
            memoized(next(numbers))

    return steps


def diskcache() -> Steps:
    return calling(import_module("diskcache").Cache(tempfile.mkdtemp(dir=".")).memoize()(step))


def joblib() -> Steps:
    return calling(import_module("joblib").Memory(tempfile.mkdtemp(dir="."), verbose=0).cache(step))


def dbos() -> Steps:
    module: Any = import_module("dbos").DBOS
    url = f"sqlite:///{tempfile.mkdtemp(dir='.')}/dbos.sqlite"
    settings = {"run_admin_server": False, "log_level": "ERROR"}
    module(config={"name": "benchmark", "system_database_url": url, **settings})
    stored = module.step()(step)

    def flow(number: int) -> None:
        for one in range(number):
            stored(one)

    steps: Steps = module.workflow()(flow)
    module.launch()
    return steps


class Peer(NamedTuple):
    """Another tool, and the most that a step of trax may take of one of its steps.

    Those of the last three come from a first comparison of them with SQLite, which takes four times
    as long as a step of trax.
    """

    module: str
    label: str
    limit: float
    make: Callable[[], Steps]
    chunk: int


PEERS = [
    Peer("sqlite3", "SQLite: WAL, no sync, a commit each", 1, sqlite, 400),
    Peer("lmdb", "LMDB: writemap, no sync, a commit each", 1, lmdb, 400),
    Peer("diskcache", "diskcache: a memoized function", 1 / 36, diskcache, 40),
    Peer("joblib", "joblib: a memoized function", 1 / 75, joblib, 20),
    Peer("dbos", "dbos on SQLite: a step of a workflow", 1 / 790, dbos, 10),
]


def missing() -> list[str]:
    """Return the peers that are not installed."""
    return [peer.module for peer in PEERS if find_spec(peer.module) is None]


def groups(scale: float) -> Iterator[Group]:
    fold, absent = loop(), missing()
    rows = [
        Row(
            f"a step beside {peer.module}",
            peer.limit,
            fold,
            Side(peer.make, peer.label, peer.chunk),
        )
        for peer in PEERS
        if peer.module not in absent
    ]
    yield Group("peers", rows, rounds=100, warm=3)
