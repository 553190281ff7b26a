"""What a long history costs: to read it, to plot it, and to go back in it."""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count as numbers_from
from itertools import repeat
from typing import Any

import trax
from benchmarks.loops import MEGABYTE, memory, new_file
from benchmarks.measuring import Group, Row, Side, Steps, fixed, found, in_child
from trax.cli.command import main

PARTS = 10  # checkpoints


def newest(state: float, increment: float) -> float:
    return increment


@functools.cache
def stored(steps: int) -> str:
    """Store a run of so many steps, and return its name."""
    options: dict[str, Any] = {"create": float, "replay_log": newest, "keep": "all", "rng": None}

    def numbers(state: float) -> Iterator[float]:
        for number in range(steps):
            yield 0.5 * number

    name = f"run-{steps}"
    decorate = trax.resumable(every_steps=steps // PARTS, name=name, check=False, **options)
    with decorate(numbers)() as run:
        deque(run, 0)
    return name


def reading(steps: int) -> Steps:
    name = stored(steps)
    return lambda _: deque(trax.history(name), 0)


def plotting(steps: int) -> Steps:
    name = stored(steps)

    def plot(_: int) -> None:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            assert main(["plot", name]) == 0

    return plot


def forking(steps: int) -> Steps:
    """Return steps that each fork a run in the middle between two checkpoints."""
    name, names = stored(steps), numbers_from()
    return lambda _: trax.fork(name, f"fork-{next(names)}", step=steps - steps // PARTS // 2)


def rewinding(steps: int) -> Steps:
    """Return steps that each go back a little more; for a run of its own, since they cut it."""
    name, back = stored(steps + PARTS), numbers_from(1)
    return lambda _: trax.rewind(name, step=steps - 100 * next(back))


def loads(steps: int) -> Steps:
    data = pickle.dumps(0.5, 5)
    return lambda _: deque(map(pickle.loads, repeat(data, steps)), 0)


def writes(steps: int) -> Steps:
    fd, data = new_file(), bytes(37)
    return lambda _: deque(map(os.write, repeat(fd, steps), repeat(data)), 0)


def copies(steps: int) -> Steps:
    name = stored(steps)
    return lambda _: shutil.copytree(f".trax/runs/{name}", "copy", dirs_exist_ok=True)


def memory_of(make: Callable[[int], Steps], steps: int) -> float:
    """Return by how many bytes a long history needs more than a short one; in a new process."""
    make(steps // 10)(1)
    before = memory("VmHWM")
    make(steps)(1)
    return max(0, memory("VmHWM") - before)


def long_groups(scale: float) -> Iterator[Group]:
    steps = int(10**7 * scale)

    def side(make: Callable[[int], Steps], number: int = steps, label: str = "") -> Side:
        return Side(functools.partial(make, number), label)

    bare = side(loads, label="pickle.loads of each")
    written = side(writes, steps // PARTS // 2, "os.write of each after the checkpoint")
    copied = side(copies, label="a copy of its files")
    grown = found(lambda: in_child(memory_of, plotting, steps))
    rows = [
        Row(f"{steps:,} steps: their history", 8, side(reading), bare),
        Row(f"{steps:,} steps: their plot", 6, side(plotting), bare),
        Row(f"{steps:,} steps: a fork", 4, side(forking), written),
        Row(f"{steps:,} steps: a rewind", 20, side(rewinding), copied),
        Row(f"{steps:,} steps: growth by a plot", 1, grown, fixed(4 * MEGABYTE, "4 MiB"), "B"),
    ]
    yield Group("histories", rows, rounds=3)
