"""What large increments, checkpoints and the memory for them cost."""

from __future__ import annotations

import functools
import os
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

import numpy as np

import trax
from benchmarks.loops import (
    INCREMENT,
    MEGABYTE,
    arrays,
    begun,
    force,
    keep,
    loop,
    memory,
    named_state,
    new_file,
)
from benchmarks.measuring import (
    Amount,
    Group,
    Row,
    Side,
    Steps,
    fixed,
    found,
    in_child,
    least,
    repeating,
    stepping,
    timed,
)
from trax.calls.log_mode import REPLACE

BYTES = np.random.default_rng(1).bytes(MEGABYTE)
ARRAY = np.frombuffer(BYTES, np.uint8)
KINDS = {"warm array": lambda: ARRAY, "fresh array": ARRAY.copy, "bytes": lambda: BYTES}


def large_increments() -> Iterator[Row]:
    def written(make: Callable[[], Any]) -> Steps:
        fd = new_file()
        return repeating(lambda: os.write(fd, make()))

    def yielding(make: Callable[[], Any], **options: Any) -> Side:
        def body(state: Any) -> Iterator[Any]:
            for _ in repeat(None):
                yield make()

        return loop(body, chunk=8, **options)

    for kind, make in KINDS.items():
        bare = Side(functools.partial(written, make), "os.write of its memory", 8)
        yield Row(f"1 MB, {kind}, replace", 1.6, yielding(make, replay_log=REPLACE), bare)
        yield Row(f"1 MB, {kind}, fold", 2, yielding(make), bare)


# -- checkpoints that the loop waits for ---------------------------------------------------


def replacing(content: Any) -> Callable[[], None]:
    """Return what writes a file that appears as a whole, and is durable."""
    here = os.open(tempfile.mkdtemp(dir="."), os.O_RDONLY)

    def act() -> None:
        fd = os.open("new", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=here)
        left = memoryview(content)
        while left:
            left = left[os.write(fd, left) :]
        force(fd)
        os.close(fd)
        os.rename("new", "file", src_dir_fd=here, dst_dir_fd=here)
        os.fsync(here)

    return act


def checkpointing(value: Any) -> Steps:
    store = named_state()
    return repeating(lambda: store.checkpoint(name=value))


REPLACING = "new file, write, fdatasync, rename, fsync"


def small_checkpoints() -> Iterator[Row]:
    bare = Side(lambda: repeating(replacing(bytes(2000))), REPLACING, 4)
    yield Row("a small checkpoint by Trax", 2, Side(lambda: checkpointing(1), chunk=4), bare)
    yield Row("a small checkpoint of a loop", 2, loop(chunk=4, every_steps=1), bare)


def large_checkpoint(megabytes: int) -> Row:
    mine = Side(lambda: checkpointing(arrays(megabytes)))
    bare = Side(lambda: repeating(replacing(bytes(megabytes * MEGABYTE))), REPLACING)
    return Row(f"a checkpoint of {megabytes:,} MB", 1.1, mine, bare)


# -- checkpoints in the background ---------------------------------------------------------


def stalling(megabytes: int) -> Steps:
    """Return steps that each begin a checkpoint in the background; only that is timed."""
    wanted: list[bool] = []
    policy = trax.Policy(lambda _: bool(wanted))
    run = begun(create=lambda: arrays(megabytes), replay_log=keep, policy=policy, rng=None)
    next(run)
    background = run._lifecycle.session._pulse.background

    def steps(_: int) -> Amount:
        wanted.append(True)
        cpu, start = time.thread_time(), time.perf_counter()
        next(run)
        amount = Amount(time.perf_counter() - start, time.thread_time() - cpu)
        wanted.clear()
        while background.job is not None:
            time.sleep(0.002)
            next(run)
        return amount

    return steps


def copying(megabytes: int) -> Steps:
    """Return the copying of a state into memory that is used again, and a new file for the log."""
    state, copy, switch = arrays(megabytes), arrays(megabytes), replacing(bytes(200))

    def act() -> None:
        for array, room in zip(state, copy, strict=True):
            np.copyto(room, array)
        switch()

    return repeating(act)


def memory_beyond(megabytes: int) -> float:
    """Return by how many bytes the peak memory exceeds the state's; for a process of its own."""
    stalling(1)(1)  # so that all modules are there
    before = memory("VmHWM")
    steps = stalling(megabytes)
    for _ in range(3):
        steps(1)
    return max(0, memory("VmHWM") - before - megabytes * MEGABYTE)


def in_background(megabytes: int) -> Iterator[Row]:
    bare = Side(lambda: copying(megabytes), "memcpy into warm memory, a new file for the log")
    stall = Side(lambda: stalling(megabytes))
    yield Row("the stall by a background checkpoint", 1.2, stall, bare)
    beyond = found(lambda: in_child(memory_beyond, megabytes))
    copy = fixed(megabytes * MEGABYTE, "one copy of the state")
    yield Row("memory of a background checkpoint", 1.1, beyond, copy, "B")


# -- a loop as a whole ---------------------------------------------------------------------

CHUNK = 10
PIECE = BYTES[: MEGABYTE // 4]


def working(state: Any, turns: int) -> Iterator[object]:
    """Yield after each 10 ms or so of checksums, which release Python's lock and take it again.

    The time of Python's own work depends by several per cent on the addresses of its objects.
    """
    for _ in repeat(None, turns * CHUNK):
        for _ in repeat(None, 270):
            zlib.crc32(PIECE)
        yield INCREMENT


@functools.cache
def in_turn(megabytes: int, turns: int) -> dict[str, list[Amount]]:
    """Go through a loop and the same without trax, in turn; return the amounts of their chunks.

    The first of these begins the loop, and the last one ends it. There is a checkpoint as often as
    the automatic policy ever stores one.
    """
    policy = trax.automatic(recovery_seconds=1e-3)
    options: Any = {"create": lambda: arrays(megabytes), "replay_log": keep, "policy": policy}
    run = trax.resumable(check=False, **options)(working).fresh(turns=turns)

    def bare() -> Iterator[object]:
        yield from working(arrays(megabytes), turns)

    loops = {"trax": stepping(run), "bare": stepping(bare())}
    amounts: dict[str, list[Amount]] = {side: [] for side in loops}
    for _ in range(turns + 1):
        for side, steps in loops.items():
            amounts[side].append(timed(steps, CHUNK))
    return amounts


def whole_loop(megabytes: int, turns: int) -> Iterator[Row]:
    def side(name: str, part: slice, label: str = "") -> Side:
        def steps(_: int) -> Amount:
            amounts = in_turn(megabytes, turns)[name][part]
            return Amount(*(CHUNK * sum(one) for one in zip(*amounts, strict=True)))

        return Side(lambda: steps, label)

    for name, part in (("steps", slice(1, -1)), ("as a whole", slice(None))):
        sides = side("trax", part), side("bare", part, "the loop without trax")
        yield Row(f"{megabytes} MB, a loop of 10 ms steps, {name}", 1.02, *sides)


# -- ten million steps ---------------------------------------------------------------------


def tenths(steps: int) -> list[tuple[Amount, int]]:
    """Return the amount of a step and the memory at the end of each tenth of a loop."""
    step, chunk = stepping(begun()), max(2, steps // 1000)
    return [(least([timed(step, chunk) for _ in range(100)]), memory("VmRSS")) for _ in range(10)]


def long_groups(scale: float) -> Iterator[Group]:
    steps = int(10**7 * scale)
    run = functools.cache(functools.partial(tenths, steps))
    last = Side(lambda: lambda _: run()[-1][0])
    first = Side(lambda: lambda _: run()[0][0], "the first")
    grown = found(lambda: max(0, run()[-1][1] - run()[0][1]))
    rows = [
        Row(f"{steps:,} steps: the last tenth", 1.1, last, first),
        Row(f"{steps:,} steps: growth of memory", 1, grown, fixed(4 * MEGABYTE, "4 MiB"), "B"),
    ]
    yield Group("long", rows)


def groups(scale: float) -> Iterator[Group]:
    yield Group("increments", [*large_increments()], rounds=30, warm=3, in_memory=True)
    yield Group("small checkpoints", [*small_checkpoints()], rounds=100, warm=3)
    rows = [large_checkpoint(max(8, int(1024 * scale))), *in_background(max(8, int(400 * scale)))]
    yield Group("large checkpoints", rows, rounds=9, warm=2)
    yield Group("whole loop", [*whole_loop(max(4, int(100 * scale)), max(3, int(600 * scale)))])
