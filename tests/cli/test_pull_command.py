"""`trax pull` brings runs from a replica, and disturbs no machine that writes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import at_terminal, in_pipe
from support import run_script, start_script, write_script

import trax

FIT = """
import os, sys, trax

@trax.resumable(create=list, replay_log="append", every_steps=40, name="fit-{k}", varying="to",
                replica_seconds=0.05)
def fit(state, k, to):
    with trax.open(f"out-{k}.txt") as file:
        while len(state) < to:
            print(len(state), file=file)
            state = yield len(state)

def run(k, to):
    for n in fit(k, to):
        print(n, flush=True)
        if "--wait" in sys.argv and n == to - 1:
            sys.stdin.readline()
"""
HERE = "replica"


@pytest.fixture(autouse=True)
def _replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAX_REPLICA", str(Path(HERE).resolve()))


def elsewhere(*arguments: str, place: str = "other") -> subprocess.CompletedProcess[str]:
    """Run the command in another directory, as on another machine."""
    Path(place).mkdir(exist_ok=True)
    command = [sys.executable, "-m", "trax", *arguments]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def script_elsewhere(text: str, place: str = "other") -> subprocess.CompletedProcess[str]:
    """Run a script in another directory."""
    command = [sys.executable, write_script(text)]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def lines(path: str) -> list[str]:
    """Return the lines of a file."""
    return Path(path).read_text().split()


def test_all_runs_come_with_their_output() -> None:
    run_script(FIT + "run(0, 100); run(1, 30)")
    done = elsewhere("pull")
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[:2] for line in done.stdout.splitlines()] == [
        ["fit-0", "pulled, at step 100, " + done.stdout.splitlines()[0].rpartition(", ")[2]],
        ["fit-1", "pulled, at step 30, " + done.stdout.splitlines()[1].rpartition(", ")[2]],
    ]
    assert lines("other/out-0.txt") == [str(n) for n in range(100)]
    assert trax.load("fit-1", traxdir="other/.trax") == list(range(30))
    again = json.loads(elsewhere("pull", "--json").stdout)["runs"]
    assert [(one["name"], one["status"], one["step"]) for one in again] == [
        ("fit-0", "up to date", 100),
        ("fit-1", "up to date", 30),
    ]
    assert not Path("other/.trax/aside").exists() or not os.listdir("other/.trax/aside")


def test_names_and_patterns_choose_and_the_url_comes_first() -> None:
    run_script(FIT + "run(0, 3); run(1, 3); run(20, 3)")
    url = f"file://{Path(HERE).resolve()}"
    assert elsewhere("pull", url, "fit-?").returncode == 0
    assert sorted(os.listdir("other/.trax/runs")) == ["fit-0", "fit-1"]
    missing = elsewhere("pull", url, "fat")
    assert missing.returncode == 1
    assert f"no run 'fat' in {url}" in missing.stderr
    none = in_pipe("pull", TRAX_REPLICA="")
    assert none.returncode == 2
    assert "which replica? Give its URL or path first, or set $TRAX_REPLICA" in none.stderr


def test_a_path_has_a_slash_and_a_name_has_none() -> None:
    """As `replica=` takes it."""
    run_script(FIT + "run(0, 3)")
    assert elsewhere("pull", f"../{HERE}", "fit-0").returncode == 0
    assert os.listdir("other/.trax/runs") == ["fit-0"]
    assert elsewhere("push", "./new", "fit-0").returncode == 0
    assert in_pipe("ls", "./other/new").stdout.splitlines()[1].split()[:3] == ["fit-0", "done", "3"]


def test_a_run_that_was_pulled_and_pushed_was_copied_just_now() -> None:
    """It has no journal, which would say when it was done."""
    run_script(FIT + "run(0, 3)")
    assert elsewhere("pull", "fit-0").returncode == 0
    assert elsewhere("push", "./new", "fit-0").returncode == 0
    (found,) = json.loads(in_pipe("ls", "./other/new", "--json").stdout)["runs"]
    assert abs(found["last"] - time.time()) < 3600


def test_a_machine_that_writes_the_run_goes_on() -> None:
    """And a copy that is brought again and again is replaced, without one more copy of it."""
    with start_script(FIT + "run(0, 3000)", "--wait") as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        steps = []
        for _ in range(5):
            for _ in range(300):
                writer.stdout.readline()
            done = json.loads(elsewhere("pull", "--json").stdout)
            steps += [one["step"] for one in done["runs"]]
            state = trax.load("fit-0", traxdir="other/.trax")
            assert state == list(range(steps[-1]))
        assert steps == sorted(steps)
        writer.stdin.write("\n")
        writer.stdin.flush()
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    assert elsewhere("pull").returncode == 0
    assert trax.load("fit-0", traxdir="other/.trax") == list(range(3000))
    assert lines("other/out-0.txt") == [str(n) for n in range(3000)]
    aside = Path("other/.trax/aside")
    assert [*aside.iterdir()] == []
    assert not [*Path("other").glob("out-0.txt~*")]


def test_a_run_that_was_pulled_goes_on_here() -> None:
    """With the same replica, and with no copy aside; without one for a while, too."""
    run_script(FIT + "run(0, 50)")
    elsewhere("pull")
    done = script_elsewhere(FIT + "run(0, 70)")
    assert done.stdout.split() == [str(n) for n in range(50, 70)]
    assert "kept in" not in done.stderr
    assert "came from" not in done.stderr
    elsewhere("pull", place="third")
    without = 'os.environ["TRAX_REPLICA"] = ""\n'
    script_elsewhere(FIT + without + "run(0, 90)", "third")
    done = script_elsewhere(FIT + "run(0, 100)", "third")
    assert done.stdout.split() == [str(n) for n in range(90, 100)]
    assert "kept in" not in done.stderr
    last = elsewhere("pull", place="last")
    assert "at step 100" in last.stdout
    assert lines("last/out-0.txt") == [str(n) for n in range(100)]


def test_a_pulled_run_whose_writer_went_on_is_not_trusted() -> None:
    """Not even if it was taken back here: nothing that was acknowledged there is lost."""
    run_script(FIT + "loop = fit(0, 99)\nfor _ in range(50): next(loop)\nloop.close()")
    elsewhere("pull")
    run_script(FIT + "run(0, 80)")
    trax.rewind("fit-0", step=45, traxdir="other/.trax")
    done = script_elsewhere(FIT + "run(0, 90)")
    assert done.stdout.split() == [str(n) for n in range(80, 90)]
    assert "were not the last to write there" in done.stderr


def test_steps_that_the_replica_lacks_are_never_lost() -> None:
    run_script(FIT + "run(0, 50)")
    elsewhere("pull")
    script_elsewhere(FIT + 'os.environ["TRAX_REPLICA"] = ""\nrun(0, 95)')
    ahead = elsewhere("pull")
    assert "up to date, at step 95" in ahead.stdout
    run_script(FIT + "run(0, 60)")
    done = elsewhere("pull")
    assert done.returncode == 2
    assert "fit-0 here has steps that are not there, or is another run" in done.stderr
    assert "nothing was done: give --yes" in done.stderr
    assert trax.load("fit-0", traxdir="other/.trax") == list(range(95))
    done = elsewhere("pull", "--yes")
    assert "pulled, at step 60" in done.stdout
    assert "the former files are kept in aside" in done.stdout
    (aside,) = Path("other/.trax/aside").iterdir()
    shutil.rmtree("other/.trax/runs/fit-0")
    aside.rename("other/.trax/runs/fit-0")
    assert trax.load("fit-0", traxdir="other/.trax") == list(range(95))


def test_another_run_of_the_name_is_asked_for() -> None:
    run_script(FIT + "run(0, 50)")
    Path("other").mkdir()
    script_elsewhere(FIT + 'os.environ["TRAX_REPLICA"] = ""\nrun(0, 500)')
    assert elsewhere("pull").returncode == 2
    assert trax.load("fit-0", traxdir="other/.trax") == list(range(500))


def test_a_run_that_is_held_here_is_refused() -> None:
    run_script(FIT + "run(0, 5); run(1, 5)")
    shutil.rmtree(".trax")
    text = FIT + 'os.environ["TRAX_REPLICA"] = ""\nrun(0, 9)'
    with start_script(text, "--wait") as holder:
        assert holder.stdout is not None
        for _ in range(9):
            holder.stdout.readline()
        done = in_pipe("pull", "--yes", TRAX_REPLICA=os.environ["TRAX_REPLICA"])
        assert done.returncode == 1
        assert f"is held by process {holder.pid}" in done.stderr
        assert "fit-1  pulled, at step 5" in done.stdout
        assert "fit-0" not in done.stdout


def test_a_terminal_asks() -> None:
    run_script(FIT + "run(0, 5)")
    shutil.rmtree(".trax")
    run_script(FIT + 'os.environ["TRAX_REPLICA"] = ""\nrun(0, 9)')

    def answer(text: str) -> str:
        return "y\n" * text.endswith("]: ")

    there = os.environ["TRAX_REPLICA"]
    status, text = at_terminal("pull", type_after=answer, TRAX_REPLICA=there)
    assert status == 0
    assert "to be replaced, and kept in" in text
    assert trax.load("fit-0") == list(range(5))


def test_what_the_replica_knows_of_a_run_is_known_here() -> None:
    """That a map is done is in no file of its results, nor is the total of a loop."""
    run_script(
        "import trax\n"
        "def square(n): return n * n\n"
        "trax.map(square, range(7)).result()\n"
        "@trax.resumable(create=int, total='to', replica_seconds=0.05)\n"
        "def fit(n, to):\n"
        "    while n < to: n = yield n + 1\n"
        "run = fit(9)\n"
        "next(run), next(run)\n"
        "run.close()\n"
    )
    assert elsewhere("pull", f"../{HERE}").returncode == 0
    runs = json.loads(elsewhere("ls", "--json").stdout)["runs"]
    found = {one["name"]: (one["state"], one["step"], one["total"]) for one in runs}
    assert found == {"square": ("done", 7, 7), "fit": ("stopped", 2, 9)}
