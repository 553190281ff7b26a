"""What a step costs beside the least that it takes."""

from __future__ import annotations

import asyncio
import atexit
import mmap
import os
import pickle
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import xxhash

import trax
from benchmarks.loops import (
    INCREMENT,
    MEGABYTE,
    NEVER,
    after,
    begun,
    dumps_and_write,
    force,
    forever,
    keep,
    loop,
    named_state,
    new_file,
)
from benchmarks.measuring import Group, Row, Side, Steps, repeating, stepping
from trax.calls.log_mode import REPLACE


def awaiting(iterator: AsyncIterator[object]) -> Steps:
    runner = asyncio.Runner()
    atexit.register(runner.close)

    async def take(number: int) -> None:
        left = number
        async for _ in iterator:
            left -= 1
            if not left:
                break

    return lambda number: runner.run(take(number))


async def async_forever(state: Any) -> AsyncIterator[object]:
    for _ in repeat(None):
        yield INCREMENT


async def writing_forever() -> AsyncIterator[object]:
    fd = new_file()
    for _ in repeat(None):
        os.write(fd, pickle.dumps(INCREMENT, 5))
        yield INCREMENT


def drawing(state: Any) -> Iterator[object]:
    for _ in repeat(None):
        random.random()
        yield INCREMENT


def drawing_in_state(state: Any) -> Iterator[object]:
    for _ in repeat(None):
        state.random()
        yield INCREMENT


def with_a_line(state: Any) -> Iterator[object]:
    with trax.open("lines.txt") as file:
        for _ in repeat(None):
            file.write("a line of text\n")
            yield INCREMENT


def line_written() -> None:
    LINES.write("a line of text\n")
    LINES.flush()


LINES = tempfile.TemporaryFile("w", encoding="utf-8")  # noqa: SIM115  # until the end


@trax.resumable
def plain() -> Iterator[object]:
    for _ in range(NEVER):
        yield INCREMENT


def logging() -> Steps:
    store = named_state()

    def steps(number: int) -> None:
        for _ in repeat(None, number):
            store.log(name=INCREMENT)

    return steps


def write_and_sync() -> Steps:
    fd = new_file()

    def steps(number: int) -> None:
        for _ in repeat(None, number):
            os.write(fd, pickle.dumps(INCREMENT, 5))
            force(fd)

    return steps


def record() -> bytes:
    increment = pickle.dumps(INCREMENT, 5)
    return xxhash.xxh3_64_digest(increment) + increment


def write_record() -> Steps:
    fd = new_file()
    return repeating(lambda: os.write(fd, record()))


def store_record() -> Steps:
    """Return steps that store records into a file that is mapped by the megabyte."""
    fd = new_file()
    view, start, at = mmap.mmap(-1, MEGABYTE), -MEGABYTE, MEGABYTE

    def store() -> None:
        nonlocal view, start, at
        content = record()
        if at + len(content) > MEGABYTE:
            start, at = start + MEGABYTE, 0
            os.ftruncate(fd, start + MEGABYTE)
            view = mmap.mmap(fd, MEGABYTE, offset=start)
        view[at : at + len(content)] = content
        at += len(content)

    return repeating(store)


def draws(make: Callable[[], Any], draw: Callable[[], object]) -> tuple[Side, Side]:
    """Return a loop that draws from an RNG in its state, and the same draws without trax."""
    mine = loop(drawing_in_state, create=make, replay_log=keep)
    return mine, after(draw, "the same draws")


def groups(scale: float) -> Iterator[Group]:
    write, fold = Side(dumps_and_write, "dumps + os.write", 400), loop(label="a step, fold")
    new, old = np.random.default_rng, np.random.RandomState
    async_step = Side(lambda: awaiting(begun(async_forever)), chunk=400)
    async_write = Side(lambda: awaiting(writing_forever()), "the same generator + write", 400)
    bare = Side(lambda: stepping(forever(None)), "a bare generator", 400)
    mapped = Side(store_record, chunk=400), Side(write_record, "the same with os.write", 400)
    rows = [
        Row("a step, fold", 1.5, fold, write),
        Row("a step, replace", 1.5, loop(replay_log=REPLACE), write),
        Row("every_steps, none due", 1.1, loop(every_steps=NEVER), fold),
        Row("an async step", 1.8, async_step, async_write),
        Row("a step with a key", 3.5, loop(key=True), write),
        Row("a draw from random", 2, loop(drawing), after(random.random, "the same draws")),
        Row("a draw from a Generator in the state", 2, *draws(new, new(1).random)),
        Row("a draw from a RandomState in the state", 2, *draws(old, old(1).random_sample)),
        Row("a line to trax.open", 3, loop(with_a_line), after(line_written, "write + flush")),
        Row("replay_log=None", 2.5, loop(replay_log=None, create=list), bare),
        Row("Trax.log", 2, Side(logging, chunk=400), write),
        Row("a plain loop", None, Side(lambda: stepping(plain.fresh()), chunk=400), write),
        Row("not trax: stores into a mapped file", None, *mapped),
    ]
    yield Group("steps", rows, rounds=300, warm=3)
    forced = loop(sync="always", chunk=8), Side(write_and_sync, "write + fdatasync", 8)
    yield Group("forced", [Row('sync="always"', 1.1, *forced)], rounds=200, warm=3)
