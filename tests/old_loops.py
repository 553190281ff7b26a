"""The loops that the stores in ``tests/data`` are of; run as a script, it writes such stores.

::

    python tests/old_loops.py tests/data/format-1

That was done once for each store, by the trax of that time, and is never done again: what was
written then must be read forever.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import trax
from trax.calls.log_mode import REPLACE, STORED

KEY = "0123456789abcdef" * 4  # no secret
BROKEN_OFF, STEPS = 7, 12

State = dict[str, Any]


def begin() -> State:
    return {"step": 0, "total": 0.0, "grid": np.zeros(40), "rng": np.random.default_rng(4)}


def advance(state: State, increment: float) -> State:
    state["grid"][state["step"]] = increment
    state["step"] += 1
    state["total"] += increment
    return state


def compute(state: State) -> float:
    return float(state["step"] + random.random() + state["rng"].random())


@trax.resumable(create=begin, replay_log=advance, every_steps=3, traxdir="store")
def function(state: State) -> Generator[float, State, str]:
    with trax.open("out.txt") as file:
        while state["step"] < STEPS:
            increment = compute(state)
            print(increment, file=file)
            state = yield increment
    return f"{state['total']:.6f}"


@trax.resumable(create=begin, every_steps=3, traxdir="store")
def replace(state: State) -> Generator[State, State, None]:
    while state["step"] < STEPS:
        state = yield advance({**state, "grid": state["grid"].copy()}, compute(state))


@trax.resumable(create=begin, replay_log=None, every_steps=3, traxdir="store")
def none(state: State) -> Generator[int, State, None]:
    while state["step"] < STEPS:
        advance(state, compute(state))
        yield state["step"]


@trax.resumable(create=begin, replay_log=advance, every_steps=3, traxdir="store", version=2)
async def asynchronous(state: State) -> AsyncGenerator[float, State]:
    while state["step"] < STEPS:
        await asyncio.sleep(0)
        state = yield compute(state)


@dataclass
class Note:
    """Has objects of trax's own: they are stored under the name that their class had then."""

    step: trax.Step
    error: trax.TraxError
    call: Callable[[], trax.Step] = trax.step


PARTS = (trax.Step(3, "key"), trax.StorageError, trax.every_steps)


def begin_noting() -> State:
    return {**begin(), "notes": []}


def note_down(state: State, note: Note) -> State:
    state["notes"].append(note)
    return advance(state, float(note.step))


@trax.resumable(create=begin_noting, replay_log=note_down, every_steps=3, traxdir="store")
def public(state: State, parts: Any = PARTS) -> Generator[Note, State, Note]:
    while state["step"] < STEPS:
        state = yield Note(trax.step(), trax.CorruptionError("damaged", "file", state["step"]))
    return Note(state["notes"][-1].step, trax.UsageError("the end"))


def core(steps: int) -> None:
    store = trax.Trax("store")
    for step in range(steps):
        store.log(core={"step": step, "grid": np.full(40, float(step))})
        if step % 3 == 2:
            store.checkpoint(core={"step": step, "grid": np.full(40, float(step))})


def drive(loop: Callable[[], Any], steps: int) -> None:
    run = loop()
    if isinstance(run, trax.AsyncRun):
        asyncio.run(drive_async(run, steps))
    else:
        for _ in zip(range(steps), run, strict=False):
            pass


async def drive_async(run: trax.AsyncRun[Any, Any], steps: int) -> None:
    async with run:
        async for _ in run:
            steps -= 1
            if not steps:
                break


def described(state: State) -> State:
    """Return a state as JSON can hold it; generators by what they draw next."""
    plain = {**state, "grid": state["grid"][:STEPS].tolist()}
    if "rng" in plain:
        plain["rng"] = float(plain["rng"].random())
    if "notes" in plain:
        plain["notes"] = list(map(described_note, plain["notes"]))
    return plain


def described_note(note: Note) -> list[Any]:
    """Return what of a note is the same in every run: a key of a step is not."""
    assert isinstance(note.step, trax.Step)
    assert note.call is trax.step
    return [int(note.step), len(note.step.key), type(note.error).__name__, vars(note.error)]


LOOPS: dict[str, Callable[[], Any]] = {
    "function": function,
    "replace": replace,
    "none": none,
    "asynchronous": asynchronous,
    "public": public,
}


def write(directory: Path, name: str, steps: int) -> None:
    """Write a store as a process leaves it that is killed behind so many steps."""
    directory.mkdir(parents=True)
    child = os.fork()
    if not child:
        os.chdir(directory)
        random.seed(1)
        if name == "core":
            core(steps)
        else:
            drive(LOOPS[name], steps)
        os._exit(0)  # nothing is closed
    assert os.waitpid(child, 0)[1] == 0


def main(where: Path) -> None:
    for name in [*LOOPS, "core"]:
        write(where / name, name, BROKEN_OFF)
    write(where / "finished", "function", STEPS + 1)
    os.environ["TRAX_KEY"] = KEY
    write(where / "signed", "function", BROKEN_OFF)
    for path in where.iterdir():
        os.environ["TRAX_KEY"] = KEY if path.name == "signed" else ""
        (name,) = os.listdir(path / "store" / "runs")
        state = trax.load(name, traxdir=path / "store", replay_log=meaning(name))
        (path / "state.json").write_text(json.dumps(described(state)) + "\n")
        # Neither is needed to read a store.
        (path / "store" / ".gitignore").unlink()
        shutil.rmtree(path / "store" / "locks")


def meaning(run: str) -> Callable[[Any, Any], Any]:
    """Return what the increments of a run of the core mean; a loop knows by itself."""
    return REPLACE if run == "core" else STORED


if __name__ == "__main__":
    import old_loops  # what is stored refers to it by this name

    old_loops.main(Path(sys.argv[1]).resolve())
