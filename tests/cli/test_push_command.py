"""`trax push` copies runs to a replica, and replaces nothing there without a question."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from commands import in_pipe
from support import change_status, run_script, start_script

import trax
from trax.replica.marker import read_marker, write_marker
from trax.storage.store import Store

FIT = """
import os, sys, trax

@trax.resumable(create=list, replay_log="append", every_steps=40, name="fit-{k}", varying="to",
                replica=os.path.abspath("replica") if "--copy" in sys.argv else "")
def fit(state, k, to):
    with trax.open(f"out-{k}.txt") as file:
        while len(state) < to:
            print(len(state), file=file)
            if len(state) == 55 and "--kill" in sys.argv: os.kill(os.getpid(), 9)
            state = yield len(state)

def run(k, to):
    for n in fit(k, to):
        print(n, flush=True)
        if "--wait" in sys.argv and n == to - 1:
            sys.stdin.readline()
"""
REPLICA = Path("replica")


def lose_disk() -> None:
    """Remove all that the machine had, but not the replica."""
    shutil.rmtree(".trax")
    for path in Path().glob("out-*"):
        path.unlink()


def files(path: str = ".trax/runs/fit-0") -> dict[str, bytes]:
    """Return the contents of a run's files, but not who has copied it."""
    return {one.name: one.read_bytes() for one in Path(path).iterdir() if one.name != "replica"}


def pushed(*arguments: str, where: str = "file://") -> str:
    """Push, which must succeed; return what it said."""
    done = in_pipe("push", f"{where}{REPLICA.resolve()}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_is_whole_in_the_replica_and_as_it_was_here() -> None:
    """A finished one, and one that was killed; neither file nor journal is changed."""
    run_script(FIT + "run(0, 100)")
    assert run_script(FIT + "run(1, 100)", "--kill", check=False).returncode == -9
    before = files(), files(".trax/runs/fit-1")
    assert "fit-0  pushed, at step 100" in pushed()
    assert (files(), files(".trax/runs/fit-1")) == before
    assert "up to date" in pushed("fit-0")
    lose_disk()
    done = run_script(FIT + "run(0, 100); run(1, 60)", "--copy")
    assert done.stdout.split() == [str(n) for n in range(55, 60)]
    assert Path("out-0.txt").read_text().split() == [str(n) for n in range(100)]
    assert Path("out-1.txt").read_text().split() == [str(n) for n in range(60)]


def test_a_run_that_was_pushed_goes_on_with_that_replica() -> None:
    run_script(FIT + "run(0, 50)")
    pushed()
    done = run_script(FIT + "run(0, 70)", "--copy")
    assert done.stdout.split() == [str(n) for n in range(50, 70)]
    assert "kept in" not in done.stderr
    assert "up to date" in pushed()


def test_a_run_that_was_pushed_has_no_lag_any_more() -> None:
    """However it has ended: its journal has that of its last second."""
    run_script(FIT + "run(0, 50)", "--copy")
    assert run_script(FIT + "run(0, 90)", "--copy", "--kill", check=False).returncode == -9
    change_status("fit-0", {"lag": 30.0})
    (info,) = trax.runs()
    assert (info.state, info.lag) == ("killed", 30.0)
    pushed()
    (info,) = trax.runs()
    assert (info.state, info.lag) == ("killed", 0.0)


def test_a_push_that_finds_all_of_a_run_there_says_so_here() -> None:
    run_script(FIT + "run(0, 50)", "--copy")
    change_status("fit-0", {"lag": 30.0})
    with Store(".trax").reading("fit-0") as directory:
        write_marker(directory, replace(read_marker(directory), behind=True))
    (info,) = trax.runs()
    assert info.lag == 30.0
    assert "up to date" in pushed()
    (info,) = trax.runs()
    assert info.lag == 0.0


def test_a_push_to_another_place_does_not_change_to_which_replica_a_run_belongs() -> None:
    """However often it is pushed there."""
    for to in (50, 70, 90):
        done = run_script(FIT + f"run(0, {to})", "--copy")
        assert "kept in" not in done.stderr
        done = in_pipe("push", str(Path("backup").resolve()))
        assert done.returncode == 0, done.stderr
        assert f"fit-0  pushed, at step {to}" in done.stdout
    lose_disk()
    assert in_pipe("pull", str(Path("backup").resolve())).returncode == 0
    assert trax.load("fit-0") == list(range(90))


def test_steps_that_are_only_there_are_not_replaced() -> None:
    """Nor is a run that another machine wrote last, unless it is told to."""
    run_script(FIT + "run(0, 50)")
    pushed()
    shutil.copytree(".trax", "kept")
    run_script(FIT + "run(0, 90)", "--copy")
    shutil.rmtree(".trax")
    Path("kept").rename(".trax")
    done = in_pipe("push", str(REPLICA.resolve()))
    assert done.returncode == 2
    assert "fit-0 in " in done.stderr
    assert "written last by process" in done.stderr
    assert "to be replaced there by what is here; trax pull brings it instead" in done.stderr
    Path("other").mkdir()
    assert in_pipe("pull", str(REPLICA.resolve()), "--dir", "other").returncode == 0
    assert trax.load("fit-0", traxdir="other") == list(range(90))
    assert "at step 50" in pushed("--yes")
    lose_disk()
    assert in_pipe("pull", str(REPLICA.resolve())).returncode == 0
    assert trax.load("fit-0") == list(range(50))
    assert Path("out-0.txt").read_text().split() == [str(n) for n in range(50)]


def test_a_machine_that_writes_a_run_is_not_fenced_by_a_push_that_is_refused() -> None:
    run_script(FIT + "run(0, 50)")
    shutil.copytree(".trax", "mine")
    with start_script(FIT + "run(0, 60)", "--copy", "--wait") as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        while writer.stdout.readline() != "59\n":
            pass
        done = in_pipe("push", str(REPLICA.resolve()), "--dir", "mine")
        assert done.returncode == 2
        assert f"process {writer.pid} " in done.stderr
        held = in_pipe("push", str(REPLICA.resolve()))
        assert held.returncode == 1
        assert f"is held by process {writer.pid}" in held.stderr
        writer.stdin.write("\n")
        writer.stdin.flush()
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors


def test_a_damaged_run_is_not_copied() -> None:
    run_script(FIT + "run(0, 100)")
    checkpoint = max(Path(".trax/runs/fit-0").glob("checkpoint-*"))
    data = bytearray(checkpoint.read_bytes())
    data[-30] ^= 1
    checkpoint.write_bytes(data)
    done = in_pipe("push", str(REPLICA.resolve()))
    assert done.returncode == 1
    assert f"the run 'fit-0' is damaged: {checkpoint.resolve()}" in done.stderr
    assert not [*REPLICA.rglob("0*")]


def test_output_that_is_missing_is_not_copied() -> None:
    run_script(FIT + "run(0, 100)")
    os.truncate("out-0.txt", 9)
    done = in_pipe("push", str(REPLICA.resolve()))
    assert done.returncode == 1
    assert "out-0.txt lacks output of the run 'fit-0'" in done.stderr


def test_a_run_that_was_removed_there_is_copied_anew() -> None:
    """As is done if the replica is damaged."""
    run_script(FIT + "run(0, 100)")
    there = REPLICA.resolve().as_uri()
    assert in_pipe("push", there).returncode == 0
    assert in_pipe("rm", there, "fit-0", "--yes").returncode == 0
    again = in_pipe("push", there)
    assert again.stdout.startswith("fit-0  pushed"), again.stderr
    assert in_pipe("verify", there).returncode == 0
