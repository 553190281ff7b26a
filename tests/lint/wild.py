"""Measures if loops with a declared state resume exactly: each is killed at every step.

The loops are scripts, as in ``loops_in_the_wild.py``. A script defines ``call``, which returns a
run. It is run to its end undisturbed. Then, for each of its steps, it is killed right after the
increment was handed out, and in another trial right before it is stored; a process with another
seed of hashes resumes it. Both processes together must hand out the same increments, end with the
same result and the same state, and leave the same files.

To measure the loops whose names are given, or all::

    python tests/lint/wild.py [-v] [NAME ...]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import enum
import gc
import inspect
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import types
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

import trax

SECONDS = 20  # after which a process counts as hanging
SCRIPT, REPORT, SAID = "script.py", "report.jsonl", "said.txt"
WHOLE = "whole"  # the last line of a report


class Measured(NamedTuple):
    """How a loop behaves: "right", "wrong" or "refused"; its first flaw; what trax said."""

    verdict: str
    flaw: str = ""
    said: tuple[str, ...] = ()
    kills: int = 0


class Trial(NamedTuple):
    """One history of a loop: increments with their steps, the end, files, and lines on stderr."""

    increments: list[tuple[int, str]]
    end: dict[str, Any]
    files: dict[str, str]
    said: str


# -- a process of the loop -----------------------------------------------------------------


def show(value: Any) -> str:
    """Return a text that is the same in every process for the same value, and for no other."""
    match value:
        case np.ndarray():
            return f"array({value.dtype}, {value.shape}, {[show(item) for item in value.ravel()]})"
        case dict():
            items = (f"{show(key)}: {show(item)}" for key, item in value.items())
            return f"{type(value).__name__}({', '.join(items)})"
        case set() | frozenset():
            return f"{type(value).__name__}({sorted(map(show, value))})"
        case list() | tuple() | deque():
            return f"{type(value).__name__}({', '.join(map(show, value))})"
        case random.Random():
            return f"Random({hash(value.getstate()[1])})"
        case np.random.Generator():
            return f"Generator({value.bit_generator.state})"
        case type() | enum.Enum() | types.FunctionType():
            return repr(getattr(value, "__qualname__", value))
    if hasattr(value, "__dict__") and not isinstance(value, BaseException):
        return f"{type(value).__name__}({show(dict(sorted(vars(value).items())))})"
    if names := getattr(value, "__slots__", ()):
        return f"{type(value).__name__}({show({name: getattr(value, name) for name in names})})"
    return repr(value)


class Reporter:
    """Writes a line to the report at once; nothing is in a buffer when the process is killed."""

    def __init__(self, kill: tuple[str, int] | None) -> None:
        self._file = os.open(REPORT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._when, self._at = kill or ("", 0)
        self._handed, self._yielded = itertools.count(1), itertools.count(1)
        if self._when == "before":
            sys.setprofile(self._profile)

    def write(self, *line: Any) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def increment(self, run: Any, value: Any) -> None:
        self.write(run.step, show(value))
        if next(self._handed) == self._at and self._when == "after":
            os._exit(9)

    def _profile(self, frame: types.FrameType, event: str, value: Any) -> None:
        """Kill the process at a yield of the loop; of an async one, at no await."""
        code, caller = frame.f_code, frame.f_back
        if event != "return" or os.path.basename(code.co_filename) != SCRIPT or caller is None:
            return
        is_yield = (
            code.co_flags & inspect.CO_GENERATOR
            or type(value).__name__ == "async_generator_wrapped_value"
        )
        is_driven = os.path.dirname(trax.__file__) in caller.f_code.co_filename
        if is_yield and is_driven and next(self._yielded) == self._at:
            os._exit(9)


def run_script(kill: tuple[str, int] | None) -> None:
    """Run the script in this directory as its own process would; report what its loop does."""
    module = types.ModuleType("__main__")
    module.__file__ = os.path.abspath(SCRIPT)
    sys.modules["__main__"] = module
    reporter = Reporter(kill)
    try:
        exec(compile(Path(SCRIPT).read_text(), module.__file__, "exec"), vars(module))
        run = module.call()
        if hasattr(run, "__aiter__"):
            result = asyncio.run(_drive_async(run, reporter))
        else:
            with run:
                for value in run:
                    reporter.increment(run, value)
                result = run.result()
        reporter.write(WHOLE, {"result": show(result), "state": show(run.state)})
    except Exception as error:  # noqa: BLE001  # whatever ends the script is reported
        refused = isinstance(error, trax.TraxError)
        reporter.write(WHOLE, {"error": f"{type(error).__name__}: {error}", "refused": refused})


async def _drive_async(run: Any, reporter: Reporter) -> Any:
    async with run:
        async for value in run:
            reporter.increment(run, value)
        return await run.result()


# -- processes that are forked -------------------------------------------------------------


class Zygote:
    """A process that has imported everything and run nothing; each script has a fork of it."""

    def __init__(self, hash_seed: int) -> None:
        environment = {key: value for key, value in os.environ.items() if "TRAX" not in key}
        environment |= {"PYTHONHASHSEED": str(hash_seed), "TRAX_KEY": ""}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, place: Path, kill: tuple[str, int] | None = None) -> None:
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([str(place), kill]), file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "done\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()


def serve() -> None:
    """Fork a process for each line on standard input; a line on standard output says it is over."""
    while line := sys.stdin.readline():
        place, kill = json.loads(line)
        if not (child := os.fork()):
            os.chdir(place)
            signal.alarm(SECONDS)
            with open(SAID, "a") as said:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
            run_script(kill and (kill[0], kill[1]))
            del sys.modules["__main__"]
            gc.collect()  # closes the files that the script has left open, as its end would
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
        os.waitpid(child, 0)
        print("done", flush=True)


# -- the verdict ---------------------------------------------------------------------------


def collect(place: Path) -> Trial:
    """Read everything that the processes have left in a directory."""
    lines = [json.loads(line) for line in (place / REPORT).read_text().splitlines()]
    ends = [line[1] for line in lines if line[0] == WHOLE]
    files = {
        str(path.relative_to(place)): path.read_bytes().decode("latin-1")
        for path in sorted(place.rglob("*"))
        if path.is_file()
        and path.name not in (SCRIPT, REPORT, SAID)
        and not path.relative_to(place).parts[0].startswith((".trax", "__pycache__"))
    }
    return Trial(
        [(step, shown) for step, shown in lines if step != WHOLE],
        ends[-1] if ends else {"error": "it hangs, or is killed"},
        files,
        (place / SAID).read_text(),
    )


def flaw_of(undisturbed: Trial, trial: Trial, is_logged: bool) -> str:
    """Return the first difference of a resumed run from an undisturbed one, or nothing."""
    if error := trial.end.get("error"):
        return f"it ends with {error}"
    expected = dict(undisturbed.increments)
    for step, shown in trial.increments:
        if shown != expected.get(step):
            return f"increment {step} is {shown[:60]}, not {str(expected.get(step))[:60]}"
    steps = [step for step, _ in trial.increments]
    if set(steps) != set(expected) or (is_logged and len(steps) != len(expected)):
        return f"the steps are {steps}, not 1 to {len(expected)}"
    if trial.end != undisturbed.end:
        return f"it ends with {str(trial.end)[:90]}, not {str(undisturbed.end)[:90]}"
    for name in undisturbed.files.keys() | trial.files.keys():
        if trial.files.get(name) != undisturbed.files.get(name):
            return f"the file {name} differs"
    return ""


class Measure:
    """Runs scripts in two zygotes whose hashes differ."""

    def __init__(self, place: Path, first: Zygote, second: Zygote) -> None:
        self._places = (place / str(number) for number in itertools.count())
        self._first, self._second = first, second

    def trial(self, source: str, *kills: tuple[str, int]) -> Trial:
        """Run a script once, or once for each kill and then to its end."""
        place = next(self._places)
        place.mkdir(parents=True)
        (place / SCRIPT).write_text(source)
        for kill in kills:
            self._first.run(place, kill)
        (self._second if kills else self._first).run(place)
        return collect(place)

    def __call__(self, source: str) -> Measured:
        undisturbed = self.trial(source)
        said = tuple(line for line in undisturbed.said.splitlines() if line.startswith("trax:"))
        if error := undisturbed.end.get("error"):
            verdict = "refused" if undisturbed.end.get("refused") else "broken"
            return Measured(verdict, error, said)
        if again := flaw_of(undisturbed, self.trial(source), is_logged=True):
            return Measured("broken", f"it is not deterministic: {again}", said)
        is_logged = "replay_log=None" not in source
        kills = [*itertools.product(("after", "before"), range(1, len(undisturbed.increments) + 1))]
        for tried, (when, step) in enumerate(kills, start=1):
            if flaw := flaw_of(undisturbed, self.trial(source, (when, step)), is_logged):
                flaw = f"killed {when} increment {step}: {flaw}"
                return Measured("wrong", flaw, said, tried)
        return Measured("right", "", said, len(kills))


@contextlib.contextmanager
def measuring() -> Iterator[Callable[[str], Measured]]:
    """Give a function that measures a script."""
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None  # where forcing costs nothing
    with (
        tempfile.TemporaryDirectory(dir=memory) as place,
        Zygote(hash_seed=1) as first,
        Zygote(hash_seed=2) as second,
    ):
        yield Measure(Path(place), first, second)


def main() -> int:
    from loops_in_the_wild import LOOPS

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    unexpected = 0
    with measuring() as measure:
        for loop in LOOPS:
            if not options.names or loop.name in options.names:
                measured = measure(loop.source)
                unexpected += measured.verdict != loop.verdict
                if options.verbose or measured.verdict != loop.verdict:
                    print(f"{loop.name}: {measured.verdict}, declared {loop.verdict}")
                    print(
                        *(f"    {line}" for line in (measured.flaw, *measured.said) if line),
                        sep="\n",
                    )
    return bool(unexpected)


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        sys.exit(main())
