"""The first steps show whether a loop can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

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
def test_the_state_is_proved_once_and_local_variables_twice(
    replay_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a new run; in a resumed one nothing needs to be proved again."""
    monkeypatch.setattr(Counted, "loads", 0)

    @trax.resumable(create=Counted, replay_log=replay_log, every_steps=3)
    def loop(state: Counted) -> Iterator[int]:
        for i in trax.steps(99):
            yield i

    def progress(run: trax.Run[Any, Any, Any]) -> list[tuple[bool, int, int]]:
        assert not run.done  # it is open now
        preflight, before, found = run._lifecycle.session._preflight, Counted.loads, []
        for _ in range(5):
            found.append((preflight.is_proven, preflight.checks_left, Counted.loads - before))
            next(run)
        return found

    with loop() as run:
        assert progress(run) == [(False, 2, 0), (True, 1, 1), *[(True, 0, 1)] * 3]
    with loop() as run:
        assert progress(run) == [(True, 2, 0), (True, 1, 0), *[(True, 0, 0)] * 3]


@pytest.mark.parametrize(("step", "is_found"), [(1, True), (2, False)])
def test_an_rng_that_a_local_variable_has_in_the_first_two_steps_is_found(
    step: int, is_found: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Later steps are not searched, because the search takes time."""

    @trax.resumable(create=int, replay_log=lambda state, increment: state + increment)
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

    @trax.resumable
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
