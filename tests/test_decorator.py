"""The decorator: what it accepts, what it refuses, and what a call of the function does."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
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


def test_left_out_create_begins_with_none() -> None:
    """The state is None until the first increment."""

    @trax.resumable
    def loop(state: int | None) -> Generator[int, int, None]:
        assert state is None
        yield 1

    assert loop().result() == 1


def test_create_is_called_with_the_arguments_that_it_names() -> None:
    """Of the call's arguments create takes those that it has parameters for."""

    def create(b: int, a: int = 0, other: int = 7) -> list[int]:
        return [a, b, other]

    @trax.resumable(create=create, replay_log=lambda state, increment: state)
    def loop(state: list[int], a: int, b: int = 2, *, c: int = 3) -> Iterator[int]:
        yield c

    assert loop(1).result() == [1, 2, 7]


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


def test_the_name_is_a_template_over_the_arguments() -> None:
    """There is one run for each value, and load finds each."""

    @trax.resumable(create=int, name="sweep-{seed}-{rate:.2f}")
    def sweep(n: int, seed: int, rate: float = 0.5) -> Iterator[int]:
        yield seed * 10

    assert [sweep(seed=seed).result() for seed in (1, 2)] == [10, 20]
    assert trax.load("sweep-2-0.50") == 20
    assert sweep.load(seed=1) == 10


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


# -- changed arguments ---------------------------------------------------------------------


def test_changed_arguments_are_an_error_that_shows_them_and_the_ways_on() -> None:
    """The difference is shown; nothing is lost; the former call still goes on."""
    with add_up(n=5) as run:
        next(run), next(run)
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        add_up(n=6).result()
    message = str(caught.value)
    for part in ("n: 5 -> 6", "add_up-{n}", "varying=('n',)", "add_up.fresh(...)"):
        assert part in message
    assert list(add_up(n=5)) == [2, 3, 4]


def test_changed_arguments_are_shown_without_addresses() -> None:
    """Which differ in every process, and say nothing."""

    @trax.resumable(create=int)
    def loop(n: int, generator: np.random.Generator) -> Iterator[int]:
        yield n + 1

    loop(np.random.default_rng(1)).result()
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        loop(np.random.default_rng(2)).result()
    shown = "generator: Generator(PCG64) -> Generator(PCG64) (other content)"
    assert shown in str(caught.value)


def test_changed_arguments_of_a_finished_run_are_an_error_too() -> None:
    """A stored result is never given for another question."""
    add_up(n=5).result()
    with pytest.raises(trax.ArgumentsChangedError):
        add_up(n=6).result()


def test_equal_arguments_are_the_same_however_they_are_given() -> None:
    """Defaults, keywords and equal values of other identity are no change."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any, options: Any = None) -> Iterator[int]:
        yield 1

    text = "abc"[:2]
    loop([np.arange(3), text, text], {"x": 1, "y": {"p", "q"}}).result()
    assert loop(options={"y": {"q", "p"}, "x": 1}, data=[np.arange(3), "ab", "a" + "b"]).done


def cell(n: int) -> Any:
    """Return a function that differs from its siblings in its closure alone."""
    return lambda: n


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x**2, lambda x: x**3),
        (lambda x, k=1: x, lambda x, k=2: x),
        (cell(1), cell(2)),
        ({"a": 1}.get, {"a": 2}.get),
        (np.random.default_rng(1), np.random.default_rng(2)),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    ],
)
def test_functions_and_objects_are_told_apart_by_what_they_are(one: Any, other: Any) -> None:
    """The same call goes on; another function or another content is a change."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(one).result()
    assert loop(one).done
    with pytest.raises(trax.ArgumentsChangedError):
        loop(other).result()


def test_an_argument_may_contain_itself() -> None:
    """A cycle is a structure like any other."""
    data: dict[str, Any] = {"list": [1]}
    data["self"] = data
    data["list"].append(data)

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(data).result()
    assert loop(data).done


@pytest.mark.parametrize("other", [[1, 3], (1, 2), [1, 2.0], [1, np.int64(2)], {1, 2}, None])
def test_unequal_arguments_are_told_apart(other: Any) -> None:
    """Another value is a change, and so is another type."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(data=[1, 2]).result()
    with pytest.raises(trax.ArgumentsChangedError, match="data"):
        loop(data=other).result()


def test_an_argument_that_cannot_be_compared_is_named_before_anything_runs() -> None:
    """The way on is `varying`, and then it works."""

    def loop(n: int, lock: Any) -> Iterator[int]:
        yield 1

    generator = (part for part in "x")
    with pytest.raises(trax.CodecError, match=r"'lock'.*varying=\('lock',\)"):
        trax.resumable(create=int)(loop)(generator)
    assert trax.resumable(create=int, varying="lock")(loop)(generator).result() == 1


# -- misuse --------------------------------------------------------------------------------


def no_yield(state: int) -> int:
    return state


def no_state() -> Iterator[int]:
    yield 1


def good(state: int, n: int) -> Iterator[int]:
    yield 1


async def coroutine(state: int) -> Any:
    return 1


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (no_yield, {}, "not a generator function"),
        (42, {}, "not a generator function"),
        (coroutine, {}, "coroutine function"),
        (no_state, {}, "no parameter for the state"),
        (good, {"every_steps": 0}, "every_steps"),
        (good, {"every_seconds": -1}, "every_seconds"),
        (good, {"policy": 1}, "policy must be callable"),
        (good, {"create": 1}, "create must be callable"),
        (good, {"replay_log": 1}, "replay_log must be callable"),
        (good, {"create": lambda seed: seed}, "create needs 'seed'"),
        (good, {"create": lambda state: state}, "create needs 'state'"),
        (good, {"name": "run-{state}"}, "'state', which is not an argument"),
        (good, {"varying": "state"}, "varying names 'state'"),
        (good, {"name": "../../x"}, "looks like a path"),
        (good, {"name": ""}, "must not be empty"),
        (good, {"name": "a" * 300}, "too long"),
        (good, {"name": "run-{m}"}, "'m', which is not an argument"),
        (good, {"name": "run-{"}, "not a template"),
        (good, {"varying": ("m",)}, "varying names 'm'"),
        (good, {"sync": "never"}, "sync must be one of"),
        (good, {"keep": 0}, "keep"),
        (good, {"renames": "m.A"}, "renames must be a mapping"),
        (good, {"renames": {"m.A": 1}}, "renames has 1,"),
        (good, {"renames": {"m.f.<locals>.A": "m.A"}}, "which is no name with its module"),
        (good, {"renames": {"m.A": "m:A"}}, "renames has 'm:A'"),
        (good, {"version": 0}, "version must be a whole number"),
        (good, {"version": True}, "version must be a whole number"),
        (good, {"version": "2"}, "version must be a whole number"),
        (good, {"version": 2, "migrate": 1}, "migrate must be callable"),
        (good, {"migrate": lambda state, version: state}, "Give version=2"),
    ],
)
def test_what_cannot_work_is_refused_at_once(
    function: Any, options: dict[str, Any], message: str, store_here: Path
) -> None:
    """The decorator itself raises; nothing is stored."""
    with pytest.raises(trax.UsageError, match=message):
        trax.resumable(**options)(function)
    assert not store_here.exists()


@pytest.mark.parametrize("part", ["../../x", "a/b", "\0", ""])
def test_a_template_never_leads_out_of_the_store(part: str, tmp_path: Path) -> None:
    """A name made of an argument is checked when the call is made."""

    @trax.resumable(create=int, name="{part}")
    def loop(n: int, part: str) -> Iterator[int]:
        yield 1

    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(trax.UsageError, match="a run's name"):
        loop(part)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_name_that_differs_in_every_process_is_refused() -> None:
    """The run would silently begin anew each time."""

    @trax.resumable(create=int, name="run-{model}")
    def loop(n: int, model: Any) -> Iterator[int]:
        yield 1

    with pytest.raises(trax.UsageError, match="another one in every process"):
        loop(object())


def test_arguments_that_do_not_fit_are_a_type_error_of_the_call() -> None:
    """As for any function, at the call and not at the first next."""
    with pytest.raises(TypeError, match="missing a required argument: 'n'"):
        add_up()  # type: ignore[call-arg]


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


def test_an_open_file_in_the_state_is_refused(tmp_path: Path) -> None:
    """It would come back as something else."""
    with (tmp_path / "file").open("w") as file:

        @trax.resumable(create=lambda: {"log": file}, replay_log=None)
        def loop(state: Any) -> Iterator[int]:
            yield 1

        with pytest.raises(trax.CodecError, match=r"state\['log'\] \(_io\.TextIOWrapper\)"):
            next(loop())


def test_the_name_that_is_proposed_keeps_the_template() -> None:
    """And proposes nothing of which no name can be made."""

    @trax.resumable(create=int, name="lor-{seed}")
    def loop(state: int, seed: int, dt: float, data: Any) -> Iterator[int]:
        yield 1

    loop(3, 0.1, [1]).result()
    with pytest.raises(trax.ArgumentsChangedError) as caught:
        loop(3, 0.2, [2]).result()
    assert "name='lor-{seed}-{dt}';" in str(caught.value)
