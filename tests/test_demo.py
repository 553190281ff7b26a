"""The demo, as a person starts it: in a pipe and in a terminal, to its end or interrupted."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trax import demo

COMMAND = [sys.executable, "-m", "trax.demo"]


@contextmanager
def started(temporary: Path, *arguments: str, **options: object) -> Iterator[subprocess.Popen[str]]:
    """Start the demo, which is to make its directory there; a store named outside is not used."""
    environment = os.environ | {"TMPDIR": str(temporary), "TRAX_DIR": str(temporary / "mine")}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options},  # type: ignore[call-overload]
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    )
    pairs = [map(int, line.split()) for line in listed.stdout.splitlines()]
    return [child for child, parent in pairs if parent == pid]


def is_alive(pid: int) -> bool:
    """Return whether there is a process with this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_loop_is_killed_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    """In a pipe: the script, the signal, the step at which it resumed, and both results."""
    with started(tmp_path) as process:
        said, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    killed = re.search(r"^\$ kill -9 \d+$", said, re.MULTILINE)
    resumed = re.search(r"^trax: walk resumed at step (\d+)", said, re.MULTILINE)
    assert killed
    assert resumed
    assert killed.start() < resumed.start()
    assert demo.KILLED_AT <= int(resumed[1]) < demo.STEPS
    one, other = re.findall(r"^  .*(?:again|interrupted) +(-?0x1\.\S+)$", said, re.MULTILINE)
    assert one == other
    assert said.endswith("The same bits, at all steps.\n")
    assert max(len(line) for line in said.splitlines() if str(tmp_path) not in line) < 80
    assert "\r" not in said
    assert [*tmp_path.iterdir()] == []


def test_the_script_that_it_shows_is_the_one_that_it_runs(tmp_path: Path) -> None:
    """With --keep it is still there, with a store in which the run is done."""
    with started(tmp_path, "--keep") as process:
        said, _ = process.communicate()
    script = Path(said.splitlines()[0])
    assert script.read_text() == demo.SCRIPT
    shown = re.findall(r"^    (.*)$", said, re.MULTILINE)
    assert [line for line in shown if line] == [line for line in demo.SCRIPT.splitlines() if line]
    assert str(script.parent) in said.splitlines()[-1]
    again = subprocess.run(
        [sys.executable, script],
        env=os.environ | {"TRAX_DIR": str(script.parent / "killed" / ".trax")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == ""
    assert f"walk is done, at step {demo.STEPS}" in again.stderr


def test_in_a_terminal_the_steps_are_drawn_in_one_line(tmp_path: Path) -> None:
    """Each replaces the one before."""
    ours, theirs = pty.openpty()
    said = b""
    with started(tmp_path, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            try:
                while chunk := terminal.read(1 << 16):
                    said += chunk
            except OSError:  # Linux says so that the other end is closed
                pass
        assert process.wait() == 0, said.decode()
    lines = [line.rpartition(b"\r")[2].decode() for line in said.split(b"\r\n")]
    steps = [line for line in lines if line.startswith("step ")]
    assert len(steps) == 2
    assert steps[1].endswith("#" * 30)
    assert max(map(len, steps)) < 80


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["ctrl-c", "term"]
)
def test_an_interrupt_leaves_no_process_behind(tmp_path: Path, number: int, status: int) -> None:
    """Nor a directory."""
    with started(tmp_path) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("step"):
            assert process.poll() is None
        mine = children(process.pid)
        assert len(mine) == 2
        process.send_signal(number)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (status, "")
    assert not any(map(is_alive, mine))
    assert [*tmp_path.iterdir()] == []


def test_a_reader_that_goes_away_ends_it(tmp_path: Path) -> None:
    """As `head` does; it is no error of the demo."""
    with started(tmp_path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert [*tmp_path.iterdir()] == []


def test_other_bits_are_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Its exit status says so, and so it does for a script that fails."""
    whole = [str(0.5 * step) for step in range(demo.STEPS)]
    assert demo._compare(60, whole[:60], whole[60:], whole) == 0
    assert demo._compare(60, whole[:60], [*whole[60:-1], "0.25"], whole) == 1
    assert "Not the same bits" in capsys.readouterr().out
    assert demo._compare(0, [], [], ["ModuleNotFoundError: No module named 'trax'"]) == 1
    assert "No module named 'trax'" in capsys.readouterr().out


def test_misuse_and_help() -> None:
    """Nothing is started."""
    wrong = subprocess.run([*COMMAND, "--steps"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("Usage: python -m trax.demo")
    asked = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=False)
    assert (asked.returncode, asked.stderr) == (0, "")
