"""`trax rm` says what it would remove, asks, and refuses what is running."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from commands import FITS, at_terminal, in_pipe
from support import run_script, start_script

RUNS = Path(".trax/runs")


def names() -> list[str]:
    return sorted(path.name for path in RUNS.iterdir())


def test_it_asks() -> None:
    run_script(FITS + "fit(0).result()\nfit(1).result()\nfit(2).result()")
    done = in_pipe("rm", "fit-0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "fit-0  done at step 100, " in done.stderr
    assert "give --yes" in done.stderr
    status, text = at_terminal("rm", "fit-0", type_after=lambda text: "n\n" * text.endswith("]: "))
    assert status == 1
    assert "nothing was done" in text
    assert "1 run in ./.trax to be removed for good" in text
    assert names() == ["fit-0", "fit-1", "fit-2"]
    status, text = at_terminal("rm", "fit-0", type_after=lambda text: "y\n" * text.endswith("]: "))
    assert status == 0
    assert "1 run removed" in text
    assert names() == ["fit-1", "fit-2"]
    found = json.loads(in_pipe("rm", "fit-*", "--yes", "--json").stdout)
    assert found["removed"] == ["fit-1", "fit-2"]
    assert names() == []
    assert [*Path(".trax/aside").iterdir()] == []
    assert in_pipe("rm", "fit-1", "--yes").returncode == 1


def test_a_run_that_is_running_stays_and_all_others_with_it() -> None:
    run_script(FITS + "fit(1).result()")
    live = FITS + "run = fit(0)\nnext(run)\nprint(flush=True)\nsys.stdin.read()\nrun.close()"
    with start_script(live) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for command in (("rm", "fit-*"), ("repair", "fit-0"), ("rewind", "fit-0", "--step", "0")):
            done = in_pipe(*command, "--yes")
            assert done.returncode == 1
            assert "fit-0 is running on " in done.stderr
            assert f", process {process.pid}: end it first. Nothing was done." in done.stderr
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        assert "fit-0 is paused on " in in_pipe("rm", "fit-0", "--yes").stderr
        process.send_signal(signal.SIGCONT)
        assert names() == ["fit-0", "fit-1"]
    assert in_pipe("rm", "fit-0", "--yes").returncode == 0


def test_a_damaged_run_can_be_removed() -> None:
    run_script(FITS + "fit(0).result()")
    for path in (RUNS / "fit-0").iterdir():
        path.write_bytes(b"?")
    assert in_pipe("rm", "fit-0", "--yes", TRAX_KEY="ab" * 32).returncode == 0
    assert names() == []


def test_a_run_that_others_can_write_to() -> None:
    """It looks like one that is running, since nobody can trust the note in its lock."""
    run_script(FITS + "fit(0).result()")
    for path in [RUNS.parent, *RUNS.parent.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o020)
    found = json.loads(in_pipe("ls", "--json").stdout)["runs"][0]
    assert (found["state"], found["step"]) == ("untrusted", None)
    done = in_pipe("rm", "fit-0", "--yes")
    assert done.returncode == 1
    assert "fit-0: " in done.stderr
    assert "can be written" in done.stderr
    assert names() == ["fit-0"]


def test_it_says_which_replica_still_has_a_run() -> None:
    copied = FITS.replace("fit-{k}", 'fit-{k}", replica="replica')
    run_script(copied + "fit(0).result()\nfit(1).result()")
    there = Path("replica").resolve().as_uri()
    done = in_pipe("rm", "fit-*", "--yes")
    assert done.returncode == 0
    assert f"{there} may still have 2 runs of these; trax rm {there} NAME..." in done.stdout
    again = in_pipe("pull", there)
    assert again.stdout.count("pulled, at step 100") == 2
