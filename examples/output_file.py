"""Write results to a file line by line; kill -9 leaves no gap in it and no line twice.

Run it, kill it when you like (``kill -9``), and run it again::

    python output_file.py          # about ten seconds

Random walks start at the origin, and each one's first return is a line of ``returns.csv``. The
file is opened with `trax.open`: what a step writes to it counts if and when its increment does.
The walks draw from the global generator of `random`, which a resumed loop takes up where it was.
"""

import argparse
import hashlib
import random
from collections.abc import Generator
from pathlib import Path

import trax

LONGEST = 1_000


def first_return() -> int:
    """Return after how many steps of +-1 a walk is back at 0; 0 if it is not by then."""
    position = 0
    for step in range(1, LONGEST + 1):
        position += random.choice((-1, 1))
        if position == 0:
            return step
    return 0


@trax.resumable(create=int, replay_log=lambda total, length: total + length)
def walk(total: int, walks: int) -> Generator[int, int, None]:
    with trax.open("returns.csv") as file:
        for number in trax.steps(walks):
            if number == 0:
                file.write("walk,first return\n")
            length = first_return()
            file.write(f"{number},{length or 'never'}\n")
            yield length


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--walks", type=int, default=300_000)

    random.seed(42)
    total = walk(walks=parser.parse_args().walks).result()

    lines = Path("returns.csv").read_bytes()
    print(f"{len(lines.splitlines()):,} lines, {total:,} steps, {hashlib.md5(lines).hexdigest()}")
