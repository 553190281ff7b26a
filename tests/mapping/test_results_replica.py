"""The results of a map with a replica survive the loss of the disk: real processes, killed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import run_script, start_script, write_script

import trax

MAPS = """
import asyncio, os, sys, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import trax

def square(n):
    time.sleep(0.001)
    return n * n

async def asquare(n):
    await asyncio.sleep(0.001)
    return n * n

options = dict(replica=os.path.abspath(os.environ.get("THERE", "replica")), replica_seconds=0.05)
if "--wait" in sys.argv:
    options["sync"] = "replica"

def tell(n, result):
    assert result == n * n
    print(n, flush=True)

async def drive(count):
    async for n, result in trax.map(asquare, range(count), **options):
        tell(n, result)

def run(how, count):
    if how == "async":
        return asyncio.run(drive(count))
    pools = {"processes": ProcessPoolExecutor, "threads": ThreadPoolExecutor}
    with pools[how](2) if how in pools else open(os.devnull) as pool:
        executor = pool if how in pools else None
        for n, result in trax.map(square, range(count), executor=executor, **options):
            tell(n, result)

if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]))
"""


def killed_after(count: int, *arguments: str) -> set[int]:
    """Run a map until some results have come, and kill it; return the items that have come."""
    with start_script(MAPS, *arguments) as started:
        assert started.stdout is not None
        come = {int(started.stdout.readline()) for _ in range(count)}
        started.kill()
        return come | {int(line) for line in started.stdout.read().split()}


def stored(name: str) -> set[int]:
    """Return the items whose results are stored here."""
    return {n for n, _ in trax.load(name)}


@pytest.mark.parametrize("how", ["here", "threads", "async"])
def test_no_result_that_was_handed_out_is_lost(how: str) -> None:
    """With ``sync="replica"``, wherever the machine dies."""
    come = killed_after(40, how, "10000", "--wait")
    shutil.rmtree(".trax")
    done = run_script(MAPS, how, "60", "--wait", check=False)
    name = "asquare" if how == "async" else "square"
    assert f"{name} resumed with " in done.stderr
    assert come <= stored(name)


@pytest.mark.parametrize("how", ["here", "threads", "processes", "async"])
def test_a_map_that_ended_is_whole_elsewhere(how: str) -> None:
    run_script(MAPS, how, "50")
    shutil.rmtree(".trax")
    done = run_script(MAPS, how, "50")
    assert "resumed with 50 stored results" in done.stderr
    assert sorted(map(int, done.stdout.split())) == list(range(50))


def test_another_function_disturbs_no_other_machine() -> None:
    """It is refused before the run is claimed."""
    there = str(Path("replica").resolve())
    Path("elsewhere").mkdir()
    text = MAPS + "\n    sys.stdin.readline()\n"
    other = f"""
import trax
def outer():
    def square(n):
        return n
    return square
trax.map(outer(), range(20), replica={there!r}).result()
"""
    loop = f"""
import trax
@trax.resumable(create=int, name="square", replica={there!r})
def count(n):
    n = yield n + 1
next(count())
"""
    with start_script(
        text.replace("time.sleep(0.001)", "n == 5 and input()"), "here", "20", "--wait"
    ) as first:
        assert first.stdout is not None
        while first.stdout.readline() != "4\n":
            pass
        for script in (other, loop):
            command = [sys.executable, write_script(script)]
            refused = subprocess.run(
                command, cwd="elsewhere", capture_output=True, text=True, check=False
            )
            assert refused.returncode == 1
            assert "Error: the run 'square' " in refused.stderr
        rest, _ = first.communicate("\n\n")
        assert first.returncode == 0
        assert rest.split()[-1] == "19"


def test_a_map_that_starts_over_does_so_in_the_replica() -> None:
    run_script(MAPS, "here", "5")
    trax.map(abs, [-1], name="square", replica="replica", fresh=True).result()
    shutil.rmtree(".trax")
    run = trax.map(abs, [-1], name="square", replica="replica")
    assert [*run] == [(-1, 1)]
