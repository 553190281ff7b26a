"""Verifies a run: reads every byte, and lists all damage."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from trax._public import public
from trax.errors import CorruptionError, StorageError, one_line
from trax.fsck.files import CheckpointFile, Generation, LogFile
from trax.fsck.outputs import OutputFile, find_outputs
from trax.fsck.scan import Scan
from trax.storage.context import Key
from trax.storage.filesystem import Directory
from trax.storage.messages import in_short, not_stored, repair_call
from trax.storage.run_reader import RunReader
from trax.storage.store import Store

__all__ = ["Verification", "examine", "verify"]

FindOutputs = Callable[
    [str, Mapping[Key, bytes], Iterable[Mapping[Key, bytes]]], tuple[OutputFile, ...]
]


@public
@dataclass(frozen=True, slots=True)
class Verification:
    """The findings of `verify`: as text a table, and with `as_dict` plain values for JSON.

    Attributes
    ----------
    name : str
        The run's name.
    path : str
        The directory of its files.
    good : bool
        Whether nothing is damaged. An end that was torn by a crash is not damage.
    step : int or None
        The step at which the run would resume; None if it cannot.
    done : bool
        Whether the run is done at that step.
    generations : tuple of Generation
        Each checkpoint and each log, oldest first, with its valid part and its flaw.
    others : tuple of str
        The names of other files there: those that were set aside, and temporary ones.
    outputs : tuple of OutputFile
        The run's output files.
    problems : tuple of str
        The damage, one line for each flaw.
    remarks : tuple of str
        Output files of a run that is done which were changed since or are gone, a line for each.
        Its result needs none of them, so this is no damage.
    """

    name: str
    path: str
    good: bool
    step: int | None
    done: bool
    generations: tuple[Generation, ...]
    others: tuple[str, ...]
    outputs: tuple[OutputFile, ...]
    problems: tuple[str, ...]
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the same as dictionaries, lists and plain values."""
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return values | {
            "generations": tuple(one.as_dict() for one in self.generations),
            "outputs": tuple(asdict(one) for one in self.outputs),
        }

    def __str__(self) -> str:
        return "\n".join(map(one_line, self._lines()))

    def _lines(self) -> Iterator[str]:
        good = "good, but its output is not as it was written" if self.remarks else "good"
        yield f"{self.name}, in {self.path}: {good if self.good else 'DAMAGED'}"
        for generation in self.generations:
            if generation.checkpoint:
                yield _checkpoint_line(generation.checkpoint)
            if generation.log:
                yield _log_line(generation.log)
        for one in self.outputs:
            present = "missing" if one.present is None else f"{one.present:,} bytes"
            changed = ", changed" if one.changed else ""
            yield f"  output file {one.path}: {present}, of {one.length:,}{changed}"
        if self.others:
            yield f"  other files: {', '.join(self.others)}"
        yield from (f"  {line}" for line in (*self.problems, *self.remarks))
        if self.step is None:
            yield f"It cannot resume as it is. {self._remedy()}"
        elif self.done:
            yield f"It is done, at step {self.step:,}."
        else:
            yield f"It resumes at step {self.step:,}."

    def _remedy(self) -> str:
        return f"{repair_call(self.name, self.path)} can help."


def _checkpoint_line(file: CheckpointFile) -> str:
    step = "step unknown" if file.step is None else f"step {file.step:,}"
    state = f"DAMAGED at {file.offset}" if file.flaw else "whole"
    return f"  {file.name:<20} {file.size:>14,} bytes   {state}, {step}"


def _log_line(file: LogFile) -> str:
    state = "whole"
    if file.flaw:
        state = f"{'torn' if file.is_torn else 'DAMAGED'} at {file.offset}"
    return f"  {file.name:<20} {file.size:>14,} bytes   {state}, {_steps(file)}"


def _steps(file: LogFile) -> str:
    if not file.count:
        return "no step"
    if file.begins is None:
        return f"{file.count:,} steps"
    first, last = file.begins + 1, file.begins + file.count
    return f"step {last:,}" if first == last else f"steps {first:,} to {last:,}"


@public
def verify(name: str, *, traxdir: str | os.PathLike[str] | None = None) -> Verification:
    """Read every stored byte of a run, and report all damage.

    Every byte is compared with its checksum. Nothing is unpickled, nothing is changed, and no lock
    is taken: the run may be written meanwhile.

    Parameters
    ----------
    name : str
        The run's name.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.

    Returns
    -------
    Verification
        The findings: `good` tells whether nothing is damaged, and `print` shows everything.

    Raises
    ------
    UsageError
        No run can have this name.
    NotFoundError
        Nothing is stored under this name.
    FormatVersionError
        A newer trax wrote one of the files.
    UntrustedError
        Somebody else could have written one of the files.
    StorageError
        The disk refused.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=int)
    ... def count(n, to):
    ...     while n < to:
    ...         n = yield n + 1
    >>> _ = count(to=3).result()
    >>> found = trax.verify("count")
    >>> found.good, found.step
    (True, 3)
    """
    store = Store(traxdir)
    problems: tuple[str, ...] | None = None
    while True:
        if not store.files(name):
            raise not_stored(name, store.path)
        seen, sizes = store.look(name), store.sizes(name)
        try:
            with store.reading(name) as directory:
                found = examine(directory, name, store.path)
        except (FileNotFoundError, StorageError):  # pruned or replaced while it was read
            if seen == store.look(name):
                raise
            continue
        # Files that a writer is just extending, pruning or replacing can look damaged, but not
        # twice in a row.
        is_same = (seen, sizes) == (store.look(name), store.sizes(name))
        if found.good or is_same or found.problems == problems:
            return found
        problems = found.problems


def examine(
    directory: Directory, name: str, store: str, find: FindOutputs = find_outputs
) -> Verification:
    """Verify a run that nobody writes to meanwhile; relative paths of outputs begin at `store`.

    `find` finds its output files, as `find_outputs` does.
    """
    recovery, error = _recover(directory, name)
    scan = Scan(directory, name)
    generations = tuple(_generations(scan, recovery))
    problems = list(_problems(generations, scan))
    if error is not None and not any(_lists(one, error) for one in generations):
        cause = in_short(error).removeprefix(f"{directory.path}/")
        gap = f"{os.path.basename(error.path)}, which"
        others = (one for one in problems if not cause.startswith(one))
        problems = [cause, *(one for one in others if not one.startswith(gap))]
    step, is_done = None, False
    outputs: tuple[OutputFile, ...] = ()
    remarks: list[str] = []
    if recovery is not None and error is None:
        step, is_done = recovery.step, recovery.is_done
        earlier = [one.context for one in scan.checkpoints.values()]
        outputs, wrong = _outputs(partial(find, store, recovery.context, earlier))
        if is_done:  # its result needs no output file, which may have been moved
            remarks = wrong
        elif wrong:
            problems += wrong
            step = step if outputs and all(one.is_usable for one in outputs) else None
    return Verification(
        name=name,
        path=directory.path,
        good=not problems,
        step=step,
        done=is_done,
        generations=generations,
        others=tuple(scan.others),
        outputs=outputs,
        problems=tuple(problems),
        remarks=tuple(remarks),
    )


def _recover(directory: Directory, name: str) -> tuple[RunReader | None, CorruptionError | None]:
    recovery = None
    try:
        recovery = RunReader(directory, name)
        recovery.read()
    except CorruptionError as error:
        return recovery, error
    return recovery, None


def _generations(scan: Scan, recovery: RunReader | None) -> Iterator[Generation]:
    for number in sorted({*scan.checkpoints, *scan.logs}):
        checkpoint, log = scan.checkpoints.get(number), scan.logs.get(number)
        yield Generation(
            number,
            checkpoint and checkpoint.without_details(),
            log and _judged(log, recovery).without_details(),
        )


def _judged(log: LogFile, recovery: RunReader | None) -> LogFile:
    """Add the judgement of recovery about a log."""
    if recovery is None:
        return log
    torn = recovery.torn
    is_cut = torn is not None and torn.name == log.file and not torn.is_damaged
    return replace(
        log,
        is_needed=log.generation in recovery.generations,
        is_torn=is_cut or log.file in recovery.unborn,
    )


def _problems(generations: tuple[Generation, ...], scan: Scan) -> Iterator[str]:
    for generation in generations:
        checkpoint, log = generation.checkpoint, generation.log
        if checkpoint and checkpoint.flaw:
            yield f"{checkpoint.name} is damaged at offset {checkpoint.offset}: {checkpoint.flaw}"
        if log and log.flaw and not log.is_torn:
            yield f"{log.name} is damaged at offset {log.offset}: {log.flaw}"
    yield from scan.gaps()
    for name, owner in scan.misplaced.items():
        yield f"{name} was moved or renamed: it belongs to {owner}"


def _lists(generation: Generation, error: CorruptionError) -> bool:
    """Return whether the flaw in an error is listed with the file anyway."""
    file = generation.log  # without an older one, of a checkpoint the error tells more
    return (
        file is not None
        and file.flaw is not None
        and file.offset == error.offset
        and error.path.endswith(f"/{file.name}")
    )


def _outputs(
    find: Callable[[], tuple[OutputFile, ...]],
) -> tuple[tuple[OutputFile, ...], list[str]]:
    """Return the output files of a run, and a line for each that is too short or was changed."""
    try:
        outputs = find()
    except CorruptionError as error:
        return (), [in_short(error)]
    wrong = [one for one in outputs if one.changed or not one.is_long_enough]
    return outputs, list(map(_difference, wrong))


def _difference(file: OutputFile) -> str:
    if file.changed:
        begin, end = file.changed
        return f"the output file {file.path} was changed between offset {begin} and {end}"
    present = "is missing" if file.present is None else f"has {file.present:,} bytes"
    return f"the output file {file.path} {present}, and should have {file.length:,}"
