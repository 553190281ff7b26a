"""Rewinds a run to an earlier step; the files as they were are kept aside."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from trax._public import public
from trax.errors import CorruptionError, UsageError
from trax.fsck.outputs import OutputChecker
from trax.fsck.prefix import Fits
from trax.fsck.repair import find_plan, note_change
from trax.fsck.repair_file import carry_out, write_plan
from trax.fsck.repair_plan import Plan
from trax.replica.marker import mark_rewound
from trax.storage.context import Key
from trax.storage.filenames import REPAIR
from trax.storage.filesystem import Directory
from trax.storage.messages import not_stored, unrepaired
from trax.storage.run_reader import RunReader
from trax.storage.store import Store
from trax.storage.stored_steps import no_state, stored_steps
from trax.whole_numbers import check_whole

__all__ = ["Rewound", "rewind"]


@public
@dataclass(frozen=True, slots=True)
class Rewound:
    """The outcome of `rewind`: as text a summary, and with `as_dict` plain values for JSON.

    Attributes
    ----------
    name : str
        The run's name.
    path : str
        The directory of its files.
    step : int
        The step at which the run resumes.
    undone : int
        The number of steps after it, which the run no longer has.
    aside : str or None
        The directory with a copy of all files as they were; None if the run was at that step.
    """

    name: str
    path: str
    step: int
    undone: int
    aside: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return the same as a dictionary of plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        if self.aside is None:
            return f"{self.name} is at step {self.step:,}."
        steps = "1 step" if self.undone == 1 else f"{self.undone:,} steps"
        return (
            f"{self.name} was rewound by {steps}: it resumes at step {self.step:,}.\n"
            f"The files as they were are kept in {self.aside}."
        )


@public
def rewind(name: str, *, step: int, traxdir: str | os.PathLike[str] | None = None) -> Rewound:
    """Take a run back to an earlier step, from which the next call goes on.

    All of its files are copied to ``aside`` in the store; then what comes after the step is
    removed. Output files are cut back when the run resumes. Nothing is unpickled. A crash at any
    instant leaves the run as it was, or rewound, or half-rewound: then reading it raises an error
    that asks to call `repair`, which finishes the work.

    Parameters
    ----------
    name : str
        The run's name.
    step : int
        The step to go back to. The option `keep` of a run says which ones there are.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.

    Returns
    -------
    Rewound
        The number of steps that were undone, and the place of the copy; `print` shows it.

    Raises
    ------
    NotFoundError
        Nothing is stored under this name, or nothing leads to the state of `step`.
    LockedError
        The run is held.
    CorruptionError
        The run is damaged, or an output file is not as it was at that step. Nothing was changed.
    UntrustedError
        Somebody else could have written one of the files. Nothing was changed.
    StorageError
        The disk refused. Call it again.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int, keep="all")
    ... def count(n, to):
    ...     while n < to:
    ...         n = yield n + 1
    >>> _ = count(to=3).result()
    >>> trax.rewind("count", step=1).undone
    2
    >>> trax.load("count")
    1
    """
    number = check_whole(step, "step", least=0)
    store = Store(traxdir)
    if not store.files(name):
        raise not_stored(name, store.path)
    with store.alone(name, "rewinding") as directory:
        if REPAIR in directory.list():
            raise unrepaired(directory.path, name)
        plan = _plan(store, directory, name, number)
        if plan.changes_anything:
            plan = replace(plan, aside=store.copy_aside(name))
            mark_rewound(directory)
            write_plan(directory, plan)
            carry_out(directory, plan)
            note_change("rewound", directory, name, plan.step)
    aside = os.path.join(store.path, plan.aside) if plan.aside else None
    return Rewound(name, directory.path, plan.step, plan.lost, aside)


def _plan(store: Store, directory: Directory, name: str, step: int) -> Plan:
    """Return the plan that goes back to exactly this step."""
    plan = _find(directory, name, OutputChecker(store.path), step)
    if plan is not None and plan.step == step:
        return plan
    reached = _find(directory, name, _ignore_outputs, step)
    if reached is not None and reached.step == step:
        raise CorruptionError(
            f"an output file of {name!r} is not as it was at step {step:,}.\n"
            "Nothing was changed.\n"
            "Put it back from a copy; trax.verify tells which one it is.\n"
            "Or start over with the function's fresh(...), which keeps the files.",
            directory.path,
        )
    raise no_state(name, store.path, step, stored_steps(directory, RunReader(directory, name)))


def _ignore_outputs(context: Mapping[Key, bytes]) -> bool:  # noqa: ARG001
    return True


def _find(directory: Directory, name: str, fits: Fits, step: int) -> Plan | None:
    try:
        return find_plan(directory, name, fits, step)
    except UsageError:  # there is no checkpoint before it
        return None
