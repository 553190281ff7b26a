"""`check_stored`: a stored run goes the same way under the present code, or it is told."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax
from trax.testing import check_stored

Steps = Generator[Any, Any, Any]

factor = 1  # the present code, as it were


def fold(state: list[float], increment: float) -> list[float]:
    state.append(increment * factor)
    return state


@trax.resumable(create=list, replay_log=fold)
def yields(state: list[float], n: int) -> Steps:
    for i in trax.steps(n):
        yield i * factor


@trax.resumable(create=list, replay_log=fold)
def folds(state: list[float], n: int) -> Steps:
    for i in trax.steps(n):
        yield i + 1


@trax.resumable(create=int)
def replaces(state: int, n: int) -> Steps:
    while state < n:
        state = yield state + factor


@trax.resumable(create=lambda: np.zeros(2), replay_log=None, every_steps=3)
def trains(state: Any, n: int) -> Iterator[float]:
    for _ in trax.steps(n):
        state[:] += factor * random.random()
        yield state.sum()


@trax.resumable(create=int, replay_log=lambda n, one: n + one)
def draws(state: int, n: int, rng: random.Random) -> Steps:
    for _ in trax.steps(n):
        random.random()
        for _ in range(factor):
            rng.random()
        yield 1


@trax.resumable(create=int)
def writes(state: int, n: int) -> Steps:
    with trax.open("out.txt") as file:
        while state < n:
            print(random.random() * factor, file=file)
            state = yield state + 1


@trax.resumable(every_steps=3)
def plain(n: int) -> Iterator[float]:
    total = 0.0
    for _ in range(n):
        total += random.random() * factor
        yield total


@trax.resumable(every_steps=3)
def plain_result(n: int) -> Generator[int, None, float]:
    total = 0.0
    for i in range(n):
        total += random.random()
        yield i
    return total * factor


@trax.resumable(every_steps=3)
def plain_writes(n: int) -> Iterator[int]:
    with trax.open("out.txt", "wb") as file:
        for i in range(n):
            file.write(b"%d" % (i * factor))
            yield i


@trax.resumable
async def plain_async(n: int) -> AsyncIterator[float]:
    for i in range(n):
        yield i * factor + random.random()


@trax.resumable(create=int)
async def awaits(state: int, n: int) -> AsyncGenerator[int, int]:
    while state < n:
        state = yield state + factor


@trax.resumable
def fails(n: int) -> Iterator[int]:
    for i in range(n):
        yield i // (2 - factor)


@trax.resumable(create=int)
def ends(state: int, n: int) -> Steps:
    while state < n and factor == 1:
        state = yield state + 1


class Model:
    """Has a loop as a method."""

    def __init__(self) -> None:
        self.rate = 3

    @trax.resumable
    def grow(self, n: int) -> Iterator[int]:
        for i in range(n):
            yield i * self.rate * factor


LOOPS: dict[str, tuple[Callable[[int], Any], str]] = {
    "increments": (yields, "increment: stored"),
    "replay_log": (folds, "state"),
    "states": (replaces, "increment: stored"),
    "no log": (trains, "state"),
    "RNGs": (lambda n: draws(n, random.Random(1)), "rng.* has drawn other numbers"),
    "output": (writes, "other output, from offset"),
    "plain": (plain, "increment: stored"),
    "plain output": (plain_writes, "other output, from offset"),
    "plain async": (plain_async, "increment: stored"),
    "async": (awaits, "increment: stored"),
    "exception": (fails, "the loop raises ZeroDivisionError"),
    "early end": (ends, "the loop has ended there"),
    "method": (lambda n: Model().grow(n), "increment: stored"),
}


def drive(run: Any, steps: int) -> None:
    """Run so many steps, and leave."""

    async def main() -> None:
        async with run:
            for _ in range(steps):
                await anext(run)

    if isinstance(run, trax.AsyncRun):
        asyncio.run(main())
        return
    with run:
        for _ in range(steps):
            next(run)


def finish(run: Any) -> None:
    """Run to the end."""
    if isinstance(run, trax.AsyncRun):
        asyncio.run(run.result())
    else:
        run.result()


def contents() -> dict[str, tuple[bytes, int]]:
    """Return all files in the current directory, with the times at which they were changed."""
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in Path.cwd().rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_stored_run_is_compared_with_the_present_code(
    loop: str, is_done: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it is changed, nor of the RNGs."""
    make, message = LOOPS[loop]
    if is_done:
        finish(make(8))
    else:
        drive(make(8), 7)
    before = contents()
    random.seed(1)
    checked = check_stored(make(8))
    assert checked.steps >= 1
    assert random.random() == random.Random(1).random()
    monkeypatch.setitem(globals(), "factor", 2)
    with pytest.raises(trax.DivergedError, match=f"goes another way.*{message}"):
        check_stored(make(8))
    assert contents() == before


def test_a_result_that_would_be_another_one_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although all increments are the same."""
    finish(plain_result(8))
    check_stored(plain_result(8))
    monkeypatch.setitem(globals(), "factor", 2)
    with pytest.raises(trax.DivergedError, match=r"at step 8: result: stored \d"):
        check_stored(plain_result(8))


def test_an_error_has_the_step_and_both_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is counted from 0, as in the error of a run that is resumed."""
    finish(replaces(8))
    monkeypatch.setitem(globals(), "factor", 2)
    with pytest.raises(trax.DivergedError) as caught:
        check_stored(replaces(8))
    error = caught.value
    assert error.step is not None
    assert (error.stored, error.present) == (error.step + 1, error.step + 2)


def test_only_so_many_steps_are_run_again() -> None:
    """The last ones."""
    finish(plain(29))
    assert check_stored(plain(29)).steps == 2
    assert check_stored(plain(29), steps=1).steps == 1
    finish(folds(9))
    assert check_stored(folds(9), steps=2).steps == 2
    with pytest.raises(trax.UsageError, match="steps must be"):
        check_stored(plain(29), steps=0)


SCRIPT = """
import trax
from trax.testing import check_stored

{decorator}
def loop({state}n):
    for i in {numbers}:
        yield i  # what it hands out

if {is_new}:
    loop(6).result()
else:
    check_stored(loop(6))
"""
PLAIN = {"decorator": "@trax.resumable", "state": "", "numbers": "range(n)"}
DECLARED = {
    "decorator": "@trax.resumable(create=list, replay_log='append')",
    "state": "state, ",
    "numbers": "trax.steps(n)",
}


@pytest.mark.parametrize(
    ("kind", "told"),
    [(PLAIN, "(line 8: yield i * 2"), (DECLARED, "(loop)")],
    ids=["plain", "other"],
)
def test_the_edit_is_told(kind: dict[str, str], told: str) -> None:
    """A script is edited after its run; an edit that changes no value passes."""
    run_script(SCRIPT.format(is_new=True, **kind))
    again = SCRIPT.format(is_new=False, **kind)
    run_script(again)
    run_script(again.replace("yield i ", "yield 0 + i "))
    done = run_script(again.replace("yield i ", "yield i * 2 "), check=False)
    assert "DivergedError: 'loop' goes another way" in done.stderr
    assert f"The code was changed {told}" in done.stderr


def test_output_files_are_copied_wherever_the_store_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The paths of output files lead from the store to them; a path from the root is refused."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("TRAX_DIR", str(elsewhere / "store"))
    Path("deep").mkdir()
    monkeypatch.chdir("deep")
    drive(writes(8), 6)
    before = Path("out.txt").read_text()
    assert check_stored(writes(8)).steps >= 4
    assert Path("out.txt").read_text() == before

    @trax.resumable
    def absolute(n: int) -> Iterator[int]:
        with trax.open(Path("out2.txt").absolute()) as file:
            for i in range(n):
                file.write("x")
                yield i

    drive(absolute(8), 6)
    with pytest.raises(trax.UsageError, match="relative paths"):
        check_stored(absolute(8))
    assert Path("out2.txt").read_text() == "xxxxxx"


def test_a_loop_that_reads_a_file_finds_it_where_it_is_prepared() -> None:
    """It runs in a directory of its own."""

    @trax.resumable
    def reads() -> Iterator[str]:
        for letter in Path("in.txt").read_text():
            yield letter

    def prepare() -> None:
        Path("in.txt").write_text("abcdef")

    prepare()
    finish(reads())
    shutil.rmtree(".trax")
    drive(reads(), 5)
    assert check_stored(reads(), prepare=prepare).steps >= 3


def test_what_cannot_be_checked_is_refused() -> None:
    """Nothing stored, no step, other arguments, a run that is open."""
    with pytest.raises(trax.NotFoundError, match="nothing is stored as 'plain'"):
        check_stored(plain(8))
    with plain(8) as run:
        assert run.step == 0
    with pytest.raises(trax.NotFoundError, match="no step of 'plain' is stored"):
        check_stored(plain(8))
    drive(plain(8), 5)
    with pytest.raises(trax.ArgumentsChangedError):
        check_stored(plain(9))
    with plain(8) as run:
        next(run)
        with pytest.raises(trax.LockedError, match="is open in a process"):
            check_stored(plain(8))
    assert check_stored(plain(8)).steps >= 3
    assert os.listdir() == [".trax"]
