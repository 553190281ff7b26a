"""What each file of a run holds, whatever is wrong with the others.

`Recovery` stops at the first thing that does not hold. This goes on, for those who want to know
what there is: every checkpoint and every log is read to its end, or to where it stops holding,
and what stands behind such a place is counted. Nothing is unpickled, and nothing is changed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from trax.fsck.salvage import count_behind
from trax.storage.checkpoint import read_checkpoint, read_meta
from trax.storage.context import Key, decode_context
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory, Input, closing_quietly
from trax.storage.log import LogReader
from trax.storage.messages import owner_of, refusal
from trax.storage.records import (
    HEADER_SIZE,
    Damage,
    Forged,
    NewerVersion,
    decode_durable,
    decode_header,
)
from trax.storage.run_reader import Position
from trax.storage.schema import check_checkpoint, check_log

__all__ = ["FoundCheckpoint", "FoundLog", "Survey"]


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """A checkpoint file.

    Attributes
    ----------
    name : FileName
        Its name.
    size : int
        Its length, in bytes.
    flaw : str or None
        Why it does not hold, from `offset` on; None where every byte of it does.
    offset : int
        Where it stops holding.
    fields : dict
        What its header block says; empty where that does not hold.
    meta : dict
        Its meta record; empty where that does not hold.
    context : dict of Key to bytes
        The positions of RNGs and output files; empty where it does not hold.
    """

    name: FileName
    size: int
    flaw: str | None = None
    offset: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    context: dict[Key, bytes] = field(default_factory=dict)

    @property
    def position(self) -> Position:
        """Where in the logs it was taken."""
        return Position.of(self.fields["step"], self.fields["chain"])

    @property
    def step(self) -> int | None:
        """At which step of the run it was taken, where it still says so."""
        step: int | None = self.meta.get("step", self.fields.get("step"))
        return step


@dataclass(frozen=True, slots=True)
class FoundLog:
    """A log file.

    Attributes
    ----------
    name : FileName
        Its name.
    size : int
        Its length, in bytes.
    flaw : str or None
        Why it stops holding at `offset`, or None.
    offset : int
        Where it stops holding; without a flaw, its length.
    fields : dict
        What its header block says; empty where that does not hold.
    chain : int
        The checksum of its header block.
    durable : int
        How many bytes of it are known to have been forced to the disk.
    count : int
        How many increments it holds before it stops holding.
    behind : int
        How many increments can be counted behind that.
    is_exact : bool
        Whether `count` and `behind` are all that there ever were, as far as anything says.
    reached : set of Position
        Those places in it that other logs name as their beginning.
    """

    name: FileName
    size: int
    flaw: str | None = None
    offset: int = 0
    fields: dict[str, Any] = field(default_factory=dict)
    chain: int = 0
    durable: int = 0
    count: int = 0
    behind: int = 0
    is_exact: bool = False
    reached: frozenset[Position] = frozenset()

    @property
    def after(self) -> int:
        """The generation that it continues."""
        after: int = self.fields["after"][0]
        return after

    @property
    def position(self) -> Position:
        """The place that it continues."""
        _, *place = self.fields["after"]
        return Position.of(*place)

    @property
    def holds_something(self) -> bool:
        """Whether there is, or was, anything behind the header block."""
        return max(self.size, self.durable) > HEADER_SIZE


class Survey:
    """The files of a run, each read for itself.

    Attributes
    ----------
    checkpoints : dict of int to FoundCheckpoint
        By generation, oldest first.
    logs : dict of int to FoundLog
        By generation, oldest first.
    others : list of str
        The names of all other files.
    misplaced : dict of FileName to str
        Files that hold, but belong elsewhere, and where.

    Raises
    ------
    FormatVersionError
        A newer trax wrote one of them.
    UntrustedError
        Whoever wrote one of them had not the key.
    """

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        files = []
        self.others: list[str] = []
        for text in sorted(directory.list()):
            file = FileName.parse(text)
            if file is None:
                self.others.append(text)
            else:
                files.append(file)
        files.sort(key=lambda file: file.generation)
        # Headers come before contents: of a log that is being written nothing is named then that
        # is not there yet.
        heads = {file: self._read_head(file) for file in files}
        self.checkpoints = {
            file.generation: _read_checkpoint(directory, file, fields)
            for file, fields in heads.items()
            if file.kind == "checkpoint"
        }
        named = [place for file, fields in heads.items() if (place := _place(file, fields))]
        self.logs = {
            file.generation: _read_log(directory, file, named)
            for file in files
            if file.kind == "log"
        }
        self.misplaced = self._find_misplaced(name)

    def gaps(self) -> Iterator[str]:
        """Say where something is missing between one log and the next."""
        oldest = min(self.checkpoints, default=0)
        for number, checkpoint in self.checkpoints.items():
            if number not in self.logs:
                yield f"{FileName('log', number)}, which continues {checkpoint.name}, is missing"
        for log in self.logs.values():
            if not log.fields or not log.holds_something or not log.after or log.after < oldest:
                continue
            before = self.logs.get(log.after)
            if before is None and log.after not in self.checkpoints:
                yield f"{FileName('log', log.after)}, which {log.name} continues, is missing"
            elif before is not None and before.flaw is None and log.position not in before.reached:
                yield f"{before.name} ends before {log.name} begins"

    def _read_head(self, name: FileName) -> dict[str, Any]:
        """Return what a header block says; nothing where it does not hold."""
        source = self._directory.open(str(name))
        with closing_quietly(source):
            try:
                block = source.read_at(0, HEADER_SIZE)
                fields = decode_header(name.kind, block, self._directory.key)[0]
                (check_log if name.kind == "log" else check_checkpoint)(fields)
            except Damage:
                return {}
            except (NewerVersion, Forged) as found:
                raise refusal(f"{self._directory.path}/{name}", found) from None
            return fields

    @property
    def files(self) -> list[FoundCheckpoint | FoundLog]:
        """All checkpoints and logs, oldest first."""
        found: list[FoundCheckpoint | FoundLog] = [*self.checkpoints.values(), *self.logs.values()]
        return sorted(found, key=lambda one: (one.name.generation, one.name.kind))

    @property
    def newest(self) -> int:
        """The newest generation."""
        return max([*self.checkpoints, *self.logs], default=0)

    def _find_misplaced(self, name: str) -> dict[FileName, str]:
        with_header = [one for one in self.files if one.fields]
        whole = [one for one in with_header if one.flaw is None]
        run = (whole or with_header)[-1].fields["run"] if with_header else ""
        owners = {one.name: owner_of(one.name, one.fields, name, run) for one in with_header}
        return {file: owner for file, owner in owners.items() if owner}


def _place(name: FileName, fields: dict[str, Any]) -> tuple[int, Position] | None:
    """Return the place that a log names as its beginning: a generation, and where in it."""
    if name.kind != "log" or not fields:
        return None
    after, *place = fields["after"]
    return after, Position.of(*place)


def _read_checkpoint(
    directory: Directory, name: FileName, fields: dict[str, Any]
) -> FoundCheckpoint:
    source = directory.open(str(name))
    with closing_quietly(source):
        size = source.size
    try:
        checkpoint = read_checkpoint(directory, name)
        check_checkpoint(checkpoint.fields)
    except Forged as forged:
        raise refusal(f"{directory.path}/{name}", forged) from None
    except Damage as damage:
        meta: dict[str, Any] = {}
        with contextlib.suppress(Damage):
            meta = read_meta(directory, name)
        return FoundCheckpoint(name, size, damage.reason, damage.offset, fields, meta)
    part = checkpoint.parts.get("context")
    context = decode_context(part.payload) if part else {}
    return FoundCheckpoint(name, size, None, size, checkpoint.fields, checkpoint.meta, context)


def _read_log(directory: Directory, name: FileName, named: list[tuple[int, Position]]) -> FoundLog:
    source = directory.open(str(name))
    with closing_quietly(source):
        try:
            reader = LogReader(source, directory.key)
            check_log(reader.fields)
        except Damage as damage:
            return _without_head(source, name, damage)
        chain = reader.chain
        wanted = {place for generation, place in named if generation == name.generation}
        try:
            reached, flaw, offset = _walk(reader, wanted)
        except Forged as forged:
            raise refusal(f"{directory.path}/{name}", forged) from None
        behind, is_exact = 0, True
        if flaw is not None:
            inside = offset > reader.offset
            behind, is_exact = count_behind(source, offset, reader.size, inside=inside)
        if reader.size < reader.durable:
            lacks = f"the file ends, but {reader.durable} bytes of it were forced to the disk"
            flaw, is_exact = flaw or lacks, False
        return FoundLog(
            name=name,
            size=reader.size,
            flaw=flaw,
            offset=offset,
            fields=reader.fields,
            chain=chain,
            durable=reader.durable,
            count=reader.count,
            behind=behind,
            is_exact=is_exact,
            reached=frozenset(reached),
        )


def _walk(reader: LogReader, wanted: set[Position]) -> tuple[set[Position], str | None, int]:
    """Read a log; return which of the places it comes by, and why and where it stops holding."""
    begin = reader.fields["after"][1]
    reached = wanted & {Position(begin, reader.chain)}
    try:
        for _ in reader:
            reached |= wanted & {Position(begin + reader.count, reader.chain)}
    except Damage as damage:  # what holds there does not belong there
        return reached, damage.reason, damage.offset
    return reached, reader.flaw, reader.flaw_offset


def _without_head(source: Input, name: FileName, damage: Damage) -> FoundLog:
    """Return what can be known of a log whose header block does not hold."""
    size = source.size
    if size < HEADER_SIZE:
        return FoundLog(name, size, damage.reason, damage.offset)
    # The checksum that the first record is seeded with may still stand there.
    behind, is_exact = count_behind(source, HEADER_SIZE, size, inside=False)
    durable = decode_durable(source.read_at(0, HEADER_SIZE))
    return FoundLog(
        name=name,
        size=size,
        flaw=damage.reason,
        offset=damage.offset,
        durable=durable,
        behind=behind,
        is_exact=is_exact and durable <= size,
    )
