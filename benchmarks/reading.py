"""What replay, recovery, recall, opening, catch-up, maps and the import cost."""

from __future__ import annotations

import functools
import math
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator
from itertools import count as numbers_from
from pathlib import Path
from typing import Any

import numpy as np

import trax
from benchmarks.loops import INCREMENT, NEVER, arrays, count, dumps_and_write, memory
from benchmarks.measuring import (
    Amount,
    Group,
    Row,
    Side,
    Steps,
    fixed,
    found,
    in_child,
    stepping,
    timed,
)

# -- replay --------------------------------------------------------------------------------


@trax.resumable(create=int, replay_log=count, every_steps=NEVER, rng=None)
def counted(state: int, steps: int) -> Iterator[tuple[int, float, str]]:
    while True:
        yield INCREMENT


def add(state: float, increment: float) -> float:
    return state + increment


@trax.resumable(create=float, replay_log=add, every_steps=NEVER, rng=None)
def summed(state: float, steps: int) -> Iterator[float]:
    while True:
        yield 0.5


def replay(kind: str, loop: Any, fold: Any, increment: object, steps: int) -> Row:
    def replaying() -> Steps:
        with loop(steps) as run:
            stepping(run)(steps)
        return lambda _: loop.load(steps)

    def loading() -> Steps:
        payloads = [bytes(bytearray(pickle.dumps(increment, 5))) for _ in range(steps)]

        def bare(_: int) -> None:
            state: Any = 0
            for payload in payloads:
                state = fold(state, pickle.loads(payload))

        return bare

    bare = Side(loading, "pickle.loads + fold")
    return Row(f"replay of {steps:,} {kind}", 3, Side(replaying), bare)


# -- recovery ------------------------------------------------------------------------------


@trax.resumable(create=arrays, replay_log=None, check=False)
def large(state: list[Any], megabytes: int) -> Iterator[int]:
    while True:
        yield 1


@functools.cache
def stored(megabytes: int) -> Path:
    """Store a large state, and return the path of its checkpoint."""
    with large(megabytes) as run:
        next(run)
    return max(Path(".trax/runs/large").glob("checkpoint-*"))


def read_into(path: Path, memory: Any) -> Any:
    with path.open("rb", buffering=0) as file, memoryview(memory) as view:
        done = 0
        while done < len(view):
            done += file.readinto(view[done:])
    return memory


def recovering(megabytes: int) -> Steps:
    stored(megabytes)
    return lambda _: large.load(megabytes)


def reading(megabytes: int, *, fresh: bool) -> Steps:
    path = stored(megabytes)
    size = path.stat().st_size
    if fresh:
        return lambda _: read_into(path, np.empty(size, np.uint8))
    warm = np.zeros(size, np.uint8)
    return lambda _: read_into(path, warm)


def memory_beyond(path: Path, megabytes: int) -> int:
    """Return by how many bytes a recovery's peak exceeds the state; for a process of its own."""
    before = memory("VmHWM")
    state = large.load(megabytes)
    size: int = sum(array.nbytes for array in state)
    return max(0, memory("VmHWM") - before - size)


def recovery(megabytes: int) -> Iterator[Row]:
    name, mine = f"recovery of {megabytes:,} MB of arrays", Side(lambda: recovering(megabytes))
    fresh, warm = (
        Side(functools.partial(reading, megabytes, fresh=fresh), f"readinto {kind} memory")
        for kind, fresh in (("fresh", True), ("warm", False))
    )
    yield Row(name, 1.2, mine, fresh)
    yield Row(f"{name}, beside warm memory", None, mine, warm)
    beyond = found(lambda: in_child(memory_beyond, stored(megabytes), megabytes))
    yield Row("memory of a recovery beyond the state", 1, beyond, fixed(16 << 20, "16 MiB"), "B")


# -- recall and opening --------------------------------------------------------------------


@trax.resumable(create=int, replay_log=count)
def short(state: int, steps: int) -> Generator[int, int, None]:
    while state < steps:
        state = yield 1


def recalling() -> Steps:
    short(10).result()
    return lambda _: short(10).result()


@trax.resumable(create=int, replay_log=count, name="run-{seed}", every_steps=NEVER)
def swept(state: int, seed: int) -> Iterator[int]:
    while True:
        yield 1


def step_in(place: str, seed: int = 0) -> None:
    os.environ["TRAX_DIR"] = place
    with swept(seed) as run:
        next(run)
    del os.environ["TRAX_DIR"]


@functools.cache
def crowded(runs: int) -> None:
    """Make a store of so many runs, and one of a single one."""
    step_in("empty")
    shutil.copytree("empty", "full")
    [run] = Path("full/runs").iterdir()
    for seed in range(1, runs):
        shutil.copytree(run, run.with_name(f"run-{seed}"))
        Path("full/locks", f"run-{seed}").touch(0o600)


def opening(runs: int) -> Iterator[Row]:
    seeds = numbers_from(10**7)

    def side(place: str, label: str = "", *, new: bool) -> Side:
        def make() -> Steps:
            crowded(runs)
            return lambda _: step_in(place, next(seeds) if new else 0)

        return Side(make, label)

    for name, new in (("opening one of", False), ("beginning a run beside", True)):
        alone = side("empty", "alone in its store", new=new)
        yield Row(f"{name} {runs:,}", 1.2, side("full", new=new), alone)


# -- plain loops and maps ------------------------------------------------------------------


@trax.resumable(name="plain-{work}", rng=None)
def plain(steps: int, work: int) -> Iterator[int]:
    for i in range(steps):
        yield sum(range(i, i + work))


def catch_up(steps: int, work: int) -> Row:
    def first(_: int) -> None:
        with plain.fresh(steps, work) as run:
            next(run)
            session: Any = run._lifecycle.session
            session._frame_at = math.inf  # all steps are run again
            stepping(run)(steps - 2)

    def again(_: int) -> None:
        with plain(steps, work) as run:
            next(run)

    def steps_again(_: int) -> Amount:
        first(1)
        return timed(again, 1)

    sides = Side(lambda: steps_again), Side(lambda: first, "its steps at first")
    return Row(f"catch-up of a plain loop, sum of {work:,}", 1.1, *sides)


def next_item(number: int) -> int:
    return number + 1


def mapping(items: int, *, new: bool) -> Steps:
    names = numbers_from()

    def steps(_: int) -> None:
        name = f"new {next(names)}" if new else "stored"
        stepping(trax.map(next_item, range(items), name=name))(items)

    steps(1)
    return steps


def maps(items: int) -> Iterator[Row]:
    write = Side(lambda: lambda _: dumps_and_write()(items), "dumps + os.write")
    for kind, is_new in (("computed", True), ("found done", False)):
        mine = Side(functools.partial(mapping, items, new=is_new))
        yield Row(f"trax.map, {items:,} items {kind}", None, mine, write)


# -- import --------------------------------------------------------------------------------

IMPORTS = """
from time import perf_counter, process_time
times = [(perf_counter(), process_time())]
import cloudpickle, wrapt
times.append((perf_counter(), process_time()))
import trax
times.append((perf_counter(), process_time()))
for before, after in zip(times, times[1:]):
    print(after[0] - before[0], after[1] - before[1])
"""


def importing(line: int, label: str = "") -> Side:
    """Return the time of the imports of one line, in a new process whose modules are compiled."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}

    def steps(_: int) -> Amount:
        command = [sys.executable, "-c", IMPORTS]
        printed = subprocess.check_output(command, env=environment, text=True)
        return Amount(*map(float, printed.splitlines()[line].split()))

    return Side(lambda: steps, label)


def groups(scale: float) -> Iterator[Group]:
    steps, items, runs = int(10**6 * scale), int(10**4 * scale), int(10**4 * scale)
    rows = [
        replay("small tuples", counted, count, INCREMENT, steps),
        replay("floats", summed, add, 0.5, steps),
    ]
    yield Group("replay", rows, rounds=9, warm=1, in_memory=True)
    rows = [*recovery(max(8, int(1024 * scale)))]
    yield Group("recovery", rows, rounds=9, warm=1, in_memory=True)
    recall = Row("a recall of a finished run", 1, Side(recalling), fixed(1e-3, "1 ms"))
    yield Group("opening", [recall, *opening(runs)], rounds=200, warm=3, in_memory=True)
    rows = [catch_up(items, 10), catch_up(items, 1000), *maps(items)]
    yield Group("catch-up and maps", rows, rounds=15, warm=1, in_memory=True)
    sides = importing(1), importing(0, "import cloudpickle, wrapt")
    yield Group("import", [Row("import trax", 0.2, *sides)], rounds=40, warm=1)
