"""Reads the increments of a run from the oldest that is stored, with their steps and times.

Strategy: from the newest log the headers are followed back as far as there are logs. Then each is
read up to the place that the next one names, some increments at a time. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import NamedTuple

from trax.errors import CorruptionError, NotFoundError, StorageError, TraxError
from trax.storage.checkpoint import read_meta
from trax.storage.codec import Encoded
from trax.storage.context import TIME, decode_context
from trax.storage.filenames import REPAIR, FileName
from trax.storage.filesystem import Directory, closing_quietly, storage_errors
from trax.storage.log import LogReader, open_log
from trax.storage.messages import damaged, misplaced, owner_of, refusal, unrepaired
from trax.storage.records import HEADER_SIZE, NOTE, Damage, Forged, NewerVersion
from trax.storage.run_reader import LogPosition, damage_at_end
from trax.storage.schema import check_log
from trax.storage.store import Store, Stored

__all__ = ["Batch", "HistoryReader", "Past", "read_batches", "read_history"]

_TIME = struct.Struct("<d")
_INTERVAL = 1.0  # seconds: after that, the time is noted before the next increment
_WAITING = 1 << 22  # bytes, at most, of increments that wait for the time after them
_EACH = 64  # bytes that one takes beside what is stored of it

_Increments = Sequence[bytes | Encoded]


class Past(NamedTuple):
    """One increment as it is stored, with its step and its time; None if it is not known."""

    step: int
    time: float | None
    increment: bytes | Encoded


class Batch(NamedTuple):
    """Increments of steps that follow one another, with their times.

    `chain` is the checksum of the record of the last one.
    """

    first: int
    times: Sequence[float | None]
    increments: _Increments
    chain: int

    @property
    def steps(self) -> range:
        """Their steps."""
        return range(self.first, self.first + len(self.increments))

    def pasts(self) -> Iterator[Past]:
        """Return them one by one."""
        return map(Past, self.steps, self.times, self.increments)


class _Piece(NamedTuple):
    """Increments that were read together, the step of the first, and about their size in bytes.

    `chain` is the checksum of the record of the last one, unless those at the end are left out.
    """

    first: int
    increments: _Increments
    size: int
    chain: int


class _Head(NamedTuple):
    """The beginning of a log, and the log before it.

    If it does not derive from that one, only the number of increments before it is known. `begun`
    is the time of its beginning; None in the first log, which a fork writes later than its steps.
    """

    generation: int
    run: str
    after: int
    position: LogPosition
    is_derived: bool
    header: int  # its checksum, which is that of no other log
    begun: float | None


def read_history(store: Store, name: str, start: int | None, stop: int | None) -> Iterator[Past]:
    """Return an iterator over the same as `read_batches`, one by one."""
    return chain.from_iterable(batch.pasts() for batch in read_batches(store, name, start, stop))


def read_batches(store: Stored, name: str, start: int | None, stop: int | None) -> Iterator[Batch]:
    """Yield the increments of the steps from `start` until before `stop`, without a lock.

    By default they begin with the oldest one that is stored. If a log is removed before it is read,
    the chain of logs is followed anew.

    Raises
    ------
    NotFoundError
        Increments from `start` on are not stored, or were removed while the others were read.
    CorruptionError
        A file is damaged.
    """
    run = failure = ""
    known: set[_Head] = set()
    chain_before: int | None = None
    while True:
        seen = store.look(name)
        try:
            with store.reading(name) as directory:
                reader = HistoryReader(directory, name)
            if start is None:
                start = reader.first
            if run and run != reader.run:
                raise NotFoundError(
                    f"the run {name!r} was started over while its history was read, at step "
                    f"{start:,}.\nRead it again."
                )
            if start < reader.first:
                raise _missing(name, start, reader.first)
            with storage_errors("reading", directory.path):
                if chain_before is not None and not reader.has(start - 1, chain_before, known):
                    raise NotFoundError(
                        f"the run {name!r} was rewound while its history was read, at step "
                        f"{start:,}.\nRead it again."
                    )
                run, known = reader.run, reader.heads
                for batch in reader.read(start, stop):
                    yield batch
                    start, chain_before = batch.steps.stop, batch.chain
        except (CorruptionError, FileNotFoundError, StorageError) as error:
            if store.look(name) == seen or str(error) == failure:
                raise
            failure = str(error)
        else:
            return


class HistoryReader:
    """The increments of a run that are stored.

    Parameters
    ----------
    directory : Directory
        The run's files.
    name : str
        The run's name.

    Attributes
    ----------
    run : str
        The identity of the run; empty if nothing is stored.
    first : int
        The first step of which the increment can be stored.

    Raises
    ------
    CorruptionError
        A file is damaged, or a repair was not finished.
    """

    def __init__(self, directory: Directory, name: str) -> None:
        self._directory = directory
        self._name = name
        self._chain = self._follow_back()
        self.run = self._chain[0].run if self._chain else ""
        shifts = (self._find_shift(head) for head in self._chain)
        self._shift = next((one for one in shifts if one is not None), 0)
        self.first = self._chain[0].position.step + self._shift + 1 if self._chain else 1

    def read(self, start: int, stop: int | None = None) -> Iterator[Batch]:
        """Yield the increments of the steps from `start` until before `stop`.

        They end where the newest log ends when this is begun, whatever is written meanwhile. Those
        before an error are yielded before it is raised.

        Raises
        ------
        CorruptionError
            A file is damaged.
        NotFoundError
            The increments of some steps between them are not stored.
        """
        if not self._chain:
            return
        name = FileName("log", self._chain[-1].generation)
        with self._errors(name), open_log(self._directory, str(name)) as newest:
            yield from _timed(self._pieces(newest, start, sys.maxsize if stop is None else stop))

    @property
    def heads(self) -> set[_Head]:
        """The beginnings of the logs."""
        return {*self._chain}

    def has(self, step: int, chain: int, known: set[_Head]) -> bool:
        """Return whether a step is still the one whose record has this checksum.

        `known` are the heads of the logs when it was read.
        """
        shift = self._shift
        for head, following in zip_longest(self._chain, self._chain[1:]):
            found = self._find_shift(head)
            shift = shift if found is None else found
            if step == head.position.step + shift:  # the log before may have been pruned
                return head in known or head.position.chain == chain
            if following is None or step < following.position.step + shift:
                return self._chain_at(head, step - shift) == chain
        return False

    def _chain_at(self, head: _Head, count: int) -> int | None:
        """Return the checksum of the record of an increment in a log; None if there is none."""
        name = FileName("log", head.generation)
        with self._errors(name), open_log(self._directory, str(name)) as reader:
            records = iter(reader)
            while (left := count - head.position.step - reader.count) > 0:
                if not reader.plain(left) and next(records, None) is None:
                    return None
            return reader.chain

    # -- the chain of logs -----------------------------------------------------------------

    def _follow_back(self) -> list[_Head]:
        """Return the logs that lead to the newest one, oldest first."""
        names = self._directory.list()
        if REPAIR in names:
            raise unrepaired(self._directory.path, self._name)
        files = filter(None, map(FileName.parse, names))
        logs = sorted(file.generation for file in files if file.kind == "log")
        head = self._find_newest(logs)
        chain: list[_Head] = []
        while head is not None:
            chain.append(head)
            after = head.after
            # Before a log that does not derive from it, one without an increment may be gone.
            older = max((number for number in logs if number <= after), default=0)
            if not older or (head.is_derived and older != after):
                break
            try:
                head = self._read_head(older)
            except FileNotFoundError:  # it has just been pruned
                break
        return chain[::-1]

    def _find_newest(self, logs: list[int]) -> _Head | None:
        """Return the newest log with a whole record, or else the newest whole one."""
        found = None
        for number in reversed(logs):
            name = FileName("log", number)
            with self._errors(name):
                try:
                    with open_log(self._directory, str(name)) as reader:
                        has_record = next(iter(reader), None) is not None
                except Damage:
                    if self._size(name) > HEADER_SIZE:
                        raise
                    continue  # its creation was cut short
            found = found or self._read_head(number)
            if has_record:
                return self._read_head(number)
        return found

    def _read_head(self, number: int) -> _Head:
        name = FileName("log", number)
        with self._errors(name), open_log(self._directory, str(name)) as reader:
            fields, header = reader.fields, reader.chain
            check_log(fields)
        owner = owner_of(name, fields, self._name, "")
        if owner:
            raise misplaced(f"{self._directory.path}/{name}", owner, "read the run again")
        after, *place = fields["after"]
        begun = fields.get("written") if after else None
        return _Head(
            number, fields["run"], after, LogPosition.of(*place), fields["derived"], header, begun
        )

    def _size(self, name: FileName) -> int:
        source = self._directory.open(str(name))
        with closing_quietly(source):
            return source.size

    def _find_shift(self, head: _Head) -> int | None:
        """Return the number of steps before a log that are not logged, if a checkpoint tells it."""
        try:
            meta = read_meta(self._directory, FileName("checkpoint", head.generation))
        except (Damage, FileNotFoundError):
            return None
        shift: int = meta["step"] - head.position.step
        return shift

    # -- the increments --------------------------------------------------------------------

    def _pieces(self, newest: LogReader, start: int, stop: int) -> Iterator[float | _Piece]:
        """Yield increments with their steps, and between them the times that are known."""
        shift = self._shift
        for head, following in zip_longest(self._chain, self._chain[1:]):
            found = self._find_shift(head)
            shift = shift if found is None else found
            if following is not None and following.position.step + shift < start:
                continue
            name = FileName("log", head.generation)
            with self._errors(name), contextlib.ExitStack() as stack:
                reader = newest
                if following is not None:
                    reader = stack.enter_context(open_log(self._directory, str(name)))
                if reader.chain != head.header:  # of a run that was rewound and goes on
                    raise FileNotFoundError(f"{self._directory.path}/{name} is another one now")
                if head.begun is not None:
                    yield head.begun
                for item in self._read_log(reader, head, following):
                    if isinstance(item, float):
                        yield item
                        continue
                    first = item.first + shift
                    begin = max(0, start - first)
                    if part := item.increments[begin : max(0, stop - first)]:
                        yield _Piece(first + begin, part, item.size, item.chain)
                    if first + len(item.increments) >= stop:
                        return
                self._check_end(reader, head, following, shift)

    def _read_log(
        self, reader: LogReader, head: _Head, following: _Head | None
    ) -> Iterator[float | _Piece]:
        """Yield the increments in one log, with their numbers, and the times in notes."""
        begin = head.position.step
        end = following.position.step if following else sys.maxsize
        records = iter(reader)
        while not self._is_at(reader, begin, following):
            offset = reader.offset
            increments: _Increments = reader.plain(end - begin - reader.count)
            if not increments:
                one = next(records, None)
                if one is None:
                    return
                if one.kind == NOTE:
                    if TIME in (noted := decode_context(one.payload)):
                        yield _TIME.unpack(noted[TIME])[0]
                    continue
                increments = [one]
            first = begin + reader.count - len(increments) + 1
            yield _Piece(first, increments, reader.offset - offset, reader.chain)

    def _is_at(self, reader: LogReader, begin: int, following: _Head | None) -> bool:
        """Return whether the place at which the next log begins is reached, or passed."""
        if following is None:
            return False
        step = begin + reader.count
        if following.is_derived:
            return (
                LogPosition(step, reader.chain) == following.position
                or step > following.position.step
            )
        return step >= following.position.step

    def _check_end(
        self, reader: LogReader, head: _Head, following: _Head | None, shift: int
    ) -> None:
        """Raise unless a log goes on to the place at which the next one begins."""
        name = FileName("log", head.generation)
        position = LogPosition(head.position.step + reader.count, reader.chain)
        if following is None:
            if damage := damage_at_end(reader, self._directory.boot):
                raise self._damaged(name, reader.flaw_offset, damage)
        elif following.is_derived and position != following.position:
            flaw = f"it ends before {FileName('log', following.generation)} begins"
            raise self._damaged(name, reader.flaw_offset, reader.flaw or flaw)
        elif position.step != following.position.step:
            raise _missing(
                self._name, position.step + shift + 1, following.position.step + shift + 1
            )

    def _damaged(self, name: FileName, offset: int, reason: str) -> CorruptionError:
        return damaged(self._directory.path, name, self._name, offset, reason)

    @contextlib.contextmanager
    def _errors(self, name: FileName) -> Iterator[None]:
        """Turn a finding in a file into an error with its place and the ways on."""
        try:
            yield
        except Damage as damage:
            raise self._damaged(name, damage.offset, damage.reason) from None
        except (NewerVersion, Forged) as found:
            raise refusal(f"{self._directory.path}/{name}", found) from None


def _missing(name: str, step: int, following: int) -> NotFoundError:
    steps = f"step {step:,}" if following == step + 1 else f"steps {step:,} to {following - 1:,}"
    return NotFoundError(
        f"{steps} of {name!r}: the increments are not stored any more.\n"
        f"Give start={following} to read those after them.\n"
        "To have more of a later run, give keep='all' or another policy as keep=."
    )


def _timed(items: Iterator[float | _Piece]) -> Iterator[Batch]:
    """Yield increments with times between the one that is known before them and the one after.

    An increment without a time before it has none.
    """
    begun: float | None = None
    waiting: list[_Piece] = []
    size, following = 0, -1
    failure: Exception | None = None
    try:
        for item in items:
            if isinstance(item, float):
                yield from _spread(waiting, begun, item)
                begun, waiting, size = item, [], 0
                continue
            if item.first != following:
                yield from _spread(waiting, begun, begun)
                waiting, size = [], 0
            waiting.append(item)
            size += item.size + _EACH * len(item.increments)
            following = item.first + len(item.increments)
            if size >= _WAITING:
                yield from _spread(waiting, begun, begun)
                waiting, size = [], 0
    except (TraxError, OSError) as error:
        failure = error
    yield from _spread(waiting, begun, begun)
    if failure is not None:
        raise failure


def _spread(waiting: Sequence[_Piece], begun: float | None, end: float | None) -> Iterator[Batch]:
    """Yield increments with times that are spread between two."""
    increments = [*chain.from_iterable(piece.increments for piece in waiting)]
    if not increments:
        return
    times: list[float | None] = [begun] * len(increments)
    if begun is not None and end is not None and end > begun:
        # More than that after the first one, the time would have been noted again.
        seconds = min(end - begun, _INTERVAL) / len(increments)
        times = [begun + number * seconds for number in range(len(increments))]
    yield Batch(waiting[0].first, times, increments, waiting[-1].chain)
