"""What a replica costs: the loop beside it, its requests, its lag, and copies of a large state.

It lies in a directory, or in a store of objects whose URL is in ``$BENCH_REPLICA``.
"""

from __future__ import annotations

import functools
import hashlib
import os
import secrets
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any
from unittest import mock

import trax
from benchmarks.loops import MEGABYTE, NEVER, arrays, begun, force, forever, keep, memory, new_file
from benchmarks.measuring import Amount, Group, Row, Side, Steps, fixed, found, in_child, stepping
from trax.calls.log_mode import REPLACE
from trax.replica import run_replica
from trax.replica.chain import Chain
from trax.replica.entry import Data, decode, number_of
from trax.replica.objects import Objects, open_objects
from trax.replica.restore import restore
from trax.storage.filesystem import LocalDirectory

SECONDS = 1.0  # between two rounds
PIECE = 8 * MEGABYTE


def new_url() -> str:
    """Return the URL of a replica that is empty."""
    place = os.environ.get("BENCH_REPLICA")
    return (
        f"{place}/{secrets.token_hex(8)}" if place else os.path.abspath(tempfile.mkdtemp(dir="."))
    )


# -- the loop beside it --------------------------------------------------------------------


def plain() -> Iterator[object]:
    yield from range(NEVER)


def kilobytes(state: Any) -> Iterator[object]:
    while True:
        yield os.urandom(1000)


def plain_run(**options: Any) -> Any:
    return trax.resumable(traxdir=tempfile.mkdtemp(dir="."), **options)(plain).fresh()


def at_full_speed(make: Callable[..., Any], seconds: float, url: str | None) -> Steps:
    """Return steps that go on for so many seconds, several rounds, and return the cost of one."""
    run = make(replica=url, replica_seconds=SECONDS)

    def steps(_: int) -> Amount:
        cpu, begin, count = time.process_time(), time.perf_counter(), 0
        while (wall := time.perf_counter() - begin) < seconds:
            count += sum(1 for _ in islice(run, 500))
        amount = Amount(wall / count, (time.process_time() - cpu) / count)
        time.sleep(1.5 * min(SECONDS, seconds))  # the rest is copied before the other side begins
        return amount

    return steps


def beside(seconds: float) -> Iterator[Row]:
    loops: dict[str, Callable[..., Any]] = {
        "fold": begun,
        "replace": functools.partial(begun, replay_log=REPLACE),
        "plain loop": plain_run,
        "increments of 1 kB": functools.partial(begun, kilobytes),
    }
    for name, make in loops.items():
        mine = Side(functools.partial(at_full_speed, make, seconds, new_url()))
        bare = Side(functools.partial(at_full_speed, make, seconds, None), "without a replica")
        yield Row(f"a step with a replica, {name}", 1.03, mine, bare)


def waiting() -> Steps:
    return stepping(begun(sync="replica", replica=new_url(), every_steps=NEVER))


def force_and_link() -> Steps:
    """Return steps that force a log, and a file of an object that is linked to its name."""
    log, place = new_file(), tempfile.mkdtemp(dir=".")
    here = os.open(place, os.O_RDONLY)

    def steps(number: int) -> None:
        for _ in range(number):
            os.write(log, bytes(40))
            force(log)
            fd, path = tempfile.mkstemp(dir=place)
            os.write(fd, bytes(800))
            force(fd)
            os.close(fd)
            os.link(path, f"{path}-linked")
            os.remove(path)
            os.fsync(here)

    return steps


# -- requests and lag ----------------------------------------------------------------------


class Counted:
    """A store of objects that counts what it is asked for, and how late steps come to it.

    Attributes
    ----------
    puts, size, requests : int
        The puts, their bytes, and all requests.
    logged : list of tuple
        The length of the log after each step that is not there yet, and the time.
    lags : list of float
        The seconds after which each step was there.
    in_pieces, imaged : threading.Event
        Are set once the first piece is put, and once an image is there.
    """

    def __init__(self, inner: Objects) -> None:
        self.url = inner.url
        self._inner = inner
        self.puts = self.size = self.requests = 0
        self.logged: list[tuple[int, float]] = []
        self.lags: list[float] = []
        self.in_pieces, self.imaged = threading.Event(), threading.Event()

    def put(self, key: str, parts: Sequence[Any]) -> bool:
        if "/piece-" in key:
            self.in_pieces.set()
        is_new = self._inner.put(key, parts)
        self.puts, self.requests = self.puts + 1, self.requests + 1
        self.size += sum(memoryview(part).nbytes for part in parts)
        if number := number_of(key):
            self._note(decode(b"".join(parts), None, "run", number)[0])
        return is_new

    def _note(self, entry: Any) -> None:
        if isinstance(entry, Data):
            length, now = max(entry.files.values()), time.perf_counter()
            while self.logged and self.logged[0][0] <= length:
                self.lags.append(now - self.logged.pop(0)[1])
            if entry.since == entry.number:
                self.imaged.set()

    def get(self, key: str) -> Any:
        self.requests += 1
        return self._inner.get(key)

    def read(self, key: str, start: int, length: int) -> Any:
        self.requests += 1
        return self._inner.read(key, start, length)

    def list(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        self.requests += 1
        return self._inner.list(prefix, after)

    def delete(self, keys: Sequence[str]) -> None:
        self.requests += 1
        self._inner.delete(keys)


def counted(
    make: Callable[..., Any], seconds: float = SECONDS, **options: Any
) -> tuple[Any, Counted]:
    """Return a run that has begun, and the store of objects that its replica is in."""
    objects = Counted(open_objects(url := new_url()))
    run = make(replica=url, replica_seconds=seconds, **options)
    with mock.patch.object(run_replica, "open_objects", return_value=objects):
        next(run)
    return run, objects


@functools.cache
def at_a_rate(steps: int, rounds: int, seconds: float) -> tuple[Counted, int]:
    """Do so many steps a round; return the store of objects, and the bytes that were logged."""
    store = tempfile.mkdtemp(dir=".")
    os.environ["TRAX_KEY"] = ""
    options: dict[str, Any] = {"create": int, "replay_log": keep, "every_steps": NEVER}

    def make(**replica: Any) -> Any:
        return trax.resumable(name="run", traxdir=store, **replica, **options)(forever).fresh()

    run, objects = counted(make, seconds)
    assert objects.imaged.wait(60)
    [log] = (entry for entry in os.scandir(f"{store}/runs/run") if entry.name.startswith("log"))
    puts, size, length = objects.puts, objects.size, os.stat(log.path).st_size
    begin, count = time.perf_counter(), 0
    while (now := time.perf_counter()) < begin + seconds * rounds:
        if count < (now - begin) / seconds * steps:
            next(run)
            objects.logged.append((os.stat(log.path).st_size, time.perf_counter()))
            count += 1
        time.sleep(seconds / max(2 * steps, 10))
    objects.puts, objects.size = objects.puts - puts, objects.size - size
    logged = os.stat(log.path).st_size - length
    run.close()
    return objects, logged


def requests(rounds: int) -> Iterator[Row]:
    def in_rounds(steps: int) -> tuple[Counted, int]:
        return at_a_rate(steps, rounds, SECONDS / 10)

    def puts(steps: int) -> float:
        return in_rounds(steps)[0].puts

    def lag(find: Callable[[list[float]], float]) -> float:
        return find(at_a_rate(100, max(2, rounds // 10), SECONDS)[0].lags)

    one = fixed(rounds, "one each round")
    for steps, pace in ((0, "an idle loop"), (1, "1 step each"), (100, "100 steps each")):
        mine = found(functools.partial(puts, steps))
        yield Row(f"puts of a replica in {rounds} rounds, {pace}", 1.05, mine, one, "")
    size = found(lambda: in_rounds(100)[0].size)
    logged = Side(found(lambda: in_rounds(100)[1]).make, "the bytes that were logged")
    yield Row(f"bytes put to a replica in {rounds} rounds", 4, size, logged, "B")
    interval = fixed(SECONDS, "replica_seconds")
    median = found(lambda: lag(statistics.median))
    yield Row("lag of a replica, median", 0.7, median, interval)
    yield Row("lag of a replica, worst", 1.2, found(lambda: lag(max)), interval)


# -- a large state -------------------------------------------------------------------------


@functools.cache
def large(megabytes: int) -> tuple[str, Amount]:
    """Store a run of a large state; return the URL of its replica, and what it took to copy it."""
    options: dict[str, Any] = {"create": lambda: arrays(megabytes), "replay_log": keep}
    run, objects = counted(begun, rng=None, **options)
    assert objects.in_pieces.wait(600)
    cpu, begin = time.process_time(), time.perf_counter()
    assert objects.imaged.wait(600)
    amount = Amount(time.perf_counter() - begin, time.process_time() - cpu)
    run.close()
    return objects.url, amount


def copied(megabytes: int) -> Steps:
    return lambda _: large(megabytes)[1]


def copy_in_pieces(megabytes: int) -> Steps:
    """Return steps that copy a file to files of 8 MiB, each of them forced."""
    return lambda _: copy_file(megabytes, PIECE)


def copy_whole(megabytes: int) -> Steps:
    return lambda _: copy_file(megabytes, NEVER)


def copy_file(megabytes: int, length: int) -> None:
    source, target = source_file(megabytes), new_file()
    for offset in range(0, megabytes * MEGABYTE, PIECE):
        content = os.pread(source, PIECE, offset)
        hashlib.sha256(content).hexdigest()
        os.write(target, content)
        if offset % length + PIECE >= length:
            force(target)
            os.close(target)
            target = new_file()
    force(target)
    os.close(target)


@functools.cache
def source_file(megabytes: int) -> int:
    fd = new_file()
    for number in range(0, megabytes, 8):
        os.write(fd, os.urandom(min(PIECE, (megabytes - number) * MEGABYTE)))
    return fd


def restored(megabytes: int) -> Steps:
    """Return steps that each write the files of a run from its replica, as on an empty disk."""
    url = large(megabytes)[0]

    def steps(_: int) -> None:
        chain = Chain(open_objects(url), "run", None)
        chain.look()
        data = chain.look_back()[1]
        assert data is not None
        place = tempfile.mkdtemp(dir=".")
        restore(chain, data, LocalDirectory(place), place)
        shutil.rmtree(place)

    return steps


def memory_of_restoring(url: str) -> float:
    """Return by how many bytes it lets the memory grow; for a process of its own."""
    chain = Chain(open_objects(url), "run", None)
    chain.look()
    data = chain.look_back()[1]
    assert data is not None
    before, place = memory("VmRSS"), tempfile.mkdtemp(dir=".")
    restore(chain, data, LocalDirectory(place), place)
    return memory("VmHWM") - before


def of_large_state(megabytes: int) -> Iterator[Row]:
    pieces = Side(
        functools.partial(copy_in_pieces, megabytes), "SHA-256 and a copy in files of 8 MiB, forced"
    )
    whole = Side(functools.partial(copy_whole, megabytes), "SHA-256 and a copy of the file, forced")
    yield Row(
        f"a replica of {megabytes:,} MB: copied", 1.5, Side(lambda: copied(megabytes)), pieces
    )
    mine = Side(functools.partial(restored, megabytes))
    yield Row(f"a replica of {megabytes:,} MB: restored", 1.5, mine, whole)
    grown = found(lambda: in_child(memory_of_restoring, large(megabytes)[0]))
    bound = fixed(256 * MEGABYTE, "256 MiB")
    yield Row(f"a replica of {megabytes:,} MB: memory to restore it", 1, grown, bound, "B")


def long_groups(scale: float) -> Iterator[Group]:
    yield Group("loops with replicas", [*beside(max(0.05, 2.5 * scale))], rounds=7, warm=1)
    waits = Side(force_and_link, "write, fdatasync; the same for an object, link, fsync", 8)
    rows = [Row('sync="replica"', 2, Side(waiting, chunk=8), waits)]
    yield Group("waiting for a replica", rows, rounds=50, warm=2)
    yield Group("requests of replicas", [*requests(max(15, int(200 * scale)))])
    yield Group("large replicas", [*of_large_state(max(32, int(1024 * scale)))], rounds=5)
