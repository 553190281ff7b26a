"""A decorated function looks and binds as the function does, and has ways to call it."""

from __future__ import annotations

import inspect
import logging
import pickle
import random
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import cloudpickle
import pytest
from support import run_script
from test_decorator import add_up, count

import trax
import trax.testing


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


def test_a_method_without_a_state_parameter_is_refused_when_its_class_is_made() -> None:
    """`self` is not the state."""
    with pytest.raises((trax.UsageError, RuntimeError)) as caught:  # wrapped before Python 3.12

        class Simulation:
            @trax.resumable(create=int)
            def run(self) -> Iterator[int]:
                yield 1

    error = caught.value if isinstance(caught.value, trax.UsageError) else caught.value.__cause__
    assert "no parameter for the state" in str(error)
    assert "Or leave out create=" in str(error)


@pytest.mark.parametrize("kind", [lambda function: function, classmethod])
def test_without_create_a_method_needs_a_parameter_for_its_object(kind: Any) -> None:
    """A static method needs none."""

    def run() -> Iterator[int]:
        yield 1

    with pytest.raises((trax.UsageError, RuntimeError)) as caught:  # wrapped before Python 3.12
        type("Simulation", (), {"run": trax.resumable(kind(run))})
    error = caught.value if isinstance(caught.value, trax.UsageError) else caught.value.__cause__
    assert "is a method without a parameter for its object" in str(error)
    works: Any = type("Simulation", (), {"run": trax.resumable(staticmethod(run))})
    assert works.run().result() == works().run().result() == 1


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


class Plain:
    """Methods of all kinds whose local variables are the state."""

    def __init__(self, rate: int) -> None:
        self.rate = rate

    @trax.resumable(name="plain-{self.rate}-{n}")
    def run(self, n: int) -> Iterator[int]:
        for i in range(n):
            yield self.rate * i

    @trax.resumable(name="{cls.__name__}", varying="n")
    @classmethod
    def of_class(cls, n: int) -> Iterator[str]:
        yield f"{cls.__name__} {n}"

    @trax.resumable
    @staticmethod
    def of_nothing(n: int = 4) -> Iterator[int]:
        yield n


class PlainBelow(Plain):
    """Inherits them."""


def test_without_create_methods_take_their_object_and_the_arguments() -> None:
    """Their names and what must stay the same count all of them, `self` too."""
    assert list(Plain(3).run(n=3)) == [0, 3, 6]
    assert trax.load("plain-3-3").step == Plain(3).run.load(3).step == 3
    assert PlainBelow(2).run.fresh(2).result() == 2
    unbound: Any = Plain.run
    assert unbound(Plain(5), 2).result() == 5
    of_class: Any = PlainBelow.of_class
    assert of_class(n=2).result() == "PlainBelow 2"
    assert trax.load("PlainBelow").step == 1
    assert Plain.of_nothing().result() == Plain(1).of_nothing().result() == 4
    with pytest.raises(trax.ArgumentsChangedError):
        Plain.of_nothing(5).result()


@trax.resumable
def draws(rows: list[float], steps: int) -> Iterator[int]:
    for i in range(steps):
        rows.append(random.random())
        yield i


def test_check_takes_the_arguments_of_the_function_and_leaves_all_as_it_was(
    store_here: Path,
) -> None:
    """Neither the store, nor an argument, nor an RNG is touched, also where a run is stored."""
    with count(to=5) as run:
        next(run)
        assert count.check(to=9).steps == 9  # other arguments than those of the stored run
    before = sorted(path.stat().st_mtime_ns for path in store_here.rglob("*"))
    rows: list[float] = []
    random.seed(1)
    assert draws.check(rows, steps=10**9) == trax.testing.Checked(20, 60)
    assert random.random() == random.Random(1).random()
    assert rows == []
    assert count.load() == 1
    assert sorted(path.stat().st_mtime_ns for path in store_here.rglob("*")) == before
    assert [*Path.cwd().iterdir()] == [store_here]


def test_check_is_there_for_methods_of_all_kinds() -> None:
    """`self` and `cls` are bound."""
    assert Simulation(3).run.check(n=9).steps == 3
    assert Plain(3).run.check(n=3).steps == 3
    below: Any = PlainBelow  # no type checker sees through both decorators
    assert below.of_class.check(n=2).steps == 1
    assert below.of_nothing.check(n=4).steps == 1
    assert below.run.check(PlainBelow(2), n=2).steps == 2


def test_check_tells_of_a_loop_that_does_not_resume_exactly() -> None:
    """Where, and why."""

    @trax.resumable(create=int, check=False)
    def drifts(n: int) -> Generator[int, int, None]:
        stride = 0
        while True:
            stride += 1
            n = yield n + stride

    with pytest.raises(AssertionError, match=r"Likely cause: .*test_wrapper.py:\d+: 'stride'"):
        drifts.check()
    with pytest.raises(TypeError, match="takes 0, besides the state"):
        drifts.check(3)  # type: ignore[call-arg]


@pytest.mark.parametrize("args", [(), (3,), (Plain(1), 3)])
def test_a_method_called_on_its_class_needs_an_object_of_it(args: tuple[Any, ...]) -> None:
    """Anything else would be taken for an argument, and the state for the object."""

    class Simulation:
        @trax.resumable(create=int)
        def declared(self, state: int, n: int = 1) -> Iterator[int]:
            yield n

        @trax.resumable
        def plain(self, n: int = 1) -> Iterator[int]:
            yield n

    class Below(Simulation): ...

    for owner in (Simulation, Below):
        for method in (owner.declared, owner.plain):
            unbound: Any = method
            for way in (unbound, unbound.fresh, *([unbound.load] if args else [])):
                with pytest.raises(trax.CallError, match=r"called on its class\.\nCall it on an"):
                    way(*args)
            assert unbound(Simulation(), 2).result() == 2
            assert unbound.load() is not None  # only the name matters


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
    with pytest.raises(trax.UsageError, match=r"Swapped\.go: .* outermost.*\n.*above @class"):
        (go if how == "call" else getattr(go, how))(n=2)
    with pytest.raises(trax.UsageError, match=r"Swapped\.go: .* outermost.*\n.*above @class"):
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

    with pytest.raises(trax.UsageError, match=r"Thing\.go: .* outermost"):
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


BY_VALUE = """
import os, sys
import cloudpickle
import trax

@trax.resumable(every_steps=2, varying="n")
def loop(n):
    total = 0
    for i in range(n):
        total += i
        yield total
    return type(loop).__name__

@trax.resumable(create=int, replay_log=lambda state, increment: increment)
def declared(state, n):
    while state < n:
        state = yield state + 1

class Model:
    def __init__(self):
        self.weight = 0

    @trax.resumable
    def train(self, n):
        for i in range(n):
            self.weight += i
            yield self.weight

    @trax.resumable(name="still")
    @staticmethod
    def still(n):
        yield from range(n)

def method(n):
    return Model().train(n)

def still(n):
    return Model.still(n)

def within(n):
    @trax.resumable(name="within")
    def inner(n):
        for i in range(n):
            yield i

    return inner

def numbers(n):
    for i in range(n):
        yield i * i

@trax.resumable(name="helped")
def helped(n):
    for square in numbers(n):
        yield square

works = [loop, declared, method, still, within(3), helped]
with open("works.pickle", "wb") as file:
    cloudpickle.dump(works, file)
"""
WORKER = """
import os, pickle, sys

with open("works.pickle", "rb") as file:
    works = pickle.load(file)
for i, work in enumerate(works):
    run = work(9)
    assert type(run).__module__ == "trax", work
    for k, increment in enumerate(run):
        print(i, increment, flush=True)
        if [i, k] == [*map(int, sys.argv[1:])]:
            os.kill(os.getpid(), 9)
print(works[0](9).result())
"""


def test_cloudpickle_takes_a_function_along_with_its_decorator_and_its_source() -> None:
    """To a worker that has neither its module nor its file; the run is resumed there as well."""
    run_script(BY_VALUE)
    shutil.rmtree(next(Path.cwd().glob("script-*")))
    undisturbed = run_script(WORKER, "-1", "-1").stdout.splitlines()
    assert undisturbed[-1] == "Resumable"
    assert len(undisturbed) == 6 * 9 + 1
    shutil.rmtree(".trax")
    found = []
    for i in range(6):
        found += run_script(WORKER, str(i), "2", check=False).stdout.splitlines()
    found += run_script(WORKER, "-1", "-1").stdout.splitlines()
    assert found == undisturbed


def test_a_run_goes_on_from_a_worker_to_its_script() -> None:
    """It is the same function of the same file, in tracebacks as well: nothing was changed."""
    script = BY_VALUE + "if sys.argv[1:]: print(loop.__wrapped__.__code__, loop(9).result())"
    run_script(script)
    worker = WORKER.replace("for i, work", "print(works[0].__wrapped__.__code__)\nfor i, work")
    begun = run_script(worker, "0", "5", check=False)
    assert "0 15" in begun.stdout
    done = run_script(script, "again")
    assert "loop resumed at step 6" in done.stderr
    assert "changed" not in done.stderr
    assert "not used" not in done.stderr
    files = [line.partition("file ")[2].partition(">")[0] for line in (begun.stdout, done.stdout)]
    assert files[0] == files[1] != ""


def test_what_has_a_name_elsewhere_is_pickled_by_it() -> None:
    assert cloudpickle.loads(cloudpickle.dumps(count)) is count
    assert b"resumable" not in cloudpickle.dumps(count)
    assert len(cloudpickle.dumps(count)) < 100
    cloudpickle.register_pickle_by_value(sys.modules[count.__module__])
    try:
        copied = cloudpickle.loads(cloudpickle.dumps(count))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[count.__module__])
    assert copied is not count
    assert list(copied(to=2)) == [1, 2]
    assert inspect.isgeneratorfunction(count)
    assert isinstance(count, FunctionType)


@pytest.mark.parametrize("attribute", ["result", "state", "step", "done", "close"])
def test_a_call_that_was_forgotten_is_told(attribute: str) -> None:
    """Of what only runs have; any other name is missing as in every function."""

    class Owner:
        @trax.resumable
        def method(self) -> Iterator[int]:
            yield 1

    with pytest.raises(AttributeError, match=rf"count was not called: write count.*\.{attribute}$"):
        getattr(count, attribute)
    with pytest.raises(AttributeError, match=r"method was not called: write method\(\.\.\.\)"):
        getattr(Owner().method, attribute)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        count.nothing  # type: ignore[attr-defined]  # noqa: B018
