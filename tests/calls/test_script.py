"""The script or module of a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trax.calls.script import is_defined_beside, path_of, script_of


def function(name: str, file: str | None = None) -> Callable[..., Any]:
    """Return a function of a module of that name, which is in that file."""
    names: dict[str, Any] = {"__name__": name}
    if file is not None:
        names["__file__"] = file
    exec("def f(): ...", names)
    made: Callable[..., Any] = names["f"]
    return made


@pytest.mark.parametrize(
    ("module", "file", "script"),
    [
        ("__main__", "/home/me/pkg/train.py", "train"),
        ("__mp_main__", "/home/me/pkg/train.py", "train"),
        ("pkg.train", "/home/me/pkg/train.py", "train"),
        ("train", None, "train"),
        ("__main__", "/home/me/pkg/__main__.py", "pkg"),
        ("__main__", None, ""),
        ("__main__", "/var/spool/slurm_script", ""),
    ],
)
def test_a_script_is_the_same_however_it_is_run(module: str, file: str, script: str) -> None:
    """By its path, by `python -m`, or by an import; a notebook has none."""
    assert script_of(function(module, file)) == script


def test_the_path_of_a_function_is_absolute() -> None:
    """As the loop may change the directory."""
    assert path_of(function("__main__", "sub/../train.py")) == Path("train.py").absolute()
    assert path_of(function("__main__")) is None


def test_a_function_is_looked_for_in_the_source() -> None:
    """Without source, nobody can say that it is not there."""
    here = test_a_function_is_looked_for_in_the_source
    assert is_defined_beside(here, "function")
    assert is_defined_beside(here, here.__name__)
    assert not is_defined_beside(here, "func" + "tion_of_before")
    assert is_defined_beside(function("made"), "anything")
