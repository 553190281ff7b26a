"""What a person does when a run may be damaged: verify it, and repair it.

Neither unpickles anything, and trax calls neither by itself.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trax.errors import CorruptionError, NotFoundError, StorageError
from trax.fsck.repair import repair as mend
from trax.fsck.verification import CheckpointFile, Generation, LogFile, examine
from trax.storage.context import Key
from trax.storage.messages import repair_call
from trax.storage.store import Store
from trax.tracking.truncate import lengths

__all__ = ["OutputFile", "Repaired", "Verification", "repair", "verify"]


@dataclass(frozen=True, slots=True)
class OutputFile:
    """An output file of a run: how long it should be at least, and how long it is.

    Attributes
    ----------
    path : str
        The file.
    length : int
        How many bytes the stored steps have written.
    present : int or None
        How many there are; None where the file is missing.
    """

    path: str
    length: int
    present: int | None

    @property
    def is_long_enough(self) -> bool:
        return self.present is not None and self.present >= self.length


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` has found. Its text is a table, and `as_dict` gives what JSON can hold.

    Attributes
    ----------
    name : str
        The run's name.
    path : str
        Where its files are.
    good : bool
        Whether nothing is damaged. An end that was torn by a crash is no damage.
    step : int or None
        The step at which the run would go on; None where it could not.
    done : bool
        Whether the run is done at that step.
    generations : tuple of Generation
        Each checkpoint and each log, oldest first: what holds, and what does not.
    others : tuple of str
        The names of other files there: what was set aside, and temporary files.
    outputs : tuple of OutputFile
        The run's output files.
    problems : tuple of str
        What is damaged, one line each.
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

    def as_dict(self) -> dict[str, Any]:
        """Return the same as dictionaries, lists and plain values."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.name}, in {self.path}: {'good' if self.good else 'DAMAGED'}"
        for generation in self.generations:
            if generation.checkpoint:
                yield _checkpoint_line(generation.checkpoint)
            if generation.log:
                yield _log_line(generation.log)
        for one in self.outputs:
            present = "missing" if one.present is None else f"{one.present:,} bytes"
            yield f"  output file {one.path}: {present}, of {one.length:,}"
        if self.others:
            yield f"  other files: {', '.join(self.others)}"
        yield from (f"  {problem}" for problem in self.problems)
        if self.step is None:
            yield f"It cannot go on as it is. {repair_call(self.name, self.path)} can help."
        elif self.done:
            yield f"It is done, at step {self.step:,}."
        else:
            yield f"It goes on at step {self.step:,}."


def _checkpoint_line(file: CheckpointFile) -> str:
    step = "step unknown" if file.step is None else f"step {file.step:,}"
    state = f"DAMAGED at {file.offset:,}" if file.flaw else "whole"
    return f"  {file.name:<20} {file.size:>14,} bytes   {state}, {step}"


def _log_line(file: LogFile) -> str:
    state = "whole"
    if file.flaw:
        state = f"{'torn' if file.is_torn else 'DAMAGED'} at {file.offset:,}"
    what = "no step" if not file.count else f"{file.count:,} steps"
    if file.begins is not None and file.count:
        first, last = file.begins + 1, file.begins + file.count
        what = f"step {last:,}" if first == last else f"steps {first:,} to {last:,}"
    return f"  {file.name:<20} {file.size:>14,} bytes   {state}, {what}"


def verify(name: str, *, traxdir: str | os.PathLike[str] | None = None) -> Verification:
    """Read everything that is stored of a run, and say what of it is good.

    Every byte is read and compared with its checksum. Nothing is unpickled, nothing is changed,
    and nothing is held: the run may be written meanwhile.

    Parameters
    ----------
    name : str
        The run's name.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` where that is not set.

    Returns
    -------
    Verification
        Its `good` says whether nothing is damaged; `print` shows all of it.

    Raises
    ------
    UsageError
        No run can have this name.
    NotFoundError
        Nothing is stored under this name.
    FormatVersionError
        A newer trax wrote one of the files.
    UntrustedError
        Somebody else could have written one of them.
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
        _check_files(store, name)
        seen, sizes = store.look(name), store.sizes(name)
        try:
            found = _verify(store, name)
        except (FileNotFoundError, StorageError):  # pruned or begun afresh, just now
            if seen == store.look(name):
                raise
            continue
        # What a writer is just adding, pruning or beginning can look like damage, but not twice in
        # a row.
        is_same = (seen, sizes) == (store.look(name), store.sizes(name))
        if found.good or is_same or found.problems == problems:
            return found
        problems = found.problems


def _verify(store: Store, name: str) -> Verification:
    with store.reading(name) as directory:
        verified = examine(directory, name)
    problems = list(verified.problems)
    step = verified.step
    outputs: tuple[OutputFile, ...] = ()
    try:
        outputs = tuple(_outputs(store, verified.context))
        wrong = [_shortfall(one) for one in outputs if not one.is_long_enough]
    except CorruptionError as error:
        wrong = [str(error)]
    if wrong and not verified.is_done:  # its result needs no output file
        problems += wrong
        step = None
    return Verification(
        name=name,
        path=store.run_path(name),
        good=not problems,
        step=step,
        done=verified.is_done,
        generations=verified.generations,
        others=verified.others,
        outputs=outputs,
        problems=tuple(problems),
    )


def _outputs(store: Store, context: Mapping[Key, bytes]) -> Iterator[OutputFile]:
    for path, length in lengths(store.path, context).items():
        try:
            present: int | None = os.stat(path).st_size
        except OSError:
            present = None
        yield OutputFile(path, length, present)


def _shortfall(file: OutputFile) -> str:
    present = "is missing" if file.present is None else f"has {file.present:,} bytes"
    return f"the output file {file.path} {present}, and should have {file.length:,}"


def _check_files(store: Store, name: str) -> None:
    if not store.files(name):
        raise NotFoundError(
            f"nothing is stored as {name!r} in {store.path}. Check the name and the directory."
        )


@dataclass(frozen=True, slots=True)
class Repaired:
    """What `repair` has done. Its text says it, and `as_dict` gives what JSON can hold.

    Attributes
    ----------
    name : str
        The run's name.
    path : str
        Where its files are.
    step : int
        The step at which the run goes on.
    lost : int
        How many steps that were stored behind it are lost.
    is_exact : bool
        Whether `lost` counts all of them; otherwise there were at least so many. What has left no
        trace at all, such as a log that ends where it might have ended, is not counted.
    aside : str or None
        Where a copy is of all that was there; None where nothing had to be done.
    actions : tuple of str
        What was done, one line each.
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
        actions = [f"  {action}" for action in self.actions]
        if self.aside is None:
            head = f"{self.name} needs no repair: it goes on at step {self.step:,}."
            return "\n".join([head, *actions])
        head = f"{self.name} was repaired: it goes on at step {self.step:,}, and {self._loss()}."
        return "\n".join([head, *actions, f"What was there is kept in {self.aside}."])

    def _loss(self) -> str:
        if not self.lost:
            return "no step is lost" if self.is_exact else "nothing tells how many steps are lost"
        steps = "1 step is" if self.lost == 1 else f"{self.lost:,} steps are"
        return f"{steps} lost" if self.is_exact else f"at least {steps} lost"


def repair(name: str, *, traxdir: str | os.PathLike[str] | None = None) -> Repaired:
    """Bring a damaged run back to the last step that is provably right.

    Where the run can go on as it is, nothing is done. Otherwise all of its files are copied to
    ``aside`` in the store; then what does not hold is cut off or removed, with everything that
    was built on it. What stays is the longest part of the run that is proven by its checksums,
    from a checkpoint that holds up to the last record that continues it. Output files are not
    changed: where one is shorter than it was, the run goes back to the newest step whose output
    is all there.

    Nothing is unpickled. A crash at any instant leaves the run as damaged as it was, or
    half-repaired, which is an error that says so until `repair` is called again, or repaired.

    Parameters
    ----------
    name : str
        The run's name.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` where that is not set.

    Returns
    -------
    Repaired
        How many steps are lost, what was done, and where the copy is; `print` shows it.

    Raises
    ------
    UsageError
        No run can have this name.
    NotFoundError
        Nothing is stored under this name.
    LockedError
        The run is held.
    CorruptionError
        Nothing of it is provably right. Nothing was changed.
    FormatVersionError
        A newer trax wrote one of the files. Nothing was changed.
    UntrustedError
        Somebody else could have written one of them. Nothing was changed.
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
    count needs no repair: it goes on at step 3.
    """
    store = Store(traxdir)
    _check_files(store, name)

    def fits(context: Mapping[Key, bytes]) -> bool:
        try:
            return all(one.is_long_enough for one in _outputs(store, context))
        except CorruptionError:  # what cannot be about an output file
            return False

    with store.alone(name) as directory:
        plan = mend(directory, name, fits, lambda: store.copy_aside(name))
    aside = os.path.join(store.path, plan.aside) if plan.aside else None
    path = store.run_path(name)
    actions = tuple(plan.actions)
    return Repaired(name, path, plan.step, plan.lost, plan.is_exact, aside, actions)
