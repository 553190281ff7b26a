"""Versions of a script: an older state is brought forward, once, and nothing mixes versions."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import run_script

import trax
from trax import CodecError, CorruptionError, UsageError

State = dict[str, Any]


def fold(state: State, increment: int) -> State:
    """Replay an increment of any version on a state of the present one."""
    return {**state, "seen": [*state["seen"], increment]}


def begin(version: int = 1) -> State:
    return {"made": version, "seen": []}


def as_function(**options: Any) -> Any:
    """Return a loop whose increments are events."""

    def loop(state: State) -> Iterator[int]:
        for i in trax.steps(10):
            yield i

    return trax.resumable(create=begin, replay_log=fold, every_steps=4, **options)(loop)


def as_replace(**options: Any) -> Any:
    """Return a loop whose increments are states."""

    def loop(state: State) -> Generator[State, State, None]:
        for i in trax.steps(10):
            state = yield fold(state, i)

    return trax.resumable(create=begin, every_steps=4, **options)(loop)


def as_none(**options: Any) -> Any:
    """Return a loop that changes its state itself."""

    def loop(state: State) -> Iterator[None]:
        for i in trax.steps(10):
            state["seen"].append(i)
            yield

    return trax.resumable(create=begin, replay_log=None, every_steps=4, **options)(loop)


def upgrade(state: State, from_version: int) -> State:
    """Leave a trace of what was migrated: from which version, and at which step."""
    state["trace"] = [*state.get("trace", []), (from_version, len(state["seen"]))]
    return state


def interrupted(run: trax.Run[Any, Any, Any], steps: int = 6) -> None:
    """Do some steps of a run."""
    with run:
        for _ in range(steps):
            next(run)


def stored(store: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in store.glob("runs/*/*")}


KINDS = pytest.mark.parametrize(
    ("kind", "at"),
    [(as_function, 4), (as_replace, 6), (as_none, 6)],
    ids=["function", "replace", "none"],
)


@KINDS
def test_an_older_state_is_brought_forward_and_the_loop_goes_on(
    kind: Callable[..., Any], at: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The checkpoint's state, before the log; or the last increment, where that is the state."""
    interrupted(kind()())
    with caplog.at_level(logging.INFO, "trax"):
        run = kind(version=2, migrate=upgrade)()
        assert run.resumed_at == 6
    assert "loop was migrated from version 1 to version 2" in caplog.text
    assert run.state == {"made": 1, "seen": list(range(6)), "trace": [(1, at)]}
    assert run.result()["seen"] == list(range(10))


@KINDS
def test_a_state_is_migrated_once(kind: Callable[..., Any], at: int, store_here: Path) -> None:
    """It is stored at once; a later call finds the present version, a later version that one."""
    interrupted(kind()())
    interrupted(kind(version=2, migrate=upgrade)(), 0)
    with kind(version=2, migrate=upgrade)() as run:  # held, and not a step done
        assert run.state["trace"] == [(1, at)]
    with kind(version=2, migrate=upgrade)() as run:
        assert run.state["trace"] == [(1, at)]
        next(run)
    assert kind(version=5, migrate=upgrade)().state["trace"][0] == (1, at)
    assert kind(version=5, migrate=upgrade)().state["trace"][1][0] == 2
    assert len(kind(version=5, migrate=upgrade)().state["trace"]) == 2


def test_nothing_older_stands_in_for_a_migrated_checkpoint(store_here: Path) -> None:
    """The one before it is of another version: that is damage, and not a way around."""
    interrupted(as_function()())
    with as_function(version=2, migrate=upgrade)() as run:
        assert run.step == 6
    newest = max(store_here.glob("runs/loop/checkpoint-*"))
    damaged = bytearray(newest.read_bytes())
    damaged[-20] ^= 1
    newest.write_bytes(damaged)
    with pytest.raises(CorruptionError, match="does not lead to the same state"):
        as_function(version=2, migrate=upgrade)().result()


def test_load_migrates_in_memory(store_here: Path) -> None:
    """It stores nothing; and by name alone nothing is known of versions."""
    interrupted(as_function()())
    before = stored(store_here)
    assert as_function(version=2, migrate=upgrade).load()["trace"] == [(1, 4)]
    assert "trace" not in trax.load("loop")
    assert stored(store_here) == before


@KINDS
def test_a_finished_run_is_migrated_in_memory(
    kind: Callable[..., Any], at: int, store_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each time it is called; nothing runs, and nothing is stored."""
    kind()().result()
    before = stored(store_here)
    for _ in range(2):
        with caplog.at_level(logging.INFO, "trax"):
            run = kind(version=3, migrate=upgrade)()
            assert run.done
        assert run.result()["trace"] == [(1, 10)]
        assert "loop was migrated from version 1 to version 3" in caplog.text
    assert stored(store_here) == before


def test_what_a_loop_returned_stays_as_it_is() -> None:
    """migrate is for states."""

    def loop(n: int) -> Generator[int, int, str]:
        yield n + 1
        return "the end"

    trax.resumable(create=int)(loop)().result()
    run: Any = trax.resumable(create=int, version=2, migrate=lambda n, _: n + 10)(loop)()
    assert (run.result(), run.state) == ("the end", 11)


def test_a_finished_run_that_is_made_longer_is_stored_in_its_new_version() -> None:
    """It runs again, so it is like any other."""

    def loop(state: State, n: int) -> Iterator[int]:
        for i in trax.steps(n):
            yield i

    options: dict[str, Any] = {"create": begin, "replay_log": fold, "varying": "n"}
    trax.resumable(**options)(loop)(2).result()
    later = trax.resumable(**options, version=2, migrate=upgrade)(loop)
    interrupted(later(4), 1)
    assert later(4).result() == {"made": 1, "seen": [0, 1, 2, 3], "trace": [(1, 2)]}


def test_a_version_without_a_way_to_it_is_an_error(store_here: Path) -> None:
    """It names both versions and the ways on; nothing is changed; setting it back goes on."""
    interrupted(as_function()())
    before = stored(store_here)
    for call in (as_function(version=2)().result, as_function(version=2).load):
        with pytest.raises(UsageError) as caught:
            call()
        message = str(caught.value)
        for part in (
            "version 1 of loop",
            "this is version 2",
            "migrate=",
            "version=1",
            "loop.fresh(...)",
        ):
            assert part in message
    assert stored(store_here) == before
    assert as_function(version=1)().result()["seen"] == list(range(10))
    assert as_function(version=2).fresh().result()["seen"] == list(range(10))
    assert as_function(version=2)().done


@pytest.mark.parametrize("steps", [6, 10])
def test_a_newer_version_is_never_opened_by_an_older_script(steps: int, store_here: Path) -> None:
    """Whether the run is done or not, and whatever else has changed."""
    interrupted(as_function(version=3)(), 6)
    if steps == 10:
        as_function(version=3)().result()
    before = stored(store_here)
    older = as_function(version=2, migrate=upgrade)
    for call in (older().result, older.load):
        with pytest.raises(
            UsageError, match=r"(?s)version 3 of loop; this is version 2\.\nRun the new"
        ):
            call()
    assert stored(store_here) == before


@pytest.mark.parametrize("done", [True, False])
def test_the_version_is_compared_before_the_arguments(done: bool) -> None:
    """A newer script often has other arguments, and to change them would be the wrong way on."""

    def loop(n: int, k: int) -> Iterator[int]:
        yield k

    interrupted(trax.resumable(create=int, version=2)(loop)(1), 1)
    if done:
        trax.resumable(create=int, version=2)(loop)(1).result()
    with pytest.raises(UsageError, match="Run the newer script"):
        trax.resumable(create=int)(loop)(2).result()
    with pytest.raises(trax.ArgumentsChangedError):
        trax.resumable(create=int, version=2)(loop)(2).result()


def test_a_migration_that_raises_changes_nothing(store_here: Path) -> None:
    """The exception is passed on with a note; the fixed function is called for the same state."""

    def broken(state: State, from_version: int) -> State:
        state["seen"].clear()
        raise ZeroDivisionError("a bug in migrate")

    interrupted(as_function()())
    before = stored(store_here)
    with pytest.raises(ZeroDivisionError) as caught:
        as_function(version=2, migrate=broken)().result()
    assert "raised by migrate, from version 1 to 2 of 'loop'" in caught.value.__notes__[0]
    assert stored(store_here) == before
    assert as_function(version=2, migrate=upgrade)().state["trace"] == [(1, 4)]


def test_a_migration_that_forgets_to_return_is_told(store_here: Path) -> None:
    """Nothing is stored of it; where the state was None it may stay so."""
    interrupted(as_function()())
    before = stored(store_here)
    with pytest.raises(UsageError, match="migrate returned None"):
        as_function(version=2, migrate=lambda state, _: state.clear())().result()
    assert stored(store_here) == before

    def nothing_yet(state: int | None) -> Iterator[int]:
        yield 1

    begins: Any = {"create": lambda: None}
    with trax.resumable(**begins)(nothing_yet)() as run:
        assert run.state is None
    later: Any = trax.resumable(**begins, version=2, migrate=lambda state, _: state)(nothing_yet)
    assert later().result() == 1


def test_a_migrated_state_that_could_not_be_loaded_is_not_stored(store_here: Path) -> None:
    """It would take the place of one that can be."""
    interrupted(as_function()())
    before = stored(store_here)

    def unloadable(state: State, from_version: int) -> State:
        return {**state, "bad": _Unloadable()}

    with pytest.raises(CodecError, match="no way back"):
        as_function(version=2, migrate=unloadable)().result()
    assert stored(store_here) == before


class _Unloadable:
    def __getstate__(self) -> Any:
        return {"x": 1}

    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("no way back")


def test_what_the_store_itself_has_stored_counts_as_version_1() -> None:
    """And a state that it stores over one of the loop keeps the version of that one."""
    with trax.Trax() as store:
        store.checkpoint(loop=begin())
    interrupted(as_function(version=2, migrate=upgrade)(), 1)
    with trax.Trax() as store:
        store.checkpoint(loop={**begin(), "trace": "of version 2"})
    assert as_function(version=2, migrate=upgrade)().state["trace"] == "of version 2"


def test_a_state_that_was_created_just_now_needs_no_migration() -> None:
    """Increments that the store logged before any checkpoint are replayed on what create gives."""
    with trax.Trax() as store:
        store.log(loop=7)
    assert as_function(version=2, migrate=upgrade)().state == {"made": 1, "seen": [7]}
    with trax.Trax() as store:
        store.log(other=begin())

    def other(state: State) -> Iterator[State]:
        yield state

    run: Any = trax.resumable(create=begin, version=2, migrate=upgrade)(other)()
    assert run.state["trace"] == [(1, 0)]


# -- killed while it is migrated -----------------------------------------------------------

SCRIPT = """
import os, signal, sys
import trax
from trax.storage.filesystem import LocalDirectory

VERSION, MOMENT = int(sys.argv[1]), sys.argv[2]

def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)

def before(call):
    setattr(LocalDirectory, call, die)

def after(call):
    done = getattr(LocalDirectory, call)
    setattr(LocalDirectory, call, lambda self, *args: die(done(self, *args)))

def migrate(state, version):
    print("migrated", version, len(state["seen"]), flush=True)
    if MOMENT == "within":
        state["seen"].clear()
        die()
    if MOMENT.partition(" ")[0] in ("before", "after"):
        how, _, call = MOMENT.partition(" ")
        globals()[how](call)
    return {**state, "version": version}

def fold(state, increment):
    return {**state, "seen": [*state["seen"], increment]}

@trax.resumable(create=lambda: {"seen": []}, replay_log=fold, every_steps=4, version=VERSION,
                migrate=migrate if VERSION > 1 else None)
def loop(state):
    for i in trax.steps(10):
        if MOMENT == f"step {i}":
            die()
        yield i

print(sorted(loop().result().items()))
"""


@pytest.mark.parametrize(
    ("moment", "is_stored"),
    [
        ("within", False),
        ("before create", False),
        ("after create", False),
        ("before rename", False),
        ("after rename", True),
        ("after sync", False),
        ("step 6", True),
    ],
)
def test_a_kill_while_a_run_is_migrated_is_harmless(moment: str, is_stored: bool) -> None:
    """The next call migrates the same state, or finds it migrated; the end is the same."""
    assert run_script(SCRIPT, "1", "step 6", check=False).returncode == -9
    killed = run_script(SCRIPT, "2", moment, check=False)
    assert (killed.returncode, killed.stdout) == (-9, "migrated 1 4\n")
    done = run_script(SCRIPT, "2", "never").stdout.splitlines()
    assert done.pop() == f"[('seen', {list(range(10))}), ('version', 1)]"
    assert done == ([] if is_stored else ["migrated 1 4"])


def test_load_by_name_says_that_the_log_is_replayed_by_other_code(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows no versions; the function is found under its name, and may be a later one."""

    def before(state: int, increment: int) -> int:
        return state + increment

    def after(state: int, increment: int) -> int:
        return state - increment

    for function in (before, after):
        function.__qualname__ = "fold"
        function.__module__ = __name__
    monkeypatch.setattr(sys.modules[__name__], "fold", before, raising=False)

    @trax.resumable(create=int, replay_log=before, every_steps=99)
    def loop(n: int) -> Iterator[int]:
        for _ in trax.steps(3):
            yield 1

    run = loop()
    assert next(run) == 1
    run.close()
    loads: list[Callable[[str], Any]] = [trax.load, trax.Trax().recover]
    for load in loads:
        caplog.clear()
        assert load("loop") == 1
        assert "the code of" not in caplog.text
    monkeypatch.setattr(sys.modules[__name__], "fold", after)
    for load in loads:
        with caplog.at_level("INFO", "trax"):
            caplog.clear()
            assert load("loop") == -1
        assert "loop: the code of replay_log has changed" in caplog.text
