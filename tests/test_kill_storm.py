"""Real processes, killed with SIGKILL again and again, and an oracle outside of them."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = 20_000
EVERY = 500
KILLS = 25

WORKER = """
import asyncio, hashlib, os, random, struct, sys
from pathlib import Path
import numpy as np
import trax

random.seed(1)
np.random.seed(2)
aside = np.random.default_rng(3)
STEPS, EVERY, MODE = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]


def tell(kind, step):
    os.write(1, struct.pack("<ci", kind, step))


def begin():
    rng = np.random.default_rng(4)
    return {"step": 0, "list": [], "dict": {}, "array": np.zeros(100), "rng": rng}


def advance(state, increment):
    step, value = increment
    state["step"] = step + 1
    if step % 100 == 0:
        state["list"].append(value)
    state["dict"][step % 97] = value
    state["array"][step % 100] += value
    return state


def open_files():
    global text, binary
    text, binary = trax.open("out.txt"), trax.open("out.bin", "ab")


def compute(state):
    step = state["step"]
    tell(b"x", step)
    value = (state["array"][step % 100] * 3 + step) % 1.7 + state["dict"].get(step % 97, 0) % 1
    value += random.gauss(0, 1) + np.random.standard_normal()
    value += aside.random() + state["rng"].random()
    line = f"{step} {value!r}\\n"
    text.write(line[:5])
    if step % 50 == 0:
        text.flush()
    text.write(line[5:])
    binary.write(struct.pack("<d", value) * (step % 3))
    return step, value


@trax.resumable(create=begin, replay_log=advance, every_steps=EVERY)
def function(state):
    open_files()
    while state["step"] < STEPS:
        state = yield compute(state)


@trax.resumable(create=begin, every_steps=EVERY)
def replace(state):
    open_files()
    while state["step"] < STEPS:
        new = {**state, "list": [*state["list"]], "dict": {**state["dict"]},
               "array": state["array"].copy()}
        state = yield advance(new, compute(state))


@trax.resumable(create=begin, replay_log=None, every_steps=EVERY)
def none(state):
    open_files()
    while state["step"] < STEPS:
        advance(state, compute(state))
        yield state["step"] - 1


@trax.resumable(create=begin, replay_log=advance, every_steps=EVERY)
async def asynchronous(state):
    open_files()
    while state["step"] < STEPS:
        await asyncio.sleep(0)
        state = yield compute(state)


async def drive(run):
    async with run:
        tell(b"r", run.step)
        async for _ in run:
            tell(b"s", run.step - 1)


loops = {"function": function, "replace": replace, "none": none, "async": asynchronous}
run = loops[MODE]()
if MODE == "async":
    asyncio.run(drive(run))
else:
    tell(b"r", run.step)
    for _ in run:
        tell(b"s", run.step - 1)
state = run.state
digest = hashlib.sha256(repr((state["step"], state["list"], state["dict"])).encode())
digest.update(state["array"].tobytes())
digest.update(Path("out.txt").read_bytes())
digest.update(Path("out.bin").read_bytes())
digest.update(repr((random.random(), np.random.random(), state["rng"].random())).encode())
print(digest.hexdigest(), file=sys.stderr)
"""


class Storm:
    """Runs the worker in `directory`, kills it, and remembers everything that it said."""

    def __init__(self, directory: Path, mode: str) -> None:
        directory.mkdir()
        self.directory = directory
        self.script = directory / "worker.py"
        self.script.write_text(WORKER)
        self.mode = mode
        self.executed: list[int] = []
        self.seen = -1
        self.resumed: list[int] = []
        self.digest = ""

    def start(self, kill_after: int | None) -> bool:
        """Run until so many messages have arrived, then kill; return whether it ended by itself."""
        command = [sys.executable, str(self.script), str(STEPS), str(EVERY), self.mode]
        with subprocess.Popen(
            command, cwd=self.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            told = b""
            while kill_after is None or len(told) < 5 * kill_after:
                chunk = os.read(process.stdout.fileno(), 1 << 16)
                if not chunk:
                    break
                told += chunk
            if kill_after is not None:
                process.send_signal(signal.SIGKILL)
            told += process.stdout.read()
            errors = process.stderr.read().decode()
        self._understand(told)
        if process.returncode == -signal.SIGKILL:
            return False
        assert process.returncode == 0, errors
        self.digest = errors.split()[-1]
        return True

    def _understand(self, told: bytes) -> None:
        for kind, step in struct.iter_unpack("<ci", told[: len(told) // 5 * 5]):
            if kind == b"x":
                self.executed.append(step)
            elif kind == b"r":
                if self.mode != "none":
                    assert step > self.seen, "an increment that the caller had seen was lost"
                self.resumed.append(step)
            else:
                self.seen = step


@pytest.mark.parametrize("mode", ["function", "replace", "none", "async"])
def test_a_run_that_is_killed_25_times_ends_in_the_same_state(mode: str, tmp_path: Path) -> None:
    """No step is lost, hardly one is done twice, and the final state is the uninterrupted one."""
    seed = random.randrange(1 << 32)
    rng = random.Random(seed)
    calm = Storm(tmp_path / "calm", mode)
    assert calm.start(None)
    storm = Storm(tmp_path / "storm", mode)
    kills = 0
    while kills < KILLS:
        # A message before and one after each step: 1,000 are 500 steps.
        if storm.start(rng.randrange(200, 2 * STEPS // KILLS)):
            break
        kills += 1
    if not storm.digest:
        assert storm.start(None)
    context = f"seed {seed}, {kills} kills"
    assert kills >= 20, context
    assert storm.digest == calm.digest, context
    assert set(storm.executed) == set(range(STEPS)), context
    again = len(storm.executed) - STEPS
    allowed = kills * (EVERY + 1) if mode == "none" else kills
    assert again <= allowed, context
