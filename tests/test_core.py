"""The public core: `Trax`, and `trax.load`; in one process and across real ones."""

from __future__ import annotations

import contextlib
import copy
import errno
import itertools
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import pytest
from support import run_script, start_script

import trax
from trax.comparing import difference
from trax.storage.codec import encode
from trax.storage.filesystem import LocalDirectory
from trax.storage.process import process
from trax.storage.store import Store

# The text of the contract, to the letter.
EXAMPLE = """
import trax

store = trax.Trax()                       # traxdir=".trax", or $TRAX_DIR

hello = store.recover("hello", create=lambda: "world")    # created and stored the first time, loaded after

store.checkpoint(existence="u")           # saves the state, and clears the log of this name
for c in "niverse":
    store.log(existence=c)                # one increment

existence = store.recover("existence", create=lambda: "u",
                          replay_log=lambda state, log: state + log)
assert existence == "universe"            # in this process, and in any later one
"""  # noqa: E501


def join(state: Any, increment: Any) -> Any:
    """Add an increment to the state."""
    return state + increment


def last(state: Any, increment: Any) -> Any:
    """Return the increment."""
    return increment


def files(path: Path) -> dict[str, bytes]:
    """Return every file below a directory."""
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


# -- the example of the contract -----------------------------------------------------------


def test_the_example() -> None:
    """Word for word, in one process."""
    exec(compile(EXAMPLE, "<example>", "exec"), {"__name__": "example"})


def test_the_example_in_a_process_and_in_any_later_one() -> None:
    """Again, and read by another, and gone on with by a third."""
    for _ in range(2):
        run_script(EXAMPLE)
    later = """
import trax
store = trax.Trax()
assert store.recover("hello", create=lambda: 1 / 0) == "world"
print(store.recover("existence", replay_log=lambda state, log: state + log))
"""
    assert run_script(later).stdout == "universe\n"
    more = "import trax\ntrax.Trax().log(existence='!')"
    run_script(more)
    assert run_script(later).stdout == "universe!\n"


# -- checkpoint, log, recover --------------------------------------------------------------


def test_a_checkpoint_alone_is_the_state() -> None:
    """Of each name in the call."""
    with trax.Trax() as store:
        store.checkpoint(one=1, two=[2], three=None)
        assert store.recover("one") == 1
        assert store.recover("two") == [2]
        assert store.recover("three") is None
    assert trax.load("two") == [2]


def test_a_checkpoint_clears_the_log() -> None:
    """What was logged before it is in the state, and is not replayed again."""
    with trax.Trax() as store:
        store.checkpoint(text="a")
        store.log(text="b")
        store.checkpoint(text="AB")
        store.log(text="c")
        assert store.recover("text", replay_log=join) == "ABc"


def test_a_log_before_any_checkpoint_loses_nothing() -> None:
    """RunReader starts from what create gives, also in a later process."""
    with trax.Trax() as store:
        for c in "bcd":
            store.log(text=c)
    with trax.Trax() as store:
        assert store.recover("text", create=lambda: "a", replay_log=join) == "abcd"


def test_a_log_before_any_checkpoint_stays_a_log() -> None:
    """Recovering it stores nothing: until there is a checkpoint, the state begins with create."""
    with trax.Trax() as store:
        store.log(text="b")
        assert store.recover("text", create=lambda: "a", replay_log=join) == "ab"
        store.log(text="c")
        assert store.recover("text", create=lambda: "A", replay_log=join) == "Abc"
        store.checkpoint(text="abc")
        store.log(text="d")
        assert store.recover("text", create=lambda: "A", replay_log=join) == "abcd"


def test_a_log_without_any_checkpoint_needs_no_create_where_it_replaces() -> None:
    """The last increment is the state."""
    with trax.Trax() as store:
        store.log(number=1)
        store.log(number=2)
        assert store.recover("number") == 2
        with pytest.raises(trax.NotFoundError, match="create="):
            store.recover("number", replay_log=join)


def test_what_create_makes_is_stored() -> None:
    """It is called once, in whichever process is the first."""
    made = itertools.count(1)
    with trax.Trax() as store:
        assert store.recover("number", create=lambda: next(made)) == 1
        assert store.recover("number", create=lambda: next(made)) == 1
        assert store.recover("number") == 1
    assert trax.Trax().recover("number", create=lambda: next(made)) == 1
    assert next(made) == 2


def test_a_create_that_fails_stores_nothing() -> None:
    """Its exception is the caller's, and the next attempt begins as the first one did."""
    with trax.Trax() as store:
        with pytest.raises(ZeroDivisionError):
            store.recover("number", create=lambda: 1 // 0)
        with pytest.raises(trax.NotFoundError):
            store.recover("number")
        assert store.recover("number", create=lambda: 5) == 5


def test_a_create_whose_result_cannot_be_stored_is_an_error() -> None:
    """Now, and not at the next start."""
    with trax.Trax() as store:
        with pytest.raises(trax.CodecError):
            store.recover("lock", create=threading.Lock)
        assert store.recover("lock", create=lambda: "fine") == "fine"


def test_nothing_stored_and_no_create_is_a_clear_error(store_here: Path) -> None:
    """It names the name and the directory, and reading makes neither."""
    for recover in (trax.Trax().recover, trax.load):
        with pytest.raises(trax.NotFoundError, match="nothing is stored as 'nobody'") as caught:
            recover("nobody")
        assert str(store_here) in str(caught.value)
        assert isinstance(caught.value, LookupError)
    assert not store_here.exists()


def test_arrays_come_back_bit_for_bit() -> None:
    """Writable, from the checkpoint and from the log."""
    rng = np.random.default_rng(1)
    state, increment = rng.normal(size=(20, 30)), rng.normal(size=(20, 30))
    with trax.Trax() as store:
        store.checkpoint(array=state)
        store.log(array=increment)
    found = trax.load("array", replay_log=lambda state, increment: state + increment)
    assert found.tobytes() == (state + increment).tobytes()
    with trax.Trax() as store:
        store.checkpoint(array=state)
    found = trax.load("array")
    found += 1


def test_lambdas_are_stored_and_classes_of_main_are_the_present_ones() -> None:
    """The script was fixed between two runs: the fixed class comes back."""
    script = """
import trax

class Model:
    def answer(self):
        return VALUE

with trax.Trax() as store:
    model, function = store.recover("model", create=lambda: (Model(), lambda: Model().answer()))
    print(model.answer(), function(), type(model) is Model)
"""
    assert run_script(script.replace("VALUE", "'buggy'")).stdout == "buggy buggy True\n"
    assert run_script(script.replace("VALUE", "'fixed'")).stdout == "fixed fixed True\n"


# -- all or nothing ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["log", "checkpoint"])
def test_what_cannot_be_pickled_leaves_no_trace_for_any_name(how: str, store_here: Path) -> None:
    """All are pickled before the first is stored; the error names the culprit."""
    with trax.Trax() as store:
        store.checkpoint(good=1)
        before = files(store_here / "runs")
        with pytest.raises(trax.CodecError, match=r"bad\['deep'\]\[0\] \(_thread\.lock\)"):
            getattr(store, how)(good=2, bad={"deep": [threading.Lock()]}, other=3)
        assert files(store_here / "runs") == before
        assert store.recover("good") == 1
        with pytest.raises(trax.NotFoundError):
            store.recover("other")


BAD_NAMES = ["../../x", "..", ".", "", " ", "a/b", "a\\b", "a\0b", "\ud800", "x" * 300]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_no_name_leaves_the_store(name: str, tmp_path: Path) -> None:
    """Nor can it be empty; it is an error of use, and nothing is stored."""
    store = trax.Trax(tmp_path / "deep" / "store")
    actions: list[Callable[[], object]] = [
        lambda: store.log(**{name: 1}),
        lambda: store.checkpoint(**{name: 1}),
        lambda: store.recover(name),
        lambda: store.recover(name, create=lambda: 1),
        lambda: trax.load(name, traxdir=tmp_path / "deep" / "store"),
    ]
    for action in actions:
        with pytest.raises(trax.UsageError):
            action()
    assert [str(path) for path in tmp_path.rglob("x*")] == []
    assert not (tmp_path / "deep" / "store" / "runs").exists()


@pytest.mark.parametrize("how", ["log", "checkpoint"])
def test_a_name_that_cannot_work_leaves_no_trace_for_any_name(how: str, store_here: Path) -> None:
    """A `UsageError` says that nothing was stored, and so it is."""
    with trax.Trax() as store:
        store.checkpoint(good=1)
        before = files(store_here / "runs")
        with pytest.raises(trax.UsageError):
            getattr(store, how)(**{"good": 2, "../bad": 3})
        assert files(store_here / "runs") == before


@pytest.mark.parametrize(
    "name", ["two words", "Erdős", "50%", "self", ".hidden", "a:b", "~", "CON"]
)
def test_any_other_name_will_do(name: str, store_here: Path) -> None:
    """Each in a directory of its own, below the store."""
    with trax.Trax() as store:
        store.checkpoint(**{name: [name]})
        store.log(**{name: [1]})
    assert trax.load(name, replay_log=join) == [name, 1]
    assert len(list((store_here / "runs").iterdir())) == 1


# -- the directory -------------------------------------------------------------------------


def test_the_store_is_where_one_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, or ``$TRAX_DIR``, or ``.trax``; made with its parents."""
    trax.Trax().checkpoint(where="default")
    monkeypatch.setenv("TRAX_DIR", str(tmp_path / "set" / "by" / "environment"))
    trax.Trax().checkpoint(where="environment")
    trax.Trax(tmp_path / "given").checkpoint(where="given")
    assert trax.load("where", traxdir=".trax") == "default"
    assert trax.load("where") == "environment"
    assert trax.load("where", traxdir=str(tmp_path / "given")) == "given"
    assert trax.load("where", traxdir=tmp_path / "set/by/environment") == "environment"


def test_a_store_stays_where_it_was_when_the_program_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative directory is meant from where the store was made."""
    with trax.Trax() as store:
        store.checkpoint(one=1)
        monkeypatch.chdir("/")
        store.log(one=2)
        assert store.recover("one") == 2
    assert trax.load("one", traxdir=tmp_path / ".trax", replay_log=last) == 2


def test_a_store_can_be_moved_as_a_whole(tmp_path: Path) -> None:
    """Nothing in it says where it is."""
    with trax.Trax() as store:
        store.checkpoint(text="a")
        store.log(text="b")
    Path(".trax").rename("elsewhere")
    with trax.Trax("elsewhere") as store:
        store.log(text="c")
        assert store.recover("text", replay_log=join) == "abc"


def test_a_store_is_private_and_git_ignores_it(store_here: Path) -> None:
    """Directories 0700, files 0600, and a ``.gitignore`` of everything."""
    with trax.Trax() as store:
        store.checkpoint(one=1)
    assert (store_here / ".gitignore").read_text() == "*\n"
    for path in [store_here, *store_here.rglob("*")]:
        if path.name != ".gitignore":
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_files_of_others_are_not_hidden_from_git(tmp_path: Path) -> None:
    """In a directory that has some, the store has no ``.gitignore``; nor is one written again."""
    Path("project").mkdir(0o700)
    Path("project", "thesis.tex").touch()
    for _ in range(2):
        with trax.Trax("project") as store:
            store.checkpoint(one=1)
        assert not Path("project", ".gitignore").exists()
    Path("made before").mkdir(0o700)
    with trax.Trax("made before") as store:
        store.checkpoint(one=1)
    Path("made before", ".gitignore").unlink()
    with trax.Trax("made before") as store:
        store.log(one=2)
    assert not Path("made before", ".gitignore").exists()


@pytest.mark.parametrize("name", ["a\x9b31mred\u202eevil", "\u2066hidden", "a\x85"])
def test_a_name_cannot_steer_the_terminal(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of a store that somebody handed over; the state is readable, and shown are escapes."""

    @trax.resumable(create=int, name="{name}")
    def loop(n: int, name: str) -> Generator[int, int, None]:
        while n < 3:
            n = yield n + 1

    next(loop(name))
    run = loop(name)
    assert run.resumed_at == 1
    run.close()
    assert trax.load(name) == 1
    shown = [str(trax.verify(name)), str(trax.repair(name)), repr(run), *caplog.messages]
    with pytest.raises(trax.UsageError) as caught:
        next(run)
    shown.append(str(caught.value))
    assert [message for message in caplog.messages if "resumed at step 1" in message]
    for text in shown:
        assert text.replace("\n", "").isprintable()


def test_two_stores_in_one_program_do_not_mix(tmp_path: Path) -> None:
    """The same name in each is another state."""
    with trax.Trax("one") as one, trax.Trax("two") as two:
        one.checkpoint(n=1)
        two.checkpoint(n=2)
        one.log(n=10)
        assert (one.recover("n"), two.recover("n")) == (10, 2)


@pytest.mark.parametrize("options", [{"sync": "sometimes"}, {"keep": 0}, {"keep": True}], ids=str)
def test_options_are_checked_at_once(options: dict[str, Any], store_here: Path) -> None:
    """Not hours later."""
    with pytest.raises(trax.UsageError):
        trax.Trax(**options)
    assert not store_here.exists()


# -- trust ---------------------------------------------------------------------------------

PLACES = [".", "runs/one", "runs/one/checkpoint-00000001", "runs/one/log-00000001"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_what_others_can_write_is_not_loaded(
    place: str, mode: int, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither read nor gone on with, unless the person says so."""
    with trax.Trax() as store:
        store.checkpoint(one=1)
    path = store_here / place
    path.chmod(path.stat().st_mode | mode)
    before = files(store_here / "runs")
    with trax.Trax() as store:
        actions: list[Callable[[], object]] = [
            lambda: trax.load("one"),
            lambda: store.recover("one"),
            lambda: store.log(one=2),
        ]
        for action in actions:
            with pytest.raises(trax.UntrustedError, match="can be written by other users"):
                action()
        assert files(store_here / "runs") == before
        monkeypatch.setenv("TRAX_TRUST", "1")
        store.log(one=2)
    assert trax.load("one", replay_log=last) == 2


@pytest.mark.parametrize("place", PLACES)
def test_what_belongs_to_somebody_else_is_not_loaded(
    place: str, store_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except to root, who could write everything anyway."""
    with trax.Trax() as store:
        store.checkpoint(one=1)
    try:
        os.chown(store_here / place, 54321, 54321)
    except PermissionError:
        pytest.skip("only root can give a file to another user")
    with pytest.raises(trax.UntrustedError, match="belongs to user 54321"):
        trax.load("one")
    monkeypatch.setenv("TRAX_TRUST", "1")
    assert trax.load("one") == 1


@pytest.mark.parametrize("place", [*PLACES[2:], "locks/one"])
@pytest.mark.parametrize("kind", ["FIFO", "link", "directory"])
def test_only_regular_files_are_opened(place: str, kind: str, store_here: Path) -> None:
    """Nothing waits for a FIFO, nothing follows a link, and the error is one of trax."""
    with trax.Trax() as store:
        store.checkpoint(one=1)
    path = store_here / place
    path.rename(store_here / "away")
    if kind == "FIFO":
        os.mkfifo(path, 0o600)
    elif kind == "link":
        path.symlink_to(store_here / "away")
    else:
        path.mkdir(0o700)
    with trax.Trax() as store, pytest.raises((trax.UntrustedError, trax.StorageError)) as caught:
        store.log(one=2)
    assert place in str(caught.value)


# -- one writer, any number of readers -----------------------------------------------------


def test_one_process_holds_a_name_and_others_are_told_who() -> None:
    """From the first log or checkpoint until it closes; other names are free."""
    holder = """
import sys, trax
store = trax.Trax()
store.checkpoint(one=1)
store.log(one=2)
print("held", flush=True)
sys.stdin.read()
"""
    with start_script(holder) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with trax.Trax(wait=0) as store:
            actions: list[Callable[[], object]] = [
                lambda: store.log(one=3),
                lambda: store.checkpoint(one=3),
            ]
            for action in actions:
                with pytest.raises(trax.LockedError, match=f"held by process {process.pid} on"):
                    action()
            assert store.recover("one") == trax.load("one", replay_log=last) == 2
            assert store.recover("one", create=lambda: 7) == 2
            store.checkpoint(other=5)
            process.stdin.close()
            process.wait()
            store.log(one=3)
    assert trax.load("one", replay_log=last) == 3


def test_a_writer_that_is_killed_leaves_nothing_to_clean_up() -> None:
    """What it logged is there, and the next one goes on at once."""
    writer = """
import os, signal, trax
store = trax.Trax()
store.checkpoint(text="")
for c in "abc":
    store.log(text=c)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_script(writer, check=False).returncode == -signal.SIGKILL
    with trax.Trax() as store:
        store.log(text="d")
        assert store.recover("text", replay_log=join) == "abcd"


def test_two_stores_of_one_program_do_not_both_write_a_name() -> None:
    """The second is told that it is this very process."""
    with trax.Trax() as one, trax.Trax() as two:
        one.log(n=1)
        with pytest.raises(trax.LockedError, match="this very process"):
            two.log(n=2)
        one.close()
        two.log(n=3)
        assert two.recover("n") == 3


def test_a_store_that_is_forgotten_lets_go() -> None:
    """Closing is good style, but nobody is locked out without it."""
    trax.Trax().log(n=1)
    with trax.Trax() as store:
        store.log(n=2)


def test_a_forked_child_cannot_write_what_its_parent_holds() -> None:
    """It is told so; it can read, and write other names; the parent goes on."""
    script = """
import os, trax
store = trax.Trax(sync="os")
store.log(one=1)
child = os.fork()
if not child:
    refused = 0
    for act in (store.log, store.checkpoint):
        try:
            act(one=2)
        except trax.LockedError:
            refused += 1
    assert store.recover("one") == 1
    trax.Trax().checkpoint(other="child")
    os._exit(refused)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
store.log(one=3)
store.close()
print(store.recover("one"), trax.load("other"))
"""
    assert run_script(script).stdout == "2\n3 child\n"


class Point(NamedTuple):
    """An increment with a class."""

    x: int


INCREMENTS = [
    1,
    ["a", ("b", 2.5)],
    "x" * 200_000,
    Point(1),
    np.arange(3),
    np.arange(50_000.0),
    [np.arange(20_000)[::2], bytearray(b"c")],
]


@pytest.mark.parametrize("increment", INCREMENTS, ids=lambda one: type(one).__name__)
def test_any_increment_is_logged_as_it_is_then(increment: Any) -> None:
    """Plain values, instances of classes, and arrays: later changes are not stored."""
    expected = copy.deepcopy(increment)
    with trax.Trax() as store:
        store.log(one=increment, two=0)
        if isinstance(increment, np.ndarray):
            increment[:] = 7
        found: Any = store.recover("one")
    assert type(found) is type(expected)
    assert difference(expected, found, "increment") == ""


def test_an_object_that_cannot_be_pickled_is_named_and_nothing_is_stored() -> None:
    """Also if it comes after others, of other names."""
    with trax.Trax() as store:
        store.log(one=1)
        with pytest.raises(trax.CodecError, match=r"two\[0\]"):
            store.log(one=2, two=[threading.Lock()])
        assert store.recover("one") == 1
        with pytest.raises(trax.NotFoundError):
            store.recover("two")


def test_a_log_takes_one_system_call_and_few_calls() -> None:
    """One that appends an increment without classes, and has nothing else that is due."""
    calls: list[str] = []
    logs: list[list[str]] = []

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call":
            calls.append(argument.__name__)
        elif event == "call":
            calls.append(frame.f_code.co_name)

    with trax.Trax(sync="os") as store:
        store.log(one=(0, 1.5, "xyz"))
        for number in range(1, 5):
            sys.setprofile(profile)
            store.log(one=(number, 2.5, "abc"))
            sys.setprofile(None)
            logs.append(
                [name for name in calls if name not in ("setprofile", "__enter__", "__exit__")]
            )
            calls.clear()
    calls = min(logs, key=len)
    assert calls.count("write") == 1
    assert len(calls) <= 15, calls


WRITER = """
import sys, threading, trax
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
with trax.Trax(sync="os") as store:
    store.checkpoint(numbers=[])
    print("begun", flush=True)
    while not ended.is_set():
        numbers = []
        for number in range(200):
            store.log(numbers=(number, bytes(number)))
            numbers.append(number)
            if number == 100:
                store.checkpoint(numbers=numbers)
        store.checkpoint(numbers=[])
"""


def collect(state: list[int], increment: tuple[int, bytes]) -> list[int]:
    """Append the number to the state."""
    number, content = increment
    assert content == bytes(number)
    return [*state, number]


@pytest.mark.parametrize("how", ["recover", "load"])
def test_a_store_can_be_read_while_another_process_writes_it(how: str) -> None:
    """Every read gives a state that the writer was in, and disturbs nobody."""
    with start_script(WRITER) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        read: Callable[..., list[int]] = trax.load if how == "load" else trax.Trax().recover
        found = [read("numbers", replay_log=collect) for _ in range(100)]
        process.stdin.close()
        assert process.wait() == 0
    assert [len(numbers) for numbers in found if numbers != list(range(len(numbers)))] == []
    assert max(map(len, found)) <= 200
    assert len(set(map(len, found))) > 1


def test_a_checkpoint_while_somebody_looks_does_not_mix_two_states(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A look at the directory can fall between a new log and its checkpoint.

    What is in that log when it is read may belong to the state of that checkpoint.
    """
    with trax.Trax() as store:
        store.checkpoint(text="a")
        store.log(text="b")
        look = LocalDirectory.list

        def look_meanwhile(directory: LocalDirectory) -> list[str]:
            monkeypatch.setattr(LocalDirectory, "list", look)
            found = look(directory)
            store.checkpoint(text="x")
            store.log(text="y")
            return [*found, "log-00000002"]

        monkeypatch.setattr(LocalDirectory, "list", look_meanwhile)
        assert trax.load("text", replay_log=join) in ("ab", "x", "xy")


def test_a_run_that_is_begun_afresh_while_somebody_looks_is_read_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though its files have the same names: the old ones and the new ones are never mixed."""

    @trax.resumable(create=int)
    def loop(n: int, to: int) -> Generator[int, int, None]:
        while n < to:
            n = yield n + 1

    assert loop(to=3).result() == 3
    look = LocalDirectory.list

    def look_meanwhile(directory: LocalDirectory) -> list[str]:
        monkeypatch.setattr(LocalDirectory, "list", look)
        found = look(directory)
        assert loop.fresh(to=5).result() == 5
        return found

    monkeypatch.setattr(LocalDirectory, "list", look_meanwhile)
    assert trax.load("loop") == 5


# -- closing -------------------------------------------------------------------------------


def test_a_closed_store_writes_no_more_but_can_be_read() -> None:
    """Closing again does nothing; a new one goes on."""
    store = trax.Trax()
    store.log(n=1)
    store.close()
    store.close()
    actions: list[Callable[[], object]] = [lambda: store.log(n=2), lambda: store.checkpoint(n=2)]
    for action in actions:
        with pytest.raises(trax.UsageError, match="is closed"):
            action()
    assert store.recover("n") == 1
    with trax.Trax() as again:
        again.log(n=2)
        assert store.recover("n") == 2


def test_leaving_the_block_closes_also_after_an_exception() -> None:
    """What was logged in it is kept."""
    with contextlib.suppress(ZeroDivisionError), trax.Trax() as store:
        store.log(n=1)
        raise ZeroDivisionError
    with trax.Trax() as store:
        assert store.recover("n") == 1
        store.log(n=2)


def test_the_repr_says_where_it_is(store_here: Path) -> None:
    """For a person at a prompt."""
    assert repr(trax.Trax()) == f"Trax({str(store_here)!r})"


def test_no_thread_and_no_descriptor_outlive_a_store() -> None:
    """The thread that syncs ends with the last name that it serves."""
    threads, descriptors = {*threading.enumerate()}, {*os.listdir("/dev/fd")}
    with trax.Trax(sync="interval") as store:
        store.log(one=1, two=2)
        store.checkpoint(one=1)
        assert {*threading.enumerate()} - threads
    assert {*threading.enumerate()} <= threads
    assert {*os.listdir("/dev/fd")} <= descriptors


# -- damage --------------------------------------------------------------------------------


def test_a_damaged_newest_checkpoint_is_refused_by_name(store_here: Path) -> None:
    """What a person stores need not follow from the log before it; nothing else can stand in."""
    with trax.Trax() as store:
        for text in ("a", "bc", "de"):
            store.log(text=text)
            store.checkpoint(text=store.recover("text", create=str, replay_log=join))
        store.log(text="f")
    newest = max((store_here / "runs" / "text").glob("checkpoint-*"))
    whole = newest.read_bytes()
    newest.write_bytes(whole[:-5] + b"?" * 5)
    before = {path: path.read_bytes() for path in newest.parent.iterdir()}
    with pytest.raises(trax.CorruptionError) as caught:
        trax.load("text", replay_log=join)
    assert caught.value.path == str(newest)
    with trax.Trax() as store, pytest.raises(trax.CorruptionError):
        store.log(text="g")
    assert {path: path.read_bytes() for path in newest.parent.iterdir()} == before
    newest.write_bytes(whole)
    assert trax.load("text", replay_log=join) == "abcdef"


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_damaged_checkpoint_never_gives_a_mixture_of_two_states(restarts: int) -> None:
    """Not even where the example of the contract was run twice: it is an error by name."""
    with trax.Trax() as store:
        for _ in range(1 + restarts):
            store.checkpoint(existence="u")
            for c in "niverse":
                store.log(existence=c)
    newest = max(Path(".trax/runs/existence").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-5] + b"?" * 5)
    with pytest.raises(trax.CorruptionError, match=newest.name):
        trax.load("existence", replay_log=join)
    with trax.Trax() as store, pytest.raises(trax.CorruptionError, match=newest.name):
        store.recover("existence", create=lambda: "u", replay_log=join)


@pytest.mark.parametrize("place", ["runs/one/log-00000001", "runs/one/checkpoint-00000001"])
def test_what_cannot_be_recovered_is_an_error_and_is_left_as_it_is(
    place: str, store_here: Path
) -> None:
    """Named, with the file; trax never begins afresh over it."""
    with trax.Trax() as store:
        store.checkpoint(one=1)
        store.log(one=2)
        store.log(one=3)
    path = store_here / place
    content = bytearray(path.read_bytes())
    content[1050] ^= 1
    path.write_bytes(content)
    before = files(store_here / "runs")
    with trax.Trax() as store:
        actions: list[Callable[[], object]] = [
            lambda: trax.load("one", replay_log=last),
            lambda: store.recover("one"),
            lambda: store.recover("one", create=lambda: 0),
            lambda: store.log(one=4),
            lambda: store.checkpoint(one=4),
        ]
        for action in actions:
            with pytest.raises(trax.CorruptionError) as caught:
                action()
            assert caught.value.path == str(path)
    assert files(store_here / "runs") == before


def test_a_disk_that_is_full_costs_only_what_does_not_fit() -> None:
    """A real limit of the file system: what was acknowledged stays, with room it goes on."""
    script = """
import resource, trax
store = trax.Trax()
store.checkpoint(numbers=[])
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1200, limits[1]))
acknowledged = []
try:
    for number in range(100):
        store.log(numbers=number)
        acknowledged.append(number)
except trax.DurabilityError as error:
    assert "File too large" in str(error)
try:
    store.checkpoint(numbers=list(range(1000)))
except trax.StorageError as error:
    assert not isinstance(error, trax.DurabilityError)
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
store.log(numbers=len(acknowledged))
assert 0 < len(acknowledged) < 99
print(store.recover("numbers", replay_log=lambda state, log: [*state, log])
      == [*acknowledged, len(acknowledged)])
"""
    assert run_script(script).stdout == "True\n"


def test_a_sync_that_fails_in_the_background_is_said_at_the_next_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing more is acknowledged in that log; a checkpoint begins a new one."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with trax.Trax() as store:
        store.checkpoint(text="a")
        store.log(text="b")
        with monkeypatch.context() as patch:
            patch.setattr(process, "force", fail)
            store._held["text"].writer.sync()
        for _ in range(2):
            with pytest.raises(trax.DurabilityError, match="a new checkpoint begins a new log"):
                store.log(text="c")
        assert store.recover("text", replay_log=join) == "ab"
        store.checkpoint(text="ab")
        store.log(text="c")
        assert store.recover("text", replay_log=join) == "abc"


def test_a_signal_handler_cannot_log_in_the_middle_of_a_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told to set a flag; what was under way is stored as if nothing had been."""
    told: list[pytest.ExceptionInfo[trax.UsageError]] = []
    create = LocalDirectory.create

    def interrupted(directory: LocalDirectory, name: str) -> Any:
        for act in (store.log, store.checkpoint):
            with pytest.raises(trax.UsageError, match="set a flag") as caught:
                act(n=2)
            told.append(caught)
        return create(directory, name)

    with trax.Trax() as store:
        with monkeypatch.context() as patch:
            patch.setattr(LocalDirectory, "create", interrupted)
            store.log(n=1)
        assert len(told) == 2
        assert store.recover("n") == 1
        store.log(n=3)
        assert store.recover("n") == 3


@pytest.mark.parametrize("place", ["runs/one/checkpoint-00000001", "runs/one", "runs", "."])
def test_what_may_not_be_read_is_an_error_by_name(place: str) -> None:
    """It is never said that nothing is stored, and nothing is begun anew."""
    script = """
import os, sys
from trax import Trax, TraxError, load  # another user may not read the modules of trax
if not os.geteuid():
    os.seteuid(54321)  # root could read everything
store = Trax(sys.argv[1])
for act in (
    lambda: load("one", traxdir=sys.argv[1]),
    lambda: store.recover("one"),
    lambda: store.recover("one", create=lambda: 0),
    lambda: store.log(one=2),
):
    try:
        print("found", act())
    except TraxError as error:
        print(type(error).__name__)
"""
    with tempfile.TemporaryDirectory() as outside:
        os.chmod(outside, 0o755)
        path = Path(outside, "store")
        with trax.Trax(path) as store:
            store.checkpoint(one=1)
        if os.geteuid() == 0:
            for inside in [path, *path.rglob("*")]:
                inside.chmod(0o755)
        (path / place).chmod(0)
        try:
            assert run_script(script, str(path)).stdout == "StorageError\n" * 4
        finally:
            (path / place).chmod(0o700)


# -- what holds, and makes no sense --------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "function", "reason"),
    [
        ({"generators": {"0": 999}}, max, "RNGs in the state"),
        ({"generators": {"0": 0}}, max, "RNGs in the state"),
        ({"replay_log": "function"}, "no function", "cannot be called"),
    ],
)
def test_a_checkpoint_that_does_not_fit_itself_is_an_error_with_its_file(
    store_here: Path, meta: dict[str, Any], function: Any, reason: str
) -> None:
    """Its checksums hold, and what it says is not so: there is nothing to go on with."""
    hold = Store().hold("run", sync="os", keep=2, report=print)
    parts = {"state": encode([1], "state"), "replay_log": encode(function, "replay_log")}
    hold.writer.checkpoint({"step": 1, **meta}, parts, derived=True)
    hold.writer.append(encode([2], "increment"))
    hold.close()
    with pytest.raises(trax.CorruptionError, match=reason) as caught:
        trax.load("run")
    assert caught.value.path == str(store_here / "runs" / "run" / "checkpoint-00000001")


def test_a_store_waits_for_the_holder_of_a_name() -> None:
    holder = """
import sys, trax
store = trax.Trax()
store.checkpoint(one=1)
print("held", flush=True)
sys.stdin.read()
"""
    with start_script(holder) as process, trax.Trax(wait=float("inf")) as store:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.kill()
        store.log(one=2)
    assert trax.load("one", replay_log=last) == 2
