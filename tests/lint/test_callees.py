"""What is known of the functions that a loop calls."""

from __future__ import annotations

import ast

import pytest
from read_loops import declared

TEXT = """
import heapq, random, time
from time import perf_counter
class Own:
    def changing(self, n): self.n = n
    def through(self): self.changing(1)
    def caching(self, n): self.cache[n] = n
    def only(self, n): return self.n + n
def move(points, n):
    for point in points: point[0] += n
def show(n): print(n)
def loop(state, n, queue):
    own = Own()
    items = [1]
    state = yield {call}
"""


def call_of(text: str) -> tuple[ast.Call, object]:
    loop = declared(TEXT.format(call=text))
    statement = loop.node.body[-1]
    assert isinstance(statement, ast.Assign)
    assert isinstance(statement.value, ast.Yield)
    assert isinstance(statement.value.value, ast.Call)
    return statement.value.value, loop.callees


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("items.append(1)", ["items"]),
        ("own.changing(1)", ["own"]),
        ("own.through()", ["own"]),
        ("own.caching(1)", []),
        ("own.only(1)", []),
        ("next(queue)", ["queue"]),
        ("heapq.heappush(queue, 1)", ["queue"]),
        ("random.shuffle(items)", ["items"]),
        ("random.random()", []),
        ("move(items, 1)", ["items"]),
        ("show(items)", []),
        ("queue.predict(items)", []),
    ],
)
def test_what_a_call_changes(text: str, changed: list[str]) -> None:
    """By its name, or by the text of the user's own functions and methods."""
    call, callees = call_of(text)
    assert [ast.unparse(one) for one in callees.changes(call)] == changed  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("print(1)", "is_report"),
        ("show(1)", "is_report"),
        ("time.time()", "is_clock"),
        ("perf_counter()", "is_clock"),
        ("random.Random(1)", "makes_rng"),
        ("random.seed(1)", "seeds"),
        ("trax.open('a')", "opens_output"),
        ("open('a', 'w')", "opened_mode"),
        ("trax.steps(1)", "helper"),
    ],
)
def test_what_a_call_is(text: str, asked: str) -> None:
    """It is that, and nothing else."""
    call, callees = call_of(text)
    names = ("is_report", "is_clock", "makes_rng", "seeds", "opens_output", "opened_mode", "helper")
    assert [name for name in names if getattr(callees, name)(call)] == [asked]


HELPERS = """
import functools, random, time
import numpy as np
import numpy.random as drawing
from random import gauss as normal
from time import time as now
STAMP = time.time_ns
class Dice:
    def __init__(self, seed): self.rng = random.Random(seed)
    def roll(self): return self.rng.random()
class Field:
    def __init__(self, seed):
        rng = random.Random(seed)
        self.slope = rng.random()
    def at(self, x): return self.slope * x
class Jittery:
    def __init__(self): self.rng = random.Random()
    def wait(self): time.sleep(self.rng.random())
def sampler(seed):
    rng = np.random.default_rng(seed)
    def draw(): return rng.normal()
    return draw
def data(seed): return np.random.default_rng(seed).normal()
def loop(state, n):
    state = yield {call}
"""


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        *(("drawing.normal()", "draws"), ("normal(0, 1)", "draws"), ("random.random()", "draws")),
        *(("now()", "is_clock"), ("STAMP()", "is_clock"), ("Dice(1)", "makes_rng")),
        *(("sampler(1)", "makes_rng"), ("random.Random(1)", "makes_rng")),
        *(("Field(1)", ""), ("data(1)", ""), ("Jittery()", ""), ("len(n)", ""), ("n.normal()", "")),
    ],
)
def test_what_a_call_gives(text: str, asked: str) -> None:
    """Under any name, and from the user's own functions and classes."""
    loop = declared(HELPERS.format(call=text))
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    found = [one for one in ("draws", "is_clock", "makes_rng") if getattr(loop.callees, one)(call)]
    assert found == ([asked] if asked else [])
