"""A storm over plain loops: random programs in processes that are killed again and again.

::

    python tests/plain_storm.py [--count N | --seconds N] [--first SEED] [--jobs J] [--spawn]

Each program is run once without trax, and then with it, in processes that are killed, stopped or
interrupted at random places, also while steps are run again, and the files of some are damaged in
between. What the whole gives must be what the first run gave: each increment handed out, and none
twice; the result or the exception, the output files, the RNGs, and the arguments afterwards. In
between, a stored run must be valid, and its variables those of its step. The processes are forks
of one that has run nothing; with ``--spawn`` they are new interpreters. The directory of a program
that fails is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import builtins
import contextlib
import dataclasses
import hashlib
import inspect
import json
import linecache
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from plain_programs import PlainWriter
from storm import DAMAGES, Files

import trax
from trax.engine import plain_session
from trax.errors import TraxError

NAME = "storm"
LIMIT = 150  # increments of one program
PATIENCE = 120  # seconds
PROCESSES = 12  # of one program, the last of which are not disturbed
INCIDENTS = ("Crash", "CancelledError", "GeneratorExit", "KeyboardInterrupt")
PLAIN = (int, float, str, bool, type(None), tuple, list)


class Crash(BaseException):
    """Breaks a program off where no handler of its own sees it."""


class Replaced(BaseException):
    """A program has gone on after a `Crash`, since a ``finally`` of its own replaced it."""


@dataclasses.dataclass(frozen=True)
class Incident:
    """What happens to a process: at the tick of that number, or after so many seconds."""

    how: str = ""
    tick: int = 0
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Plan:
    """One process: the share of steps that get a frame, and what happens to it."""

    seed: int
    native: bool
    options: dict[str, Any]
    frames: float
    incident: Incident
    number: int


# -- one process ---------------------------------------------------------------------------


class Native:
    """Stands for trax where a program runs without it."""

    def __init__(self) -> None:
        self.handed = 0
        self.files: list[Any] = []

    def resumable(self, **_: Any) -> Callable[[Any], Any]:
        return lambda function: function

    def step(self) -> int:
        return self.handed

    def steps(self, number: int) -> range:
        return range(number)

    def remaining(self, items: Any) -> Any:
        return items

    def open(self, path: str, mode: str = "w") -> Any:
        self.files.append(builtins.open(path, mode))  # noqa: SIM115  # closed at the end
        return self.files[-1]


class Ticks:
    """Counts the places where something may happen to a process, and lets it happen."""

    def __init__(self, incident: Incident) -> None:
        self.count = 0
        self.has_crashed = False
        self._incident = incident
        if incident.how == "alarm":
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, incident.seconds)

    def __call__(self) -> None:
        self.count += 1
        if self.count != self._incident.tick:
            return
        if self._incident.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self._incident.how == "stop":
            os.kill(os.getpid(), signal.SIGTERM)
        elif self._incident.how == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        elif self._incident.how == "crash":
            self.has_crashed = True
            raise Crash


def work(plan: Plan) -> None:
    """Run the program of this directory to its end, or until something happens to it."""
    path = Path("script.py").resolve()
    ticks = Ticks(plan.incident)
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    module.__file__ = str(path)
    native = Native()
    made = {"trax": native if plan.native else trax, "tick": ticks, "OPTIONS": plan.options}
    vars(module).update(made)
    linecache.checkcache(str(path))
    _choose_frames(plan)
    # A run without a step begins anew, with the present seeds; the others ignore them.
    is_stored = any(Path(".trax/runs", NAME).glob("checkpoint-*[0-9]"))
    is_stored = is_stored and bool(trax.verify(NAME).step)
    random.seed(None if is_stored else plan.seed)
    np.random.seed(None if is_stored else plan.seed)
    mine: dict[str, Any] = {}
    ended: dict[str, Any] = {"ended": "limit"}
    with builtins.open("told", "a", buffering=1) as told:
        try:
            exec(compile(path.read_text(), str(path), "exec"), vars(module))
            mine |= arguments(module)
            drive(module, mine, native if plan.native else None, told, ticks, ended)
        except (TraxError, Crash, Replaced, KeyboardInterrupt, SystemExit) as error:
            ended = {"left": f"{type(error).__name__}: {error}", "text": traceback.format_exc()}
        except Exception as error:  # noqa: BLE001  # of the program
            chain = [*_chain(error)]
            ended = {"ended": "raised", "value": chain, "text": traceback.format_exc()}
            if any(one.startswith(INCIDENTS) for one in chain):  # what a `finally` made of it
                ended = {"left": f"Crash: {chain}", "text": ended["text"]}
    if "ended" in ended:
        model = getattr(vars(module).get("program"), "__self__", None)
        ended["arguments"] = [repr(one) for one in (*mine.values(), model and vars(model))]
        # A run that was done puts only those RNGs back that it has drawn from.
        if ended["ended"] != "limit" and (ticks.count or not is_stored):
            ended["rngs"] = _digest(repr((random.getstate(), np.random.get_state())).encode())
    for file in native.files:
        file.close()
    ended["ticks"] = ticks.count
    ended["pid"] = os.getpid()
    Path("ended.part").write_text(json.dumps(ended))
    os.rename("ended.part", "ended")


def arguments(module: Any) -> dict[str, Any]:
    """Return the arguments that a program may change."""
    things = {"thing": module.Thing(), "slotted": module.Slotted()}
    return {"data": [5], "table": {"a": 1}, "array": np.zeros(4), **things}


def drive(
    module: Any, mine: Any, native: Native | None, told: Any, ticks: Ticks, ended: dict[str, Any]
) -> None:
    run = module.program(11, 5, 6, 7, v2=8, more=9, **mine)
    if native is None and hasattr(run, "__anext__"):
        asyncio.run(_drive_async(run, told, ticks, ended))
        return
    if native is not None and hasattr(run, "__anext__"):
        run = _AsGenerator(run)
    last = None
    while True:
        try:
            increment = next(run)
        except StopIteration as stop:
            value = stop.value
            break
        if ticks.has_crashed:
            raise Replaced
        last = increment
        step = run.step if native is None else native.handed + 1
        if native is not None:
            native.handed = step
            told.write(json.dumps([step, repr(increment), _variables(run)]) + "\n")
        else:
            told.write(json.dumps([step, repr(increment)]) + "\n")
        ticks()
        if step >= LIMIT:
            run.close()
            return
    if native is None:
        ended["value"] = repr(run.result())
    else:
        ended["value"] = repr(last if value is None else value)
    ended["ended"] = "returned"


async def _drive_async(run: Any, told: Any, ticks: Ticks, ended: dict[str, Any]) -> None:
    async with run:
        async for increment in run:
            if ticks.has_crashed:
                raise Replaced
            told.write(json.dumps([run.step, repr(increment)]) + "\n")
            ticks()
            if run.step >= LIMIT:
                return
        ended["value"] = repr(await run.result())
        ended["ended"] = "returned"


class _AsGenerator:
    """An async generator, driven as an ordinary one."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop

    def __next__(self) -> Any:
        try:
            return self._await(self.loop.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        self._await(self.loop.aclose())

    def _await(self, awaitable: Any) -> Any:
        waiting = awaitable.__await__()
        try:
            while True:
                waiting.send(None)
        except StopIteration as end:
            return end.value


def _variables(run: Any) -> dict[str, str]:
    """Return the variables of a generator that are plain data."""
    frame = run.gi_frame if hasattr(run, "gi_frame") else run.loop.ag_frame
    return {
        name: repr(value)
        for name, value in frame.f_locals.items()
        if isinstance(value, PLAIN) and " at 0x" not in repr(value)
    }


def _choose_frames(plan: Plan) -> None:
    """Store a frame with a share of the steps only; the first tells if the loop can be stored."""
    chosen = random.Random(f"{plan.seed}/{plan.number}")
    take = plain_session.PlainSession._take_frame
    if plan.frames < 0:  # as it is
        return
    plain_session._SHARE = 1e9

    def _take(self: Any, begun: float) -> bytes:
        if self.step and chosen.random() >= plan.frames:
            return b""
        return take(self, begun)

    plain_session.PlainSession._take_frame = _take  # type: ignore[method-assign]


def _chain(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        # A variable that functions inside share is one of theirs when a generator goes on.
        is_unbound = isinstance(error, NameError)
        yield "unbound" if is_unbound else f"{type(error).__name__}: {error}"
        error = error.__context__


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- processes -----------------------------------------------------------------------------


@dataclasses.dataclass
class Ended:
    """How a process ended: its signal, what it left, and what it said."""

    signal: int
    left: dict[str, Any]
    errors: str


def in_process(directory: Path, plan: Plan, *, spawns: bool) -> Ended:
    """Run one process."""
    (directory / "ended").unlink(missing_ok=True)
    status = _spawn(directory, plan) if spawns else in_fork(directory, lambda: work(plan))
    file = directory / "ended"
    left = json.loads(file.read_text()) if file.exists() else {}
    return Ended(status, left, (directory / "errors").read_text())


def _spawn(directory: Path, plan: Plan) -> int:
    command = [sys.executable, __file__, "--work", json.dumps(dataclasses.asdict(plan))]
    with (directory / "errors").open("w") as errors:
        done = subprocess.run(command, cwd=directory, stderr=errors, check=False, timeout=PATIENCE)
    return -min(done.returncode, 0)


def in_fork(directory: Path, action: Callable[[], None]) -> int:
    """Do something in a fork of this process; return the signal that ended it."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.chdir(directory)
            errors = os.open("errors", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(errors, 2)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(PATIENCE)
            action()
            status = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitpid(pid, 0)[1] & 127


# -- one program ---------------------------------------------------------------------------


class Trial:
    """One program, disturbed, and what must come of it.

    Attributes
    ----------
    counts : Counter
        How many kills, stops, steps that were run again, ... there were.
    refused : str
        Why the program is refused, if it is.
    """

    def __init__(self, directory: Path, seed: int, *, spawns: bool = False) -> None:
        self.rng = random.Random(f"trial {seed}")
        self.seed = seed
        self.directory = directory
        self.spawns = spawns
        self.counts: Counter[str] = Counter()
        self.refused = ""
        self.options = self._draw_options()
        self.frames = self.rng.choice([-1.0, 1.0, 0.3, 0.1, 0.0, 0.0])
        self.is_damaged = self.rng.random() < 0.15
        self.files = Files(directory / "trial")
        self.files.run = directory / "trial/.trax/runs" / NAME
        self._expected: list[Any] = []
        self._has_been_damaged = False
        self._step = 0  # handed out
        self._unknown = 0  # increments that may be stored and not handed out

    def _draw_options(self) -> dict[str, Any]:
        some = self.rng.choice
        return {
            "name": NAME,
            "every_steps": some([None, None, 1, 3, 7, 20]),
            "sync": some(["always", "interval", "interval", "os"]),
            "keep": some([1, 2, 2, 3]),
        }

    def run(self) -> None:
        """Run it; `AssertionError` where something is not as it must be."""
        text = PlainWriter(self.seed).text()
        for name in ("native", "trial"):
            (self.directory / name).mkdir()
            (self.directory / name / "script.py").write_text(text)
        native = self._process("native", 0, Incident())
        assert native.left.get("ended"), f"the program is wrong: {native}"
        self._expected = _told(self.directory / "native")
        for number in range(1, PROCESSES + 1):
            incident = self._draw_incident(native.left["ticks"]) if number < 9 else Incident()
            ended = self._process("trial", number, incident)
            if self._understand(ended, incident, number):
                if not self.refused:
                    self._compare(native, ended)
                return
        raise AssertionError("it did not come to its end")

    def _process(self, name: str, number: int, incident: Incident) -> Ended:
        options = self.options
        plan = Plan(self.seed, name == "native", options, self.frames, incident, number)
        return in_process(self.directory / name, plan, spawns=self.spawns)

    def _draw_incident(self, ticks: int) -> Incident:
        kinds = {"kill": 6, "alarm": 1, "stop": 1, "interrupt": 1, "crash": 1, "": 0.5}
        how = self.rng.choices([*kinds], [*kinds.values()])[0]
        small = self.rng.random() < 0.5
        tick = self.rng.randint(1, max(2, ticks // 4 if small else ticks))
        return Incident(how, tick, self.rng.uniform(0.001, 0.06))

    def _understand(self, ended: Ended, incident: Incident, number: int) -> bool:
        """Understand how a process ended; return whether the program has come to its end."""
        self._check_told(ended)
        if "again" in ended.errors:
            self.counts["catch-ups"] += 1
        if ended.left.get("ended"):
            return True
        if ended.signal:
            assert ended.signal in (signal.SIGKILL, signal.SIGALRM), f"died: {ended}"
            assert incident.how in ("kill", "alarm"), f"died: {ended}"
            self.counts["kills"] += 1
        else:
            why = ended.left.get("left", "")
            assert why, f"it failed: {ended.errors}"
            if why.startswith("Replaced"):  # it has gone another way, as it may
                self.refused = "it replaces the exception that breaks it off"
                return True
            if not self._is_wanted(why, incident):
                return self._refusal(why, ended, number)
            self.counts[incident.how] += 1
        self._look(ended)
        if self.is_damaged and self.rng.random() < 0.5:
            self._damage()
        return False

    def _is_wanted(self, why: str, incident: Incident) -> bool:
        wanted: dict[str, str | tuple[str, ...]] = {
            "crash": "Crash",
            "interrupt": ("KeyboardInterrupt", "Crash"),
            "stop": ("Preempted", "Crash"),
        }
        return why.startswith(wanted.get(incident.how, "-"))

    def _refusal(self, why: str, ended: Ended, number: int) -> bool:
        """Take a refusal: at the beginning, or of damaged files, which are then put back."""
        if self._has_been_damaged and why.startswith(("CorruptionError", "FormatVersionError")):
            assert self.files.tainted, f"there was no damage: {ended.errors}"
            self.files.restore()
            self.counts["errors by name"] += 1
            return False
        assert not self._step, f"refused late, in process {number}: {ended.left['text']}"
        self.refused = why.partition("\n")[0]
        return True

    def _check_told(self, ended: Ended) -> None:
        told = _told(self.directory / "trial")
        last, seen = 0, set()
        for step, increment in told:
            assert self._has_been_damaged or step > last, f"step {step} was handed out twice"
            assert self._has_been_damaged or step <= last + 1 + self.counts["kills"] + 1
            expected = self._expected[step - 1] if step <= len(self._expected) else None
            assert expected is not None, f"step {step} is one too many: {increment}"
            assert increment == expected[1], f"step {step}: {increment}, not {expected[1]}"
            last = max(step, last)
            seen.add(step)
        missing = last - len(seen)
        kills = self.counts["kills"] + bool(ended.signal) + self.counts["interrupt"] + 1
        assert missing <= kills, f"{missing} increments were not handed out"
        self._step = last

    def _look(self, ended: Ended) -> None:
        """Look at the stored run now and then: it is valid, and has the variables of its step."""
        if self._has_been_damaged or self.rng.random() < 0.6:
            return
        trial = self.directory / "trial"
        if not (trial / ".trax").exists():
            return
        before = _image(trial)
        status = in_fork(trial, lambda: look(self._expected))
        errors = (trial / "errors").read_text()
        assert not status, f"died of {status}"
        assert "Error" not in errors, f"{errors}\nafter {ended}"
        assert _image(trial) == before, "looking has changed files"
        self.counts["looks"] += 1

    def _damage(self) -> None:
        name = self.rng.choice([*DAMAGES])
        if not self.files.run.exists():
            return
        with contextlib.suppress(FileNotFoundError):
            if DAMAGES[name](self.files, self.rng):
                self.counts["damages"] += 1
                self._has_been_damaged = True

    def _compare(self, native: Ended, ended: Ended) -> None:
        """Compare the end with that of the program without trax."""
        for what in ("ended", "value", "arguments", "rngs"):
            there, here = native.left.get(what), ended.left.get(what)
            if what == "rngs" and not here:
                continue
            assert here == there, f"{what}: {here}, not {there}\n{ended.left.get('text', '')}"
        for path in (self.directory / "native").glob("out*.txt"):
            found = self.directory / "trial" / path.name
            content = found.read_text() if found.exists() else None
            expected = path.read_text()
            if ended.left["ended"] != "returned":  # a step that fails leaves no output
                content = content or ""
                assert expected.startswith(content), f"{path.name}: {content!r}, not {expected!r}"
            else:
                assert content == expected, f"{path.name}: {content!r}, not {expected!r}"


def look(expected: list[Any]) -> None:
    """Verify the stored run, and compare its variables with those of its step."""
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    vars(module).update(trax=trax, tick=lambda: None, OPTIONS={"name": NAME})
    path = Path("script.py").resolve()
    exec(compile(path.read_text(), str(path), "exec"), vars(module))
    try:
        found = trax.verify(NAME)
    except trax.NotFoundError:  # it was killed before anything was stored
        return
    assert found.good, f"AssertionError: {found}"
    state: Any = trax.load(NAME)
    if not state.step:
        return
    for name, value in state.items():
        there = expected[state.step - 1][2].get(name)
        if there is not None and isinstance(value, PLAIN) and name not in ("data", "alias"):
            assert repr(value) == there, f"{name} is {value!r}, not {there}, at {state.step}"


def _told(directory: Path) -> list[Any]:
    file = directory / "told"
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _image(directory: Path) -> dict[Path, bytes]:
    found = [path for path in directory.rglob("*") if path.is_file()]
    return {
        path: path.read_bytes()
        for path in found
        if path.parent.name != "locks" and path.name != "errors"
    }


# -- the script ----------------------------------------------------------------------------


def one(place: Path, seed: int, *, spawns: bool) -> Trial:
    """Try one program; its directory is kept if it fails."""
    directory = place / f"program-{seed}"
    directory.mkdir()
    trial = Trial(directory, seed, spawns=spawns)
    trial.run()
    shutil.rmtree(directory)
    return trial


def storm(options: Any, place: Path, job: int) -> int:
    """Try every so many-th program; return the number of failures."""
    end = time.monotonic() + (options.seconds or float("inf"))
    counts: Counter[str] = Counter()
    failed = 0
    inspect.getmodule(storm.__code__)  # finds the files of all modules, once for all processes
    for seed in range(options.first + job, options.first + options.count, options.jobs):
        if time.monotonic() > end:
            break
        try:
            trial = one(place, seed, spawns=options.spawn)
        except Exception as error:  # noqa: BLE001
            failed += 1
            print(f"program {seed} FAILED: {error}\nkept in {place}/program-{seed}", flush=True)
            continue
        counts += trial.counts + Counter(programs=1)
        if trial.refused:
            counts["refused"] += 1
            print(f"program {seed} is refused: {trial.refused}", flush=True)
    numbers = ", ".join(f"{number} {what}" for what, number in counts.most_common())
    print(f"{numbers}, {failed} FAILED", flush=True)
    return failed


def counts_in(text: str) -> Counter[str]:
    """Return the numbers in what the script has printed."""
    found = re.findall(r"(\d+) ([a-z -]+)", text.splitlines()[-1])
    return Counter({what: int(number) for number, what in found})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--spawn", action="store_true")
    parser.add_argument("--place", type=Path)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        given = json.loads(options.work)
        work(Plan(**{**given, "incident": Incident(**given["incident"])}))
        return 0
    if options.seconds is None and options.count == 10**9:
        options.count = 100
    place = options.place or Path(tempfile.mkdtemp(prefix="plain-storm-"))
    pids = []
    for job in range(options.jobs):
        pid = os.fork()
        if not pid:
            status = 2
            try:
                status = min(storm(options, place, job), 1)
            except BaseException:  # noqa: BLE001
                traceback.print_exc()
            finally:
                os._exit(status)
        pids.append(pid)
    failures = [os.waitpid(pid, 0)[1] for pid in pids]
    if not any(failures) and not options.place:
        shutil.rmtree(place)
    return int(any(failures))


if __name__ == "__main__":
    sys.exit(main())
