"""What pickles and does not load again is refused before it is stored, at any step."""

from __future__ import annotations

import pickle
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import trax
from trax import CodecError
from trax.engine import load_proof
from trax.engine.load_proof import GLOBAL, LoadProof
from trax.storage.codec import Names, encode


class ApiError(Exception):
    """Has an ``__init__`` of its own: it pickles, and does not load."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")


class Doubled(Exception):  # noqa: N818
    """Loads, with other arguments."""

    def __init__(self, text: str) -> None:
        super().__init__(text * 2)


@dataclass
class Result:
    """Holds anything."""

    value: Any


class Sealed:
    """Does not take its own state back."""

    def __init__(self) -> None:
        self.key = 1

    def __setstate__(self, state: Any) -> None:
        raise ValueError("sealed")


CULPRITS: dict[str, Any] = {
    "itself": (lambda: ApiError(503, "busy"), "increment (test_load_proof.ApiError)"),
    "in a list": (lambda: [1, "a", ApiError(503, "")], "increment[2] (test_load_proof.ApiError)"),
    "in an object": (lambda: Result({"e": Sealed()}), "increment.value['e'] (test_load_proof"),
    "beside its name": (lambda: {"ApiError": ApiError(1, "")}, "increment['ApiError'] (test_load"),
    "after much data": (lambda: ["a" * 5000, *"bc" * 500, Sealed()], "increment[1001] (test_load"),
    "beside arrays": (lambda: (np.ones(3), Sealed(), np.ones(3)), "increment[1] (test_load"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CULPRITS)
def test_an_increment_that_does_not_load_is_refused_before_it_is_logged(
    kind: str, store_here: Any
) -> None:
    """At any step; the error names the part, and the run stays at the step before."""
    make, part = CULPRITS[kind]

    @trax.resumable(create=list, replay_log=lambda done, new: [*done, new])
    def loop(done: list[Any], n: int) -> Any:
        while len(done) < n:
            step = len(done)
            done = yield make() if is_bad and step == 5 else Result(step)

    is_bad = True
    with pytest.raises(CodecError) as caught:
        loop(n=9).result()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(part)
    assert lines[0].endswith("pickles, but does not load again, at step 6.")
    assert "__reduce__" in lines[2]
    assert loop.load() == [Result(n) for n in range(5)]
    is_bad = False
    assert loop(n=9).result() == [Result(n) for n in range(9)]


@pytest.mark.parametrize("wrapped", [lambda one: one, lambda one: {"error": Result([one])}])
def test_an_increment_that_loads_as_something_else_is_said_once(
    wrapped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as an exception that gets other arguments each time that it is made."""

    @trax.resumable(create=list, replay_log=lambda done, new: [*done, new])
    def loop(done: list[Any], n: int) -> Any:
        while len(done) < n:
            done = yield wrapped(Doubled("a") if len(done) > 2 else ValueError("a"))

    loop(n=8).result()
    found = [one.message for one in caplog.records if "as something else" in one.message]
    assert len(found) == 1
    assert "step 4" in found[0]
    assert "now 'aa', loaded 'aaaa'" in found[0]


def test_classes_that_are_known_are_not_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is loaded once, wherever it is in an increment."""
    loaded: list[Any] = []

    def load(encoded: bytes, *_: Any) -> Any:
        loaded.append(encoded)
        return pickle.loads(encoded)

    monkeypatch.setattr(load_proof, "decode", load)
    proof = LoadProof("run", Names())
    for number in range(50):
        for obj in (Result(number), [Result(float(number))], (number, np.arange(number + 1.0))):
            encoded = pickle.dumps(obj, 5)
            assert GLOBAL in encoded
            proof.prove(obj, encoded, "increment", 1)
    assert len(loaded) < 9  # by accident, some numbers look like a name


def test_a_long_search_of_large_increments_is_cut_short() -> None:
    """A name at the beginning or at the end is found all the same."""
    proof = LoadProof("run", Names())
    numbers = np.random.default_rng(7).random(100_000)
    for _ in range(50):
        proof.prove(numbers, pickle.dumps(numbers, 5), "increment", 1)
    for obj in ([numbers, Sealed()], [Sealed(), numbers]):
        with pytest.raises(CodecError):
            LoadProof("run", Names()).prove(obj, pickle.dumps(obj, 5), "increment", 1)


def test_local_classes_are_proved_as_well() -> None:
    """Though the opcode names only what finds them."""

    class Local:
        pass

    class Other:
        def __setstate__(self, state: Any) -> None:
            raise ValueError("sealed")

    other = Other()
    other.x = 1  # type: ignore[attr-defined]
    names = Names()
    proof = LoadProof("run", names)
    proof.prove(Local(), encode(Local(), "increment", names), "increment", 1)
    with pytest.raises(CodecError, match=r"Other\) pickles, but does not load again"):
        proof.prove(other, encode(other, "increment", names), "increment", 2)


# -- states ----------------------------------------------------------------------------------


def test_a_state_that_would_not_load_does_not_replace_one_that_does(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log carries the run on."""

    def fold(done: list[Any], new: Any) -> list[Any]:
        return [*done, Sealed() if new == 6 else new]

    @trax.resumable(create=list, replay_log=fold, every_steps=2)
    def loop(done: list[Any], n: int) -> Any:
        while len(done) < n:
            done = yield len(done)

    run = loop(n=20)
    for _ in range(15):
        next(run)
    run.close()
    assert caplog.text.count("continues without a checkpoint for now: state[6]") == 1
    assert len(loop.load()) == 15


def test_a_state_that_no_log_has_is_refused_when_it_would_not_load() -> None:
    """The checkpoint before stays the newest."""

    @trax.resumable(create=list, replay_log=None, every_steps=2)
    def loop(done: list[Any], n: int) -> Any:
        while len(done) < n:
            done.append(Sealed() if len(done) == 6 else len(done))
            yield

    with pytest.raises(CodecError, match=r"state\[6\] .*Sealed\) pickles, but does not load again"):
        loop(n=20).result()
    assert loop.load() == [0, 1, 2, 3, 4, 5]


# -- what is stuck all the same ----------------------------------------------------------------


def test_an_increment_whose_class_has_changed_is_named_with_its_step_and_the_way_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call in the error takes the run back to the step before."""

    @trax.resumable(create=list, replay_log=lambda done, new: [*done, new])
    def loop(done: list[Any], n: int) -> Any:
        while len(done) < n:
            done = yield Result(1) if len(done) == 3 else len(done)

    run = loop(n=9)
    for _ in range(7):
        next(run)
    run.close()

    def refuse(self: Any, state: Any) -> None:
        raise ValueError("no such")

    monkeypatch.setattr(Result, "__setstate__", refuse, raising=False)
    call = "trax.repair('loop', step=3)"
    for look in (loop(n=9).result, loop.load, lambda: trax.load("loop")):
        with pytest.raises(CodecError) as caught:
            look()
        assert str(caught.value).splitlines() == [
            "the increment of step 4 of the run 'loop' cannot be loaded: ValueError: no such.",
            "Correct its class, so that it loads.",
            f"Or go back to step 3 with {call}, which keeps a copy of all files.",
        ]
    done = trax.repair("loop", step=3)
    assert (done.step, done.lost) == (3, 4)
    assert loop.load() == [0, 1, 2]


def test_a_state_that_changes_in_a_class_is_left_by_way_of_the_checkpoint_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its log is kept up to the step before."""

    @trax.resumable(create=list, replay_log=lambda done, new: [*done, new], every_steps=4)
    def loop(done: list[Any], n: int) -> Any:
        while len(done) < n:
            done = yield Result(1) if len(done) == 7 else len(done)

    run = loop(n=99)
    for _ in range(8):
        next(run)
    run.close()

    def refuse(self: Any, state: Any) -> None:
        raise ValueError

    monkeypatch.setattr(Result, "__setstate__", refuse, raising=False)
    with pytest.raises(CodecError, match=r"(?s)the state of .*trax\.repair\('loop', step=7\)"):
        loop.load()
    assert trax.repair("loop", step=7).lost == 1
    assert loop.load() == [0, 1, 2, 3, 4, 5, 6]


# -- deep states and increments ----------------------------------------------------------------


def depth(chain: Any) -> int:
    """Return the number of links of a chain."""
    count = 0
    while chain:
        chain = chain[-1]
        count += 1
    return count


def test_a_state_of_any_depth_is_stored() -> None:
    """A run does not end where the stack of the interpreter does."""

    @trax.resumable(create=tuple, replay_log=lambda chain, x: (x, chain), every_steps=2000)
    def loop(chain: Any, n: int) -> Any:
        for i in trax.steps(n):
            yield i

    run = loop(n=6000)
    for _ in range(5000):
        next(run)
    run.close()
    assert depth(loop.load()) == 5000
    assert depth(loop(n=6000).result()) == 6000
    assert depth(loop(n=6000).result()) == 6000


def test_an_increment_of_any_depth_is_logged() -> None:
    """Where it is the new state."""

    @trax.resumable(create=list, check=False)
    def loop(chain: Any) -> Any:
        for _ in range(3):
            for _ in range(3000):
                chain = [chain]
            chain = yield chain

    assert depth(loop().result()) == 9000


def test_a_state_that_cannot_be_stored_ends_a_run_only_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Until then the log has it, and after that too; and the error tells so."""
    lock, bad = threading.Lock(), 5

    @trax.resumable(
        create=list,
        replay_log=lambda state, new: [*state, lock if new == bad else new],
        every_steps=3,
    )
    def loop(state: list[Any], n: int) -> Any:
        while len(state) < n:
            state = yield len(state)

    for _ in range(2):
        with pytest.raises(CodecError, match=r"state\[5\] \(_thread\.lock\)") as caught:
            loop(n=20).result()
        assert "all steps are stored" in "".join(caught.value.__notes__)
        assert loop.load() == [*range(5), lock, *range(6, 20)]
    bad = -1
    assert loop(n=20).result() == [*range(20)]
    assert caplog.text.count("continues without a checkpoint for now: state[5]") == 1
