"""A call waits for the holder of its run, says for whom, and goes on with the run or gives up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Generator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from support import start_script

import trax
from trax.storage import lock

LOOP = """
import asyncio, sys
import trax
from trax.storage.lock import Patience

def pause(self, error, pause=Patience.pause):
    print("waits", flush=True)
    return pause(self, error)

Patience.pause = pause

@trax.resumable(create=list, replay_log="append", wait=float(sys.argv[1]))
def loop(done, n):
    while len(done) < n:
        print(len(done), flush=True)
        if len(done) == 3 and sys.argv[2] == "holds":
            sys.stdin.readline()
        yield len(done)

@trax.resumable(name="loop", create=list, replay_log="append", wait=float(sys.argv[1]))
async def async_loop(done, n):
    while len(done) < n:
        print(len(done), flush=True)
        yield len(done)
"""
RUN = """
print("result", loop(6).result(), flush=True)
"""
ASYNC = """
async def main():
    async def tick():
        while True:
            await asyncio.sleep(0.01)
            print("tick", flush=True)

    ticking = asyncio.create_task(tick())
    try:
        print("result", await async_loop(6).result(), flush=True)
    finally:
        ticking.cancel()

asyncio.run(main())
"""


@contextlib.contextmanager
def process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with start_script(LOOP + script, *arguments) as started:
        yield started


@contextlib.contextmanager
def holder() -> Iterator[subprocess.Popen[str]]:
    """Have a process hold the run, after three steps."""
    with process(RUN, "0", "holds") as started:
        assert read_until(started, "3\n") == ["0\n", "1\n", "2\n"]
        yield started


def read_until(started: subprocess.Popen[str], line: str) -> list[str]:
    assert started.stdout is not None
    return [*iter(started.stdout.readline, line)]


def results(started: subprocess.Popen[str]) -> list[str]:
    assert started.stdout is not None
    return [line for line in started.stdout.read().splitlines() if line not in ("tick", "waits")]


@pytest.mark.parametrize("script", [RUN, ASYNC], ids=["sync", "async"])
def test_a_run_goes_on_as_soon_as_its_holder_was_killed(script: str) -> None:
    """Where the holder left it; and if the holder has ended it, its result is returned."""
    with holder() as first, process(script, "inf", "") as second:
        read_until(second, "waits\n")
        first.kill()
        assert results(second) == [*"345", "result [0, 1, 2, 3, 4, 5]"]


def test_the_result_of_the_holder_is_returned() -> None:
    with holder() as first, process(RUN, "inf", "") as second:
        read_until(second, "waits\n")
        first.communicate("\n")
        assert results(second) == ["result [0, 1, 2, 3, 4, 5]"]


def test_an_event_loop_is_not_blocked_meanwhile() -> None:
    with holder(), process(ASYNC, "inf", "") as second:
        for line in ("waits\n", "tick\n", "waits\n", "tick\n", "waits\n"):
            read_until(second, line)


@pytest.mark.parametrize(
    ("sent", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, -signal.SIGINT)], ids=str
)
@pytest.mark.parametrize("script", [RUN, ASYNC], ids=["sync", "async"])
def test_a_signal_ends_the_wait(script: str, sent: signal.Signals, status: int) -> None:
    with holder() as first, process(script, "inf", "") as second:
        read_until(second, "waits\n")
        second.send_signal(sent)
        assert second.wait() == status
        assert first.poll() is None


STOPS = """
def pause(self, error, pause=Patience.pause):
    trax.stop()
    return pause(self, error)

Patience.pause = pause
try:
    {script}
except trax.Preempted as stopped:
    print("stopped by", stopped.reason, flush=True)
"""


@pytest.mark.parametrize("script", ["loop(6).result()", "asyncio.run(async_loop(6).result())"])
def test_a_stop_by_hand_ends_the_wait(script: str) -> None:
    """As a stop, and not as a lock that was waited for in vain."""
    with holder(), process(STOPS.replace("{script}", script), "inf", "") as second:
        assert results(second) == ["stopped by trax.stop()"]
        assert second.wait() == 0


def test_a_stopped_holder_keeps_its_run_and_is_told_to_be_stopped() -> None:
    """It may continue at any time. When it is gone, the next call has all that it has stored."""
    again = trax.resumable(create=list, replay_log="append", wait=0.2, name="loop")(rest)
    with holder() as first:
        first.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, first.pid, os.WSTOPPED)
        with pytest.raises(trax.LockedError, match=rf"It is stopped: .*kill -KILL {first.pid}"):
            again(6).result()
        first.send_signal(signal.SIGCONT)
        with pytest.raises(trax.LockedError, match="Wait until it ends, or end it"):
            again(6).result()
        first.kill()
        first.wait()
        assert again(6).result() == [0, 1, 2, "rest", "rest", "rest"]


def rest(done: list[Any], n: int) -> Iterator[str]:
    while len(done) < n:
        yield "rest"


def count(n: int, to: int) -> Generator[int, int, None]:
    while n < to:
        n = yield n + 1


def test_it_is_said_once_for_whom_a_call_waits(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it gives up; a later call waits as long again."""
    monkeypatch.setattr(lock, "_QUIET", 0.0)  # else a slow machine may give up sooner
    caplog.set_level("INFO", "trax")
    waiting = trax.resumable(create=int, wait=timedelta(seconds=0.2))(count)
    with trax.Trax() as store:
        store.checkpoint(count=0)
        run = waiting(3)
        errors: list[BaseException] = []

        def drive() -> None:
            for _ in range(2):
                try:
                    run.result()
                except trax.LockedError as error:
                    errors.append(error)

        thread = threading.Thread(target=drive)
        thread.start()
        thread.join()
    assert len(errors) == 2
    assert caplog.messages == ["count waits for this very process, at most 0.2 s"]
    assert run.result() == 3


def test_a_thread_waits_for_another_one() -> None:
    """That one may end; a thread does not wait for itself."""
    waiting, done = threading.Event(), []
    patient = trax.resumable(create=int, wait=float("inf"))(count)
    run = patient(3)
    next(run)

    def other() -> None:
        later = patient.fresh(2)
        waiting.set()
        done.append(later.result())

    thread = threading.Thread(target=other)
    thread.start()
    waiting.wait()
    assert [*run] == [2, 3]
    thread.join()
    assert done == [2]


def test_tasks_of_one_event_loop_do_not_wait_for_each_other() -> None:
    """A task that does so in a step of the other would wait forever."""

    @trax.resumable(create=int, wait=float("inf"))
    async def run(n: int, to: int) -> AsyncIterator[int]:
        while n < to:
            n += 1
            yield n

    async def main() -> None:
        async with run(2) as first:
            await anext(first)

            async def other() -> None:
                with pytest.raises(trax.LockedError, match="this very process"):
                    await run(2).result()

            await asyncio.create_task(other())

    asyncio.run(main())


@pytest.mark.parametrize("wait", [-1, True, "10", None, float("nan")])
def test_a_wait_must_be_a_time(wait: Any) -> None:
    with pytest.raises(trax.UsageError, match="wait must be a number of seconds or a timedelta"):
        trax.resumable(wait=wait)(rest)
    with pytest.raises(trax.UsageError, match="wait must be a number of seconds"):
        trax.Trax(wait=wait)
