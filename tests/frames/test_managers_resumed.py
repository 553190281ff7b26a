"""Loops in context managers of the user's are killed, and go on in another process."""

from __future__ import annotations

import shutil

import pytest
from support import run_script

HEAD = """
import asyncio, contextlib, math, os, random, sys, threading
import trax
from trax.engine import plain_session

lock = threading.Lock()

@contextlib.contextmanager
def doubled(state):
    old = state["v"]
    state["v"] = 2 * old
    try:
        yield
    finally:
        state["v"] = old

@contextlib.contextmanager
def noted(log, name):
    log.append(f"+{name}")
    try:
        yield name.upper()
    finally:
        log.append(f"-{name}")

@contextlib.asynccontextmanager
async def noted_async(log, name):
    log.append(f"+{name}")
    await asyncio.sleep(0)
    try:
        yield name.upper()
    finally:
        await asyncio.sleep(0)
        log.append(f"-{name}")

@contextlib.contextmanager
def seeded(seed):
    position = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(position)

@contextlib.contextmanager
def patched(owner, name, value):
    old = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, old)

@contextlib.contextmanager
def locked():
    lock.acquire()
    try:
        yield
    finally:
        lock.release()

class Restored:
    def __init__(self, state):
        self.state = state

    def __enter__(self):
        self.old = dict(self.state)
        self.state["v"] += 10

    def __exit__(self, *error):
        self.state.clear()
        self.state.update(self.old)

plain_session._SHARE = 1e9 if sys.argv[1] == "die" else 0.01  # a frame at each step

def show(k, item):
    print(item, flush=True)
    if sys.argv[1] == "die" and k == 4:
        os.kill(os.getpid(), 9)

def run(loop):
    for k, item in enumerate(loop):
        show(k, item)

def run_async(loop):
    async def main():
        k = 0
        async for item in loop:
            show(k, item)
            k += 1
    asyncio.run(main())
"""

LOOPS = {
    "saved": """
@trax.resumable
def loop():
    state = {"v": 1}
    with doubled(state), Restored(state):
        for i in range(8):
            state["v"] += 1
            yield i, state
    yield state

run(loop())
""",
    "nested": """
@trax.resumable
def loop():
    log = []
    with noted(log, "a") as a, noted(log, "b"):
        for i in range(8):
            with noted(log, f"step {i}") as b:
                yield a, b, log
    yield log

run(loop())
""",
    "helper": """
def doubling(state):
    with doubled(state):
        for i in range(8):
            state["v"] += 1
            yield i

@trax.resumable
def loop():
    state = {"v": 1}
    for i in doubling(state):
        yield i, state
    yield state

run(loop())
""",
    "stack": """
@trax.resumable
def loop():
    log = []
    with contextlib.ExitStack() as stack:
        for i in range(8):
            stack.enter_context(noted(log, f"step {i}"))
            stack.callback(log.append, i)
            yield log
    yield log

run(loop())
""",
    "async": """
@trax.resumable
async def loop():
    log = []
    async with noted_async(log, "a") as a, contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(noted_async(log, "b"))
        stack.enter_context(noted(log, "c"))
        for i in range(8):
            await stack.enter_async_context(noted_async(log, f"step {i}"))
            yield a, log
    yield log

run_async(loop())
""",
    "process": """
@trax.resumable
def loop():
    random.seed(1)
    with seeded(2), patched(math, "tau", 6), locked():
        for i in range(8):
            yield random.random(), math.tau, lock.locked()
    yield random.random(), math.tau, lock.locked()

run(loop())
""",
}


@pytest.mark.parametrize("name", LOOPS)
def test_a_block_of_the_users_goes_on_as_if_nothing_had_happened(name: str) -> None:
    """It is not entered again if that would show, and it is if the process must be changed."""
    script = HEAD + LOOPS[name]
    undisturbed = run_script(script, "live").stdout.splitlines()
    shutil.rmtree(".trax")
    died = run_script(script, "die", check=False)
    assert died.returncode == -9
    assert died.stdout.splitlines() == undisturbed[:5]
    assert run_script(script, "live").stdout.splitlines() == undisturbed[5:]


def test_a_block_that_can_neither_be_stored_nor_entered_again_is_refused() -> None:
    """At its first yield: its manager changes the loop, and the process as well."""
    loop = """
@contextlib.contextmanager
def both(log):
    log.append("in")
    with locked():
        lock.extra = 1
        yield

@contextlib.contextmanager
def both(log):
    log.append("in")
    lock.acquire()
    yield
    lock.release()

@trax.resumable
def loop():
    log = []
    with both(log):
        for i in range(8):
            yield i
    yield log

run(loop())
"""
    failed = run_script(HEAD + loop, "live", check=False)
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "`with both(log)` would change log again.\n" in failed.stderr
