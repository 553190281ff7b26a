"""The loops that are measured, and what else several groups of rows share."""

from __future__ import annotations

import os
import pickle
import resource
import secrets
import tempfile
from collections.abc import Callable, Iterator
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

import trax
from benchmarks.measuring import Side, Steps, stepping

INCREMENT = (1, 2.5, "abc")
MEGABYTE = 1 << 20
NEVER = 10**9  # steps

force = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def count(state: int, increment: object) -> int:
    return state + 1


def keep(state: Any, increment: object) -> Any:
    return state


def forever(state: Any) -> Iterator[object]:
    for _ in repeat(None):
        yield INCREMENT


def arrays(megabytes: int) -> list[Any]:
    """Return a large state."""
    return [np.full(megabytes * MEGABYTE // 32, n, float) for n in range(4)]


def begun(body: Callable[..., Any] = forever, *, key: bool = False, **options: Any) -> Any:
    """Return a run of a loop in a store of its own, signed if `key`."""
    os.environ["TRAX_KEY"] = secrets.token_hex(32) if key else ""
    options = {"create": int, "replay_log": count, "check": False, **options}
    return trax.resumable(name="run", traxdir=tempfile.mkdtemp(dir="."), **options)(body).fresh()


def loop(
    body: Callable[..., Any] = forever, label: str = "", chunk: int = 400, **options: Any
) -> Side:
    """Return the steps of a loop."""
    return Side(lambda: stepping(begun(body, **options)), label, chunk)


def named_state() -> trax.Trax:
    """Return a store that has a state, called `name`."""
    store = trax.Trax(tempfile.mkdtemp(dir="."))
    store.checkpoint(name=0)
    return store


def new_file() -> int:
    """Return the descriptor of an empty file."""
    return tempfile.mkstemp(dir=".")[0]


def dumps_and_write() -> Steps:
    """Return the least that a step takes."""
    fd = new_file()

    def steps(number: int) -> None:
        for _ in repeat(None, number):
            os.write(fd, pickle.dumps(INCREMENT, 5))

    return steps


def after(work: Callable[[], object], label: str) -> Side:
    """Return the same for steps that do some work."""

    def make() -> Steps:
        fd = new_file()

        def steps(number: int) -> None:
            for _ in repeat(None, number):
                work()
                os.write(fd, pickle.dumps(INCREMENT, 5))

        return steps

    return Side(make, f"{label} + dumps + os.write", 400)


def memory(entry: str) -> int:
    """Return an entry of this process's memory, in bytes: VmRSS, or VmHWM for the most it had."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # the most, by macOS
    return int(status.partition(f"{entry}:")[2].split()[0]) * 1024
