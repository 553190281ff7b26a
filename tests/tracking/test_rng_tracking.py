"""A resumed run draws what the uninterrupted one would have drawn."""

from __future__ import annotations

import copy
import dataclasses
import errno
import os
import random
import shutil
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax
from trax.storage.process import process

variable = np.random.default_rng(20)


def seed() -> None:
    """Do what stands at the top of a script."""
    global variable  # noqa: PLW0603  # as a script would
    random.seed(1)
    np.random.seed(2)
    variable = np.random.default_rng(3)


class State:
    """Numbers that were drawn, and generators to draw from."""

    def __init__(self) -> None:
        self.numbers: list[float] = []
        self.new = np.random.default_rng(4)
        self.old = random.Random(5)


def add(state: State, number: float) -> State:
    state.numbers.append(number)
    return state


def add_and_draw(state: State, number: float) -> State:
    """Draw now and then from the state's own generators: they are part of the state."""
    if len(state.numbers) % 3 == 0:
        number += state.new.random() + state.old.gauss(0, 1)
    return add(state, number)


def replace(state: State, number: float) -> State:
    """Make a new state with the same generators."""
    new = State()
    new.numbers, new.new, new.old = [*state.numbers, number], state.new, state.old
    return new


def globally() -> float:
    return random.gauss(0, 1) + random.random() + float(np.random.standard_normal())


def everywhere(state: State) -> float:
    """Draw from everything, unevenly, and now and then a whole block of words."""
    count = len(state.numbers)
    number = globally() + variable.random() + state.new.random()
    if count % 2:
        number += state.old.gauss(0, 1) + float(state.new.integers(9, dtype=np.int32))
    if count % 4 == 3:
        number += sum(random.random() for _ in range(312)) + float(np.random.random(700).sum())
    return number


STEPS = 12
Loop = Any


def whole_and_resumed(loop: Loop, stops: list[int], **arguments: Any) -> tuple[Any, Any]:
    """Return what a run gives, and what it gives when it is broken off at every one of `stops`."""

    def outcome(run: Any) -> Any:
        state = run.result()
        numbers = getattr(state, "numbers", state)
        return list(numbers), globally(), variable.random()

    seed()
    whole = outcome(loop.fresh(**arguments))
    seed()
    loop.fresh(**arguments).close()
    for number, stop in enumerate(stops):
        seed()
        with (loop.fresh if number == 0 else loop)(**arguments) as run:
            while run.step < stop:
                next(run)
    seed()
    return whole, outcome(loop(**arguments))


@pytest.mark.parametrize("stops", [[n] for n in range(1, STEPS + 1)] + [[1, 2, 7, 8, 12]])
@pytest.mark.parametrize("every", [4, 100])
@pytest.mark.parametrize("fold", [add, add_and_draw, replace])
def test_what_is_folded_goes_on_with_the_same_numbers(
    fold: Any, every: int, stops: list[int]
) -> None:
    """After steps that were replayed, too, and where folding draws from the state's generators."""

    @trax.resumable(create=State, replay_log=fold, every_steps=every)
    def loop(state: State) -> Generator[float, Any, None]:
        while len(state.numbers) < STEPS:
            state = yield everywhere(state)

    whole, resumed = whole_and_resumed(loop, stops)
    assert resumed == whole


@pytest.mark.parametrize("stops", [[1], [5], [6], [12], [1, 2, 7, 8]])
def test_a_state_that_is_its_own_increment_goes_on_with_the_same_numbers(stops: list[int]) -> None:
    """Its generators are stored with it."""

    @trax.resumable(create=State, every_steps=4)
    def loop(state: State) -> Generator[State, State, None]:
        while len(state.numbers) < STEPS:
            state = yield replace(state, everywhere(state))

    whole, resumed = whole_and_resumed(loop, stops)
    assert resumed == whole


@pytest.mark.parametrize("stops", [[4], [8], [12], [4, 8]])
def test_a_state_that_is_changed_in_place_goes_on_with_the_same_numbers(stops: list[int]) -> None:
    """From its newest checkpoint, which has everything."""

    @trax.resumable(create=State, replay_log=None, every_steps=4)
    def loop(state: State) -> Iterator[int]:
        while len(state.numbers) < STEPS:
            yield len(add(state, everywhere(state)).numbers)

    whole, resumed = whole_and_resumed(loop, stops)
    assert resumed == whole


def test_a_generator_that_was_drawn_from_is_still_the_same_argument() -> None:
    """In a notebook the same object is passed again; one that was made otherwise is another."""

    @trax.resumable(create=list, replay_log=lambda got, x: [*got, x])
    def loop(numbers: list[float], rng: Any) -> Generator[float, list[float], None]:
        while len(numbers) < STEPS:
            numbers = yield rng.random()

    expected = np.random.default_rng(1).random(STEPS).tolist()
    rng = np.random.default_rng(1)
    with loop(rng) as run:
        next(run)
        rng.random()
    with pytest.raises(trax.ArgumentsChangedError):
        loop(np.random.default_rng(2)).result()
    assert loop(rng).result() == expected


DONE = """
import random, sys
import numpy as np
import trax

random.seed(int(sys.argv[1]))
np.random.seed(int(sys.argv[2]))

@trax.resumable(create=int)
def loop(n):
    while n < 3:
        random.random()
        n = yield n + 1

loop().result()
print(random.random(), np.random.random())
loop().result()
print(random.random())
"""


def test_a_run_that_is_done_leaves_the_generators_as_it_did() -> None:
    """What the script draws behind it is the same; what it never drew from is left alone.

    Called again in the same process, it sets nothing back.
    """
    first = run_script(DONE, "1", "5").stdout
    assert run_script(DONE, "2", "5").stdout == first
    assert run_script(DONE, "1", "6").stdout.split()[1] != first.split()[1]


def test_with_rng_none_random_numbers_are_left_alone() -> None:
    """They neither go on nor are touched."""

    @trax.resumable(create=list, replay_log=lambda got, x: [*got, x], rng=None)
    def loop(numbers: list[float]) -> Generator[float, list[float], None]:
        while len(numbers) < 4:
            numbers = yield random.random()

    random.seed(1)
    expected = [random.random() for _ in range(2)]
    random.seed(1)
    with loop() as run:
        next(run), next(run)
    random.seed(1)
    assert loop().result() == expected * 2


def test_a_replay_log_that_draws_from_a_global_generator_is_refused() -> None:
    """At the first step: in a recovery it would draw other numbers."""

    @trax.resumable(create=list, replay_log=lambda got, x: [*got, x + random.random()])
    def loop(numbers: list[float]) -> Generator[float, list[float], None]:
        while len(numbers) < 4:
            numbers = yield 1.0

    with pytest.raises(trax.UsageError, match="replay_log drew random numbers from random:"):
        loop().result()


def test_a_generator_kept_in_a_local_variable_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A resumed loop would make it anew; one made for each step, or of the state, is well."""

    def told(body: Callable[[State], Iterator[Any]], **options: Any) -> bool:
        caplog.clear()
        trax.resumable(create=State, name="told", check=False, **options)(body).fresh().result()
        return "an RNG that it has made and that is not stored, local variable mine:" in caplog.text

    def kept(state: State) -> Generator[float, State, None]:
        mine = np.random.default_rng(1)
        for _ in trax.steps(3):
            yield mine.random()

    def made(state: State) -> Generator[float, State, None]:
        for step in trax.steps(3):
            mine = np.random.default_rng([1, step])
            yield mine.random()

    def named(state: State) -> Generator[float, State, None]:
        mine = state.new
        for _ in trax.steps(3):
            state = yield mine.random()

    def own(state: State) -> Iterator[None]:
        mine = state.new
        for _ in trax.steps(3):
            add(state, mine.random())
            yield

    assert told(kept, replay_log=add)
    assert not told(made, replay_log=add)
    assert not told(named, replay_log=add)
    assert not told(own, replay_log=None)
    assert not told(kept, replay_log=add, rng=None)


def test_an_older_checkpoint_that_stands_in_gives_the_same_numbers(store_here: Path) -> None:
    """The generators go through both logs."""

    @trax.resumable(create=State, replay_log=add_and_draw, every_steps=4)
    def loop(state: State) -> Generator[float, Any, None]:
        while len(state.numbers) < STEPS:
            state = yield everywhere(state)

    seed()
    whole = loop().result().numbers
    seed()
    with loop.fresh() as run:
        while run.step < 10:
            next(run)
    newest = max((store_here / "runs" / "loop").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    seed()
    assert loop().result().numbers == whole


def test_a_failed_sync_does_not_lose_a_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint takes the increment's place, and stands where that does."""

    @trax.resumable(create=State, replay_log=add_and_draw, every_steps=1000)
    def loop(state: State) -> Generator[float, Any, None]:
        while len(state.numbers) < STEPS:
            state = yield everywhere(state)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    seed()
    whole = loop().result().numbers
    for more in (0, 1):
        seed()
        run = loop.fresh()
        while run.step < 5:
            next(run)
        with monkeypatch.context() as patch:
            patch.setattr(process, "force", fail)
            run._lifecycle.session._writer.sync()
        next(run)
        for _ in range(more):
            next(run)
        seen = run.step
        del run
        seed()
        again = loop()
        assert again.step == seen == 6 + more
        assert again.result().numbers == whole


def test_a_checkpoint_by_hand_does_not_hide_the_generators_of_its_state() -> None:
    """They are found when the run is resumed."""

    @trax.resumable(create=State, replay_log=add, every_steps=1000)
    def loop(state: State) -> Generator[float, Any, None]:
        while len(state.numbers) < 8:
            state = yield state.new.random()

    whole = loop().result().numbers
    with loop.fresh() as run:
        next(run)
        state = run.state
    with trax.Trax() as store:
        store.checkpoint(loop=state)
    with loop() as run:
        next(run)
        next(run)
    assert loop().result().numbers == whole


def test_a_migration_that_copies_a_generator_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """What was drawn since the checkpoint was drawn from another one."""

    def body(state: State) -> Generator[float, Any, None]:
        while len(state.numbers) < 8:
            state = yield state.new.random()

    def loop(**options: Any) -> Any:
        return trax.resumable(
            create=State, replay_log=add, every_steps=1000, name="migrated", **options
        )(body)

    for is_copied in (True, False):
        with loop().fresh() as run:
            next(run)
            next(run)
        caplog.clear()
        migrate = (lambda state, _: copy.deepcopy(state)) if is_copied else lambda state, _: state
        loop(version=2, migrate=migrate)().result()
        assert ("migrate has replaced an RNG" in caplog.text) == is_copied


def test_a_generator_that_replay_log_adds_to_the_state_is_followed_from_the_next_step_on() -> None:
    """It is noticed in the first step and at every checkpoint."""

    @dataclasses.dataclass
    class Walkers:
        numbers: list[float]
        walkers: list[Any]

    def advance(state: Walkers, number: float) -> Walkers:
        state.numbers.append(number)
        if len(state.numbers) in (1, 4):
            state.walkers.append(np.random.default_rng(len(state.numbers)))
        return state

    @trax.resumable(create=lambda: Walkers([], []), replay_log=advance, every_steps=4)
    def loop(state: Walkers) -> Generator[float, Any, None]:
        while len(state.numbers) < STEPS:
            state = yield sum(walker.random() for walker in state.walkers)

    for stop in range(1, STEPS):
        whole, resumed = whole_and_resumed(loop, [stop])
        assert resumed == whole


SPAWN = """
import os, sys
import numpy as np
import trax


class State:
    def __init__(self):
        self.numbers = []
        self.rng = np.random.default_rng(2)


def add(state, x):
    state.numbers.append(x)
    return state


@trax.resumable(create=State, replay_log=add, every_steps=3)
def loop(state, rng):
    while len(state.numbers) < 8:
        if len(state.numbers) == int(sys.argv[1]):
            os.kill(os.getpid(), 9)
        (one,), (two,) = rng.spawn(1), state.rng.spawn(1)
        state = yield one.random() + two.random()


print(loop(np.random.default_rng(1)).result().numbers)
"""


def test_a_generator_that_spawns_others_goes_on_with_the_next() -> None:
    """Its children are numbered, and none is made twice."""
    whole = run_script(SPAWN, "-1").stdout
    assert len(set(whole.split())) == 8
    for stop in ("1", "3", "7"):
        shutil.rmtree(".trax")
        assert run_script(SPAWN, stop, check=False).returncode == -signal.SIGKILL
        assert run_script(SPAWN, "-1").stdout == whole


def test_what_was_drawn_while_random_numbers_were_left_alone_is_not_drawn_again() -> None:
    """RngTracking from before that are forgotten."""

    def loop(rng: Any) -> Any:
        @trax.resumable(create=list, replay_log=lambda got, x: [*got, x], rng=rng, name="loop")
        def body(numbers: list[float]) -> Generator[float, list[float], None]:
            while len(numbers) < 6:
                numbers = yield random.random()

        return body()

    random.seed(1)
    expected = [random.random() for _ in range(6)]
    random.seed(1)
    for rng, step in (((), 2), (None, 4)):
        with loop(rng) as run:
            while run.step < step:
                next(run)
    assert loop(()).result() == expected


def test_a_replay_log_that_draws_later_is_said_at_the_recovery(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the first step it did not."""

    def fold(numbers: list[float], x: float) -> list[float]:
        return [*numbers, x + random.random() if len(numbers) == 2 else x]

    @trax.resumable(create=list, replay_log=fold)
    def loop(numbers: list[float]) -> Generator[float, list[float], None]:
        while len(numbers) < 5:
            numbers = yield 1.0

    with loop() as run:
        while run.step < 4:
            next(run)
    loop().result()
    assert "replay_log drew random numbers from random, and they differ" in caplog.text


def test_runs_that_take_turns_with_one_generator_are_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When one of them is resumed and sets it back; alone, none is."""

    def loop(name: str) -> Any:
        @trax.resumable(create=list, replay_log=lambda got, x: [*got, x], name=name)
        def body(numbers: list[float]) -> Generator[float, list[float], None]:
            while len(numbers) < 6:
                numbers = yield random.random()

        return body()

    for name in ("one", "two"):
        with loop(name) as run:
            next(run)
    with loop("two") as run:
        next(run)
    assert "the open run one" not in caplog.text
    with loop("one") as one:
        next(one)
        with loop("two") as two:
            next(two)
    told = [line for line in caplog.messages if line.startswith("two restored random: Random")]
    assert any("one" in line for line in told)


def test_a_step_that_waits_for_another_run_shares_its_generator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """When both are resumed, they draw as before, and nothing is said; only if it is another step.

    It might then set back what the steps before have drawn.
    """
    failing = {1}

    @trax.resumable(name="stage-{number}")
    def stage(number: int) -> Iterator[float]:
        for i in range(3):
            if i == 2 and number in failing:
                raise ValueError(number)
            yield random.random()

    @trax.resumable
    def outer(numbers: list[int]) -> Generator[float, None, list[float]]:
        drawn = []
        for number in numbers:
            drawn += [random.random(), stage(number).result(), random.random()]
            yield drawn[-1]
        return drawn

    random.seed(5)
    whole = outer.fresh([10, 11, 12]).result()
    random.seed(5)
    with pytest.raises(ValueError, match="1"):
        outer.fresh([0, 1, 2]).result()
    failing.clear()
    assert outer([0, 1, 2]).result() == whole
    assert "neither run is reproducible" not in caplog.text

    with stage(20) as run:
        next(run)
    outer.fresh([21, 20]).result()
    assert "stage-20 restored random: Random, but the open run outer" in caplog.text


@pytest.mark.parametrize("library", [random, np.random])
def test_a_step_that_ends_with_a_seed_continues_from_it(library: Any) -> None:
    """Also where the step before had ended with another one."""

    @trax.resumable(create=list, replay_log=lambda state, number: [*state, number])
    def loop(state: list[float]) -> Generator[float, list[float], None]:
        while len(state) < 6:
            number = library.random()
            library.seed(100 + len(state))
            state = yield number

    whole, resumed = whole_and_resumed(loop, [1, 3, 4])
    assert resumed == whole


def test_a_random_state_is_stored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bit generator is not stored beside it, but a run that has stored that is resumed."""

    def draw(rng: np.random.RandomState, number: float) -> np.random.RandomState:
        return rng

    @trax.resumable(create=lambda: np.random.RandomState(1), replay_log=draw, name="old")
    def loop(rng: np.random.RandomState) -> Iterator[float]:
        while True:
            yield float(rng.standard_normal())

    with monkeypatch.context() as patch:
        patch.setattr("trax.tracking.rng_discovery.bits_of", lambda rng: None)
        with loop() as before:
            for _ in range(3):
                next(before)
            assert len(before._lifecycle.session._tracking.inner) == 2
    rng = np.random.RandomState(1)
    rng.standard_normal(3)
    expected = list(map(float, rng.standard_normal(3)))
    run = loop()
    assert [next(run), next(run)] == expected[:2]
    run._lifecycle.session.checkpoint()
    assert next(run) == expected[2]
    assert len(run._lifecycle.session._tracking.inner) == 1
    run.close()
    state: Any = trax.load("old")
    assert state.standard_normal() == rng.standard_normal()


# -- changes that look small ---------------------------------------------------------------

CHANGES = """
import os, random, sys
import numpy as np
import trax

case, stop = sys.argv[1], int(sys.argv[2])
python, twister = random.Random(1), np.random.RandomState(2)
python.gauss(0, 1), twister.standard_normal()
python_saved, twister_saved = python.getstate(), twister.get_state()
new = np.random.default_rng(3)
half = np.random.default_rng(3)
half.integers(9, dtype=np.uint32)
half_saved = half.bit_generator.state
stream = {**half_saved, "has_uint32": 0, "uinteger": 0}
stream = {**stream, "state": {**stream["state"], "inc": stream["state"]["inc"] + 2}}
unsaved = {**half_saved, "has_uint32": 0, "uinteger": 0}


def replace_bits(step, kind):
    if step % 4 == 2:
        np.random.set_bit_generator(kind(step))
    return np.random.random() + np.random.standard_normal() if step % 4 else 0


def change(step):
    draws = step % 3 != 1
    if case == "saved normal of random":
        if step % 3 < 2:
            random.setstate(python_saved)
        return random.gauss(0, 1) if draws else 0
    if case == "saved normal of numpy.random":
        if step % 3 < 2:
            np.random.set_state(twister_saved)
        return np.random.standard_normal() if draws else 0
    if case == "advance":
        return new.random() if draws else new.bit_generator.advance(1 << 64) and 0
    if case == "saved half":
        if step % 3 < 2:
            half.bit_generator.state = half_saved
        return int(half.integers(1 << 31, dtype=np.uint32)) if draws else 0
    if case == "stream":
        if step % 3 < 2:
            half.bit_generator.state = stream if step % 3 else unsaved
        return 0 if step % 3 < 2 else half.random()
    if case == "another twister":
        return replace_bits(step, np.random.MT19937)
    if case == "another kind":
        return replace_bits(step, np.random.PCG64)
    if case == "another kind and back":
        return replace_bits(step, np.random.PCG64 if step % 8 == 2 else np.random.MT19937)
    raise ValueError(case)


@trax.resumable(create=list, replay_log="append", every_steps=1000)
def loop(numbers):
    for step in trax.steps(12):
        yield change(step)
        if step == stop:
            os.kill(os.getpid(), 9)


random.seed(4)
np.random.seed(5)
print(loop().result(), random.random(), np.random.random(), new.random(), half.random())
"""


@pytest.mark.parametrize(
    "case",
    [
        "saved normal of random",
        "saved normal of numpy.random",
        "advance",
        "saved half",
        "stream",
        "another twister",
        "another kind",
        "another kind and back",
    ],
)
def test_a_change_of_little_else_than_a_draw_would_change_is_stored(case: str) -> None:
    """Each change is the last thing that a step does to the RNG, and the process dies after it."""
    whole = run_script(CHANGES, case, "-1").stdout
    shutil.rmtree(".trax")
    for stop in ("1", "4", "6", "10"):
        assert run_script(CHANGES, case, stop, check=False).returncode == -signal.SIGKILL
    assert run_script(CHANGES, case, "-1").stdout == whole


# -- libraries that another thread imports -------------------------------------------------

IMPORTING = """
import os, sys, threading
import trax

stop = int(sys.argv[1])
begun, go_on = threading.Event(), threading.Event()


class Waiting:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy.random._generator":
            begun.set()
            go_on.wait()


def import_numpy():
    import numpy.random


@trax.resumable(create=list, replay_log="append", every_steps=2)
def loop(numbers):
    for step in trax.steps(14):
        number = 0.0
        if step == 1:
            sys.meta_path.insert(0, Waiting())
            thread = threading.Thread(target=import_numpy)
            thread.start()
            begun.wait()
        if step == 5:
            go_on.set()
            thread.join()
            sys.modules["numpy"].random.seed(3)
        if step > 6:
            number = sys.modules["numpy"].random.random()
        yield number
        if step == stop:
            os.kill(os.getpid(), 9)


print(loop().result())
"""


def test_a_library_that_another_thread_imports_is_left_alone_until_that_ends() -> None:
    """Half of it would fail, or crash the process; from then on it is tracked."""
    whole = run_script(IMPORTING, "-1").stdout
    for stop in ("8", "11"):
        shutil.rmtree(".trax")
        assert run_script(IMPORTING, stop, check=False).returncode == -signal.SIGKILL
        assert run_script(IMPORTING, "-1").stdout == whole


def test_an_import_that_ends_without_another_module_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number of modules is the same before and after."""

    @trax.resumable(create=list, replay_log="append", every_steps=1)
    def loop(numbers: list[float]) -> Generator[float, None, None]:
        for _ in trax.steps(6):
            yield float(np.random.random())

    def names(run: Any) -> list[str]:
        return [key.name for key in run._lifecycle.session._tracking._tracker.keys]

    np.random.seed(1)
    expected = [float(np.random.random()) for _ in range(6)]
    np.random.seed(1)
    with loop() as run:
        with monkeypatch.context() as patch:
            patch.setattr(np.__spec__, "_initializing", True, raising=False)
            next(run)
            assert not [name for name in names(run) if name.startswith("numpy")]
        next(run)
        assert "numpy.random: MT19937" in names(run)
    np.random.seed(2)
    assert loop().result() == expected


STUB = """
import sys, types
sys.modules["numpy.random"] = types.ModuleType("numpy.random")
sys.modules["numba"] = None
import random
import trax


@trax.resumable(create=list, replay_log="append")
def loop(numbers, rng):
    for _ in trax.steps(3):
        yield rng.random()


print(loop(random.Random(1)).result())
"""


def test_modules_that_only_have_the_name_of_a_library_are_left_alone() -> None:
    """Tools that stand in for a library put such modules there."""
    rng = random.Random(1)
    assert run_script(STUB).stdout == f"{[rng.random() for _ in range(3)]}\n"
