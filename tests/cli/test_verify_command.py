"""`trax verify` finds damage, in one run or all."""

from __future__ import annotations

import json
from pathlib import Path

from commands import FITS, in_pipe
from support import COUNT, run_script


def test_damage_is_found_and_told() -> None:
    run_script(FITS + "fit(0).result()\nfit(1).result()")
    done = in_pipe("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "fit-0 is whole, at step 100\nfit-1 is whole, at step 100\n"
    assert "checkpoint-00000003" in in_pipe("verify", "fit-0", "-v").stdout
    path = Path(".trax/runs/fit-1/log-00000005")
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    done = in_pipe("verify")
    assert done.returncode == 1
    assert "log-00000005 is damaged" in done.stdout
    assert in_pipe("verify", "fit-0").returncode == 0
    found = json.loads(in_pipe("verify", "--json").stdout)
    assert [(one["name"], one["good"]) for one in found] == [("fit-0", True), ("fit-1", False)]


def test_output_of_a_done_run_that_is_gone_is_told() -> None:
    """It may have been moved: the run itself is whole, and so says the exit status."""
    run_script(COUNT + "count(to=3).result()")
    path = Path("out.txt").resolve()
    path.unlink()
    done = in_pipe("verify")
    gone = f"the output file {path} is missing, and should have 6"
    assert (done.returncode, done.stdout) == (0, f"count is whole, at step 3; {gone}\n")
    assert f"  {gone}\n" in in_pipe("verify", "-v").stdout
    assert json.loads(in_pipe("verify", "--json").stdout)[0]["remarks"] == [gone]


def test_a_run_of_another_key_is_told() -> None:
    run_script(FITS + "fit(0).result()")
    done = in_pipe("verify", TRAX_KEY="ab" * 32)
    assert done.returncode == 1
    assert "fit-0" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_without_runs_is_told() -> None:
    done = in_pipe("verify")
    assert (done.returncode, done.stdout) == (0, "no runs in ./.trax, which does not exist\n")
    Path(".trax/runs").mkdir(parents=True, mode=0o700)
    assert in_pipe("verify").stdout == "no runs in ./.trax\n"
    assert in_pipe("verify", "--json").stdout == "[]\n"


def test_a_run_that_others_can_write_is_told_with_the_way_on() -> None:
    run_script(FITS + "fit(0).result()")
    Path(".trax/runs/fit-0").chmod(0o777)
    done = in_pipe("verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert "trax: fit-0: " in done.stderr
    assert "\ntrax: Run chmod -R go-w on it." in done.stderr
