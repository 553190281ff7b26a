"""Loops over the results of pools are killed, and go on with the tasks that are left."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import pytest
from support import run_script

import trax
from trax.frames.pooled import pooled

HEAD = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.pool import ThreadPool
import numpy as np
import trax
from trax.engine import plain_session

plain_session._SHARE = float(sys.argv[2])

def work(number, more=0):
    with open("done", "a") as file:
        file.write(f"{int(number)}\\n")
    return number * number + more

def run(loop, *arguments):
    for item in loop(*arguments):
        print(item, flush=True)
        if sys.argv[1] == str(item):
            os.killpg(os.getpid(), 9)  # a pool replaces a worker that is killed before it

@trax.resumable
def loop(n, pool=None):
    total = 0
"""
END = """
        total += int(result)
        yield total

if __name__ == "__main__":
    os.setpgid(0, 0)
    run(loop, 24)
"""
LOOPS = {
    "threads": """
    with ThreadPoolExecutor(1) as pool:
      for result in pool.map(work, range(n)):""",
    "without with": """
    pool = ThreadPoolExecutor(1)
    for result in pool.map(work, [*range(n)], chunksize=2):""",
    "processes": """
    with ProcessPoolExecutor(1) as pool:
      for _, result in enumerate(pool.map(work, range(n))):""",
    "pool": """
    with multiprocessing.Pool(1) as pool:
      for result in pool.imap(work, range(n), 2):""",
    "thread pool": """
    with ThreadPool(1) as pool:
      for result in pool.imap(work, range(n), chunksize=2):""",
    "a generator's items": """
    with ThreadPoolExecutor(1) as pool:
      for _, result in zip(range(n), pool.map(work, iter(range(n)), dict.fromkeys(range(n)))):
        result -= _""",
    "a list that is changed": """
    todo = [*range(n)]
    with ThreadPoolExecutor(1) as pool:
      for result in pool.map(work, todo):
        todo.append(total)
        del todo[0]""",
    "an array that is changed": """
    numbers = np.arange(n)
    with ThreadPool(1) as pool:
      for result in pool.imap(work, numbers):
        numbers[total % n] += 5""",
    "two in a row": """
    with ThreadPoolExecutor(1) as pool:
     for part in (range(n // 2), range(n // 2, n)):
      for result in pool.map(work, part):""",
}


@pytest.mark.parametrize("share", ["1e9", "0.01"])
@pytest.mark.parametrize("name", LOOPS)
def test_a_killed_loop_goes_on_with_the_tasks_that_are_left(name: str, share: str) -> None:
    """Killed twice, it hands out what an undisturbed run does, and computes no result again."""
    script = HEAD + LOOPS[name] + END
    undisturbed = run_script(script, "-", share).stdout.splitlines()
    assert len(undisturbed) == 24
    shutil.rmtree(".trax")
    Path("done").unlink()
    handed_out: list[str] = []
    for last in (undisturbed[5], undisturbed[11], "-"):
        before = len(handed_out)
        part = run_script(script, last, share, check=last == "-")
        handed_out += part.stdout.splitlines()
        assert "continues without" not in part.stderr
        if share == "1e9":
            tasks = [int(line) for line in Path("done").read_text().split()]
            assert min(tasks) == before
            Path("done").unlink()
    assert handed_out == undisturbed


def test_the_caller_may_bring_the_pool() -> None:
    """A new process has another one."""
    script = HEAD + "    for result in pool.map(work, range(n)):" + END
    script = script.replace("run(loop, 24)", "run(loop, 24, ThreadPoolExecutor(1))")
    run_script(script, "55", "1e9", check=False)
    resumed = run_script(script, "-", "1e9").stdout.splitlines()
    assert (resumed[0], resumed[-1]) == ("91", "4324")


def test_a_pool_without_a_name_is_refused_with_the_remedy() -> None:
    @trax.resumable
    def loop(n: int) -> Iterator[Any]:
        for number in ThreadPoolExecutor(1).map(abs, range(n)):
            yield number

    with pytest.raises(trax.CodecError, match=r"iterable\.pool .*ThreadPoolExecutor") as caught:
        loop(3).result()
    assert "before the loop, and give it a name of its own." in str(caught.value)


def test_an_iterator_in_which_a_thread_reads_ahead_is_refused() -> None:
    """Nobody knows which of its items are done."""
    with ThreadPool(1) as pool, pytest.raises(trax.UsageError, match="Give it a list"):
        pooled(pool.imap, (abs, iter([1])), {})


def test_functions_of_others_are_left_alone() -> None:
    class Series:
        def map(self, function: Any) -> Any:
            return [function(1)]

    assert pooled(Series().map, (abs,), {}) is None
    assert pooled(map, (abs, [1]), {}) is None


def test_jobs_of_joblib_go_on_with_those_that_are_left() -> None:
    joblib = pytest.importorskip("joblib")
    parallel, another = (
        joblib.Parallel(n_jobs=2, prefer="threads", return_as="generator") for _ in range(2)
    )
    results = pooled(parallel, ((joblib.delayed(abs)(-k) for k in range(9)),), {})
    assert results is not None
    assert [next(results), next(results)] == [0, 1]
    make, stored = results.__reduce__()
    assert [*make(another, *stored[1:])] == [*range(2, 9)]
    assert [*results] == [*range(2, 9)]  # joblib warns of results that nobody takes
    unordered = joblib.Parallel(n_jobs=2, return_as="generator_unordered")
    with pytest.raises(trax.UsageError, match="has another order in each run"):
        pooled(unordered, ([],), {})
