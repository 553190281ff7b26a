"""Finds the script or module of a function, by which two functions of one name are told apart."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["is_defined_beside", "path_of", "script_of"]

_MAIN = ("__main__", "__mp_main__")


def script_of(function: Callable[..., Any]) -> str:
    """Return the name of the file that a function is written in; empty if nobody knows.

    It is the same for a script, for the same file run by ``python -m``, and for the module that
    another script imports. A notebook, and Python's prompt, have no file.
    """
    module: str = getattr(function, "__globals__", {}).get("__name__") or ""
    if module not in _MAIN:
        return module.rpartition(".")[2]
    path = path_of(function)
    if path is None or path.stem == "slurm_script":  # the copy that SLURM makes of every script
        return ""
    return path.parent.name if path.stem == "__main__" else path.stem


def path_of(function: Callable[..., Any]) -> Path | None:
    """Return the path of the file that a function is written in, if it has one."""
    path = getattr(function, "__globals__", {}).get("__file__")
    return Path(os.path.abspath(path)) if isinstance(path, str) else None


def is_defined_beside(function: Callable[..., Any], name: str) -> bool:
    """Return whether the file of a function defines one of a name; true if nobody knows."""
    code = getattr(function, "__code__", None)
    if code is None or code.co_filename == "<string>":  # Python 3.13 may find another such text
        return True
    try:
        lines, _ = inspect.findsource(function)
    except Exception:  # noqa: BLE001  # of many kinds, and looking at modules may raise others
        return True
    pattern = re.compile(rf"\bdef\s+{re.escape(name)}\b")
    return any(map(pattern.search, lines))
