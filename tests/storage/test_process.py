"""What trax asks of the process and the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import run_script

from trax.storage import process as module
from trax.storage.process import Process, process


def test_the_boot_has_an_identity_that_every_process_sees() -> None:
    """Where the system has none it is empty, and nothing is concluded from it."""
    if not os.path.exists("/proc/sys/kernel/random/boot_id"):
        assert process.boot_id() == ""
        return
    assert len(process.boot_id()) == 36
    script = "from trax.storage.process import process\nprint(process.boot_id())"
    assert run_script(script).stdout.strip() == process.boot_id()


def test_each_new_run_has_an_identity_of_its_own() -> None:
    """Of 32 hexadecimal digits."""
    drawn = {process.new_run_id() for _ in range(100)}
    assert len(drawn) == 100
    assert all(len(one) == 32 and int(one, 16) for one in drawn)


def test_a_file_is_forced_by_its_descriptor(tmp_path: Path) -> None:
    """And what cannot be forced is an `OSError`."""
    with open(tmp_path / "file", "wb") as file:
        process.force(file.fileno())
        closed = os.dup(file.fileno())
    os.close(closed)
    with pytest.raises(OSError, match="Bad file descriptor"):
        process.force(closed)


def test_processes_share_no_runs() -> None:
    """One that a test puts in place begins without any."""
    other = Process()
    other.runs.add("run")
    assert "run" not in Process().runs | process.runs


def test_a_forked_child_gives_up_everything_even_if_something_fails() -> None:
    """In the order in which it was registered; an error stops only what raised it."""
    script = f"""
import os, sys
from {module.__name__} import in_child

done = []
in_child(lambda: done.append(1))
in_child(lambda: 1 / 0)
in_child(lambda: done.append(2))
pid = os.fork()
if pid == 0:
    os.write(1, repr(done).encode())
    os._exit(0)
os.waitpid(pid, 0)
assert done == []
"""
    ended = run_script(script)
    assert ended.stdout == "[1, 2]"
    assert "ZeroDivisionError" in ended.stderr
