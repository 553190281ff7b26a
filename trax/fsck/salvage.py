"""Counts the increments of a log after a flaw.

Strategy: each record's checksum is seeded with the one before it, whose bytes come right before
the record. So whole records after a damaged stretch can be recognised. Inside the stretch, the
lengths at the beginning of the records may still lead from one record to the next.
"""

from __future__ import annotations

import struct

from trax.storage.filesystem import Input
from trax.storage.records import BEGINS, NOTE, OVERHEAD, PICKLE, SIGNATURE, VALUES, Records, follows

__all__ = ["count_increments"]

_WORD = struct.Struct("<Q")
assert _WORD.size * 2 == OVERHEAD

_ENDS = {*VALUES, NOTE, SIGNATURE}  # after these an object may begin
_PICKLE_BEGINS, _PICKLE_ENDS = b"\x80", b"."  # as contexts hardly ever do


def count_increments(source: Input, offset: int, size: int, *, inside: bool) -> tuple[int, bool]:
    """Count the increments from a damaged record on, which begins at `offset`.

    `size` is the end of the log. `inside` tells whether the record belongs to an object that begins
    before it.

    Returns
    -------
    count : int
        The number of increments that there are at least.
    is_exact : bool
        Whether those are all, as far as the bytes tell.
    """
    count, is_exact = 0, True
    while offset < size:
        # The damage may be before this record only, and the record itself valid.
        valid = follows(source, offset - _WORD.size, size, beginning=False)
        between = _count_between(source, offset, size if valid is None else valid, inside)
        if between is None:
            is_exact, inside = False, False
        else:
            ends, inside = between
            count += ends
        if valid is None:
            break
        (seed,) = _WORD.unpack(source.read_at(valid - _WORD.size, _WORD.size))
        records = Records(source, seed)
        records.offset, records.size = valid, size
        for number, record in enumerate(records):
            if number == 0 and between is not None and record.begins == inside:
                is_exact = False
            count += record.kind in VALUES
            inside = record.kind not in _ENDS
        offset = records.offset
    return count, is_exact and not inside


def _count_between(source: Input, offset: int, end: int, inside: bool) -> tuple[int, bool] | None:
    """Count the increments that end in a damaged stretch, by the lengths in it.

    Returns
    -------
    tuple of int and bool, or None
        Their number, and whether another one has begun. None if the lengths do not lead to the
        end of the stretch, or lead over records that cannot be increments.
    """
    count = 0
    while offset < end:
        head = source.read_at(offset, _WORD.size)
        if len(head) < _WORD.size:
            return None
        (word,) = _WORD.unpack(head)
        kind, begins, length = word & 0x7F, bool(word & BEGINS), word >> 8
        is_pickle = kind in VALUES
        if kind == SIGNATURE and not (begins or inside):
            offset += length + OVERHEAD
            continue
        if begins == inside or not PICKLE <= kind <= NOTE:
            return None
        # It may be the kind that is damaged: only an increment has a pickle.
        if is_pickle or kind == NOTE:
            first = source.read_at(offset + _WORD.size, 1)
            last = source.read_at(offset + _WORD.size + length - 1, 1)
            looks_so = first == _PICKLE_BEGINS or (is_pickle and last == _PICKLE_ENDS)
            if is_pickle != looks_so:
                return None
        count += is_pickle
        inside = not is_pickle and kind != NOTE
        offset += length + OVERHEAD
    return (count, inside) if offset == end else None
