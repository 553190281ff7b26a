"""Hooks: told of resumes, checkpoints and stops, in order, in the loop's thread, and of errors."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import finish_writing, run_script, start_script

import trax

KINDS = ("resume", "checkpoint", "stop")


class Told(list[trax.Event]):
    """The events that were told, and the options that have them told."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self.options: dict[str, Any] = {f"on_{kind}": self.hear for kind in KINDS}

    def hear(self, event: trax.Event) -> None:
        self.append(event)
        self.threads.add(threading.get_ident())

    @property
    def short(self) -> list[tuple[str, int]]:
        return [(event.kind, event.step) for event in self]

    def take(self) -> list[tuple[str, int]]:
        """Return the kinds and the steps, and forget the events."""
        short = self.short
        self.clear()
        return short


@pytest.fixture
def told() -> Told:
    return Told()


def counter(**options: Any) -> Callable[[], trax.Run[Any, Any, Any]]:
    """Return a loop with a declared state of nine steps, with a checkpoint at each third."""

    @trax.resumable(create=int, every_steps=3, name="count", **options)
    def count(n: int) -> Generator[int, int, None]:
        while n < 9:
            n = yield n + 1

    return count


def test_each_is_told_of_what_it_is_for(told: Told) -> None:
    """In order, with the step at which it happened."""
    count = counter(**told.options)
    with count() as run:
        assert [next(run) for _ in range(5)] == [1, 2, 3, 4, 5]
        assert told.short == [("checkpoint", 0), ("checkpoint", 3)]
    assert told[-1].reason == "closed"
    assert told.take()[2:] == [("stop", 5)]
    assert list(count()) == [6, 7, 8, 9]
    resume, *rest = told
    assert (resume.run, resume.resumed_at, resume.loop_step) == ("count", 5, 5)
    assert (resume.seconds > 0, resume.bytes > 0, resume.reason) == (True, True, "")
    assert told.take()[1:] == [("checkpoint", 6), ("checkpoint", 9), ("stop", 9)]
    assert {event.resumed_at for event in rest} == {5}
    assert rest[-1].reason == "done"
    assert all(event.seconds > 0 and event.bytes > 0 for event in rest)
    assert count().result() == 9
    assert told == []  # nothing ran


def test_a_record_cannot_be_changed_and_says_what_it_is(told: Told) -> None:
    """It is plain data."""
    counter(**told.options)().close()
    assert told == []  # it was never opened
    next(counter(**told.options)())
    with pytest.raises(FrozenInstanceError):
        told[0].step = 1  # type: ignore[misc]
    assert repr(told[0]).startswith("Event(kind='checkpoint', run='count', step=0, ")


def test_a_plain_loop_tells_after_which_step_its_body_goes_on(told: Told) -> None:
    """What its body has written elsewhere after that step is written again."""
    entered = Path("entered.txt")

    @trax.resumable(every_steps=4, name="plain", **told.options)  # type: ignore[untyped-decorator]
    def plain() -> Iterator[int]:
        for i in range(10):
            with entered.open("a") as file:
                print(i, file=file)
            yield i

    with plain() as run:
        for _ in range(6):
            next(run)
    entered.unlink()
    told.clear()
    assert list(plain()) == [6, 7, 8, 9]
    assert (told[0].kind, told[0].step) == ("resume", 6)
    assert [int(line) for line in entered.read_text().split()] == [*range(told[0].loop_step, 10)]


def test_a_hook_is_called_before_the_loop_goes_on() -> None:
    """So that what it rewinds is rewound when the loop writes again."""
    order: list[str] = []

    @trax.resumable(create=int, on_resume=lambda event: order.append(event.kind))
    def steps(n: int) -> Generator[int, int, None]:
        order.append("body")
        while n < 4:
            n = yield n + 1

    run = steps()
    next(run)
    run.close()
    order.clear()
    again = steps()
    assert again.step == 1
    assert order == []  # it is open, but does not go on yet
    next(again)
    assert order == ["resume", "body"]


def test_a_checkpoint_in_the_background_is_told_when_it_counts(told: Told) -> None:
    """At the next look after it was written, with the step that it contains."""

    @trax.resumable(create=lambda: np.zeros(1 << 18), every_steps=3, **told.options)
    def large(state: Any) -> Iterator[Any]:
        for i in trax.steps(100):
            yield np.full(1 << 18, i)

    with large() as run:
        for _ in range(3):
            next(run)
        assert ("checkpoint", 3) not in told.short
        finish_writing(run)
        next(run)
        assert told.take() == [("checkpoint", 0), ("checkpoint", 3)]
        for _ in range(2):
            next(run)
    assert told.short[:-1] == [("checkpoint", 6)]  # closing waits for it
    assert told[-1].kind == "stop"


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_hook_raises_is_raised_and_nothing_is_lost(kind: str) -> None:
    """The next call resumes after the last stored step, as after any exception."""

    def fail(event: trax.Event) -> None:
        raise ConnectionError(event.kind)

    with counter()() as run:
        assert next(run) == 1
    with pytest.raises(ConnectionError, match=kind):
        list(counter(**{f"on_{kind}": fail})())
    begin = {"resume": 2, "checkpoint": 4, "stop": 10}[kind]
    assert list(counter()()) == list(range(begin, 10))
    assert counter()().result() == 9


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_hook_raises_names_the_hook_and_the_run(kind: str) -> None:
    """So that nobody takes it for an error of the loop, or of trax."""
    raised = KeyError("mine")

    def hook(event: trax.Event) -> None:
        raise raised

    with counter()() as run:
        next(run)
    with pytest.raises(KeyError, match="mine"):
        counter(**{f"on_{kind}": hook})().result()
    at = {"resume": 1, "checkpoint": 3, "stop": 9}[kind]
    (note,) = (one for one in raised.__notes__ if "raised by" in one)
    assert note == f"trax: raised by on_{kind} of the run 'count', at step {at}"


def test_after_a_hook_has_raised_the_others_are_told(told: Told) -> None:
    """At the end of a run as well, where its last checkpoint and its stop come together."""

    def fail(event: trax.Event) -> None:
        told.hear(event)
        if event.step == 9:
            raise ConnectionError(event.kind)

    options = told.options | {"on_checkpoint": fail}

    @trax.resumable(create=int, **options)
    def ordinary(n: int) -> Generator[int, int, None]:
        while n < 9:
            n = yield n + 1

    @trax.resumable(create=int, **options)
    async def asynchronous(n: int) -> AsyncGenerator[int, int]:
        while n < 9:
            n = yield n + 1

    async def main() -> None:
        await asynchronous().result()

    for drive, load in [
        (ordinary().result, ordinary.load),
        (lambda: asyncio.run(main()), asynchronous.load),
    ]:
        with pytest.raises(ConnectionError, match="checkpoint"):
            drive()
        assert told.take()[-2:] == [("checkpoint", 9), ("stop", 9)]
        assert load() == 9


def test_an_exception_of_the_loop_is_not_replaced(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the reason, and what the hook raises is told in one line."""

    def fail(event: trax.Event) -> None:
        told.hear(event)
        raise OSError("no\nnetwork")

    @trax.resumable(create=int, on_stop=fail)
    def loses(n: int) -> Generator[int, int, None]:
        n = yield n + 1
        raise ValueError("loss\nis nan")

    with pytest.raises(ValueError, match="is nan"):
        list(loses())
    assert [event.reason for event in told] == ["ValueError: loss"]
    assert caplog.messages == [r"loses: on_stop ended with OSError: no\nnetwork"]


def test_a_loop_that_is_dropped_tells_that_it_stops(told: Told) -> None:
    """As a for statement does that is left."""
    for n in counter(**told.options)():
        if n == 2:
            break
    assert told.short[-1] == ("stop", 2)


def test_a_signal_is_the_reason(told: Told) -> None:
    """The hooks are told, with the checkpoint that was stored for it, before the program ends."""
    run = counter(**told.options)()
    next(run)
    told.clear()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(trax.Preempted):
        next(run)
    assert told.short == [("checkpoint", 1), ("stop", 1)]
    assert told[-1].reason == "SIGTERM"


def test_an_async_loop_calls_them_in_its_own_thread(told: Told) -> None:
    """Though its checkpoints are stored in another one; cancelled, it stops."""

    @trax.resumable(create=int, every_steps=3, name="count", **told.options)
    async def count(n: int) -> AsyncGenerator[int, int]:
        while n < 9:
            await asyncio.sleep(0)
            n = yield n + 1

    async def first() -> None:
        async with count() as run:
            async for n in run:
                if n == 4:
                    assert told.short == [("checkpoint", 0), ("checkpoint", 3)]
                    break

    async def second() -> None:
        assert [n async for n in count()] == [5, 6, 7, 8, 9]

    asyncio.run(first())
    assert told.take()[2:] == [("stop", 4)]
    asyncio.run(second())
    assert told[-1].reason == "done"
    assert told.short[0] == ("resume", 4)
    assert told.short[-2:] == [("checkpoint", 9), ("stop", 9)]
    assert told.threads == {threading.get_ident()}


def test_an_async_loop_raises_what_a_hook_raises() -> None:
    """And has released the run."""

    def fail(event: trax.Event) -> None:
        raise ConnectionError(event.kind)

    async def count(n: int) -> AsyncGenerator[int, int]:
        while n < 9:
            n = yield n + 1

    async def main(**options: Any) -> list[int]:
        return [n async for n in trax.resumable(create=int, every_steps=3, **options)(count)()]

    with pytest.raises(ConnectionError, match="checkpoint"):
        asyncio.run(main(on_checkpoint=fail))
    assert asyncio.run(main())[-1] == 9


FORKED = """
import os
import trax

@trax.resumable(create=int, on_stop=lambda event: print(event.kind, event.step, flush=True))
def count(n):
    while n < 3:
        n = yield n + 1

run = count()
for n in run:
    if n == 1 and not os.fork():
        break
    if n == 2:
        child = os.fork()
        if not child:
            run.close()
            os._exit(0)
        os.waitpid(child, 0)
"""


def test_a_fork_of_the_process_tells_nothing() -> None:
    """Whether it closes the run, or only ends; its parent goes on with the run."""
    assert run_script(FORKED).stdout == "stop 3\n"


KILLED = """
import sys
import trax

def rewind(event):
    lines = open("metrics.txt").readlines()
    open("metrics.txt", "w").writelines(lines[:event.loop_step])

@trax.resumable(every_steps=5, on_resume=rewind)
def fit():
    for i in range(40):
        with open("metrics.txt", "a") as metrics:
            print(i * i, file=metrics)
        yield i

for i in fit():
    print(i, flush=True)
    if i == 23 and sys.argv[1:]:
        sys.stdin.read()
"""


def test_what_a_loop_writes_elsewhere_can_be_rewound() -> None:
    """Killed where steps after the newest frame are run again, no line is there twice."""
    with start_script(KILLED, "stays") as process:
        assert process.stdout is not None
        while process.stdout.readline() != "23\n":
            assert process.poll() is None
        process.kill()
    run_script(KILLED)
    with open("metrics.txt") as file:
        assert [int(line) for line in file] == [i * i for i in range(40)]


async def coroutine(event: trax.Event) -> None: ...


def generator(event: trax.Event) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (1, "must be callable, not 1"),
        (lambda: None, "is called with 1 argument, which .* does not take"),
        (coroutine, "a call of coroutine does nothing"),
        (generator, "a call of generator does nothing"),
    ],
)
def test_a_hook_that_cannot_work_is_refused_at_once(kind: str, hook: Any, message: str) -> None:
    """When the function is decorated."""
    with pytest.raises(trax.UsageError, match=message):
        counter(**{f"on_{kind}": hook})


def test_a_trial_of_a_loop_tells_no_hook(told: Told) -> None:
    """`check` runs it again and again, in stores of its own."""
    counter(**told.options).check()  # type: ignore[attr-defined]
    assert told == []
