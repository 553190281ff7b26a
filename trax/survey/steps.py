"""Counts the steps of a stored run by the heads of its records, without reading their contents."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from trax.storage.checkpoint import read_meta
from trax.storage.filenames import FileName
from trax.storage.filesystem import Directory, Input, closing_quietly
from trax.storage.journal import Place
from trax.storage.records import (
    HEADER_SIZE,
    NOTE,
    OVERHEAD,
    SIGNATURE,
    VALUES,
    Damage,
    decode_header,
)
from trax.storage.schema import check_checkpoint, check_log

__all__ = ["Counted", "count_on", "count_steps", "newest_meta"]

_WORD = struct.Struct("<Q")
_ENDS = {*VALUES, NOTE}  # after these another object may begin
_WINDOW = 1 << 18  # bytes


class Counted(NamedTuple):
    """The step that a run has come to, and the meta record of its newest checkpoint, if any."""

    step: int
    is_done: bool
    meta: dict[str, Any]


class _Head(NamedTuple):
    fields: dict[str, Any]
    place: Place


class _Start(NamedTuple):
    step: int
    place: Place


def count_steps(
    directory: Directory, names: Iterable[str], known: tuple[int, Place] | None = None
) -> Counted:
    """Count the steps to which a run would be recovered.

    Parameters
    ----------
    directory : Directory
        The files of the run.
    names : iterable of str
        Their names.
    known : tuple of int and Place, optional
        A step and its place in a log, as a journal has them: where to begin, if it is there.

    Raises
    ------
    Damage, NewerVersion, Forged
        A file that is needed cannot be used.
    FileNotFoundError
        A file was removed meanwhile.
    """
    files = sorted(filter(None, map(FileName.parse, names)))
    logs = [file.generation for file in files if file.kind == "log"]
    meta = newest_meta(directory, files)
    if meta and meta["generation"] not in logs:
        raise Damage(f"{FileName('log', meta['generation'])}, which continues it, is missing", 0)
    start = _known_start(directory, logs, known)
    if start is None or start.place.generation < meta.get("generation", 0):
        start = _first_start(directory, logs, meta)
    step, is_at_start = _follow(directory, logs, start)
    is_done = bool(meta.get("done")) and step == meta.get("step") and is_at_start
    return Counted(step, is_done, meta)


def count_on(directory: Directory, known: tuple[int, Place]) -> int | None:
    """Count on from a place in the newest log of a run that goes on; None if it is not there."""
    start = _known_start(directory, [known[1].generation], known)
    return start and start.step + _Walk(directory, start.place).count


def newest_meta(directory: Directory, files: Iterable[FileName]) -> dict[str, Any]:
    """Return the header fields and the meta record of the newest checkpoint that has valid ones.

    If there is no checkpoint, it is empty.
    """
    checkpoints = sorted(file for file in files if file.kind == "checkpoint")
    found: Damage | None = None
    for name in reversed(checkpoints):
        try:
            meta = read_meta(directory, name)
            check_checkpoint(meta)
        except Damage as damage:
            found = found or Damage(f"{name}: {damage.reason}", damage.offset)
        else:
            return {"step": 0, **meta}
    if found is not None:
        raise found
    return {}


def _known_start(
    directory: Directory, logs: list[int], known: tuple[int, Place] | None
) -> _Start | None:
    """Return the place that a journal names, if the log still has it."""
    if known is None or known[1].generation not in logs:
        return None
    step, place = known
    source = directory.open(str(FileName("log", place.generation)))
    with closing_quietly(source):
        end = source.read_at(place.offset - _WORD.size, _WORD.size)
    is_there = len(end) == _WORD.size and _WORD.unpack(end) == (place.chain,)
    return _Start(step, place) if is_there else None


def _first_start(directory: Directory, logs: list[int], meta: Mapping[str, Any]) -> _Start:
    """Return the place after the newest checkpoint, or the beginning of the run."""
    for number in [meta["generation"]] if meta else logs:
        fields, chain = _read_head(directory, number)
        if meta or not fields["after"][0]:
            return _Start(meta.get("step", 0), Place(number, HEADER_SIZE, chain))
    raise Damage("there is no checkpoint, and no log that begins the run", 0)


def _read_head(directory: Directory, number: int) -> tuple[dict[str, Any], int]:
    name = str(FileName("log", number))
    source = directory.open(name)
    with closing_quietly(source):
        try:
            fields, chain = decode_header("log", source.read_at(0, HEADER_SIZE), directory.key)
            check_log(fields)
        except Damage as damage:
            raise Damage(f"{name}: {damage.reason}", damage.offset) from None
    return fields, chain


def _follow(directory: Directory, logs: list[int], start: _Start) -> tuple[int, bool]:
    """Return the step at the end of the logs from a place on, and if that is the place itself."""
    step, place = start
    heads = dict(_heads(directory, [number for number in logs if number > place.generation]))
    chain = _newest_chain(directory, heads, place.generation)
    if not chain:
        walk = _Walk(directory, place)
        return step + walk.count, not walk.count
    first, last = heads[chain[0]], heads[chain[-1]]
    begin = first.fields["after"]
    walk = _Walk(directory, place, until=int(begin[2], 16))
    if not walk.is_met:
        raise Damage(f"{FileName('log', place.generation)} ends before the next one begins", 0)
    between = last.fields["after"][1] - begin[1]
    count = walk.count + between + _Walk(directory, last.place).count
    return step + count, not count


def _heads(directory: Directory, logs: list[int]) -> Iterator[tuple[int, _Head]]:
    """Yield the logs that a checkpoint does not have to begin, with their headers."""
    for number in logs:
        try:
            fields, chain = _read_head(directory, number)
        except Damage:  # its creation was cut short
            continue
        if fields["derived"]:
            yield number, _Head(fields, Place(number, HEADER_SIZE, chain))


def _newest_chain(directory: Directory, heads: Mapping[int, _Head], begin: int) -> list[int]:
    """Return the logs from the one that continues `begin` to the newest that has any record."""
    for newest in sorted(heads, reverse=True):
        chain, number = [], newest
        while number in heads:
            chain.append(number)
            number = heads[number].fields["after"][0]
        if number == begin and _Walk(directory, heads[newest].place).offset > HEADER_SIZE:
            return chain[::-1]
    return []


class _Walk:
    """A walk along the records of one log, from a place to its last whole increment.

    If `until` is given, it ends at the record with that checksum.

    Attributes
    ----------
    count : int
        The increments that it has come by.
    offset : int
        The end of the last whole one, or of a note.
    is_met : bool
        Whether it has come to that record.
    """

    def __init__(self, directory: Directory, place: Place, until: int | None = None) -> None:
        self.count = 0
        self.offset = place.offset
        self.is_met = until == place.chain
        self._until = until
        self._is_signed = directory.key is not None
        source = directory.open(str(FileName("log", place.generation)))
        with closing_quietly(source):
            if not self.is_met:
                self._walk(source, place.offset)

    def _walk(self, source: Input, offset: int) -> None:
        size, window, begin, unsigned = source.size, b"", offset, 0
        while offset + OVERHEAD <= size:
            if offset + _WORD.size > begin + len(window):
                window, begin = bytes(source.read_at(offset, _WINDOW)), offset
            (word,) = _WORD.unpack_from(window, offset - begin)
            kind, offset = word & 0x7F, offset + (word >> 8) + OVERHEAD
            if not min(VALUES) <= kind <= SIGNATURE or offset > size:
                return
            unsigned += kind in VALUES
            if kind == SIGNATURE or (not self._is_signed and kind in _ENDS):
                self.count += unsigned
                self.offset, unsigned = offset, 0
                end = self._until is not None and source.read_at(offset - _WORD.size, _WORD.size)
                if end and _WORD.unpack(end) == (self._until,):
                    self.is_met = True
                    return
