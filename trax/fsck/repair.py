"""Repairs a run: the longest part that is provably right is kept.

Strategy: the logs are followed from every valid checkpoint, and from `create` if the run began so,
for as long as they are valid and continue one another. The part that reaches the highest step is
kept. The changes are planned first, and ordinary recovery is tried on a preview of them. Files are
touched only if recovery finds exactly that step. Before that, all files are copied, and the plan is
stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from trax._public import public
from trax.errors import CorruptionError, TraxError, UsageError, one_line
from trax.fsck.outputs import OutputChecker
from trax.fsck.prefix import Fits, prefixes
from trax.fsck.preview import leads_to, recover, still_leads
from trax.fsck.repair_file import carry_out, read_plan, write_plan
from trax.fsck.repair_plan import Plan, make_plan
from trax.fsck.scan import Scan
from trax.replica.marker import mark_rewound
from trax.storage.filenames import REPAIR
from trax.storage.filesystem import Directory
from trax.storage.journal import Journal
from trax.storage.messages import CALL_AGAIN, misplaced, not_stored
from trax.storage.run_reader import RunReader, find_beginning
from trax.storage.store import Store

__all__ = ["Repaired", "find_plan", "mend", "note_change", "repair"]


_HALF_DONE = (
    f"removed {REPAIR}, which is not valid: a repair was interrupted, and the files that it had "
    "removed already are not counted"
)


@public
@dataclass(frozen=True, slots=True)
class Repaired:
    """The outcome of `repair`: as text a summary, and with `as_dict` plain values for JSON.

    Attributes
    ----------
    name : str
        The run's name.
    path : str
        The directory of its files.
    step : int
        The step at which the run resumes.
    lost : int
        The number of stored steps after it that are lost.
    is_exact : bool
        Whether `lost` counts all of them; otherwise there were at least so many. Steps that left
        no trace at all are not counted, such as the end of a log that was cut off between two
        steps.
    aside : str or None
        The directory with a copy of all files as they were; None if nothing had to be done.
    actions : tuple of str
        The actions, one line each.
    """

    name: str
    path: str
    step: int
    lost: int
    is_exact: bool
    aside: str | None
    actions: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the same as a dictionary of lists and plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return "\n".join(map(one_line, self._lines()))

    def _lines(self) -> list[str]:
        actions = [f"  {action}" for action in self.actions]
        if self.aside is None:
            head = f"{self.name} needs no repair: it resumes at step {self.step:,}."
            return [head, *actions]
        head = f"{self.name} was repaired: it resumes at step {self.step:,}, and {self._loss()}."
        return [head, *actions, f"The files as they were are kept in {self.aside}."]

    def _loss(self) -> str:
        if not self.lost:
            return "no step is lost" if self.is_exact else "nothing tells how many steps are lost"
        steps = "1 step is" if self.lost == 1 else f"{self.lost:,} steps are"
        return f"{steps} lost" if self.is_exact else f"at least {steps} lost"


@public
def repair(
    name: str, *, step: int | None = None, traxdir: str | os.PathLike[str] | None = None
) -> Repaired:
    """Bring a damaged run back to the last step that is provably right.

    If the run can resume as it is, and no earlier `step` is given, nothing is done. Otherwise all
    of its files are copied to ``aside`` in the store. Then everything that is not valid is cut off
    or removed, with everything that was built on it. The longest part of the run that is proven by
    its checksums is kept, from a valid checkpoint up to the last record that continues it. Output
    files are not changed: if one is shorter than it was, the run goes back to the newest step whose
    output is all there.

    Nothing is unpickled. A crash at any instant leaves the run as damaged as it was, or repaired,
    or half-repaired. A half-repaired run raises an error that says so, until `repair` is called
    again.

    Parameters
    ----------
    name : str
        The run's name.
    step : int, optional
        The last step to keep, even if more is provably right: for a run that is whole and cannot
        be resumed, since a stored object can no longer be loaded.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.

    Returns
    -------
    Repaired
        The number of lost steps, the actions, and the place of the copy; `print` shows it.

    Raises
    ------
    UsageError
        No run can have this name. Or nothing is stored of `step` or before.
    NotFoundError
        Nothing is stored under this name.
    LockedError
        The run is held.
    CorruptionError
        No part of the run is provably right. Nothing was changed.
    FormatVersionError
        A newer trax wrote one of the files. Nothing was changed.
    UntrustedError
        Somebody else could have written one of the files. Nothing was changed.
    StorageError
        The disk refused. Call it again.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int)
    ... def count(n, to):
    ...     while n < to:
    ...         n = yield n + 1
    >>> _ = count(to=3).result()
    >>> print(trax.repair("count"))
    count needs no repair: it resumes at step 3.
    """
    store = Store(traxdir)
    if not store.files(name):
        raise not_stored(name, store.path)
    fits = OutputChecker(store.path)
    with store.alone(name, "repairing") as directory:
        plan = mend(directory, name, fits, lambda: store.copy_aside(name), step)
        if plan.aside:
            note_change("repaired", directory, name, plan.step)
    return Repaired(
        name=name,
        path=directory.path,
        step=plan.step,
        lost=plan.lost,
        is_exact=plan.is_exact,
        aside=os.path.join(store.path, plan.aside) if plan.aside else None,
        actions=tuple(plan.actions),
    )


def note_change(change: str, directory: Directory, name: str, step: int) -> None:
    """Note in the journal of a locked run that it was taken back to a step."""
    with contextlib.suppress(TraxError, OSError):  # nothing depends on it
        Journal(directory).mark(change, RunReader(directory, name).run, step)


def mend(
    directory: Directory,
    name: str,
    fits: Fits,
    copy_aside: Callable[[], str],
    step: int | None = None,
) -> Plan:
    """Repair a locked run, or finish a repair that was begun; the plan may change nothing.

    `copy_aside` copies all files of the run, durably, and returns the path of the copy. It is
    called before anything is changed, and only then. For `fits` see `prefixes`. No step after
    `step` is kept.

    Raises
    ------
    CorruptionError
        No part of the run is provably right; or a file of another run lies among its files.
    FormatVersionError
        A newer trax wrote one of the files.
    """
    plan = read_plan(directory)
    if plan is None or not still_leads(directory, name, plan):
        # A plan that was begun has not changed the part that it keeps.
        plan = find_plan(directory, name, fits, step)
        if REPAIR in directory.list():
            plan = replace(plan, is_exact=False, actions=[_HALF_DONE, *plan.actions])
        elif not plan.changes_anything:
            return plan
        plan = replace(plan, aside=copy_aside())
        if step is not None:
            mark_rewound(directory)
        write_plan(directory, plan)
    carry_out(directory, plan)
    return plan


def find_plan(directory: Directory, name: str, fits: Fits, step: int | None) -> Plan:
    """Return the plan that keeps most, but no step after `step`."""
    sound = _sound(directory, name, fits)
    if sound is not None and (step is None or sound.step <= step):
        return sound
    scan = Scan(directory, name)
    for file, owner in scan.misplaced.items():
        raise misplaced(f"{directory.path}/{file}", owner, "then repair the run")
    for prefix in prefixes(directory, scan, fits, step):
        plan = make_plan(scan, prefix)
        if leads_to(directory, name, plan, prefix):
            return plan
    if sound is not None:
        raise UsageError(
            f"{name!r} has no checkpoint of step {step} or before: they were removed.\n"
            f"Its steps from {_first_step(scan)} to {sound.step} are stored: give one of them."
        )
    raise _irreparable(directory, scan)


def _sound(directory: Directory, name: str, fits: Fits) -> Plan | None:
    """Return a plan to do nothing, if recovery needs no help; else None."""
    recovery = recover(directory, name)
    if recovery is None or not (recovery.is_done or fits(recovery.context)):
        return None
    actions = [
        f"{file} is damaged and is left to the next writer, which loses no step by it: {damage} "
        f"(offset {damage.offset})"
        for file, damage in recovery.broken.items()
    ]
    if recovery.torn:
        torn = recovery.torn
        how = "is damaged" if torn.is_damaged else "was torn by a crash"
        actions.append(f"{torn.name} {how} at offset {torn.offset}: the next writer cuts it")
    return Plan(recovery.step, 0, True, actions)


def _first_step(scan: Scan) -> int:
    """Return the step of the oldest valid checkpoint."""
    steps = [one.step for one in scan.checkpoints.values() if one.flaw is None]
    return min((step for step in steps if step is not None), default=0)


def _irreparable(directory: Directory, scan: Scan) -> CorruptionError:
    logs = [log.file for log in scan.logs.values()]
    again = [f"{CALL_AGAIN}\n"] if find_beginning(directory, logs) else []
    flaws = [f" ({one.name}: {one.flaw} at offset {one.offset})" for one in scan.files if one.flaw]
    return CorruptionError(
        f"{directory.path} cannot be repaired: nothing is provably right{''.join(flaws[:1])}\n"
        "There is no valid checkpoint whose output files are as they were, and no log "
        "that goes back to the beginning.\n"
        "Nothing was changed.\n"
        f"{''.join(again)}"
        "Put files back from a copy of the store, if there is one.\n"
        "Or start over with the function's fresh(...), which keeps the files.",
        directory.path,
    )
