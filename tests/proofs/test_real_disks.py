"""Real file systems and real processes: a disk that is full, and two writers that meet."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import run_script, start_script, write_script

import trax

# -- a full disk ---------------------------------------------------------------------------

# A fork of a process that has imported everything begins at once.
FULL_DISK = """
import json, os, random, shutil, sys
from pathlib import Path
import trax

STEPS, PAGE = 24, 4096
disk, ballast = Path.cwd(), Path("ballast")


def add(state, increment):
    return [*state, increment]


@trax.resumable(create=list, replay_log=add, every_steps=4, sync="always", name="run")
def logged(state):
    out = trax.open("out.txt")
    while len(state) < STEPS:
        print(len(state), random.random(), "x" * 300, file=out)
        state = yield random.random(), "y" * 900


@trax.resumable(create=list, replay_log=None, every_steps=4, name="run")
def none(state):
    out = trax.open("out.txt")
    while len(state) < STEPS:
        print(len(state), random.random(), "x" * 300, file=out)
        state.append((random.random(), "y" * 900))
        yield


def work(loop, end, told, errors):
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    told = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    random.seed(1)
    run = loop()
    try:
        os.write(told, b"from %d\\n" % run.step)
        for _ in run:
            os.write(told, b"step %d\\n" % run.step)
    except trax.TraxError as error:
        print("named:", type(error).__name__, file=sys.stderr)
        sys.exit(3)
    with open(end, "w") as file:
        file.write(repr((run.state, random.random(), Path("out.txt").read_text())))


def start(loop, *where):
    child = os.fork()
    if not child:
        work(loop, *where)
        sys.exit()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


beside = Path(sys.argv[1])  # on another disk
loop = {"logged": logged, "none": none}[sys.argv[2]]
for room in [63, *range(24)]:  # pages; with 24 there is enough for all
    where = [beside / f"{what}-{room}" for what in ("end", "told", "errors")]
    with ballast.open("wb") as file:
        size = os.statvfs(".").f_bavail * os.statvfs(".").f_frsize - room * PAGE
        file.write(bytes(size))
    first = start(loop, *where)
    ballast.unlink()
    second = start(loop, *where)
    print(json.dumps([room, first, second]), flush=True)
    shutil.rmtree(".trax")
    Path("out.txt").unlink()
"""


def ways_to_mount() -> Iterator[list[str]]:
    """Yield commands that run a shell where it may mount something that vanishes with it."""
    for options in ("-m", "-rm"):
        command = ["unshare", options, "sh", "-euc"]
        trial = [*command, "mount -t tmpfs -o size=256k none /tmp"]
        if shutil.which("unshare") and not subprocess.call(trial, stderr=subprocess.DEVNULL):
            yield command


MAY_MOUNT = list(ways_to_mount())[:1]


@pytest.mark.skipif(not MAY_MOUNT, reason="a tmpfs cannot be mounted here")
@pytest.mark.parametrize("loop", ["logged", "none"])
def test_a_disk_that_is_full_at_any_page_is_an_error_by_name_and_loses_nothing(
    loop: str, tmp_path: Path, count: Callable[[str, int], None]
) -> None:
    """With room again the run goes on to the same bits, whatever it was that did not fit."""
    (disk := tmp_path / "disk").mkdir()
    (beside := tmp_path / "beside").mkdir()
    mount = f"mount -t tmpfs -o size=256k,mode=700 none {disk} && cd {disk}"
    script = write_script(FULL_DISK)
    done = subprocess.run(
        [*MAY_MOUNT[0], f"{mount} && exec {sys.executable} {script} {beside} {loop}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    right = (beside / "end-63").read_text()
    full = 0
    errors = ""
    for line in done.stdout.splitlines():
        room, first, second = json.loads(line)
        said = (beside / f"errors-{room}").read_text()
        assert (first in (0, 3), second) == (True, 0), f"{room} pages: {said}"
        assert (beside / f"end-{room}").read_text() == right, f"{room} pages: {said}"
        assert loop == "none" or is_kept((beside / f"told-{room}").read_text()), f"{room} pages"
        full += first == 3
        errors += said
    assert full > 10
    assert "named: StorageError" in errors
    assert "continues without a checkpoint for now" in errors
    assert loop == "none" or "named: DurabilityError" in errors
    count("full disks", full)


def is_kept(told: str) -> bool:
    """Return whether no process began before what another had handed out."""
    seen = 0
    for line in told.splitlines():
        what, step = line.split()
        if what == "from" and int(step) < seen:
            return False
        seen = int(step)
    return True


# -- two writers ---------------------------------------------------------------------------

STEPS, STOPPED_AT = 60, 7

# Does one step for every line that it reads; its increments say who has logged them.
STEPPER = f"""
import sys
import trax

who, sync = sys.argv[1:]


def add(state, increment):
    return [*state, increment]


@trax.resumable(create=list, replay_log=add, every_steps=5, sync=sync, signals=None, wait=0)
def steps(state):
    while len(state) < {STEPS}:
        state = yield len(state), who


run = steps()
print("at", run.step, flush=True)
try:
    for line in sys.stdin:
        print(next(run)[0], flush=True)
except trax.LockedError as error:
    print("LockedError", error, flush=True)
except StopIteration:
    print("done", flush=True)
"""


class Stepper:
    """A process that does steps as it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.began = self._line()

    def step(self) -> str:
        """Let it do a step; return what it says then."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def stop(self) -> None:
        """Stop it as a machine does that is suspended, and return when it is."""
        self.process.send_signal(signal.SIGSTOP)
        assert os.WIFSTOPPED(os.waitpid(self.process.pid, os.WUNTRACED)[1])

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def stepper(who: str, sync: str) -> Iterator[Stepper]:
    with start_script(STEPPER, who, sync) as process:
        try:
            yield Stepper(process)
        finally:
            process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("sync", ["always", "interval", "os"])
@pytest.mark.parametrize("ahead", [1, 4, 8, 30], ids="{} steps ahead".format)
def test_a_writer_that_was_stopped_while_another_took_over_has_lost_the_run(
    sync: str, ahead: int, store_here: Path
) -> None:
    """It is told so at its next checkpoint, and what it has logged since is no part of the run."""
    with stepper("first", sync) as first:
        assert first.began == "at 0"
        for number in range(STOPPED_AT):
            assert first.step() == str(number)
        first.stop()
        (store_here / "locks" / "steps").unlink()  # as somebody does who believes it dead
        with stepper("second", sync) as second:
            assert second.began == f"at {STOPPED_AT}"
            for number in range(ahead):
                assert second.step() == str(STOPPED_AT + number)
            first.go_on()
            # At its next checkpoint, or earlier if the other one has pruned the files it writes to.
            said = next(line for line in iter(first.step, "") if not line.isdigit())
            assert said.startswith("LockedError the run 'steps'"), said
            assert "was taken over by another process" in said
            for number in range(STOPPED_AT + ahead, STEPS):
                assert second.step() == str(number)
            assert second.step() == "done"
    expected = [(number, "first") for number in range(STOPPED_AT)]
    expected += [(number, "second") for number in range(STOPPED_AT, STEPS)]
    assert load() == expected


@pytest.mark.parametrize("sync", ["always", "interval", "os"])
def test_a_writer_that_goes_on_before_the_other_has_begun_keeps_the_run(
    sync: str, store_here: Path
) -> None:
    """Whoever creates the next log has it: here the one that was stopped."""
    with stepper("first", sync) as first:
        for _ in range(STOPPED_AT):
            first.step()
        first.stop()
        (store_here / "locks" / "steps").unlink()
        with stepper("second", sync) as second:
            first.go_on()
            for number in range(STOPPED_AT, 20):
                assert first.step() == str(number)
            assert second.step().startswith("LockedError")
        for number in range(20, STEPS):
            assert first.step() == str(number)
        assert first.step() == "done"
    assert load() == [(number, "first") for number in range(STEPS)]


def load() -> list[tuple[int, str]]:
    """Return the state as it is stored, with the script's own function."""

    def add(state: list[tuple[int, str]], increment: tuple[int, str]) -> list[tuple[int, str]]:
        return [*state, increment]

    state: list[tuple[int, str]] = trax.load("steps", replay_log=add)
    return state


CHILDREN = {
    "os.fork": "if not os.fork():\n    wait()",
    "multiprocessing": (
        "context = multiprocessing.get_context('fork')\ncontext.Process(target=wait).start()"
    ),
    "subprocess": (
        "code = \"import os; os.write(1, b'child'); os.read(0, 1); os.write(1, b' ends')\"\n"
        "subprocess.Popen([sys.executable, '-c', code], close_fds=False)"
    ),
}

PARENT = """
import multiprocessing, os, signal, subprocess, sys
import trax


def wait():
    os.write(1, b"child")
    os.read(0, 1)
    os.write(1, b" ends")
    os._exit(0)


@trax.resumable(create=int)
def steps(n):
    file = trax.open("out.txt")
    while n < 4:
        print(n, file=file)
        n = yield n + 1


for n in steps():
    if n == 2 and "begin" in sys.argv:
{child}
        signal.pause()
print("done")
"""


@pytest.mark.parametrize("child", CHILDREN.values(), ids=CHILDREN)
def test_a_child_that_outlives_a_killed_run_does_not_keep_it(child: str) -> None:
    """The same script goes on at once, with its output file, while the child still lives."""
    script = PARENT.replace("{child}", "\n".join(f"        {line}" for line in child.split("\n")))
    with start_script(script, "begin") as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.read(5) == "child"
        parent.kill()
        parent.wait()
        again = run_script(script)
        assert again.stdout == "done\n"
        assert "steps resumed at step 2" in again.stderr
        assert Path("out.txt").read_text() == "0\n1\n2\n3\n"
        parent.stdin.write("\n")
        parent.stdin.close()
        assert parent.stdout.read() == " ends"  # it has lived until now


RACER = """
import sys
import trax


def race(n):
    while n < 3:
        n = yield n + 1


for line in sys.stdin:
    run = trax.resumable(create=int, traxdir=line.strip(), wait=0)(race)()
    try:
        print(next(run), flush=True)
    except trax.LockedError:
        print("LockedError", flush=True)
    sys.stdin.readline()
    run.close()
    print("closed", flush=True)
"""


def test_of_two_processes_that_begin_at_once_one_has_the_run() -> None:
    """Also where neither the store nor the run is there yet; 20 times."""
    with start_script(RACER) as one, start_script(RACER) as other:
        for number in range(20):
            said = exchange([one, other], f"store-{number}\n")
            assert sorted(said) == ["1\n", "LockedError\n"], f"store-{number}"
            assert exchange([one, other], "close\n") == ["closed\n", "closed\n"]


def exchange(processes: list[subprocess.Popen[str]], line: str) -> list[str]:
    """Tell all processes the same, and return what each answers."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(line)
        process.stdin.flush()
    return [process.stdout.readline() for process in processes if process.stdout is not None]
