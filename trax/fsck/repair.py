"""Gives a damaged run back what is provably right of it.

Strategy: from every checkpoint that holds, and from `create` where the run began so, the logs are
followed for as long as they hold and continue one another. What reaches the highest step is kept.
How the directory must then look is worked out first, and ordinary recovery is tried on a view of
it: only if it finds just that step is anything touched. Before that, all that will be done is
written into a file of its own, the repair file. While that is there, nobody reads the run; so a
crash at any instant leaves the error as it was, a run that asks to be repaired, or a repaired
one. Everything in the file may be done twice, so a second repair just does all of it again.
"""

from __future__ import annotations

import contextlib
import json
import platform
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from hmac import compare_digest
from typing import Any

from xxhash import xxh3_64_hexdigest

from trax._version import __version__
from trax.errors import CorruptionError
from trax.fsck.prefix import Fits, Prefix, prefixes
from trax.fsck.scan import FoundCheckpoint, Survey
from trax.storage.filenames import REPAIR, FileName
from trax.storage.filesystem import Directory, Input, closing_quietly, copy, new_file, write_all
from trax.storage.messages import misplaced
from trax.storage.records import (
    DURABLE_OFFSET,
    HEADER_SIZE,
    Damage,
    decode_header,
    decode_text,
    encode_durable,
    encode_header,
)
from trax.storage.run_reader import RunReader
from trax.storage.schema import check_plan

__all__ = ["Plan", "repair"]


_HALF_DONE = (
    f"removed {REPAIR}, which does not hold: a repair was begun and did not end, and what that had "
    "removed already is not counted"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done to the files of a run, and what that keeps.

    Attributes
    ----------
    step : int
        The step of the run that is kept.
    lost : int
        How many steps behind it are lost.
    is_exact : bool
        Whether there were no more than that, as far as anything says.
    actions : list of str
        What is done, for the person.
    remove : list of str
        The names of the files to remove, newest first.
    log : str
        The log to write anew; empty for none.
    end : int
        How many bytes of it are kept.
    durable : int
        The durable mark that it gets.
    fields : dict or None
        The header of the log to write, where it has none that holds.
    aside : str
        Where a copy of the run is, in the store.
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


def repair(directory: Directory, name: str, fits: Fits, copy_aside: Callable[[], str]) -> Plan:
    """Repair a run that is held, or end a repair that was begun; return what was done.

    Parameters
    ----------
    directory : Directory
        The run's files.
    name : str
        Its name.
    fits : callable
        Takes a context, and returns whether the files outside of the store that it speaks of
        are as long as it says.
    copy_aside : callable
        Copies all files of the run, durably, and returns where they are. It is called before
        anything is changed, and only then.

    Raises
    ------
    CorruptionError
        There is nothing that is provably right; or a file that belongs to another run lies
        among these.
    FormatVersionError
        A newer trax wrote one of the files.
    """
    plan = _unfinished(directory, name)
    if plan is None:
        plan = _find(directory, name, fits)
        if REPAIR in directory.list():
            plan = replace(plan, is_exact=False, actions=[_HALF_DONE, *plan.actions])
        elif not plan.changes_anything:
            return plan
        plan = replace(plan, aside=copy_aside())
        _begin(directory, plan)
    _carry_out(directory, plan)
    return plan


def _find(directory: Directory, name: str, fits: Fits) -> Plan:
    """Work out what is to be done."""
    sound = _sound(directory, name, fits)
    if sound is not None:
        return sound
    survey = Survey(directory, name)
    for file, owner in survey.misplaced.items():
        raise misplaced(f"{directory.path}/{file}", owner, "then repair the run")
    for prefix in prefixes(directory, survey, fits):
        plan = _plan(survey, prefix)
        if _leads_to(directory, name, plan, prefix):
            return plan
    flaw = "".join(f" ({name}: {flaw})" for name, flaw in list(_flaws(survey).items())[:1])
    raise CorruptionError(
        f"{directory.path} cannot be repaired{flaw}: there is no checkpoint that holds and whose "
        "output files are as long as they were, and no log that goes back to the beginning. "
        "Nothing was changed. Put files back from a copy of the store if there is one. To begin "
        "anew, call the function's fresh(...): the files are kept.",
        directory.path,
    )


def _sound(directory: Directory, name: str, fits: Fits) -> Plan | None:
    """Return a plan to do nothing, where recovery needs no help; else None."""
    recovery = _recovered(directory, name)
    if recovery is None or not (recovery.is_done or fits(recovery.context)):
        return None
    actions = [
        f"{file} does not hold and is left to the next writer, which loses no step by it: {reason}"
        for file, reason in recovery.broken.items()
    ]
    if recovery.torn:
        torn = recovery.torn
        actions.append(
            f"{torn.name} was torn by a crash at offset {torn.offset}: the next writer cuts it"
        )
    return Plan(recovery.step, 0, True, actions)


def _recovered(directory: Directory, name: str) -> RunReader | None:
    """Return what ordinary recovery finds, read to its end; None where it cannot be."""
    try:
        recovery = RunReader(directory, name)
        recovery.read()
    except CorruptionError:
        return None
    return recovery


# -- what must be done for that ------------------------------------------------------------


def _plan(survey: Survey, prefix: Prefix) -> Plan:
    base = prefix.base.name.generation if prefix.base else 0
    remove = _beyond(survey, base, prefix.path) + _useless(survey, base)
    step, highest, is_exact = _steps(survey, prefix)
    plan = Plan(step, highest - step, is_exact, [], [str(name) for name in remove])
    if prefix.path:
        plan = _cut(plan, survey, prefix)
    elif prefix.base is not None:
        plan = _begin_again(plan, survey, prefix.base)
    actions = [*_removals(survey, remove), *plan.actions, *_lost_states(survey, base, remove)]
    return replace(plan, actions=actions)


def _beyond(survey: Survey, base: int, path: list[int]) -> list[FileName]:
    """Return the files behind the prefix, and beside it; newest first."""
    names = [found.name for found in reversed(survey.files)]
    return [
        name
        for name in names
        if name.generation > base and (name.kind == "checkpoint" or name.generation not in path)
    ]


def _useless(survey: Survey, base: int) -> list[FileName]:
    """Return the older files that cannot stand in for the base; newest first."""
    files: list[FileName] = []
    for one in reversed(survey.files):
        number = one.name.generation
        if number < base and (files or one.flaw or number not in survey.logs):
            files.append(one.name)
    return files


def _cut(plan: Plan, survey: Survey, prefix: Prefix) -> Plan:
    """Let the last log of the prefix end where the prefix does."""
    log = survey.logs[prefix.path[-1]]
    is_newest = log.name.generation == survey.newest
    # The mark says as well that output files were forced before the log was. That is certain only
    # where another log was begun behind this one.
    durable = min(log.durable, prefix.end) if prefix.has_outputs and is_newest else prefix.end
    is_marked = log.durable == durable or (log.durable < durable and not prefix.has_outputs)
    if log.size == prefix.end and is_marked:
        return plan
    why = f" ({log.flaw} at offset {log.offset})" if log.flaw else ""
    action = f"cut {log.name} from {log.size:,} to {prefix.end:,} bytes{why}"
    return replace(plan, actions=[action], log=str(log.name), end=prefix.end, durable=durable)


def _begin_again(plan: Plan, survey: Survey, base: FoundCheckpoint) -> Plan:
    """Give a checkpoint a log that continues it, where it has none that holds."""
    name = FileName("log", base.name.generation)
    before = max((number for number in survey.logs if number < name.generation), default=0)
    fields = {key: base.fields[key] for key in ("run", "name", "generation")}
    fields |= {
        "trax": __version__,
        "python": platform.python_version(),
        "after": [before, base.fields["step"], base.fields["chain"]],
        "origin": "repair",
        "derived": False,  # that the state follows from the log before it cannot be known
        "sync": "interval",
        "boot": "",
        "nonce": secrets.token_hex(8),
    }
    old = survey.logs.get(name.generation)
    why = f"does not hold ({old.flaw} at offset {old.offset})" if old else "was missing"
    action = f"wrote an empty {name}, which continues {base.name}; the one that it had {why}"
    return replace(
        plan, actions=[action], log=str(name), end=HEADER_SIZE, durable=HEADER_SIZE, fields=fields
    )


def _removals(survey: Survey, remove: list[FileName]) -> list[str]:
    flaws = _flaws(survey)
    return [f"removed {name}" + (f" ({flaws[name]})" if name in flaws else "") for name in remove]


def _lost_states(survey: Survey, base: int, remove: list[FileName]) -> list[str]:
    """Say which states are lost to which no log leads, as far as is known."""
    lines = []
    for number, checkpoint in survey.checkpoints.items():
        log = survey.logs.get(number)
        fields = log.fields if log else {}
        if number > base and checkpoint.name in remove and not fields.get("derived"):
            known = "no log leads to it" if fields else "it is not known whether a log leads to it"
            stored = "it was stored by hand, or migrated, and " if fields else ""
            lines.append(f"the state in {checkpoint.name} is not kept: {stored}{known}")
    return lines


def _flaws(survey: Survey) -> dict[FileName, str]:
    return {one.name: f"{one.flaw} at offset {one.offset}" for one in survey.files if one.flaw}


# -- how many steps that loses -------------------------------------------------------------


def _steps(survey: Survey, prefix: Prefix) -> tuple[int, int, bool]:
    """Return the kept step, the highest that anything speaks of, and whether that is exact.

    A run may count steps that are not logged; a checkpoint says how many of them there were.
    """
    meta = prefix.base.meta if prefix.base else {}
    shift = _shift(prefix.base) if prefix.base else 0
    kept = prefix.position.step + shift
    highest, newest = kept, 0
    for checkpoint in survey.checkpoints.values():
        if checkpoint.step is not None:
            highest = max(highest, checkpoint.step)
        if "step" in checkpoint.meta:
            newest = checkpoint.name.generation
    last = max(survey.logs, default=0)
    is_exact = False
    for number, log in survey.logs.items():
        if number in survey.checkpoints:
            shift = _shift(survey.checkpoints[number], shift)
        reached = _start(survey, number) + log.count + log.behind + shift
        highest = max(highest, reached)
        is_exact = log.is_exact and reached == highest and _is_start_known(survey, number)
    is_exact = is_exact and last >= max(survey.checkpoints, default=0)
    if meta.get("replay_log") == "none":
        is_exact = is_exact and newest == survey.newest
    return kept, highest, is_exact


def _shift(checkpoint: FoundCheckpoint, default: int = 0) -> int:
    if not checkpoint.fields or "step" not in checkpoint.meta:
        return default
    shift: int = checkpoint.meta["step"] - checkpoint.fields["step"]
    return shift


def _is_start_known(survey: Survey, generation: int) -> bool:
    checkpoint = survey.checkpoints.get(generation)
    return bool(survey.logs[generation].fields or (checkpoint and checkpoint.fields))


def _start(survey: Survey, generation: int) -> int:
    """Return the least position that a log can have begun at."""
    log = survey.logs[generation]
    if log.fields:
        return log.position.step
    checkpoint = survey.checkpoints.get(generation)
    if checkpoint is not None and checkpoint.fields:
        return checkpoint.position.step
    before = [number for number in survey.logs if number < generation]
    if not before:
        return 0
    return _start(survey, before[-1]) + survey.logs[before[-1]].count


# -- how it will look ----------------------------------------------------------------------


def _leads_to(directory: Directory, name: str, plan: Plan, prefix: Prefix) -> bool:
    """Return whether ordinary recovery will find just what is kept."""
    recovery = _recovered(_View(directory, plan), name)
    if recovery is None:
        return False
    # A log that is written anew has a header block of its own, and with it another checksum.
    found, wanted = recovery.position, prefix.position
    is_there = found == wanted or (bool(plan.fields) and found.step == wanted.step)
    return is_there and _needs_nothing(recovery)


def _still_leads(directory: Directory, name: str, plan: Plan) -> bool:
    """Return whether a plan that was begun leads where it says, whatever was damaged since."""
    if plan.log and plan.fields is None and plan.log not in directory.list():
        return False
    recovery = _recovered(_View(directory, plan), name)
    return recovery is not None and recovery.step == plan.step and _needs_nothing(recovery)


def _needs_nothing(recovery: RunReader) -> bool:
    return recovery.torn is None and not recovery.broken


class _View:
    """A directory as it will be, to read."""

    def __init__(self, directory: Directory, plan: Plan) -> None:
        self.path = directory.path
        self.boot = directory.boot
        self.key = directory.key
        self._directory = directory
        self._plan = plan

    def list(self) -> list[str]:
        names = {*self._directory.list(), self._plan.log} - {*self._plan.remove, "", REPAIR}
        return sorted(names)

    def open(self, name: str) -> Input:
        if name == self._plan.log:
            return _NewLog(self._directory, self._plan)
        return self._directory.open(name)

    def _refuse(self, *_: object) -> Any:
        raise AssertionError("a view is only read")

    create = cut = rename = remove = sync = _refuse


class _NewLog:
    """The log that a plan writes: another header block, and the bytes that are kept."""

    def __init__(self, directory: Directory, plan: Plan) -> None:
        self._old: Input | None = None
        self.size = HEADER_SIZE
        if plan.fields is not None:
            block = encode_header("log", plan.fields, directory.key).block
        else:
            self._old = directory.open(plan.log)
            self.size = min(plan.end, self._old.size)
            block = bytes(self._old.read_at(0, HEADER_SIZE))
        mark = encode_durable(plan.durable)
        self._block = block[:DURABLE_OFFSET] + mark + block[DURABLE_OFFSET + len(mark) :]
        decode_header("log", self._block, directory.key)

    def read_at(self, offset: int, size: int) -> bytearray:
        end = min(offset + size, self.size)
        data = bytearray(self._block[offset:end])
        begin = max(offset, HEADER_SIZE)
        if self._old is not None and begin < end:
            data += self._old.read_at(begin, end - begin)
        return data

    def close(self) -> None:
        if self._old is not None:
            self._old.close()


# -- the doing -----------------------------------------------------------------------------


def _begin(directory: Directory, plan: Plan) -> None:
    """Write the repair file: from now on the run is read only once the plan is carried out."""
    text = json.dumps(asdict(plan)).encode()
    with new_file(directory, REPAIR) as output:
        write_all(output, _digest(directory, text) + b"\n" + text)


def _unfinished(directory: Directory, name: str) -> Plan | None:
    """Return the plan that was begun and not finished, if there is one that holds and still leads.

    Otherwise a new one is made: nothing has been changed of what a plan keeps.
    """
    if REPAIR not in directory.list():
        return None
    source = directory.open(REPAIR)
    with closing_quietly(source):
        digest, _, text = bytes(source.read_at(0, source.size)).partition(b"\n")
    if not compare_digest(digest, _digest(directory, text)):
        return None
    try:
        plan = _decode(text)
    except (Damage, ValueError):
        return None
    return plan if _still_leads(directory, name, plan) else None


def _decode(text: bytes) -> Plan:
    """Return the plan that stands in a repair file; its checksum holds for anything."""
    found = decode_text(text, 0)
    check_plan(found)
    plan = Plan(**found)
    if plan.fields is not None:
        encode_header("log", plan.fields)  # raises ValueError where they do not fit
    return plan


def _digest(directory: Directory, text: bytes) -> bytes:
    """Return the checksum of a plan, or its signature where there is a key."""
    key = directory.key
    return (key.sign(text).hex() if key else xxh3_64_hexdigest(text)).encode()


def _carry_out(directory: Directory, plan: Plan) -> None:
    """Do what a plan says, whether part of it is done already or not."""
    for name in plan.remove:
        assert FileName.parse(name), name
        with contextlib.suppress(FileNotFoundError):
            directory.remove(name)
    directory.sync()
    if plan.log:
        assert FileName.parse(plan.log), plan.log
        log = _NewLog(directory, plan)
        with closing_quietly(log), new_file(directory, plan.log) as output:
            copy(log, output, 0, log.size)
    directory.remove(REPAIR)
    directory.sync()
