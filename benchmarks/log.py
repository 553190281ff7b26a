"""What the log's writing costs: large increments, `Trax.log`, a key, each sync, small checkpoints.

    python benchmarks/log.py [--chunks N] [--quick] [ROW ...]

Every row stands beside its limit, the calls that the same promise needs at least. All of them run
in turn, in short chunks, so that a change of the machine's speed meets every one. A figure is the
5th percentile of a row's chunks, in microseconds of wall-clock time and of the processor. A fresh
megabyte is in new memory at each step, whose pages the kernel must first provide.
"""

from __future__ import annotations

import argparse
import os
import pickle
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from typing import Any, NamedTuple

import numpy as np

import trax
from trax.calls.log_mode import REPLACE

INCREMENT = (1, 2.5, "abc")
MEGABYTE = np.random.default_rng(1).integers(256, size=1 << 20, dtype=np.uint8)
WARM = 3  # chunks: the first steps of a call are checked

Steps = Callable[[int], object]  # does so many steps


class Row(NamedTuple):
    """A row of the table: its limit, its loop, and the steps in a chunk."""

    limit: Callable[[], Steps]
    loop: Callable[[], Steps]
    chunk: int


def repeating(act: Callable[[], object]) -> Steps:
    def steps(count: int) -> None:
        for _ in repeat(None, count):
            act()

    return steps


# -- limits ------------------------------------------------------------------------------------


def written(make: Callable[[], Any], *, forced: bool = False) -> Callable[[], Steps]:
    """Return a limit that writes some memory at each step, and forces it to the disk."""

    def limit() -> Steps:
        fd, _ = tempfile.mkstemp(dir=".")

        def act() -> None:
            os.write(fd, make())
            if forced:
                os.fdatasync(fd)

        return repeating(act)

    return limit


def dumps_and_write() -> Steps:
    fd, _ = tempfile.mkstemp(dir=".")

    def steps(count: int) -> None:
        for _ in repeat(None, count):
            os.write(fd, pickle.dumps(INCREMENT, 5))

    return steps


def small() -> bytes:
    return pickle.dumps(INCREMENT, 5)


def file_replaced() -> Steps:
    """Write a small file that appears as a whole, and is durable."""
    here = os.open(tempfile.mkdtemp(dir="."), os.O_RDONLY)
    content = bytes(2000)

    def act() -> None:
        fd = os.open("new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=here)
        os.write(fd, content)
        os.fdatasync(fd)
        os.close(fd)
        os.rename("new", "file", src_dir_fd=here, dst_dir_fd=here)
        os.fsync(here)

    return repeating(act)


# -- loops -------------------------------------------------------------------------------------


def count(state: int, increment: object) -> int:
    return state + 1


def repeated(make: Callable[[], Any]) -> Callable[[Any], Iterator[Any]]:
    def body(state: Any) -> Iterator[Any]:
        for _ in repeat(None):
            yield make()

    return body


def same(state: Any) -> Iterator[Any]:
    for _ in repeat(None):
        yield INCREMENT


def loop(
    body: Callable[[Any], Iterator[Any]] = same, *, key: bool = False, **options: Any
) -> Callable[[], Steps]:
    """Return a loop of trax, whose files are signed if `key`."""
    options = {"create": int, "replay_log": count, "check": False, **options}

    def begin() -> Steps:
        os.environ["TRAX_KEY"] = secrets.token_hex(32) if key else ""
        decorated = trax.resumable(name="run", traxdir=tempfile.mkdtemp(dir="."), **options)(body)
        run = iter(decorated.fresh())

        def steps(count: int) -> None:
            for _ in islice(run, count):
                pass

        return steps

    return begin


def named_state() -> trax.Trax:
    os.environ["TRAX_KEY"] = ""
    store = trax.Trax(tempfile.mkdtemp(dir="."))
    store.checkpoint(name=0)
    return store


def logging() -> Steps:
    store = named_state()

    def steps(count: int) -> None:
        for _ in repeat(None, count):
            store.log(name=INCREMENT)

    return steps


def checkpointing() -> Steps:
    store = named_state()
    return repeating(lambda: store.checkpoint(name=1))


def warm() -> Any:
    return MEGABYTE


def fresh() -> Any:
    return MEGABYTE.copy()


BYTES = MEGABYTE.tobytes()

ROWS: dict[str, Row] = {
    "1 MB, replace": Row(written(warm), loop(repeated(warm), replay_log=REPLACE), 8),
    "1 MB, fold": Row(written(warm), loop(repeated(warm)), 8),
    "1 MB, fresh, replace": Row(written(fresh), loop(repeated(fresh), replay_log=REPLACE), 8),
    "1 MB, fresh, fold": Row(written(fresh), loop(repeated(fresh)), 8),
    "1 MB of bytes, replace": Row(
        written(lambda: BYTES), loop(repeated(lambda: BYTES), replay_log=REPLACE), 8
    ),
    "1 MB of bytes, fold": Row(written(lambda: BYTES), loop(repeated(lambda: BYTES)), 8),
    "small": Row(dumps_and_write, loop(), 400),
    "Trax.log": Row(dumps_and_write, logging, 400),
    "with a key": Row(dumps_and_write, loop(key=True), 400),
    'sync="always"': Row(written(small, forced=True), loop(sync="always"), 8),
    "Trax.checkpoint": Row(file_replaced, checkpointing, 4),
    "a checkpoint each step": Row(file_replaced, loop(every_steps=1), 4),
}


# -- measuring ---------------------------------------------------------------------------------


def percentile(values: list[float]) -> float:
    return sorted(values)[len(values) // 20]


def measure(names: list[str], chunks: int) -> dict[str, list[float]]:
    """Return the microseconds of a step of each row: of its limit, and of its loop.

    Wall-clock time comes first, then that of the processor.
    """
    made = {name: (ROWS[name].limit(), ROWS[name].loop()) for name in names}
    found: dict[str, list[list[float]]] = {name: [[], [], [], []] for name in names}
    for number in range(chunks + WARM):
        for name, pair in made.items():
            for index, steps in enumerate(pair):
                begun, used = time.perf_counter(), time.process_time()
                steps(ROWS[name].chunk)
                wall, processor = time.perf_counter() - begun, time.process_time() - used
                if number >= WARM:
                    found[name][index].append(wall / ROWS[name].chunk * 1e6)
                    found[name][2 + index].append(processor / ROWS[name].chunk * 1e6)
    return {name: [*map(percentile, times)] for name, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="only show that everything runs")
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        times = measure(options.rows or list(ROWS), 2 if options.quick else options.chunks)
        os.chdir("/")
    print(f"{'':24}{'limit':>9}{'trax':>9}{'ratio':>7}{'CPU':>11}{'trax':>9}{'ratio':>7}")
    for name, (limit, mine, cpu_limit, cpu_mine) in times.items():
        wall = f"{limit:9.2f}{mine:9.2f}{mine / limit:7.2f}"
        print(f"{name:24}{wall}{cpu_limit:11.2f}{cpu_mine:9.2f}{cpu_mine / cpu_limit:7.2f}")


if __name__ == "__main__":
    main()
