"""Executors that a user gives: which are accepted, and how many calls one is given at a time."""

from __future__ import annotations

from typing import Any

from trax.display import show
from trax.errors import UsageError

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


def default_in_flight(executor: Any, otherwise: int) -> int:
    """Return the number of calls at a time; `otherwise` if the executor does not tell its workers.

    Without an executor it is one.
    """
    if executor is None:
        return 1
    # No public attribute tells it. One call waits for each worker, so that none is idle.
    workers = getattr(executor, "_max_workers", None)
    return 2 * workers if isinstance(workers, int) else otherwise
