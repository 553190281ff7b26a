"""Sweeps on real engines, whose workers and drivers are killed again and again.

``python tests/engine_storm.py --kills 20`` runs the whole storm, and prints a line for each engine.

Each step of the loops writes a line to a file outside of the store: which run, which step, which
process. From that file it is known which worker to kill; and in the end, which steps were missing,
and which were done twice.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SWEEP = Path(__file__).parents[1] / "examples" / "engines" / "sweep.py"
LIMIT = 300.0  # seconds for all drivers of a storm together
DRIVER_KILLS = 3  # one of so many kills is that of the driver

SEEDS = 3

# The engines, and the modules that they need.
ENGINES = {
    "spawn": "",
    "fork": "",
    "forkserver": "",
    "joblib": "joblib",
    "dask": "distributed",
    "ray": "ray",
    "submitit": "submitit",
}

LOOPS = """
import os, random, time
import trax

def note(oracle, *words):
    with open(oracle, "ab", buffering=0) as file:
        file.write((" ".join(map(str, words)) + "\\n").encode())

WAIT = float(os.environ["STORM_WAIT"])

@trax.resumable(create=lambda seed: seed, name="declared-{seed}", every_steps=20, wait=WAIT)
def declared(state, seed, n, oracle):
    for step in trax.steps(n):
        note(oracle, f"declared-{seed}", step, os.getpid())
        time.sleep(0.01)
        state = yield (state * 1103515245 + step) % 2**31

def numbers(rng, n):
    for step in range(n):
        yield step, rng.getrandbits(31)

@trax.resumable(name="plain-{seed}", wait=WAIT)
def plain(seed, n, oracle):
    state, rng = seed, random.Random(seed)
    for step, number in numbers(rng, n):
        note(oracle, f"plain-{seed}", step, os.getpid())
        time.sleep(0.01)
        state = (state * 1103515245 + number) % 2**31
        yield state
    return state
"""

MAIN = """
import json, runpy, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

def engine_of(name):
    if name in ("fork", "spawn", "forkserver"):
        return ProcessPoolExecutor(2, mp_context=get_context(name))
    return runpy.run_path({sweep!r})["ENGINES"][name](2)

if __name__ == "__main__":
    grid = {{"seed": range({seeds}), "n": [{steps}], "oracle": [{oracle!r}]}}
    with engine_of(sys.argv[1]) as engine:
        for function in (declared, plain):
            for case in trax.sweep(function, grid, executor=engine):
                error = case.error and f"{{type(case.error).__name__}}: {{case.error}}"
                print(json.dumps([case.name, case.result, error]), flush=True)
    print("end", flush=True)
"""


def is_here(engine: str) -> bool:
    """Return whether an engine is installed."""
    return not ENGINES.get(engine) or importlib.util.find_spec(ENGINES[engine]) is not None


def expected(run: str, steps: int) -> int:
    """Return what a run returns."""
    kind, _, seed = run.partition("-")
    rng, state = random.Random(int(seed)), int(seed)
    for step in range(steps):
        number = rng.getrandbits(31) if kind == "plain" else step
        state = (state * 1103515245 + number) % 2**31
    return state


class Counts(NamedTuple):
    """What a storm has done, and found.

    Attributes
    ----------
    workers, drivers : int
        The kills.
    passes : int
        The number of drivers that were started.
    missing : int
        Steps that no worker has done.
    repeated : int
        Steps of loops with a declared state that were done again, each time.
    most : int
        The largest number of these in one run.
    again : int
        The same of plain loops, which go on from their newest frame.
    wrong : int
        Results that are not those of a calm run.
    """

    workers: int
    drivers: int
    passes: int
    missing: int
    repeated: int
    most: int
    again: int
    wrong: int


class Storm:
    """A sweep on an engine in a directory.

    Parameters
    ----------
    directory : Path
        The directory.
    engine : str
        One of `ENGINES`.
    steps : int
        The number of steps of each run.
    in_module : bool
        Whether the loops are in a module, and not in the script.
    wait : float
        The time that a run waits for its holder, in seconds.
    """

    def __init__(
        self,
        directory: Path,
        engine: str,
        steps: int = 150,
        *,
        in_module: bool = False,
        wait: float = 10.0,
    ) -> None:
        self.directory = directory
        self.engine = engine
        self.count = steps
        self.wait = wait
        self.oracle = directory / "oracle"
        self.oracle.touch()
        self.results: dict[str, int] = {}
        self.errors: Counter[str] = Counter()
        self._offset = 0
        main = MAIN.format(sweep=str(SWEEP), seeds=SEEDS, steps=steps, oracle=str(self.oracle))
        if in_module:
            (directory / "loops.py").write_text(LOOPS)
            main = f"import trax\nfrom loops import declared, plain\n{main}"
        else:
            main = LOOPS + main
        (directory / "script.py").write_text(main)

    @contextlib.contextmanager
    def driver(self) -> Iterator[subprocess.Popen[str]]:
        """Run the script for the length of a block, and then note what it has printed."""
        environment = {
            **os.environ,
            "TRAX_STORM": str(self.directory),
            "STORM_WAIT": str(self.wait),
            "PYTHONPATH": os.pathsep.join([str(self.directory), os.environ.get("PYTHONPATH", "")]),
        }
        with (
            (self.directory / "output").open("w+") as output,
            (self.directory / "errors").open("a") as errors,
        ):
            driver = subprocess.Popen(
                [sys.executable, "script.py", self.engine],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                text=True,
            )
            try:
                yield driver
            finally:
                driver.kill()
                driver.wait()
                output.seek(0)
                for line in output:
                    self._note(line)

    def _note(self, line: str) -> None:
        if not line.startswith("["):
            return
        name, result, error = json.loads(line)
        if error is None:
            self.results[name] = result
        else:
            self.errors[error.partition("\n")[0][:80]] += 1

    def steps(self) -> list[list[str]]:
        """Return the steps that were done: the run, the step and the process of each."""
        return [line.split() for line in self.oracle.read_text().splitlines()]

    def wait_for_steps(self, count: int, driver: subprocess.Popen[str], end: float) -> bool:
        """Wait for so many more steps; return whether they came while the driver was alive."""
        wanted = len(self.steps()) + count
        while driver.poll() is None and time.monotonic() < end:
            if len(self.steps()) >= wanted:
                return True
            time.sleep(0.005)
        return False

    @property
    def is_done(self) -> bool:
        """Whether all results have come."""
        return len(self.results) == 2 * SEEDS

    def run(self, kills: int, rng: random.Random) -> Counts:
        """Kill as often as that, and then let the sweep come to its end."""
        end, passes = time.monotonic() + LIMIT, 0
        killed = Counter[str]()
        while not self.is_done:
            assert time.monotonic() < end, f"{killed}, {self.results}, {self.errors}"
            passes += 1
            with self.driver() as driver:
                while self.wait_for_steps(rng.randrange(2, self.count // 6), driver, end):
                    if killed.total() >= kills:
                        driver.wait(max(1.0, end - time.monotonic()))
                    elif killed.total() % DRIVER_KILLS == DRIVER_KILLS - 1:
                        driver.kill()
                        driver.wait()
                        killed["driver"] += 1
                    else:
                        killed["worker"] += self.kill(int(self.steps()[-1][2]))
        self.end()
        return self.counts(killed, passes)

    def kill(self, worker: int, number: int = signal.SIGKILL) -> bool:
        """Send a signal to a process of this storm; return whether it was there."""
        if worker not in self.processes():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker, number)
            return True
        return False

    def stop_within_a_run(self, end: float) -> int:
        """Stop a worker that is not at the end of a run, and return its id."""
        while time.monotonic() < end:
            worker = int(self.steps()[-1][2])
            if self.kill(worker, signal.SIGSTOP):
                _, step, _ = [line for line in self.steps() if line[2] == str(worker)][-1]
                if int(step) < self.count - 5:
                    return worker
                self.kill(worker, signal.SIGCONT)
        raise AssertionError(f"no worker was within a run: {self.steps()[-5:]}")

    def processes(self) -> list[int]:
        """Return the ids of all processes that a driver of this storm has started."""
        mark = f"TRAX_STORM={self.directory}\0".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes() + b"\0":
                    found.append(int(path.parent.name))
        return found

    def end(self) -> None:
        """End what is left of the engine, such as workers whose driver was killed."""
        while left := self.processes():
            for one in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            time.sleep(0.01)

    def counts(self, killed: Counter[str], passes: int) -> Counts:
        """Return what is known of the steps and results."""
        done = Counter((name, int(step)) for name, step, _ in self.steps())
        runs = [f"{kind}-{seed}" for kind in ("declared", "plain") for seed in range(SEEDS)]
        again = {
            run: sum(count - 1 for (name, _), count in done.items() if name == run) for run in runs
        }
        of_declared = [count for run, count in again.items() if run.startswith("declared")]
        return Counts(
            workers=killed["worker"],
            drivers=killed["driver"],
            passes=passes,
            missing=sum((run, step) not in done for run in runs for step in range(self.count)),
            repeated=sum(of_declared),
            most=max(of_declared),
            again=sum(again.values()) - sum(of_declared),
            wrong=sum(self.results[run] != expected(run, self.count) for run in runs),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--kills", type=int, default=30)
    given = parser.parse_args()
    print(f"{'engine':12}{'loops in':10}" + "".join(f"{field:>10}" for field in Counts._fields))
    for engine in filter(is_here, given.engine or ENGINES):
        for in_module in (False, True):
            with tempfile.TemporaryDirectory() as directory:
                storm: Any = Storm(Path(directory), engine, in_module=in_module)
                try:
                    counts = storm.run(given.kills, random.Random(1))
                except BaseException:
                    print((Path(directory) / "errors").read_text()[-3000:], file=sys.stderr)
                    raise
                finally:
                    storm.end()
            place = "module" if in_module else "script"
            print(f"{engine:12}{place:10}" + "".join(f"{n:>10}" for n in counts), flush=True)


if __name__ == "__main__":
    main()
