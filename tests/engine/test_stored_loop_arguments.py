"""A plain loop that is killed leaves its caller's arguments as if it had never been.

Also those of a finished run that is called again.
"""

from __future__ import annotations

import signal

import pytest
from support import run_script

SCRIPT = """
import os, signal, sys
import numpy as np
import trax

class Model:
    def __init__(self):
        self.weights = np.random.default_rng().random(3)
        self.frozen = np.random.default_rng().random(2)
        self.seen = []

@trax.resumable(every_steps=2)
def train(model, rows, out, *more, scale=lambda x: 2 * x, **others):
    weights, row = model.weights, rows[1]
    for i in range(6):
        model.weights += scale(1)
        model.seen.append((i, weights))
        row["x"] += 1
        out.append(row)
        more[0].append(i)
        others["by_step"][i] = i
        if [str(i), "step"] == sys.argv[1:]:
            os.kill(os.getpid(), signal.SIGKILL)
        yield float(weights.sum() + model.frozen.sum())
    return model

class Counter:
    def __init__(self):
        self.count, self.rows = 0, []

    @trax.resumable
    def run(self, most):
        for i in range(most):
            self.count += 1
            self.rows.append([i])
            if [str(i), "count"] == sys.argv[1:]:
                os.kill(os.getpid(), signal.SIGKILL)
            yield i
        return self.rows[1]

model, rows, out, more, by_step = Model(), [{"x": 0}, {"x": 0}], [], [], {}
view = model.weights[1:]
run = train(model, rows, out, more, by_step=by_step)
assert run.result() is model
assert [i for i, _ in model.seen] == [*range(6)]
assert all(weights is model.weights for _, weights in model.seen)
assert np.shares_memory(view, model.weights)
assert rows == [{"x": 0}, {"x": 6}]
assert len(out) == 6
assert all(row is rows[1] for row in out)
assert more == [*range(6)]
assert by_step == {i: i for i in range(6)}
print(float(model.weights.sum() + model.frozen.sum()))
counter = Counter()
assert counter.run(4).result() is counter.rows[1]
assert (counter.count, counter.rows) == (4, [[0], [1], [2], [3]])
"""


@pytest.mark.parametrize("step", [1, 2, 5])
def test_arguments_are_as_the_loop_has_left_them(step: int) -> None:
    """The same objects, with the same content, whoever made the first ones."""
    for place in ("step", "count"):
        killed = run_script(SCRIPT, str(step % 4), place, check=False)
        assert killed.returncode == -signal.SIGKILL
    finished, again = (run_script(SCRIPT) for _ in range(2))
    assert "train resumed" not in again.stderr
    assert finished.stdout == again.stdout


def test_only_data_is_compared_by_content() -> None:
    """Others are said to be compared by type and shape, and one of another type is refused."""
    run_script(SCRIPT, "2", "step", check=False)
    other = SCRIPT.replace('[{"x": 0}, {"x": 0}]', '[{"x": 0}, {"x": 1}]')
    refused = run_script(other, check=False)
    assert "rows[1]['x']: 0 -> 1" in refused.stderr
    refused = run_script(
        SCRIPT.replace("class Model", "class Net").replace("Model()", "Net()"), check=False
    )
    assert "model: <Model> -> <Net>" in refused.stderr
    resumed = run_script(SCRIPT)
    told = "train: of model trax compares only type and shape with the stored call"
    assert resumed.stderr.count(told) == 1


def test_what_cannot_be_put_back_is_refused_before_a_step_is_handed_out() -> None:
    """By name, with a way on."""
    script = """
import hashlib
import trax

@trax.resumable
def loop(digest):
    for i in range(3):
        digest.update(b"x")
        yield i

print(list(loop(hashlib.sha256())))
"""
    refused = run_script(script, check=False)
    assert refused.returncode == 1
    assert not refused.stdout
    assert "argument 'digest' (_hashlib.HASH) changed and cannot be put back" in refused.stderr
    assert "Make it inside of the function" in refused.stderr


VALUES = """
import os, sys, trax

class Sim:
    def __init__(self, rate):
        self.rate, self.x = rate, 0.0

@trax.resumable(every_steps=1)
def loop(sim):
    for i in range(5):
        if sys.argv[2:] == [str(i)]:
            os._exit(1)
        {change}
        yield sim.rate

sim = Sim(float(sys.argv[1]))
print(loop(sim).result(), sim.rate)
{again}
"""


@pytest.mark.parametrize("change", ["pass", "sim.x += 1"])
def test_other_values_in_an_argument_are_told(change: str) -> None:
    """With the two of them, when the run goes on and when it is done."""
    text = VALUES.format(change=change, again="")
    told = "sim.rate: 0.5 -> 0.25 since the run was stored"
    run_script(text, "0.5", "3", check=False)
    assert told in run_script(text, "0.25").stderr
    assert "sim.rate: 0.25 -> 0.75 since the run was stored" in run_script(text, "0.75").stderr


def test_what_the_loop_itself_has_changed_is_not_told() -> None:
    """The same object is given again in the process that has changed it."""
    text = VALUES.format(change="sim.x += 1", again="loop(sim).result()")
    assert "since the run was stored" not in run_script(text, "0.5").stderr
