"""Every example is killed with SIGKILL part-way, run again, and ends as if it never had been."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


class Case(NamedTuple):
    """An example: its arguments for a short run, and how far it is killed, in bytes stored."""

    arguments: list[str]
    until: int
    kills: int = 3


CASES = {
    "solar_system.py": Case(["--years", "10"], 2_000_000),
    "ising.py": Case(["--sweeps", "2000"], 2_000_000),
    "metropolis.py": Case(["--samples", "20000"], 3_000_000),
    "fit_digits.py": Case(["--epochs", "200"], 2_000_000, kills=2),
    "output_file.py": Case(["--walks", "30000"], 3_000_000),
    "async_fetch.py": Case(["--pages", "500"], 3_000_000),
    "trax_basics.py": Case([], 1),
}


def start(example: str, directory: Path) -> subprocess.Popen[str]:
    """Run an example in a directory."""
    return subprocess.Popen(
        [sys.executable, str(EXAMPLES / example), *CASES[example].arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def stored(directory: Path) -> int:
    """Return the bytes in all logs, and a lot for each generation."""
    total = 0
    for path in directory.glob(".trax/runs/*/log-????????"):
        try:
            total += path.stat().st_size + 1_000_000 * int(path.name.partition("-")[2])
        except FileNotFoundError:  # pruned meanwhile
            continue
    return total


def kill_part_way(example: str, directory: Path, rng: random.Random) -> str:
    """Kill a run of the example once it has stored a random amount more; return what it said."""
    begun = stored(directory)
    target = begun + rng.randrange(1, CASES[example].until + 1)
    process = start(example, directory)
    while stored(directory) < target and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    return process.communicate()[1]


def test_every_example_is_tested() -> None:
    """A new example needs a case; those in directories have tests of their own."""
    examples = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.glob("*.py")}
    assert examples == {*CASES}


@pytest.mark.parametrize("example", CASES)
def test_an_example_that_is_killed_ends_as_if_it_never_had_been(
    example: str, tmp_path: Path
) -> None:
    """The final lines on standard output are the same to the last digit."""
    calm, storm = tmp_path / "calm", tmp_path / "storm"
    calm.mkdir()
    storm.mkdir()
    uninterrupted = start(example, calm)
    expected, errors = uninterrupted.communicate()
    assert uninterrupted.returncode == 0, errors
    assert expected

    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    for _ in range(CASES[example].kills):
        kill_part_way(example, storm, rng)
    begun = bool(list(storm.glob(".trax/runs/*/checkpoint-????????")))
    last = start(example, storm)
    output, errors = last.communicate()
    assert last.returncode == 0, errors
    assert output == expected, f"seed {seed}"
    if begun and example != "trax_basics.py":
        assert re.search(" resumed at step | is done|no step was stored yet", errors), errors
    for table in calm.glob("*.csv"):
        assert (storm / table.name).read_bytes() == table.read_bytes()
    for picture in calm.glob("*.png"):
        assert (storm / picture.name).stat().st_size > 10_000
