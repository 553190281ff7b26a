"""Sweeps: what is begun and when, what is answered from the store, and how a sweep ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from concurrent.futures.process import _RemoteTraceback
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import cloudpickle
import pytest
from support import run_script, start_script, write_script

import trax
from trax.storage.process import process
from trax.sweeping import sweep_driver, worker


@trax.resumable(name="walk-{seed}")
def walk(seed: int, n: int) -> Generator[int, None, int]:
    place = seed
    for step in range(n):
        if seed == 3 and step == 2:
            raise ConnectionError("reset\nby peer")
        place = place * 5 + 1
        yield place
    return place


def result(seed: int, n: int) -> int:
    for _ in range(n):
        seed = seed * 5 + 1
    return seed


def processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


class Manual:
    """An executor that runs nothing before it is told to.

    Attributes
    ----------
    waiting : list
        A future for each call that was submitted and has not run, and the call.
    submitted : int
        The number of calls.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.submitted = 0

    def submit(self, function: Any, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: function(*arguments)))
        self.submitted += 1
        return future

    def run(self, index: int = 0) -> None:
        future, call = self.waiting.pop(index)
        future.set_running_or_notify_cancel()
        future.set_result(call())


class Refusing:
    """An executor without workers."""

    def submit(self, function: Any, *arguments: Any) -> Future[Any]:
        raise BrokenExecutor("no worker is left")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# -- cases as they end ---------------------------------------------------------------------


@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor, processes])
def test_every_case_comes_once_and_one_that_fails_ends_nothing(
    pool: Callable[[int], Any] | None, caplog: pytest.LogCaptureFixture
) -> None:
    executor = pool(2) if pool else None
    cases = [*trax.sweep(walk, {"seed": range(6), "n": [4]}, executor=executor)]
    if executor:
        executor.shutdown()
    assert sorted(case.name for case in cases) == [f"walk-{seed}" for seed in range(6)]
    for case in cases:
        seed = case.arguments["seed"]
        assert case.arguments == {"seed": seed, "n": 4}
        if seed == 3:
            assert isinstance(case.error, ConnectionError)
            assert case.result is None
        else:
            assert (case.result, case.error) == (result(seed, 4), None)
    (line,) = told(caplog)
    assert line == (
        "the sweep of walk: 1 of 6 runs failed (first walk-3: ConnectionError: reset); the "
        "next call goes on with them"
    )


def test_a_case_with_other_arguments_is_told_with_their_difference(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It would fail likewise the next time."""
    walk(seed=1, n=2).result()
    other = trax.resumable(name="walk-1")(walk.__wrapped__)
    caplog.clear()
    (case,) = trax.sweep(other, {"seed": [1], "n": [4]})
    assert isinstance(case.error, trax.ArgumentsChangedError)
    assert caplog.messages[-1] == (
        "the sweep of walk: 1 of 1 run failed (first walk-1: ArgumentsChangedError: the run "
        "'walk-1' is stored with other arguments: n: 2 -> 4); the next call fails likewise: its "
        "error says what to do first"
    )


def test_without_an_executor_the_runs_are_in_this_thread_in_order() -> None:
    @trax.resumable(name="thread-{n}")
    def thread(n: int) -> Iterator[int]:
        yield threading.get_ident()

    cases = trax.sweep(thread, {"n": range(3)})
    assert [(case.arguments["n"], case.result) for case in cases] == [
        (n, threading.get_ident()) for n in range(3)
    ]


def test_cases_come_in_the_order_in_which_they_end() -> None:
    executor = Manual()
    cases = iter(trax.sweep(walk, {"seed": range(3), "n": [1]}, executor=executor, in_flight=3))
    thread = threading.Thread(target=_run_all, args=(executor, [2, 0, 0]))
    thread.start()
    assert [case.arguments["seed"] for case in cases] == [2, 0, 1]
    thread.join()


def _run_all(executor: Manual, order: list[int], after: int = 0) -> None:
    """Run calls by their places, once so many were submitted: by default all of them."""
    while executor.submitted < (after or len(order)):
        time.sleep(0.001)
    for index in order:
        executor.run(index)


def test_a_bounded_number_is_submitted() -> None:
    """As each case is handed out, another begins."""
    executor = Manual()
    sweep = trax.sweep(walk, {"seed": range(100_000), "n": [1]}, executor=executor, in_flight=4)
    assert len(sweep) == 100_000
    thread = threading.Thread(target=_run_all, args=(executor, [0], 4))
    thread.start()
    for number, case in enumerate(sweep):
        assert case.arguments == {"seed": number, "n": 1}
        assert executor.submitted == 4 + number
        executor.run()
        if number == 50:
            break
    thread.join()


def test_the_sweep_itself_keeps_no_results() -> None:
    results = list[weakref.ref[Any]]()
    with ThreadPoolExecutor(2) as executor:
        for case in trax.sweep(large, {"n": range(4)}, executor=executor):
            results.append(weakref.ref(case.result))
            del case
            gc.collect()
            assert not any(reference() for reference in results)
    assert len(results) == 4


class Result:
    """A result."""


@trax.resumable(name="large-{n}")
def large(n: int) -> Generator[int, None, Result]:
    yield n
    return Result()


def test_futures_need_done_and_result_alone() -> None:
    class Job:
        def __init__(self, function: Any, arguments: Any) -> None:
            self.asked = 0
            self.result = lambda: function(*arguments)

        def done(self) -> bool:
            self.asked += 1
            return self.asked > 2

    class Executor:
        def submit(self, function: Any, *arguments: Any) -> Job:
            return Job(function, arguments)

    cases = [*trax.sweep(walk, {"seed": range(3), "n": [2]}, executor=Executor())]
    assert [case.result for case in cases] == [result(seed, 2) for seed in range(3)]


def test_equal_calls_differ_for_an_engine_that_remembers_them() -> None:
    """Dask takes equal calls for one: a run that has failed would fail again without being run."""
    seen = list[Any]()

    class Executor:
        def submit(self, *call: Any) -> Future[Any]:
            seen.append(call)
            raise BrokenExecutor

    for _ in range(2):
        list(trax.sweep(walk, {"seed": [1], "n": [1]}, executor=Executor()))
    assert seen[0] != seen[1]


# -- what is stored ------------------------------------------------------------------------


def test_runs_that_are_done_need_no_worker(caplog: pytest.LogCaptureFixture) -> None:
    grid = {"seed": [1, 2, 4], "n": [2]}
    assert walk(seed=1, n=2).result() == result(1, 2)
    assert next(iter([*trax.sweep(walk, grid)])).result == result(1, 2)
    caplog.clear()
    cases = [*trax.sweep(walk, grid, executor=Refusing())]
    assert [case.result for case in cases] == [result(seed, 2) for seed in (1, 2, 4)]
    (line,) = told(caplog)
    assert line == (
        "the sweep of walk: 3 of 3 runs were done before; their stored results are returned "
        f"({Path('.trax').resolve()})"
    )


def test_a_sweep_that_is_iterated_over_again_gives_all_cases_again() -> None:
    sweep = trax.sweep(walk, {"seed": range(3), "n": [3]})
    assert [*sweep] == [*sweep]


def test_results_of_old_code_are_told_of() -> None:
    """Once for the sweep."""
    script = """
import trax

@trax.resumable(name="run-{n}")
def run(n):
    yield n * 2

for case in trax.sweep(run, {"n": range(3)}):
    print(case.result)
"""
    run_script(script)
    told = run_script(script.replace("n * 2", "n * 3")).stderr
    assert told.count("\n") == 1
    assert "3 of 3 runs were done before" in told
    assert told.endswith("; 3 results came from old code: fresh=True computes all cases again\n")


def test_what_is_stored_is_told_before_the_first_case(caplog: pytest.LogCaptureFixture) -> None:
    """In one line: what a case says of its beginning is for the level DEBUG."""
    caplog.set_level(logging.DEBUG, "trax")
    walk(seed=0, n=4).result()
    for _ in walk(seed=1, n=4):
        break
    caplog.clear()
    cases = trax.sweep(walk, {"seed": range(3), "n": [4]})
    assert next(cases).result == result(0, 4)
    (line,) = caplog.messages
    where = Path(".trax").resolve()
    assert line == (
        "the sweep of walk: 1 of 3 runs were done before; their stored results are returned; "
        f"1 of 3 runs had begun before, and will go on ({where})"
    )
    assert [case.error for case in cases] == [None, None]
    (resumed,) = [one for one in caplog.records if one is not caplog.records[0]]
    assert resumed.levelno == logging.DEBUG
    assert resumed.message.startswith("walk-1 resumed at step 1 ")


def test_a_sweep_that_starts_over_tells_of_no_stored_runs(caplog: pytest.LogCaptureFixture) -> None:
    """But when it is iterated over again, they are done."""
    walk(seed=1, n=2).result()
    sweep = trax.sweep(walk, {"seed": [1, 2], "n": [2]}, fresh=True)
    assert len([*sweep]) == 2
    assert "before" not in caplog.text
    assert len([*sweep]) == 2
    assert "2 of 2 runs were done before" in caplog.text


def test_runs_that_other_code_has_begun_are_told_of() -> None:
    """They go on, and the present code runs."""
    script = """
import os, sys, trax

@trax.resumable(name="run-{n}")
def run(n):
    yield n
    if "stop" in sys.argv:
        os._exit(3)
    yield n * 2

for case in trax.sweep(run, {"n": range(3)}):
    print(case.result)
"""
    assert run_script(script, "stop", check=False).returncode == 3
    told = run_script(script.replace("n * 2", "n * 3")).stderr
    assert told.count("\n") == 1
    assert "1 of 3 runs had begun before, and will go on, 1 of them with changed code (" in told


def test_a_run_that_was_broken_off_goes_on() -> None:
    for _ in walk(seed=1, n=5):
        break
    (case,) = trax.sweep(walk, {"seed": [1], "n": [5]})
    assert case.result == result(1, 5)
    assert trax.load("walk-1").step == 5


def test_changed_arguments_are_the_error_of_the_case() -> None:
    [*trax.sweep(walk, {"seed": [1], "n": [3]})]
    for executor in (None, Refusing()):
        one, other = trax.sweep(walk, [{"seed": 1, "n": 4}, {"seed": 5, "n": 1}], executor=executor)
        assert isinstance(one.error, trax.ArgumentsChangedError)
        assert executor or other.result == result(5, 1)


def test_a_run_that_is_held_elsewhere_is_the_error_of_the_case() -> None:
    @trax.resumable(name="held-{n}", wait=0)
    def held(n: int) -> Iterator[int]:
        yield n

    with trax.Trax() as store:
        store.recover("held-1", create=int)
        one, other = trax.sweep(held, {"n": [1, 2]})
        assert isinstance(one.error, trax.LockedError)
        assert other.result == 2


def test_workers_use_the_store_of_the_sweep(tmp_path: Path) -> None:
    """Wherever they work."""
    sweep = trax.sweep(walk, {"seed": [1], "n": [1]})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    assert [case.error for case in sweep] == [None]
    assert not list(elsewhere.iterdir())
    assert (tmp_path / ".trax/runs/walk-1").exists()


SPAWNED = """
import sys
from dataclasses import dataclass
import trax

@dataclass(frozen=True)
class Config:
    rate: float

@dataclass
class Fit:
    loss: float = 0.0

def twice(x):
    return 2 * x

@trax.resumable(name="plain-{config.rate}")
def plain(config, n, of=twice):
    fit = Fit()
    for _ in range(n):
        fit.loss += of(config.rate)
        yield fit

@trax.resumable(create=Fit, name="declared-{config.rate}", replay_log=None, every_steps=1)
def declared(fit, config, n):
    for _ in trax.steps(n):
        fit.loss += config.rate
        yield fit

def begin(function):
    for _, _ in zip(range(2), function(config=Config(3.0), n=4)):
        pass

if __name__ == "__main__":
    grid = {"config": [Config(1.0), Config(2.0)], "n": [4]}
    if sys.argv[1] == "spawned":
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            for function in (plain, declared):
                print([case.result for case in trax.sweep(function, grid, executor=pool)])
                pool.submit(begin, function).result()
    else:
        sys.modules.pop("__mp_main__", None)
        for function in (plain, declared):
            print([case.result for case in trax.sweep(function, grid)])
            run = function(config=Config(3.0), n=4)
            result = run.result()
            print(run.resumed_at, result, type(result) is Fit)
"""


def test_a_run_of_a_spawned_worker_is_that_of_the_script() -> None:
    """There the script is another module, but its classes and functions are the same."""
    spawned = run_script(SPAWNED, "spawned")
    assert spawned.stdout == ("[Fit(loss=8.0), Fit(loss=16.0)]\n[Fit(loss=4.0), Fit(loss=8.0)]\n")
    here = run_script(SPAWNED, "here")
    assert here.stdout == (
        "[Fit(loss=8.0), Fit(loss=16.0)]\n2 Fit(loss=24.0) True\n"
        "[Fit(loss=4.0), Fit(loss=8.0)]\n2 Fit(loss=12.0) True\n"
    )
    assert here.stderr.count("2 of 2 runs were done before") == 2
    assert run_script(SPAWNED, "spawned").stdout == spawned.stdout


def test_all_runs_start_over_once() -> None:
    """Also those that were done; a second iteration gives what the first one has made."""
    made = []

    @trax.resumable(name="made-{n}")
    def make(n: int) -> Iterator[int]:
        made.append(n)
        yield len(made)

    assert [case.result for case in trax.sweep(make, {"n": [1, 2]})] == [1, 2]
    again = trax.sweep(make, {"n": [1, 2, 3]}, fresh=True)
    assert next(again).result == 3
    again.close()
    assert [case.result for case in again] == [3, 4, 5]
    assert [case.result for case in trax.sweep(make, {"n": [1, 2, 3]})] == [3, 4, 5]
    assert made == [1, 2, 1, 2, 3]
    assert {path.name for path in Path(".trax/aside").iterdir()} == {"made-1~1", "made-2~1"}


def test_a_case_that_the_engine_tries_again_goes_on_where_it_has_started_over() -> None:
    done = []

    @trax.resumable(create=int, name="tried")
    def tried(state: int) -> Generator[int, int, None]:
        for step in trax.steps(3):
            done.append(step)
            if done == [0, 1, 2, 0, 1]:
                raise ConnectionError
            yield step

    class Executor:
        def submit(self, function: Any, task: Any) -> Future[Any]:
            function(task)
            future: Future[Any] = Future()
            future.set_result(function(task))
            return future

    tried().result()
    (case,) = trax.sweep(tried, {}, executor=Executor(), fresh=True)
    assert (case.result, done) == (2, [0, 1, 2, 0, 1, 1, 2])


def test_methods_and_async_functions_are_swept_as_well() -> None:
    class Model:
        def __init__(self, scale: int) -> None:
            self.scale = scale

        @trax.resumable(name="fit-{n}")
        def fit(self, n: int) -> Iterator[int]:
            yield self.scale * n

        @trax.resumable(name="afit-{n}")
        async def afit(self, n: int) -> Any:
            yield self.scale * n

    for function in (Model(3).fit, Model(3).afit):
        assert [case.result for case in trax.sweep(function, {"n": [1, 2]})] == [3, 6]


# -- engines that fail ---------------------------------------------------------------------


def test_a_broken_executor_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Each of its cases has the error, and the next call goes on."""
    walk(seed=1, n=2).result()
    caplog.clear()
    cases = [*trax.sweep(walk, {"seed": range(5), "n": [2]}, executor=Refusing())]
    assert [case.name for case in cases if case.error is None] == ["walk-1"]
    assert {type(case.error) for case in cases if case.error} == {BrokenExecutor}
    done, broken = told(caplog)
    assert broken == (
        "the sweep of walk: the executor is broken (BrokenExecutor: no worker is left); "
        "run the same script again, and it goes on with a new one"
    )
    assert "1 of 5 runs were done before" in done
    assert [case.error for case in trax.sweep(walk, {"seed": [0, 1], "n": [2]})] == [None, None]


class Distant:
    """An executor whose workers are given nothing that they can load, as joblib tells it."""

    def __init__(self, kind: type[Exception]) -> None:
        self._kind = kind

    def submit(self, function: Any, *arguments: Any) -> Future[Any]:
        future = Future[Any]()
        error = self._kind("A task has failed to un-serialize.")
        trace: Any = "Traceback:\n  File\nAttributeError: no attribute 'x'\n"
        error.__cause__ = _RemoteTraceback(trace)
        future.set_exception(error)
        return future


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (BrokenExecutor, "executor is broken (AttributeError: no attribute 'x'); run"),
        (ValueError, "1 run failed (first walk-0: AttributeError: no attribute 'x'); the"),
    ],
)
def test_the_error_in_another_process_is_told_and_not_only_that_there_was_one(
    kind: type[Exception], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    (case,) = trax.sweep(walk, {"seed": [0], "n": [2]}, executor=Distant(kind))
    assert type(case.error) is kind
    assert any(said in line for line in told(caplog))


def test_what_cannot_be_submitted_is_the_error_of_the_case() -> None:
    class Executor:
        def submit(self, function: Any, task: Any) -> Future[Any]:
            if task.arguments["seed"] == 1:
                raise TypeError("cannot pickle this")
            future: Future[Any] = Future()
            future.set_result(function(task))
            return future

    cases = [*trax.sweep(walk, {"seed": range(3), "n": [1]}, executor=Executor())]
    assert [type(case.error) for case in cases] == [type(None), TypeError, type(None)]


@pytest.mark.parametrize(
    "error", [CancelledError(), RuntimeError("lost"), asyncio.CancelledError()]
)
def test_a_future_that_fails_is_the_error_of_the_case(error: BaseException) -> None:
    class Executor:
        def submit(self, function: Any, task: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    (case,) = trax.sweep(walk, {"seed": [1], "n": [1]}, executor=Executor())
    assert case.error is error


WORKERS = """
import os, signal, sys, time
from concurrent.futures import ProcessPoolExecutor
import trax

@trax.resumable(create=int, name="run-{n}")
def run(state, n, to):
    while state < to:
        state = yield state + 1
        open(f"{n} {os.getpid()}", "w").close()
        if n == 0:
            while not any(one.startswith("1 ") for one in os.listdir(".")):
                time.sleep(0.001)
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.001)

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        cases = [*trax.sweep(run, {"n": range(6), "to": [1_000_000]}, executor=pool)]
    assert all(case.error for case in cases)
"""


def test_when_a_worker_dies_the_others_do_not_begin_what_is_left() -> None:
    """The executor ends them by SIGTERM, and waits for them: their runs stop at the next step."""
    run_script(WORKERS)  # or it would never end
    begun = {path.name for path in Path(".trax/runs").iterdir()}
    assert begun == {"run-0", "run-1"}
    assert trax.load("run-1") > 0


# -- how it ends ---------------------------------------------------------------------------


def test_leaving_the_loop_cancels_what_has_not_begun() -> None:
    executor = Manual()
    sweep = trax.sweep(walk, {"seed": range(10), "n": [1]}, executor=executor, in_flight=4)
    thread = threading.Thread(target=_run_all, args=(executor, [0]))
    thread.start()
    for _ in sweep:
        break
    thread.join()
    assert [future.cancelled() for future, _ in executor.waiting] == [True] * 3
    assert executor.submitted == 4


def test_an_exception_in_the_loop_cancels_what_has_not_begun() -> None:
    executor = Manual()
    thread = threading.Thread(target=_run_all, args=(executor, [0]))
    thread.start()

    def use() -> None:
        for _ in trax.sweep(walk, {"seed": range(10), "n": [1]}, executor=executor, in_flight=4):
            raise KeyError(1)

    with pytest.raises(KeyError):
        use()
    thread.join()
    assert all(future.cancelled() for future, _ in executor.waiting)


def test_close_cancels_what_has_not_begun() -> None:
    executor = Manual()
    with trax.sweep(walk, {"seed": range(9), "n": [1]}, executor=executor, in_flight=3) as sweep:
        thread = threading.Thread(target=_run_all, args=(executor, [0]))
        thread.start()
        assert next(sweep).error is None
        thread.join()
    assert [future.cancelled() for future, _ in executor.waiting] == [True] * 2
    with pytest.raises(StopIteration):
        next(sweep)
    sweep.close()


def test_next_and_a_loop_share_one_pass() -> None:
    sweep = trax.sweep(walk, {"seed": range(2), "n": [1]})
    first = next(sweep)
    assert [first, *sweep] == [*sweep]


def test_nothing_runs_before_the_first_case_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sweep = trax.sweep(walk, {"seed": [1], "n": [1]})
    assert repr(sweep) == "<Sweep of walk, 1 case>"
    assert not Path(".trax").exists()
    del sweep
    (line,) = told(caplog)
    assert line == (
        "trax.sweep() of walk was called and did nothing: iterate over the sweep that the call "
        "returns"
    )
    caplog.clear()
    trax.sweep(walk, {"seed": [1], "n": [1]}).close()
    assert not told(caplog)


def test_a_sweep_cannot_be_pickled() -> None:
    with trax.sweep(walk, {"seed": [1], "n": [1]}) as sweep:
        for dumps in (pickle.dumps, cloudpickle.dumps):
            with pytest.raises(trax.UsageError, match="the sweep of walk cannot be pickled"):
                dumps(sweep)


def test_an_empty_grid_ends_at_once(caplog: pytest.LogCaptureFixture) -> None:
    assert [*trax.sweep(walk, {"seed": [], "n": [1]}, executor=Refusing())] == []
    assert not told(caplog)


# -- signals -------------------------------------------------------------------------------

DRIVER = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
import trax

@trax.resumable(create=int, name="run-{n}")
def run(state, n, to):
    while state < to:
        state = yield state + 1
        if n == 1:
            open("begun", "w").close()
        time.sleep(0.001)

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2) if sys.argv[1] == "pool" else None
    try:
        for case in trax.sweep(run, [{"n": 0, "to": 1}, {"n": 1, "to": 10**6}], executor=pool):
            print(case.name, case.error, flush=True)
    finally:
        for worker in list(pool._processes) if pool else []:
            os.kill(worker, 9)
"""


@pytest.mark.parametrize("where", ["pool", "here"])
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, -2)])
def test_a_signal_ends_the_driver_as_it_ends_a_run(
    where: str, number: signal.Signals, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with start_script(DRIVER, where) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "run-0 None\n"
        while not Path("begun").exists():
            time.sleep(0.001)
        driver.send_signal(number)
        driver.stdout.read()
        assert driver.wait() == status
    told = capfd.readouterr().err
    if where == "pool":
        assert f"the sweep of run stopped after 1 of 2 runs: {number.name}; the same script" in told
    else:
        assert f"run-1 stopped at step {trax.load('run-1')}: {number.name}" in told
    assert trax.load("run-0") == 1


GROUP = """
import os, time
from concurrent.futures import ProcessPoolExecutor
import trax

@trax.resumable(create=int, name="run-{n}")
def run(state, n, to):
    while state < to:
        state = yield state + 1
        open(f"begun-{n}", "w").close()
        time.sleep(0.001)

if __name__ == "__main__":
    with ProcessPoolExecutor(2) as pool:
        list(trax.sweep(run, {"n": range(9), "to": [10**6]}, executor=pool))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, -2)])
def test_a_signal_to_all_processes_ends_all_of_them(number: signal.Signals, status: int) -> None:
    """As from a scheduler or a terminal: runs that wait for a worker are not begun any more."""
    with subprocess.Popen(
        [sys.executable, write_script(GROUP)], stderr=subprocess.PIPE, start_new_session=True
    ) as driver:
        while len([*Path().glob("begun-*")]) < 2:
            time.sleep(0.001)
        os.killpg(driver.pid, number)
        told = driver.communicate()[1].decode()
        assert driver.returncode == status
    assert f"the sweep of run stopped after 0 of 9 runs: {number.name}" in told
    assert {path.name for path in Path(".trax/runs").iterdir()} == {"run-0", "run-1"}


THREADS = """
import time
from concurrent.futures import ThreadPoolExecutor
import trax

@trax.resumable(create=int, name="run-{n}")
def run(state, n):
    while True:
        state = yield state + 1
        open(f"begun-{n}", "w").close()
        time.sleep(0.001)

with ThreadPoolExecutor(2) as pool:
    list(trax.sweep(run, {"n": range(9)}, executor=pool))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 75), (signal.SIGINT, -2)])
def test_a_signal_stops_the_runs_of_the_sweep_in_threads(
    number: signal.Signals, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Also Ctrl-C: the executor waits for them."""
    with start_script(THREADS) as driver:
        while len([*Path().glob("begun-*")]) < 2:
            time.sleep(0.001)
        driver.send_signal(number)
        assert driver.wait() == status
    told = capfd.readouterr().err
    for n in (0, 1):
        assert f"run-{n} stopped at step {trax.load(f'run-{n}')}: {number.name}" in told
    assert {path.name for path in Path(".trax/runs").iterdir()} == {"run-0", "run-1"}


def test_a_signal_between_two_runs_stops_the_sweep() -> None:
    """The code of the loop may run for long."""
    seeds = []

    def use() -> None:
        for case in trax.sweep(walk, {"seed": range(3), "n": [1]}):
            seeds.append(case.arguments["seed"])
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(trax.Preempted) as stop:
        use()
    assert seeds == [0]
    assert (stop.value.run, stop.value.step, stop.value.reason) == (
        "the sweep of walk",
        1,
        "SIGTERM",
    )


def test_a_stop_just_before_a_run_is_opened_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may ask at any moment."""
    look = sweep_driver.load_finished  # type: ignore[attr-defined]

    def stop_and_look(call: Any, store: Any) -> Any:
        trax.stop()
        return look(call, store)

    monkeypatch.setattr(sweep_driver, "load_finished", stop_and_look)
    with pytest.raises(trax.Preempted) as stop:
        next(trax.sweep(walk, {"seed": range(3), "n": [9]}))
    assert (stop.value.run, stop.value.reason) == ("walk-0", "trax.stop()")
    assert not Path(".trax/runs").exists()


def test_a_run_that_its_thread_has_not_yet_opened_does_not_begin_after_a_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not even when the sweep has ended meanwhile: the executor waits for it."""
    has_begun, has_ended, errors = threading.Event(), threading.Event(), []
    run = worker.result_of

    def wait_and_run(*given: Any) -> Any:
        has_begun.set()
        has_ended.wait()
        try:
            return run(*given)
        except trax.Preempted as error:
            errors.append(error)
            raise

    monkeypatch.setattr(worker, "result_of", wait_and_run)

    def stop() -> None:
        has_begun.wait()
        trax.stop()

    with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(1) as other:
        other.submit(stop)
        with pytest.raises(trax.Preempted, match="the sweep of walk"):
            list(trax.sweep(walk, {"seed": range(3), "n": [9]}, executor=pool))
        has_ended.set()
    assert [(error.run, error.reason) for error in errors] == [("walk-0", "trax.stop()")]
    assert not Path(".trax/runs").exists()


def test_a_signal_takes_effect_when_the_loop_is_left() -> None:
    """As for a run that is left."""
    left = """
import signal
import trax

@trax.resumable(name="run-{n}")
def run(n):
    yield n

for case in trax.sweep(run, {"n": range(3)}):
    signal.raise_signal(signal.SIGTERM)
    break
print("not reached")
"""
    done = run_script(left, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    assert "trax: the sweep of run was closed; SIGTERM takes effect now" in done.stderr


def test_a_sweep_whose_signals_are_left_alone() -> None:
    @trax.resumable(name="alone-{n}", signals=None)
    def alone(n: int) -> Iterator[int]:
        yield n

    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    for _ in trax.sweep(alone, {"n": range(3)}):
        signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM] * 3


def test_the_end_of_the_job_stops_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is begun that would be stopped after a step."""
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 100))
    later = process.monotonic() + 99
    names = []

    def use() -> None:
        for case in trax.sweep(walk, {"seed": range(9), "n": [1]}):
            names.append(case.name)
            monkeypatch.setattr(process, "monotonic", lambda: later)

    with pytest.raises(trax.Preempted) as stop:
        use()
    assert (names, stop.value.reason) == (["walk-0"], "the time limit")
    assert [path.name for path in Path(".trax/runs").iterdir()] == ["walk-0"]


# -- the display ---------------------------------------------------------------------------


class Shown:
    """A display that keeps what it is told."""

    told: ClassVar[list[tuple[Any, ...]]] = []

    def __init__(self, name: str, step: int) -> None:
        self.told.append(("begin", name, step))

    def update(self, step: int, total: int | None) -> None:
        self.told.append((step, total))

    def note_failed(self, number: int) -> None:
        self.told.append(("failed", number))

    def close(self, step: int) -> None:
        self.told.append(("end", step))


def test_one_display_shows_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are done, and those that have failed; a run of the function has its own."""
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(Shown, "told", told)
    shown = trax.resumable(name="walk-{seed}", progress=Shown)(walk.__wrapped__)
    [*trax.sweep(shown, {"seed": [2, 3, 4], "n": [3]})]
    assert told == [
        ("begin", "walk", 0),
        (0, 3),
        (1, 3),
        ("failed", 1),
        (2, 3),
        (3, 3),
        ("end", 3),
    ]
    told.clear()
    for _ in trax.sweep(walk, {"seed": [2, 3], "n": [3]}, progress=Shown):
        break
    assert told == [("begin", "walk", 0), (0, 2), (1, 2), ("end", 1)]
    told.clear()
    [*trax.sweep(shown, {"seed": [2], "n": [3]}, progress=False)]
    assert not told


class NoTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_without_a_text_ends_no_sweep() -> None:
    @trax.resumable(name="bad-{seed}")
    def bad(seed: int) -> Iterator[int]:
        yield seed
        raise NoTextError

    cases = [*trax.sweep(bad, {"seed": [1, 2]})]
    assert [type(case.error) for case in cases] == [NoTextError, NoTextError]
