"""Runs that lose their disk go on from their replica: real processes, killed, on a directory."""

from __future__ import annotations

import collections
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import run_script, start_script, write_script

import trax
from trax import StorageError, UsageError
from trax.replica import run_replica
from trax.replica.objects import Objects, open_objects

REPLICA = Path("replica")

COUNT = """
import asyncio, os, signal, sys, time
import trax

OPTIONS = dict(varying="to", replica=os.path.abspath("replica"), replica_seconds=0.05)

@trax.resumable(create=list, replay_log="append", every_steps=40, **OPTIONS)
def fold(state, to):
    with trax.open("out.txt") as file:
        while len(state) < to:
            print(len(state), file=file)
            state = yield len(state)

@trax.resumable(every_steps=40, **OPTIONS)
def plain(to):
    done = []
    with trax.open("out.txt") as file:
        for n in range(to):
            print(n, file=file)
            done.append(n)
            yield n
    return done

@trax.resumable(create=list, replay_log=None, every_steps=10, **OPTIONS)
def unlogged(state, to):
    while len(state) < to:
        state.append(len(state))
        yield len(state)

@trax.resumable(create=list, replay_log="append", sync="replica", **OPTIONS)
def waiting(state, to):
    while len(state) < to:
        state = yield len(state)

@trax.resumable(create=list, replay_log="append", sync="replica", name="awaited", **OPTIONS)
async def awaited(state, to):
    while len(state) < to:
        state = yield len(state)
"""

DRIVE = (
    COUNT
    + """
name, to, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])

def tell(run):
    print(run.step, flush=True)
    time.sleep(pause)

async def drive():
    run = awaited(to=to)
    async for _ in run:
        tell(run)
    print("result", await run.result() == list(range(to)))

if name == "awaited":
    asyncio.run(drive())
else:
    run = globals()[name](to=to)
    for _ in run:
        tell(run)
    print("result", run.result() == list(range(to)))
"""
)


def lose_disk() -> None:
    """Remove all that the machine had, but not the replica."""
    shutil.rmtree(".trax")
    Path("out.txt").unlink(missing_ok=True)


def killed_at(name: str, step: int, pause: float) -> int:
    """Run a loop until it has told of a step, and kill it; return the last step that it told."""
    with start_script(DRIVE, name, "10000", str(pause)) as started:
        assert started.stdout is not None
        told = 0
        for line in started.stdout:
            told = int(line)
            if told >= step:
                break
        started.kill()
        return max([told, *map(int, started.stdout.read().split())])


@pytest.mark.parametrize("name", ["fold", "plain", "unlogged"])
def test_a_run_goes_on_without_its_disk(name: str) -> None:
    """With all that is older than the seconds between two copies, and with its output file."""
    told = killed_at(name, 150, 0.005)
    lose_disk()
    done = run_script(DRIVE, name, str(told + 100), "0")
    assert f"trax: {name}: " in done.stderr
    assert f"steps came from {REPLICA.resolve()}" in done.stderr
    first = int(done.stdout.split()[0])
    assert 20 < first <= told + 1
    assert done.stdout.endswith("result True\n")
    if name != "unlogged":
        assert Path("out.txt").read_text().split() == [str(n) for n in range(told + 100)]


@pytest.mark.parametrize("name", ["waiting", "awaited"])
def test_no_step_that_was_handed_out_is_lost(name: str) -> None:
    """With ``sync="replica"``, wherever the machine dies."""
    told = 0
    for _ in range(4):
        told = killed_at(name, told + 5, 0)
        lose_disk()
    done = run_script(DRIVE, name, str(told + 3), "0")
    assert int(done.stdout.split()[0]) <= told + 2
    assert f"{name} resumed at step " in done.stderr
    resumed = int(done.stderr.partition("resumed at step ")[2].split()[0])
    assert told <= resumed
    assert done.stdout.endswith("result True\n")


def plain_numbers() -> Iterator[int]:
    yield from range(1000)


def numbers(state: list[int]) -> Iterator[int]:
    while len(state) < 1000:
        state = yield len(state)  # type: ignore[assignment]


@pytest.mark.parametrize("is_plain", [False, True])
@pytest.mark.parametrize("every_steps", [1, 3, 10**9])
def test_each_step_is_in_the_replica_before_it_is_handed_out(
    is_plain: bool, every_steps: int
) -> None:
    """The first one as well, and however seldom there is a checkpoint."""
    options: dict[str, Any] = {} if is_plain else {"create": list, "replay_log": "append"}
    options |= {"sync": "replica", "replica_seconds": 3600, "every_steps": every_steps}

    def begun(place: str) -> Any:
        decorate = trax.resumable(
            name="numbers", replica=f"replica-{place}", traxdir=place, **options
        )
        return decorate(plain_numbers if is_plain else numbers)()

    with begun("0") as run:
        for step in range(1, 8):
            next(run)
            shutil.copytree("replica-0", f"replica-{step}")
            with begun(str(step)) as other:
                next(other)
                assert other.resumed_at == step


@pytest.mark.parametrize("name", ["fold", "plain", "unlogged"])
def test_a_run_that_is_stopped_is_copied_to_its_last_step(name: str) -> None:
    with start_script(DRIVE, name, "100000", "0.001") as started:
        assert started.stdout is not None
        told = [int(started.stdout.readline()) for _ in range(100)][-1]
        started.send_signal(signal.SIGTERM)
        rest = started.stdout.read()
        assert started.wait() == 75
    told = max([told, *map(int, rest.split())])
    lose_disk()
    done = run_script(DRIVE, name, str(told + 1), "0")
    assert f"{name} resumed at step {told}" in done.stderr


def count_logged(state: list[int]):  # type: ignore[no-untyped-def]
    while True:
        state = yield [*state, len(state)]


def count_unlogged(state: list[int]):  # type: ignore[no-untyped-def]
    while True:
        state.append(len(state))
        yield len(state)


LOOPS: list[tuple[Any, dict[str, Any]]] = [
    (count_logged, {"create": list}),
    (count_unlogged, {"create": list, "replay_log": None}),
]


@pytest.mark.parametrize(("function", "options"), LOOPS)
@pytest.mark.parametrize("limit", [None, 0.1])
def test_one_that_stops_by_itself_is_copied_to_its_last_step(
    function: Any, options: dict[str, Any], limit: float | None
) -> None:
    """At the time limit, or when it is closed, although no copy was due."""
    options = {**options, "replica": "replica", "replica_seconds": 3600, "every_steps": 10**6}
    count = trax.resumable(**options, time_limit=limit)(function)
    run = count()
    if limit:
        with pytest.raises(trax.Preempted):
            collections.deque(run, maxlen=0)
    else:
        collections.deque(itertools.islice(run, 77), maxlen=0)
        run.close()
    told = run.step
    shutil.rmtree(".trax")
    with count() as again:
        assert again.step == told >= 1
        assert again.state == [*range(told)]


def test_a_loop_without_a_log_has_its_checkpoints_in_the_replica() -> None:
    """With ``sync="replica"`` as without: no step waits, since none is acknowledged."""
    count = trax.resumable(
        create=list, replay_log=None, every_steps=5, replica="replica", sync="replica"
    )(count_unlogged)
    with count() as run:
        collections.deque(itertools.islice(run, 23), maxlen=0)
    shutil.rmtree(".trax")
    with count() as run:
        assert run.step == 23


def test_a_finished_run_is_finished_everywhere() -> None:
    run_script(DRIVE, "fold", "30", "0")
    lose_disk()
    done = run_script(DRIVE, "fold", "30", "0")
    assert done.stdout == "result True\n"
    assert Path("out.txt").read_text().split() == [str(n) for n in range(30)]


def test_a_finished_run_is_copied_to_a_replica_that_it_is_given_later() -> None:
    def count(replica: str, **given: Any) -> Any:
        return trax.resumable(create=list, replay_log="append", replica=replica, **given)(numbers)

    for replica in ("", "replica", "other"):
        assert count(replica)().result() == list(range(1000))
    for replica in ("replica", "other"):
        with count(replica, traxdir=f"{replica}-again")() as run:
            assert run.step == 1000


def test_the_machine_that_opens_it_later_has_it() -> None:
    """The other one hears of it within the time between two copies."""
    script = write_script(DRIVE)
    Path("b").mkdir()
    Path("b/replica").symlink_to(REPLICA.resolve())
    with start_script(DRIVE, "fold", "100000", "0.002") as first:
        assert first.stdout is not None
        while int(first.stdout.readline()) < 60:
            pass
        command = [sys.executable, script, "fold", "5000", "0"]
        second = subprocess.run(command, cwd="b", capture_output=True, text=True, check=False)
        told = max(map(int, first.stdout.read().split()))
        assert first.wait() == 1
    assert second.returncode == 0, second.stderr
    assert second.stdout.endswith("result True\n")
    resumed = int(second.stderr.partition("resumed at step ")[2].split()[0])
    assert told < resumed + 2000


@trax.resumable(create=int, replica="replica", replica_seconds=3600, name="three")
def three(n: int):  # type: ignore[no-untyped-def]
    while n < 3:
        n = yield n + 1


def test_an_error_comes_before_the_first_step() -> None:
    """If nothing can be copied, or nobody says where to."""

    @trax.resumable(create=int, replica="missing/replica")
    def count(n: int):  # type: ignore[no-untyped-def]
        n = yield n + 1

    with pytest.raises(StorageError, match="is not a directory, so no replica can be in it"):
        next(count())
    assert not Path(".trax/runs/count").exists()

    @trax.resumable(create=int, sync="replica")
    def waits(n: int):  # type: ignore[no-untyped-def]
        n = yield n + 1

    with pytest.raises(UsageError, match="sync='replica' needs a replica"):
        next(waits())


class Asked:
    """A store of objects that takes note of what it is asked for."""

    def __init__(self, inner: Objects) -> None:
        self.requests: list[str] = []
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def ask(*arguments: Any) -> Any:
            if arguments != ([],):  # nothing to delete
                self.requests.append(name)
            return found(*arguments)

        return ask

    def take(self) -> list[str]:
        """Return the requests since the last call, sorted."""
        found = sorted(self.requests)
        self.requests.clear()
        return found


def test_few_requests_open_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long it was; a run that is done needs none."""
    asked = Asked(open_objects(str(REPLICA.absolute())))
    monkeypatch.setattr(run_replica, "open_objects", lambda url: asked)

    resumable = trax.resumable(
        create=list, replay_log="append", replica=REPLICA, replica_seconds=3600
    )
    begin: Any = resumable(numbers)

    run = begin()
    next(run)
    assert len(asked.take()) <= 6
    run.close()
    assert asked.take() == ["list", "put"]
    for _ in range(3):
        run = begin()
        for _ in range(100):
            next(run)
        assert len(asked.take()) <= 10
        run.close()
        assert asked.take() == ["list", "put"]
    shutil.rmtree(".trax")
    assert begin().result() == list(range(1000))
    assert asked.take()
    assert begin().result() == list(range(1000))
    assert asked.take() == []


def test_a_run_that_starts_over_keeps_the_former_one_aside() -> None:
    """Also on a machine that has never seen it."""
    assert three().result() == 3
    shutil.rmtree(".trax")
    run = three.fresh()
    assert next(run) == 1
    run.close()
    assert trax.load("three", traxdir=".trax") == 1
    assert any(Path(".trax/aside").iterdir())
    shutil.rmtree(".trax")
    assert list(three()) == [2, 3]


def test_a_run_that_was_rewound_stays_rewound() -> None:
    """Although the replica has later steps, which it loses."""

    @trax.resumable(create=int, replica="replica", keep="all", varying="to")
    def far(n: int, to: int):  # type: ignore[no-untyped-def]
        while n < to:
            n = yield n + 1

    far(to=5).result()
    trax.rewind("far", step=2)
    assert list(far(to=3)) == [3]
    shutil.rmtree(".trax")
    assert list(far(to=4)) == [4]


def test_a_repaired_run_gets_back_what_was_lost() -> None:
    """Since its replica has it."""

    @trax.resumable(create=int, replica="replica")
    def count(n: int):  # type: ignore[no-untyped-def]
        while n < 9:
            n = yield n + 1

    run = count()
    while next(run) < 8:
        pass
    run.close()
    log = max(Path(".trax/runs/count").glob("log-*"))
    log.write_bytes(log.read_bytes()[:-20])
    assert trax.repair("count").step == 7
    assert list(count()) == [9]


def test_what_could_not_be_copied_is_copied_later(recwarn: pytest.WarningsRecorder) -> None:
    """By a call of the run, even if it is finished."""
    run = three()
    next(run)
    REPLICA.rename("away")
    from trax.replica import attempts

    before = attempts._GRACE
    attempts._GRACE = 0.1
    try:
        assert run.result() == 3
    finally:
        attempts._GRACE = before
    Path("away").rename(REPLICA)
    assert (lag_of("three") or 0.0) > 0.0
    assert three().result() == 3
    assert lag_of("three") == 0.0
    shutil.rmtree(".trax")
    assert list(three()) == []


def lag_of(name: str) -> float | None:
    """Return how far the replica of a run is behind, as the store here knows."""
    (info,) = (info for info in trax.runs() if info.name == name)
    return info.lag


def test_a_run_that_was_finished_without_its_replica_is_copied_there_later() -> None:
    """Also if it was copied to another place meanwhile."""

    def count(replica: str) -> Any:
        return trax.resumable(create=list, replay_log="append", replica=replica)(numbers)

    places = [str(Path(name).resolve()) for name in ("one", "two")]
    for replica in places:
        run = count(replica)()
        next(run)
        run.close()
    with count("")() as run:
        assert run.result() == list(range(1000))
    for replica in places:
        assert count(replica)().result() == list(range(1000))
        there = trax.resumable(
            create=list, replay_log="append", replica=replica, traxdir=f"{replica}-again"
        )(numbers)
        with there() as run:
            assert run.step == 1000


def test_the_environment_can_name_the_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    """And an empty text in the code says that there is none; checks of a loop use none."""
    monkeypatch.setenv("TRAX_REPLICA", "replica")

    @trax.resumable(create=int)
    def count(n: int):  # type: ignore[no-untyped-def]
        while n < 3:
            n = yield n + 1

    count.check()
    assert not REPLICA.exists()
    assert count().result() == 3
    shutil.rmtree(".trax")
    assert count().step == 3
    shutil.rmtree(".trax")
    with trax.Trax(replica="") as store, pytest.raises(trax.NotFoundError):
        store.recover("count")


@pytest.mark.parametrize("is_there", [False, True])
def test_no_store_is_its_own_replica(is_there: bool) -> None:
    """Its disk would be the same, and nobody could tell which of both it is."""
    if is_there:
        assert three().result() == 3

    @trax.resumable(create=int, replica=".trax")
    def count(n: int):  # type: ignore[no-untyped-def]
        while n < 3:
            n = yield n + 1

    with pytest.raises(StorageError, match="is a store, so no replica can be in it"):
        count().result()
    assert Path(".trax/runs").exists() == is_there
    assert not Path(".trax/probe").exists()


def test_a_signed_run_has_a_signed_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    assert three().result() == 3
    shutil.rmtree(".trax")
    monkeypatch.setenv("TRAX_KEY", "cd" * 32)
    with pytest.raises(trax.UntrustedError, match="is not signed with the key"):
        next(three())
    monkeypatch.setenv("TRAX_KEY", "")
    with pytest.raises(trax.UntrustedError, match="is signed, and there is no key"):
        next(three())
    monkeypatch.setenv("TRAX_KEY", "ab" * 32)
    assert list(three()) == []


# -- machines that are lost again and again ------------------------------------------------


class Machines:
    """Machines that run one run, each in a directory, and share nothing but the replica.

    Attributes
    ----------
    told : int
        The last step that any of them has told.
    """

    def __init__(self, name: str, to: int) -> None:
        self.told = 0
        self._name = name
        self._to = to
        self._count = 0
        there = repr(str(REPLICA.resolve()))
        self._script = write_script(DRIVE.replace('os.path.abspath("replica")', there))

    def place(self) -> Path:
        """Return the directory of a new machine."""
        self._count += 1
        made = Path(f"machine-{self._count}").resolve()
        made.mkdir()
        return made

    def start(self, place: Path) -> subprocess.Popen[str]:
        """Start the run on a machine."""
        command = [sys.executable, self._script, self._name, str(self._to), "0.002"]
        return subprocess.Popen(
            command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def follow(self, started: subprocess.Popen[str], count: int) -> None:
        """Read some of the steps that a machine tells."""
        assert started.stdout is not None
        for _ in range(count):
            line = started.stdout.readline()
            if not line.strip().isdigit():
                break
            self.told = int(line)

    def end(self, started: subprocess.Popen[str]) -> str:
        """Read what a machine that has ended has told; return its errors."""
        out, errors = started.communicate()
        steps = [int(line) for line in out.split() if line.isdigit()]
        self.told = max([self.told, *steps])
        assert "Error" not in errors or "LockedError" in errors, errors
        return errors


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", ["fold", "plain"])
def test_machines_that_are_lost_again_and_again(name: str, seed: int) -> None:
    """Killed, with or without their disks, stopped, or replaced while they run."""
    rng = random.Random(seed)
    machines = Machines(name, 1200)
    place = machines.place()
    sleepers = []
    for _ in range(10):
        started = machines.start(place)
        machines.follow(started, rng.randrange(1, 150))
        how = rng.choice(["kill", "lose", "stop", "sleep", "overtake"])
        if how in ("kill", "lose"):
            started.kill()
        elif how == "stop":
            started.terminate()
        elif how == "sleep":
            started.send_signal(signal.SIGSTOP)
        if how in ("sleep", "overtake"):
            sleepers.append(started)
        else:
            machines.end(started)
        if how not in ("kill", "stop"):
            place = machines.place()
    last = machines.start(place)
    out, errors = last.communicate()
    assert out.endswith("result True\n"), errors
    for sleeper in sleepers:
        sleeper.send_signal(signal.SIGCONT)
        machines.end(sleeper)
    assert (place / "out.txt").read_text().split() == [str(n) for n in range(1200)]
    other = machines.start(machines.place())
    assert other.communicate()[0].endswith("result True\n")


# -- calls that do not fit -----------------------------------------------------------------

TRIAL = """
import sys, trax

@trax.resumable(create=int, replica=THERE, varying="to", sync="replica")
def trial(n, k, to):
    while n < to:
        n = yield n + 1
"""
NEWER = TRIAL.replace('varying="to"', 'varying="to", version=2, migrate=lambda n, version: n')


def started_elsewhere(text: str) -> subprocess.CompletedProcess[str]:
    """Run a script on a machine that has nothing."""
    Path("elsewhere").mkdir()
    command = [sys.executable, write_script(text)]
    return subprocess.run(command, cwd="elsewhere", capture_output=True, text=True, check=False)


@pytest.mark.parametrize("mistake", ["arguments", "version", "function", "key"])
def test_a_call_that_does_not_fit_disturbs_no_other_machine(
    mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds that out before it claims the run."""
    there = str(REPLICA.resolve())
    first = (NEWER if mistake == "version" else TRIAL).replace("THERE", repr(there))
    second = TRIAL.replace("THERE", repr(there))
    if mistake == "function":
        lines = second.splitlines()
        inner = [f"    {line}" for line in lines[3:]]
        second = "\n".join(
            [*lines[:3], "def outer():", *inner, "    return trial", "trial = outer()"]
        )
    call = f"next(trial(k={2 if mistake == 'arguments' else 1}, to=99))"
    wait = "\nfor n in trial(k=1, to=3):\n    print(n, flush=True)\n    sys.stdin.readline()\n"
    monkeypatch.setenv("TRAX_KEY", "ab" * 32 if mistake == "key" else "")
    with start_script(first + wait) as writer:
        assert writer.stdout is not None
        assert writer.stdin is not None
        assert writer.stdout.readline() == "1\n"
        monkeypatch.setenv("TRAX_KEY", "")
        refused = started_elsewhere(f"{second}\n{call}")
        assert refused.returncode == 1
        said = {
            "arguments": "ArgumentsChangedError",
            "version": "version 2",
            "function": "this is outer.<locals>.trial",
            "key": "is signed, and there is no key",
        }
        assert said[mistake] in refused.stderr
        writer.stdin.write("\n\n\n")
        writer.stdin.flush()
        out, errors = writer.communicate()
        assert writer.returncode == 0, errors
        assert out.split() == ["2", "3"]
    assert len([*REPLICA.glob("runs/trial/0*")]) > 2


# -- output files --------------------------------------------------------------------------


@pytest.mark.parametrize("length", [None, 0, 60])
def test_output_that_was_lost_comes_from_the_replica(length: int | None) -> None:
    """All of it, with the content that the run has written."""
    text = DRIVE.partition("name, to, pause")[0] + "\nrun = fold(to=900)\n"
    run_script(text + "for _ in range(50): next(run)\nrun.close()")
    if length is None:
        Path("out.txt").unlink()
    else:
        os.truncate("out.txt", length)
    done = run_script(text + "run.result()")
    assert "out.txt lacked output of the run, which came from" in done.stderr
    assert Path("out.txt").read_text().split() == [str(n) for n in range(900)]
    assert [*Path().glob("out.txt*")] == [Path("out.txt")]


UNSTORED = """
import os, sys, time
from pathlib import Path
import trax

@trax.resumable(create=list, replay_log="append", replica=os.path.abspath("replica"),
                replica_seconds=0.02, varying="dies")
def fold(state, dies):
    with trax.open("out.txt") as file:
        while len(state) < 9:
            print("step", len(state), file=file)
            if len(state) == 5 and dies:
                file.flush()
                copied = lambda: [path.read_bytes() for path in Path("replica/runs/fold").iterdir()]
                while not any(b"step 5" in data for data in copied()):
                    time.sleep(0.01)
                os.kill(os.getpid(), 9)
            state = yield len(state)

fold(len(sys.argv) > 1).result()
"""


@pytest.mark.parametrize("loses", [True, False])
def test_only_what_was_here_before_is_told_as_cut_back(*, loses: bool) -> None:
    """Output that no stored step has written may be copied, and comes back with the run."""
    assert run_script(UNSTORED, "--die", check=False).returncode == -9
    if loses:
        lose_disk()
    done = run_script(UNSTORED)
    assert ("out.txt was cut back" in done.stderr) is not loses
    assert Path(".trax/runs/fold/out.txt.cut").exists() is not loses
    assert Path("out.txt").read_text() == "".join(f"step {n}\n" for n in range(9))


def test_output_that_was_changed_is_not_replaced() -> None:
    """It is an error as without a replica, and the file is kept."""
    text = DRIVE.partition("name, to, pause")[0] + "\nrun = fold(to=900)\n"
    run_script(text + "for _ in range(50): next(run)\nrun.close()")
    Path("out.txt").write_text("x" * 150)
    done = run_script(text + "run.result()", check=False)
    assert done.returncode == 1
    assert "CorruptionError: the output file" in done.stderr
    assert Path("out.txt").read_text() == "x" * 150


def test_a_run_that_was_forked_has_a_replica_of_its_own() -> None:
    """Also after it was rewound, and started over on another machine."""

    @trax.resumable(create=int, replica="replica", keep="all", varying="to", name="a")
    def far(n: int, to: int):  # type: ignore[no-untyped-def]
        while n < to:
            n = yield n + 1

    other = trax.resumable(create=int, replica="replica", keep="all", varying="to", name="b")(
        far.__wrapped__
    )
    far(to=9).result()
    trax.fork("a", "b", step=9)
    assert list(other(to=12)) == [10, 11, 12]
    shutil.rmtree(".trax")
    assert list(far(to=10)) == [10]
    assert list(other(to=13)) == [13]
    assert list(other.fresh(to=2)) == [1, 2]
    shutil.rmtree(".trax")
    assert list(other(to=3)) == [3]
