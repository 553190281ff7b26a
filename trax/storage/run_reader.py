"""Reads a run: the newest valid checkpoint, then the logs after it.

Strategy: file names are only hints. The base is the newest checkpoint with no invalid byte. From
the newest log, the headers are followed back to the base; each header names the generation and the
position that its log continues. Logs beside that chain belong to a writer that had lost the run.
Then the chain is read forwards, each log up to the position at which the next one begins. Bytes may
be missing only at the end of the last log. Evidence alone decides whether a crash tore that end or
it was damaged later.

Nothing is changed here; `RunReader` notes the flaws for a writer to put right.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from operator import length_hint
from typing import Any, NamedTuple

from trax.errors import CorruptionError
from trax.storage.checkpoint import Checkpoint, read_checkpoint, read_meta
from trax.storage.codec import Encoded
from trax.storage.context import CREATED, TIME, Key, decode_context, has_outputs
from trax.storage.filenames import REPAIR, FileName
from trax.storage.filesystem import Directory, closing_quietly, storage_errors
from trax.storage.log import LogReader, open_log
from trax.storage.messages import (
    CALL_AGAIN,
    damaged,
    misplaced,
    owner_of,
    refusal,
    repair_call,
    unrepaired,
)
from trax.storage.process import process
from trax.storage.records import (
    HEADER_SIZE,
    NOTE,
    OVERHEAD,
    PICKLE,
    Damage,
    Forged,
    NewerVersion,
)
from trax.storage.schema import check_checkpoint, check_log

__all__ = [
    "LogPosition",
    "Recreate",
    "RunReader",
    "Torn",
    "damage_at_end",
    "find_beginning",
    "is_log_of",
    "may_lead",
]

_HEAD = OVERHEAD // 2  # of a record, before its payload


class LogPosition(NamedTuple):
    """A position in the logs: the increments since the run began, and the last one's checksum."""

    step: int
    chain: int

    @classmethod
    def of(cls, step: int, digits: str) -> LogPosition:
        """Return the position that a header block names."""
        return cls(step, int(digits, 16))


class Torn(NamedTuple):
    """The end of the last log that a crash tore, or that was damaged where nothing proves more.

    Attributes
    ----------
    name : FileName
        The log.
    offset : int
        The end of its last valid increment, in bytes.
    size : int
        The number of bytes after that.
    flaw : str
        The flaw in them.
    is_cut_short : bool
        Whether bytes are missing, as while a writer is at work.
    is_damaged : bool
        Whether no crash can have torn it: every byte of a bad record is there, and without a power
        cut a crash leaves the beginning of what was written.
    """

    name: FileName
    offset: int
    size: int
    flaw: str
    is_cut_short: bool
    is_damaged: bool


class _Head(NamedTuple):
    """The valid header of a log, whether it has or had content, and its start position.

    The mark of an empty log that is not derived counts as content: its checkpoint was stored.
    """

    generation: int
    chain: int
    has_content: bool
    after: int
    position: LogPosition
    fields: dict[str, Any]


class Beginning(NamedTuple):
    """The beginning of a run, as its first log tells it: the log, and the note in it."""

    name: FileName
    fields: dict[str, Any]
    chain: int
    context: dict[Key, bytes]


Recreate = Callable[[dict[Key, bytes]], tuple[dict[str, Any], dict[str, Encoded]] | None]


class RunReader:
    """The reader of a stored run.

    `increments` must be read to its end before `position`, `last` and `torn` are right.

    Parameters
    ----------
    directory : Directory
        The run's files.
    name : str
        The run's name.
    recreate : callable, optional
        Makes the first checkpoint again if no checkpoint is valid: it takes the context in the
        note at the beginning of the run, and returns a meta record and parts, or None if they
        would be others.
    until : int, optional
        The step at which to stop; checkpoints of later steps are not read. If what is stored does
        not lead to it, `step` is another one after all was read, or nothing is found.

    Attributes
    ----------
    found : bool
        Whether anything is stored.
    checkpoint : Checkpoint or None
        The base; None if increments were logged before the first checkpoint.
    position : LogPosition
        The position of the base, and after `increments` that of the run.
    context : dict of Key to bytes
        The positions of RNGs and output files there.
    forced_context : dict of Key to bytes
        The same at the last earlier position at which all of it is known to be on the disk.
    last : int
        The generation of the last log of the chain; 0 if there is none.
    highest : int
        The highest generation in the name of any file, including files that were set aside.
    is_recreated : bool
        Whether the base is no file: `recreate` has made it.
    broken : dict of FileName to Damage
        The newer checkpoints that are not valid.
    unborn : list of FileName
        The logs whose creation was interrupted; they never had any content.
    torn : Torn or None
        The torn end of the last log.
    unforced : dict of FileName to int
        The logs at the end of the chain, and the bytes of each that are known to be on the disk.
    run : str
        The identity of the run; empty if nothing was found.
    on_note : callable
        Called with the context of each note between the increments.
    """

    def __init__(
        self,
        directory: Directory,
        name: str,
        recreate: Recreate | None = None,
        until: int | None = None,
    ) -> None:
        self._directory = directory
        self._name = name
        self._until = until
        self.checkpoint: Checkpoint | None = None
        self.position = LogPosition(0, 0)
        self.context: dict[Key, bytes] = {}
        self.forced_context: dict[Key, bytes] = {}
        self.last = 0
        self.broken: dict[FileName, Damage] = {}
        self.unborn: list[FileName] = []
        self.torn: Torn | None = None
        self.unforced: dict[FileName, int] = {}
        self.run = ""
        self.on_note: Callable[[bytes], object] = lambda context: None  # noqa: ARG005
        names = directory.list()
        if REPAIR in names:
            raise unrepaired(directory.path, name)
        files = sorted(filter(None, map(FileName.parse, names)))
        # Files set aside count too: another writer may continue after them.
        self.highest = max(map(FileName.generation_of, names), default=0)
        self._checkpoints = [file for file in files if file.kind == "checkpoint"]
        self._logs = [file for file in files if file.kind == "log"]
        self._empty: list[_Head] = []
        self._read_ahead: Iterator[bytes] = iter(())  # increments that `position` is after
        self._unread: dict[int, Damage] = {}
        self._but = ""  # the end of the reason for which the first checkpoint cannot be replaced
        self._ways_on: tuple[str, ...] = ()
        self.base = self._find_base()
        self.is_recreated = not self.base and self._recreate_base(recreate)
        self._end = self._find_end()
        self._chain = self._follow_headers()
        self.found = bool(self._chain)

    @property
    def generations(self) -> list[int]:
        """The generations of the logs that are read, oldest first."""
        return [head.generation for head in self._chain]

    @property
    def meta(self) -> dict[str, Any]:
        """The meta record of the base; empty if there is none."""
        return self.checkpoint.meta if self.checkpoint else {}

    @property
    def replayed(self) -> int:
        """The number of increments that were read after the base."""
        base: int = self.checkpoint.fields["step"] if self.checkpoint else 0
        return self.position.step - base - length_hint(self._read_ahead)

    @property
    def step(self) -> int:
        """The step of the run, including counted steps that are not logged."""
        step: int = self.meta.get("step", self.position.step - self.replayed)
        return step + self.replayed

    @property
    def is_done(self) -> bool:
        """Whether the run has ended at this step."""
        return bool(self.meta.get("done")) and not self.replayed

    @property
    def is_at_first(self) -> bool:
        """Whether the base is the first checkpoint of the run."""
        return bool(self._chain) and not self._chain[0].after

    @property
    def has_increments(self) -> bool:
        """Whether any increment was logged after the base; nothing counts as read by that."""
        before = self.position, self.context, self.forced_context
        self.context, self.forced_context = {**self.context}, {**self.forced_context}
        found = next(self.increments(), None) is not None
        self.position, self.context, self.forced_context = before
        return found

    @property
    def log_bytes(self) -> int:
        """The bytes to replay, counted without reading them; 0 if there are none."""
        with storage_errors("reading", self._directory.path):
            sizes = [self._size(FileName("log", head.generation)) for head in self._chain]
        return sum(sizes) - HEADER_SIZE * len(sizes)

    @property
    def checkpoint_bytes(self) -> int:
        """The size of the parts of the base, in bytes."""
        return sum(part.nbytes for part in self.checkpoint.parts.values()) if self.checkpoint else 0

    def damaged_base(self, reason: str) -> CorruptionError:
        """Return the error for a base with valid bytes that make no sense."""
        return self._corrupt(FileName("checkpoint", self.base), HEADER_SIZE, reason)

    def increments(self) -> Iterator[Encoded]:
        """Yield the increments that were logged after the checkpoint, in order."""
        for batch in self.batches():
            for one in batch:
                yield Encoded(PICKLE, one, []) if isinstance(one, bytes) else one

    def batches(self) -> Iterator[Iterator[bytes] | tuple[Encoded]]:
        """Yield the increments in batches, each of which must be read to its end.

        A tuple has one increment. Else they are many, and bytes: plain pickles, with which nothing
        else was stored.
        """
        for head, following in zip(self._chain, [*self._chain[1:], None], strict=False):
            if self._is_at_end:
                return
            name = FileName("log", head.generation)
            # An exception that the caller raises between two increments does not pass through here.
            with (
                storage_errors(f"reading {name} in", self._directory.path),
                self._errors(name),
                open_log(self._directory, str(name)) as reader,
            ):
                yield from self._read(name, reader, following)
        for head in self._empty:
            # Without its checkpoint, nothing continues a log that is not derived.
            if head.fields["derived"] and (head.after, head.position) == (self.last, self.position):
                self.last = head.generation
                self.position = LogPosition(self.position.step, head.chain)
                self.unforced[FileName("log", head.generation)] = 0

    def read(self) -> None:
        """Read the run to its end and discard the increments."""
        for batch in self.batches():
            deque(batch, maxlen=0)

    def _find_base(self) -> int:
        """Read the newest valid checkpoint; return its generation, or 0."""
        for name in reversed(self._checkpoints):
            with self._errors(name):
                if self._is_later(name):
                    continue
                try:
                    checkpoint = read_checkpoint(self._directory, name)
                    check_checkpoint(checkpoint.fields)
                    if "state" not in checkpoint.parts:
                        raise Damage("it has no state", HEADER_SIZE)
                except Damage as damage:
                    self.broken[name] = damage
                    continue
            fields = checkpoint.fields
            self._check_identity(name, fields)
            self.checkpoint = checkpoint
            self.position = LogPosition.of(fields["step"], fields["chain"])
            if "context" in checkpoint.parts:
                self.context = decode_context(checkpoint.parts["context"].payload)
                self.forced_context = dict(self.context)
            return name.generation
        return 0

    def _is_later(self, name: FileName) -> bool:
        """Return whether a checkpoint is not to be read, being of a later step."""
        if self._until is None:
            return False
        try:
            step: int = read_meta(self._directory, name)["step"]
        except Damage:
            return True  # if it is not, and nothing else leads to its step, none is found
        return step > self._until

    def _find_end(self) -> int:
        """Return the number of increments in the logs at which to stop."""
        if self._until is None:
            return sys.maxsize
        return self.position.step + self._until - self.step

    @property
    def _is_at_end(self) -> bool:
        return self.position.step >= self._end

    def _recreate_base(self, recreate: Recreate | None) -> bool:
        """Have the first checkpoint made again, if the first log tells what it was."""
        beginning = find_beginning(self._directory, self._logs)
        if beginning is None:
            return False
        if recreate is None:
            self._ways_on = (CALL_AGAIN,)
            return False
        name, fields, chain, context = beginning
        self._check_identity(name, fields)
        with self._errors(name):
            made = recreate(context)
        if made is None:
            self._but = ", and create does not make the first state again"
            return False
        keys = ("run", "name", "generation")
        about = {key: fields[key] for key in keys} | {"log": f"{chain:016x}"}
        about |= {"step": 0, "chain": f"{0:016x}", "written": process.time()}
        self.checkpoint = Checkpoint(about, *made)
        self.base = name.generation
        self.context = {key: value for key, value in context.items() if key != CREATED}
        return True

    def _follow_headers(self) -> list[_Head]:
        """Return the logs from the base on, oldest first, as the headers declare them."""
        heads = self._read_heads()
        chain: list[_Head] = []
        if self.base and self.base not in heads:
            raise self._missing(self.base, "this log, which continues the checkpoint, is missing")
        self._check_derivation(heads)
        generation = self._set_empty_apart(heads)
        while generation:
            if generation not in heads:
                if self._until is not None and not chain:  # one without increments was removed
                    generation = max((n for n in heads if n < generation), default=0)
                    continue
                self._refuse_without_base()
                if self._until is not None and not self.base:
                    return []
                reason = "it is missing, and so is any checkpoint that could replace it"
                raise self._missing(generation, reason)
            head = heads[generation]
            if generation != self.base and head.after and not head.fields["derived"]:
                if self._until is None:
                    reason = "the checkpoint that this log continues is missing"
                    raise self._missing(generation, reason)
                chain.clear()  # its checkpoint is of a later step, and nothing else leads to it
            else:
                chain.append(head)
            generation = 0 if generation == self.base else head.after
        chain.reverse()
        if self._until is not None and not self.base and not _is_first(chain):
            return []
        self._check_start(chain)
        return chain

    def _check_derivation(self, heads: dict[int, _Head]) -> None:
        """Refuse to replace a broken checkpoint by files that do not lead to the same state."""
        for name, damage in self.broken.items():
            head = heads.get(name.generation)
            if head is None or not head.fields["derived"]:
                raise self._corrupt(
                    name,
                    damage.offset,
                    f"{damage}, and an older checkpoint does not lead to the same state",
                )

    def _set_empty_apart(self, heads: dict[int, _Head]) -> int:
        """Set the empty logs at the end apart; return the newest log with content."""
        # The writer of an empty log may have died or failed before the log mattered. Then the end
        # that it declares for the log before is no reason to discard content, there or elsewhere.
        newest = self._find_newest(heads)
        self._empty = [head for number, head in sorted(heads.items()) if number > newest]
        firsts = [number for number, head in heads.items() if not head.after]
        return newest or max(firsts or heads, default=0)

    def _find_newest(self, heads: dict[int, _Head]) -> int:
        """Return the newest log with content, or 0."""
        # A log that a crash tore completely counts as empty if another writer continued beside it.
        # Increments that the other writer acknowledged may be stored. They must be found now, as
        # they are once the torn log has been cut.
        filled = sorted(
            number for number, head in heads.items() if number == self.base or head.has_content
        )
        torn = []
        while len(filled) > 1 and self._is_torn_whole(heads[filled[-1]]):
            torn.append(filled.pop())
        before = max(filled, default=0)
        return next((one for one in torn if not self._is_contested(heads, one, before)), before)

    def _is_torn_whole(self, head: _Head) -> bool:
        """Return whether a crash tore the whole content of a log."""
        if not head.fields["derived"]:
            return False  # its checkpoint counted before its first increment, and is missing
        name = FileName("log", head.generation)
        with self._errors(name), open_log(self._directory, str(name)) as reader:
            if reader.durable > HEADER_SIZE:
                return False
            return (
                next(iter(reader), None) is None
                and damage_at_end(reader, self._directory.boot) is None
            )

    def _is_contested(self, heads: dict[int, _Head], torn: int, before: int) -> bool:
        """Return whether another writer continued beside a completely torn log."""
        head = heads[torn]
        while head.after > before and head.after in heads:  # that one is empty too
            head = heads[head.after]
        if head.after != before:
            return head.after in heads
        return self._has_records_after(before, head.position)

    def _has_records_after(self, generation: int, position: LogPosition) -> bool:
        """Return whether a log has records after a position."""
        name = FileName("log", generation)
        with self._errors(name), open_log(self._directory, str(name)) as reader:
            begin = reader.fields["after"][1]
            records = iter(reader)
            while LogPosition(begin + reader.count, reader.chain) != position:
                if next(records, None) is None:
                    return False
            return next(records, None) is not None

    def _read_heads(self) -> dict[int, _Head]:
        """Read the headers of all logs from the base on."""
        heads = {}
        for name in self._logs:
            if name.generation < self.base:
                continue
            with self._errors(name):
                try:
                    with open_log(self._directory, str(name)) as reader:
                        fields = reader.fields
                        check_log(fields)
                        chain = reader.chain
                        has_content = reader.has_content
                except Damage as damage:
                    # A header is durable before anything depends on it. Whether anything does is
                    # seen later: the log may be left over from a start that failed.
                    if self._size(name) > HEADER_SIZE:
                        raise
                    self.unborn.append(name)
                    self._unread[name.generation] = damage
                    continue
            self._check_identity(name, fields)
            after, *place = fields["after"]
            position = LogPosition.of(*place)
            heads[name.generation] = _Head(
                name.generation, chain, has_content, after, position, fields
            )
        return heads

    def _check_start(self, chain: list[_Head]) -> None:
        """Refuse a chain that does not begin at the base."""
        if not chain:
            self._refuse_without_base()
            return
        first = chain[0]
        name = FileName("log", first.generation)
        fields = self.checkpoint.fields if self.checkpoint else None
        if fields and not is_log_of(fields, first.fields, first.chain):
            reason = "this log is not the one that its checkpoint names"
            raise self._corrupt(name, 0, reason)
        if first.position != self.position or (not self.base and first.after != 0):
            if not self.base:
                self._refuse_without_base()
                reason = f"the checkpoint that this log continues is missing{self._but}"
            else:
                reason = "this log does not continue the checkpoint of its generation"
            raise self._corrupt(name, 0, reason)
        if not self.base and first.fields["origin"] != "create":
            self._refuse_without_base()
            if len(chain) > 1 or first.has_content:
                reason = f"the checkpoint that this log continues is missing{self._but}"
                raise self._corrupt(name, 0, reason)
            # The run died between its first log and its first checkpoint: it never began.
            self.unborn += [FileName("log", head.generation) for head in self._empty]
            self.run = ""
            self._empty.clear()
            chain.clear()

    def _refuse_without_base(self) -> None:
        if not self.base:
            for name, damage in self.broken.items():
                reason = f"{damage}, and there is no older checkpoint{self._but}"
                raise self._corrupt(name, damage.offset, reason)

    def _read(
        self, name: FileName, reader: LogReader, following: _Head | None
    ) -> Iterator[Iterator[bytes] | tuple[Encoded]]:
        """Yield the increments of one log, up to the beginning of the following one."""
        begin = self.position.step
        self.position = LogPosition(begin, reader.chain)
        self.last = name.generation
        self.unforced = {name: reader.durable}
        # The files that a log refers to are forced before another log continues it, even if that
        # one stays empty.
        proven = max(
            (head.position.step for head in self._empty if head.after == name.generation), default=0
        )
        boot = self._directory.boot
        records = iter(reader)
        context: bytes | bytearray = b""
        stop = self._end
        while self.position.step < stop and (
            following is None or self._is_before(following.position)
        ):
            # After a context, there is likely another one.
            if not context and (plain := self._plain(reader, following)):
                self.position = LogPosition(begin + reader.count, reader.chain)
                self._read_ahead = iter(plain)
                yield self._read_ahead
                continue
            end = reader.offset
            encoded = next(records, None)
            if encoded is None:
                break
            is_proven = following is not None or begin + reader.count <= proven
            if not is_proven and may_lead(reader, self.context, boot):
                flaw = "a step may have reached the disk before its output files did"
                self.torn = Torn(name, end, reader.size - end, flaw, True, False)
                return
            self.position = LogPosition(begin + reader.count, reader.chain)
            context = encoded.payload if encoded.kind == NOTE else encoded.context
            if context:
                entries = decode_context(context, end + _HEAD)
                entries.pop(CREATED, None)
                entries.pop(TIME, None)
                self.context |= entries
                # The files are forced before the log is, and before the next log begins.
                if following is not None or reader.offset <= reader.durable:
                    self.forced_context |= entries
            if encoded.kind != NOTE:
                yield (encoded,)
            else:
                self.on_note(bytes(context))
        if self._is_at_end:
            return
        if following is None:
            self._judge_end(name, reader)
        elif self.position != following.position:
            flaw = reader.flaw or f"it ends before {FileName('log', following.generation)} begins"
            raise self._corrupt(name, reader.flaw_offset, flaw)

    def _plain(self, reader: LogReader, following: _Head | None) -> list[bytes]:
        """Return increments without a context that are at hand, up to the following log."""
        end = self._end if following is None else min(self._end, following.position.step)
        if following is not None:
            return reader.plain(end - self.position.step)
        if _may_reorder(reader, self.context, self._directory.boot):
            return []  # it is judged of each whether it may be on the disk without its output
        return reader.plain(end - self.position.step)

    def _is_before(self, position: LogPosition) -> bool:
        return self.position != position and self.position.step <= position.step

    def _judge_end(self, name: FileName, reader: LogReader) -> None:
        """Decide by evidence whether the end of the last log was torn or damaged."""
        damage = damage_at_end(reader, self._directory.boot)
        if damage:
            raise self._corrupt(name, reader.flaw_offset, damage)
        if reader.flaw is not None:
            is_damaged = not reader.is_cut_short and _is_same_boot(reader, self._directory.boot)
            self.torn = Torn(
                name,
                reader.offset,
                reader.size - reader.offset,
                reader.flaw,
                reader.is_cut_short,
                is_damaged,
            )

    def way_back(self, step: int) -> str:
        """Return the way on that takes the run back to an earlier step."""
        call = repair_call(self._name, self._directory.path, step)
        return f"Or go back to step {step:,} with {call}, which keeps a copy of all files."

    def _check_identity(self, name: FileName, fields: dict[str, Any]) -> None:
        owner = owner_of(name, fields, self._name, self.run)
        if owner:
            path = f"{self._directory.path}/{name}"
            raise misplaced(path, owner, "read the run under its own name")
        self.run = fields["run"]

    def _size(self, name: FileName) -> int:
        source = self._directory.open(str(name))
        with closing_quietly(source):
            return source.size

    def _missing(self, generation: int, reason: str) -> CorruptionError:
        damage = self._unread.get(generation, Damage(reason, 0))
        return self._corrupt(FileName("log", generation), damage.offset, damage.reason)

    def _corrupt(self, name: FileName, offset: int, reason: str) -> CorruptionError:
        path = self._directory.path
        return damaged(path, name, self._name, offset, reason, *self._ways_on)

    @contextlib.contextmanager
    def _errors(self, name: FileName) -> Iterator[None]:
        """Turn a finding in a file into an error with its place and the ways on."""
        try:
            yield
        except Damage as damage:
            raise self._corrupt(name, damage.offset, damage.reason) from None
        except (NewerVersion, Forged) as found:
            raise refusal(f"{self._directory.path}/{name}", found) from None


def _is_first(chain: list[_Head]) -> bool:
    """Return whether a chain of logs is that of a run which begins with them."""
    return bool(chain) and not chain[0].after and chain[0].fields["origin"] == "create"


def is_log_of(checkpoint: dict[str, Any], log: dict[str, Any], chain: int) -> bool:
    """Return whether a checkpoint's header names this log, or a repair has created the log."""
    return bool(checkpoint["log"] == f"{chain:016x}" or log["origin"] == "repair")


def find_beginning(directory: Directory, logs: Iterable[FileName]) -> Beginning | None:
    """Return the beginning of a run, if its first log is there and tells it; `logs` are sorted."""
    for name in logs:
        with (
            contextlib.suppress(Damage, NewerVersion, Forged),
            open_log(directory, str(name)) as reader,
        ):
            fields = reader.fields
            check_log(fields)
            chain = reader.chain
            note = next(iter(reader), None)
            if fields["after"][0] or note is None or note.kind != NOTE:
                return None
            context = decode_context(note.payload)
            return Beginning(name, fields, chain, context) if CREATED in context else None
    return None


def damage_at_end(reader: LogReader, boot: str) -> str | None:
    """Return the damage at the end of a log; None if it is whole, or a crash tore it."""
    flaw = reader.flaw
    if reader.offset < reader.durable:
        flaw = flaw or "the file ends"
        return f"{flaw}, but {reader.durable} bytes of it were forced to the disk"
    # Without a reboot, the written bytes cannot have been reordered.
    same_boot = _is_same_boot(reader, boot)
    if flaw is not None and (same_boot or reader.fields["sync"] == "always"):
        # Each increment was forced before the next began; the records in it were not.
        offset = reader.valid_after(beginning=not same_boot)
        if offset is not None:
            return f"{flaw}, with valid data at offset {offset}"
    return None


def may_lead(reader: LogReader, context: Iterable[Key], boot: str) -> bool:
    """Return whether the last record may be on the disk without the output of its step.

    Output files are forced to the disk before the log is. But without a sync, a system writes in
    any order; that matters only after a reboot.
    """
    return reader.offset > reader.durable and _may_reorder(reader, context, boot)


def _may_reorder(reader: LogReader, context: Iterable[Key], boot: str) -> bool:
    return (
        reader.fields["sync"] != "always"
        and not _is_same_boot(reader, boot)
        and has_outputs(context)
    )


def _is_same_boot(reader: LogReader, boot: str) -> bool:
    return bool(boot) and reader.fields["boot"] == boot
