"""Maps of async functions: tasks, cancellation, signals, kills, and the ways in which they end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import run_script, write_script

import trax
from trax.replica.directory import DirectoryObjects
from trax.storage.process import process


async def double(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


class Gate:
    """An async function whose calls wait until they are let through."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ended: list[int] = []
        self.open = asyncio.Event()

    async def __call__(self, n: int) -> int:
        self.begun.append(n)
        if n:
            await self.open.wait()
        self.ended.append(n)
        return 2 * n


def test_items_are_computed_once_and_concurrently() -> None:
    running: set[int] = set()
    most = [0]

    async def work(n: int) -> int:
        running.add(n)
        most[0] = max(most[0], len(running))
        await asyncio.sleep(0.001)
        running.remove(n)
        return 2 * n

    async def main() -> None:
        pairs = [pair async for pair in trax.map(work, range(60), in_flight=7)]
        assert dict(pairs) == {n: 2 * n for n in range(60)}
        assert most == [7]
        results = trax.map(work, range(70), in_flight=7)
        again = [await anext(results) for _ in range(60)]
        assert again == pairs
        assert await results.result() == [*range(0, 140, 2)]
        assert results.done

    asyncio.run(main())
    assert len(trax.load("work")) == 70


def test_sources_may_be_async_and_endless() -> None:
    """They are taken no faster than the results are."""
    taken: list[int] = []

    async def source() -> AsyncIterator[int]:
        while True:
            await asyncio.sleep(0)
            taken.append(len(taken))
            yield taken[-1]

    async def main() -> None:
        async with trax.map(double, source(), in_flight=3) as results:
            for count in range(1, 20):
                await anext(results)
                await asyncio.sleep(0.001)
                assert len(taken) <= count + 3
        assert results.step <= 22

    asyncio.run(main())


def test_a_slow_source_holds_up_no_result() -> None:
    async def source() -> AsyncIterator[int]:
        yield 1
        await got.wait()
        yield 2

    async def main() -> None:
        results = trax.map(double, source())
        assert await anext(results) == (1, 2)
        got.set()
        assert await anext(results) == (2, 4)
        assert [pair async for pair in results] == []

    got = asyncio.Event()
    asyncio.run(main())


@pytest.mark.parametrize("ends", [False, True])
def test_a_failing_item_is_a_result_or_ends_the_map(
    ends: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(n: int) -> int:
        if n == 3:
            raise ConnectionError(n)
        return n

    async def main() -> None:
        results = trax.map(work, range(6), return_exceptions=not ends)
        if ends:
            with pytest.raises(ConnectionError) as caught:
                await results.result()
            assert caught.value.__notes__ == ["trax: item 3 of 'work' is not stored"]
            return
        found = await results.result()
        assert isinstance(found[3], ConnectionError)
        assert not results.done
        assert "work: 1 of 6 items failed" in caplog.text

    asyncio.run(main())
    assert 3 not in dict(trax.load("work"))
    assert asyncio.run(trax.map(double, range(6), name="work", varying="function").result()) == [
        0,
        1,
        2,
        6,
        4,
        5,
    ]


def test_an_error_of_the_source_is_passed_on_and_what_is_done_is_stored() -> None:
    def source() -> Iterator[int]:
        yield from range(3)
        raise OSError("no more")

    async def main() -> None:
        results = trax.map(double, source())
        with pytest.raises(OSError, match="no more"):
            await results.result()

    asyncio.run(main())
    assert len(trax.load("double")) == 3


def test_done_items_that_do_not_come_are_an_error_at_the_end() -> None:
    asyncio.run(trax.map(double, range(4)).result())
    with pytest.raises(trax.ArgumentsChangedError):
        asyncio.run(trax.map(double, range(3)).result())


@pytest.mark.parametrize("how", ["aclose", "with", "error", "cancel", "drop"])
def test_what_has_begun_is_finished_or_cancelled(how: str) -> None:
    """It is finished and stored, unless the task is cancelled or the map is dropped."""

    async def main() -> None:
        gate = Gate()
        loop = asyncio.get_running_loop()
        results = trax.map(gate, range(50), in_flight=5, name="run")
        assert await anext(results) == (0, 0)
        while len(gate.begun) < 6:
            await asyncio.sleep(0)
        if how == "cancel":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(results)
        elif how == "drop":
            del results
            gc.collect()
            for _ in range(20):
                await asyncio.sleep(0)
        else:
            loop.call_later(0.02, gate.open.set)
            if how == "aclose":
                await results.aclose()
            elif how == "with":
                async with results:
                    pass
            else:
                with pytest.raises(KeyError):
                    async with results:
                        raise KeyError
        assert len(gate.begun) == 6
        assert len(gate.ended) == (1 if how in ("cancel", "drop") else 6)
        assert len(trax.load("run")) == len(gate.ended)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert (
        len(
            asyncio.run(
                trax.map(double, range(50), name="run", varying=("function", "self")).result()
            )
        )
        == 50
    )


def test_a_closed_map_goes_on_when_it_is_iterated_over_again() -> None:
    async def main() -> None:
        results = trax.map(double, range(4), in_flight=1)
        await anext(results)
        await results.aclose()
        with pytest.raises(trax.UsageError, match="Iterate over it again"):
            await anext(results)
        assert [pair async for pair in results] == [(0, 0), (1, 2), (2, 4), (3, 6)]
        assert [pair async for pair in results] == [(0, 0), (1, 2), (2, 4), (3, 6)]

    asyncio.run(main())


def test_it_is_for_async_for_in_an_event_loop_of_asyncio() -> None:
    with pytest.raises(trax.CallError, match="async for key, result"):
        list(trax.map(double, range(3)))
    trio = pytest.importorskip("trio")
    with pytest.raises(trax.UsageError, match="needs an event loop of asyncio"):
        trio.run(trax.map(double, range(3)).result)


SIGNALLED = """
import asyncio, os, signal, sys
import trax

async def work(n):
    if n == 5 and not trax_resumed:
        os.kill(os.getpid(), int(sys.argv[1]))
    await asyncio.sleep(0.01)
    return 2 * n

async def main():
    async for key, value in trax.map(work, range(100), in_flight=4):
        print("saw", key, flush=True)
    print("end", flush=True)

trax_resumed = os.path.exists(".trax")
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_and_the_next_one_goes_on(number: signal.Signals) -> None:
    """SIGTERM with the exit status of loops, when what has begun is stored."""
    done = run_script(SIGNALLED, str(int(number)), check=False)
    assert done.returncode == (75 if number == signal.SIGTERM else -signal.SIGINT), done.stderr
    stored = dict(trax.load("work"))
    assert len(stored) < 30
    assert (5 in stored) == (number == signal.SIGTERM)
    assert {int(line.split()[1]) for line in done.stdout.splitlines()} <= stored.keys()
    again = run_script(SIGNALLED, str(int(number)))
    assert again.stdout.splitlines()[-1] == "end"
    assert len(trax.load("work")) == 100


KILLED = """
import asyncio, os, sys
import trax

async def work(n):
    fd = os.open("calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\\n" % n)
    os.close(fd)
    await asyncio.sleep(0.001)
    return 2 * n

async def main():
    async for key, value in trax.map(work, range(300), in_flight=6):
        assert value == 2 * key
        print(key, flush=True)

asyncio.run(main())
"""


def test_a_kill_repeats_at_most_what_was_in_flight() -> None:
    """And loses nothing that was handed out."""
    path, kills = write_script(KILLED), 4
    for turn in range(kills):
        with subprocess.Popen(
            [sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdout is not None
            handed = [int(process.stdout.readline()) for _ in range(40 * (turn + 1))]
            os.kill(process.pid, signal.SIGKILL)
            handed += map(int, process.stdout.read().split("\n")[:-1])
        assert {*handed} <= dict(trax.load("work")).keys()
    run_script(KILLED)
    calls = [int(line) for line in Path("calls").read_text().splitlines()]
    assert {*calls} == {*range(300)}
    assert len(calls) - 300 <= kills * 6
    assert dict(trax.load("work")) == {n: 2 * n for n in range(300)}
    assert len(trax.load("work")) == 300


def test_a_task_that_somebody_else_cancels_is_an_item_that_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(n: int) -> int:
        if n == 1:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        await asyncio.sleep(0)
        return n

    async def main() -> list[Any]:
        return await trax.map(work, range(3)).result()

    zero, cancelled, two = asyncio.run(main())
    assert (zero, two) == (0, 2)
    assert isinstance(cancelled, Exception)


def test_a_map_that_nobody_drives_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """Once, and not one that is driven."""
    asyncio.run(trax.map(double, range(3)).result())
    trax.map(double, range(4))
    gc.collect()
    assert caplog.text.count("trax.map() of double was called and did nothing") == 1


def test_two_tasks_cannot_share_it() -> None:
    """The one that came first goes on."""

    async def main() -> None:
        results = trax.map(double, range(3))
        found = await asyncio.gather(anext(results), anext(results), return_exceptions=True)
        assert found[0] == (0, 0)
        assert isinstance(found[1], trax.UsageError)
        assert "two tasks ask 'double'" in str(found[1])
        await results.aclose()

    asyncio.run(main())


def test_a_map_whose_event_loop_was_closed_keeps_no_other_run_from_stopping() -> None:
    """Nobody waits for it any more."""

    @trax.resumable
    def loop() -> Iterator[int]:
        yield 1
        yield 2

    events = asyncio.new_event_loop()
    pairs = trax.map(double, range(3))
    events.run_until_complete(anext(pairs))
    events.run_until_complete(asyncio.sleep(0.01))
    events.close()
    run = loop()
    next(run)
    trax.stop()
    with pytest.raises(trax.Preempted):
        next(run)


@pytest.mark.parametrize("sync", ["always", "replica"])
def test_no_disk_and_no_replica_holds_the_event_loop_up(
    sync: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results are forced, and copied, in another thread, before they are handed out."""
    threads: list[int] = []
    put, force = DirectoryObjects.put, process.force

    def noted_put(self: DirectoryObjects, key: str, parts: Any) -> bool:
        threads.append(threading.get_ident())
        return put(self, key, parts)

    def noted_force(fd: int) -> Any:
        threads.append(threading.get_ident())
        return force(fd)

    monkeypatch.setattr(DirectoryObjects, "put", noted_put)
    monkeypatch.setattr(process, "force", noted_force)

    async def one(n: int) -> int:
        return n

    async def drive() -> None:
        options: Any = {"replica": "replica", "replica_seconds": 3600} if sync == "replica" else {}
        had_come = asyncio.Semaphore()

        async def items() -> AsyncIterator[int]:
            for n in range(3):
                await had_come.acquire()
                threads.clear()
                yield n

        async for _ in trax.map(one, items(), sync=sync, **options):
            assert threads
            assert threading.get_ident() not in threads
            had_come.release()

    asyncio.run(drive())
    assert threading.get_ident() not in threads
