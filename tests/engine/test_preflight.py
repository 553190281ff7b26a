"""The first steps show whether a loop can be resumed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import run_script

import trax


class Counted:
    """A state; the class counts how often one is unpickled."""

    loads = 0

    def __init__(self) -> None:
        self.total = 0

    def __setstate__(self, attributes: dict[str, int]) -> None:
        Counted.loads += 1
        self.__dict__.update(attributes)

    def add(self, increment: int) -> Counted:
        self.total += increment
        return self


@pytest.mark.parametrize("replay_log", [Counted.add, None], ids=["logged", "not logged"])
def test_the_state_is_proved_twice_in_each_process(
    replay_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new run, and in a resumed one: its code may be another."""

    @trax.resumable(create=Counted, replay_log=replay_log, every_steps=1000)
    def loop(state: Counted) -> Iterator[int]:
        for i in trax.steps(99):
            yield i

    def progress(run: trax.Run[Any, Any, Any]) -> list[tuple[int, bool]]:
        assert not run.done  # it is open now
        preflight, found = run._lifecycle.session._preflight, []
        for _ in range(4):
            left = preflight.checks_left
            monkeypatch.setattr(Counted, "loads", 0)
            next(run)
            found.append((left, bool(Counted.loads)))
        return found

    for _ in range(2):
        with loop() as run:
            assert progress(run) == [(2, True), (1, True), (0, False), (0, False)]


@pytest.mark.parametrize(("step", "is_found"), [(1, True), (2, False)])
def test_an_rng_that_a_local_variable_has_in_the_first_two_steps_is_found(
    step: int, is_found: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Later steps are not searched, because the search takes time."""

    @trax.resumable(create=int, replay_log=lambda state, increment: state + increment, check=False)
    def loop(state: int) -> Iterator[int]:
        for i in trax.steps(5):
            if i + 1 == step:
                mine = np.random.default_rng(1)
            if i + 1 >= step:
                mine.random()
            yield i

    loop().result()
    assert ("local variable mine" in caplog.text) is is_found


@dataclass
class Model:
    """A state that can be made unpicklable deep inside."""

    layers: list[Any] = field(default_factory=lambda: [{}, {}])


def test_an_unpicklable_state_is_said_at_once_with_its_path() -> None:
    """The path leads to the very object, and no step has run yet."""

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
    """Can be pickled, but not loaded."""

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("no way back")

    def __getstate__(self) -> Any:
        return {"x": 1}


def test_a_state_that_cannot_be_loaded_is_said_at_the_first_step() -> None:
    """The pickle is loaded as well, to prove it."""

    @trax.resumable(create=lambda: None)
    def loop(state: Any) -> Iterator[Any]:
        yield Unloadable()

    with pytest.raises(trax.CodecError, match="no way back"):
        next(loop())
    assert loop.load() is None


def test_an_open_file_in_the_state_is_refused(tmp_path: Path) -> None:
    """A loaded file would not be the same open file."""
    with (tmp_path / "file").open("w") as file:

        @trax.resumable(create=lambda: {"log": file}, replay_log=None)
        def loop(state: Any) -> Iterator[int]:
            yield 1

        with pytest.raises(trax.CodecError, match=r"state\['log'\] \(_io\.TextIOWrapper\)"):
            next(loop())


def test_a_replay_log_that_forgets_to_return_is_told() -> None:
    """At the first step, of which nothing is stored."""

    @trax.resumable(create=list, replay_log=list.append)
    def loop(state: list[int]) -> Iterator[int]:
        yield 1

    with pytest.raises(trax.UsageError, match="replay_log returned None"):
        next(loop())
    assert loop.load() == []


BARE = """
import trax

@trax.resumable(create=list)
def loop(state, n):
    for i in trax.steps(n):
        state.append(i)
        yield

print(loop(n=3).result())
"""


def test_a_bare_yield_is_refused_in_every_call() -> None:
    """It would replace the state by None, and a second call would then be done."""
    for _ in range(3):
        done = run_script(BARE, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "The loop yielded None, which would replace its state" in done.stderr
        assert "replay_log=None, if the loop changes the state itself" in done.stderr


@pytest.mark.parametrize(
    ("create", "increment", "method"),
    [
        (list, 25, "append"),
        (list, "text", "append"),
        (list, {"loss": 2.0}, "append"),
        (set, 3.0, "add"),
        (dict, ("key", 1), "update"),
        (list, [1], ""),
        (list, (1, 2), ""),
        (list, np.zeros(2), ""),
        (dict, {1: 2}, ""),
        (set, frozenset({1}), ""),
        (int, 0.5, ""),
        (lambda: None, 25, ""),
    ],
)
def test_a_collection_that_an_increment_replaces_is_told(
    create: Any, increment: Any, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where `replay_log` was forgotten: without it the increment is the new state."""

    @trax.resumable(create=create, check=False)
    def loop(state: Any) -> Iterator[Any]:
        for _ in trax.steps(3):
            yield increment

    loop().result()
    lines = [line for line in caplog.messages if "is the new state" in line]
    assert [f"Did you mean replay_log={method!r}?" in line for line in lines] == [True] * bool(
        method
    )


def test_none_is_a_state_like_any_other_where_it_was_one_before() -> None:
    """And later steps may end a chain with it."""

    @trax.resumable(create=lambda: None)
    def waits(state: Any) -> Iterator[Any]:
        for _ in trax.steps(3):
            yield None

    @trax.resumable(create=lambda: (1, (2, None)))
    def walk(node: Any) -> Iterator[Any]:
        while node:
            node = yield node[1]

    assert waits().result() is None
    assert walk().result() is None


Fold = Callable[[Any, Any], Any]


def stopped_at(step: int, fold: Fold, create: Any = list) -> Callable[[Fold], Any]:
    """Run a loop to a step and its checkpoint; return a function that resumes it."""

    def resume(replay_log: Fold) -> Any:
        @trax.resumable(create=create, replay_log=replay_log, name="loop", every_steps=1)
        def loop(state: Any) -> Iterator[Any]:
            for i in trax.steps(5):
                yield i

        return loop()

    run = resume(fold)
    for _ in range(step):
        next(run)
    run.close()
    return resume


def test_a_resumed_run_refuses_a_replay_log_that_returns_nothing() -> None:
    """It was changed in between; the step is not stored."""
    resume = stopped_at(2, lambda state, i: [*state, i])
    with pytest.raises(trax.UsageError, match="replay_log returned None"):
        next(resume(list.append))
    assert trax.load("loop") == [0, 1]


def test_a_resumed_run_refuses_random_numbers_in_replay_log() -> None:
    """Even where the stored steps drew none."""
    resume = stopped_at(2, lambda state, i: [*state, i])
    with pytest.raises(trax.UsageError, match="drew random numbers from random"):
        next(resume(lambda state, i: [*state, random.random()]))
    assert trax.load("loop") == [0, 1]


def _count(state: list[int], increment: Any) -> list[int]:
    return [*state, 1]


def _maybe_unloadable(state: list[int], late: bool) -> Iterator[Any]:
    for i in trax.steps(5):
        yield Unloadable() if late else i


def test_a_resumed_run_refuses_an_increment_that_cannot_be_loaded() -> None:
    """Before it is logged."""
    calls = trax.resumable(name="loop", varying=("late",), create=list, replay_log=_count)
    run = calls(_maybe_unloadable)(late=False)
    next(run), next(run)
    run.close()
    with pytest.raises(trax.CodecError, match="no way back"):
        next(calls(_maybe_unloadable)(late=True))
    assert trax.load("loop") == [1, 1]
