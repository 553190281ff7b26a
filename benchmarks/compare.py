"""Compares this checkout with another one: steps, a small checkpoint, a recovery, in pairs.

    python benchmarks/compare.py OTHER_CHECKOUT [--rounds N]

Each round runs both checkouts once, one after the other, each in processes of its own, so that a
change of the machine's speed meets both. The ratio is the median of the rounds' ratios; below 1.00
this checkout is the faster one. The Python calls of a recovery are counted, not timed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

INCREMENT = (1, 2.5, "abc")
STEPS = 20_000
CHECKPOINTS = 300
RECOVERIES = 30

# As a script has them: trax looks through the variables of a loop's module for RNGs.
globals().update({f"setting_{number}": float(number) for number in range(50)})


def measure() -> dict[str, float]:
    """Return what each costs with the trax that is imported: microseconds, and calls."""
    import trax

    def count(state: int, increment: tuple[int, float, str]) -> int:
        return state + 1

    def loop(state: int, steps: int) -> Iterator[tuple[int, float, str]]:
        for _ in range(steps):
            yield INCREMENT

    def drawing(state: int, steps: int) -> Iterator[tuple[int, float, str]]:
        for _ in range(steps):
            random.random()
            yield INCREMENT

    def writing(state: int, steps: int) -> Iterator[tuple[int, float, str]]:
        with trax.open("lines.txt") as file:
            for _ in range(steps):
                file.write("a line of text\n")
                yield INCREMENT

    async def awaiting(state: int, steps: int) -> AsyncIterator[tuple[int, float, str]]:
        for _ in range(steps):
            yield INCREMENT

    def step(body: Callable[..., object], steps: int = STEPS, **options: object) -> float:
        options = {"create": int, "replay_log": count, **options}
        decorated = trax.resumable(name="run", **options)(body)  # type: ignore[call-overload]
        run = decorated.fresh(steps=steps)
        begun = time.perf_counter()
        if asyncio.iscoroutinefunction(run.result):
            asyncio.run(run.result())
        else:
            for _ in run:
                pass
        return (time.perf_counter() - begun) / steps * 1e6

    def recover() -> None:
        resumed = trax.resumable(create=int, replay_log=count, every_steps=10**9, name="resumed")
        with contextlib.closing(resumed(loop)(steps=STEPS)) as run:
            assert run.step == 10

    with contextlib.closing(
        trax.resumable(create=int, replay_log=count, every_steps=10**9, name="resumed")(loop)(
            steps=STEPS
        )
    ) as run:
        for _ in range(10):
            next(run)
    calls = 0

    def counted(_: object, event: str, __: object) -> None:
        nonlocal calls
        calls += event == "call"

    recover()
    sys.setprofile(counted)
    recover()
    sys.setprofile(None)
    begun = time.perf_counter()
    for _ in range(RECOVERIES):
        recover()
    recovery = (time.perf_counter() - begun) / RECOVERIES * 1e6
    return {
        "step": step(loop),
        "step, every_steps": step(loop, every_steps=10**9),
        "step, replay_log=None": step(loop, create=list, replay_log=None, every_seconds=100),
        "step that draws": step(drawing),
        "step that writes": step(writing),
        "async step": step(awaiting),
        "small checkpoint": step(loop, CHECKPOINTS, every_steps=1, sync="os"),
        "recovery": recovery,
        "Python calls of a recovery": calls,
    }


def measured(checkout: Path) -> dict[str, float]:
    """Return what `measure` finds with the trax of a checkout."""
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [sys.executable, Path(__file__).resolve(), "--measure"],
            env={**os.environ, "PYTHONPATH": str(checkout)},
            cwd=directory,
            check=True,
            capture_output=True,
            text=True,
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure()))
        return
    if options.other is None:
        parser.error("give the path of another checkout")
    pairs = []
    for number in range(options.rounds):
        checkouts = [options.other.resolve(), Path(__file__).resolve().parents[1]]
        found = [measured(one) for one in (checkouts if number % 2 else checkouts[::-1])]
        pairs.append(found if number % 2 else found[::-1])
    print("| | other | this | ratio (median of pairs) |\n| --- | ---: | ---: | ---: |")
    for row in pairs[0][0]:
        other, this = ([pair[side][row] for pair in pairs] for side in (0, 1))
        ratio = statistics.median(new / old for old, new in zip(other, this, strict=True))
        medians = f"{statistics.median(other):,.2f} | {statistics.median(this):,.2f}"
        print(f"| {row} | {medians} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
