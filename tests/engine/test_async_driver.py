"""An async call's life: opening, driving, being cancelled, resuming; and what never blocks."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import errno
import gc
import inspect
import os
import pickle
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import anyio
import pytest
import trio

import trax
from trax.storage import filesystem
from trax.storage.lock import Lock
from trax.storage.process import process
from trax.storage.run_writer import RunWriter
from trax.storage.store import Store

Main = Callable[[], Awaitable[Any]]


async def nothing() -> None: ...


class Asyncio:
    """As much of asyncio as the tests need.

    Attributes
    ----------
    ended : bool
        Whether the task that was to be cancelled has ended.
    failed : bool
        Whether it has ended by an exception, such as the cancellation.
    """

    ended = failed = False

    def run(self, main: Main) -> Any:
        async def call() -> Any:
            return await main()

        return asyncio.run(call())

    async def turn(self) -> None:
        """Let everything else go on once."""
        await asyncio.sleep(0)

    async def forever(self) -> None:
        await asyncio.Event().wait()

    async def cancel(
        self, main: Main, ready: threading.Event, *, first: Main = nothing, then: Main = nothing
    ) -> None:
        """Cancel a task once `ready` is set and `first` is done; then await `then`, and its end."""
        task = asyncio.create_task(self._note_end(main))
        await asyncio.to_thread(ready.wait, 20)
        await first()
        task.cancel()
        await self.turns()
        await then()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def time_out(self, main: Main, ready: threading.Event, then: Callable[[], None]) -> None:
        """The same by a timeout; check that nothing of it is left in the task."""

        async def expire() -> None:
            await asyncio.to_thread(ready.wait, 20)
            timeout.reschedule(asyncio.get_running_loop().time())
            await self.turns()
            then()

        async with asyncio.TaskGroup() as group:
            with pytest.raises(TimeoutError):  # noqa: PT012  # what is timed is what raises
                async with asyncio.timeout(None) as timeout:
                    group.create_task(expire())
                    await main()
            task = asyncio.current_task()
            assert task is not None
            assert not task.cancelling()

    async def turns(self) -> None:
        for _ in range(10):
            await self.turn()

    async def _note_end(self, main: Main) -> None:
        self.ended = self.failed = False
        try:
            await main()
        except BaseException:
            self.failed = True
            raise
        finally:
            self.ended = True


class Trio(Asyncio):
    """As much of trio."""

    def run(self, main: Main) -> Any:
        return trio.run(main)

    async def turn(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def forever(self) -> None:
        await trio.sleep_forever()

    async def cancel(
        self, main: Main, ready: threading.Event, *, first: Main = nothing, then: Main = nothing
    ) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._note_end, main)
            await trio.to_thread.run_sync(ready.wait, 20)
            await first()
            nursery.cancel_scope.cancel()
            await self.turns()
            await then()

    async def time_out(self, main: Main, ready: threading.Event, then: Callable[[], None]) -> None:
        async def expire() -> None:
            await trio.to_thread.run_sync(ready.wait, 20)
            scope.deadline = trio.current_time()
            await self.turns()
            then()

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(expire)
                await main()
        assert scope.cancelled_caught


@pytest.fixture(params=[Asyncio, Trio])
def library(request: pytest.FixtureRequest) -> Asyncio:
    """Each of the two libraries."""
    made: Asyncio = request.param()
    return made


def append(state: list[Any], increment: Any) -> list[Any]:
    """Fold an increment into a list."""
    return [*state, increment]


@trax.resumable(create=list, replay_log=append, every_steps=4, name="squares")
async def squares(state: list[int], n: int) -> AsyncIterator[int]:
    """Yield the squares below n * n."""
    for i in trax.steps(n):
        yield i * i


@trax.resumable(create=list, replay_log=append, every_steps=4, name="squares")
def plain_squares(state: list[int], n: int) -> Iterator[int]:
    """Yield the same in an ordinary loop."""
    for i in trax.steps(n):
        yield i * i


async def take(run: trax.AsyncRun[Any, Any], number: int) -> list[Any]:
    """Return so many increments."""
    return [await anext(run) for _ in range(number)]


def assert_free(name: str) -> None:
    """Check that nobody holds the run."""
    Store().hold(name, sync="os", keep=2, report=print).close()


def assert_held(name: str) -> None:
    """Check that somebody holds the run."""
    with pytest.raises(trax.LockedError):
        assert_free(name)


class Gate:
    """A disk that does not answer, once it is shut, before it is opened.

    Attributes
    ----------
    reached : threading.Event
        Whether somebody waits for the disk.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self._force = process.force
        patch.setattr(process, "force", self)

    def __call__(self, fd: int) -> None:
        self.wait()
        self._force(fd)

    def wait(self) -> None:
        if not self._open.is_set():
            self.reached.set()
            assert self._open.wait(20)

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A disk that can be made to wait."""
    made = Gate(monkeypatch)
    yield made
    made.open()


# -- driving and resuming ------------------------------------------------------------------


def test_a_loop_runs_to_its_end_and_returns_the_final_state(library: Asyncio) -> None:
    """`await run.result()` drives it; a finished run returns the same and runs nothing."""

    async def main() -> None:
        assert await squares(n=10).result() == [i * i for i in range(10)]
        run = squares(n=10)
        assert await run.result() == [i * i for i in range(10)]
        assert [i async for i in run] == []
        assert (run.done, run.step, run.resumed_at) == (True, 10, 10)

    library.run(main)


def test_nothing_runs_before_the_first_increment_is_asked_for(store_here: Path) -> None:
    """A call alone stores and holds nothing, and leaves nothing unawaited behind."""
    squares(n=3)
    assert not store_here.exists()


@pytest.mark.parametrize("done", range(0, 10, 3))
def test_a_run_resumes_behind_every_increment_that_was_handed_out(
    library: Asyncio, done: int
) -> None:
    """Wherever the loop is left, the next call goes on there."""

    async def main() -> None:
        async with squares(n=10) as run:
            async for increment in run:
                if increment == done * done:
                    break
        async with squares(n=10) as run:
            assert run.resumed_at == done + 1
            assert [i async for i in run] == [i * i for i in range(done + 1, 10)]

    library.run(main)


def test_the_state_is_sent_back_into_the_loop(library: Asyncio) -> None:
    """As in an ordinary loop."""

    @trax.resumable(create=int)
    async def count(n: int, to: int) -> Any:
        while n < to:
            await library.turn()
            n = yield n + 1

    async def main() -> None:
        assert [n async for n in count(to=5)] == [1, 2, 3, 4, 5]

    library.run(main)


def test_replay_log_none_leaves_the_state_to_the_loop(library: Asyncio) -> None:
    """Leaving it at a yield stores a checkpoint of what is whole."""

    @trax.resumable(create=dict, replay_log=None, every_steps=100)
    async def train(model: dict[str, int], epochs: int) -> AsyncIterator[str]:
        for epoch in trax.steps(epochs):
            model["epoch"] = epoch
            yield "only a report"

    async def main() -> None:
        async with train(epochs=9) as run:
            await take(run, 5)
        async with train(epochs=9) as run:
            assert (run.resumed_at, run.state) == (5, {"epoch": 4})
            assert await run.result() == {"epoch": 8}

    library.run(main)


def test_ordinary_and_async_loops_go_on_with_each_others_runs(library: Asyncio) -> None:
    """What is stored is the same."""

    async def main() -> None:
        async with squares(n=20) as run:
            await take(run, 6)

    library.run(main)
    with plain_squares(n=20) as run:
        assert run.resumed_at == 6
        assert [next(run) for _ in range(3)] == [36, 49, 64]
    assert library.run(squares(n=20).result) == plain_squares(n=20).result()


def test_fresh_and_load_work_as_ever(library: Asyncio, store_here: Path) -> None:
    """`load` does not wait for anything; `fresh` moves the old run aside."""
    library.run(squares(n=3).result)
    assert squares.load() == trax.load("squares") == [0, 1, 4]
    assert library.run(squares.fresh(n=2).result) == [0, 1]
    assert (store_here / "aside" / "squares~1").is_dir()


class Sums:
    """Has loops of all kinds."""

    start = 10

    @trax.resumable(create=lambda self: self.start, name="method")
    async def method(self, total: int, n: int) -> AsyncIterator[int]:
        yield total + n + self.start

    @trax.resumable(create=int, name="class method")
    @classmethod
    async def by_class(cls, total: int, n: int) -> AsyncIterator[int]:
        yield total + n + cls.start

    @trax.resumable(create=int, name="static method")
    @staticmethod
    async def by_nobody(total: int, n: int) -> AsyncIterator[int]:
        yield total + n


def test_methods_of_all_kinds(library: Asyncio) -> None:
    """`self` and `cls` come before the state."""
    assert library.run(Sums().method(1).result) == 21
    by_class: Any = Sums.by_class  # no type checker sees through both decorators
    assert library.run(by_class(n=1).result) == 11
    assert library.run(Sums.by_nobody(n=1).result) == 1


def test_a_decorated_function_is_still_an_async_generator_function() -> None:
    """It keeps what makes it one, and pickles by reference."""
    assert inspect.isasyncgenfunction(squares)
    assert squares.__doc__ == "Yield the squares below n * n."
    assert pickle.loads(pickle.dumps(squares)) is squares
    assert isinstance(squares, trax.AsyncResumable)


def test_an_error_keeps_what_was_handed_out_and_lets_go_at_once(library: Asyncio) -> None:
    """Also where the run itself is kept, as a traceback does."""

    @trax.resumable(create=list, replay_log=append)
    async def loop(state: list[Any]) -> AsyncIterator[Any]:
        await library.turn()
        yield 1
        if len(state) < 5:
            raise KeyError("in the loop")

    async def main() -> None:
        run = loop()
        with pytest.raises(KeyError):
            await run.result()
        assert_free("loop")
        with pytest.raises(trax.UsageError, match="ended at step 1: it ended with an exception"):
            await anext(run)

    library.run(main)
    assert loop.load() == [1]


def test_an_increment_that_cannot_be_stored_ends_the_loop(library: Asyncio) -> None:
    """Its `finally` blocks run before anybody else can go on."""
    ended = []

    @trax.resumable(create=list, replay_log=append)
    async def loop(state: list[Any]) -> AsyncIterator[Any]:
        try:
            yield 1
            yield (part for part in "unpicklable")
        finally:
            await library.turn()
            ended.append(trax.load("loop"))

    with pytest.raises(trax.CodecError):
        library.run(loop().result)
    assert ended == [[1]]
    assert_free("loop")


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_the_end_is_never_faked(library: Asyncio, error: type[Exception], at: int) -> None:
    """What replay_log raises does not look like the end of the loop."""

    def fold(state: int, increment: int) -> int:
        if state == at:
            raise error
        return state + 1

    @trax.resumable(create=int, replay_log=fold, check=False)
    async def loop(state: int) -> AsyncIterator[int]:
        for _ in range(5):
            yield 1

    with pytest.raises(RuntimeError):
        library.run(loop().result)
    assert loop.load() == at


def test_a_locked_run_can_be_asked_again(library: Asyncio) -> None:
    """The error comes with the first increment; the natural loop waits until the other is done."""

    async def main() -> None:
        run = squares(n=4)
        with trax.Trax() as store:
            store.checkpoint(squares=[])
            with pytest.raises(trax.LockedError):
                await anext(run)
            with pytest.raises(trax.LockedError):
                async with run:
                    pass
        assert await run.result() == [0, 1, 4, 9]

    library.run(main)


def test_the_repr_says_where_it_stands(library: Asyncio) -> None:
    """For a person at a prompt."""
    run = squares(n=3)
    assert repr(run) == "<AsyncRun 'squares', new, step 0>"
    library.run(run.result)
    assert repr(run) == "<AsyncRun 'squares', done, step 3>"


def test_outside_of_a_task_it_says_so() -> None:
    """Nothing would wait for the thread."""
    with pytest.raises(trax.UsageError, match="a task of asyncio or of trio"):
        squares(n=3).__anext__().send(None)


# -- helpers -------------------------------------------------------------------------------


def test_helpers_work_in_what_the_loop_awaits(library: Asyncio) -> None:
    """However deep below it, and behind an await."""

    async def deeper(items: Any) -> Any:
        await library.turn()
        return trax.remaining(items)

    async def todo(items: Any) -> Any:
        await library.turn()
        return await deeper(items)

    @trax.resumable(create=list, replay_log=append)
    async def copy(state: list[str], of: str) -> AsyncIterator[str]:
        for item in await todo(of):
            yield item

    async def main() -> None:
        async with copy(of="abcd") as run:
            assert await take(run, 2) == ["a", "b"]
        assert [item async for item in copy(of="abcd")] == ["c", "d"]
        with pytest.raises(trax.UsageError, match="outside of a loop"):
            trax.steps(3)

    library.run(main)


def test_one_run_inside_another(library: Asyncio) -> None:
    """The helpers find the innermost loop."""

    @trax.resumable(create=int, replay_log=lambda state, increment: state + increment)
    async def outer(state: int) -> AsyncIterator[int]:
        for i in trax.steps(3):
            yield len(await squares.fresh(n=i + 1).result())

    assert library.run(outer().result) == 6


def test_a_step_of_another_run_that_gets_only_the_rest(
    library: Asyncio, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told; where the step asks for the result, nothing is."""

    @trax.resumable
    async def outer(*, rest: bool) -> AsyncIterator[int]:
        yield len([each async for each in squares(n=3)] if rest else await squares(n=3).result())

    async def main() -> None:
        async with squares(n=3) as run:
            await take(run, 1)
        assert await outer.fresh(rest=True).result() == 2
        assert "squares hands out only what comes after its step 1" in caplog.text
        caplog.clear()
        assert await outer.fresh(rest=False).result() == 3
        assert "hands out only" not in caplog.text

    library.run(main)


def test_context_variables_reach_replay_log(library: Asyncio) -> None:
    """Also where it is called in the thread."""
    variable = contextvars.ContextVar("variable", default=0)

    @trax.resumable(create=int, replay_log=lambda state, increment: state + variable.get())
    async def loop(state: int) -> AsyncIterator[int]:
        for _ in trax.steps(3):
            yield 1

    async def main() -> None:
        variable.set(7)
        async with loop() as run:
            await take(run, 2)
        async with loop() as run:
            assert run.state == 14
            assert await run.result() == 21

    library.run(main)


# -- one task at a time --------------------------------------------------------------------


def test_a_second_task_is_refused_in_the_middle_of_a_step(library: Asyncio) -> None:
    """Neither another step nor closing is possible there."""
    ready = threading.Event()

    @trax.resumable(create=int)
    async def loop(state: int) -> AsyncIterator[int]:
        yield 1
        ready.set()
        await library.forever()

    async def main() -> None:
        run = loop()

        async def intrude() -> None:
            for call in (run.__anext__, run.aclose, run.__aenter__):
                with pytest.raises(trax.UsageError, match="in the middle of a step"):
                    await call()

        await library.cancel(run.result, ready, first=intrude)
        assert run.step == 1

    library.run(main)
    assert loop.load() == 1


def test_a_loop_may_not_close_its_own_run(library: Asyncio) -> None:
    """It raises or returns instead."""

    @trax.resumable(create=int)
    async def loop(state: int) -> AsyncIterator[int]:
        yield 1
        await run.aclose()

    run = loop()
    with pytest.raises(trax.UsageError, match="in the middle of a step"):
        library.run(run.result)
    assert loop.load() == 1
    assert_free("loop")


def test_a_run_that_a_traceback_keeps_alive_does_not_lock_out_the_next_call(
    library: Asyncio,
) -> None:
    """The next call takes it over, once the old loop has run its `finally` blocks."""
    said: list[str] = []

    @trax.resumable(create=list, replay_log=append)
    async def loop(state: list[int]) -> AsyncIterator[int]:
        said.append("begin")
        try:
            for i in trax.steps(6):
                yield i
        finally:
            await library.turn()
            said.append("end")

    async def main() -> None:
        old = loop()
        assert await take(old, 2) == [0, 1]
        new = loop()
        assert await take(new, 1) == [2]
        with pytest.raises(trax.UsageError, match="a later call took it over"):
            await anext(old)
        assert said == ["begin", "end", "begin"]
        assert [i async for i in new] == [3, 4, 5]

    library.run(main)


def test_a_run_that_was_opened_and_not_begun_does_not_lock_out_the_next_call(
    library: Asyncio,
) -> None:
    """It was opened in another thread, but for this one."""

    async def main() -> None:
        old = await squares(n=6).__aenter__()
        assert await take(squares(n=6), 1) == [0]
        with pytest.raises(trax.UsageError, match="a later call took it over"):
            await anext(old)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what trio says of the second one
        library.run(main)
        gc.collect()


def test_an_ordinary_for_is_told_to_be_an_async_one() -> None:
    """Rather than that the run is not iterable; nothing is opened."""
    run = squares(n=3)
    with pytest.raises(TypeError, match="Write 'async for"):
        list(run)
    assert isinstance(run, AsyncIterator)


def test_a_run_continues_after_a_generator_that_went_through_it_is_closed(
    library: Asyncio,
) -> None:
    """As an ordinary one does after yield from."""

    async def watched(run: AsyncIterator[int]) -> AsyncIterator[int]:
        async for square in run:
            yield square

    async def main() -> None:
        async with squares(n=6) as run:
            watching = watched(run)
            async for square in watching:
                if square == 4:
                    break
            await watching.aclose()  # type: ignore[attr-defined]
            assert await anext(run) == 9
            assert [square async for square in watched(run)] == [16, 25]
            assert run.done

    library.run(main)


def test_a_run_of_a_task_that_lives_is_not_taken_over(library: Asyncio) -> None:
    """Between two steps its task may be doing anything; once it has ended, the run is abandoned."""
    ready = threading.Event()
    run = squares(n=6)

    async def drive() -> None:
        await take(run, 2)
        ready.set()
        await library.forever()

    async def intrude() -> None:
        with pytest.raises(trax.LockedError, match="this very process") as caught:
            await anext(squares(n=6))
        assert "another task or thread" in str(caught.value)
        assert "name='run-{seed}'" in str(caught.value)

    async def main() -> None:
        await library.cancel(drive, ready, first=intrude)
        assert await squares(n=6).result() == [0, 1, 4, 9, 16, 25]

    library.run(main)


def test_a_run_belongs_to_the_task_that_drove_it_last(library: Asyncio) -> None:
    """The one before has ended, and says nothing about it any more."""
    ready, refused = threading.Event(), threading.Event()
    run = squares(n=6)

    async def begin() -> None:
        await take(run, 2)
        ready.set()
        await library.forever()

    async def intrude() -> None:
        try:
            with pytest.raises(trax.LockedError, match="this very process"):
                await anext(squares(n=6))
        finally:
            refused.set()
        await library.forever()

    async def main() -> None:
        await library.cancel(begin, ready)
        await take(run, 1)
        await library.cancel(intrude, refused)
        assert await run.result() == [0, 1, 4, 9, 16, 25]

    library.run(main)


def test_outside_of_a_task_it_says_so_after_its_task_has_ended() -> None:
    """Nobody drives it any more, as nobody drove it before."""
    run = squares(n=6)

    async def main() -> None:
        await take(run, 1)

    asyncio.run(main())
    gc.collect()
    with pytest.raises(trax.UsageError, match="must be driven in a task"):
        anext(run).__await__().send(None)

    async def close() -> None:
        await run.aclose()

    asyncio.run(close())


def test_an_ordinary_call_takes_over_what_an_event_loop_has_left(library: Asyncio) -> None:
    """And the other way round."""
    old = squares(n=9)

    async def begin() -> None:
        await take(old, 2)

    library.run(begin)
    left = plain_squares(n=9)
    assert next(left) == 4
    assert library.run(squares(n=9).result) == [i * i for i in range(9)]


# -- being cancelled -----------------------------------------------------------------------


def cancelled_loop(library: Asyncio, gate: Gate, at: str, **options: Any) -> Any:
    """Return a loop of 8 steps that waits, or makes the disk wait, where it is to be cancelled."""

    @trax.resumable(
        replay_log=options.pop("replay_log", append),
        create=list,
        name="loop",
        sync="os",
        every_steps=4,
        varying="tries",
        **options,
    )
    async def loop(state: list[int], tries: int) -> AsyncIterator[int]:
        if at == "finish" and tries == 0:
            for i in trax.steps(8):
                yield i
            gate.shut()
            return
        for i in trax.steps(8):
            await library.turn()
            if tries == 0 and i == 3:
                if at == "body":
                    gate.reached.set()
                    await library.forever()
                elif at == "settle":
                    gate.shut()
            yield i

    return loop


@pytest.mark.parametrize(("at", "kept"), [("open", 0), ("body", 3), ("settle", 4), ("finish", 8)])
def test_a_cancelled_run_keeps_everything_and_lets_go(
    library: Asyncio, gate: Gate, at: str, kept: int
) -> None:
    """Also what was logged and not handed out; but never while a thread still works on it."""
    loop = cancelled_loop(library, gate, at)
    seen: list[int] = []

    async def drive() -> None:
        if at == "open":
            gate.shut()
        async for increment in run:
            seen.append(increment)  # noqa: PERF401  # one by one, as they are handed out

    async def check() -> None:
        if at == "open":
            with pytest.raises(trax.UsageError, match="being opened"):
                run.step  # noqa: B018
        if at != "body":
            assert not library.ended
            assert_held("loop")
            gate.open()

    async def main() -> None:
        await library.cancel(drive, gate.reached, then=check)
        assert library.failed
        assert_free("loop")
        assert seen == list(range(min(kept, 3) if at != "finish" else 8))
        again = loop(tries=1)
        assert (again.resumed_at, again.state) == (kept or None, list(range(kept)))
        assert await again.result() == list(range(8))

    run = loop(tries=0)
    library.run(main)


@pytest.mark.parametrize("at", ["body", "settle"])
def test_a_timeout_is_a_cancellation_like_any_other(library: Asyncio, gate: Gate, at: str) -> None:
    """It arrives as a timeout, and nothing of it is left in the task."""
    loop = cancelled_loop(library, gate, at)

    async def main() -> None:
        await library.time_out(loop(tries=0).result, gate.reached, gate.open)
        assert_free("loop")
        assert loop.load() == list(range(4 if at == "settle" else 3))
        assert await loop(tries=1).result() == list(range(8))

    library.run(main)


def test_a_cancel_scope_of_anyio_waits_for_the_thread(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On asyncio it cancels again and again; the event loop must not spin meanwhile."""
    loop = cancelled_loop(Asyncio(), gate, "settle")
    waits = []
    wait = asyncio.wait

    def counted(*args: Any, **kwargs: Any) -> Any:
        waits.append(gate.reached.is_set())
        return wait(*args, **kwargs)

    monkeypatch.setattr(asyncio, "wait", counted)

    cancelled = []

    async def drive() -> None:
        try:
            await loop(tries=0).result()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(drive)
                await anyio.to_thread.run_sync(gate.reached.wait, 20)
                scope.cancel()
                with anyio.CancelScope(shield=True):
                    timer = threading.Timer(0.1, gate.open)
                    timer.start()
                    await anyio.to_thread.run_sync(timer.join)
        assert cancelled
        assert sum(waits) < 10
        assert_free("loop")
        assert loop.load() == [0, 1, 2, 3]
        assert await loop(tries=1).result() == list(range(8))

    anyio.run(main)


@pytest.mark.parametrize(("at", "kept"), [("body", 0), ("settle", 4)])
def test_a_half_done_step_is_not_stored_when_it_is_cancelled(
    library: Asyncio, gate: Gate, at: str, kept: int
) -> None:
    """Where the state is the loop's own, it is stored only if it is whole."""

    @trax.resumable(create=lambda: {"a": 0, "b": 0}, replay_log=None, every_steps=4, sync="os")
    async def loop(state: dict[str, int]) -> AsyncIterator[int]:
        for i in trax.steps(8):
            state["a"] += 1
            if i == 3 and at == "body" and not gate.reached.is_set():
                gate.reached.set()
                await library.forever()
            state["b"] += 1
            if i == 3 and at == "settle":
                gate.shut()
            yield i

    async def check() -> None:
        gate.open()

    async def main() -> None:
        await library.cancel(loop().result, gate.reached, then=check)
        assert_free("loop")
        assert loop.load() == {"a": kept, "b": kept}
        assert await loop().result() == {"a": 8, "b": 8}

    library.run(main)


class Slow:
    """A state that is slow to be stored."""

    def __init__(self, gate: Gate) -> None:
        self.gate: Gate | None = gate
        self.step = 0

    def __getstate__(self) -> dict[str, Any]:
        if self.gate is not None:
            self.gate.wait()
        return {"gate": None, "step": self.step}


def test_a_first_step_that_is_cancelled_while_it_is_tried_out_is_kept(
    library: Asyncio, gate: Gate
) -> None:
    """Nothing else stores it where nothing is logged."""

    @trax.resumable(create=lambda: Slow(gate), name="loop", replay_log=None, sync="os")
    async def loop(state: Slow) -> AsyncIterator[int]:
        for i in trax.steps(8):
            state.step += 1
            if i == 0:
                gate.shut()
            yield i

    async def check() -> None:
        gate.open()

    async def main() -> None:
        await library.cancel(loop().result, gate.reached, then=check)
        assert_free("loop")
        assert loop.load().step == 1

    library.run(main)


def test_a_cancelled_close_closes_all_the_same(library: Asyncio, gate: Gate) -> None:
    """The checkpoint that it takes is stored, and the generator is closed."""

    @trax.resumable(create=dict, replay_log=None, every_steps=100, sync="os")
    async def loop(state: dict[str, int]) -> AsyncIterator[int]:
        for i in trax.steps(8):
            state["step"] = i
            yield i

    async def drive() -> None:
        async with loop() as run:
            await take(run, 3)
            gate.shut()

    async def check() -> None:
        assert not library.ended
        assert_held("loop")
        gate.open()

    async def main() -> None:
        await library.cancel(drive, gate.reached, then=check)
        assert_free("loop")
        assert loop.load() == {"step": 2}

    library.run(main)


@pytest.mark.parametrize(("at", "kept"), [("body", 3), ("settle", 4)])
def test_a_task_that_is_thrown_away_lets_go_of_its_run(gate: Gate, at: str, kept: int) -> None:
    """Its event loop is gone and nothing can be awaited; the thread is waited for all the same."""
    loop = cancelled_loop(Asyncio(), gate, at)
    event_loop = asyncio.new_event_loop()
    try:
        task = event_loop.create_task(loop(tries=0).result())
        event_loop.run_until_complete(asyncio.wait_for(_reached(gate), 20))
        timer = threading.Timer(0.1, gate.open)
        timer.start()
        task.get_coro().close()
        assert_free("loop")
        timer.join()
        task.cancel()
        with contextlib.suppress(RuntimeError, asyncio.CancelledError):
            event_loop.run_until_complete(task)
        event_loop.run_until_complete(event_loop.shutdown_default_executor())
    finally:
        event_loop.close()
    assert loop.load() == list(range(kept))
    assert asyncio.run(loop(tries=1).result()) == list(range(8))


def test_a_task_that_is_thrown_away_while_it_closes_lets_go_of_its_run() -> None:
    """However long the generator would have taken to end."""
    closing = threading.Event()

    @trax.resumable(create=list, replay_log=append, sync="os")
    async def loop(state: list[int]) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            closing.set()
            await asyncio.sleep(3600)

    async def begin_to_close() -> None:
        async with loop() as run:
            await take(run, 1)

    async def main() -> None:
        coroutine = begin_to_close()
        task = asyncio.create_task(coroutine)
        await asyncio.to_thread(closing.wait, 20)
        assert_held("loop")
        coroutine.close()
        assert_free("loop")
        task.cancel()
        with pytest.raises(RuntimeError):
            await task

    asyncio.run(main())
    assert loop.load() == [1]


@pytest.mark.parametrize("how", ["raise", "yield"])
def test_a_generator_that_does_not_close_holds_up_nobody(library: Asyncio, how: str) -> None:
    """Its error is passed on, the run is let go, and the loop is over all the same."""

    @trax.resumable(create=list, replay_log=append)
    async def loop(state: list[int]) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            if how == "raise":
                raise RuntimeError("ignored GeneratorExit")
            yield 2

    async def main() -> None:
        run = loop()
        await take(run, 1)
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            await run.aclose()
        assert_free("loop")
        with pytest.raises(trax.UsageError, match="it was closed"):
            await anext(run)
        del run
        gc.collect()
        await library.turn()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        library.run(main)
    assert loop.load() == [1]


async def _reached(gate: Gate) -> None:
    while not gate.reached.is_set():
        await asyncio.sleep(0.001)


# -- leaving it lying ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning")
def test_leaving_an_async_for_lets_go_of_the_run(library: Asyncio) -> None:
    """Without `aclose`, once the iterator is gone; trio warns of such generators of any kind."""

    async def main() -> None:
        async for _ in squares(n=3):
            break
        gc.collect()
        assert_free("squares")
        await library.turn()

    library.run(main)
    assert squares.load() == [0]


def test_an_event_loop_that_ends_does_not_finish_the_run(library: Asyncio) -> None:
    """It closes the generator, which must not pass for the end of the loop."""
    run = squares(n=6)

    async def begin() -> None:
        assert await take(run, 2) == [0, 1]

    async def go_on() -> None:
        with pytest.raises(trax.UsageError, match="its event loop has ended"):
            await anext(run)
        assert_free("squares")
        assert await squares(n=6).result() == [0, 1, 4, 9, 16, 25]

    library.run(begin)
    library.run(go_on)


def test_a_closed_run_says_so(library: Asyncio) -> None:
    """Going on with it is an error and not a silent end."""

    async def main() -> None:
        run = squares(n=6)
        await take(run, 2)
        await run.aclose()
        await run.aclose()
        for call in (run.__anext__, run.result):
            with pytest.raises(trax.UsageError, match="ended at step 2: it was closed"):
                await call()
        untouched = squares(n=6)
        await untouched.aclose()
        with pytest.raises(trax.UsageError, match="it was closed"):
            await anext(untouched)

    library.run(main)


# -- what blocks, and what is forced -------------------------------------------------------


class Watched:
    """A state that notes in which threads it is made, stored and loaded."""

    threads: ClassVar[dict[str, set[int]]] = {}

    def __init__(self) -> None:
        self.step = 0
        note("create")

    def __getstate__(self) -> dict[str, int]:
        note("pickle")
        return self.__dict__

    def __setstate__(self, state: dict[str, int]) -> None:
        note("load")
        self.__dict__.update(state)

    def advance(self, increment: int) -> Watched:
        self.step += increment
        return self


def note(what: str) -> None:
    """Note that something blocks the present thread."""
    Watched.threads.setdefault(what, set()).add(threading.get_ident())


@pytest.mark.parametrize("sync", ["always", "interval"])
@pytest.mark.parametrize("replay_log", [Watched.advance, None])
def test_nothing_that_blocks_is_done_on_the_thread_of_the_event_loop(
    library: Asyncio, sync: Any, replay_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creating, pickling and loading states; opening, forcing and closing files; the lock."""

    def watch(owner: Any, name: str) -> None:
        done = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            note(name)
            return done(*args, **kwargs)

        monkeypatch.setattr(owner, name, noted)

    Watched.threads.clear()
    watch(process, "force")
    watch(filesystem.LocalDirectory, "create")
    watch(filesystem.LocalDirectory, "open")
    watch(filesystem.LocalDirectory, "sync")
    watch(RunWriter, "close")
    watch(Lock, "__init__")
    watch(Lock, "release")

    @trax.resumable(create=Watched, replay_log=replay_log, every_steps=3, sync=sync)
    async def loop(state: Watched) -> AsyncIterator[int]:
        for _ in trax.steps(10):
            if replay_log is None:
                state.step += 1
            await library.turn()
            yield 1

    async def main() -> None:
        async with loop() as run:
            await take(run, 5)
        async with loop() as run:
            assert (run.step, run.resumed_at, run.done) == (5, 5, False)
            await take(run, 2)
        abandoned = loop()
        await take(abandoned, 1)
        assert (await loop().result()).step == 10
        assert (await loop().result()).step == 10

    library.run(main)
    assert len(Watched.threads) == 9
    blocked = [
        what for what, threads in Watched.threads.items() if threading.get_ident() in threads
    ]
    assert not blocked


def test_always_forces_each_increment_before_it_is_handed_out(
    library: Asyncio, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole log is on the disk by then; its header says how it was written."""
    forced: dict[int, int] = {}
    force = process.force

    def noted(fd: int) -> None:
        force(fd)
        forced[os.fstat(fd).st_ino] = os.fstat(fd).st_size

    monkeypatch.setattr(process, "force", noted)

    @trax.resumable(create=list, replay_log=append, sync="always", every_steps=1000)
    async def loop(state: list[int]) -> AsyncIterator[int]:
        for i in trax.steps(20):
            yield i

    async def main() -> None:
        for begin in (0, 5):
            async with loop() as run:
                for step in range(5):
                    assert await anext(run) == begin + step
                    log = max(store_here.glob("runs/loop/log-*")).stat()
                    assert forced[log.st_ino] == log.st_size
        assert b'"sync":"always"' in max(store_here.glob("runs/loop/log-*")).read_bytes()

    library.run(main)


@pytest.mark.parametrize("times", [1, 1000])
def test_an_increment_that_the_disk_will_not_vouch_for(
    library: Asyncio, times: int, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint in new files takes its place, or it is not handed out."""
    failures = iter([False] * 0)
    force = process.force

    def fail(fd: int) -> None:
        if next(failures, False):
            raise OSError(errno.EIO, "Input/output error")
        force(fd)

    monkeypatch.setattr(process, "force", fail)

    @trax.resumable(create=list, replay_log=append, sync="always", every_steps=1000)
    async def loop(state: list[int]) -> AsyncIterator[int]:
        for i in trax.steps(6):
            yield i

    async def main() -> None:
        nonlocal failures
        async with loop() as run:
            assert await take(run, 2) == [0, 1]
            logs = set(store_here.glob("runs/loop/log-*"))
            failures = iter([True] * times)
            if times == 1:
                assert await take(run, 2) == [2, 3]
                assert set(store_here.glob("runs/loop/log-*")) > logs
                assert loop.load() == [0, 1, 2, 3]
            else:
                with pytest.raises(trax.DurabilityError):
                    await anext(run)
        failures = iter([])
        assert await loop().result() == [0, 1, 2, 3, 4, 5]

    library.run(main)


def test_a_background_sync_that_fails_is_made_up_for(
    library: Asyncio, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new checkpoint and a new log take the place of what cannot be trusted any more."""
    main_thread = threading.get_ident()
    stored: list[int] = []

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def fold(state: list[int], increment: int) -> list[int]:
        return [*state, increment]

    @trax.resumable(create=list, replay_log=fold)
    async def loop(state: list[int]) -> AsyncIterator[int]:
        for i in trax.steps(9):
            yield i

    async def main() -> None:
        async with loop() as run:
            await take(run, 3)
            logs = set(store_here.glob("runs/loop/log-*"))
            with monkeypatch.context() as patch:
                patch.setattr(process, "force", fail)
                run._lifecycle.session._writer.sync()
            checkpoint = RunWriter.checkpoint
            with monkeypatch.context() as patch:

                def noted(*args: Any, **kwargs: Any) -> int:
                    stored.append(threading.get_ident())
                    return checkpoint(*args, **kwargs)

                patch.setattr(RunWriter, "checkpoint", noted)
                assert await take(run, 2) == [3, 4]
            assert set(store_here.glob("runs/loop/log-*")) - logs
        assert loop.load() == [0, 1, 2, 3, 4]
        assert await loop().result() == list(range(9))

    library.run(main)
    assert len(stored) == 1
    assert stored[0] != main_thread


def test_no_thread_is_left_behind(library: Asyncio) -> None:
    """The event loop ends those that it lent."""
    before = {*threading.enumerate()}
    library.run(squares(n=20).result)
    left = {*threading.enumerate()} - before
    if isinstance(library, Trio):  # it keeps idle ones for ten seconds
        left = {thread for thread in left if thread.name == "trax-sync"}
    assert not left
