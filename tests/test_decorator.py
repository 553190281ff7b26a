"""The decorator: what it accepts, what it refuses, and what a call of the function does."""

from __future__ import annotations

import inspect
import logging
import pickle
import subprocess
import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import pytest

import trax


@trax.resumable(create=int, every_steps=10)
def count(n: int, to: int) -> Generator[int, int, None]:
    """Count to a number."""
    while n < to:
        n = yield n + 1


def total(state: int, increment: int) -> int:
    """Fold an increment into a sum."""
    return state + increment


@trax.resumable(create=int, replay_log=total)
def add_up(state: int, n: int) -> Iterator[int]:
    """Add up the numbers below n."""
    for i in trax.steps(n):
        yield i


def test_a_call_drives_the_loop_to_its_result() -> None:
    """`result()` is the final state where the generator returns nothing."""
    assert count(to=25).result() == 25


def test_a_for_loop_is_handed_every_increment() -> None:
    """A run is an iterator over the increments."""
    assert list(add_up(n=4)) == [0, 1, 2, 3]


def test_the_return_value_of_the_generator_is_the_result() -> None:
    """A finished run gives its stored return value, and the state stays what it was."""

    @trax.resumable(create=int)
    def loop(n: int) -> Generator[int, int, dict[str, int]]:
        while n < 3:
            n = yield n + 1
        return {"answer": n}

    assert loop().result() == {"answer": 3}
    again = loop()
    assert again.result() == {"answer": 3}
    assert again.state == 3


def test_a_finished_run_runs_nothing_again() -> None:
    """The body of the function is not entered once the result is stored."""
    entered = []

    @trax.resumable(create=int)
    def loop(n: int) -> Iterator[int]:
        entered.append(n)
        yield n + 1

    assert list(loop()) == [1]
    run = loop()
    assert list(run) == []
    assert (run.result(), run.done, run.step, entered) == (1, True, 1, [0])


def test_left_out_create_begins_with_none() -> None:
    """The state is None until the first increment."""

    @trax.resumable
    def loop(state: int | None) -> Generator[int, int, None]:
        assert state is None
        yield 1

    assert loop().result() == 1


def test_replay_log_none_leaves_the_state_to_the_loop() -> None:
    """The object that create made is the loop's own; nothing is logged for its steps."""

    @trax.resumable(create=dict, replay_log=None, every_steps=100)
    def train(model: dict[str, int], epochs: int) -> Iterator[str]:
        for epoch in trax.steps(epochs):
            model["epoch"] = epoch
            yield "object that cannot be pickled is only reported"

    with train(epochs=9) as run:
        for _ in range(5):
            next(run)
        assert run.state == {"epoch": 4}
    again = train(epochs=9)
    assert (again.resumed_at, again.state) == (5, {"epoch": 4})
    assert again.result() == {"epoch": 8}


@pytest.mark.parametrize("state", [0, 1.5, "text", b"bytes", True])
def test_replay_log_none_tells_of_a_state_that_cannot_be_changed(
    state: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A loop that counts in a variable of its own would silently begin anew after every crash."""

    @trax.resumable(create=lambda: state, replay_log=None)
    def count(n: Any) -> Generator[Any, Any, None]:
        for _ in range(3):
            n = n + n
            yield n

    with caplog.at_level(logging.WARNING, "trax"):
        count().result()
    assert "cannot be changed: nothing of what the loop does is stored" in caplog.text


def test_replay_log_none_never_pickles_what_is_yielded() -> None:
    """A yield that only reports may hand out anything."""

    @trax.resumable(create=dict, replay_log=None)
    def train(model: dict[str, int]) -> Iterator[Any]:
        yield (part for part in "unpicklable")

    assert train().result() == {}


def test_fresh_moves_the_old_run_aside(store_here: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is deleted, nothing happens before the first next, and the place is said."""
    caplog.set_level(logging.INFO, "trax")
    count(to=3).result()
    run = count.fresh(to=5)
    assert count.load() == 3
    assert run.result() == 5
    assert (store_here / "aside" / "count~1").is_dir()
    assert "aside/count~1" in caplog.text
    count.fresh(to=1).result()
    assert (store_here / "aside" / "count~2").is_dir()


def test_load_runs_nothing_and_needs_only_what_names_the_run() -> None:
    """`load` gives the state while the run is open, and a clear error before it began."""
    with pytest.raises(trax.NotFoundError, match="nothing is stored as 'add_up'"):
        add_up.load()
    with add_up(n=10) as run:
        for _ in range(4):
            next(run)
        assert add_up.load() == trax.load("add_up") == 6


def test_a_run_can_be_recovered_through_the_core() -> None:
    """A run is a name in the store, replayed with its own function."""
    with add_up(n=10) as run:
        for _ in range(4):
            next(run)
    with trax.Trax() as store:
        assert store.recover("add_up") == 6


def test_a_name_of_the_core_can_be_gone_on_with_by_the_decorator() -> None:
    """What the core stored under a name is the state that the loop begins with."""
    with trax.Trax() as store:
        store.checkpoint(count=40)
    assert list(count(to=42)) == [41, 42]


def test_steps_means_in_total() -> None:
    """A longer run of an argument that may vary goes on; a shorter one does nothing."""

    @trax.resumable(create=int, replay_log=total, varying="n")
    def loop(state: int, n: int) -> Iterator[int]:
        for i in trax.steps(n):
            yield i

    assert loop(n=3).result() == 3
    assert list(loop(n=5)) == [3, 4]
    assert loop(n=5).result() == 10
    assert list(loop(n=2)) == []


# -- misuse --------------------------------------------------------------------------------


def no_yield(state: int) -> int:
    return state


def no_state() -> Iterator[int]:
    yield 1


async def coroutine(state: int) -> Any:
    return 1


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (no_yield, "not a generator function"),
        (42, "not a generator function"),
        (coroutine, "coroutine function"),
        (no_state, "no parameter for the state"),
    ],
)
def test_what_cannot_work_is_refused_at_once(function: Any, message: str, store_here: Path) -> None:
    """The decorator itself raises; nothing is stored."""
    with pytest.raises(trax.UsageError, match=message):
        trax.resumable(function)
    assert not store_here.exists()


def test_a_method_without_a_state_parameter_is_refused_when_its_class_is_made() -> None:
    """`self` is not the state."""
    with pytest.raises((trax.UsageError, RuntimeError)) as caught:  # wrapped before Python 3.12

        class Simulation:
            @trax.resumable
            def run(self) -> Iterator[int]:
                yield 1

    error = caught.value if isinstance(caught.value, trax.UsageError) else caught.value.__cause__
    assert "no parameter for the state" in str(error)


def test_a_run_of_another_function_is_not_taken_for_ones_own() -> None:
    """Two methods of the same name need names of their own."""

    class One:
        @trax.resumable(create=int)
        @staticmethod
        def run(n: int) -> Iterator[int]:
            yield 1

    class Two:
        @trax.resumable(create=int)
        @staticmethod
        def run(n: int) -> Iterator[int]:
            yield 2

    One.run().result()
    with pytest.raises(trax.UsageError, match=r"was written by .*One\.run, and this is .*Two\.run"):
        Two.run().result()


# -- what cannot be stored -----------------------------------------------------------------


@dataclass
class Model:
    """A state that can be made unpicklable deep inside."""

    layers: list[Any] = field(default_factory=lambda: [{}, {}])


def test_an_unpicklable_state_is_said_at_once_with_its_path() -> None:
    """The path leads to the very object, before any step is done."""

    def create() -> Model:
        model = Model()
        model.layers[1]["hook"] = (part for part in "x")
        return model

    @trax.resumable(create=create, replay_log=None)
    def loop(model: Model) -> Iterator[int]:
        yield 1

    with pytest.raises(
        trax.CodecError, match=r"state\.layers\[1\]\['hook'\] \(builtins\.generator"
    ):
        next(loop())


def test_a_state_that_turns_unpicklable_is_said_at_the_first_step() -> None:
    """Not hours later, at the first checkpoint."""

    @trax.resumable(create=Model, replay_log=None, every_steps=1_000_000)
    def loop(model: Model) -> Iterator[int]:
        model.layers[0]["hook"] = (part for part in "x")
        yield 1

    with pytest.raises(trax.CodecError, match=r"state\.layers\[0\]\['hook'\]"):
        next(loop())


class Unloadable:
    """Pickles, and cannot be loaded."""

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("no way back")

    def __getstate__(self) -> Any:
        return {"x": 1}


def test_a_state_that_cannot_be_loaded_is_said_at_the_first_step() -> None:
    """What is stored is tried in both directions."""

    @trax.resumable
    def loop(state: Any) -> Iterator[Any]:
        yield Unloadable()

    with pytest.raises(trax.CodecError, match="no way back"):
        next(loop())
    assert loop.load() is None


def test_an_unpicklable_increment_leaves_no_trace() -> None:
    """The steps before it are kept, and the fixed loop goes on behind them."""
    broken = True

    @trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment])
    def loop(state: list[Any]) -> Iterator[Any]:
        for i in trax.steps(5):
            yield {"value": (part for part in "x")} if broken and i == 3 else i

    with pytest.raises(trax.CodecError, match=r"increment\['value'\]"):
        loop().result()
    broken = False
    run = loop()
    assert (run.resumed_at, run.result()) == (3, [0, 1, 2, 3, 4])


def test_an_increment_whose_replay_raises_leaves_no_trace() -> None:
    """The increment was folded before it was logged; it would break every later recovery."""

    def fold(state: list[int], increment: int) -> list[int]:
        if increment == 3 and broken:
            raise ZeroDivisionError("a bug in replay_log")
        state.append(increment)
        return state

    @trax.resumable(create=list, replay_log=fold)
    def loop(state: list[int]) -> Iterator[int]:
        for i in trax.steps(5):
            yield i

    broken = True
    with pytest.raises(ZeroDivisionError):
        loop().result()
    assert loop.load() == [0, 1, 2]
    broken = False
    assert loop().result() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_what_folding_changes_in_an_increment_is_not_what_is_logged(size: int) -> None:
    """The increment is pickled as it was yielded, however large it is."""

    def fold(state: Any, increment: Any) -> Any:
        increment += state
        return increment

    @trax.resumable(create=lambda: np.zeros(size), replay_log=fold)
    def loop(state: Any) -> Iterator[Any]:
        for i in trax.steps(4):
            yield np.full(size, float(i))

    with loop() as run:
        for _ in range(3):
            next(run)
        live = run.state.copy()
    assert (loop.load() == live).all()


def test_a_replay_log_that_forgets_to_return_is_told() -> None:
    """At the first step, and nothing is stored of it."""

    @trax.resumable(create=list, replay_log=list.append)
    def loop(state: list[int]) -> Iterator[int]:
        yield 1

    with pytest.raises(trax.UsageError, match="replay_log returned None"):
        next(loop())
    assert loop.load() == []


def test_an_unreadable_store_is_never_begun_afresh(store_here: Path) -> None:
    """A damaged run is refused by name and file, and every byte of it stays."""
    with add_up(n=10) as run:
        next(run)
    (checkpoint,) = store_here.glob("runs/add_up/checkpoint-*")
    damaged = bytearray(checkpoint.read_bytes())
    damaged[-20] ^= 1
    checkpoint.write_bytes(damaged)
    before = {path: path.read_bytes() for path in store_here.glob("runs/*/*")}
    with pytest.raises(trax.CorruptionError) as caught:
        add_up(n=10).result()
    assert caught.value.path == str(checkpoint)
    assert "fresh" in str(caught.value)
    assert {path: path.read_bytes() for path in store_here.glob("runs/*/*")} == before


def test_a_store_that_is_a_file_is_a_clear_error(store_here: Path) -> None:
    """It says which path, and nothing is overwritten."""
    store_here.write_text("precious")
    with pytest.raises(trax.TraxError, match="not a directory"):
        count(to=3).result()
    assert store_here.read_text() == "precious"


# -- another replay_log --------------------------------------------------------------------


def test_a_finished_run_says_that_its_code_has_changed(caplog: pytest.LogCaptureFixture) -> None:
    """The stored result is that of the former code, and `fresh` is the way to the new one."""

    def make(source: str) -> Any:
        names: dict[str, Any] = {}
        exec(f"def loop(n):\n    yield n + {source}", names)
        names["loop"].__module__ = __name__
        return trax.resumable(create=int)(names["loop"])

    make("1")().result()
    with caplog.at_level(logging.INFO, "trax"):
        assert make("2")().result() == 1
    assert "the code of loop is not what it was" in caplog.text
    assert "loop.fresh(...)" in caplog.text


def test_an_open_file_in_the_state_is_refused(tmp_path: Path) -> None:
    """It would come back as something else."""
    with (tmp_path / "file").open("w") as file:

        @trax.resumable(create=lambda: {"log": file}, replay_log=None)
        def loop(state: Any) -> Iterator[int]:
            yield 1

        with pytest.raises(trax.CodecError, match=r"state\['log'\] \(_io\.TextIOWrapper\)"):
            next(loop())


def test_a_log_is_not_replayed_in_another_sense() -> None:
    """Increments that were states are not folded, and the other way round."""

    def loop(n: int) -> Iterator[int]:
        for i in trax.steps(9):
            yield i

    with trax.resumable(create=int)(loop)() as run:
        next(run), next(run)
    with pytest.raises(trax.UsageError, match="replay_log left out, and now it is a function"):
        trax.resumable(create=int, replay_log=total)(loop)().result()
    assert trax.load("loop") == 1


# -- both worlds ---------------------------------------------------------------------------


class Simulation:
    """Methods of all kinds."""

    def __init__(self, rate: int) -> None:
        self.rate = rate

    @trax.resumable(create=int, name="sim-{self.rate}")
    def run(self, state: int, n: int) -> Generator[int, int, None]:
        """Run it."""
        while state < n:
            state = yield state + self.rate

    @trax.resumable(create=int)
    @classmethod
    def of_class(cls, state: int, n: int) -> Iterator[str]:
        yield f"{cls.__name__} {n}"

    @trax.resumable(create=int)
    @staticmethod
    def of_nothing(state: int, n: int) -> Iterator[int]:
        yield state + n


def test_methods_classmethods_and_staticmethods() -> None:
    """`self` and `cls` are bound; the state comes behind them."""
    assert Simulation(3).run(n=9).result() == 9
    assert Simulation(3).run.load() == 9
    of_class: Any = Simulation.of_class  # no type checker sees through both decorators
    assert of_class(n=2).result() == "Simulation 2"
    assert Simulation.of_nothing(n=4).result() == 4
    assert Simulation(3).run.fresh(12).result() == 12


class Swapped:
    """A class method whose decorators stand in the wrong order."""

    @classmethod
    @trax.resumable(create=int)
    def go(cls, state: int, n: int = 1) -> Iterator[int]:
        yield state + n

    @staticmethod
    @trax.resumable(create=int)
    def of_nothing(state: int, n: int = 1) -> Iterator[int]:
        yield state + n


@pytest.mark.parametrize("bind", ["this Python", "3.9 to 3.12", "3.13 and later"])
@pytest.mark.parametrize("how", ["call", "fresh", "load"])
def test_a_class_method_under_classmethod_is_refused(bind: str, how: str) -> None:
    """Some versions of Python bind the class there, and others hand it over as an argument."""
    go: Any = bound_as(bind, Swapped)
    with pytest.raises(trax.UsageError, match=r"Swapped\.go .* above @classmethod"):
        (go if how == "call" else getattr(go, how))(n=2)
    with pytest.raises(trax.UsageError, match=r"Swapped\.go .* above @classmethod"):
        (go if how == "call" else getattr(go, how))(2)


@pytest.mark.parametrize("bind", ["this Python", "3.9 to 3.12", "3.13 and later"])
def test_a_class_method_is_known_whatever_its_class_is_called_in_it(bind: str) -> None:
    """Its first parameter need not be named `cls`."""

    class Local:
        @classmethod
        @trax.resumable(create=int)
        def go(kind, state: int, n: int) -> Iterator[int]:  # noqa: N804
            yield state + n

    class Below(Local): ...

    for owner in (Local, Below):
        with pytest.raises(trax.UsageError, match="above @classmethod"):
            bound_as(bind, owner)(2)


def bound_as(version: str, owner: Any) -> Any:
    """Return a class method as a version of Python binds it."""
    if version == "this Python":
        return owner.go
    decorated = next(vars(base)["go"].__func__ for base in owner.__mro__ if "go" in vars(base))
    return MethodType(decorated, owner) if "3.13" in version else decorated.__get__(owner, owner)


def test_a_method_under_an_ordinary_decorator_is_refused() -> None:
    """It is not bound there: its object would be taken for an argument, and the state for it."""

    def other(function: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return called

    class Thing:
        @other
        @trax.resumable(create=int)
        def go(self, state: int, n: int) -> Iterator[int]:
            yield state + n

    with pytest.raises(trax.UsageError, match=r"Thing\.go .* outermost"):
        Thing().go(2)


def test_a_static_method_works_in_both_orders() -> None:
    """Nothing is bound there."""
    static: Any = Swapped.of_nothing
    assert static(n=4).result() == 4
    assert static.fresh(5).result() == 5


def test_the_method_of_a_class_of_classes_is_no_class_method() -> None:
    """There a class is the object that a method is of."""

    class Kind(type):
        @trax.resumable(create=int)
        def go(cls, state: int, n: int) -> Iterator[int]:
            yield state + n

    class Thing(metaclass=Kind): ...

    go: Any = Thing.go
    assert go(2).result() == 2


def test_a_bound_method_can_be_decorated() -> None:
    """Also that of a class."""

    class Thing:
        @classmethod
        def go(cls, state: int, n: int) -> Iterator[int]:
            yield state + n

    bound: Any = trax.resumable(create=int)(Thing.go)
    assert bound(2).result() == 2


def test_the_function_keeps_what_people_and_tools_ask_it_for() -> None:
    """Name, docstring, signature, annotations, and that it is a generator function."""
    assert count.__name__ == "count"
    assert count.__doc__ == "Count to a number."
    assert list(inspect.signature(count).parameters) == ["n", "to"]
    assert inspect.isgeneratorfunction(count)
    assert Simulation.run.__doc__ == "Run it."


def test_the_function_pickles_by_reference() -> None:
    """So it can be handed to worker processes; and a method with its object."""
    assert pickle.loads(pickle.dumps(count)) is count
    assert pickle.loads(pickle.dumps(Simulation(2).run))(n=4).result() == 4


SCRIPT = """
import trax

class World:
    def __init__(self):
        self.steps = 0
    def advance(self, increment):
        {method}
        return self

@trax.resumable(create=World, replay_log=World.advance, every_steps=20)
def simulate(world):
    while world.steps < 80:
        world = yield world.steps

run = simulate()
print(run.resumed_at, type(run.state) is World)
print(run.result().steps, getattr(run.state, "fixed", None))
"""


def test_fix_and_run_again(tmp_path: Path) -> None:
    """The state comes back as the script's present class, the fixed method runs, 50 steps stay."""
    bug = "self.steps += 1 if self.steps < 50 else 1 / 0"
    fix = "self.steps += 1; self.fixed = True"
    script = tmp_path / "script.py"

    def run(method: str) -> subprocess.CompletedProcess[str]:
        script.write_text(SCRIPT.format(method=method))
        return subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)

    first = run(bug)
    assert "ZeroDivisionError" in first.stderr
    second = run(fix)
    assert second.stdout.split() == ["50", "True", "80", "True"], second.stderr
    assert "resumed at step 50" in second.stderr
    assert "the code of replay_log is not what it was" in second.stderr
