"""The files of a run in its replica, as a directory that is only read: no writer is disturbed.

Strategy: the newest data is read once, and what it lists stays as it is until a writer replaces the
objects; a reader is told so as if a file had been pruned. Numbered objects are got as a whole, with
their checksums. Of large pieces only what is asked for is got, unless they are read from one end to
the other, or are signed.
"""

from __future__ import annotations

import contextlib
import hashlib
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from trax.errors import CorruptionError
from trax.replica.ahead import ahead
from trax.replica.chain import Chain, Moved
from trax.replica.entry import (
    SMALLEST,
    Claim,
    Data,
    Entry,
    Part,
    Piece,
    number_key,
    outline,
    output_name,
)
from trax.replica.seam import Content, Missing
from trax.storage.filenames import encode_run
from trax.storage.records import DURABLE_OFFSET, encode_durable
from trax.storage.signing import Key

__all__ = ["ReplicaDirectory"]

_ROOM = 64 << 20  # bytes of objects that are kept in memory
_TOUCHES = 2  # of a piece, before all of it is got: a header block, and the first records


class ReplicaDirectory:
    """The files of one run in a replica, at one moment.

    Every method that reads raises `FileNotFoundError` if a writer has replaced the objects since,
    and `CorruptionError` for an object that is damaged.

    Parameters
    ----------
    chain : Chain
        The run's objects, which were listed.
    head : Data
        The newest data.
    claims : list of int
        The numbers of the claims after it.
    sizes : mapping of str to int
        The keys of all objects, and their sizes.
    key : Key or None
        The key that they are signed with.

    Attributes
    ----------
    path : str
        The URL, for messages.
    boot : str
        Empty: no machine has written them.
    is_moved : bool
        Whether a writer has replaced objects that were to be read.
    """

    def __init__(
        self,
        chain: Chain,
        head: Data,
        claims: list[int],
        sizes: Mapping[str, int],
        key: Key | None,
    ) -> None:
        self.path = f"{chain.objects.url}/runs/{encode_run(chain.name)}"
        self.boot = ""
        self.key = key
        self.chain = chain
        self.head = head
        self.claims = claims
        self.sizes = sizes
        self.is_moved = False
        self._entries: dict[int, Entry] = {}
        self._contents: OrderedDict[str, memoryview] = OrderedDict()
        self._touches: Counter[str] = Counter()
        self._pieces: dict[str, list[Piece]] | None = None
        self._checked: set[str] = set()

    # -- a directory -----------------------------------------------------------------------

    def list(self) -> list[str]:
        """Return the names of the run's files."""
        return sorted(file for file in self.head.whole if output_name(file) is None)

    def outputs(self) -> Iterator[str]:
        """Yield the paths of output files, as contexts have them."""
        return filter(None, map(output_name, self.head.whole))

    def open(self, name: str) -> _File:
        """Open a file of the run, or an output file by its name in the replica."""
        if name not in self.head.whole:
            raise FileNotFoundError(f"there is no {name} in {self.path}")
        return _File(self, name)

    def _refuse(self, *_: object) -> Any:
        raise AssertionError("a replica is only read")

    create = update = cut = rename = remove = sync = is_in_place = close = _refuse

    # -- its objects -----------------------------------------------------------------------

    @property
    def needed(self) -> Sequence[int]:
        """The numbers of the data that the files are in."""
        return self.head.needed

    @property
    def pieces(self) -> Mapping[str, Sequence[Piece]]:
        """The pieces of each file, in order."""
        if self._pieces is None:
            image = self._entry(self.head.since)
            found: dict[str, list[Piece]] = {}
            for piece in image.pieces if isinstance(image, Data) else []:
                found.setdefault(piece.file, []).append(piece)
            self._pieces = {file: sorted(some, key=_offset) for file, some in found.items()}
        return self._pieces

    def last_claim(self) -> Claim | None:
        """Return the newest claim if it is newer than the data: somebody has opened the run."""
        entry = self._entry(self.claims[0]) if self.claims else None
        return entry if isinstance(entry, Claim) else None

    def check_list(self) -> None:
        """Check that all that is needed was listed, and its size as far as it is known.

        At most the beginning of the image is read for that.

        Raises
        ------
        CorruptionError
            An object is missing, or has another size.
        """
        keys = [self._key_of(number) for number in self.needed]
        for key in keys:
            self._check_size(key, self._listed_size(key) >= SMALLEST)
        if sum(self.head.whole.values()) > sum(self.sizes[key] for key in keys):
            image, size = self._outline(self.head.since)  # the rest is in pieces, which it names
            self._check_size(keys[0], self.sizes[keys[0]] == size)
            for piece in image.pieces if isinstance(image, Data) else []:
                self._check_size(piece.key, self._listed_size(piece.key) == piece.length)

    def _listed_size(self, key: str) -> int:
        if key not in self.sizes:
            with self._moving():
                self.chain.fetch(key)
            raise FileNotFoundError(f"{key} was put while the objects were listed")
        return self.sizes[key]

    def _check_size(self, key: str, is_right: bool) -> None:
        if not is_right:
            raise self.chain.damaged(key, "it has another size than it was written with")

    def _outline(self, number: int) -> tuple[Entry, int]:
        """Return an object without its bytes, and its size; see `outline`."""
        key = self._key_of(number)

        def read(offset: int, length: int) -> Content:
            try:
                return self.chain.objects.read(key, offset, length)
            except Missing:  # unless a writer has replaced it, this is an error
                return self.chain.fetch(key)[offset : offset + length]

        with self._moving(), self.chain.errors(key):
            return outline(read, self.sizes[key])

    def load(self) -> None:
        """Get all numbered objects at once, unless they are large; damage is told later."""
        keys = {number: self._key_of(number) for number in self.needed}
        if sum(self.sizes.get(key, 0) for key in keys.values()) <= _ROOM:
            with self._moving(), contextlib.suppress(CorruptionError):
                for number, (entry, content) in zip(
                    keys, ahead(self.chain.read, keys), strict=True
                ):
                    self._add(number, entry, content)

    def problems(self) -> Iterator[str]:
        """Read every object that was not read as a whole so far; yield a line for each bad one."""
        for number in self.needed:
            yield from _problem(partial(self._entry, number))
        with contextlib.suppress(CorruptionError):
            for piece in [piece for some in self.pieces.values() for piece in some]:
                if piece.key not in self._checked:
                    yield from _problem(partial(self._whole, piece))

    def fill(self, file: str, offset: int, memory: memoryview) -> None:
        """Fill memory with the bytes of a file from an offset on; all of them are there."""
        missing = [(offset, offset + len(memory))]
        for part, place in self._parts(file, offset, offset + len(memory)):
            left = []
            for begin, end in missing:
                low, high = max(begin, part.offset), min(end, part.offset + part.length)
                if low >= high:
                    left.append((begin, end))
                    continue
                memory[low - offset : high - offset] = self._read(
                    place, low - part.offset, high - low
                )
                left += [span for span in ((begin, low), (high, end)) if span[0] < span[1]]
            missing = left
            if not missing:
                return
        raise self.chain.damaged(file, f"its bytes at {missing[0][0]:,} are missing")

    def _parts(self, file: str, begin: int, end: int) -> Iterator[tuple[Part, _Place | Piece]]:
        """Yield the parts of a file, the newest first, since they replace older ones."""
        for number in reversed(self.needed):
            entry, place = self._entry(number), 0
            for part in entry.parts if isinstance(entry, Data) else []:
                if part.file == file:
                    yield part, _Place(number, place)
                place += part.length
        pieces = self.pieces.get(file, [])
        for piece in pieces[max(0, bisect_right(pieces, begin, key=_offset) - 1) :]:
            if piece.offset >= end:
                break
            yield Part(*piece[:3]), piece

    def _read(self, place: _Place | Piece, offset: int, length: int) -> Any:
        if isinstance(place, Piece):
            return self._read_piece(place, offset, length)
        begin = place.offset + offset
        return self._content(place.number)[begin : begin + length]

    def _read_piece(self, piece: Piece, offset: int, length: int) -> Any:
        self._touches[piece.key] += 1
        if self.key is None and self._touches[piece.key] <= _TOUCHES:
            with contextlib.suppress(Missing):
                data = self.chain.objects.read(piece.key, offset, length)
                if len(data) == length:
                    return data
        return self._whole(piece)[offset : offset + length]  # which says what is wrong, if it is

    def _whole(self, piece: Piece) -> memoryview:
        found = self._contents.get(piece.key)
        if found is None:
            with self._moving():
                found = memoryview(self.chain.fetch(piece.key))
            if hashlib.sha256(found).hexdigest() != piece.sha256:
                raise self.chain.damaged(piece.key, "it has other bytes than were written")
            self._checked.add(piece.key)
            self._keep(piece.key, found)
        return found

    def _entry(self, number: int) -> Entry:
        if number not in self._entries:
            self._content(number)
        return self._entries[number]

    def _content(self, number: int) -> memoryview:
        found = self._contents.get(self._key_of(number))
        if found is None:
            with self._moving():
                entry, found = self.chain.read(number)
            self._add(number, entry, found)
        return found

    def _add(self, number: int, entry: Entry, content: memoryview) -> None:
        self._entries[number] = entry
        self._keep(self._key_of(number), content)

    def _keep(self, key: str, content: memoryview) -> None:
        """Keep what was read, and drop what was read first if it becomes too much."""
        self._contents[key] = content
        while len(self._contents) > 1 and sum(map(len, self._contents.values())) > _ROOM:
            self._contents.popitem(last=False)

    def _key_of(self, number: int) -> str:
        return number_key(encode_run(self.chain.name), number)

    @contextlib.contextmanager
    def _moving(self) -> Iterator[None]:
        try:
            yield
        except Moved as error:
            self.is_moved = True
            raise FileNotFoundError(str(error)) from None


class _File:
    """A file in a replica; a log has the durable mark with which it would be restored."""

    def __init__(self, directory: ReplicaDirectory, name: str) -> None:
        self.size = directory.head.whole[name]
        self._directory = directory
        self._name = name
        durable = directory.head.durable(name)
        self._mark = b"" if durable is None else encode_durable(durable)

    def read_at(self, offset: int, size: int) -> bytearray:
        data = bytearray(max(0, min(size, self.size - offset)))
        with memoryview(data) as view:
            self.read_into(offset, view)
        return data

    def read_into(self, offset: int, memory: memoryview) -> int:
        length = max(0, min(len(memory), self.size - offset))
        if length:
            self._directory.fill(self._name, offset, memory[:length])
        begin = max(offset, DURABLE_OFFSET)
        end = min(offset + length, DURABLE_OFFSET + len(self._mark))
        if begin < end:
            mark = self._mark[begin - DURABLE_OFFSET : end - DURABLE_OFFSET]
            memory[begin - offset : end - offset] = mark
        return length

    def close(self) -> None: ...


class _Place(NamedTuple):
    """The place of bytes in the parts of a numbered object."""

    number: int
    offset: int


def _problem(read: Callable[[], object]) -> Iterator[str]:
    try:
        read()
    except CorruptionError as error:
        yield str(error).partition("\n")[0]


def _offset(piece: Piece) -> int:
    return piece.offset
