"""A node of `replica_storm`: runs one loop with a replica, and tells each step that is handed out.

``python tests/replica_loops.py SETTING`` prints a line for each: the time, its number, a digest of
the state after it, and who has done which steps, ``[[node, first step], ...]``. As each increment
is the number of its node, a step of a node that has lost the run cannot enter unnoticed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from typing import Any

from xxhash import xxh3_64_intdigest

import trax
from trax.replica import copier
from trax.storage.process import process

State = dict[str, Any]
Report = tuple[int, int, list[list[int]]]  # the step, a digest, and the nodes

OUTPUT = "out.txt"
LARGE = 1_200_000  # numbers, which are more than 8 MiB


def begin(size: int = 0) -> State:
    """Return the first state."""
    array = None
    if size:
        import numpy as np

        array = np.zeros(size, dtype=np.int64)
    return {"step": 0, "value": 1, "nodes": [], "array": array}


def advance(state: State, node: int) -> State:
    """Do a step, in place."""
    step, nodes = state["step"], state["nodes"]
    if not nodes or nodes[-1][0] != node:
        nodes.append([node, step])
    state["step"] = step + 1
    state["value"] = (state["value"] * 1103515245 + step) % 2**31
    if state["array"] is not None:
        state["array"][step * 7919 % len(state["array"])] = state["value"]
    return state


def digest(state: State) -> int:
    """Return a digest of what any undisturbed run has as well."""
    numbers = repr((state["step"], state["value"])).encode()
    array = state["array"]
    return xxh3_64_intdigest(numbers + (b"" if array is None else array.tobytes()))


def line(state: State, node: int) -> str:
    """Return the output of a step."""
    return f"{state['step']} {node} {state['value']}\n"


def node() -> int:
    """Return the number of this node."""
    return int(os.environ["STORM_NODE"])


# -- the loops -----------------------------------------------------------------------------


def declared(state: State, to: int) -> Generator[int, State, None]:
    while state["step"] < to:
        state = yield node()


def written(state: State, to: int) -> Generator[int, State, None]:
    with trax.open(OUTPUT) as file:
        while state["step"] < to:
            file.write(line(state, node()))
            state = yield node()


def unlogged(state: State, to: int) -> Iterator[int]:
    while state["step"] < to:
        advance(state, node())
        yield state["step"]


async def awaited(state: State, to: int) -> AsyncGenerator[int, State]:
    while state["step"] < to:
        state = yield node()


def plain(to: int) -> Iterator[Report]:
    state = begin()
    with trax.open(OUTPUT) as file:
        while state["step"] < to:
            file.write(line(state, 0))
            advance(state, 0)  # a step that is run again must do the same
            yield report(state)


# The function of each kind of loop, and its options.
OPTIONS: dict[str, Any] = {"name": "storm", "varying": "to"}
DECLARED = OPTIONS | {"create": begin, "replay_log": advance, "every_steps": 40}
BIG_DECLARED = DECLARED | {"create": lambda: begin(LARGE)}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "declared": (declared, DECLARED),
    "plain": (plain, OPTIONS | {"every_steps": 40}),
    "unlogged": (unlogged, DECLARED | {"replay_log": None, "every_steps": 10}),
    "signed": (written, DECLARED),
    "output": (written, DECLARED),
    "long": (written, DECLARED | {"every_steps": 10**9}),
    "large": (declared, BIG_DECLARED | {"background": False}),
    "background": (written, BIG_DECLARED | {"background": True}),
    "waiting": (written, DECLARED | {"sync": "replica"}),
    "awaited": (awaited, DECLARED | {"sync": "replica"}),
}
WITH_OUTPUT = {kind for kind, (function, _) in KINDS.items() if function in (plain, written)}
BIG = {"large", "background"}
WAITING = {kind for kind, (_, options) in KINDS.items() if options.get("sync") == "replica"}


def report(state: State) -> Report:
    """Return what is told of a step, but for the time."""
    return state["step"], digest(state), [list(one) for one in state["nodes"]]


def tell(told: Report, pause: float) -> None:
    """Print a line, and go on a while later."""
    os.write(1, json.dumps([time.monotonic(), *told]).encode() + b"\n")
    time.sleep(pause)


async def drive(run: Any, pause: float) -> None:
    """Drive an async loop."""
    async with run:
        async for _ in run:
            tell(report(run.state), pause)


def main() -> None:
    setting = json.loads(sys.argv[1])
    kind, pause = setting["kind"], setting["pause"]
    process.boot_id = lambda: setting["boot"]
    copier.LONG, copier.PIECE, copier.SMALL = setting["sizes"]
    function, options = KINDS[kind]
    loop = trax.resumable(
        **options, replica=setting["url"], replica_seconds=setting["seconds"], wait=0
    )(function)
    run = loop(to=setting["to"])
    if kind == "awaited":
        asyncio.run(drive(run, pause))
    elif kind == "plain":
        for told in run:
            tell(told, pause)
    else:
        for _ in run:
            tell(report(run.state), pause)
    print("end", flush=True)


if __name__ == "__main__":
    main()
