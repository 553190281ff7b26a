"""The script that measures how large and how entangled the package is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PACKAGE = {
    "__init__.py": """\
'''A package of two modules.'''

from trax.inner.loops import resumable
""",
    "errors.py": """\
'''What goes wrong.'''


class TraxError(Exception):
    '''One of ours.'''
""",
    "inner/__init__.py": "'''Where the rest is.'''\n",
    "inner/loops.py": """\
'''Loops.'''

import contextlib

from trax.errors import TraxError


def resumable(**options):
    def decorated(function):
        return lambda: contextlib.nullcontext(Run(function(options["create"]())))

    return decorated


class Run:
    '''A loop: what is called is asked for.'''

    def __init__(self, generator):
        # a comment is no line

        self.generator = generator

    def __enter__(self):
        self.error = TraxError(f"step {self.step} fails" "\\nTry again.")
        return self

    def __next__(self):
        return next(self.generator)

    def close(self):
        self.generator.close()
""",
}


def measured(*arguments: str) -> dict[str, list[str]]:
    """Return the columns that the script prints, by the labels of their rows."""
    script = str(ROOT / "benchmarks" / "house.py")
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=True
    )
    rows = [line.split("|")[1:-1] for line in done.stdout.splitlines()]
    return {label.strip(): [value.strip() for value in values] for label, *values in rows}


def test_a_package_is_measured(tmp_path: Path) -> None:
    """The numbers are those that one counts by hand."""
    for name, text in PACKAGE.items():
        path = tmp_path / "trax" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    numbers = {label: values[1] for label, values in measured(str(tmp_path)).items()}
    del numbers[""], numbers["-" * 34]
    assert numbers == {
        "modules at the top level": "1",
        "packages below": "1",
        "longest chain of imports": "3",
        "imports": "2",
        "biggest class": "Run",
        "its lines": "10",
        "its methods": "4",
        "its attributes set in __init__": "1",
        "its attributes set only elsewhere": "1",
        "its collaborators": "1",
        "functions over 40 lines": "0",
        "median lines of a function": "2.0",
        "error messages, median and longest": "30, 30",
        "their first lines": "19, 19",
        '"what" per 1,000 words of prose': "60.6",
        "modules that begin with a question": "2",
        "modules that one append runs": "1",
        "their lines": "31",
        "lines of trax/": "40",
    }


def test_without_another_checkout_there_is_one_column() -> None:
    """That of the checkout that the script lies in."""
    table = measured()
    lines = sum(len(path.read_text().splitlines()) for path in (ROOT / "trax").rglob("*.py"))
    assert table["lines of trax/"] == [str(lines)]
