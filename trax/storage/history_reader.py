"""Reads the increments of a run from the oldest that is stored, with their steps and times.

Strategy: from the newest log the headers are followed back as far as there are logs. Then each is
read up to the place that the next one names, one increment at a time. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from trax.errors import CorruptionError, NotFoundError, StorageError
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
from trax.storage.store import Store

__all__ = ["HistoryReader", "Past", "read_history"]

_TIME = struct.Struct("<d")
_INTERVAL = 1.0  # seconds: after that, the time is noted before the next increment
_WAITING = 100_000  # increments, at most, that wait for the time after them
_WAITING_BYTES = 1 << 24


class Past(NamedTuple):
    """One increment as it is stored, with its step and its time; None if no time was noted."""

    step: int
    time: float | None
    increment: bytes | Encoded


class _Head(NamedTuple):
    """The beginning of a log, and the log before it.

    If it does not derive from that one, only the number of increments before it is known.
    """

    generation: int
    run: str
    after: int
    position: LogPosition
    is_derived: bool


def read_history(store: Store, name: str, start: int | None, stop: int | None) -> Iterator[Past]:
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
            run = reader.run
            with storage_errors("reading", directory.path):
                for past in reader.read(start, stop):
                    yield past
                    start = past.step + 1
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

    def read(self, start: int, stop: int | None = None) -> Iterator[Past]:
        """Yield the increments of the steps from `start` until before `stop`.

        They end where the newest log ends when this is begun, whatever is written meanwhile.

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
            yield from _timed(self._items(newest, start, sys.maxsize if stop is None else stop))

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
            fields = reader.fields
            check_log(fields)
        owner = owner_of(name, fields, self._name, "")
        if owner:
            raise misplaced(f"{self._directory.path}/{name}", owner, "read the run again")
        after, *place = fields["after"]
        return _Head(number, fields["run"], after, LogPosition.of(*place), fields["derived"])

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

    def _items(
        self, newest: LogReader, start: int, stop: int
    ) -> Iterator[float | tuple[int, bytes | Encoded]]:
        """Yield increments with their steps, and between them the times that were noted."""
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
                for item in self._read_log(reader, head, following):
                    if isinstance(item, float):
                        yield item
                    elif item[0] + shift >= stop:
                        return
                    elif item[0] + shift >= start:
                        yield item[0] + shift, item[1]
                self._check_end(reader, head, following, shift)

    def _read_log(
        self, reader: LogReader, head: _Head, following: _Head | None
    ) -> Iterator[float | tuple[int, bytes | Encoded]]:
        """Yield the increments in one log, with their numbers, and the times in notes."""
        begin = head.position.step
        end = following.position.step if following else sys.maxsize
        records = iter(reader)
        while not self._is_at(reader, begin, following):
            plain = reader.plain(end - begin - reader.count)
            if plain:
                yield from enumerate(plain, begin + reader.count - len(plain) + 1)
                continue
            one = next(records, None)
            if one is None:
                return
            if one.kind != NOTE:
                yield begin + reader.count, one
            elif TIME in (noted := decode_context(one.payload)):
                yield _TIME.unpack(noted[TIME])[0]

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


def _timed(items: Iterator[float | tuple[int, bytes | Encoded]]) -> Iterator[Past]:
    """Yield increments with times between the one that was noted before them and the one after.

    An increment without a time before it has none.
    """
    begun: float | None = None
    waiting: list[tuple[int, bytes | Encoded]] = []
    size = 0
    for item in items:
        if isinstance(item, float):
            yield from _spread(waiting, begun, item)
            begun, waiting, size = item, [], 0
            continue
        step, increment = item
        if begun is None:
            yield Past(step, None, increment)
            continue
        waiting.append(item)
        size += len(increment) if isinstance(increment, bytes) else increment.nbytes
        if len(waiting) >= _WAITING or size >= _WAITING_BYTES:
            yield from _spread(waiting, begun, begun)
            waiting, size = [], 0
    yield from _spread(waiting, begun, begun)


def _spread(
    waiting: list[tuple[int, bytes | Encoded]], begun: float | None, end: float | None
) -> Iterator[Past]:
    """Yield increments with times that are spread between two."""
    if begun is None or end is None:
        return
    # More than that after the first one, the time would have been noted again.
    seconds = min(max(end - begun, 0.0), _INTERVAL) / max(len(waiting), 1)
    for number, (step, increment) in enumerate(waiting):
        yield Past(step, begun + number * seconds, increment)
