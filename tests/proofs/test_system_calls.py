"""A run is killed at its system calls, and its system calls fail, one after the other.

`strace` does both to real processes: it kills a process at its N-th call of a kind, or lets that
call fail. Whatever happens, the same script run again ends with the same bits, and nothing that was
handed out is lost.

A random part of all calls is tried. ``TRAX_SYSTEM_CALLS=all`` in the environment tries every one,
which takes a quarter of an hour.
"""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from support import flipped

# The end of a system call is the beginning of the next one, as far as the disk can tell.
CHANGING = (
    "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,mkdir,"
    "mkdirat,ftruncate,flock,close"
)
FAILING = (
    "openat,write,pwrite64,fsync,fdatasync,rename,unlink,mkdir,ftruncate,flock,"
    "preadv,getdents64,newfstatat"
)
ERRORS = ("EIO", "ENOSPC", "EDQUOT", "EINTR")
PARTS = 2  # each is a test of its own, so that they can run side by side
KILLS, RECOVERIES, FAILURES = 24, 12, 14  # in each part
LIMIT = 60  # seconds after which a process hangs
STEPS = 9

# A fork of a process that has imported everything begins at once, and with the first call of trax.
SERVER = """
import asyncio, ctypes, os, random, signal, sys
import trax, trax.storage.store

ANYBODY = ctypes.c_ulong(-1)


def add(state, increment):
    return [*state, increment]


def open_output():
    try:
        return trax.open("out.txt")
    except OSError:  # as from the built-in open(), says its documentation
        sys.exit(3)


def compute(step, out):
    print(step, random.random(), file=out)
    return random.random()


@trax.resumable(create=list, replay_log=add, every_steps=4, sync="always", name="run")
def always(state):
    out = open_output()
    while len(state) < STEPS:
        state = yield compute(len(state), out)


@trax.resumable(create=list, replay_log=add, every_steps=4, sync="interval", name="run")
def interval(state):
    out = open_output()
    while len(state) < STEPS:
        state = yield compute(len(state), out)


@trax.resumable(create=list, replay_log=None, every_steps=4, sync="os", name="run")
def none(state):
    out = open_output()
    while len(state) < STEPS:
        state.append(compute(len(state), out))
        yield


@trax.resumable(create=list, replay_log=add, every_steps=4, sync="always", name="run")
async def asynchronous(state):
    out = open_output()
    while len(state) < STEPS:
        state = yield compute(len(state), out)


async def drive(run, tell):
    async with run:
        tell("from", run.step)
        async for _ in run:
            tell("step", run.step)


def work(directory, loop, dies_at):
    os.chdir(directory)
    told = os.open("told", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(os.open("errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    # The background forces the log at once, and so meets what happens to system calls.
    trax.storage.store._SYNC_SECONDS = 0.001
    ctypes.CDLL(None).prctl(0x59616D61, ANYBODY)  # PR_SET_PTRACER: whoever may trace us
    os.write(1, b"%d\\n" % os.getpid())
    os.read(0, 1)

    def tell(what, step):
        os.write(told, f"{what} {step}\\n".encode())
        if step == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    random.seed(1)
    run = globals()[loop]()
    try:
        if loop == "asynchronous":
            asyncio.run(drive(run, tell))
        else:
            tell("from", run.step)
            for _ in run:
                tell("step", run.step)
    except trax.TraxError as error:
        print("named:", type(error).__name__, error, file=sys.stderr)
        sys.exit(3)
    with open("end", "w") as file:
        file.write(repr((run.state, random.random())))


while words := sys.stdin.buffer.raw.readline().decode().split():
    child = os.fork()
    if not child:
        work(words[0], words[1], int(words[2]))
        sys.exit()
    status = os.waitpid(child, 0)[1]
    os.write(1, b"%d\\n" % os.waitstatus_to_exitcode(status))
""".replace("STEPS", str(STEPS))


def _can_trace() -> bool:
    command = ["strace", "-f", "-qq", "-e", "trace=none", "true"]
    return shutil.which("strace") is not None and not subprocess.call(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


pytestmark = pytest.mark.skipif(
    not _can_trace(), reason="strace is missing, or must not trace anything here"
)


class Server:
    """Forks one process after the other, each in a directory of its own, and traces it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(self, directory: Path, loop: str, *tracing: str, dies_at: int = -1) -> int:
        """Run the loop in a directory, under strace where there are options; return the status."""
        directory.mkdir(exist_ok=True)
        self._tell(f"{directory} {loop} {dies_at}\n")
        pid = int(self._line())
        if not tracing:
            self._tell("g")
            return int(self._line())
        command = ["strace", "-f", "-o", str(directory / "trace"), *tracing, "-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            try:
                while "attached" not in (said := strace.stderr.readline()):
                    assert said, "strace has ended"
                self._tell("g")
                return int(self._line())
            except BaseException:
                os.kill(pid, signal.SIGKILL)
                raise

    def _tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], LIMIT)[0]:
            raise TimeoutError("the process hangs")
        return self._process.stdout.readline()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("server") / "server.py"
    path.write_text(SERVER)
    with subprocess.Popen(
        [sys.executable, "-u", str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        yield Server(process)


T = TypeVar("T")
LOOPS = ("always", "interval", "none", "asynchronous")


class Trials:
    """Runs of one loop in directories side by side, and what must have come of each."""

    def __init__(self, server: Server, loop: str, here: Path) -> None:
        self.server = server
        self.loop = loop
        self.here = here
        self.count = 0
        calm = self.begin()
        assert server.run(calm, loop) == 0
        self.right = self.outcome(calm)

    def begin(self, scene: Path | None = None) -> Path:
        """Return a new directory, with a copy of what is in `scene`."""
        self.count += 1
        directory = self.here / f"trial-{self.count}"
        if scene is not None:
            shutil.copytree(scene, directory, symlinks=True)
        return directory

    def outcome(self, directory: Path) -> tuple[str, str]:
        return (directory / "end").read_text(), (directory / "out.txt").read_text()

    def calls(self, which: str, scene: Path | None = None) -> list[tuple[str, int]]:
        """Return the calls of these kinds that an undisturbed process makes, numbered by kind."""
        directory = self.begin(scene)
        options = [*paths_of(directory)] if which == FAILING else []
        assert self.server.run(directory, self.loop, "-e", f"trace=?{which}", *options) == 0
        found = re.findall(r"^\d+ +(\w+)\(", (directory / "trace").read_text(), re.MULTILINE)
        numbers = Counter(found)
        return [(call, number + 1) for call in numbers for number in range(numbers[call])]

    def finish(self, directory: Path) -> None:
        """Run it again, undisturbed, and check everything."""
        assert self.server.run(directory, self.loop) == 0, (directory / "errors").read_text()
        self.check(directory)

    def check(self, directory: Path) -> None:
        assert self.outcome(directory) == self.right
        if self.loop != "none":
            seen = 0
            for line in (directory / "told").read_text().splitlines():
                what, step = line.split()
                assert what == "step" or int(step) >= seen, "an increment handed out was lost"
                seen = max(seen, int(step))
            assert seen == STEPS


@pytest.fixture(params=LOOPS)
def trials(server: Server, request: pytest.FixtureRequest, tmp_path: Path) -> Trials:
    return Trials(server, request.param, tmp_path)


def paths_of(directory: Path) -> Iterator[str]:
    """Return options by which strace looks only at the files of the run."""
    store = directory / ".trax"
    run = store / "runs" / "run"
    yield from ("-P", str(directory / "out.txt"))
    for name in ("", ".gitignore", "locks", "locks/run", "runs", "runs/run"):
        yield from ("-P", str(store / name))
    for number in range(1, 8):
        for name in ("log-%08d", "checkpoint-%08d", "checkpoint-%08d.tmp"):
            yield from ("-P", str(run / (name % number)))


def some(everything: list[T], number: int, part: int) -> list[T]:
    """Return what one part tries of everything: so many at random, or all of its share."""
    if os.environ.get("TRAX_SYSTEM_CALLS") == "all":
        return everything[part::PARTS]
    return random.sample(everything, min(number, len(everything)))


def kill_at(trials: Trials, calls: list[tuple[str, int]], scene: Path | None = None) -> int:
    """Kill at each of these calls, run again, and check; return how often it was killed."""
    kills = 0
    for call, number in calls:
        directory = trials.begin(scene)
        what = f"inject={call}:signal=SIGKILL:when={number}"
        ended = trials.server.run(directory, trials.loop, "-e", f"trace={call}", "-e", what)
        assert ended in (0, -signal.SIGKILL), (what, (directory / "errors").read_text())
        kills += ended != 0
        try:
            trials.finish(directory)
        except AssertionError as error:
            error.add_note(f"{trials.loop}, {what}, in {directory}")
            raise
        shutil.rmtree(directory)
    assert kills, "strace has killed nothing"
    return kills


@pytest.mark.parametrize("part", range(PARTS))
def test_a_run_that_is_killed_at_a_system_call_goes_on(
    trials: Trials, part: int, count: Callable[[str, int], None]
) -> None:
    """Whichever call it is: between any two of them the disk holds something to go on from."""
    calls = some(trials.calls(CHANGING), KILLS, part)
    count("system calls killed at", kill_at(trials, calls))


def damaged_scene(trials: Trials) -> Path:
    """Return a run that died, with much to put right."""
    scene = trials.begin()
    assert trials.server.run(scene, trials.loop, dies_at=7) == -signal.SIGKILL
    run = scene / ".trax" / "runs" / "run"
    (run / "checkpoint-00000009.tmp").write_bytes(b"half a checkpoint")
    if trials.loop != "none":  # which has no log that could replace the newest checkpoint
        newest = max(run.glob("checkpoint-????????"))
        newest.write_bytes(flipped(newest.read_bytes(), 1500))
        with max(run.glob("log-????????")).open("ab") as log:
            log.write(b"\x81\x50\0\0\0\0\0\0half a record")
    with (scene / "out.txt").open("a") as out:
        out.write("half a line")
    return scene


@pytest.mark.parametrize("part", range(PARTS))
def test_a_recovery_that_is_killed_at_a_system_call_is_done_again(
    trials: Trials, part: int, count: Callable[[str, int], None]
) -> None:
    """Also where a checkpoint is broken, the log torn, a file too long."""
    scene = damaged_scene(trials)
    calls = some(trials.calls(CHANGING, scene), RECOVERIES, part)
    count("system calls killed at", kill_at(trials, calls, scene))


@dataclass(frozen=True)
class Failure:
    """What happens to a system call: an error, once or from then on."""

    call: str
    number: int
    error: str
    lasts: bool

    def __str__(self) -> str:
        return f"inject={self.call}:error={self.error}:when={self.number}{'+' * self.lasts}"


def failures_of(calls: list[tuple[str, int]]) -> list[Failure]:
    """Return all failures; a call that is interrupted for ever is tried for ever."""
    return [
        Failure(call, number, error, lasts)
        for call, number in calls
        for error in ERRORS
        for lasts in (False, True)
        if not (lasts and error == "EINTR")
    ]


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("is_damaged", [False, True], ids=["new", "damaged"])
def test_a_system_call_that_fails_is_an_error_with_a_name_or_none(
    trials: Trials, is_damaged: bool, part: int, count: Callable[[str, int], None]
) -> None:
    """The process ends by itself, and run again it ends right: nothing handed out is lost."""
    scene = damaged_scene(trials) if is_damaged else None
    failed = 0
    for failure in some(failures_of(trials.calls(FAILING, scene)), FAILURES, part):
        directory = trials.begin(scene)
        tracing = ["-e", f"trace={failure.call}", "-e", str(failure), *paths_of(directory)]
        try:
            ended = trials.server.run(directory, trials.loop, *tracing)
            assert ended in (0, 3), (directory / "errors").read_text()
            failed += "(INJECTED)" in (directory / "trace").read_text()
            if ended == 0:
                trials.check(directory)
            trials.finish(directory)
        except (AssertionError, TimeoutError) as error:
            error.add_note(f"{trials.loop}, {failure}, in {directory}")
            raise
        shutil.rmtree(directory)
    assert failed, "strace has let nothing fail"
    count("system calls failed", failed)
