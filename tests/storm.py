"""A storm: real processes that are killed again and again, over files that are damaged in between.

::

    python tests/storm.py [--seconds N | --hours N] [--seed S] [--jobs J]

Each round draws a loop with all its settings, what it keeps in its state and where its random
numbers come from; when it is killed, and what is damaged before it is run again. An oracle outside
of the process knows what the process told through a pipe, and how the same loop ends undisturbed.
It demands

- the same end to the last bit: state, output files, and the random numbers that come next;
- that every step was done, and hardly one twice;
- that nothing handed out is lost; only where the end of a log was damaged that nobody had forced to
  the disk, the steps in it are done again, and it is said;
- that damage is put right, or an error with a name that has changed nothing. Then the file is put
  back from a copy, and the run goes on.

The same seed draws the same rounds. The directory of a round that fails is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from support import flipped

from trax.storage.filesystem import LocalDirectory
from trax.storage.log import open_log
from trax.storage.records import HEADER_SIZE, decode_durable

WORKER = """
import asyncio, hashlib, json, os, random, struct, sys
from pathlib import Path
import numpy as np
import trax

SETTING = json.loads(sys.argv[1])
STEPS, SIZE, KIND = SETTING["steps"], SETTING["size"], SETTING["increments"]
SOURCES, OUTPUTS = SETTING["sources"], SETTING["outputs"]
random.seed(1)
np.random.seed(2)
aside = np.random.default_rng(3)
outputs = []


def tell(kind, step):
    os.write(1, struct.pack("<ci", kind, step))


def begin():
    state = {"step": 0, "list": [], "dict": {}, "array": np.zeros(SIZE)}
    if "state" in SOURCES:
        state["rng"] = np.random.default_rng(4)
    return state


def advance(state, increment):
    step, value, array = increment
    state["step"] = step + 1
    state["dict"][step % 97] = value
    if step % 50 == 0:
        state["list"].append(value)
    if SIZE:
        state["array"][step % SIZE] += value
        if array is not None:
            part = array[:SIZE]
            state["array"][: len(part)] += part
    return state


def open_files():
    names = [("out.txt", "w"), ("out.bin", "ab")]
    outputs[:] = [trax.open(*names[number]) for number in range(OUTPUTS)]


def draw(state):
    value = 0.0
    if "random" in SOURCES:
        value += random.gauss(0, 1)
    if "numpy" in SOURCES:
        value += np.random.standard_normal()
    if "variable" in SOURCES:
        value += aside.random()
    if "state" in SOURCES:
        value += state["rng"].random()
    return value


def compute(state):
    step = state["step"]
    tell(b"x", step)
    value = (step * 7 + state["dict"].get(step % 97, 0)) % 1.7 + draw(state)
    if SIZE:
        value += state["array"][step * 3 % SIZE] % 1
    if OUTPUTS:
        line = f"{step} {value!r}\\n"
        outputs[0].write(line[:5])
        if step % 50 == 0:
            outputs[0].flush()
        outputs[0].write(line[5:])
    if OUTPUTS > 1:
        outputs[1].write(struct.pack("<d", value) * (step % 3))
    length = {"number": 0, "array": 64, "large": 20_000}[KIND]
    return step, value, np.arange(length) * value if length else None


POLICIES = {
    "automatic": None,
    "eager": trax.automatic(overhead=1.0, recovery_seconds=0.005, log_bytes=20_000),
}
options = dict(
    create=begin,
    every_steps=SETTING["every_steps"],
    every_seconds=SETTING["every_seconds"],
    policy=POLICIES[SETTING["policy"]],
    sync=SETTING["sync"],
    keep=SETTING["keep"],
    name="storm",
)


@trax.resumable(replay_log=advance, **options)
def function(state):
    open_files()
    while state["step"] < STEPS:
        state = yield compute(state)


@trax.resumable(**options)
def replace(state):
    open_files()
    while state["step"] < STEPS:
        new = {**state, "list": [*state["list"]], "dict": {**state["dict"]},
               "array": state["array"].copy()}
        state = yield advance(new, compute(state))


@trax.resumable(replay_log=None, **options)
def none(state):
    open_files()
    while state["step"] < STEPS:
        advance(state, compute(state))
        yield state["step"] - 1


@trax.resumable(replay_log=advance, **options)
async def asynchronous(state):
    open_files()
    while state["step"] < STEPS:
        await asyncio.sleep(0)
        state = yield compute(state)


async def drive(run):
    async with run:
        tell(b"r", run.step)
        async for _ in run:
            tell(b"s", run.step - 1)


loops = {"function": function, "replace": replace, "none": none, "async": asynchronous}
run = loops[SETTING["mode"]]()
if SETTING["mode"] == "async":
    asyncio.run(drive(run))
else:
    tell(b"r", run.step)
    for _ in run:
        tell(b"s", run.step - 1)
state = run.state
digest = hashlib.sha256(repr((state["step"], state["list"], state["dict"])).encode())
digest.update(state["array"].tobytes())
for name in ["out.txt", "out.bin"][:OUTPUTS]:
    digest.update(Path(name).read_bytes())
digest.update(repr((random.random(), np.random.random(), aside.random())).encode())
if "state" in SOURCES:
    digest.update(repr(state["rng"].random()).encode())
print("digest", digest.hexdigest(), file=sys.stderr)
"""

MODES = ("function", "replace", "none", "async")
MESSAGE = struct.Struct("<ci")
LIMIT = 300  # seconds without a word after which a process hangs
STOPPED = 75  # the status after SIGTERM


# -- what is drawn -------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """One loop, and everything that can be chosen about it."""

    mode: str
    sync: str
    policy: str
    every_steps: int | None
    every_seconds: float | None
    keep: int
    size: int
    increments: str
    outputs: int
    sources: list[str]
    steps: int


@dataclass(frozen=True)
class Incident:
    """How one process ends, and what is damaged before the next one begins.

    `after` is a number of messages, or for the end of a process that has hardly begun, of seconds.
    """

    how: str
    after: float
    damage: str
    seed: int


def draw_setting(rng: random.Random, mode: str) -> Setting:
    """Draw a loop that takes a second or so."""
    sync = rng.choice(["always", "interval", "interval", "os"])
    size = rng.choice([0, 100, 100, 20_000, 300_000])
    increments = rng.choice(["number", "number", "array", "large"])
    logged = {"number": 60, "array": 600, "large": 160_000}[increments]
    if mode == "replace":
        logged += 8 * size + 2_000
    if mode == "none":
        logged = 60
    steps = round(rng.uniform(0.4, 1) * min(4_000, max(60, 20_000_000 // logged)))
    steps = min(steps, 400) if sync == "always" else steps
    policy = rng.choice(["steps", "steps", "seconds", "both", "automatic", "eager"])
    cheapest = max(1, steps // 40)
    return Setting(
        mode=mode,
        sync=sync,
        policy="eager" if policy == "eager" else "automatic",
        every_steps=rng.randint(cheapest, steps) if policy in ("steps", "both") else None,
        every_seconds=rng.uniform(0.02, 0.5) if policy in ("seconds", "both") else None,
        keep=rng.choice([1, 2, 2, 3]),
        size=size,
        increments=increments,
        outputs=rng.randrange(3),
        sources=[one for one in ("random", "numpy", "variable", "state") if rng.random() < 0.5],
        steps=steps,
    )


def draw_incidents(rng: random.Random, steps: int) -> list[Incident]:
    """Draw what happens to a loop, each time a little further on."""
    number = rng.randint(6, 12)
    incidents = []
    for _ in range(number):
        how = rng.choices(["kill", "begin", "stop"], [6, 1, 1])[0]
        after = rng.uniform(0, 0.3) if how == "begin" else rng.randint(1, 4 * steps // number)
        damage = rng.choice(["", "", "", *DAMAGES])
        incidents.append(Incident(how, after, damage, rng.randrange(1 << 32)))
    return incidents


# -- damage --------------------------------------------------------------------------------


class Files:
    """The files of one run, and what was done to them behind its back."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run = directory / ".trax" / "runs" / "storm"
        self.tainted: dict[Path, tuple[bytes, bytes]] = {}  # what it was, and what it is
        self.is_quiet = False  # the end of a log was cut where nobody can see it
        self.is_changed = False  # since a process last told where it resumed

    def counting(self, kind: str = "*") -> list[Path]:
        """Return the files that count, oldest first."""
        return sorted(self.run.glob(f"{kind}-" + "[0-9]" * 8))

    def change(self, path: Path, content: bytes) -> None:
        """Damage a file, and remember how it was."""
        original = path.read_bytes()
        if path in self.tainted and self.tainted[path][1] == original:
            original = self.tainted[path][0]
        self.tainted[path] = (original, content)
        self.is_changed = True
        path.write_bytes(content)

    def forget(self) -> None:
        """Forget what is gone, or was put right."""
        for path, (_, content) in list(self.tainted.items()):
            if not path.exists() or path.read_bytes() != content:
                del self.tainted[path]

    def restore(self) -> None:
        """Put everything back from its copy, as a person would."""
        self.forget()
        for path, (original, _) in self.tainted.items():
            path.write_bytes(original)
        self.tainted.clear()

    @property
    def can_stand_in(self) -> bool:
        """Whether only the newest checkpoint is damaged, and there is an older one."""
        checkpoints = self.counting("checkpoint")
        return len(checkpoints) > 1 and {*self.tainted} == {checkpoints[-1]}

    def image(self) -> dict[Path, bytes]:
        """Return everything, but what only says who holds the run."""
        found = [path for path in self.directory.rglob("*") if path.is_file()]
        return {path: path.read_bytes() for path in found if path.parent.name != "locks"}


def flip_checkpoint(files: Files, rng: random.Random) -> bool:
    """Flip a bit of the newest checkpoint."""
    return _change_last(files, "checkpoint", lambda content: flip(content, rng))


def cut_checkpoint(files: Files, rng: random.Random) -> bool:
    """Make the newest checkpoint shorter."""
    return _change_last(files, "checkpoint", lambda content: content[: rng.randrange(len(content))])


def cut_log(files: Files, rng: random.Random) -> bool:
    """Cut the last log within what is not known to be on the disk."""
    log = max(files.counting("log"), default=None)
    content = log.read_bytes() if log else b""
    if log is None or len(content) <= HEADER_SIZE:
        return False
    begin = max(HEADER_SIZE, decode_durable(content[:HEADER_SIZE]))
    if begin >= len(content):
        return False
    files.change(log, content[: rng.randrange(begin, len(content))])
    with open_log(LocalDirectory(str(files.run)), log.name) as reader:
        for _ in reader:
            pass
        files.is_quiet = reader.flaw is None
    return True


def leave_temporary(files: Files, rng: random.Random) -> bool:
    """Leave a checkpoint behind that was never finished."""
    if not files.counting():
        return False
    number = rng.randrange(1, 200)
    (files.run / f"checkpoint-{number:08d}.tmp").write_bytes(rng.randbytes(rng.randrange(5000)))
    return True


def flip_anything(files: Files, rng: random.Random) -> bool:
    """Flip a bit anywhere in any file."""
    everything = files.counting()
    if everything:
        path = rng.choice(everything)
        content = path.read_bytes()
        if content:
            files.change(path, flip(content, rng))
    return bool(everything)


def write_behind(files: Files, rng: random.Random) -> bool:
    """Let somebody else write to the end of an output file."""
    path = files.directory / "out.txt"
    files.forget()
    is_whole = path.exists() and path not in files.tainted
    if is_whole:
        with path.open("ab") as file:
            file.write(rng.randbytes(rng.randrange(1, 100)))
    return is_whole


def shorten_output(files: Files, rng: random.Random) -> bool:
    """Make an output file shorter."""
    path = files.directory / "out.txt"
    content = path.read_bytes() if path.exists() else b""
    if content:
        files.change(path, content[: rng.randrange(len(content))])
    return bool(content)


def _change_last(files: Files, kind: str, change: Callable[[bytes], bytes]) -> bool:
    newest = max(files.counting(kind), default=None)
    if newest is None:
        return False
    files.change(newest, change(newest.read_bytes()))
    return True


def flip(content: bytes, rng: random.Random) -> bytes:
    """Flip a bit: one of the first, of the last, or any."""
    near = rng.choice([min(len(content), 2 * HEADER_SIZE), len(content)])
    offset = rng.choice([rng.randrange(near), len(content) - 1 - rng.randrange(near)])
    return flipped(content, offset, 1 << rng.randrange(8))


DAMAGES: dict[str, Callable[[Files, random.Random], bool]] = {
    "checkpoint flipped": flip_checkpoint,
    "checkpoint cut": cut_checkpoint,
    "log cut": cut_log,
    "temporary file": leave_temporary,
    "bit flipped": flip_anything,
    "output longer": write_behind,
    "output shorter": shorten_output,
}


# -- processes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it told."""

    status: int
    told: list[tuple[bytes, int]]
    errors: str


def run_worker(directory: Path, setting: Setting, incident: Incident | None) -> Ended:
    """Run the loop until something happens to it, or to its end."""
    script = directory / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), json.dumps(dataclasses.asdict(setting))]
    with (
        (directory / "errors").open("w+") as errors,
        subprocess.Popen(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=errors, bufsize=0
        ) as process,
    ):
        try:
            told = b"".join(_happen(process, incident))
        finally:
            process.kill()
    text = (directory / "errors").read_text()
    whole = len(told) // MESSAGE.size * MESSAGE.size
    return Ended(process.returncode, list(MESSAGE.iter_unpack(told[:whole])), text)


def _happen(process: subprocess.Popen[bytes], incident: Incident | None) -> Iterator[bytes]:
    left = float("inf")
    if incident is not None and incident.how == "begin":
        time.sleep(incident.after)
        process.kill()
    elif incident is not None:
        left = incident.after * MESSAGE.size
    while chunk := _read(process):
        yield chunk
        left -= len(chunk)
        if left <= 0:
            assert incident is not None
            process.send_signal(signal.SIGTERM if incident.how == "stop" else signal.SIGKILL)
            left = float("inf")
    process.wait(LIMIT)


def _read(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], LIMIT)[0]:
        raise AssertionError("the process hangs")
    return process.stdout.read(1 << 16)


# -- a round -------------------------------------------------------------------------------


class Round:
    """One loop, disturbed, and the oracle that knows what must come of it.

    Parameters
    ----------
    directory : Path
        An empty directory.
    seed : str
        What everything is drawn from.
    mode : str
        The loop.

    Attributes
    ----------
    counts : Counter
        How many kills, runs, damages, ... there were.
    """

    def __init__(self, directory: Path, seed: str, mode: str) -> None:
        rng = random.Random(seed)
        self.setting = draw_setting(rng, mode)
        self.incidents = draw_incidents(rng, self.setting.steps)
        self.directory = directory
        self.counts: Counter[str] = Counter()
        self._storm = directory / "storm"
        self._files = Files(self._storm)
        self._executed: list[int] = []
        self._next = 0  # the first step that was not handed out yet
        self._is_stored = False
        self._must_resume_at = -1  # where it has stopped by itself
        self._lost = 0
        self._said = ""  # since a process last told where it resumed

    def run(self) -> None:
        """Run it; `AssertionError` where something is not as it must be."""
        calm = self.directory / "calm"
        calm.mkdir()
        self._storm.mkdir()
        undisturbed = run_worker(calm, self.setting, None)
        assert undisturbed.status == 0, undisturbed.errors
        digest = ""
        for incident in [*self.incidents, None, None]:
            digest = self._go_on(incident)
            if digest:
                break
        assert digest == _digest(undisturbed.errors), "it ended in another state"
        assert {*self._executed} == {*range(self.setting.steps)}, "a step was never done"
        again = len(self._executed) - self.setting.steps
        if self.setting.mode != "none":
            assert again <= self.counts["kills"] + self._lost, f"{again} steps were done again"

    def _go_on(self, incident: Incident | None) -> str:
        """Run one process, damage the files behind it; return its digest, if it came to its end."""
        before = self._files.image() if self._files.tainted else {}
        ended = run_worker(self._storm, self.setting, incident)
        self.counts["runs"] += 1
        self._understand(ended)
        if ended.status == 0:
            return _digest(ended.errors)
        if ended.status in (-signal.SIGKILL, -signal.SIGTERM):
            assert incident is not None, "it was killed by somebody else"
            self.counts["kills"] += 1
        elif ended.status == STOPPED:
            assert incident is not None
            assert incident.how == "stop", ended.errors
            self.counts["stops"] += 1
            self._must_resume_at = self._next
        else:
            self._refused(ended, before)
        if incident is not None and incident.damage:
            self._damage(incident)
        return ""

    def _refused(self, ended: Ended, before: dict[Path, bytes]) -> None:
        """Check that an error has a reason and a name, and has changed nothing; put files back."""
        last = re.findall(r"^trax\.(\w+): ", ended.errors, re.MULTILINE)[-1:]
        assert last in (["CorruptionError"], ["FormatVersionError"]), ended.errors
        self._files.forget()
        assert self._files.tainted, f"there was no damage: {ended.errors}"
        can_stand_in = self._files.can_stand_in and self.setting.mode != "none"
        assert not can_stand_in, f"an older checkpoint is there: {ended.errors}"
        errors = self._storm / "errors"
        changed = {
            path
            for path, content in self._files.image().items()
            if path != errors and before.get(path) != content
        }
        assert not changed, f"an error has changed {changed}: {ended.errors}"
        self._files.restore()
        self.counts["errors by name"] += 1

    def _damage(self, incident: Incident) -> None:
        if incident.damage.startswith("output") and self._next == self.setting.steps:
            return  # it may be done, and then trax looks at its output files no more
        damage = DAMAGES[incident.damage]
        if damage(self._files, random.Random(incident.seed)):
            self.counts["damages"] += 1
            self.counts[incident.damage] += 1
            if incident.damage not in ("temporary file", "output longer"):
                self._must_resume_at = -1

    def _understand(self, ended: Ended) -> None:
        self._said += ended.errors
        for kind, step in ended.told:
            if kind == b"x":
                self._executed.append(step)
                self._is_stored = True
            elif kind == b"s":
                self._next = step + 1
            else:
                self._check_resumed(step, ended.errors)

    def _check_resumed(self, step: int, errors: str) -> None:
        if self._is_stored:
            resumed = f"resumed at step {step:,} " if step else "no step was stored yet"
            assert resumed in errors or "is done" in errors, "it began afresh"
        if self._must_resume_at >= 0:
            assert step >= self._must_resume_at, "what was stored when it stopped is lost"
            self._must_resume_at = -1
        if step < self._next and self.setting.mode != "none":
            # Perhaps by a process that was killed before it told anything.
            assert "was torn" in self._said or self._files.is_quiet, (
                "an increment handed out is lost"
            )
            # What was damaged may have been put right by a process that told nothing.
            is_damaged = self._files.tainted or self._files.is_changed
            assert is_damaged, "an increment handed out is lost, and nothing was damaged"
            self._lost += self._next - step
            self._next = step
        self._files.is_quiet = self._files.is_changed = False
        self._files.forget()
        self._said = ""

    def describe(self) -> str:
        """Return everything that was drawn."""
        return "\n".join([str(self.setting), *map(str, self.incidents)])

    def __str__(self) -> str:
        one = self.setting
        policy = f"every {one.every_steps} steps" if one.every_steps else one.policy
        if one.every_seconds:
            policy = f"{policy if one.every_steps else ''} every {one.every_seconds:.2f} s".strip()
        return (
            f"{one.mode:8} {one.sync:8} {one.steps:5} steps, {one.size:6} numbers, "
            f"{one.increments:6} {one.outputs} files, {'+'.join(one.sources) or 'no random'}, "
            f"{policy}, keep {one.keep}: "
            + ", ".join(f"{number} {what}" for what, number in sorted(self.counts.items()))
        )


def _digest(errors: str) -> str:
    return errors.rpartition("digest ")[2].strip()


# -- the script ----------------------------------------------------------------------------


def storm(seconds: float, seed: int, jobs: int, place: Path) -> int:
    """Run rounds for so long, some at a time; return the exit status."""
    end = time.monotonic() + seconds
    total: Counter[str] = Counter()
    numbers = itertools.count()
    failed: list[int] = []

    def work() -> None:
        while time.monotonic() < end and not failed:
            number = next(numbers)
            directory = place / f"round-{number}"
            directory.mkdir()
            one = Round(directory, f"{seed}/{number}", MODES[number % len(MODES)])
            try:
                one.run()
            except Exception as error:
                failed.append(number)
                print(f"round {number} of seed {seed} FAILED: {error}\n{one.describe()}")
                print(f"everything is kept in {directory}", flush=True)
                raise
            print(f"round {number}: {one}", flush=True)
            total.update(one.counts + Counter(rounds=1))
            shutil.rmtree(directory)

    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(work) for _ in range(jobs)]
    for future in futures:
        with contextlib.suppress(Exception):  # it has been printed
            future.result()
    print(", ".join(f"{number:,} {what}" for what, number in total.most_common()))
    return 1 if failed else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--seconds", type=float, default=60.0)
    length.add_argument("--hours", type=float)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    seconds = options.seconds if options.hours is None else 3600 * options.hours
    print(f"seed {options.seed}", flush=True)
    place = Path(tempfile.mkdtemp(prefix="storm-"))
    status = storm(seconds, options.seed, options.jobs, place)
    if not status:
        shutil.rmtree(place)
    return status


if __name__ == "__main__":
    sys.exit(main())
