"""Executors that a user gives: which are accepted, and how many calls one is given at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from trax.display import show
from trax.errors import UsageError
from trax.storage.process import is_being_spawned

__all__ = ["check_executor", "default_in_flight"]


def check_executor(executor: Any, who: str) -> None:
    """Refuse what has no method ``submit``; `who` is the function that got it, as in "map"."""
    if isinstance(executor, type):
        raise UsageError(
            f"executor must be an executor, and not the class {executor.__name__}.\n"
            f"Make one: with {executor.__name__}() as pool: ... trax.{who}(..., executor=pool)."
        )
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise UsageError(
            "executor must have a method submit, as those of concurrent.futures have, and not be "
            f"{show(executor)}"
        )
    if executor is not None and is_being_spawned() and type(executor) is not ThreadPoolExecutor:
        raise UsageError(
            f"trax.{who}() was called in a worker that is just being started.\n"
            "multiprocessing runs the script in each: put the code that uses the executor under\n"
            "if __name__ == '__main__':"
        )


def default_in_flight(executor: Any, otherwise: int) -> int:
    """Return the number of calls at a time; `otherwise` if the executor does not tell its workers.

    Without an executor it is one.
    """
    if executor is None:
        return 1
    # No public attribute tells it. One call waits for each worker, so that none is idle.
    workers = getattr(executor, "_max_workers", None)
    return 2 * workers if isinstance(workers, int) else otherwise
