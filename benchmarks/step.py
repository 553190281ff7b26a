"""What one step costs, against a bare loop that does the same work without trax.

    python benchmarks/step.py [--chunks N] [--quick] [ROW ...]

Every row stands beside its limit, the least that a loop needs, such as `pickle.dumps` and
`os.write`. All of them run in turn, in chunks of a few hundred steps, so that a change of the
machine's speed meets every one. A figure is the 5th percentile of a row's chunks, in microseconds.
The calls of functions in Python and in C are counted, and by strace, if it is there, those of the
system.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import islice, repeat
from typing import Any, NamedTuple

import trax
from trax.calls.log_mode import REPLACE

INCREMENT = (1, 2.5, "abc")
CHUNK = 400  # steps
WARM = 3  # chunks: the first steps of a call are checked

Steps = Callable[[int], object]  # does so many steps


class Row(NamedTuple):
    """A row of the table: its limit and its loop, each of which is made before it is timed."""

    limit: Callable[[], Steps]
    loop: Callable[[], Steps]


# -- limits ------------------------------------------------------------------------------------


def after(work: Callable[[], object]) -> Callable[[], Steps]:
    """Return a limit that does some work, and pickles and writes in each step."""

    def limit() -> Steps:
        fd, _ = tempfile.mkstemp(dir=".")

        def steps(count: int) -> None:
            for _ in range(count):
                work()
                os.write(fd, pickle.dumps(INCREMENT, 5))

        return steps

    return limit


def dumps_and_write() -> Steps:
    fd, _ = tempfile.mkstemp(dir=".")

    def steps(count: int) -> None:
        for _ in range(count):
            os.write(fd, pickle.dumps(INCREMENT, 5))

    return steps


def bare_generator() -> Steps:
    return stepping(forever(None))


def bare_async() -> Steps:
    fd, _ = tempfile.mkstemp(dir=".")

    async def loop() -> AsyncIterator[object]:
        while True:
            os.write(fd, pickle.dumps(INCREMENT, 5))
            yield INCREMENT

    return awaiting(loop())


def line_and_write() -> Steps:
    file = os.fdopen(tempfile.mkstemp(dir=".")[0], "w", encoding="utf-8")

    def work() -> None:
        file.write("a line of text\n")
        file.flush()

    return after(work)()


# -- loops -------------------------------------------------------------------------------------


def count(state: int, increment: object) -> int:
    return state + 1


def stepping(iterator: Iterator[object]) -> Steps:
    def steps(number: int) -> None:
        for _ in islice(iterator, number):
            pass

    return steps


def awaiting(iterator: AsyncIterator[object]) -> Steps:
    runner = asyncio.Runner()

    async def take(number: int) -> None:
        left = number
        async for _ in iterator:
            left -= 1
            if not left:
                break

    return lambda number: runner.run(take(number))


def forever(state: Any) -> Iterator[object]:
    for _ in repeat(None):
        yield INCREMENT


async def async_forever(state: Any) -> AsyncIterator[object]:
    for _ in repeat(None):
        yield INCREMENT


def drawing(state: Any) -> Iterator[object]:
    for _ in repeat(None):
        random.random()
        yield INCREMENT


def drawing_in_state(state: Any) -> Iterator[object]:
    for _ in repeat(None):
        state.random()
        yield INCREMENT


def writing(state: Any) -> Iterator[object]:
    with trax.open("lines.txt") as file:
        for _ in repeat(None):
            file.write("a line of text\n")
            yield INCREMENT


def plain() -> Iterator[object]:
    for _ in range(10**9):
        yield INCREMENT


def keep(state: Any, increment: object) -> Any:
    return state


def loop(body: Callable[..., Any] = forever, **options: Any) -> Callable[[], Steps]:
    """Return a loop of trax."""
    options = {"create": int, "replay_log": count, "check": False, **options}

    def make() -> Steps:
        name = f"run {random.SystemRandom().getrandbits(64)}"
        decorated: Any = trax.resumable(name=name, **options)(body)
        run = decorated.fresh()
        return awaiting(run) if hasattr(run, "__anext__") else stepping(iter(run))

    return make


def plain_loop() -> Steps:
    return stepping(iter(trax.resumable(plain).fresh()))


ROWS: dict[str, Row] = {
    "fold": Row(dumps_and_write, loop()),
    "replace": Row(dumps_and_write, loop(replay_log=REPLACE)),
    "every_steps, none due": Row(dumps_and_write, loop(every_steps=10**9)),
    "async": Row(bare_async, loop(async_forever)),
    "random.random()": Row(after(random.random), loop(drawing)),
    "a line to a file": Row(line_and_write, loop(writing)),
    "replay_log=None": Row(bare_generator, loop(replay_log=None, create=list)),
    "plain loop": Row(dumps_and_write, plain_loop),
    'sync="os"': Row(dumps_and_write, loop(sync="os")),
    "rng=None": Row(dumps_and_write, loop(rng=None)),
}


def add_numpy() -> None:
    """Add the rows that need NumPy, if it is installed."""
    try:
        import numpy as np
    except ImportError:
        return
    rng = np.random.default_rng(1)
    old = np.random.RandomState(1)  # many loops use it
    for name, make, limit in (
        ("NumPy's Generator", lambda: np.random.default_rng(1), rng.random),
        ("NumPy's RandomState", lambda: np.random.RandomState(1), old.random_sample),
    ):
        ROWS[name] = Row(after(limit), loop(drawing_in_state, create=make, replay_log=keep))


# -- measuring ---------------------------------------------------------------------------------


def percentile(values: list[float]) -> float:
    return sorted(values)[len(values) // 20]


def measure(names: list[str], chunks: int) -> dict[str, tuple[float, float]]:
    """Return the microseconds of a step of each row's limit and of its loop."""
    made = {name: (ROWS[name].limit(), ROWS[name].loop()) for name in names}
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in names}
    for number in range(chunks + WARM):
        for name, pair in made.items():
            for steps, found in zip(pair, times[name], strict=True):
                begun = time.perf_counter()
                steps(CHUNK)
                if number >= WARM:
                    found.append((time.perf_counter() - begun) / CHUNK * 1e6)
    return {name: (percentile(a), percentile(b)) for name, (a, b) in times.items()}


def python_calls(steps: Steps) -> float:
    """Return the calls of a step, of functions in Python and in C."""
    found = 0

    def profile(_: object, event: str, __: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    steps(WARM * CHUNK)
    sys.setprofile(profile)
    steps(CHUNK)
    sys.setprofile(None)
    return found / CHUNK


def system_calls(name: str) -> float | None:
    """Return the system calls of a step, in another process; None without strace."""
    if shutil.which("strace") is None:
        return None
    found = []
    for number in (WARM * CHUNK, 2 * WARM * CHUNK):
        command = ["strace", "-f", "-c", "-U", "calls", sys.executable, os.path.abspath(__file__)]
        done = subprocess.run(
            [*command, "--steps", str(number), name], capture_output=True, text=True, check=True
        )
        found.append(int(re.findall(r"(\d+)\D*$", done.stderr)[0]))
    return (found[1] - found[0]) / (WARM * CHUNK)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="only show that everything runs")
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    add_numpy()
    names = options.rows or list(ROWS)
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        if options.steps:
            ROWS[names[0]].loop()(options.steps)
            return
        times = measure(names, 2 if options.quick else options.chunks)
        print(f"{'':24}{'limit':>9}{'trax':>9}{'ratio':>7}{'Python calls':>14}{'system calls':>14}")
        for name, (limit, mine) in times.items():
            calls = python_calls(ROWS[name].loop())
            system = None if options.quick else system_calls(name)
            shown = "" if system is None else f"{system:14.1f}"
            print(f"{name:24}{limit:9.2f}{mine:9.2f}{mine / limit:7.2f}{calls:14.1f}{shown}")
        os.chdir("/")


if __name__ == "__main__":
    main()
