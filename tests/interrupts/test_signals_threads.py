"""SIGTERM stops the runs of all threads; then it takes its effect in the main thread."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support import run_script, start_script

import trax
from trax.interrupts import signals

RUNS = """
import asyncio, os, queue, signal, subprocess, sys, threading, time
from concurrent.futures import ThreadPoolExecutor, wait

IMPORT

begun = threading.Barrier(WORKERS + 1)
asked = threading.Event()

@trax.resumable(name="loop-{seed}", create=list, replay_log="append", every_steps=1000)
def loop(done, seed):
    while len(done) < 1_000_000:
        if len(done) == 3 and seed < WORKERS:
            begun.wait()
        yield len(done)

@trax.resumable(name="async-{seed}")
async def async_loop(seed):
    for i in range(1_000_000):
        if i == 3:
            begun.wait()
        await asyncio.sleep(0)
        yield i

def work(seed):
    return loop(seed=seed).result()

def work_async(seed):
    return asyncio.run(async_loop(seed=seed).result())

def submitted(count):
    pool = ThreadPoolExecutor(WORKERS)
    futures = [pool.submit(work, seed) for seed in range(count)]
    begun.wait()
    print("begun", flush=True)
    return pool, futures

try:
    BODY
finally:
    print("cleanup", flush=True)
print("survived", flush=True)
"""
BODIES = {
    "result": """
    pool, futures = submitted(12)
    with pool:
        futures[0].result()""",
    "unclosed": """
    pool, futures = submitted(12)
    for future in futures:
        future.result()""",
    "wait": """
    pool, futures = submitted(12)
    with pool:
        wait(futures)""",
    "sleep": """
    for seed in range(WORKERS):
        threading.Thread(target=work, args=(seed,)).start()
    begun.wait()
    print("begun", flush=True)
    while True:
        time.sleep(1000)""",
    "async": """
    for seed in range(WORKERS):
        threading.Thread(target=work_async, args=(seed,)).start()
    begun.wait()
    print("begun", flush=True)
    while True:
        time.sleep(1000)""",
}


def script(body: str, imports: str = "import trax", before: str = "") -> str:
    text = RUNS.replace("IMPORT", imports + before).replace("BODY", body.strip())
    return text.replace("WORKERS", "3")


def stored() -> dict[str, int]:
    return {path.name: len(trax.load(path.name)) for path in Path(".trax/runs").glob("loop-*")}


@pytest.mark.parametrize("body", BODIES)
def test_all_runs_are_stopped_wherever_they_are_driven(body: str) -> None:
    """The program ends, whatever its main thread waits for; runs that had not begun are not opened.

    If it asks for no result, and so would end as if nothing had happened, the status tells it.
    """
    with start_script(script(BODIES[body])) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 75
        assert process.stdout.read().splitlines() == ["cleanup", "survived"][: 1 + (body == "wait")]
    if body == "async":
        assert all(trax.load(f"async-{seed}").step >= 3 for seed in range(3))
        return
    steps = stored()
    assert {*steps} == {"loop-0", "loop-1", "loop-2"}
    assert min(steps.values()) >= 3


@pytest.mark.parametrize("is_second", [False, True])
def test_a_main_thread_that_waits_for_others_at_its_end_is_left_to_wait(is_second: bool) -> None:
    """An exception there would end the program before them, and would be ignored but for a text.

    A second signal, from outside, ends it at once.
    """
    body = """
    from trax.interrupts import main_thread, signals

    def last():
        wait(futures)
        ident = threading.main_thread().ident
        while not main_thread.is_ending(sys._current_frames()[ident]):
            time.sleep(0.001)
        handled = signals._handled[signal.SIGTERM]
        if SECOND:
            signals._ending[-1].time -= 60.0
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            signals._GRACE_OF_MAIN = 0.0
            signals._end_later(signal.SIGTERM, signals._errors[signal.SIGTERM])
        while signals._handled[signal.SIGTERM] == handled:
            time.sleep(0.001)
        print("last", flush=True)

    signals._GRACE_OF_MAIN = 1000.0
    sys.unraisablehook = lambda ignored: print("ignored", flush=True)
    pool = ThreadPoolExecutor(WORKERS + 1)
    futures = [pool.submit(work, seed) for seed in range(WORKERS)]
    pool.submit(last)
    begun.wait()
    print("begun", flush=True)
    futures[0].result()"""
    body = body.replace("SECOND", str(is_second))
    with start_script(script(body)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == (-signal.SIGTERM if is_second else 75)
        assert process.stdout.read() == ("cleanup\n" if is_second else "cleanup\nlast\n")


def test_the_moment_that_the_main_thread_has_begins_anew_with_each_run_that_stops(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []
    monkeypatch.setattr(signals, "_GRACE_OF_MAIN", 0.0)
    monkeypatch.setattr(signals, "_errors", {})
    former = signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
    try:
        first, second = (trax.Preempted(name, 1, "SIGUSR1") for name in ("first", "second"))
        signals._errors[signal.SIGUSR1] = second
        signals._end_later(signal.SIGUSR1, first)
        assert told == []
        signals._end_later(signal.SIGUSR1, second)
        assert told == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, former)


def test_a_run_that_the_main_thread_has_left_open_keeps_no_other_from_stopping() -> None:
    """It is in no step that could wait for them."""
    body = """
    left = loop(seed=7)
    next(left)
    pool, futures = submitted(3)
    with pool:
        futures[0].result()"""
    with start_script(script(body)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 75
    assert min(stored().values()) >= 1


HANDLERS = """
def handle(number, frame):
    print("handler", threading.current_thread() is threading.main_thread(), flush=True)
    asked.set()

signal.signal(signal.SIGTERM, handle)
"""


def test_a_handler_from_before_is_called_when_all_have_stopped() -> None:
    """In the main thread; it decides if the program goes on."""
    body = """
    pool, futures = submitted(3)
    asked.wait()
    wait(futures)
    print({type(future.exception()).__name__ for future in futures}, flush=True)
    assert signal.getsignal(signal.SIGTERM) is handle"""
    with start_script(script(body, before=HANDLERS)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        said = "handler True\n{'Preempted'}\ncleanup\nsurvived\n"
        assert process.stdout.read() == said
        assert process.wait() == 0
    assert min(stored().values()) >= 3


def test_a_thread_that_imports_trax_is_stopped_as_well() -> None:
    """If the main thread comes by: it could install no handler before."""
    imports = """
class Late:
    def resumable(self, **options):
        return lambda function: options | {"function": function}

trax = Late()
"""
    body = """
    def late(seed):
        import trax as real
        options = {**loop}
        real.resumable(**{k: v for k, v in options.items() if k != "function"})(
            options["function"]
        )(seed=seed).result()

    for seed in range(WORKERS):
        threading.Thread(target=late, args=(seed,)).start()
    while begun.n_waiting < WORKERS:
        time.sleep(0.001)
    begun.wait()
    print("begun", flush=True)
    while True:
        time.sleep(0.1)"""
    text = script(body, imports).replace("async def async_loop", "def async_loop")
    text = text.replace("await asyncio.sleep(0)", "pass")
    with start_script(text) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 75
    assert min(stored().values()) >= 3


def test_stop_stops_all_runs_by_hand() -> None:
    """Of other threads as well as that of the main thread; those that begin later go on."""
    body = """
    pool, futures = submitted(3)
    run = loop(seed=7)
    next(run)
    trax.stop()
    wait(futures)
    print({str(future.exception().reason) for future in futures}, flush=True)
    try:
        next(run)
    except trax.Preempted as error:
        print(error.step, flush=True)
    later = loop(seed=7)
    print(next(later), next(later), flush=True)
    later.close()"""
    with start_script(script(body)) as process:
        assert process.stdout is not None
        said = "begun\n{'trax.stop()'}\n1\n1 2\ncleanup\nsurvived\n"
        assert process.stdout.read() == said
        assert process.wait() == 0
    assert min(stored().values()) >= 3


LATE = """
import signal, threading, time
import trax
from trax.interrupts import main_thread, signals

def nudge(nudge=main_thread.nudge):
    nudges.append(True)
    if len(nudges) > 1:
        nudge()

def other():
    time.sleep(0.1)  # until the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    while signal.SIGTERM not in signals._handled:
        time.sleep(0.001)
    ended.release()

nudges, ended = [], threading.Lock()
main_thread.nudge = nudge
signal.alarm(60)  # or it would wait for ever

@trax.resumable(create=int)
def loop(n):
    while n < 5:
        if n == 3:
            ended.acquire()
            threading.Thread(target=other).start()
            ended.acquire()
        n = yield n + 1

loop().result()
"""


def test_a_main_thread_that_misses_a_nudge_is_nudged_again() -> None:
    """It may have looked for signals just before, and wait by then."""
    assert run_script(LATE, check=False).returncode == 75
    assert trax.load("loop") == 4
