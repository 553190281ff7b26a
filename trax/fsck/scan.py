"""Scans a run: each file is read by itself, even if others are damaged.

`RunReader` stops at the first flaw that matters. A scan continues: every checkpoint and every log
is read to its end or to its flaw, and the increments after the flaw are counted. Nothing is
unpickled or changed.
"""

from __future__ import annotations

import contextlib
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any

from trax.fsck.files import CheckpointFile, LogFile
from trax.fsck.salvage import count_increments
from trax.storage.checkpoint import read_checkpoint, read_meta
from trax.storage.context import Key, decode_context
from trax.storage.filenames import JOURNAL, FileName
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
from trax.storage.run_reader import LogPosition
from trax.storage.schema import check_checkpoint, check_log

__all__ = ["Scan"]


class Scan:
    """The files of a run, each read by itself.

    Attributes
    ----------
    checkpoints : dict of int to CheckpointFile
        The checkpoints by generation, oldest first.
    logs : dict of int to LogFile
        The logs by generation, oldest first.
    others : list of str
        The names of all other files.
    misplaced : dict of str to str
        The names of valid files that belong elsewhere, and their owners.

    Raises
    ------
    FormatVersionError
        A newer trax wrote one of the files.
    UntrustedError
        One of them was signed without the key.
    """

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        names = {text: FileName.parse(text) for text in sorted(directory.list())}
        self.others = [text for text, file in names.items() if file is None and text != JOURNAL]
        files = sorted(filter(None, names.values()), key=lambda file: file.generation)
        # Headers come first: in a log that is being written, a position that a header names was
        # reached before that header was written.
        heads = {file: self._read_head(file) for file in files}
        self.checkpoints = {
            file.generation: _read_checkpoint(directory, file, fields)
            for file, fields in heads.items()
            if file.kind == "checkpoint"
        }
        named = [place for file, fields in heads.items() if (place := _continued(file, fields))]
        self.logs = {
            file.generation: _read_log(directory, file, named)
            for file in files
            if file.kind == "log"
        }
        self.misplaced = self._find_misplaced(name)

    @property
    def files(self) -> list[CheckpointFile | LogFile]:
        """All checkpoints and logs, oldest first."""
        found: list[CheckpointFile | LogFile] = [*self.checkpoints.values(), *self.logs.values()]
        return sorted(found, key=lambda one: (one.generation, one.file.kind))

    @property
    def newest(self) -> int:
        """The newest generation; 0 if there is none."""
        return max([*self.checkpoints, *self.logs], default=0)

    def gaps(self) -> Iterator[str]:
        """Yield a line for each gap between one log and the next."""
        oldest = min(self.checkpoints, default=0)
        for number, checkpoint in self.checkpoints.items():
            if number not in self.logs:
                yield f"{FileName('log', number)}, which continues {checkpoint.name}, is missing"
        for log in self.logs.values():
            if not log.fields or not log.has_content or not log.after or log.after < oldest:
                continue
            before = self.logs.get(log.after)
            # Before a log to which its checkpoint alone leads, an empty one may have been removed.
            is_needed = log.fields["derived"]
            if before is None and is_needed and log.after not in self.checkpoints:
                yield f"{FileName('log', log.after)}, which {log.name} continues, is missing"
            elif before is not None and before.flaw is None and log.position not in before.reached:
                yield f"{before.name} ends before {log.name} begins"

    def _read_head(self, file: FileName) -> dict[str, Any]:
        """Return the fields of a header block; none if it is not valid."""
        source = self._directory.open(str(file))
        with closing_quietly(source):
            try:
                block = source.read_at(0, HEADER_SIZE)
                fields = decode_header(file.kind, block, self._directory.key)[0]
                (check_log if file.kind == "log" else check_checkpoint)(fields)
            except Damage:
                return {}
            except (NewerVersion, Forged) as found:
                raise refusal(f"{self._directory.path}/{file}", found) from None
            return fields

    def _find_misplaced(self, name: str) -> dict[str, str]:
        with_header = [one for one in self.files if one.fields]
        whole = [one for one in with_header if one.flaw is None]
        run = (whole or with_header)[-1].fields["run"] if with_header else ""
        owners = {one.name: owner_of(one.file, one.fields, name, run) for one in with_header}
        return {name: owner for name, owner in owners.items() if owner}


def _continued(file: FileName, fields: dict[str, Any]) -> tuple[int, LogPosition] | None:
    """Return the generation that a log continues by its header, and the position in it."""
    if file.kind != "log" or not fields:
        return None
    after, *position = fields["after"]
    return after, LogPosition.of(*position)


def _read_checkpoint(
    directory: Directory, file: FileName, fields: dict[str, Any]
) -> CheckpointFile:
    flaw, offset = None, None
    meta: dict[str, Any] = {}
    context: dict[Key, bytes] = {}
    source = directory.open(str(file))
    with closing_quietly(source):
        size = source.size
    try:
        checkpoint = read_checkpoint(directory, file)
        check_checkpoint(checkpoint.fields)
    except Forged as forged:
        raise refusal(f"{directory.path}/{file}", forged) from None
    except Damage as damage:
        flaw, offset = damage.reason, damage.offset
        with contextlib.suppress(Damage):
            meta = read_meta(directory, file)
    else:
        fields, meta = checkpoint.fields, checkpoint.meta
        if part := checkpoint.parts.get("context"):
            context = decode_context(part.payload)
    step = meta.get("step", fields.get("step"))
    return CheckpointFile(str(file), size, step, flaw, offset, fields, meta, context)


def _read_log(
    directory: Directory, file: FileName, named: list[tuple[int, LogPosition]]
) -> LogFile:
    source = directory.open(str(file))
    with closing_quietly(source):
        try:
            reader = LogReader(source, directory.key)
            check_log(reader.fields)
        except Damage as damage:
            return _without_head(source, file, damage)
        chain = reader.chain
        wanted = {position for generation, position in named if generation == file.generation}
        try:
            reached, flaw, offset = _read_to_flaw(reader, wanted)
        except Forged as forged:
            raise refusal(f"{directory.path}/{file}", forged) from None
        salvaged, is_exact = 0, True
        if flaw is not None:
            inside = offset > reader.offset
            salvaged, is_exact = count_increments(source, offset, reader.size, inside=inside)
        if reader.size < reader.durable:
            lacks = f"the file ends, but {reader.durable} bytes of it were forced to the disk"
            flaw, is_exact = flaw or lacks, False
        return LogFile(
            name=str(file),
            size=reader.size,
            durable=reader.durable,
            begins=reader.fields["after"][1],
            count=reader.count,
            is_needed=False,
            is_torn=False,
            flaw=flaw,
            offset=offset if flaw else None,
            fields=reader.fields,
            chain=chain,
            salvaged=salvaged,
            is_exact=is_exact,
            reached=frozenset(reached),
        )


def _read_to_flaw(
    reader: LogReader, wanted: set[LogPosition]
) -> tuple[set[LogPosition], str | None, int]:
    """Read a log to its end or flaw; return the wanted positions in it, and the flaw."""
    begin = step = reader.fields["after"][1]
    reached = wanted & {LogPosition(begin, reader.chain)}
    ahead = sorted(position.step for position in wanted)
    records: Iterator[object] = iter(reader)
    try:
        while reader.plain(_distance(ahead, step)) or next(records, None) is not None:
            step = begin + reader.count
            reached |= wanted & {LogPosition(step, reader.chain)}
    except Damage as damage:  # a valid record in a wrong place
        return reached, damage.reason, damage.offset
    return reached, reader.flaw, reader.flaw_offset


def _distance(ahead: Sequence[int], step: int) -> int:
    """Return the number of steps to the next of some that lies ahead."""
    at = bisect_right(ahead, step)
    return ahead[at] - step if at < len(ahead) else sys.maxsize


def _without_head(source: Input, file: FileName, damage: Damage) -> LogFile:
    """Return the findings in a log whose header block is not valid."""
    size, durable = source.size, 0
    salvaged, is_exact = 0, False
    if size >= HEADER_SIZE:
        # The checksum that seeds the first record may still be there.
        salvaged, is_exact = count_increments(source, HEADER_SIZE, size, inside=False)
        durable = decode_durable(source.read_at(0, HEADER_SIZE))
    return LogFile(
        name=str(file),
        size=size,
        durable=durable,
        begins=None,
        count=0,
        is_needed=False,
        is_torn=False,
        flaw=damage.reason,
        offset=damage.offset,
        fields={},
        chain=0,
        salvaged=salvaged,
        is_exact=is_exact and durable <= size,
        reached=frozenset(),
    )
