"""The demo, ``python -m trax.demo``: a loop is killed, runs again, and has the same bits."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["main"]

STEPS = 100
KILLED_AT = 60
SCRIPT = f"""\
import random, time
import trax

random.seed(1)

@trax.resumable
def walk(steps):
    x = 0.0
    for _ in range(steps):
        time.sleep(0.02)  # an hour of work
        x = 0.9 * x + random.gauss()
        yield x

for x in walk(steps={STEPS}):
    print(x)
"""
USAGE = """\
Usage: python -m trax.demo [--keep]

Starts a loop, kills it with SIGKILL, runs it again, and shows that the result has the same bits as
that of a run that was never interrupted. It takes some seconds, in a temporary directory.

  --keep  leave the directory, with the script and its store
"""


def main(arguments: Sequence[str] = ()) -> int:
    """Run the demo; return its exit status: 0 if the bits are the same."""
    if not {*arguments} <= {"--keep"}:
        is_asked = "--help" in arguments or "-h" in arguments
        print(USAGE, end="", file=sys.stdout if is_asked else sys.stderr)
        return 0 if is_asked else 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the processes end with this one
    directory = Path(tempfile.mkdtemp(prefix="trax-demo-"))
    try:
        return _show(directory)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads any more, as after `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    finally:
        if "--keep" in arguments:
            print(f"\nThe script and its store are in {directory}", flush=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _show(directory: Path) -> int:
    script = directory / "walk.py"
    script.write_text(SCRIPT)
    killed, undisturbed = directory / "killed", directory / "never-interrupted"
    killed.mkdir()
    undisturbed.mkdir()
    print(f"{script}\n\n{textwrap.indent(SCRIPT, '    ')}")
    with _running(script, undisturbed) as other:  # meanwhile
        with _running(script, killed) as process:
            _, before = _follow(process, KILLED_AT)
            process.kill()
            print(f"$ kill -9 {process.pid}", flush=True)
        with _running(script, killed) as process:
            resumed_at, after = _follow(process)
        whole = other.communicate()[0].splitlines()
    return _compare(resumed_at, before, after, whole)


@contextmanager
def _running(script: Path, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the script in a directory of its own, which has its store; kill it at the end."""
    package = Path(__file__).parents[1]  # it need not be installed
    path = [str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    mine = {name: value for name, value in os.environ.items() if not name.startswith("TRAX_")}
    process = subprocess.Popen(  # noqa: S603  # a script of our own
        [sys.executable, "-u", script],
        cwd=directory,
        env=mine | {"PYTHONPATH": os.pathsep.join(path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        process_group=0,  # Ctrl-C is for this process, which ends the others
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _follow(process: subprocess.Popen[str], last: int | None = None) -> tuple[int, list[str]]:
    """Show the output, up to a step; return where the loop resumed, and its numbers since then."""
    print("$ python walk.py", flush=True)
    assert process.stdout is not None
    resumed_at, numbers = 0, []
    for line in process.stdout:
        resumed = re.match(r"trax: walk resumed at step (\d+)", line)
        if resumed:
            resumed_at = int(resumed[1])
        if _is_number(line):
            numbers.append(line.strip())
            _show_step(resumed_at + len(numbers), numbers[-1])
        else:
            print(line, end="", flush=True)
        if resumed_at + len(numbers) == last:
            break
    if sys.stdout.isatty():
        print()
    return resumed_at, numbers


def _is_number(line: str) -> bool:
    try:
        float(line)
    except ValueError:
        return False
    return True


def _show_step(step: int, number: str) -> None:
    """Show the step in one line of a terminal, or now and then one of a pipe."""
    text = f"step {step:3} of {STEPS}  {number:>24}"
    if sys.stdout.isatty():
        bar = "#" * (step * 30 // STEPS)
        print(f"\r{text}  {bar:.<30}", end="", flush=True)
    elif not step % 10:
        print(text, flush=True)


def _compare(resumed_at: int, before: list[str], after: list[str], whole: list[str]) -> int:
    """Say whether the run that was killed gave the numbers of the other one."""
    if not before or not after or len(whole) != STEPS:
        print("\nA script failed:", *(line for line in whole if not _is_number(line)), sep="\n")
        return 1
    print(f"\nIt was killed after step {len(before)}, and resumed at step {resumed_at}.\n")
    print(f"  killed and run again  {float(after[-1]).hex()}")
    print(f"  never interrupted     {float(whole[-1]).hex()}\n")
    is_same = before == whole[: len(before)] and after == whole[resumed_at:]
    print(f"{'The same bits' if is_same else 'Not the same bits'}, at all steps.", flush=True)
    return 0 if is_same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
