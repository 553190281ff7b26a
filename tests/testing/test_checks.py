"""`trax.testing`: loops that are not exact are found, and told why; those that are pass."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax
from trax.testing import Checked, check_power_cut, check_resume

Steps = Generator[Any, Any, Any]
KEPT: list[int] = []


def append(state: list[Any], increment: Any) -> list[Any]:
    state.append(increment)
    return state


@pytest.fixture(autouse=True)
def keep_here(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What a failure keeps belongs to the test."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("kept")))


# -- loops that are exact ------------------------------------------------------------------


class Walker:
    """A state with a generator of its own."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = np.random.default_rng(seed)
        self.path = np.zeros((1, 2))

    def advance(self, step: np.ndarray) -> Walker:
        self.path = np.append(self.path, [self.path[-1] + step + self.rng.normal(size=2)], axis=0)
        return self


class Model:
    """What a loop changes in place."""

    def __init__(self) -> None:
        self.weights = np.zeros(5)
        self.rng = random.Random(3)

    @trax.resumable(create=int, every_steps=2)
    def method(self, n: int, below: int) -> Steps:
        while n < below:
            n = yield n + self.rng.choice((1, 2))


@trax.resumable(create=int)
def replaces(n: int, below: int) -> Steps:
    while n < below:
        n = yield n + 1


@trax.resumable(create=list, replay_log=append, every_steps=3)
def folds(state: list[Any], steps: int) -> Steps:
    for i in trax.steps(steps):
        yield {"number": i, "drawn": (random.gauss(0, 1), np.random.normal())}


@trax.resumable(create=Walker, replay_log=Walker.advance, every_steps=2)
def walks(state: Walker, steps: int, rng: np.random.Generator) -> Steps:
    for _ in trax.steps(steps):
        yield rng.integers(-3, 4, size=2)


@trax.resumable(create=Model, replay_log=None, every_steps=2)
def trains(model: Model, steps: int) -> Steps:
    for _ in trax.steps(steps):
        model.weights += model.rng.random()
        yield float(model.weights.sum())


@trax.resumable(create=int, every_steps=2, keep=1)
def writes(n: int, below: int, mode: str) -> Steps:
    is_binary = mode.endswith("b")
    with trax.open("out", mode) as file:
        while n < below:
            file.write(struct.pack("<Q", n) if is_binary else f"{n}: {random.random()}\n")
            n = yield n + 1
    return "the end"


@trax.resumable(create=lambda start: start, name="keys {start}")
def keys(n: int, start: int, below: int) -> Steps:
    while n < below:
        n = yield n + int(trax.step().key[0], 16) % 3


@trax.resumable(create=list, replay_log=append, every_steps=2)
async def awaits(state: list[Any], steps: int) -> AsyncIterator[Any]:
    with trax.open("out") as file:
        for i in trax.steps(steps):
            file.write(f"{i}\n")
            yield random.random()


@trax.resumable(create=dict, check=False)
def never(state: dict[str, int]) -> Steps:
    yield from ()
    return state


EXACT: dict[str, Callable[[], Any]] = {
    "replaced": lambda: replaces(below=4),
    "folded": lambda: folds(steps=5),
    "with generators": lambda: walks(steps=5, rng=np.random.default_rng(5)),
    "trained": lambda: trains(steps=5),
    "text": lambda: writes(below=5, mode="w"),
    "appended": lambda: writes(below=5, mode="a"),
    "binary": lambda: writes(below=5, mode="wb"),
    "method": lambda: Model().method(below=6),
    "named": lambda: keys(start=1, below=3),
    "async": lambda: awaits(steps=5),
    "empty": never,
}


@pytest.mark.parametrize("loop", EXACT)
def test_a_loop_that_is_exact_passes(loop: str, count: Callable[[str, int], None]) -> None:
    """Killed and closed at any step, and without power at any operation."""
    resumed = check_resume(EXACT[loop](), limit=12)
    assert resumed.crashes > resumed.steps
    cut = check_power_cut(EXACT[loop](), limit=12)
    assert cut.crashes >= 10
    assert cut.steps == resumed.steps
    count("kills survived", resumed.crashes)
    count("crash images recovered", cut.crashes)


def test_an_example_of_the_documents_is_exact_as_it_stands() -> None:
    """The one whose steps are cheap."""
    path = Path(__file__).parents[2] / "examples" / "output_file.py"
    found: dict[str, Any] = {"__name__": "output_file"}
    exec(compile(path.read_text(), str(path), "exec"), found)
    assert check_resume(found["walk"](walks=3), limit=5).steps == 3
    assert check_power_cut(found["walk"](walks=3), limit=5).steps == 3


def test_the_first_loop_of_a_process_is_not_disturbed_by_what_it_makes_numpy_import() -> None:
    """The global generator of NumPy is there only once somebody has asked for it."""
    script = """
import numpy as np
import trax
from trax.testing import check_resume

@trax.resumable(create=float)
def draws(x, steps):
    for _ in trax.steps(steps):
        yield np.random.normal()

check_resume(draws(steps=3), limit=3)
"""
    run_script(script)


# -- loops that are not --------------------------------------------------------------------


@trax.resumable(create=list, replay_log=append, check=False)
def changes_what_it_yielded(state: list[Any], steps: int) -> Steps:
    buffer = [0]
    for _ in range(len(state), steps):
        buffer[0] = len(state) + 1
        state = yield buffer


@trax.resumable(create=list, replay_log=append, check=False)
def changes_the_state(state: list[Any], steps: int) -> Steps:
    for i in trax.steps(steps):
        state.append(f"extra {i}")
        state = yield i


@trax.resumable(create=int, check=False)
def keeps_a_variable(n: int, below: int) -> Steps:
    stride = 0
    while n < below:
        stride += 1
        n = yield n + stride


@trax.resumable(create=int, replay_log=lambda n, drawn: n + drawn, check=False)
def keeps_a_generator(n: int, steps: int) -> Steps:
    rng = random.Random(7)
    for _ in trax.steps(steps):
        yield rng.randrange(1000)


@trax.resumable(create=int, check=False)
def looks_at_the_clock(n: int, below: int) -> Steps:
    while n < below:
        n = yield n + 1 + time.perf_counter_ns() % 2**20 / 2**40


class Forgetful:
    """Leaves something out of its pickle that matters."""

    def __init__(self) -> None:
        self.total = 0
        self.speed = 0

    def __getstate__(self) -> dict[str, int]:
        return {"total": self.total, "speed": 0}

    def advance(self, increment: int) -> Forgetful:
        self.speed += 1
        self.total += increment * self.speed
        return self


@trax.resumable(create=Forgetful, replay_log=Forgetful.advance)
def leaves_out(state: Forgetful, steps: int) -> Steps:
    for i in trax.steps(steps):
        yield 1 + i


_calls = itertools.count()


@trax.resumable(create=list, replay_log=lambda state, i: [*state, (i, next(_calls) % 2)])
def folds_with_a_global(state: list[Any], steps: int) -> Steps:
    for i in trax.steps(steps):
        yield i


@trax.resumable(create=int, check=False)
def writes_by_itself(n: int, below: int) -> Steps:
    with open("log.txt", "a") as file:
        while n < below:
            print(n, file=file, flush=True)
            n = yield n + 1


@trax.resumable(create=int, check=False)
def writes_too_late(n: int, below: int) -> Steps:
    with trax.open("out.txt") as file:
        while n < below:
            n = yield n + 1
            print(n, file=file)


@trax.resumable(create=int, rng=None)
def draws_unfollowed(n: int, below: int) -> Steps:
    while n < below:
        n = yield n + 1 + random.random()


@trax.resumable(create=int, check=False)
def starts_over(n: int, steps: int) -> Steps:
    for i in range(steps):
        yield i


class Agent:
    count = 0

    def __init__(self) -> None:
        Agent.count += 1
        self.number = Agent.count


@trax.resumable(create=list, replay_log=append)
def counts_on_a_class(state: list[int], steps: int) -> Steps:
    for _ in trax.steps(steps):
        yield Agent().number


seen: set[int] = set()


@trax.resumable(create=list, replay_log=append)
def fills_a_module(state: list[int], steps: int) -> Steps:
    for i in trax.steps(steps):
        seen.add(i)
        yield len(seen)


NOTHING = {"nameless": object()}


@trax.resumable(create=lambda: [NOTHING["nameless"]], replay_log=append)
def compares_by_identity(state: list[Any], steps: int) -> Iterator[bool]:
    for _ in trax.steps(steps):
        yield state[0] is NOTHING["nameless"]


HERE = re.escape(__file__)

INEXACT: dict[str, tuple[Callable[[], Any], str]] = {
    "counts on a class": (
        lambda: counts_on_a_class(steps=4),
        r"after step 1 .*in a new process\.\nincrement 2: live \d+, resumed \d+\n.*or a class;",
    ),
    "fills a module": (
        lambda: fills_a_module(steps=4),
        r"in a new process\.\nincrement 2: live 2, resumed 1\n.*a variable of a module",
    ),
    "compares by identity": (
        lambda: compares_by_identity(steps=4),
        r"in a new process\.\nincrement 2: live True, resumed False\n.*compared by `is`",
    ),
    "changes what it yielded": (
        lambda: changes_what_it_yielded(steps=4),
        rf"the state at step 2\[0\]\[0\]: live 2, resumed 1\nLikely cause: {HERE}:\d+: 'buffer' is",
    ),
    "changes the state": (
        lambda: changes_the_state(steps=4),
        rf"the state at step 3.*\nLikely cause: {HERE}:\d+: 'state' is changed in the loop",
    ),
    "keeps a variable": (
        lambda: keeps_a_variable(below=9),
        rf"killed after step 1 .*\nincrement 2: live 3, resumed 2\nLikely cause: {HERE}:\d+: 'str",
    ),
    "keeps a generator": (
        lambda: keeps_a_generator(steps=4),
        rf"increment 2: .*\nLikely cause: {HERE}:\d+: 'rng' draws.*\n(.*\n)*trax warned: .*e rng",
    ),
    "looks at the clock": (
        lambda: looks_at_the_clock(below=4),
        r"run a second time, uninterrupted.*\nincrement 1: live .*\n.*the time",
    ),
    "leaves out": (
        lambda: leaves_out(steps=4),
        r"after step 1 .*\nthe state at step 2.total: live 5, resumed 3\n.*getstate",
    ),
    "folds with a global": (lambda: folds_with_a_global(steps=3), r"the state at step \d"),
    "writes by itself": (
        lambda: writes_by_itself(below=3),
        r"the file log.txt at byte \d.*\n.*trax.open\(\)",
    ),
    "writes too late": (
        lambda: writes_too_late(below=3),
        r"killed after step 1 .*\nthe file out.txt at byte 0.*\n.*\n.*before the yield",
    ),
    "draws unfollowed": (lambda: draws_unfollowed(below=9), r"increment \d"),
    "starts over": (
        lambda: starts_over(steps=3),
        r"killed after step 1 .*\nincrement 2: live 1, resumed 0",
    ),
}


@pytest.mark.parametrize("loop", INEXACT)
def test_a_loop_that_is_not_exact_is_found_and_told_why(loop: str) -> None:
    """Where it was broken off, what differs first, what to look at, how to see it again."""
    make, message = INEXACT[loop]
    with pytest.raises(AssertionError, match=message) as caught:
        check_resume(make())
    assert "does not resume exactly" in str(caught.value)
    assert str(caught.value).endswith("To repeat this, give seed=0.")


# -- what the checks leave alone -----------------------------------------------------------


def test_a_sample_is_drawn_with_a_seed() -> None:
    """As many as `limit` says, each time the same."""
    assert check_resume(folds(steps=9), limit=4).crashes <= 12
    one, two = (check_power_cut(folds(steps=9), limit=9, seed=seed) for seed in (1, 1))
    assert isinstance(one, Checked)
    assert one == two
    assert check_resume(folds(steps=2), limit=None).crashes > 20


def test_a_call_that_has_begun_cannot_be_checked() -> None:
    """Its run would be disturbed."""
    with replaces(below=3) as run:
        next(run)
        with pytest.raises(trax.UsageError, match="has begun"):
            check_resume(run)


@pytest.mark.parametrize("given", [replaces, len, 3])
def test_what_is_no_call_of_a_decorated_function_is_refused(given: Any) -> None:
    """Somebody who forgets to call it is told what to give."""
    for check in (check_resume, check_power_cut):
        with pytest.raises(trax.UsageError, match=r"such as walk\(steps=10\)"):
            check(given)


@pytest.mark.parametrize("number", [0, -1, "3"])
def test_a_number_that_would_try_nothing_is_refused(number: Any) -> None:
    """A check of nothing passes, and says nothing."""
    for check in (check_resume, check_power_cut):
        with pytest.raises(trax.UsageError, match="limit must be"):
            check(replaces(below=3), limit=number)
    with pytest.raises(trax.UsageError, match="steps must be"):
        check_resume(replaces(below=3), steps=number)


def test_one_pattern_to_ignore_is_not_taken_for_its_letters() -> None:
    """The asterisk in it would ignore every file."""
    with pytest.raises(AssertionError, match="the file"):
        check_resume(writes_by_itself(below=3), limit=5, ignore="*.log")
    check_resume(writes_by_itself(below=3), limit=5, ignore="*.txt")


def test_checks_in_several_threads_take_turns() -> None:
    """Each changes the current directory of the process, and more."""
    here = Path.cwd()
    with ThreadPoolExecutor(3) as pool:
        found = [*pool.map(lambda n: check_resume(folds(steps=n), limit=3).steps, (2, 3, 4))]
    assert found == [2, 3, 4]
    assert Path.cwd() == here


def test_a_plain_loop_is_told_causes_that_it_can_have() -> None:
    """Its local variables are the state, and its body does not begin anew."""

    @trax.resumable(every_steps=2)
    def outside(n: int) -> Iterator[int]:
        for _ in range(n):
            KEPT.append(1)
            yield len(KEPT) % 100

    @trax.resumable
    def untracked(n: int) -> Iterator[int]:
        for i in range(n):
            with open("out.txt", "a") as file:
                file.write(f"{i}\n")
            yield i

    for loop, cause in (
        (outside, "'KEPT' is outside of the loop's variables"),
        (untracked, r"with trax\.open\(\)"),
    ):
        with pytest.raises(AssertionError, match=cause) as caught:
            check_resume(loop(4))
        assert "kept from one step" not in str(caught.value)
        assert "before the yield" not in str(caught.value)


def test_a_plain_loop_is_exact_wherever_it_is_killed() -> None:
    """With arguments that it changes, output, random numbers, and generators inside."""

    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    @trax.resumable(every_steps=3)
    def loop(n: int, rows: list[float], weights: Any) -> Generator[Any, None, list[float]]:
        rng = np.random.default_rng(1)
        with trax.open("out.txt") as out:
            for i in range(n):
                for j in numbers(2):
                    weights += rng.random()
                    rows.append(random.random())
                    print(i, j, file=out)
                    yield i, j, float(weights.sum())
        return rows

    assert check_resume(loop(3, [], np.zeros(2)), limit=40).crashes
    assert check_power_cut(loop(3, [], np.zeros(2)), limit=30).crashes


# -- loops that are broken off for good ----------------------------------------------------


@trax.resumable(create=int, replay_log=lambda n, drawn: n + drawn)
def endless(n: int) -> Steps:
    with trax.open("out.txt") as file:
        while True:
            drawn = random.randrange(1000)
            print(n, drawn, file=file)
            n = yield drawn


@trax.resumable(create=Model, replay_log=None)
def trains_on(model: Model) -> Steps:
    while True:
        model.weights += model.rng.random()
        yield float(model.weights.sum())


@trax.resumable
def endless_plain() -> Iterator[int]:
    begun, total = time.time(), 0
    with trax.open("out.txt") as file:
        for i in itertools.count():
            total += random.randrange(1000)
            print(total, file=file)
            yield i
    print(begun)


@trax.resumable
async def endless_async(start: int) -> AsyncIterator[float]:
    for i in itertools.count(start):
        yield i + random.random()


ENDLESS: dict[str, Callable[[], Any]] = {
    "folded": endless,
    "trained": trains_on,
    "plain": endless_plain,
    "async": lambda: endless_async(3),
}


@pytest.mark.parametrize("loop", ENDLESS)
def test_a_loop_without_an_end_is_checked_for_so_many_steps(loop: str) -> None:
    """A variable that differs from run to run, such as the time, need not be the same."""
    checked = check_resume(ENDLESS[loop](), steps=6, limit=8)
    assert checked.steps == 6
    assert checked.crashes >= 20


def test_a_loop_that_ends_before_is_compared_to_its_end() -> None:
    """As it is without a number of steps."""
    assert check_resume(writes(below=4, mode="w"), steps=9, limit=5).steps == 4
    assert check_resume(writes(below=9, mode="w"), steps=4, limit=5).steps == 4


total_outside = [0]


@trax.resumable
def hides_a_difference() -> Iterator[int]:
    total = 0
    for i in itertools.count():
        total_outside[0] += 1
        total += total_outside[0]
        yield i
    print(total)


@trax.resumable(create=int, check=False)
def writes_endlessly(n: int) -> Steps:
    with open("log.txt", "a") as file:
        while True:
            print(n, file=file, flush=True)
            n = yield n + 1


@trax.resumable(create=int, rng=None)
def counts_when_resumed(n: int) -> Steps:
    if n:
        total_outside[0] += 1
    while True:
        n = yield n + 1 + total_outside[0] % 7


@pytest.mark.parametrize(
    ("loop", "message"),
    [
        (hides_a_difference, r"in a new process\.\nthe variable 'total' at the end: live "),
        (writes_endlessly, r"the file log.txt at byte"),
        (counts_when_resumed, r"increment 2: .*\n(.*\n)*The step ends at .*test_checks.py:\d+"),
    ],
)
def test_a_loop_without_an_end_is_found_to_differ(loop: Any, message: str) -> None:
    """By increments, by files, and by variables that no increment shows."""
    with pytest.raises(AssertionError, match=message):
        check_resume(loop(), steps=5, limit=8)


def test_an_async_loop_is_not_checked_inside_of_an_event_loop() -> None:
    """No other loop can run in that thread; the way is one that works."""

    async def main() -> None:
        with pytest.raises(trax.UsageError, match=r"asyncio\.to_thread"):
            check_resume(awaits(steps=2))
        assert (await asyncio.to_thread(awaits.check, steps=2)).steps == 2

    asyncio.run(main())
