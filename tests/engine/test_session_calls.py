"""The calls of a step, counted: a slower one shows even where no time can be measured."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pytest

import trax

TRAX = os.path.dirname(trax.__file__)
STEPS = 400  # a Mersenne Twister is at the same indexes again after 312
WARM = 10  # steps: the first ones are checked
INCREMENT = (1, 2.5, "abc")


def fold(state: Any, increment: object) -> Any:
    return state


def still(state: Any) -> Iterator[object]:
    while True:
        yield INCREMENT


def drawing(state: Any) -> Iterator[object]:
    while True:
        random.random()
        yield INCREMENT


def drawing_from_state(state: np.random.Generator) -> Iterator[object]:
    while True:
        state.random()
        yield INCREMENT


def writing(state: Any) -> Iterator[object]:
    with trax.open("lines.txt") as file:
        while True:
            file.write("a line\n")
            yield INCREMENT


async def awaiting(state: Any) -> AsyncIterator[object]:
    while True:
        yield INCREMENT


def plain() -> Iterator[object]:
    for _ in range(10**9):
        yield INCREMENT


def new_rng() -> np.random.Generator:
    return np.random.default_rng(1)


CHECKPOINT = [
    *("getpid", "stat", "stat", "fdatasync", "pwrite"),  # the log before is found and forced
    *("getpid", "getrandom", "stat", "geteuid"),
    *("open", "stat", "write", "fdatasync", "fsync"),  # the next one
    *("open", "stat", "geteuid", "fcntl", "fcntl", "fcntl", "stat", "getdents64", "getdents64"),
    *("lseek", "close", "close"),  # no later one is listed
    "close",  # the one before
    *("stat", "geteuid", "open", "stat", "write", "fdatasync", "close", "rename", "fsync"),
]
# The names that a call has in other kernels, C libraries and processors.
KINDS = {
    "stat": ("fstat", "newfstatat", "fstatat64", "statx"),
    "open": ("openat",),
    "rename": ("renameat", "renameat2"),
    "pwrite": ("pwrite64",),
}
KIND_OF = {name: kind for kind, names in KINDS.items() for name in names}


class Loop(NamedTuple):
    """A loop, and the most calls that trax may make in one of its steps.

    These are of functions in Python, of functions in C, and of the system.
    """

    body: Callable[..., Any]
    options: dict[str, Any]
    python: int
    c: int
    system: list[str]


LOOPS = {
    "fold": Loop(still, {}, 3, 8, ["write"]),
    "every_steps, none due": Loop(still, {"every_steps": 10**9}, 3, 8, ["write"]),
    "replay_log=None": Loop(still, {"replay_log": None, "create": list}, 2, 2, []),
    "random": Loop(drawing, {}, 5, 14, ["write"]),
    "Generator": Loop(drawing_from_state, {"create": new_rng}, 5, 14, ["write"]),
    "a line": Loop(writing, {}, 9, 21, ["write", "lseek", "write"]),
    "async": Loop(awaiting, {}, 5, 12, ["write"]),
    "plain": Loop(plain, {}, 4, 8, ["write"]),
    "a checkpoint": Loop(still, {"every_steps": 1}, 320, 250, ["write", *CHECKPOINT]),
}


def nothing() -> None: ...


@contextlib.contextmanager
def begun(name: str) -> Iterator[Callable[..., None]]:
    """Begin a run for the length of a block, which gets a function to do so many steps.

    That calls another function after each of them.
    """
    body, options, *_ = LOOPS[name]
    if body is not plain:
        options = {"create": int, "replay_log": fold, **options}
    run: Any = trax.resumable(name="counted", **options)(body)()
    if not hasattr(run, "__anext__"):
        iterator = iter(run)

        def take(steps: int, after: Callable[[], object] = nothing) -> None:
            for _ in islice(iterator, steps):
                after()

        with run:
            take(WARM)
            yield take
        return
    with asyncio.Runner() as runner:

        async def advance(steps: int, after: Callable[[], object] = nothing) -> None:
            for _ in range(steps):
                await anext(run)
                after()

        runner.run(advance(WARM))
        yield lambda *arguments: runner.run(advance(*arguments))
        runner.run(run.aclose())


@pytest.mark.parametrize("name", LOOPS)
def test_the_calls_of_a_step(name: str) -> None:
    """They are those of trax, without what the body, the fold and the event loop call.

    Of many steps the one with the fewest counts: in others, something is due.
    """
    found = {"call": 0, "c_call": 0}
    steps: list[tuple[int, ...]] = []

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event in found and frame.f_code.co_filename.startswith(TRAX):
            found[event] += 1

    def end_step() -> None:
        steps.append(tuple(found.values()))
        found.update(call=0, c_call=0)

    with begun(name) as take:
        sys.setprofile(profile)
        take(STEPS, end_step)
        sys.setprofile(None)
    python, c = min(steps)
    assert python <= LOOPS[name].python
    assert c <= LOOPS[name].c


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is missing")
@pytest.mark.parametrize("name", ["fold", "a line", "async", "a checkpoint"])
def test_the_system_calls_of_a_step(name: str) -> None:
    """Nothing is asked of the system twice; what else is found is due now and then."""
    script = f"""
        import os
        import test_session_calls
        with test_session_calls.begun({name!r}) as take:
            os.sched_yield()
            take({STEPS})
            os.sched_yield()
    """
    subprocess.run(
        ["strace", "-qq", "-o", "trace", sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    trace = Path("trace").read_text()
    _, steps, _ = re.split(r"sched_yield\(.*\n", trace)
    called = re.findall(r"^(\w+)\(", steps, re.MULTILINE)
    found = Counter(KIND_OF.get(name, name) for name in called)
    for call, count in Counter(LOOPS[name].system).items():
        # A few may be left out, if another thread has just forced the log.
        assert STEPS * (count - 0.1) < found.pop(call) < STEPS * (count + 0.5)
    del found["futex"]  # of locks between threads, as the scheduler has it
    assert found.total() < STEPS / 4, found
