"""Whichever call of the real disk fails, a loop ends as if none had; or it says why it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from faults import ERRORS, Disk

import trax

STEPS = 7
ATTEMPTS = 3  # by a person who sees it fail, before the disk is mended
STRIDE = 9

pytestmark = [
    # Where even the closing of a file fails, its buffer goes with it.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
]

Values = list[tuple[int, float]]


def append(state: Values, value: tuple[int, float]) -> Values:
    return [*state, value]


def work(file: Any, number: int) -> tuple[int, float]:
    """Draw a random number, and write it down."""
    value = number, random.random()
    file.write(f"{value}\n")
    return value


def folded(state: Values) -> Iterator[tuple[int, float]]:
    with trax.open("out.txt") as file:
        for number in trax.steps(STEPS):
            yield work(file, number)


def replaced(state: Values) -> Generator[Values, Values, None]:
    with trax.open("out.txt") as file:
        for number in trax.steps(STEPS):
            state = yield [*state, work(file, number)]


def unlogged(state: Values) -> Iterator[int]:
    for number in trax.steps(STEPS):
        with trax.open("out.txt", "a") as file:
            state.append(work(file, number))
        yield number


async def awaited(state: Values) -> AsyncIterator[tuple[int, float]]:
    with trax.open("out.txt") as file:
        for number in trax.steps(STEPS):
            yield work(file, number)


LOOPS = {
    "folded-always": (folded, {"replay_log": append, "sync": "always"}),
    "folded-interval": (folded, {"replay_log": append}),
    "replaced-os": (replaced, {"sync": "os"}),
    "unlogged-interval": (unlogged, {"replay_log": None}),
    "awaited-always": (awaited, {"replay_log": append, "sync": "always"}),
}


def looping(name: str) -> Any:
    body, options = LOOPS[name]
    return trax.resumable(create=list, every_steps=3, name="loop", **options)(body)  # type: ignore[arg-type]


def drive(run: Any, seen: Callable[[], None]) -> None:
    """Drive a run to its end; after the fourth step its log is forced, as the background does."""
    if hasattr(run, "__next__"):
        for _ in run:
            seen()
        return

    async def main() -> None:
        async for _ in run:
            seen()

    asyncio.run(main())


class Person:
    """Somebody who calls a loop until it ends, and has the disk mended when that does not help.

    Attributes
    ----------
    handed_out : int
        The step of the last increment that was handed out.
    """

    def __init__(self, name: str, disk: Disk) -> None:
        self.handed_out = 0
        self.resumed = 0
        self._is_logged = "unlogged" not in name
        self._disk = disk

    def finish(self, call: Callable[[], Any]) -> Any:
        """Call until the loop ends; return the run."""
        for attempt in range(ATTEMPTS + 1):
            if attempt == ATTEMPTS:
                self._disk.heal()
            random.seed(1)
            self._is_first = True
            run = call()
            try:
                drive(run, functools.partial(self.see, run))
            except (trax.TraxError, OSError) as error:
                self.look_at(run, error)
            else:
                return run
        raise AssertionError("the disk is mended, and it still fails")

    def see(self, run: Any) -> None:
        """Take an increment; after the fourth force the log, as the background does."""
        if self._is_first and self._is_logged:
            assert (run.resumed_at or 0) >= self.handed_out
        self._is_first = False
        self.handed_out = run.step
        if run.step == 4:
            run._lifecycle.session._writer.sync()

    def look_at(self, run: Any, error: BaseException) -> None:
        """See whether the error says what to do, and the state is that of the last step."""
        if isinstance(error, trax.StorageError):
            assert isinstance(error.__cause__, OSError)
            assert any(word in str(error) for word in ("again", "Check")), str(error)
        else:
            assert isinstance(error, OSError)
            frames = {frame.name for frame in traceback.extract_tb(error.__traceback__)}
            assert frames & BODIES, "".join(traceback.format_exception(error))
        lifecycle = run._lifecycle
        assert lifecycle.status in ("new", "closed")
        if lifecycle.status == "closed" and lifecycle.state is not None:
            if self._is_logged:
                assert len(lifecycle.state) == lifecycle.step
            if not self._is_first:  # one may be stored, and a checkpoint after it have failed
                assert lifecycle.step - self.handed_out in (0, 1)
        assert not [path for path in opened() if path.startswith(os.getcwd())]


BODIES = {body.__name__ for body, _ in LOOPS.values()}


def opened() -> list[str]:
    """Return the paths of the files that this process has open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return found


class Failing(NamedTuple):
    """How the disk fails from some call on."""

    happens: bool
    lasting: bool

    def begin(self, disk: Disk, first: int) -> None:
        def fault(number: int, kind: str) -> tuple[OSError, bool] | None:
            if number == first or (self.lasting and number > first):
                # EINTR is none of them: Python tries again, for as long as it takes.
                code = ERRORS[first % len(ERRORS)]
                return OSError(code, os.strerror(code)), self.happens
            return None

        disk.fault = fault


FAILINGS = {
    "nothing happened, once": Failing(happens=False, lasting=False),
    "nothing happened, lasting": Failing(happens=False, lasting=True),
    "it happened, once": Failing(happens=True, lasting=False),
    "it happened, lasting": Failing(happens=True, lasting=True),
}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def undisturbed(name: str, disk: Disk) -> tuple[Any, str, int]:
    """Return the state and the output of a loop, and with how many calls of the disk it did."""
    disk.calls.clear()
    state = Person(name, disk).finish(looping(name)).state
    return state, Path("out.txt").read_text(), len(disk.calls)


def in_new_directory(path: Path) -> None:
    path.mkdir()
    os.chdir(path)


@pytest.mark.parametrize("failing", FAILINGS)
@pytest.mark.parametrize("name", LOOPS)
def test_whichever_call_fails_the_loop_ends_as_if_none_had(
    name: str, failing: str, disk: Disk, tmp_path: Path, count: Callable[[str, int], None]
) -> None:
    """Every ninth call; which ones, the seed of the tests decides."""
    state, text, calls = undisturbed(name, disk)
    numbers = range(1 + random.randrange(STRIDE), calls + 1, STRIDE)
    for number in numbers:
        in_new_directory(tmp_path / str(number))
        disk.calls.clear()
        FAILINGS[failing].begin(disk, number)
        run = Person(name, disk).finish(looping(name))
        assert run.state == state, number
        assert Path("out.txt").read_text() == text, number
        disk.heal()
        assert looping(name).load() == state
        assert looping(name)().state == state
    count("disk calls failed", len(numbers))
