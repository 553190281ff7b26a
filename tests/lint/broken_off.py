"""Runs a loop in forked processes, of which the first ends at a step, and compares the outcomes."""

from __future__ import annotations

import linecache
import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trax

LIMIT = 40  # steps; a loop that goes on for longer has lost its end


def define(text: str, path: Path, **names: Any) -> dict[str, Any]:
    """Return the names that a script defines, with whose source its functions are found."""
    path.write_text(text)
    linecache.checkcache(str(path))
    made: dict[str, Any] = {"__name__": "__main__", "__file__": str(path), **names}
    exec(compile(text, str(path), "exec"), made)
    return made


def differs(text: str, directory: Path, *, is_thorough: bool) -> str:
    """Return how a loop that is broken off ends differently, or an empty text.

    It is broken off after each step, or after one in the middle and the last one.
    """
    whole = _outcome(text, directory / "whole", [0])
    assert isinstance(whole, dict), whole
    number = len(whole["increments"])
    assert 0 < number <= LIMIT, number
    places = range(1, number + 1) if is_thorough else sorted({(number + 1) // 2, number})
    for place in places:
        found = _outcome(text, directory / str(place), [place, 0])
        if found != whole:
            return f"broken off at step {place}: {found}, not {whole}"
    return ""


def _outcome(text: str, directory: Path, ends: list[int]) -> object:
    """Return what processes give that end at some steps, one after another; 0 is the end."""
    directory.mkdir()
    increments: dict[int, bytes] = {}
    for end in ends:
        child = os.fork()
        if not child:
            _run(text, directory, end)
        os.waitpid(child, 0)
        try:
            found = pickle.loads((directory / "found.pickle").read_bytes())
        except FileNotFoundError:
            return "no outcome"
        if not isinstance(found, dict):
            return found
        increments |= found["increments"]
    files = {
        path.name: path.read_text()
        for path in directory.iterdir()
        if path.suffix in (".csv", ".txt", ".json")
    }
    return {"increments": increments, "result": found["result"], "files": files}


def _run(text: str, directory: Path, end: int) -> None:
    try:
        os.chdir(directory)
        (directory / "found.pickle").unlink(missing_ok=True)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os.environ.pop("TRAX_DIR", None)
        try:
            found: object = _drive(text, directory, end)
        except Exception as error:  # noqa: BLE001  # it is an outcome, too
            found = repr(error)
        (directory / "found.pickle").write_bytes(pickle.dumps(found))
    finally:
        os._exit(0)


def _drive(text: str, directory: Path, end: int) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = define(text, directory / "script.py")["call"]()
        increments: dict[int, bytes] = {}
        for increment in run:
            increments[run.step] = pickle.dumps(_plain(increment))
            if run.step in (end, LIMIT):
                return {"increments": increments, "result": None}
        return {"increments": increments, "result": pickle.dumps(_plain(run.result()))}


def _plain(value: Any) -> Any:
    """Return a value that any process can load and compare."""
    return repr(value)


def warnings_of(text: str, path: Path) -> Iterator[trax.ResumeWarning]:
    """Yield what trax warns of when a script is run."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        define(text, path)
    for one in found:
        if isinstance(one.message, trax.ResumeWarning):
            yield one.message
