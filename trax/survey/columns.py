"""The numbers in many increments, by field; those in pickles of one form are read together.

Strategy: most loops log pickles that differ in nothing but their numbers. Of one of them the places
of the numbers are found, and the fields that they belong to. A pattern tells which others have the
same bytes between these places, and the numbers of all of those are read at once.
"""

from __future__ import annotations

import pickletools
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, compress
from operator import not_
from typing import Any, NamedTuple

from trax.errors import CodecError
from trax.plain.data import decode_plain, is_harmless, numbers
from trax.plain.stand_ins import Named
from trax.storage.codec import Encoded

__all__ = ["Column", "Columns", "plain"]

_NUMBERS = {"BINFLOAT": ">d", "BININT": "<i", "BININT1": "<B", "BININT2": "<H"}
_FIRST = 50, 150  # of the numbers in two trials; a hundred more fit into a byte
_MOST = 100  # numbers in a pickle
_FEW = 20  # pickles, for which to find a form takes longer than to read them
_MISSES = 2  # pickles, at most, that are like no other, before the rest is read one by one


class Column(NamedTuple):
    """The numbers of a field, and the places of the increments that have them."""

    places: Sequence[int]
    values: list[float]


def plain(increment: bytes | Encoded) -> Any:
    """Return an increment as plain data, executing nothing; a stand-in if it is no pickle."""
    try:
        if isinstance(increment, bytes):
            return decode_plain(increment)
        return decode_plain(increment.payload, increment.buffers)
    except CodecError:
        return Named("(not readable)")


class Columns:
    """Reads the numbers in increments, some at a time; it keeps the forms of the last ones."""

    def __init__(self) -> None:
        self._forms: list[_Form] = []

    def read(self, increments: Sequence[bytes | Encoded]) -> dict[str, Column]:
        """Return the numbers in some increments, by the names of their fields."""
        pickles = [one if isinstance(one, bytes) else _alone(one) for one in increments]
        for form in self._forms:
            if form.fits_all(pickles):
                return form.read(range(len(pickles)), pickles)
        parts, left = self._by_form(pickles)
        if left:
            parts.append(_one_by_one(left, increments))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _by_form(self, pickles: Sequence[bytes]) -> tuple[list[dict[str, Column]], list[int]]:
        """Return the columns of the pickles of each form, and the places of the others."""
        parts = []
        left, odd = [*range(len(pickles))], []
        known, self._forms = self._forms, []
        misses = 0
        while left and (known or (misses < _MISSES and len(left) >= _FEW)):
            form = known.pop(0) if known else _Form.of(pickles[left[0]])
            fits = [form is not None and form.fits(pickles[place]) for place in left]
            if form is not None and sum(fits) > 1:
                self._forms.append(form)
                places = [*compress(left, fits)]
                parts.append(form.read(places, [pickles[place] for place in places]))
                left = [*compress(left, map(not_, fits))]
            elif not known:
                misses += 1
                odd.append(left.pop(0))
        return parts, sorted([*odd, *left])


class _Number(NamedTuple):
    """The place of a number in a pickle, and its format there."""

    at: int
    kind: str


class _Form:
    """The form of pickles that differ only in some of their numbers.

    Parameters
    ----------
    pickle : bytes
        One of them.
    fields : mapping of str to _Number or float
        The fields, each with the place of its number, or with the number that it has in all.
    """

    def __init__(self, pickle: bytes, fields: Mapping[str, _Number | float]) -> None:
        pattern, end = b"", 0
        for at, kind in sorted({one for one in fields.values() if isinstance(one, _Number)}):
            width = struct.calcsize(kind)
            pattern += re.escape(pickle[end:at]) + b".{%d}" % width
            end = at + width
        pattern += re.escape(pickle[end:])
        self._one = re.compile(b"(?s:%b)" % pattern)
        self._all = re.compile(b"(?s:(?:%b)*+)" % pattern)
        self._size = len(pickle)
        self._fields = fields

    @classmethod
    def of(cls, pickle: bytes) -> _Form | None:
        """Return the form of a pickle; None if it cannot be told.

        Its numbers are replaced by others, twice: each field shows which of them is its own. All
        that is not the number of a field, such as a key, is the same in all pickles of the form.
        """
        if not is_harmless(pickle):
            return None
        found = [
            _Number(at + 1, _NUMBERS[opcode.name])
            for opcode, _, at in pickletools.genops(pickle)
            if opcode.name in _NUMBERS and at is not None
        ]
        if len(found) > _MOST:
            return None
        shown = {*_trial(pickle, found, _FIRST[0]).values()}
        found = [number for mark, number in enumerate(found, _FIRST[0]) if mark in shown]
        one, two = (_trial(pickle, found, first) for first in _FIRST)
        by_marks: dict[tuple[float | None, ...], _Number] = {
            tuple(first + at for first in _FIRST): number for at, number in enumerate(found)
        }
        fields = {
            label: by_marks.get((one.get(label), two.get(label)), value)
            for label, value in _trial(pickle, [], 0).items()
        }
        return cls(pickle, fields)

    def fits(self, pickle: bytes) -> bool:
        """Whether a pickle has this form."""
        return self._one.fullmatch(pickle) is not None

    def fits_all(self, pickles: Sequence[bytes]) -> bool:
        """Whether all have it, which is told in less time than of each."""
        is_long = {*map(len, pickles)} == {self._size}
        return is_long and self._all.fullmatch(b"".join(pickles)) is not None

    def read(self, places: Sequence[int], pickles: Sequence[bytes]) -> dict[str, Column]:
        """Return the numbers in pickles of this form, and the places of all of them."""
        data = b"".join(pickles)
        columns = {}
        for label, one in self._fields.items():
            values = self._all_at(one, data) if isinstance(one, _Number) else [one] * len(pickles)
            columns[label] = Column(places, values)
        return columns

    def _all_at(self, number: _Number, data: bytes) -> list[float]:
        """Return the numbers at one place of each pickle."""
        order, kind = number.kind[0], number.kind[1]
        rest = self._size - number.at - struct.calcsize(number.kind)
        form = struct.Struct(f"{order}{number.at}x{kind}{rest}x")
        return [*chain.from_iterable(form.iter_unpack(data))]


def _trial(pickle: bytes, places: Iterable[_Number], first: int) -> dict[str, float]:
    """Return the numbers in a pickle in which those at some places are replaced by others."""
    data = bytearray(pickle)
    for mark, (at, kind) in enumerate(places, first):
        struct.pack_into(kind, data, at, mark)
    return numbers(plain(bytes(data)))


def _alone(increment: Encoded) -> bytes:
    """Return the pickle of an increment; nothing unless that is all of it."""
    return b"" if increment.buffers else bytes(increment.payload)


def _one_by_one(places: Iterable[int], increments: Sequence[bytes | Encoded]) -> dict[str, Column]:
    """Return the numbers in the increments at some places."""
    columns: dict[str, tuple[list[int], list[float]]] = {}
    for place in places:
        for label, value in numbers(plain(increments[place])).items():
            found, values = columns.setdefault(label, ([], []))
            found.append(place)
            values.append(value)
    return {label: Column(*column) for label, column in columns.items()}


def _joined(parts: Iterable[Mapping[str, Column]]) -> dict[str, Column]:
    """Return the columns of increments that were read in parts, as if they had not been."""
    found: dict[str, list[tuple[int, int, Column]]] = {}
    for part in parts:
        for number, (label, column) in enumerate(part.items()):
            found.setdefault(label, []).append((column.places[0], number, column))
    labels = sorted(found, key=lambda label: min(found[label])[:2])
    return {label: _in_order([column for _, _, column in found[label]]) for label in labels}


def _in_order(columns: Sequence[Column]) -> Column:
    if len(columns) == 1:
        return columns[0]
    pairs = sorted(chain.from_iterable(zip(*column, strict=True) for column in columns))
    return Column([place for place, _ in pairs], [value for _, value in pairs])
