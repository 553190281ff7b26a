"""Signals and time limits in async loops: real signals, in processes of their own."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import run_script

import trax

LIBRARIES = ["asyncio", "trio"]

LOOP = """
import os, signal, sys, threading
import trax

library, mode, place, number, sync = sys.argv[1:]
number = int(number)
here = threading.get_ident()


def add(state, n):
    return [*state, n]


class State(list):
    def __reduce__(self):
        # The state is pickled where the event loop is not kept waiting, but for the first time.
        if self and threading.get_ident() == here:
            print("pickled in the event loop")
        return State, (list(self),)


OPTIONS = {
    "function": {"create": list, "replay_log": add},
    "none": {"create": State, "replay_log": None},
}[mode]


@trax.resumable(signals=("SIGTERM", "SIGUSR1"), sync=sync, every_steps=1000, **OPTIONS)
async def loop(state):
    try:
        for n in trax.steps(10):
            await pause(0)
            if place == "step" and n == 4 and resumed is None:
                os.kill(os.getpid(), number)
                await pause(0)
            if mode == "none":
                state.append(n)
                yield n
            else:
                state = yield n
    finally:
        await pause(0)


async def main():
    global resumed
    async with loop() as run:
        resumed = run.resumed_at
        print("from", resumed)
        async for n in run:
            print("saw", n)
            if place == "caller" and n == 4 and resumed is None:
                os.kill(os.getpid(), number)
                await pause(0)
    print("state", list(run.state))


if library == "asyncio":
    import asyncio
    pause = asyncio.sleep
    asyncio.run(main())
else:
    import trio
    pause = trio.sleep
    trio.run(main)
"""


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("mode", ["function", "none"])
@pytest.mark.parametrize("place", ["step", "caller"])
@pytest.mark.parametrize(
    ("number", "sync"), [(signal.SIGTERM, "interval"), (signal.SIGUSR1, "always")]
)
def test_a_signal_ends_an_async_loop_behind_the_step(
    library: str, mode: str, place: str, number: signal.Signals, sync: str
) -> None:
    """Its checkpoint is stored, what was stored was handed out, and the status is 75."""
    arguments = (LOOP, library, mode, place, str(int(number)), sync)
    stopped = run_script(*arguments, check=False)
    assert stopped.returncode == 75, stopped.stderr
    assert stopped.stdout.splitlines() == ["from None", *(f"saw {n}" for n in range(5))]
    assert f"loop stopped at step 5: {number.name}; that step is stored" in stopped.stderr
    again = run_script(*arguments)
    assert "checkpoint of step 5" in again.stderr
    assert again.stdout.splitlines() == [
        "from 5",
        *(f"saw {n}" for n in range(5, 10)),
        f"state {list(range(10))}",
    ]


def test_ctrl_c_is_the_event_loops_and_loses_nothing() -> None:
    """asyncio cancels its main task: the step is broken off, and is done again."""
    arguments = (LOOP, "asyncio", "function", "step", str(int(signal.SIGINT)), "interval")
    stopped = run_script(*arguments, check=False)
    assert "KeyboardInterrupt" in stopped.stderr
    assert stopped.stdout.splitlines()[-1] == "saw 3"
    assert run_script(*arguments).stdout.splitlines()[0] == "from 4"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_time_limit_ends_an_async_loop(library: str) -> None:
    """After one step, where it is shorter than that."""

    @trax.resumable(create=list, replay_log=lambda got, n: [*got, n], time_limit=1e-6)
    async def loop(got: list[int]) -> Any:
        for n in trax.steps(3):
            yield n

    async def main() -> None:
        await loop().result()

    for step in (1, 2):
        with pytest.raises(trax.Preempted, match="the time limit") as caught:
            drive(library, main)
        assert caught.value.step == step
        assert loop().step == step
    with pytest.raises(trax.Preempted):
        drive(library, main)
    drive(library, main)
    assert loop.load() == [0, 1, 2]


@pytest.fixture
def before() -> Iterator[Any]:
    """The handler of SIGTERM that the test finds, whatever earlier ones have left behind."""

    def handler(number: int, frame: Any) -> None: ...

    replaced = signal.signal(signal.SIGTERM, handler)
    yield handler
    signal.signal(signal.SIGTERM, replaced)


@pytest.mark.parametrize("library", LIBRARIES)
def test_handlers_are_put_back_behind_an_async_loop(library: str, before: Any) -> None:
    """However it ends, and also where its opening failed."""

    @trax.resumable(create=int)
    async def loop(n: int) -> Any:
        while n < 3:
            watched.append(signal.getsignal(signal.SIGTERM) is not before)
            n = yield n + 1
            if fails:
                raise LookupError

    @trax.resumable(create=lambda: 1 / 0, name="broken")
    async def broken(n: float) -> Any:
        yield n

    async def main() -> None:
        async with loop() as run:
            await anext(run)
        with pytest.raises(ZeroDivisionError):
            await anext(broken())
        with pytest.raises(LookupError):
            await loop().result()

    watched: list[bool] = []
    fails = True
    drive(library, main)
    assert signal.getsignal(signal.SIGTERM) is before
    fails = False
    drive(library, lambda: loop().result())
    assert signal.getsignal(signal.SIGTERM) is before
    assert len(watched) >= 3
    assert all(watched)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_signal_counts_where_an_async_loop_fails_and_fails_to_close(
    library: str, before: Any
) -> None:
    """What its generator raises when it is closed comes before both."""

    @trax.resumable(create=int)
    async def loop(n: int) -> Any:
        try:
            yield 1
            signal.raise_signal(signal.SIGTERM)
            yield threading.Lock()  # cannot be stored
        finally:
            raise LookupError

    with pytest.raises(trax.Preempted) as caught:
        drive(library, lambda: loop().result())
    assert isinstance(caught.value.__context__, LookupError)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_sigterm_ends_an_async_step_at_once() -> None:
    """As it would have without trax."""
    script = """
import asyncio, os, signal, time
import trax

@trax.resumable(create=int)
async def loop(n):
    while n < 5:
        if n == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            late = time.monotonic() + 1.5
            while time.monotonic() < late:
                await asyncio.sleep(0)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0)
            print("went on")
        n = yield n + 1

asyncio.run(loop().result())
"""
    killed = run_script(script, check=False)
    assert killed.returncode == -signal.SIGTERM
    assert "went on" not in killed.stdout
    assert trax.load("loop") == 2


def test_a_task_that_is_collected_in_a_step_stores_no_half_of_it() -> None:
    """Nobody refers to it, and nobody will go on with it."""

    class State:
        begun = ended = 0

    @trax.resumable(create=State, replay_log=None)
    async def loop(state: State) -> Any:
        while True:
            state.begun += 1
            if state.begun == 3:
                reached.set()
                await asyncio.get_running_loop().create_future()
            state.ended += 1
            yield

    async def main() -> None:
        run = loop()
        step = run.__anext__()
        for _ in range(2):
            await step
            step = run.__anext__()
        task = asyncio.ensure_future(step)
        await reached.wait()
        lifecycle = run._lifecycle
        del run, step, task
        gc.collect()
        while lifecycle.status != "closed":
            gc.collect()
            await asyncio.sleep(0)

    reached = asyncio.Event()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(main())
    state = loop.load()
    assert state.begun == state.ended


def test_a_run_that_was_opened_by_a_look_at_its_step_is_watched() -> None:
    """SIGTERM ends it behind the step as well."""
    script = """
import asyncio, os, signal
import trax

@trax.resumable(create=int)
async def loop(n):
    while n < 5:
        if n == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        n = yield n + 1

async def main():
    run = loop()
    assert run.step == 0
    await run.result()

asyncio.run(main())
"""
    assert run_script(script, check=False).returncode == 75


def test_a_handler_of_the_event_loop_is_called_once() -> None:
    """It cancels the task, and the clean-up of that is not disturbed."""
    script = """
import asyncio, os, signal
import trax

@trax.resumable(create=int)
async def loop(n):
    while n < 5:
        if n == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.get_running_loop().create_future()
        n = yield n + 1

async def main():
    task = asyncio.current_task()

    def stop():
        print("called")
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
    try:
        await loop().result()
    except asyncio.CancelledError:
        for _ in range(100):
            await asyncio.sleep(0)
        print("clean")

asyncio.run(main())
"""
    assert run_script(script).stdout.split() == ["called", "clean"]
    assert trax.load("loop") == 3


SEVERAL = """
import os, signal, sys
import trax
from trax.engine import async_driver

library, place, others, patience = sys.argv[1:]
async_driver._PATIENCE = float(patience)
runs = []


def watched(**options):
    return trax.resumable(create=list, replay_log=None, every_steps=1000, **options)


@watched(time_limit=1e-6 if place == "time limit" else None)
async def one(state):
    for n in trax.steps(5):
        if n == 3 or place == "time limit":
            while not two_is_in_its_step:
                await pause(0)
            if place == "step":
                os.kill(os.getpid(), signal.SIGTERM)
                await pause(0)
        state.append(n)
        yield n
        if place == "end" and n == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            return


two_is_in_its_step = False


@watched(signals="SIGTERM" if others == "watched" else None, time_limit=None)
async def two(state):
    global two_is_in_its_step
    for n in trax.steps(5):
        if n == 2:
            two_is_in_its_step = True
            while not runs or runs[0]._lifecycle.status == "open" or others == "stuck":
                await pause(0)
            for _ in range(10):
                await pause(0)
        state.append(n)
        yield n


async def drive_one():
    async with one() as run:
        runs.append(run)
        async for n in run:
            if place == "close" and n == 3:
                os.kill(os.getpid(), signal.SIGTERM)
                break


async def drive_two():
    async for n in two():
        print("two handed out", n)


if library == "asyncio":
    import asyncio
    pause = asyncio.sleep

    async def main():
        await asyncio.gather(drive_one(), drive_two())

    asyncio.run(main())
else:
    import trio
    pause = trio.sleep

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive_one)
            nursery.start_soon(drive_two)

    try:
        trio.run(main)
    except* trax.Preempted:
        raise SystemExit(75)
"""


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("place", ["step", "close", "end", "time limit"])
@pytest.mark.parametrize("others", ["watched", "not watched"])
def test_the_end_of_one_run_waits_for_the_steps_of_others(
    library: str, place: str, others: str
) -> None:
    """What ends the program breaks off whatever is going on in the event loop."""
    stopped = run_script(SEVERAL, library, place, others, "1e9", check=False)
    assert stopped.returncode == 75, stopped.stderr
    assert trax.load("two")[:3] == [0, 1, 2]
    assert trax.load("one")[:1] == [0]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_step_that_does_not_end_is_not_waited_for_without_end(library: str) -> None:
    """It may wait for just the loop that has stopped."""
    stopped = run_script(SEVERAL, library, "step", "stuck", "0.01", check=False)
    assert stopped.returncode == 75, stopped.stderr
    assert trax.load("two") == []
    assert trax.load("one") == [0, 1, 2, 3]


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_run_in_the_step_of_another_does_not_wait_for_it(library: str) -> None:
    """Also where that has it driven in tasks of their own; the two wait for each other."""
    script = """
import os, signal, sys
import trax
from trax.engine import async_driver

async_driver._PATIENCE = 1e9


def watched(name, **options):
    return trax.resumable(create=list, replay_log=None, every_steps=1000, name=name, **options)


@watched("inner-{number}")
async def inner(state, number):
    try:
        for n in trax.steps(5):
            await pause(0)
            if n == 3:
                reached.append(number)
            while n == 3 and 3 - number not in reached:
                await pause(0)
            if number == 1 and n == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            while number == 2 and n == 3 and not stopped:
                await pause(0)
            state.append(n)
            yield n
    finally:
        stopped.append(number)


reached, stopped = [], []


@watched("outer")
async def outer(state):
    for n in trax.steps(2):
        if n == 1:
            await both(inner(1).result, inner(2).result)
        state.append(n)
        yield n


if sys.argv[1] == "asyncio":
    import asyncio
    pause = asyncio.sleep

    async def both(one, two):
        await asyncio.gather(one(), two())

    asyncio.run(outer().result())
else:
    import trio
    pause = trio.sleep

    async def both(one, two):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one)
            nursery.start_soon(two)

    try:
        trio.run(outer().result)
    except* trax.Preempted:
        raise SystemExit(75)
"""
    ended = run_script(script, library, check=False)
    assert ended.returncode == 75, ended.stderr
    assert trax.load("inner-1") == trax.load("inner-2") == [0, 1, 2, 3]


CANCELLED = """
import os, signal, sys, threading
import trax

library, place = sys.argv[1:]
saving, go_on = threading.Event(), threading.Event()


class State(list):
    def __reduce__(self):
        if place == "saving" and len(self) == 3:
            saving.set()
            go_on.wait(20)
        return list, (list(self),)


@trax.resumable(create=State, replay_log=None, every_steps=1000)
async def loop(state):
    try:
        while True:
            state.append(len(state))
            yield
    finally:
        if place == "closing":
            saving.set()
            for _ in range(100):
                await pause(0.01)


async def drive():
    async for _ in loop():
        if len(loop.load()) == 0 and (steps.append(1) or len(steps) == 3):
            os.kill(os.getpid(), signal.SIGTERM)


steps = []


async def reached():
    while not saving.is_set():
        await pause(0)


if library == "asyncio":
    import asyncio
    pause = asyncio.sleep

    async def main():
        task = asyncio.create_task(drive())
        await reached()
        task.cancel()
        go_on.set()
        await task

    asyncio.run(main())
else:
    import trio
    pause = trio.sleep

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive)
            await reached()
            nursery.cancel_scope.cancel()
            go_on.set()

    try:
        trio.run(main)
    except* trax.Preempted:
        raise SystemExit(75)
"""


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("place", ["saving", "closing"])
def test_a_stop_that_is_cancelled_is_a_stop(library: str, place: str) -> None:
    """What the signal asked for is done, and the scheduler learns that."""
    stopped = run_script(CANCELLED, library, place, check=False)
    assert stopped.returncode == 75, stopped.stderr
    assert "stopped at step 3: SIGTERM; that step is stored" in stopped.stderr
    assert trax.load("loop") == [0, 1, 2]


def drive(library: str, main: Any) -> None:
    """Run an async function with one of the libraries."""
    if library == "asyncio":
        asyncio.run(main())
    else:
        import trio

        trio.run(main)


def test_the_scripts_write_nothing_beside_the_store(store_here: Path) -> None:
    """A signal leaves no file behind that was not there before."""
    run_script(LOOP, "asyncio", "none", "step", str(int(signal.SIGTERM)), "interval", check=False)
    assert {p.name for p in store_here.parent.iterdir() if not p.name.startswith("script")} == {
        ".trax"
    }
    assert not [name for name in os.listdir(store_here / "runs" / "loop") if "tmp" in name]
