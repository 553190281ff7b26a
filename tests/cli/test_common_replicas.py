"""Commands work on replicas by their URL, and those that cannot say so."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from commands import in_pipe
from support import run_script, start_script

FIT = """
import os, sys
import trax

@trax.resumable(create=dict, every_steps=10, name="fit-{k}", replica=os.path.abspath("sweep"),
                replica_seconds=0.02)
def fit(state, k, stop=-1):
    with trax.open(f"out-{k}.txt") as file:
        for n in trax.steps(100):
            if n == stop:
                sys.exit()
            print(n, file=file)
            state = yield {"loss": 100 / (n + 1)}
"""


@pytest.fixture
def url() -> str:
    """Make two runs, whose disk is gone; return the URL of their replicas."""
    run_script(FIT + "fit(1).result()\ntry: fit(2, stop=45).result()\nexcept SystemExit: pass")
    shutil.rmtree(".trax")
    for path in Path().glob("out-*.txt"):
        path.unlink()
    return f"file://{Path('sweep').resolve()}"


def test_ls(url: str) -> None:
    for arguments in (("ls", url), ("ls", "--dir", url), ("--dir", url), ("--dir", url, "ls")):
        done = in_pipe(*arguments)
        assert done.returncode == 0, done.stderr
        head, one, two, total = done.stdout.splitlines()
        assert head.split() == ["RUN", "STATE", "STEP", "RATE", "ETA", "LAST", "SIZE"]
        assert one.split()[:3] == ["fit-1", "done", "100"]
        assert two.split()[:2] == ["fit-2", "stopped"]
        assert "45/100" in two
        assert total.endswith(f", in {url}")
    assert len(in_pipe("ls", url, "*-2").stdout.splitlines()) == 3
    none = in_pipe("ls", url, "fot-1")
    assert (none.returncode, none.stderr) == (
        1,
        f"Error: no run 'fot-1' in {url}: did you mean fit-1?\n",
    )
    found = json.loads(in_pipe("ls", url, "--json").stdout)
    assert (found["dir"], [run["step"] for run in found["runs"]]) == (url, [100, 45])
    assert not Path(".trax").exists()


def test_show(url: str) -> None:
    done = in_pipe("show", url, "fit-2")
    assert done.returncode == 0
    assert done.stdout.startswith("fit-2  stopped at step 45 of 100")
    assert "SystemExit" in done.stdout
    assert "verified" in done.stdout
    assert "checkpoint 40, 5 increments replayed" in done.stdout
    assert "values   loss " in done.stdout
    assert in_pipe("show", url).returncode == 2
    assert "Missing argument 'NAME...'" in in_pipe("show", url).stderr


def test_verify(url: str) -> None:
    done = in_pipe("verify", url)
    assert (done.returncode, done.stdout) == (
        0,
        "fit-1 is whole, at step 100\nfit-2 is whole, at step 45\n",
    )
    assert "output file ../out-1.txt: 290 bytes, of 290" in in_pipe("verify", url, "-v").stdout
    newest = max(Path("sweep/runs/fit-1").glob("0*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    done = in_pipe("verify", url)
    assert done.returncode == 1
    assert f"{newest.name}: its checksum is invalid" in done.stdout
    assert "fit-2 is whole" in done.stdout


def test_verify_finds_an_output_file_that_was_changed_before_it_was_copied() -> None:
    change = """
for n, _ in enumerate(fit(1), 1):
    if n == 50:
        with open("out-1.txt", "r+b") as file:
            file.seek(-2, os.SEEK_END)
            file.write(b"?")
        break
"""
    run_script(FIT.replace("replica_seconds=0.02", "replica_seconds=60") + change)
    done = in_pipe("verify", f"file://{Path('sweep').resolve()}")
    assert done.returncode == 1
    assert "output file ../out-1.txt was changed between offset" in done.stdout


def test_report(url: str) -> None:
    done = in_pipe("report", url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trax-report.html: 2 runs, ")
    page = Path("trax-report.html").read_text()
    assert f"Runs in {url}" in page
    assert "<svg" in page
    assert "verified" in page


def test_prune_takes_no_run(url: str) -> None:
    done = in_pipe("prune", url, "--yes")
    assert done.returncode == 0
    assert done.stdout.startswith("0 bytes freed in ")
    assert in_pipe("prune", url, "--yes", "--budget", "1kB").returncode == 1
    assert in_pipe("verify", url).returncode == 0
    assert in_pipe("prune", "fit-1").returncode == 2


def test_rm_fences_the_writer_and_refuses_one_that_goes_on(url: str) -> None:
    with start_script(
        FIT + "for _ in fit(3):\n    print('step', flush=True)\n    sys.stdin.readline()\n"
    ) as live:
        assert live.stdout is not None
        live.stdout.readline()
        done = in_pipe("rm", url, "fit-*", "--yes")
        assert done.returncode == 1
        assert "fit-3 is running on " in done.stderr
        assert f"process {live.pid}: end it first" in done.stderr
    done = in_pipe("rm", url, "fit-1", "fit-2", "--yes")
    assert (done.returncode, done.stdout.split(",")[0]) == (0, "2 runs removed")
    assert "fit-1" not in in_pipe("ls", url).stdout
    assert in_pipe("rm", url, "fit-1", "--yes").returncode == 1


@pytest.mark.parametrize("command", ["log", "tail", "watch", "plot", "export", "repair", "fork"])
def test_other_commands_say_that_they_work_on_local_stores(url: str, command: str) -> None:
    for arguments in ((command, url, "fit-1"), (command, "--dir", url), ("--dir", url, command)):
        done = in_pipe(*arguments)
        assert done.returncode == 2
        error = f"Error: trax {command} works on local stores: get the runs by trax pull {url}\n"
        assert done.stderr.endswith(error)


def test_a_path_is_a_local_store(url: str) -> None:
    """With a hint where it is a directory of replicas."""
    done = in_pipe("ls", "--dir", "sweep")
    assert done.returncode == 0
    assert done.stdout == f"no runs in ./sweep: it has replicas, see trax ls {url}\n"


def test_a_url_that_cannot_be_used() -> None:
    for url, reason in (
        ("ftp://host/x", "a replica cannot be at ftp://host/x"),
        ("s3://", "names no bucket"),
        ("file:///nowhere/at/all", "is not a directory"),
    ):
        done = in_pipe("ls", url)
        assert done.returncode == 1
        assert reason in done.stderr
    done = in_pipe("s3://bucket/sweep")
    assert done.returncode == 2
    assert "write trax ls s3://bucket/sweep" in done.stderr


def test_the_lag_of_a_live_run_is_shown() -> None:
    with start_script(
        FIT
        + "for n, _ in enumerate(fit(1)):\n"
        + "    time = __import__('time'); time.sleep(0.02)\n"
        + "    if n == 70: print('here', flush=True); sys.stdin.readline()\n"
    ) as live:
        assert live.stdout is not None
        live.stdout.readline()
        line = in_pipe("ls").stdout.splitlines()[1]
        assert line.split()[1] == "running"
        assert re.search(r"lag \d+ s", line)
        shown = in_pipe("show", "fit-1").stdout
        assert re.search(rf"{Path('sweep').resolve()}, \d+ s behind", shown)


def test_the_path_of_replicas_is_told_from_names_and_stores() -> None:
    run_script(FIT + "fit(1).result()")
    there = str(Path("sweep").resolve())
    for path in (there, "./sweep", "sweep/"):
        for command in ("ls", "verify", "show"):
            done = in_pipe(command, path, "fit-1")
            assert (done.returncode, done.stderr) == (0, "")
            assert "fit-1" in done.stdout
        assert in_pipe("ls", path).stdout.endswith(f", in file://{there}\n")
        assert in_pipe("prune", path, "--yes").returncode == 0
    for command in ("ls", "verify", "show", "prune"):
        done = in_pipe(command, "./.trax")
        assert done.returncode == 2
        assert "no replicas are in ./.trax: if it is a store, give --dir ./.trax" in done.stderr
    done = in_pipe("show", "fit-1", "--dir", there)
    assert done.returncode == 1
    assert "for replicas in a directory write trax show PATH NAME" in done.stderr
