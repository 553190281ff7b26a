"""New runs from a step of old ones."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import KILLED_LATER, flipped, start_script, write_script
from test_rewind import KINDS, Loop, loop, seed

import trax
from trax import ArgumentsChangedError, CorruptionError, NotFoundError, UntrustedError, UsageError
from trax.storage.context import TIME, encode_context
from trax.storage.store import Store


def named(kind: str, name: str, **options: Any) -> Any:
    function, given = KINDS[kind]
    given = {"keep": "all", "every_steps": 4, **given, **options}
    return trax.resumable(name=name, **given)(function)


@pytest.mark.parametrize("key", ["", "ab" * 32], ids=["unsigned", "signed"])
@pytest.mark.parametrize("kind", ["declared", "plain", "changing", "items"])
def test_a_fork_goes_on_to_the_same_bits(
    kind: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any step; and so do a fork of it, and the old run, which stays as it is."""
    if key:
        monkeypatch.setenv("TRAX_KEY", key)
    seed(1)
    run = loop(kind)(steps=30)
    increments, result = list(run), run.result()
    files = {file.name: file.read_bytes() for file in Path(".trax/runs/run").iterdir()}
    chosen = random.Random(kind).sample(range(5, 30), 3)
    for step in [4, 12, 30] if kind == "changing" else [4, 30, *chosen][: 2 if key else None]:
        forked = trax.fork("run", f"fork-{step}", step=step)
        assert (forked.step, forked.outputs) == (step, ())
        assert str(forked) == f"fork-{step} was forked from run at step {step}: {forked.path}"
        assert trax.verify(f"fork-{step}").good
        seed(7)
        again = named(kind, f"fork-{step}")(steps=30)
        assert list(again) == increments[step:]
        assert again.result() == result
        if kind != "changing":
            told = [(at, one) for at, _, one in trax.history(f"fork-{step}")]
            assert told == [*enumerate(increments, 1)][told[0][0] - 1 :] if told else step == 30
    assert {file.name: file.read_bytes() for file in Path(".trax/runs/run").iterdir()} == files


def test_forks_are_forked_and_rewound_like_other_runs() -> None:
    """Their steps are those of the run that they came from."""
    seed(1)
    increments = list(loop("declared")(steps=30))
    trax.fork("run", "one", step=14)
    assert len(list(named("declared", "one")(steps=30))) == 16
    trax.fork("one", "two", step=22)
    assert trax.load("two") == increments[:22]
    assert trax.load("one", step=13) == increments[:13]
    trax.rewind("one", step=18)
    assert trax.load("one") == increments[:18]
    assert list(named("declared", "one")(steps=30)) == increments[18:]
    assert trax.repair("one").step == 30


def test_the_newest_step_is_the_default() -> None:
    """With the result of a run that is done."""
    list(loop("plain")(steps=9))
    assert trax.fork("run", "again").as_dict()["step"] == 9
    assert named("plain", "again")(steps=9).result() == loop("plain")(steps=9).result()


def test_the_arguments_are_those_of_the_old_run() -> None:
    """But for those that may vary, such as one in the name."""

    def walk(state: int, start: int, to: int) -> Loop:
        while state < to:
            state = yield state + start

    def decorated(*varying: str) -> Any:
        return trax.resumable(create=int, name="walk-{start}", varying=varying, keep="all")(walk)

    decorated()(start=1, to=10).result()
    trax.fork("walk-1", "walk-2", step=4)
    with pytest.raises(ArgumentsChangedError, match="start: 1 -> 2"):
        decorated()(start=2, to=10).result()
    assert list(decorated("start")(start=2, to=10)) == [6, 8, 10]


def test_maps_and_states_without_a_loop_are_forked() -> None:
    """The function is called for the items that the new run does not have."""
    called = []

    def double(item: int) -> int:
        called.append(item)
        return 2 * item

    assert len(list(trax.map(double, range(5), name="old"))) == 5
    trax.fork("old", "new", step=3)
    called.clear()
    assert sorted(trax.map(double, range(5), name="new")) == [(n, 2 * n) for n in range(5)]
    assert len(called) == 2
    with trax.Trax(keep="all") as store:
        store.log(word="a")
        store.log(word="b")
    assert trax.fork("word", "copy", step=1).step == 1
    assert [*trax.history("copy")] == [(1, None, "a")]


def test_times_are_those_of_the_old_run() -> None:
    """They are in notes, between the increments."""
    store = Store()
    held = store.hold("timed", sync="os", keep=2, report=print)
    for number in range(3):
        note = encode_context([(TIME, struct.pack("<d", 1000.0 + number))])
        held.writer.copy_note(note)
        held.append(b"\x80\x05K" + bytes([number]) + b".")
    held.close()
    trax.fork("timed", "copy", step=2)
    assert [*trax.history("copy")] == [(1, 1000.0, 0), (2, 1001.0, 1)]
    assert [*trax.history("timed")][:2] == [*trax.history("copy")]


# -- refusals ------------------------------------------------------------------------------


def test_a_fork_overwrites_nothing() -> None:
    """Neither a run that is stored nor itself."""
    list(loop("declared")(steps=9))
    list(named("declared", "other")(steps=9))
    for name in ("other", "run"):
        with pytest.raises((UsageError, trax.LockedError), match="stored already"):
            trax.fork("run", name, step=3)
    with pytest.raises(UsageError, match="cannot be a run's name"):
        trax.fork("run", "a/b", step=3)
    assert len(trax.load("other")) == 9


def test_a_step_that_is_not_there_is_no_other_step() -> None:
    """And nothing is made."""
    list(loop("changing")(steps=9))
    for step in (3, 10):
        with pytest.raises(NotFoundError, match="Give one of these steps: 0, 4 and 8 to 9"):
            trax.fork("run", "new", step=step)
    with pytest.raises(NotFoundError, match="nothing is stored as 'nothing'"):
        trax.fork("nothing", "new")
    assert os.listdir(".trax/runs") == ["run"]
    assert os.listdir(".trax/aside") == []


def test_damage_and_a_lost_key_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the old run itself."""
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    list(loop("declared")(steps=9))
    log = Path(".trax/runs/run/log-00000002")
    content = log.read_bytes()
    log.write_bytes(flipped(content, 1040))
    with pytest.raises(CorruptionError, match="log-00000002 is damaged"):
        trax.fork("run", "new", step=7)
    log.write_bytes(content)
    monkeypatch.setenv("TRAX_KEY", "cd" * 32)
    with pytest.raises(UntrustedError):
        trax.fork("run", "new", step=7)
    assert os.listdir(".trax/runs") == ["run"]


# -- output files --------------------------------------------------------------------------


def write(n: int, to: int, path: str) -> Loop:
    while n < to:
        with trax.open(path, "a") as file:
            file.write(f"{n}\n")
        n = yield n + 1


def writing(name: str, **options: Any) -> Any:
    return trax.resumable(create=int, keep="all", varying="path", name=name, every_steps=4)(write)


@pytest.mark.parametrize("is_absolute", [False, True])
def test_output_files_are_copied_to_where_they_are_told(is_absolute: bool) -> None:
    """Up to the step; then each run writes to its own."""
    old, new = (os.path.abspath(one) if is_absolute else one for one in ("old.txt", "new.txt"))
    writing("old")(to=20, path=old).result()
    lines = Path("old.txt").read_text()
    with pytest.raises(UsageError, match=r"'old' has output files, which its fork may not share"):
        trax.fork("old", "new", step=7)
    forked = trax.fork("old", "new", step=7, outputs={"old.txt": "new.txt"})
    assert forked.outputs == (os.path.abspath("new.txt"),)
    with pytest.raises(UsageError, match=r"'old' has no output file \S+other\.txt"):
        trax.fork("old", "new-2", step=7, outputs={"old.txt": "2.txt", "other.txt": "3.txt"})
    assert Path("new.txt").read_text() == "".join(f"{n}\n" for n in range(7))
    assert trax.verify("new").good
    assert list(writing("new")(to=20, path=new)) == [*range(8, 21)]
    assert Path("new.txt").read_text() == Path("old.txt").read_text() == lines
    assert trax.verify("new").good
    assert trax.verify("old").good


def test_an_output_file_that_exists_is_not_overwritten() -> None:
    """Nor is one that was changed copied; no run is made then, and no file."""
    writing("old")(to=20, path="old.txt").result()
    Path("new.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"new\.txt exists already"):
        trax.fork("old", "new", outputs={"old.txt": "new.txt"})
    assert Path("new.txt").read_text() == "mine"
    Path("old.txt").write_bytes(b"else" + Path("old.txt").read_bytes()[4:])
    with pytest.raises(CorruptionError, match="was changed outside of the run"):
        trax.fork("old", "new", outputs={"old.txt": "other.txt"})
    os.remove("old.txt")
    with pytest.raises(trax.StorageError, match="could not be copied"):
        trax.fork("old", "new", outputs={"old.txt": "other.txt"})
    assert not os.path.exists("other.txt")
    assert os.listdir(".trax/runs") == ["old"]


def test_a_file_that_the_state_keeps_open_is_refused() -> None:
    """The fork would go on writing to the old one."""

    @trax.resumable(keep="all", every_steps=2, name="open")
    def plain(to: int, path: str) -> Loop:
        with trax.open(path, "w") as file:
            for n in range(to):
                file.write(f"{n}\n")
                yield n

    plain(to=10, path="old.txt").result()
    with pytest.raises(UsageError, match="'open' keeps an output file open"):
        trax.fork("open", "new", step=5, outputs={"old.txt": "new.txt"})
    assert not os.path.exists("new.txt")
    assert os.listdir(".trax/runs") == ["open"]


# -- crashes -------------------------------------------------------------------------------

LIVE = """
import trax

@trax.resumable(create=int, every_steps=10, keep=4, background=False)
def live(n):
    while True:
        n = yield n + 1

for n in live():
    if n % 2000 == 0:
        print(n, flush=True)
"""


def test_an_open_run_is_forked() -> None:
    """While it goes on and removes its files."""
    with start_script(LIVE) as started:
        assert started.stdout is not None
        for number, line in enumerate(started.stdout):
            forked = trax.fork("live", f"fork-{number}")
            assert forked.step >= int(line)
            assert trax.load(f"fork-{number}") == forked.step
            if number == 3:
                break


KILLED = (
    KILLED_LATER
    + """
filesystem._LocalOutput.sync = counted(filesystem._LocalOutput.sync)
trax.fork("run", "new", step=10)
"""
)


def test_a_kill_at_each_operation_leaves_no_run_or_a_whole_one() -> None:
    """And what it leaves is in nobody's way."""
    list(loop("declared")(steps=30))
    script = write_script(KILLED)
    seen = set()
    for operations in range(100):
        died = subprocess.run([sys.executable, script, str(operations)], check=False).returncode
        seen.add(died)
        if os.path.exists(".trax/runs/new"):
            assert len(trax.load("new")) == 10
            assert trax.verify("new").good
            break
    assert operations > 5
    assert -signal.SIGKILL in seen
    trax.prune()
    assert os.listdir(".trax/aside") == []
    assert len(list(named("declared", "new")(steps=30))) == 20
