"""What is good of a run: its survey, and what recovery makes of it, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from trax.errors import CorruptionError
from trax.fsck.scan import FoundCheckpoint, FoundLog, Survey
from trax.storage.context import Key
from trax.storage.filesystem import Directory
from trax.storage.messages import in_short
from trax.storage.run_reader import Recovery

__all__ = ["CheckpointFile", "Generation", "LogFile", "Verified", "examine"]


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A checkpoint, as it was found.

    Attributes
    ----------
    name : str
        The file's name.
    size : int
        Its length, in bytes.
    step : int or None
        The step that it is of, where it still says so.
    flaw : str or None
        Why it does not hold; None where every byte of it does.
    offset : int or None
        Where it stops holding.
    """

    name: str
    size: int
    step: int | None
    flaw: str | None
    offset: int | None


@dataclass(frozen=True, slots=True)
class LogFile:
    """A log, as it was found.

    Attributes
    ----------
    name : str
        The file's name.
    size : int
        Its length, in bytes.
    durable : int
        How many of these bytes are known to have been forced to the disk.
    begins : int or None
        The step after which it begins, where it still says so.
    count : int
        How many increments it holds.
    is_needed : bool
        Whether the newest checkpoint that holds needs it.
    is_torn : bool
        Whether its end was torn by a crash. That is no damage: the next run cuts it off.
    flaw : str or None
        Why it does not hold, or how it was torn.
    offset : int or None
        Where it stops holding.
    """

    name: str
    size: int
    durable: int
    begins: int | None
    count: int
    is_needed: bool
    is_torn: bool
    flaw: str | None
    offset: int | None


@dataclass(frozen=True, slots=True)
class Generation:
    """A checkpoint, where one was taken, and the log that continues it."""

    number: int
    checkpoint: CheckpointFile | None
    log: LogFile | None


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found of a run in its own directory.

    Attributes
    ----------
    step : int or None
        The step that recovery comes to; None where it cannot.
    is_done : bool
        Whether the run is done at that step.
    generations : tuple of Generation
        Oldest first.
    others : tuple of str
        The names of all other files, such as those that were set aside.
    problems : tuple of str
        What is damaged.
    context : dict of Key to bytes
        The positions of RNGs and output files at that step.
    """

    step: int | None
    is_done: bool
    generations: tuple[Generation, ...]
    others: tuple[str, ...]
    problems: tuple[str, ...]
    context: dict[Key, bytes]


def examine(directory: Directory, name: str) -> Verified:
    """Read everything that is stored of a run; unpickle nothing, and change nothing.

    Raises
    ------
    FormatVersionError
        A newer trax wrote one of the files.
    """
    recovery, error = _recover(directory, name)
    survey = Survey(directory, name)
    step, is_done, context = None, False, {}
    if recovery is not None and error is None:
        step, is_done, context = recovery.step, recovery.is_done, recovery.context
    numbers = sorted({*survey.checkpoints, *survey.logs})
    generations = tuple(_generation(survey, recovery, number) for number in numbers)
    problems = list(_problems(generations, survey))
    if error is not None and not any(_is_said(error, one) for one in generations):
        found = in_short(error).removeprefix(f"{directory.path}/")
        problems = [found, *(problem for problem in problems if problem != found)]
    return Verified(step, is_done, generations, tuple(survey.others), tuple(problems), context)


def _recover(directory: Directory, name: str) -> tuple[Recovery | None, CorruptionError | None]:
    recovery = None
    try:
        recovery = Recovery(directory, name)
        recovery.read()
    except CorruptionError as error:
        return recovery, error
    return recovery, None


def _generation(survey: Survey, recovery: Recovery | None, number: int) -> Generation:
    checkpoint, log = survey.checkpoints.get(number), survey.logs.get(number)
    return Generation(
        number,
        _checkpoint_file(checkpoint) if checkpoint else None,
        _log_file(log, recovery) if log else None,
    )


def _checkpoint_file(found: FoundCheckpoint) -> CheckpointFile:
    offset = found.offset if found.flaw else None
    return CheckpointFile(str(found.name), found.size, found.step, found.flaw, offset)


def _log_file(found: FoundLog, recovery: Recovery | None) -> LogFile:
    is_torn = recovery is not None and (
        found.name in recovery.unborn
        or (recovery.torn is not None and recovery.torn.name == found.name)
    )
    return LogFile(
        name=str(found.name),
        size=found.size,
        durable=found.durable,
        begins=found.position.step if found.fields else None,
        count=found.count,
        is_needed=recovery is not None and found.name.generation in recovery.generations,
        is_torn=is_torn,
        flaw=found.flaw,
        offset=found.offset if found.flaw else None,
    )


def _problems(generations: tuple[Generation, ...], survey: Survey) -> Iterator[str]:
    for generation in generations:
        checkpoint, log = generation.checkpoint, generation.log
        if checkpoint and checkpoint.flaw:
            yield f"{checkpoint.name} is damaged at offset {checkpoint.offset}: {checkpoint.flaw}"
        if log and log.flaw and not log.is_torn:
            yield f"{log.name} is damaged at offset {log.offset}: {log.flaw}"
    yield from survey.gaps()
    for name, owner in survey.misplaced.items():
        yield f"{name} was moved or renamed: it belongs to {owner}"


def _is_said(error: CorruptionError, generation: Generation) -> bool:
    """Whether the flaw that an error is about stands in the list of problems anyhow."""
    files = (generation.checkpoint, generation.log)
    return any(
        one is not None and one.flaw is not None and one.offset == error.offset
        and error.path.endswith(f"/{one.name}")
        for one in files
    )  # fmt: skip
