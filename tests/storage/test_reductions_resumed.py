"""Runs that are killed and go on in another process: their states are those of undisturbed runs."""

from __future__ import annotations

import shutil

import pytest
from support import run_script

HEAD = """
import functools, os, random, sys
import numpy as np
import trax

def run(loop, show):
    run = loop(n=30)
    for k, _ in enumerate(run):
        if sys.argv[1] == "die" and k == 12:
            os.kill(os.getpid(), 9)
    print(show(run.result()))
"""

LOOPS = {
    "views": """
class Heat:
    def __init__(self):
        self.grid = np.zeros((10, 10))
        self.inner, self.edge = self.grid[1:-1, 1:-1], self.grid[0]

@trax.resumable(create=Heat, replay_log=None, every_steps=5)
def loop(heat, n):
    for i in trax.steps(n):
        heat.inner += heat.grid[:-2, 1:-1] + 1
        heat.edge[i % 10] += 1
        yield

run(loop, lambda heat: heat.grid.tolist())
""",
    "arrays that are locked between steps": """
def write(array, n):
    array.flags.writeable = True
    array[n] += n
    array.flags.writeable = False

@trax.resumable(create=lambda: [np.zeros(100), np.zeros(100_000)], replay_log=None, every_steps=5)
def loop(arrays, n):
    for i in trax.steps(n):
        for array in arrays:
            write(array, i)
        yield

run(loop, lambda arrays: [(a[:40].tolist(), a.sum(), a.flags.writeable) for a in arrays])
""",
    "sentinels": """
EMPTY = object()

class Cell:
    BLOCKED = object()

@trax.resumable(create=lambda: [EMPTY, Cell.BLOCKED] * 30, replay_log=None, every_steps=5)
def loop(cells, n):
    for i in trax.steps(n):
        if cells[i] is EMPTY:
            cells[i] = i
        if cells[i] is Cell.BLOCKED:
            cells[i + 30] = -i
        yield

run(loop, lambda cells: [cell if isinstance(cell, int) else "" for cell in cells])
""",
    "bound draws": """
random.seed(1)
np.random.seed(2)

class State:
    def __init__(self):
        self.uniform, self.normal = random.random, np.random.normal
        self.gauss = functools.partial(random.gauss, 0, 1)
        self.rngs = random._inst, np.random.mtrand._rand
        self.own = random.Random(4)
        self.x = 0.0

@trax.resumable(create=State, replay_log=None, every_steps=5)
def loop(state, n):
    for _ in trax.steps(n):
        state.x += state.uniform() * random.gauss(0, 1) + state.normal() * np.random.rand()
        state.x += state.gauss() + state.rngs[0].random() * state.rngs[1].normal()
        state.x += state.own.random()
        yield

run(loop, lambda state: state.x)
print(random.random(), np.random.rand())
""",
    "counters": """
import heapq, itertools

class Queue:
    def __init__(self):
        self.number, self.default, self.heap = itertools.count(), itertools.repeat("x", 40), []

@trax.resumable(create=Queue, replay_log=None, every_steps=5)
def loop(queue, n):
    for i in trax.steps(n):
        heapq.heappush(queue.heap, (i % 3, next(queue.number), next(queue.default)))
        yield

run(loop, lambda queue: (queue.heap, [*queue.default]))
""",
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_a_killed_run_ends_as_an_undisturbed_one(loop: str) -> None:
    """Although it was killed twice between its checkpoints."""
    expected = run_script(HEAD + loop, "go").stdout
    shutil.rmtree(".trax")
    for _ in range(2):
        assert run_script(HEAD + loop, "die", check=False).returncode == -9
    resumed = run_script(HEAD + loop, "go")
    assert resumed.stdout == expected
    assert "resumed at step 20" in resumed.stderr
    assert len(resumed.stderr.splitlines()) == 1
