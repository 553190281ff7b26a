"""An RNG that is in the state and outside of it is one RNG in a resumed run as well."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax

RNGS = {
    "random.Random": "random.Random(3)",
    "Generator": "numpy.random.default_rng(3)",
    "Philox": "numpy.random.Generator(numpy.random.Philox(3))",
    "RandomState": "numpy.random.RandomState(3)",
}
STATES = {
    "attribute": "Model(rng)",
    "list": "[rng, 0.0]",
    "dictionary": "{'rng': rng, 'x': 0.0}",
    "sampler": "Model(Sampler(rng))",
}

SCRIPT = """
import os, random, sys
import numpy
import trax

class Sampler:
    def __init__(self, rng):
        self.rng = rng

class Model(Sampler):
    x = 0.0
    def __getitem__(self, key):
        return self.x if key in ("x", 1) else self
    def __setitem__(self, key, value):
        self.x = value

KEY = 1 if "{state}".startswith("[") else "x"
INNER = 0 if "{state}".startswith("[") else "rng"
rng = {rng}

def halve(state, n):
    for _ in trax.steps(n):
        state[KEY] = state[KEY] / 2 + float(rng.uniform(0, 1)) - draw(state[INNER])
        yield

def draw(inner):
    while isinstance(inner, Sampler):
        inner = inner.rng
    return float(inner.uniform(0, 1))

def start(name, stop=0):
    if not os.fork():
        run = loops[name](n=12)
        for _ in run:
            if run.step == stop:
                os.kill(os.getpid(), 9)
        print(run.result()[KEY])
        sys.exit()
    os.wait()

create = lambda: {state}
loops = {
    name: trax.resumable(create=create, replay_log=None, every_steps=2, name=name)(halve)
    for name in ("whole", "killed")
}
start("whole")
start("killed", 5)
start("killed")
"""


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("rng", RNGS.values(), ids=RNGS)
def test_a_variable_of_the_module_that_is_in_the_state_stays_one_rng(rng: str, state: str) -> None:
    """Draws through either advance both, in a new process, as they do in an undisturbed run."""
    done = run_script(SCRIPT.replace("{rng}", rng).replace("{state}", state))
    assert "resumed at step 4" in done.stderr
    whole, resumed = done.stdout.splitlines()
    assert resumed == whole
    assert "RNG" not in done.stderr


PLAIN = """
import os, random, sys
import numpy
import trax

class Sampler:
    def __init__(self, rng):
        self.rng = rng

rng = {rng}

def noise():
    return float(rng.uniform(0, 1))

def walk(n):
    {local}
    for _ in range(n):
        yield noise() - float(draw(0, 1))

def start(name, stop=0):
    if not os.fork():
        numbers = []
        run = trax.resumable(name=name, every_steps=2)(walk)(n=12)
        for number in run:
            if run.step == stop:
                os.kill(os.getpid(), 9)
            numbers.append(number)
        print(*numbers[-7:], noise())
        sys.exit()
    os.wait()

start("whole")
start("killed", 5)
start("killed")
"""
LOCALS = {
    "alias": "here = rng; draw = lambda *ends: here.uniform(*ends)",
    "method": "draw = rng.uniform",
    "objects": "samplers = [Sampler(rng)]; draw = samplers[0].rng.uniform",
}


@pytest.mark.parametrize("local", LOCALS.values(), ids=LOCALS)
@pytest.mark.parametrize("rng", RNGS.values(), ids=RNGS)
def test_a_variable_of_the_module_that_a_plain_loop_has_stays_one_rng(rng: str, local: str) -> None:
    """It is in a local variable as well, alone or in other objects."""
    done = run_script(PLAIN.replace("{rng}", rng).replace("{local}", local))
    assert "killed resumed at step 5" in done.stderr
    whole, resumed = done.stdout.splitlines()
    assert resumed == whole
    assert "RNG" not in done.stderr


@pytest.mark.parametrize("replay_log", [lambda state, x: [*state, x], None])
def test_an_argument_that_is_in_the_state_stays_one_rng(replay_log: Any) -> None:
    """It is the argument of the present call that the state has after a resume."""

    def loop(state: list[Any], rng: random.Random) -> Iterator[Any]:
        while len(state) < 6:
            number = state[0].random() + rng.random()
            if replay_log is None:
                state.append(number)
            state = (yield number) or state

    decorated = trax.resumable(
        create=lambda rng: [rng], replay_log=replay_log, every_steps=1, varying=("rng",)
    )(loop)
    whole = decorated(random.Random(7)).result()[1:]
    with decorated.fresh(random.Random(7)) as run:
        next(run)
        next(run)
    rng = random.Random(7)
    with decorated(rng) as run:
        assert run.state[0] is rng
        assert run.result()[1:] == whole


def test_a_reader_gets_a_copy_of_the_rng() -> None:
    """`load` has no place outside of the state, and must not touch RNGs that are in use."""
    rng = np.random.default_rng(5)

    @trax.resumable(create=lambda: [rng], replay_log=None, every_steps=1)
    def loop(state: list[Any]) -> Iterator[None]:
        for _ in trax.steps(2):
            rng.random()
            yield

    loop().result()
    position = rng.bit_generator.state
    copy = trax.load("loop")[0]
    assert copy is not rng
    assert copy.bit_generator.state == position
    copy.random()
    assert rng.bit_generator.state == position


def test_an_rng_that_is_no_longer_outside_is_a_copy() -> None:
    """The script was changed: the RNG is in the state alone from now on."""
    script = """
import random, trax
if {has}:
    rng = random.Random(1)

@trax.resumable(create=lambda: [rng], replay_log=None, every_steps=1)
def loop(state, n):
    for _ in trax.steps(n):
        state.append(state[0].random())
        yield

with loop(n=4) as run:
    next(run)
    next(run)
    print(run.state[1:])
"""
    run_script(script.replace("{has}", "True"))
    later = run_script(script.replace("{has}", "False").replace("lambda: [rng]", "list"))
    whole = random.Random(1)
    assert later.stdout.strip() == str([whole.random() for _ in range(4)])
    assert "no longer exists" in later.stderr
