"""Helpers inside a loop."""

from __future__ import annotations

import asyncio
import json
import pickle
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax


@trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment], varying="of")
def copy(state: list[Any], of: Any) -> Iterator[Any]:
    """Copy what is handed in, item by item."""
    for item in trax.remaining(of()):
        yield item


@pytest.mark.parametrize("kind", [list, tuple, range, iter, str])
def test_remaining_goes_on_behind_the_items_that_are_done(kind: Any) -> None:
    """Sequences are sliced, of other iterables the first ones are skipped."""

    def items() -> Iterable[Any]:
        return "abcdef" if kind is str else kind(6) if kind is range else kind([0, 1, 2, 3, 4, 5])

    with copy(of=items) as run:
        done = [next(run), next(run)]
    assert done + list(copy(of=items)) == list(items())


def test_remaining_takes_arrays() -> None:
    """An array is an iterable like any other."""

    def items() -> Any:
        return np.arange(4)

    with copy(of=items) as run:
        next(run)
    assert list(copy(of=items)) == [1, 2, 3]


@pytest.mark.parametrize("total", [-1, 1.5, "3", None, True])
def test_steps_refuses_what_is_no_number_of_steps(total: Any) -> None:
    """A mistake is named."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.steps(total):
            yield 1

    with pytest.raises(trax.UsageError, match="whole number"):
        loop().result()


def test_steps_takes_a_numpy_integer() -> None:
    """It has an index like any whole number."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.steps(np.int64(3)):  # type: ignore[arg-type]
            yield 1

    assert len(list(loop())) == 3


def test_outside_of_a_loop_the_helpers_say_so() -> None:
    """Counting from 0 there would be silently wrong."""
    with pytest.raises(trax.UsageError, match=r"trax\.steps\(\) was called outside"):
        trax.steps(3)
    with pytest.raises(trax.UsageError, match=r"trax\.remaining\(\) was called outside"):
        trax.remaining([1])
    with pytest.raises(trax.UsageError, match=r"trax\.step\(\) was called outside"):
        trax.step()


def test_helpers_work_in_what_the_loop_calls() -> None:
    """However deep below it."""

    def todo(n: int) -> list[int]:
        return list(trax.steps(n))

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for i in todo(4):
            yield i

    with loop() as run:
        next(run)
    assert list(loop()) == [1, 2, 3]


def test_the_steps_of_a_run_are_counted_once() -> None:
    """Nested counting would leave out steps without a word."""

    @trax.resumable(create=int, check=False)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.steps(2):
            for _ in trax.remaining("ab"):
                yield 1

    with pytest.raises(trax.UsageError, match="a second time"):
        loop().result()


def test_remaining_refuses_what_has_no_order() -> None:
    """A set has another order in every process."""

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.remaining({"a", "b"}):
            yield 1

    with pytest.raises(trax.UsageError, match="Sort them"):
        loop().result()


def test_remaining_takes_no_async_iterable() -> None:
    """In an async loop neither: that is said, and not that something is not iterable."""

    async def numbers() -> AsyncIterator[int]:
        yield 1

    @trax.resumable(create=int)
    async def loop(n: int) -> AsyncIterator[int]:
        for _ in trax.remaining(numbers()):  # type: ignore[arg-type]
            yield 1

    with pytest.raises(trax.UsageError, match="Collect the items first"):
        asyncio.run(loop().result())


def test_remaining_works_in_an_async_loop() -> None:
    """Items that are done are compared there as well."""

    @trax.resumable(create=list, replay_log=lambda done, item: [*done, item], varying="of")
    async def loop(done: list[str], of: str) -> AsyncIterator[str]:
        for item in trax.remaining(of):
            yield item

    async def begin() -> None:
        async with loop(of="abc") as run:
            await anext(run)

    asyncio.run(begin())
    assert asyncio.run(loop(of="abc").result()) == ["a", "b", "c"]
    with pytest.raises(trax.ArgumentsChangedError, match=r"items\[0\] of 'loop' is 'x'"):
        asyncio.run(loop(of="xbcd").result())


# -- the present step ----------------------------------------------------------------------


@trax.resumable(create=list, replay_log=lambda done, step: [*done, step], every_steps=3)
def numbered(done: list[trax.Step]) -> Iterator[trax.Step]:
    """Yield the present step itself."""
    while len(done := [*done, trax.step()]) <= 8:
        assert trax.step() == done[-1] == len(done) - 1
        assert trax.step().key == done[-1].key
        yield done[-1]


def test_step_is_the_number_of_increments_before_it() -> None:
    """0 for the first, and it goes on where the run does; each has a key of its own."""
    with numbered() as run:
        first = [next(run) for _ in range(4)]
    steps = numbered().result()
    assert steps == list(range(8))
    assert [step.key for step in steps[:4]] == [step.key for step in first]
    assert len({uuid.UUID(step.key) for step in steps}) == 8


def test_another_run_has_other_keys() -> None:
    """Also one of the same name that began anew."""

    @trax.resumable(create=list, replay_log=lambda keys, key: [*keys, key], name="run-{n}")
    def loop(keys: list[str], n: int) -> Iterator[str]:
        for _ in trax.steps(3):
            yield trax.step().key

    keys = [*loop(1).result(), *loop(2).result(), *loop.fresh(1).result()]
    assert len(set(keys)) == 9


def test_step_in_a_loop_within_a_loop_is_that_of_the_inner_one() -> None:
    """And the outer one's before and after it."""

    @trax.resumable(create=int)
    def inner(n: int) -> Iterator[int]:
        for _ in trax.steps(2):
            yield int(trax.step())

    @trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
    def outer(state: list[Any]) -> Iterator[Any]:
        for _ in trax.steps(2):
            yield int(trax.step()), list(inner.fresh()), int(trax.step())

    assert outer().result() == [(0, [0, 1], 0), (1, [0, 1], 1)]


def test_a_step_is_a_whole_number() -> None:
    """In arithmetic, as an index and a key, in text; what is computed from it is a plain one."""
    step = trax.Step(3, "key")
    assert (step + 1, [0, 1, 2, 3][step], {3: "x"}[step], f"{step:03d}") == (4, 3, "x", "003")
    assert (repr(step), str(step), json.dumps([step])) == ("3", "3", "[3]")
    assert type(step + 1) is type(int(step)) is int
    assert hash(step) == hash(3)


def test_a_step_is_stored_as_what_it_is() -> None:
    """So that a recovered state is the live one, and it takes little room."""
    key = str(uuid.uuid4())
    stored = pickle.dumps(trax.Step(1_000_000, key), 5)
    again = pickle.loads(stored)
    assert (type(again), again, again.key) == (trax.Step, 1_000_000, key)
    assert len(stored) < 100
    with numbered() as run:
        for _ in range(7):
            next(run)
        assert pickle.dumps(run.state) == pickle.dumps(numbered.load())


CALLS_OUT = """
import os, signal, sys
import trax

@trax.resumable(create=int, replay_log=REPLAY_LOG, every_steps=2)
def loop(total):
    for i in trax.steps(4):
        print(i, int(trax.step()), trax.step().key, flush=True)
        if sys.argv[1] == str(i):
            os.kill(os.getpid(), signal.SIGKILL)
        yield i

loop().result()
"""


@pytest.mark.parametrize("replay_log", ["lambda total, i: total + i", "None"])
def test_a_step_that_is_done_again_has_the_same_key(replay_log: str) -> None:
    """A server that was called just before a kill recognises the second call; also at step 0."""
    script = CALLS_OUT.replace("REPLAY_LOG", replay_log)
    keys: dict[str, set[str]] = {}
    done: list[str] = []
    for last in ("0", "0", "1", "3", "never"):
        process = run_script(script, last, check=last == "never")
        assert process.returncode == (0 if last == "never" else -9), process.stderr
        for line in process.stdout.splitlines():
            counted, number, key = line.split()
            assert counted == number
            done.append(number)
            keys.setdefault(number, set()).add(key)
    assert len(done) > len(keys) == 4
    assert all(len(same) == 1 for same in keys.values())
    assert len(set.union(*keys.values())) == 4


def test_a_state_that_is_passed_as_the_number_of_steps_is_told() -> None:
    """A caller may think that it is passed like the other arguments."""

    @trax.resumable(create=list, replay_log="append", check=False)
    def loop(state: list[int], n: Any, seed: Any = 0) -> Iterator[int]:
        for i in trax.steps(n):
            yield i

    with pytest.raises(trax.UsageError, match=r"not \[\]\nDo not pass the state: trax supplies"):
        loop([], 5).result()
    with pytest.raises(trax.UsageError, match="at least 0, not 'five'") as caught:
        loop("five").result()
    assert "supplies" not in str(caught.value)
