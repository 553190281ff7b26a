"""`trax tail -f` follows a run to its end, whatever that is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from commands import CLEAN, FITS, in_pipe
from support import run_script, start_script

LIVE = FITS + (
    "for state in fit(0):\n    print(flush=True)\n    if sys.stdin.readline() == '': break\n"
)


def steps(text: str) -> list[int]:
    return [json.loads(line)["step"] for line in text.splitlines()]


def test_the_newest_steps() -> None:
    run_script(FITS + "fit(0).result()")
    assert steps(in_pipe("tail", "fit-0", "--json").stdout) == [*range(91, 101)]
    assert steps(in_pipe("tail", "fit-0", "-n", "2", "--json").stdout) == [99, 100]
    assert steps(in_pipe("tail", "fit-0", "-n", "999", "--json").stdout) == [*range(1, 101)]
    assert in_pipe("tail", "fit-0", "-n", "0").stdout == ""
    done = in_pipe("tail", "-f", "fit-0", "--json", "-n", "1")
    assert (done.returncode, steps(done.stdout)) == (0, [100])
    assert done.stderr == "trax: fit-0 is done\n"


def test_of_a_run_that_keeps_few_steps() -> None:
    run_script(FITS.replace('keep="all"', "keep=2") + "fit(0, epochs=93).result()")
    found = steps(in_pipe("tail", "fit-0", "-n", "50", "--json").stdout)
    assert 0 < len(found) < 50
    assert found == [*range(found[0], 94)]


@pytest.mark.parametrize(("end", "state", "status"), [(15, "killed", 1), (None, "done", 0)])
def test_it_follows_until_the_end(end: int | None, state: str, status: int) -> None:
    """Each step is written once, those of the last moment included."""
    with start_script(LIVE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with subprocess.Popen(
            [sys.executable, "-m", "trax", "tail", "-f", "--json", "fit-0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=CLEAN,
        ) as tail:
            assert tail.stdout is not None
            assert tail.stderr is not None
            found = steps(tail.stdout.readline())
            for _ in range(99 if end is None else end - 1):
                process.stdin.write("\n")
                process.stdin.flush()
                process.stdout.readline()
            if end is not None:
                process.send_signal(signal.SIGKILL)
            else:
                process.stdin.write("\n")
                process.stdin.close()
            process.wait()
            found += steps(tail.stdout.read())
            assert tail.stderr.read() == f"trax: fit-0 is {state}\n"
        assert tail.returncode == status
    assert found == [*range(1, (end or 100) + 1)]
