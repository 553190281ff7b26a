"""Plans a repair: the files to remove, and the new end of the last log that is kept.

A plan changes nothing by itself. Each part of it may be done twice, so an interrupted plan is
simply carried out again.
"""

from __future__ import annotations

import platform
import secrets
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from trax._version import __version__
from trax.fsck.files import CheckpointFile, LogFile
from trax.fsck.loss import count_lost
from trax.storage.filenames import FileName
from trax.storage.records import HEADER_SIZE

if TYPE_CHECKING:
    from trax.fsck.prefix import Prefix
    from trax.fsck.scan import Scan

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The changes that a repair makes to the files of a run, and their outcome.

    Attributes
    ----------
    step : int
        The step of the run that is kept.
    lost : int
        The number of steps after it that are lost.
    is_exact : bool
        Whether those are all, as far as the files tell.
    actions : list of str
        The actions, in words for the user.
    remove : list of str
        The names of the files to remove, newest first.
    log : str
        The log to rewrite; empty for none.
    end : int
        The number of its bytes that are kept.
    durable : int
        Its new durable mark.
    fields : dict or None
        Its new header block; None if the old one is kept.
    aside : str
        The path of a copy of the run, in the store.
    """

    step: int
    lost: int
    is_exact: bool
    actions: list[str]
    remove: list[str] = field(default_factory=list)
    log: str = ""
    end: int = 0
    durable: int = 0
    fields: dict[str, Any] | None = None
    aside: str = ""

    @property
    def changes_anything(self) -> bool:
        return bool(self.remove or self.log)


def make_plan(scan: Scan, prefix: Prefix) -> Plan:
    """Return the plan that keeps a prefix, and no more."""
    remove = _beyond(scan, prefix) + _useless(scan, prefix)
    step, lost, is_exact = count_lost(scan, prefix)
    plan = Plan(step, lost, is_exact, [], [one.name for one in remove])
    if prefix.path:
        plan = _cut(plan, scan, prefix)
    elif prefix.base is not None:
        plan = _continue(plan, scan, prefix.base)
    removals = [f"removed {one.name}{_cause(one)}" for one in remove]
    return replace(plan, actions=removals + plan.actions + _lost_states(scan, prefix, remove))


def _beyond(scan: Scan, prefix: Prefix) -> list[CheckpointFile | LogFile]:
    """Return the files after the prefix and beside it, newest first."""
    return [
        one
        for one in reversed(scan.files)
        if one.generation > prefix.generation
        and (isinstance(one, CheckpointFile) or one.generation not in prefix.path)
    ]


def _useless(scan: Scan, prefix: Prefix) -> list[CheckpointFile | LogFile]:
    """Return the older files that cannot replace the base, newest first."""
    files: list[CheckpointFile | LogFile] = []
    for one in reversed(scan.files):
        is_older = one.generation < prefix.generation
        if is_older and (files or one.flaw or one.generation not in scan.logs):
            files.append(one)
    return files


def _cut(plan: Plan, scan: Scan, prefix: Prefix) -> Plan:
    """Let the last log of the prefix end where the prefix does."""
    log = scan.logs[prefix.path[-1]]
    is_newest = log.generation == scan.newest
    # The mark also says that output files were forced before the log was. That is certain only
    # if another log was begun after this one.
    durable = min(log.durable, prefix.end) if prefix.has_outputs and is_newest else prefix.end
    is_marked = log.durable == durable or (log.durable < durable and not prefix.has_outputs)
    if log.size == prefix.end and is_marked:
        return plan
    action = f"cut {log.name} from {log.size:,} to {prefix.end:,} bytes{_cause(log)}"
    return replace(plan, actions=[action], log=log.name, end=prefix.end, durable=durable)


def _continue(plan: Plan, scan: Scan, base: CheckpointFile) -> Plan:
    """Give a checkpoint that no valid log continues an empty one."""
    name = str(FileName("log", base.generation))
    before = max((number for number in scan.logs if number < base.generation), default=0)
    fields = {key: base.fields[key] for key in ("run", "name", "generation")}
    fields |= {
        "trax": __version__,
        "python": platform.python_version(),
        "after": [before, base.fields["step"], base.fields["chain"]],
        "origin": "repair",
        "derived": False,  # nothing tells whether the state follows from the log before
        "sync": "interval",
        "boot": "",
        "nonce": secrets.token_hex(8),
    }
    old = scan.logs.get(base.generation)
    was = "was missing"
    if old is not None:
        was = f"is damaged{_cause(old)}" if old.flaw else "does not continue it"
    action = f"wrote an empty {name} to continue {base.name}: the old one {was}"
    return replace(
        plan, actions=[action], log=name, end=HEADER_SIZE, durable=HEADER_SIZE, fields=fields
    )


def _lost_states(scan: Scan, prefix: Prefix, remove: list[CheckpointFile | LogFile]) -> list[str]:
    """List the lost states to which no log leads, as far as is known."""
    lines = []
    for number, checkpoint in scan.checkpoints.items():
        log = scan.logs.get(number)
        fields = log.fields if log else {}
        is_lost = number > prefix.generation and checkpoint in remove
        if is_lost and not fields.get("derived"):
            known = "no log leads to it" if fields else "it is not known whether a log leads to it"
            stored = "it was stored by hand, or migrated, and " if fields else ""
            lines.append(f"the state in {checkpoint.name} is not kept: {stored}{known}")
    return lines


def _cause(file: CheckpointFile | LogFile) -> str:
    """Return the flaw of a file in brackets; an empty text if it has none."""
    return f" ({file.flaw} at offset {file.offset})" if file.flaw else ""
