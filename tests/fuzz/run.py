"""Lets atheris look for a store that trax does not read as it must.

::

    pip install -e '.[fuzz]'
    python tests/fuzz/run.py --seconds 60                   # that long for each target
    python tests/fuzz/run.py --seconds 600 --target run

Each target starts from its corpus. What is found is written as ``found-TARGET-crash-...`` into the
present directory, and told how. Once trax is mended it goes into the corpus, under a name that ends
in ``.json``, and every test run tries it. The executions of each target are printed at the end.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from random import Random

from xxhash import xxh3_64_intdigest

HERE = Path(__file__).resolve().parent

NAMES = (
    *("log", "checkpoint", "run", "context", "lock", "names"),
    *("load", "core", "resume", "verify", "repair"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", choices=NAMES, action="append", help="by default all")
    parser.add_argument("--seed", type=int, default=0, help="by default another one each time")
    options = parser.parse_args()
    failed = 0
    for name in options.target or NAMES:
        executions, status = fuzz(name, options.seconds, options.seed)
        print(f"{name:>12}  {executions:>12,}  {'FOUND something' if status else ''}", flush=True)
        failed |= status
    return int(bool(failed))


def fuzz(name: str, seconds: int, seed: int) -> tuple[int, int]:
    """Fuzz one target in a process of its own; return its executions and its exit status."""
    with tempfile.TemporaryDirectory() as grown:
        options = [f"-max_total_time={seconds}", f"-seed={seed}"]
        options += ["-timeout=60", "-report_slow_units=60", "-rss_limit_mb=2048"]
        options += ["-max_len=20000", "-len_control=0", "-print_final_stats=1"]
        options += [f"-artifact_prefix={os.getcwd()}/found-{name}-"]
        options += [grown, str(HERE / "corpus" / name)]
        command = [sys.executable, str(HERE / "run.py"), "--inside", name, *options]
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-8000:], sep="\n")
    count = re.search(r"number_of_executed_units: *(\d+)", done.stderr)
    return int(count[1]) if count else 0, done.returncode


def inside(name: str, options: list[str]) -> None:
    """Be the process that fuzzes a target."""
    sys.path.insert(0, str(HERE.parent))
    import atheris

    with atheris.instrument_imports(include=["trax"]):
        from fuzz.mutate import mutate
        from fuzz.recipe import parse, write
        from fuzz.targets import TARGETS, attempt

    logging.getLogger("trax").addHandler(logging.NullHandler())
    corpus = [parse(path.read_bytes()) for path in sorted((HERE / "corpus" / name).iterdir())]

    def one(data: bytes) -> int:
        recipe = parse(data)
        if recipe is None:
            return -1
        attempt(TARGETS[name], recipe, thorough=not xxh3_64_intdigest(data) % 8)
        return 0

    def change(data: bytes, largest: int, seed: int) -> bytes:
        random = Random(seed)
        recipe = parse(data)
        for _ in range(10):
            try:
                changed = write(
                    mutate(recipe or random.choice(corpus), random, random.choice(corpus))
                )
            except RecursionError:
                continue
            if len(changed) <= largest:
                return changed
        return write(random.choice(corpus))[:largest]

    atheris.Setup([sys.argv[0], *options], one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        inside(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
