"""Times each row beside the least that its promise takes: in turn, and in short chunks.

A figure is the 5th percentile of the chunks of a side, or the least of fewer than twenty: what is
above that is the noise of the machine. The sides of a group take turns, forwards and backwards, so
that a change of the machine's speed meets all of them. Each group has a process and a directory of
its own.
"""

from __future__ import annotations

import functools
import gc
import logging
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, NamedTuple


class Amount(NamedTuple):
    """Seconds, and those of the processor in them; or bytes, twice."""

    wall: float
    cpu: float


Steps = Callable[[int], object]  # does so many steps; may return the `Amount` of one


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a row; those that several rows share are measured once.

    Attributes
    ----------
    make : callable
        Gets everything ready, and returns what does the steps.
    label : str
        What the table says of it, if it is not that of trax.
    chunk : int
        The number of steps that are timed together.
    """

    make: Callable[[], Steps]
    label: str = ""
    chunk: int = 1


class Row(NamedTuple):
    """What trax does, beside the least that it takes; `limit` is the most that the ratio may be."""

    name: str
    limit: float | None
    mine: Side
    bare: Side
    unit: str = "s"


class Group(NamedTuple):
    """Rows that are measured in turn, and how often."""

    name: str
    rows: list[Row]
    rounds: int = 1
    warm: int = 0  # rounds before those: the first steps of a loop are checked
    in_memory: bool = False  # the disk is no part of what is measured


# -- kinds of steps ------------------------------------------------------------------------


def repeating(act: Callable[[], object]) -> Steps:
    """Return steps that are calls of a function."""

    def steps(count: int) -> None:
        for _ in repeat(None, count):
            act()

    return steps


def stepping(iterator: Any) -> Steps:
    """Return steps that are those of an iterator."""

    def steps(count: int) -> None:
        for _ in islice(iterator, count):
            pass

    return steps


def fixed(amount: float, label: str) -> Side:
    """Return a side that is a number."""
    return Side(lambda: lambda _: Amount(amount, amount), label)


def found(value: Callable[[], float]) -> Side:
    """Return a side that is the number that a function finds, when it is called once."""
    once = functools.cache(value)
    return Side(lambda: lambda _: Amount(once(), once()))


# -- measuring -----------------------------------------------------------------------------


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns in a new process."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, initializer=silence) as pool:
        return pool.submit(function, *arguments).result()


def silence() -> None:
    """Keep the notices of trax out of the table."""
    logging.getLogger("trax").setLevel(logging.ERROR)


def timed(steps: Steps, count: int) -> Amount:
    """Return the amount of one of so many steps."""
    if count == 1:
        gc.collect()
    cpu, begun = cpu_seconds(), time.perf_counter()
    result = steps(count)
    wall = time.perf_counter() - begun
    if isinstance(result, Amount):
        return result
    return Amount(wall / count, (cpu_seconds() - cpu) / count)  # `result` is freed after that


def cpu_seconds() -> float:
    """Return the time of the processor that this process has used, and its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def measure(group: Group) -> list[dict[str, Any]]:
    """Return the figures of each row, as they are in the JSON file."""
    sides = {side: side.make() for row in group.rows for side in (row.bare, row.mine)}
    amounts: dict[Side, list[Amount]] = {side: [] for side in sides}
    for number in range(group.warm + group.rounds):
        for side in list(sides)[:: 1 if number % 2 else -1]:
            amount = timed(sides[side], side.chunk)
            if number >= group.warm:
                amounts[side].append(amount)
    return [figures(row, least(amounts[row.mine]), least(amounts[row.bare])) for row in group.rows]


def least(amounts: list[Amount]) -> Amount:
    """Return the 5th percentiles."""
    return Amount(*(sorted(one)[len(one) // 20] for one in zip(*amounts, strict=True)))


def figures(row: Row, mine: Amount, bare: Amount) -> dict[str, Any]:
    ratio = mine.wall / bare.wall
    return {
        "row": row.name,
        "beside": row.bare.label,
        "limit": row.limit,
        "ratio": ratio,
        "met": None if row.limit is None else ratio <= row.limit,
        "cpu_ratio": mine.cpu / bare.cpu if row.unit == "s" else None,
        "unit": row.unit,
        "trax": mine.wall,
        "bare": bare.wall,
    }
