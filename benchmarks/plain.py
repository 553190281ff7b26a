"""What a plain loop costs: its steps, its frames, its ordinary code, and its decoration.

    python benchmarks/plain.py [--steps N] [--rounds N]

Each round times everything once, in turn; the figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import trax
from trax.frames.iterables import Iterables
from trax.frames.loading import NoRngs
from trax.frames.program import ITER, program_of

FRAMES = 2000


@trax.resumable(create=int, replay_log=lambda state, increment: state + 1)
def declared(state: int, steps: int) -> Generator[tuple[int, float, str], int, None]:
    while state < steps:
        state = yield state, 2.5, "abc"


@trax.resumable
def plain(steps: int) -> Iterator[tuple[int, float, str]]:
    for i in range(steps):
        yield i, 2.5, "abc"


@trax.resumable
def ten_locals(steps: int) -> Iterator[int]:
    a, b, c, d = 1, 2.5, "text", None
    e, f, g, h = [1, 2, 3], {"a": 1}, (1, 2), True
    for i in range(steps):
        yield i
        assert len((a, b, c, d, e, f, g, h)) == 8


def bare(steps: int) -> Iterator[int]:
    total = 0
    for i in range(steps):
        total += i
        yield total


def seconds(iterator: Iterator[Any], steps: int) -> float:
    """Return the time of a step, in seconds, after the first one."""
    next(iterator)
    begun = time.perf_counter()
    for _ in iterator:
        pass
    return (time.perf_counter() - begun) / steps


def frame() -> float:
    """Return the time that a frame takes, in seconds."""
    with ten_locals.fresh(10) as run:
        for _ in range(5):  # the first frames are proved
            next(run)
        session: Any = run._lifecycle.session
        begun = time.perf_counter()
        for _ in range(FRAMES):
            session._take_frame(begun)
        return (time.perf_counter() - begun) / FRAMES


def ordinary(steps: int) -> float:
    """Return how much longer a step of a loop takes in the code that trax makes of it."""
    program = program_of(bare.__code__, provides_iterators=True)
    function: Any = bare
    made: Any = program.function(function, {ITER: Iterables(NoRngs())})
    return seconds(made(steps), steps) - seconds(bare(steps), steps)


def decoration(depth: int) -> float:
    """Return the time to decorate a function with so many loops in one another, in seconds."""
    lines = ["import trax", "def loop(n):", "    total = 0"]
    lines += ["    " * (level + 1) + f"for i{level} in range(n):" for level in range(depth)]
    lines += ["    " * (depth + 1) + "total += 1", "    " * (depth + 1) + "yield total"]
    return decorating(lines)


def reading(lines: int, *, is_declared: bool) -> float:
    """Return the time to decorate a function with so many lines, in seconds."""
    head = "def loop(state, n):" if is_declared else "def loop(n, state=1):"
    body = ["import trax", head, "    best, found = 0, []"]
    body.append(f"    for i in {'trax.steps' if is_declared else 'range'}(n):")
    while len(body) < lines - 3:
        a = f"a{len(body)}"
        body += [f"        {a} = [state * x for x in found[-3:]]", f"        if len({a}) > i:"]
        body += [f"            best = max(best, {a}[0])", f"        found.append(sum({a}) % 7)"]
    body.append("        state = yield best" if is_declared else "        yield best")
    return decorating(body, **({"create": int} if is_declared else {}))


def in_blocks(yields: int) -> float:
    """Return the time to decorate a plain loop with so many yields, each in three blocks."""
    lines = ["import trax", "def loop(n, paths):", "    total, seen = 0, []"]
    lines += ["    for i in range(n):"]
    for number in range(yields):
        lines += [f"        for path{number} in enumerate(paths):", "            try:"]
        lines += [f"                with open(path{number}) as file{number}:"]
        lines += [f"                    total += sum(int(line) * i for line in file{number})"]
        lines += ["                    yield total", "            except ValueError as error:"]
        lines += [f"                seen.append((error, path{number}))"]
    return decorating(lines)


def decorating(lines: list[str], **options: Any) -> float:
    """Return the time to decorate the function `loop` of a module, in seconds."""
    path = Path(tempfile.mkdtemp(), "nested.py")
    path.write_text(textwrap.dedent("\n".join(lines)))
    made: dict[str, Any] = {"__name__": "nested"}
    exec(compile(path.read_text(), str(path), "exec"), made)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begun = time.process_time()
        trax.resumable(**options)(made["loop"])
        return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    steps: int = options.steps
    rows: dict[str, Callable[[], float]] = {
        "step, declared state (us)": lambda: 1e6 * seconds(declared.fresh(steps), steps),
        "step, plain loop (us)": lambda: 1e6 * seconds(plain.fresh(steps), steps),
        "frame of ten local variables (us)": lambda: 1e6 * frame(),
        "ordinary code, more for a step (ns)": lambda: 1e9 * ordinary(steps),
        "decoration, 12 loops in one another (ms)": lambda: 1e3 * decoration(12),
        "decoration, 30 yields in blocks, plain (ms)": lambda: 1e3 * in_blocks(30),
    }
    for kind, is_declared in (("declared", True), ("plain", False)):
        for lines in (30, 100, 400):
            measure = functools.partial(reading, lines, is_declared=is_declared)
            rows[f"decoration, {lines} lines, {kind} (ms)"] = lambda one=measure: 1e3 * one()  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as directory:
        os.environ["TRAX_DIR"] = directory
        found = {name: [measure() for _ in range(options.rounds)] for name, measure in rows.items()}
    for name, values in found.items():
        print(f"{name:42} {statistics.median(values):8.2f}")
    one, two = found["step, plain loop (us)"], found["step, declared state (us)"]
    ratios = [a / b for a, b in zip(one, two, strict=True)]
    print(f"{'plain / declared':42} {statistics.median(ratios):8.2f}")


if __name__ == "__main__":
    main()
