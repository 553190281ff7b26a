"""What reading costs: replay, recovery, recall and opening, each beside the least that it can cost.

    python benchmarks/recovery.py [--rounds N] [--scale X] [--quick]

Each round measures both sides of each row once, in turn, in one process, so that a change of the
machine's speed meets all of them. A figure is the least of the rounds; where one call is short, a
round is a hundred calls, of which the fifth quickest counts. Memory is fresh, from the system,
unless the row says warm. The files are in memory, if there is /dev/shm: a disk is no part of this.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import trax

INCREMENT = (1, 2.5, "abc")
NEVER = 10**9
MEGABYTE = 1 << 20
CALLS, FIFTH = 100, 4

Action = Callable[[], object]


class Times(NamedTuple):
    """The seconds of one call, and those of the processor in it."""

    wall: float
    cpu: float


class Row(NamedTuple):
    """What trax does, what it is compared with, and how often that may be exceeded."""

    name: str
    limit: float
    mine: Action
    bare: Action
    is_short: bool = False


def once(action: Action) -> Times:
    gc.collect()
    begun, cpu = time.perf_counter(), time.process_time()
    result = action()
    times = Times(time.perf_counter() - begun, time.process_time() - cpu)
    del result  # not in the time
    return times


def fifth(action: Action) -> Times:
    found = [once(action) for _ in range(CALLS)]
    return Times(*(sorted(values)[FIFTH] for values in zip(*found, strict=True)))


# -- replay --------------------------------------------------------------------------------


def count(state: int, increment: object) -> int:
    return state + 1


@trax.resumable(create=int, replay_log=count, every_steps=NEVER, rng=None)
def counted(state: int, steps: int) -> Iterator[tuple[int, float, str]]:
    while True:
        yield INCREMENT


@trax.resumable(create=float, replay_log=lambda s, i: s + i, every_steps=NEVER, rng=None)
def summed(state: float, steps: int) -> Iterator[float]:
    while True:
        yield 0.5


@trax.resumable(create=int, replay_log=count, every_steps=NEVER)
def drawn(state: int, steps: int) -> Iterator[float]:
    while True:
        yield np.random.random()


def replay(name: str, loop: Any, increment: object, steps: int, limit: float) -> Row:
    with loop(steps + 1) as run:
        for _ in zip(range(steps), run, strict=False):
            pass
        fold = run._lifecycle._call.log_mode.fold
    payloads = [bytes(bytearray(pickle.dumps(increment, 5))) for _ in range(steps)]

    def bare() -> object:
        state = 0
        for payload in payloads:
            state = fold(state, pickle.loads(payload))
        return state

    return Row(name, limit, lambda: loop.load(steps + 1), bare)


# -- recovery ------------------------------------------------------------------------------


def arrays(megabytes: int) -> list[Any]:
    return [np.full(megabytes * MEGABYTE // 32, n, float) for n in range(4)]


@trax.resumable(create=arrays, replay_log=None, check=False)
def large(state: list[Any], megabytes: int) -> Iterator[int]:
    while True:
        yield 1


def recovery(megabytes: int) -> Iterator[Row]:
    with large(megabytes) as run:
        next(run)
    path = max(Path(".trax/runs/large").glob("checkpoint-*"))
    warm = np.zeros(path.stat().st_size, np.uint8)

    def read(memory: Any) -> Any:
        with path.open("rb", buffering=0) as file, memoryview(memory) as view:
            done = 0
            while done < len(view):
                done += file.readinto(view[done:])
        return memory

    size = len(warm)
    name = f"recovery of {megabytes} MB of arrays, beside readinto"
    mine = lambda: large.load(megabytes)  # noqa: E731
    yield Row(f"{name}(numpy.empty)", 1.2, mine, lambda: read(np.empty(size, np.uint8)))
    yield Row(f"{name}(bytearray)", 1.2, mine, lambda: read(bytearray(size)))
    yield Row(f"{name}(warm memory)", math.inf, mine, lambda: read(warm))


def peak(megabytes: int) -> None:
    """Print the bytes by which a recovery's peak exceeds the state; for a process of its own."""
    before = high_water()
    state = large.load(megabytes)
    print(high_water() - before - sum(array.nbytes for array in state))


def high_water() -> int:
    """Return the most bytes of memory that this process has had, without those of its parent."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def find_peak(megabytes: int) -> float:
    command = [sys.executable, __file__, "--peak", str(megabytes)]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) / MEGABYTE


# -- recall and opening --------------------------------------------------------------------


@trax.resumable(create=int, replay_log=count)
def short(state: int, steps: int) -> Generator[int, int, None]:
    while state < steps:
        state = yield 1


def recall() -> Row:
    short(10).result()
    return Row("a recall of a finished run, beside 1 ms", 1, lambda: short(10).result(), ms, True)


def ms() -> None:
    end = time.perf_counter() + 1e-3
    while time.perf_counter() < end:
        pass


@trax.resumable(create=int, replay_log=count, name="run-{seed}", every_steps=NEVER)
def swept(state: int, seed: int) -> Iterator[int]:
    while True:
        yield 1


def opening(runs: int) -> Iterator[Row]:
    def step(place: str, seed: int = 0) -> None:
        os.environ["TRAX_DIR"] = place
        with swept(seed) as run:
            next(run)
        del os.environ["TRAX_DIR"]

    numbers = iter(range(10**7, 10**8))
    step("empty")
    shutil.copytree("empty", "full")
    [run] = Path("full/runs").iterdir()
    for seed in range(1, runs):
        shutil.copytree(run, run.with_name(f"run-{seed}"))
        Path("full/locks", f"run-{seed}").touch(0o600)
    yield Row(
        f"opening one of {runs:,} runs, beside the only one",
        1.2,
        lambda: step("full"),
        lambda: step("empty"),
        True,
    )
    yield Row(
        f"beginning a run beside {runs:,}, and beside one",
        1.2,
        lambda: step("full", next(numbers)),
        lambda: step("empty", next(numbers)),
        True,
    )


# -- plain loops ---------------------------------------------------------------------------


@trax.resumable(rng=None)
def plain(steps: int, work: int) -> Iterator[int]:
    for i in range(steps):
        yield sum(range(i, i + work))


def catch_up(steps: int, work: int) -> Row:
    def first() -> None:
        with plain.fresh(steps, work) as run:
            next(run)
            session: Any = run._lifecycle.session
            session._frame_at = math.inf  # all steps are run again
            for _ in zip(range(steps - 2), run, strict=False):
                pass

    def again() -> None:
        with plain(steps, work) as run:
            next(run)

    return Row(f"catch-up of a plain loop, sum of {work}, beside the first time", 1.1, again, first)


# -- the table -----------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scale", type=float, default=1, help="of the sizes")
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    trax.notices.info = lambda *_: None
    if options.peak:
        peak(options.peak)
        return
    rounds, scale = (1, 0.01) if options.quick else (options.rounds, options.scale)
    megabytes, steps = int(1024 * scale), int(200_000 * scale)
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=place) as directory:
        os.chdir(directory)
        rows = [
            replay("replay of small tuples, beside loads + fold", counted, INCREMENT, steps, 3),
            replay("replay of floats", summed, 0.5, steps, 3),
            replay("replay of draws from a global RNG", drawn, 0.5, steps, math.inf),
            *recovery(megabytes),
            recall(),
            *opening(int(10_000 * scale)),
            catch_up(steps // 20, 10),
            catch_up(steps // 20, 1000),
        ]
        show(rows, rounds)
        print(f"peak memory of a recovery beyond the state: {find_peak(megabytes):.1f} MiB (16)")
        os.chdir("/")


def show(rows: list[Row], rounds: int) -> None:
    found: list[list[tuple[Times, Times]]] = [[] for _ in rows]
    for _ in range(rounds):
        for row, times in zip(rows, found, strict=True):
            measure = fifth if row.is_short else once
            bare = measure(row.bare)
            times.append((measure(row.mine), bare))
    print(f"{'':66}{'ms':>9}{'beside':>9}{'ratio':>7}{'CPU':>7}{'limit':>7}")
    for row, times in zip(rows, found, strict=True):
        mine, bare = (
            Times(*map(min, zip(*side, strict=True))) for side in zip(*times, strict=True)
        )
        ratios = f"{mine.wall / bare.wall:7.2f}{mine.cpu / bare.cpu:7.2f}"
        limit = "" if row.limit == math.inf else f"{row.limit:7.1f}"
        print(f"{row.name:66}{mine.wall * 1e3:9.2f}{bare.wall * 1e3:9.2f}{ratios}{limit}")


if __name__ == "__main__":
    main()
