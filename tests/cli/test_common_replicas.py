"""Commands work on replicas by their URL, and those that cannot say so."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import in_pipe
from support import run_script, start_script

import trax
from trax.cli.command import main

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
    for arguments in (
        (command, url, "fit-1"),
        (command, "--dir", url),
        ("--dir", url, command),
        (command, "./sweep", "fit-1"),
        ("--dir", "./sweep", command, "fit-1"),
    ):
        done = in_pipe(*arguments)
        assert done.returncode == 2
        error = f"Error: trax {command} works on local stores: get the runs by trax pull {url}\n"
        assert done.stderr.endswith(error)


@pytest.fixture
def sweep() -> Path:
    """Make a directory with something like the replica of one run."""
    path = Path("sweep").resolve()
    (path / "runs" / "fit-1").mkdir(parents=True, mode=0o700)
    (path / "runs" / "fit-1" / "000000000001").write_bytes(b"claim")
    (path / "probe").write_bytes(b"1")
    return path


def contents(place: Path) -> dict[str, bytes | None]:
    """Return all that is in a directory."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in place.rglob("*")}


COMMANDS = [
    "ls", "show fit-1", "log fit-1", "tail fit-1", "plot fit-1", "diff fit-1 fit-2", "verify",
    "repair fit-1 --yes", "rewind fit-1 --step 3 --yes", "fork fit-1 one --step 3",
    "rm fit-1 --yes", "prune --yes", "push ./other", "pull ./sweep", "export fit-1", "report",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_takes_a_directory_of_replicas_for_a_store(
    sweep: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would find no checkpoints there, and remove the objects as useless."""
    before = contents(sweep)
    assert main([*command.split(), "--dir", "sweep"]) == 1
    said = capsys.readouterr().err
    assert "sweep has replicas of runs, so it is no store.\n" in said
    assert f"Commands take replicas by their URL, as trax ls file://{sweep} does." in said
    assert contents(sweep) == before


def test_a_directory_of_replicas_that_is_given_without_a_slash(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken for a name, and said how it is a path."""
    for command in ("ls", "show", "verify", "rm", "prune"):
        assert main([command, "sweep"]) > 0
        assert ": for the replicas in that directory write ./sweep\n" in capsys.readouterr().err
    for command in ("pull", "push"):
        assert main([command, "sweep"]) == 2
        assert "Give its URL or path (./sweep) first" in capsys.readouterr().err
    monkeypatch.setenv("TRAX_REPLICA", "sweep")
    assert main(["pull", "sweep"]) == 1
    assert ": for the replicas in that directory write ./sweep\n" in capsys.readouterr().err


def test_no_run_is_kept_among_replicas(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the environment, nor by what is called in Python."""
    before = contents(sweep)

    @trax.resumable(create=int)
    def loop(state: int) -> Iterator[int]:
        yield 1

    calls: list[Callable[[], object]] = [
        lambda: loop().result(),
        lambda: trax.map(abs, [1]).result(),
        trax.Trax,
        trax.runs,
        trax.prune,
        lambda: trax.load("fit-1"),
        lambda: trax.verify("fit-1"),
        lambda: trax.repair("fit-1"),
        lambda: trax.rewind("fit-1", step=3),
        lambda: trax.fork("fit-1", "one", step=3),
        lambda: trax.history("fit-1"),
    ]
    monkeypatch.setenv("TRAX_DIR", "sweep")
    for call in calls:
        with pytest.raises(trax.UsageError, match="has replicas of runs, so it is no store"):
            call()
    assert contents(sweep) == before
    sweep.rename("moved")
    assert loop().result() == 1


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
    assert "has replicas of runs" in done.stderr
