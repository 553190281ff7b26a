"""What reading costs, counted: calls, listed directories, memory. Time depends on the machine."""

from __future__ import annotations

import contextlib
import gc
import math
import os
import random
import sys
import tracemalloc
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax
from trax.cli.command import main

NEVER = 10**9
STEPS = 3000  # enough that what a log costs beside its records does not count
MEGABYTE = 1 << 20


def calls_of(action: Callable[[], object]) -> Counter[str]:
    """Return the number of calls of functions in Python and in C that an action makes.

    Those of finalizers in a garbage collection, which are of earlier tests, do not count.
    """
    counts: Counter[str] = Counter()

    def see(_: FrameType, event: str, __: object) -> None:
        counts[event] += 1

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(see)
    try:
        action()
    finally:
        sys.setprofile(before)
        gc.enable()
    return counts


def count(state: int, increment: object) -> int:
    """Fold an increment: one call in Python."""
    return state + 1


@trax.resumable(create=int, replay_log=count, every_steps=NEVER)
def counted(state: int, steps: int) -> Iterator[tuple[int, float]]:
    """Yield small increments."""
    for number in trax.steps(steps):
        yield number, 0.5


@trax.resumable(create=int, replay_log=count, every_steps=NEVER)
def drawn(state: int, steps: int) -> Iterator[float]:
    """Draw from a global RNG, whose position is stored with each step."""
    for _ in trax.steps(steps):
        yield random.random()


# -- replay --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loop", "in_python", "in_c"), [(counted, 1, 4), (drawn, 14, 34)], ids=["plain", "with an RNG"]
)
def test_a_replayed_increment_costs_few_calls(loop: Any, in_python: int, in_c: int) -> None:
    """A small one is checked and loaded by four functions in C, and folded by one in Python."""

    def replaying(steps: int) -> Counter[str]:
        with loop(NEVER) as run:
            for _ in range(steps):
                next(run)
        return calls_of(lambda: loop.load(NEVER))

    few, many = replaying(STEPS), replaying(STEPS)
    assert loop.load(NEVER) == 2 * STEPS
    assert (many["call"] - few["call"]) / STEPS <= in_python + 0.1
    assert (many["c_call"] - few["c_call"]) / STEPS <= in_c + 0.1


@trax.resumable
def plain(steps: int) -> Iterator[tuple[int, float]]:
    """Yield small increments, without a declared state."""
    for number in range(steps):
        yield number, 0.5


def test_a_step_that_a_plain_loop_runs_again_costs_few_calls() -> None:
    """It is compared with the stored one by its pickle."""

    def catching_up(steps: int) -> Counter[str]:
        with plain.fresh(NEVER) as run:
            next(run)
            session: Any = run._lifecycle.session
            session._frame_at = math.inf
            for _ in range(steps):
                next(run)
        with plain(NEVER) as run:
            return calls_of(lambda: next(run))

    few, many = catching_up(STEPS), catching_up(2 * STEPS)
    assert (many["call"] - few["call"]) / STEPS <= 7
    assert (many["c_call"] - few["c_call"]) / STEPS <= 10


# -- histories -----------------------------------------------------------------------------


@trax.resumable(create=int, replay_log=count, every_steps=1000, keep="all", name="run-{steps}")
def kept(state: int, steps: int) -> Iterator[tuple[int, float]]:
    """Yield small increments, all of which are kept."""
    for number in trax.steps(steps):
        yield number, 0.5


def command(*arguments: str) -> None:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        main(arguments)


READERS: dict[str, Callable[[str, int], object]] = {
    "history": lambda name, _: deque(trax.history(name), 0),
    "load": lambda name, steps: trax.load(name, step=steps - 1),
    "fork": lambda name, steps: trax.fork(name, f"{name}-fork", step=steps - 1),
    "rewind": lambda name, steps: trax.rewind(name, step=steps - 1500),
    "plot": lambda name, _: command("plot", name),
    "svg": lambda name, _: command("plot", name, "-o", "plot.svg"),
    "csv": lambda name, _: command("export", name),
    "jsonl": lambda name, _: command("export", name, "-o", "steps.jsonl"),
    "log": lambda name, _: command("log", name),
    "tail": lambda name, _: command("tail", name),
    "diff": lambda name, _: command("diff", name, name),
    "verify": lambda name, _: command("verify", name),
    "show": lambda name, _: command("show", name),
    "report": lambda name, _: command("report", name),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_long_history_is_read_in_flat_memory(
    reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part of it at a time."""
    monkeypatch.setattr("trax.storage.history_reader._WAITING", 1 << 16)
    monkeypatch.setattr("trax.storage.records._WINDOW", 1 << 14)

    def peak(steps: int) -> int:
        kept(steps).result()
        tracemalloc.start()
        READERS[reader](f"run-{steps}", steps)
        _, peaked = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peaked

    peak(2000)  # all modules are there, and what they keep
    assert peak(30_000) < peak(5000) + MEGABYTE


@pytest.mark.parametrize(
    ("reader", "most"), [("history", 8), ("svg", 11), ("verify", 5), ("rewind", 5)]
)
def test_an_increment_in_a_history_costs_few_calls(reader: str, most: int) -> None:
    """However many there are, and however many checkpoints."""

    def reading(steps: int) -> int:
        kept(steps).result()
        counts = calls_of(lambda: READERS[reader](f"run-{steps}", steps))
        return counts["call"] + counts["c_call"]

    reading(2000)
    few, many = reading(10_000), reading(20_000)
    assert (many - few) / 10_000 <= most


# -- many runs -----------------------------------------------------------------------------


@trax.resumable(create=int, replay_log=count, name="run-{number}", rng=None)
def short(state: int, number: int) -> Iterator[int]:
    """Yield a few increments."""
    for step in trax.steps(5):
        yield step


MANY: dict[str, tuple[str, ...]] = {
    "ls": ("ls",),
    "json": ("ls", "--json"),
    "prune": ("prune", "--dry-run"),
    "report": ("report",),
    "verify": ("verify",),
    "show": ("show", "run-7"),
    "plot": ("plot", "run-7"),
    "rm": ("rm", "run-7", "--yes"),
}


@pytest.mark.parametrize("name", MANY)
def test_a_run_among_many_costs_as_much_as_among_few(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing looks at all runs for each of them."""
    monkeypatch.setattr("trax.cli.report._DRAWN", 5)

    def reading(runs: int) -> int:
        for number in range(runs):
            short(number).result()
        return calls_of(lambda: command(*MANY[name])).total()

    reading(8)
    few, some, many = reading(20), reading(40), reading(80)
    once = 200  # what the first of them may do beside; to look at all for each takes thousands
    assert many - some < 2.3 * (some - few) + once


# -- recovery ------------------------------------------------------------------------------


@trax.resumable(create=lambda megabytes: np.ones(megabytes * MEGABYTE // 8), replay_log=None)
def large(state: Any, megabytes: int) -> Iterator[int]:
    """Keep an array as the state."""
    while True:
        yield 1


def test_a_large_array_is_read_in_pieces_that_stay_in_the_cache() -> None:
    """Each is read and hashed by a handful of calls."""

    def recovering(megabytes: int) -> Counter[str]:
        with large.fresh(megabytes) as run:
            next(run)
        return calls_of(lambda: large.load(megabytes))

    recovering(1)
    few, many = recovering(8), recovering(40)
    pieces = 32 * MEGABYTE // (1 << 18)
    assert (many["call"] - few["call"]) / pieces <= 1.1
    assert 1 <= (many["c_call"] - few["c_call"]) / pieces <= 6


PEAK = """
import sys
import numpy as np
import trax

def create():
    arrays = [np.full(6_250_000, n, float) for n in range(4)]
    for array in arrays:
        array.flags.writeable = sys.argv[2] == "writable"
    return arrays

@trax.resumable(create=create, replay_log=None)
def large(state):
    while True:
        yield 1

def peak():
    with open("/proc/self/status") as file:
        return int(file.read().partition("VmHWM:")[2].split()[0]) * 1024

if sys.argv[1] == "write":
    with large() as run:
        next(run)
else:
    before = peak()
    if sys.argv[1] == "load":
        state = large.load()
    else:
        run = large()
        next(run)
        state = run.state
    assert all((array == n).all() for n, array in enumerate(state))
    assert all(array.flags.writeable == (sys.argv[2] == "writable") for array in state)
    print(peak() - before - sum(array.nbytes for array in state))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
@pytest.mark.parametrize("how", ["load", "resume"])
@pytest.mark.parametrize("kind", ["writable", "read-only"])
def test_a_recovery_needs_memory_for_the_state_alone(how: str, kind: str) -> None:
    """Of 200 MB there is never a second copy."""
    run_script(PEAK, "write", kind)
    assert int(run_script(PEAK, how, kind).stdout) < 24 * MEGABYTE


REPLACED = """
import sys
import numpy as np
import trax

@trax.resumable(create=lambda: [np.ones(8_000_000)], replay_log=None)
def declared(state):
    while True:
        yield 1
        state[0] = state[0] + 1

@trax.resumable(every_steps=1, background=False)
def plain():
    array = np.ones(8_000_000)
    while True:
        yield 1
        array = array + 1

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

loop = globals()[sys.argv[1]]
before = resident()
with loop() as run:
    for _ in range(3):
        next(run)
    print(resident() - before - 64_000_000)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells")
@pytest.mark.parametrize("loop", ["declared", "plain"])
def test_a_resumed_loop_that_replaces_its_arrays_frees_those_that_were_read(loop: str) -> None:
    """Nothing keeps the memory of the checkpoint for the rest of the run."""
    run_script(REPLACED, loop)
    assert int(run_script(REPLACED, loop).stdout) < 24 * MEGABYTE


# -- recall and opening --------------------------------------------------------------------


def test_a_recall_of_a_finished_run_costs_few_calls() -> None:
    """It is the price of each call of a function whose work is done."""
    counted(10).result()
    counted(10).result()
    counts = calls_of(lambda: counted(10).result())
    assert counts["call"] <= 1070
    assert counts["c_call"] <= 1500


OPENING = """
import sys
import trax

@trax.resumable(create=int, replay_log=lambda state, increment: state + 1, name="run-{seed}")
def loop(state, seed):
    while True:
        yield 1

def step(seed):
    with loop(seed) as run:
        next(run)

def see(event, arguments):
    if watched and event in ("os.listdir", "os.scandir"):
        print(event, *arguments)

watched = False
for seed in range(3):
    step(seed)
sys.addaudithook(see)
watched = True
step(1)
watched = False
"""


def test_to_open_one_run_of_many_lists_no_others() -> None:
    """A store of ten thousand runs is as quick as one with a single run."""
    found = run_script(OPENING).stdout.split("\n")
    assert [line for line in found if line.endswith(("/runs", "/locks"))] == []
    assert any(line.endswith("/run-1") for line in found)
