"""With numba: the RNGs of compiled functions are restored in the main thread, else it is said."""

from __future__ import annotations

import pytest
from support import run_script

pytest.importorskip("numba")

SCRIPT = """
import os, sys, threading
import numba
import numpy
import trax

@numba.njit
def seed(number):
    numpy.random.seed(number)

@numba.njit
def draw():
    return numpy.random.normal()

seed(5)

@trax.resumable(create=list, replay_log=lambda drawn, x: [*drawn, x], every_steps=10)
def loop(drawn, n):
    for _ in trax.steps(n):
        drawn = yield draw()

def go():
    run = loop(n=700)
    for _ in run:
        if str(run.step) in sys.argv:
            os.kill(os.getpid(), 9)
    print(run.result())

if "thread" in sys.argv:
    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
else:
    go()
"""


def test_a_compiled_function_draws_the_same_numbers_after_a_resume() -> None:
    """Also the second of two normal numbers that are made at once."""
    whole = run_script(SCRIPT.replace("every_steps", "name='whole', every_steps")).stdout
    for step in ("13", "27", "650"):
        run_script(SCRIPT, step, check=False)
    resumed = run_script(SCRIPT)
    assert resumed.stdout == whole
    assert "resumed at step 650" in resumed.stderr
    assert "numba" not in resumed.stderr


def test_in_another_thread_it_is_said_that_they_are_not_restored() -> None:
    """numba has RNGs of its own in each thread."""
    assert "loop uses numba, whose random numbers" in run_script(SCRIPT, "thread").stderr
