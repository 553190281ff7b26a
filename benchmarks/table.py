"""All rows of the table, and how the wanted ones are measured."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks import checkpoints, histories, peers, reading, replicas, steps
from benchmarks.measuring import Group, in_child, measure

QUICK = 0.01  # of the sizes
MEMORY = "/dev/shm"


def groups(scale: float = 1.0, *, long: bool = True) -> Iterator[Group]:
    for module in (steps, peers, checkpoints, reading):
        yield from module.groups(scale)
    if long:
        yield from checkpoints.long_groups(scale)
        yield from histories.long_groups(scale)
        yield from replicas.long_groups(scale)


def wanted(group: Group, words: list[str]) -> Group:
    """Return a group with the rows whose names contain one of the words, or with all."""
    rows = [row for row in group.rows if not words or any(word in row.name for word in words)]
    return group._replace(rows=rows)


def measured(words: list[str], *, quick: bool, long: bool) -> Iterator[dict[str, Any]]:
    """Yield the figures of each row, group after group; each group has its own process."""
    for group in groups(QUICK if quick else 1.0, long=long):
        if wanted(group, words).rows:
            is_there = group.in_memory and os.path.isdir(MEMORY)
            with tempfile.TemporaryDirectory(dir=MEMORY if is_there else None) as place:
                yield from in_child(measure_group, place, group.name, words, quick)


def measure_group(place: str, name: str, words: list[str], quick: bool) -> list[dict[str, Any]]:
    """Return the figures of the rows of a group, whose files are in a directory."""
    os.chdir(place)
    os.environ["TRAX_KEY"] = ""
    [group] = [one for one in groups(QUICK if quick else 1.0) if one.name == name]
    if quick:
        group = group._replace(rounds=1, warm=min(group.warm, 1))
    return measure(wanted(group, words))
