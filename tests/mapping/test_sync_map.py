"""Maps of ordinary functions: threads, processes, signals, kills, and their ends."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from support import run_script, start_script, write_script

import trax
from trax.storage.process import process
from trax.storage.records import HEADER_SIZE, decode_durable


def double(n: int) -> int:
    return 2 * n


def die(n: int) -> int:
    if n == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


class Gate:
    """A function whose calls wait until they are let through."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.open = threading.Event()
        self.has_begun = threading.Semaphore(0)

    def __call__(self, n: int) -> int:
        self.begun.append(n)
        self.has_begun.release()
        self.open.wait()
        return 2 * n

    def open_at(self, count: int) -> None:
        for _ in range(count):
            self.has_begun.acquire()
        self.open.set()


def processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


# -- executors -----------------------------------------------------------------------------


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, processes])
def test_executors_compute_each_item_once(pool: Callable[[int], Any]) -> None:
    """Threads as well as processes."""
    with pool(2) as executor:
        pairs = [*trax.map(double, range(40), executor=executor)]
        assert dict(pairs) == {n: 2 * n for n in range(40)}
        assert [*trax.map(double, range(40), executor=executor)] == pairs
        assert trax.map(double, range(50), executor=executor).result() == [*range(0, 100, 2)]
    assert len(trax.load("double")) == 50


class Eager:
    """An executor whose items are completed at once."""

    def submit(self, function: Any, item: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(item))
        return future


def test_any_executor_serves_that_has_submit() -> None:
    executor: Any = Eager()
    assert trax.map(double, range(9), executor=executor).result() == [*range(0, 18, 2)]


def test_without_an_executor_the_caller_s_thread_computes() -> None:
    threads = {ident for _, ident in trax.map(lambda n: threading.get_ident(), range(3), name="t")}
    assert threads == {threading.get_ident()}


def test_without_an_executor_in_flight_says_how_many_threads_compute() -> None:
    together = threading.Barrier(5)

    def meet(n: int) -> int:
        together.wait(60)
        return threading.get_ident()

    assert len({*trax.map(meet, range(10), in_flight=5, return_exceptions=False).result()}) == 5
    assert threading.get_ident() not in dict(trax.load("meet")).values()


def test_no_more_items_are_in_flight_than_asked_for() -> None:
    """Those that are completed and not yet handed out among them."""
    gate, taken = Gate(), []

    def source() -> Iterator[int]:
        for n in range(20):
            taken.append(n)
            yield n

    with ThreadPoolExecutor(8) as executor:
        results = trax.map(gate, source(), executor=executor, in_flight=3, name="run")
        gate.open.set()
        for count in range(1, 21):
            next(results)
            assert len(taken) <= count + 2
        assert len(gate.begun) == 20


@pytest.mark.parametrize("keyed", [False, True])
def test_an_item_that_comes_again_while_it_is_computed_is_not_begun_again(keyed: bool) -> None:
    gate = Gate()
    with ThreadPoolExecutor(6) as executor:
        key: Any = int if keyed else None
        results: trax.Map[int, int | Exception] = trax.map(
            gate, [1, 1, 2, 1, 2], executor=executor, key=key, in_flight=6, name="run"
        )
        opener = threading.Thread(target=gate.open_at, args=(1 if keyed else 2,))
        opener.start()
        if keyed:
            with pytest.raises(trax.UsageError, match=r"key\(\) is 1 for items\[1\]"):
                results.result()
        else:
            assert results.result() == [2, 2, 4, 2, 4]
        opener.join()
    assert gate.begun == ([1] if keyed else [1, 2])


def test_results_come_as_they_are_completed() -> None:
    """A slow item holds up none."""
    release = threading.Event()

    def wait(n: int) -> int:
        if n == 0:
            release.wait()
        return n

    with ThreadPoolExecutor(2) as executor:
        results = trax.map(wait, range(6), executor=executor, name="run")
        assert sorted(next(results)[0] for _ in range(5)) == [1, 2, 3, 4, 5]
        release.set()
        assert [*results] == [(0, 0)]


def test_a_result_is_stored_when_it_is_completed_and_not_when_it_is_asked_for() -> None:
    """The caller may be busy with another one for long."""
    gate = Gate()
    with ThreadPoolExecutor(4) as executor:
        results = trax.map(gate, range(4), executor=executor, in_flight=4, name="run")
        opener = threading.Thread(target=gate.open_at, args=(4,))
        opener.start()
        first = next(results)
        opener.join()
        deadline = time.monotonic() + 60
        while len(trax.load("run")) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)  # the other threads store
        assert first in trax.load("run")
        assert len(trax.load("run")) == 4
        results.close()


def test_a_slow_source_does_not_hold_up_results_that_are_there() -> None:
    """No more than one item is waited for before one is handed out."""
    taken: list[int] = []

    def source() -> Iterator[int]:
        for n in range(20):
            taken.append(n)
            yield n

    executor: Any = Eager()
    results = trax.map(double, source(), executor=executor, in_flight=8)
    assert next(results) == (0, 0)
    assert taken == [0]
    assert next(results) == (1, 2)
    assert taken == [0, 1]
    results.close()


class Refused(Exception):  # noqa: N818
    """It does not load: its ``__init__`` takes more than its text."""

    def __init__(self, status: int, *, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status = status
        self.lock = threading.Lock() if status > 500 else None


def refuse(n: int) -> Any:
    if n == 2:
        raise Refused(503, reason="busy")
    return Refused(404, reason="gone") if n == 9 else n


def test_an_exception_that_does_not_load_is_that_of_its_item(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It comes with its class, its text and what it has, and breaks no executor."""
    with processes(1) as executor:
        for _ in range(2):
            found = trax.map(refuse, range(6), executor=executor).result()
            assert [n for n in found if isinstance(n, int)] == [0, 1, 3, 4, 5]
            error = found[2]
            assert isinstance(error, Refused)
            assert (str(error), error.status) == ("503 busy", 503)
            assert "in refuse" in str(error.__cause__)
        with pytest.raises(trax.CodecError, match="cannot be loaded"):
            trax.map(refuse, [9], executor=executor, name="r", return_exceptions=False).result()
        assert trax.map(double, range(3), executor=executor).result() == [0, 2, 4]


def test_workers_that_die_end_the_map_and_the_next_call_goes_on() -> None:
    """It is not the item that failed, but the executor."""
    with processes(1) as executor:
        results = trax.map(die, range(6), executor=executor, in_flight=1)
        assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
        with pytest.raises(BrokenExecutor) as caught:
            next(results)
        assert caught.value.__notes__ == ["trax: item 3 of 'die' is not stored"]
    again = trax.map(double, range(6), name="die", varying="function")
    assert again.result() == [0, 1, 2, 6, 8, 10]


# -- the end -------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "with", "drop", "for", "raise"])
def test_whatever_has_begun_is_stored_at_the_end(how: str) -> None:
    """And what has not begun is not begun; the lock is released."""
    gate = Gate()
    with ThreadPoolExecutor(3) as executor:
        results = trax.map(gate, range(50), executor=executor, in_flight=8, name="run")
        opener = threading.Thread(target=gate.open_at, args=(3,))
        opener.start()
        if how == "close":
            next(results)
            results.close()
        elif how == "with":
            with results:
                next(results)
        elif how == "drop":
            next(results)
            del results
        elif how == "for":
            for _ in results:
                break
            del results
        else:

            def fail() -> None:
                for _ in trax.map(gate, range(50), executor=executor, in_flight=8, name="run"):
                    raise KeyError

            del results
            with pytest.raises(KeyError):
                fail()
        opener.join()
    gc.collect()
    assert len(trax.load("run")) == len(gate.begun) < 20
    again: list[int] = []
    trax.map(again.append, range(50), name="run", varying=("function", "self")).result()
    assert sorted([*gate.begun, *again]) == [*range(50)]


def test_what_waits_for_a_worker_is_not_begun_after_the_end() -> None:
    """It is cancelled before what has begun is waited for."""
    gate, futures = Gate(), []

    class Recorded(ThreadPoolExecutor):
        def submit(self, *call: Any, **keywords: Any) -> Future[Any]:
            futures.append(super().submit(*call, **keywords))
            return futures[-1]

    def open_when_cancelled() -> None:
        deadline = time.monotonic() + 20
        while not any(one.cancelled() for one in futures) and time.monotonic() < deadline:
            time.sleep(0.01)  # another thread cancels
        gate.open.set()

    def fail() -> None:
        def source() -> Iterator[int]:
            yield from range(5)
            gate.has_begun.acquire()
            gate.has_begun.acquire()
            opener.start()
            raise KeyError

        list(trax.map(gate, source(), executor=executor, in_flight=6, name="run"))

    opener = threading.Thread(target=open_when_cancelled)
    with Recorded(2) as executor:
        with pytest.raises(KeyError):
            fail()
        opener.join()
    assert gate.begun == [0, 1]
    assert sorted(trax.load("run")) == [(0, 0), (1, 2)]


def test_a_map_that_is_closed_goes_on_when_it_is_iterated_over_again() -> None:
    """And `next` alone does not pretend that it was at its end."""
    results = trax.map(double, range(4))
    next(results)
    results.close()
    with pytest.raises(trax.UsageError, match="ended with 1 result"):
        next(results)
    assert [*results] == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert results.done
    assert next(results, None) is None
    assert [*results] == [(0, 0), (1, 2), (2, 4), (3, 6)]


def test_a_map_that_never_began_leaves_nothing(store_here: Path) -> None:
    results = trax.map(double, range(4))
    results.close()
    del results
    trax.map(double, range(4))
    assert not store_here.exists()


@pytest.mark.parametrize("kind", ["dropped", "asked for its name", "iterator"])
def test_a_map_that_nobody_drives_says_so(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """As a run does: users of ``executor.map`` expect it to begin."""
    results = trax.map(double, range(4))
    if kind == "iterator":
        iter(results)
    elif kind == "asked for its name":
        assert results.name == "double"
    del results
    gc.collect()
    (record,) = caplog.records
    assert record.getMessage() == (
        "trax.map() of double was called and did nothing: iterate over the map that the call "
        "returns, or ask for its result()"
    )


def test_a_map_that_is_driven_or_closed_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    trax.map(double, range(4)).result()
    next(trax.map(double, range(4)))
    [*trax.map(double, range(4))]
    with trax.map(double, range(4)):
        pass
    gc.collect()
    assert "did nothing" not in caplog.text


def test_a_started_map_goes_on_where_it_was_left() -> None:
    results = trax.map(double, range(4))
    for key, _ in results:
        if key == 1:
            break
    assert [*results] == [(2, 4), (3, 6)]


def test_it_cannot_be_closed_by_what_it_computes() -> None:
    def close(n: int) -> int:
        results.close()
        return n

    results = trax.map(close, range(2))
    (pair,) = (next(results),)
    assert isinstance(pair[1], trax.UsageError)
    assert "just computing" in str(pair[1])


def test_a_map_dropped_by_another_thread_waits_for_nothing() -> None:
    """That thread may be the one that computes."""
    release = threading.Event()

    def wait(n: int) -> int:
        if n:
            release.wait()
        return 2 * n

    with ThreadPoolExecutor(2) as executor:
        held = [trax.map(wait, range(9), executor=executor, name="run")]
        first = threading.Thread(target=next, args=(held[0],))
        first.start()
        first.join()
        held.clear()
        assert trax.load("run") == [(0, 0)]
        again = trax.map(wait, range(9), name="run")
        assert next(again) == (0, 0)  # the lock is released
        release.set()
    assert trax.load("run") == [(0, 0)]  # nobody is left who would have them
    assert trax.map(wait, range(9), name="run").result() == [*range(0, 18, 2)]


# -- signals and kills ---------------------------------------------------------------------


SIGNALLED = """
import os, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
import trax

pool = ThreadPoolExecutor(4) if sys.argv[1] == "threads" else None
times = int(sys.argv[3])
sent = threading.Lock()

def work(n):
    if n == 5 and sent.acquire(blocking=False):
        for _ in range(times):
            os.kill(os.getpid(), int(sys.argv[2]))
            time.sleep(0.3)
    return 2 * n

for key, value in trax.map(work, range(200), executor=pool, in_flight=6 if pool else None):
    print("saw", key, flush=True)
print("end")
"""


@pytest.mark.parametrize("kind", ["threads", "caller"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_program_when_what_has_begun_is_stored(
    kind: str, number: signal.Signals
) -> None:
    """With the exit status of loops; the next call goes on."""
    done = run_script(SIGNALLED, kind, str(int(number)), "1", check=False)
    assert done.returncode == (75 if number == signal.SIGTERM else -signal.SIGINT), done.stderr
    stopped = re.search(r"work stopped with (\d+) results: (SIG\w+); all of them", done.stderr)
    assert stopped is not None
    assert stopped[2] == number.name
    seen = [int(line.split()[1]) for line in done.stdout.splitlines()]
    stored = dict(trax.load("work"))
    assert len(stored) == int(stopped[1])
    assert {*seen} <= stored.keys()
    assert 5 in stored
    assert len(stored) < 30
    assert trax.verify("work").good
    calls: list[int] = []

    def work(n: int) -> int:
        calls.append(n)
        return 2 * n

    again = trax.map(work, range(200), name="work", varying="calls")
    assert again.result() == [*range(0, 400, 2)]
    assert sorted([*calls, *stored]) == [*range(200)]


def test_the_time_limit_ends_the_program_when_what_has_begun_is_stored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As it ends a loop: before the limit."""
    now = 1000.0
    monkeypatch.setattr(process, "monotonic", lambda: now)

    def work(n: int) -> int:
        nonlocal now
        now += 0.01
        return n

    with pytest.raises(trax.Preempted) as caught:
        trax.map(work, range(100_000), in_flight=2, time_limit=0.5).result()
    assert caught.value.reason == "the time limit"
    assert 0 < caught.value.step == len(trax.load("work")) < 51


FULL = """
import resource, signal, sys
import trax

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

def work(n):
    return "x" * 1000

number = 0
try:
    for _ in trax.map(work, range(100), in_flight=4):
        number += 1
except trax.DurabilityError as error:
    print(error.__notes__)
print(number)
"""


def test_a_disk_that_is_full_is_an_error_and_what_was_handed_out_is_stored() -> None:
    note, number = run_script(FULL, "full").stdout.splitlines()
    assert "of 'work' is not stored" in note
    assert 20 < int(number) <= len(trax.load("work")) < 50
    assert run_script(FULL).stdout == "100\n"


STUCK = """
import os, signal, sys, threading
from concurrent.futures import ThreadPoolExecutor
import trax

def work(n):
    if n == 3:
        os.write(1, b"stuck\\n")  # which no other thread cuts in two
        sys.stdin.readline()
    return n

with ThreadPoolExecutor(2) as pool:
    try:
        for key, _ in trax.map(work, range(200), executor=pool, in_flight=4):
            os.write(1, b"%d\\n" % key)
    finally:
        os._exit(9)
"""


def test_ctrl_c_twice_waits_for_no_item() -> None:
    """The first waits for an item that may take for ever."""
    with start_script(STUCK) as process:
        assert process.stdout is not None
        to_come = {"stuck\n", "0\n", "1\n", "2\n"}
        while to_come:
            line = process.stdout.readline()
            assert line
            to_come.discard(line)
        process.send_signal(signal.SIGINT)
        time.sleep(0.6)  # what comes sooner counts as one
        assert process.poll() is None
        for _ in range(100):  # as it does where a slow machine handles the first so much later
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.6)
                break
        assert process.returncode == 9
    assert {(0, 0), (1, 1), (2, 2)} <= set(trax.load("work"))
    assert trax.map(double, range(200), name="work").step == 0


KILLED = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
import trax

def work(n):
    fd = os.open("calls", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\\n" % n)
    os.close(fd)
    time.sleep(0.002)
    return 2 * n

def main():
    kind, count = sys.argv[1], int(sys.argv[2])
    pool = {
        "threads": lambda: ThreadPoolExecutor(4),
        "processes": lambda: ProcessPoolExecutor(2, mp_context=get_context("forkserver")),
        "caller": lambda: None,
    }[kind]()
    results = trax.map(work, range(count), executor=pool, in_flight=8 if pool else None)
    for number, (key, value) in enumerate(results):
        assert value == 2 * key
        print(key, flush=True)
    print("end", flush=True)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("kind", ["threads", "processes", "caller"])
def test_a_kill_repeats_at_most_what_was_in_flight(kind: str) -> None:
    """And loses nothing that was handed out."""
    count, kills = 300, 4
    path = write_script(KILLED)
    handed: set[int] = set()
    for turn in range(kills):
        with subprocess.Popen(
            [sys.executable, path, kind, str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            for _ in range(40 * (turn + 1)):
                handed.add(int(process.stdout.readline()))
            os.killpg(process.pid, signal.SIGKILL)
            rest = process.stdout.read()
        handed.update(int(line) for line in rest.split("\n")[:-1] if line != "end")
        assert handed <= dict(trax.load("work")).keys()
    done = run_script(KILLED, kind, str(count))
    assert done.stdout.splitlines()[-1] == "end"
    calls = [int(line) for line in Path("calls").read_text().splitlines()]
    assert {*calls} == {*range(count)}
    assert len(calls) - count <= kills * (8 if kind != "caller" else 1)
    assert dict(trax.load("work")) == {n: 2 * n for n in range(count)}
    assert len(trax.load("work")) == count


FORKED = """
import os
import trax

def double(n): return 2 * n

results = trax.map(double, range(5))
print(next(results), flush=True)
child = os.fork()
if not child:
    try:
        next(results)
    except trax.LockedError:
        print("locked", flush=True)
    raise SystemExit
assert os.waitpid(child, 0)[1] == 0
print([*results])
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="forking with threads is warned of")
def test_a_forked_child_does_not_touch_the_run() -> None:
    assert run_script(FORKED).stdout == "(0, 0)\nlocked\n[(1, 2), (2, 4), (3, 6), (4, 8)]\n"
    assert len(trax.load("double")) == 5


LEFT = """
import sys
from concurrent.futures import ThreadPoolExecutor
import trax

def double(n): return 2 * n

results = trax.map(double, range(500), executor=ThreadPoolExecutor(2))
print(next(results)[1] % 2)
sys.results = results  # which outlives the modules
"""


def test_a_program_may_end_with_a_map_that_is_open() -> None:
    done = run_script(LEFT)
    assert done.stdout == "0\n"
    assert not done.stderr
    assert 1 <= len(trax.load("double")) < 20
    log = Path(".trax/runs/double/log-00000001").read_bytes()
    assert decode_durable(log[:HEADER_SIZE]) == len(log)  # and is forced to the disk


WORKERS = """
import os, signal, time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
import trax

@trax.resumable(create=int, name="run-{n}")
def run(state, n):
    while True:
        state = yield state + 1
        open(f"{n} {os.getpid()}", "w").close()
        if n == 0:
            while not any(one.startswith("1 ") for one in os.listdir(".")):
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.001)

def work(n):
    return run(n=n).result()

if __name__ == "__main__":
    try:
        with ProcessPoolExecutor(2) as pool:
            list(trax.map(work, range(6), executor=pool))
    except BrokenProcessPool:
        print("broken")
"""


def test_when_a_worker_dies_the_others_do_not_begin_what_is_left() -> None:
    """The executor ends them by SIGTERM, and waits for them: a run in an item stops at its step."""
    assert run_script(WORKERS).stdout == "broken\n"  # or it would never end
    assert {path.name for path in Path(".trax/runs").iterdir()} == {"run-0", "run-1", "work"}
    assert trax.load("run-1") > 0


@pytest.mark.parametrize(("workers", "in_flight"), [(0, None), (0, 2), (1, None), (2, None)])
def test_a_run_that_an_item_opens_after_a_stop_does_not_begin(
    workers: int, in_flight: int | None
) -> None:
    """The map waits for the item, and the run may be long."""

    @trax.resumable(name="inner-{n}")
    def inner(n: int) -> Iterator[int]:
        yield pytest.fail("a step was run")

    def stop_and_run(n: int) -> Any:
        trax.stop()
        return inner(n).result()

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        results = trax.map(
            stop_and_run,
            range(9),
            name="all",
            executor=pool if workers else None,
            in_flight=in_flight,
        )
        with pytest.raises(trax.Preempted):
            results.result()
    assert [path.name for path in Path(".trax/runs").iterdir()] == ["all"]
