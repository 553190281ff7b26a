"""What one step costs, against a bare loop of pickle.dumps and os.write in the same run.

    python benchmarks/step.py [--steps N] [--rounds N]

Each round times every loop once, in turn, so that a change of the machine's speed meets all of
them; the figures are medians over the rounds, the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import os
import pickle
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import trax

INCREMENT = (1, 2.5, "abc")


def bare_generator(steps: int) -> None:
    def loop() -> Iterator[tuple[int, float, str]]:
        for _ in range(steps):
            yield INCREMENT

    for _ in loop():
        pass


def dumps_and_write(steps: int) -> None:
    fd = os.open("bare", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    for _ in range(steps):
        os.write(fd, pickle.dumps(INCREMENT, 5))
    os.close(fd)


def count(state: int, increment: tuple[int, float, str]) -> int:
    return state + 1


def drawing(state: int, steps: int) -> Iterator[tuple[int, float, str]]:
    for _ in range(steps):
        random.random()
        yield INCREMENT


def writing(state: int, steps: int) -> Iterator[tuple[int, float, str]]:
    with trax.open("lines.txt") as file:
        for _ in range(steps):
            file.write("a line of text\n")
            yield INCREMENT


def other_loop(body: Callable[[int, int], Iterator[object]]) -> Callable[[int], None]:
    def run(steps: int) -> None:
        loop = trax.resumable(create=int, replay_log=count, check=False)(body)
        for _ in loop.fresh(steps):
            pass

    return run


def trax_loop(**options: object) -> Callable[[int], None]:
    def run(steps: int) -> None:
        @trax.resumable(create=int, replay_log=count, check=False, **options)  # type: ignore[call-overload,untyped-decorator]
        def loop(state: int, steps: int) -> Iterator[tuple[int, float, str]]:
            for _ in range(steps):
                yield INCREMENT

        for _ in loop.fresh(steps):
            pass

    return run


LOOPS: dict[str, Callable[[int], None]] = {
    "pickle.dumps + os.write": dumps_and_write,
    "bare generator": bare_generator,
    "trax, default settings": trax_loop(),
    "trax, every_steps=1000": trax_loop(every_steps=1000),
    'trax, sync="os"': trax_loop(sync="os"),
    "trax, rng=None": trax_loop(rng=None),
    "trax, a random number": other_loop(drawing),
    "trax, a line to a file": other_loop(writing),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in LOOPS}
    with tempfile.TemporaryDirectory() as directory:
        os.chdir(directory)
        for _ in range(options.rounds):
            for name, loop in LOOPS.items():
                begun = time.perf_counter()
                loop(options.steps)
                seconds[name].append(time.perf_counter() - begun)
        os.chdir("/")
    bare = seconds["pickle.dumps + os.write"]
    print(f"{'':26}{'µs a step':>10}{'ratio':>8}")
    for name, times in seconds.items():
        ratio = statistics.median(mine / other for mine, other in zip(times, bare, strict=True))
        micros = statistics.median(times) / options.steps * 1e6
        print(f"{name:26}{micros:10.2f}{ratio:8.2f}")


if __name__ == "__main__":
    main()
