"""The chain of a run's numbered objects: claimed by a writer, then added to one by one.

Strategy: each object is put only if there is none of its number, and only once the one before is
known to be the writer's own. So a put stores data and proves that no one else has written since.
Another writer begins with a claim, which is never deleted: whoever was the writer before finds it
at the next number, however late.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from trax.errors import (
    CorruptionError,
    FormatVersionError,
    LockedError,
    StorageError,
    UntrustedError,
)
from trax.replica.entry import (
    Claim,
    Data,
    Entry,
    decode,
    encode,
    is_data,
    number_key,
    number_of,
    run_key,
)
from trax.replica.seam import Away, Content, Missing, Objects
from trax.storage.filenames import encode_run
from trax.storage.process import process
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.signing import Key

__all__ = ["Chain", "Moved", "beside_writer"]

_HEAD = 4096  # bytes that tell data from a claim
_TRIES = 30  # to read objects that a writer replaces meanwhile

T = TypeVar("T")


class Moved(StorageError):  # noqa: N818  # the state of the chain
    """A writer has replaced objects that were about to be read; look again."""


def beside_writer(read: Callable[[], T], name: str, url: str) -> T:
    """Return what `read` returns; call it again while a writer replaces the objects of its run.

    Raises
    ------
    Moved
        It goes on so fast that nothing could be read.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(Moved, FileNotFoundError):
            return read()
    raise Moved(f"the replica of {name!r} in {url} changes while it is read.\nTry again.")


class Chain:
    """The objects of one run, to which this process adds.

    Attributes
    ----------
    writer : str
        The identity of this writer.
    epoch : int
        The number of its claim; 0 before that.
    number : int
        The last number that is known to be this writer's.
    before : list of int
        The numbers that were there when it was claimed, below the claim.
    pieces : list of str
        The keys of the pieces that were there.
    """

    def __init__(self, objects: Objects, name: str, key: Key | None) -> None:
        self.objects = objects
        self.name = name
        self.writer = secrets.token_hex(16)
        self.epoch = 0
        self.number = 0
        self.before: list[int] = []
        self.pieces: list[str] = []
        self._key = key
        self._encoded = encode_run(name)
        self._count = 0
        self._has_looked = False

    # -- opening ---------------------------------------------------------------------------

    def look(self, keys: Iterable[str] | None = None) -> None:
        """List the objects, to read them without a claim; a writer may change them meanwhile.

        `keys` are given if they were listed before.
        """
        if keys is None:
            keys = [key for key, _ in self.objects.list(run_key(self._encoded))]
        numbers = {key: number_of(key) for key in keys}
        self.before = sorted(filter(None, numbers.values()))
        self.pieces = [key for key, number in numbers.items() if not number]
        self._has_looked = True

    def peek(self) -> tuple[str, Data | None, list[int]]:
        """Return what `look_back` does, without a claim: a writer may go on meanwhile.

        Raises
        ------
        Moved
            It goes on so fast that nothing could be read.
        """
        return beside_writer(self._peek, self.name, self.objects.url)

    def _peek(self) -> tuple[str, Data | None, list[int]]:
        self.look()
        return self.look_back()

    def claim(self) -> None:
        """Claim the next number: whoever wrote before can put nothing more.

        Raises
        ------
        LockedError
            Another writer has claimed the run at the same time.
        """
        is_claimed = False
        while not is_claimed:
            with contextlib.suppress(Moved):
                is_claimed = self._claim()

    def _claim(self) -> bool:
        """Put a claim; return whether it counts."""
        if not self._has_looked:
            self.look()
            if self.before:  # whoever lacks the key disturbs nobody
                self.read(self.before[-1])
        number = max(self.before, default=0) + 1
        while not self._put_claim(number):
            number += 1  # a writer that goes on is quicker than a listing
        self.look()
        self._has_looked = False
        newest = self.before.pop()
        if newest > number:
            entry, _ = self.read(newest)
            if isinstance(entry, Claim) or entry.epoch > number:
                raise self._fenced(newest)
            return False  # a former writer goes on: it had used this number, and deleted it
        self.epoch = self.number = number
        return True

    def _put_claim(self, number: int) -> bool:
        claim = Claim(
            name=self.name,
            number=number,
            writer=self.writer,
            time=process.time(),
            host=socket.gethostname(),
            pid=os.getpid(),
        )
        return self.objects.put(number_key(self._encoded, number), encode(claim, [], self._key))

    def look_back(self) -> tuple[str, Data | None, list[int]]:
        """Return who wrote last, the newest data, and the numbers of the claims after that.

        The newest first. A run that was removed has no data.
        """
        last = ""
        claims: list[int] = []
        for number in reversed(self.before):
            entry, _ = self.read(number)
            if entry.writer != self.writer:  # a claim of its own, whose answer was lost
                last = last or entry.writer
            if isinstance(entry, Data):
                return last, entry if entry.files else None, claims
            claims.append(number)
        if self.before != [*range(1, len(self.before) + 1)]:  # there was data between the claims
            key = number_key(self._encoded, self.before[-1])
            raise self.damaged(key, "all data before it is missing")
        return last, None, claims

    def read(self, number: int) -> tuple[Entry, memoryview]:
        """Return an object and the bytes of its parts.

        Raises
        ------
        CorruptionError
            It is missing or damaged.
        LockedError
            It is missing since another writer has claimed the run.
        Moved
            It is missing since a writer goes on, and there is no claim.
        """
        key = number_key(self._encoded, number)
        with self.errors(key):
            return decode(self.fetch(key), self._key, self.name, number)

    def fetch(self, key: str) -> Content:
        """Return the bytes of an object that must be there."""
        try:
            return self.objects.get(key)
        except Missing:
            known, own = self.before, self.number
            self.look()
            if own and self.before and self.before[-1] > own:
                raise self._fenced(self.before[-1]) from None
            if not own and self.before[-1:] != known[-1:]:  # before it deletes, it puts
                self.before = known  # what else is read of it may be gone as well
                raise Moved(f"{self.objects.url}/{key} was deleted while it was read") from None
            raise self.damaged(key, "it is missing") from None

    def sweep(self, begin: int, end: int, kept: Sequence[str]) -> None:
        """Delete data from `begin` to `end`, and pieces that are not kept: a kill has left them."""
        unlisted = [key for key in self.pieces if key not in kept]
        self.objects.delete([*self.data(begin, end), *unlisted])

    def data(self, begin: int, end: int) -> list[str]:
        """Return the keys of the data from `begin` to `end`."""
        keys = [number_key(self._encoded, one) for one in self.before if begin <= one < end]
        return [key for key in keys if self._is_data(key)]

    def is_there(self, key: str) -> bool:
        """Return whether there is an object."""
        with contextlib.suppress(Missing):
            self.objects.read(key, 0, 1)
            return True
        return False

    def lists(self, keys: Iterable[str]) -> bool:
        """Return whether all of these are listed, or another writer has the run by now."""
        listed = {key for key, _ in self.objects.list(run_key(self._encoded))}
        newest = max(map(number_of, listed), default=0)
        return newest > self.number or listed.issuperset(keys)

    def key_of(self, number: int) -> str:
        """Return the key of a numbered object."""
        return number_key(self._encoded, number)

    def _is_data(self, key: str) -> bool:
        with contextlib.suppress(Missing):
            return is_data(self.objects.read(key, 0, _HEAD))
        return False

    # -- writing ---------------------------------------------------------------------------

    def encode(self, entry: Entry, content: Sequence[Any]) -> list[Any]:
        """Return the object of the next number; it is put until it is known to be there."""
        return encode(entry, content, self._key)

    def put(self, data: Sequence[Any]) -> None:
        """Put the object of the next number.

        Raises
        ------
        Away
            It may be there. The same object must be put again, and no other.
        LockedError
            Another writer has claimed the run.
        """
        other = self._put(self.number + 1, data)
        if other is not None:
            raise self._fenced(self.number + 1, other)
        self.number += 1

    def next_piece(self) -> str:
        """Return a new key for a piece."""
        self._count += 1
        return f"{run_key(self._encoded)}/piece-{self.writer}-{self._count}"

    def delete(self, numbers: Sequence[int], pieces: Sequence[str]) -> None:
        """Delete data, none of it a claim, and pieces."""
        self.objects.delete([*(number_key(self._encoded, one) for one in numbers), *pieces])

    def _put(self, number: int, data: Sequence[Any]) -> Content | None:
        """Put an object; return the one that is there instead, if it is somebody else's."""
        key = number_key(self._encoded, number)
        if self.objects.put(key, data):
            return None
        try:
            found = self.objects.get(key)
        except Missing:  # deleted by another writer just now, who has claimed a later number
            raise Away(f"{self.objects.url}/{key} was deleted while it was put") from None
        return None if found == b"".join(data) else found

    def _fenced(self, number: int, found: Content | None = None) -> LockedError:
        """Return the error for a run that another writer has claimed."""
        who = "another process"
        with contextlib.suppress(Exception):
            data = found or self.objects.get(number_key(self._encoded, number))
            entry, _ = decode(data, self._key, self.name, number)
            if isinstance(entry, Claim):
                since = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(entry.time))
                who = f"process {entry.pid} on {entry.host} ({since})"
        return LockedError(
            f"the run {self.name!r} in {self.objects.url} was taken over by {who}.\n"
            "It continues from what it found there; later increments of this process are not part "
            "of the run.\n"
            "Let only one machine run it."
        )

    def damaged(self, key: str, reason: str) -> CorruptionError:
        """Return the error for an object that is not as it was written."""
        return CorruptionError(
            f"the replica of {self.name!r} is damaged: {self.objects.url}/{key}: {reason}\n"
            "Nothing was changed on the disk.\n"
            "Put the object back, if the store keeps versions.\n"
            "Or make the replica anew where the run's disk is: trax rm URL NAME, then trax push.",
            f"{self.objects.url}/{key}",
        )

    @contextlib.contextmanager
    def errors(self, key: str) -> Iterator[None]:
        """Raise the errors for what is found in an object."""
        try:
            yield
        except Damage as damage:
            raise self.damaged(key, damage.reason) from None
        except NewerVersion as newer:
            path = f"{self.objects.url}/{key}"
            raise FormatVersionError(f"{path} has {newer}\nUpdate trax.", path) from None
        except Forged as forged:
            raise UntrustedError(
                f"{self.objects.url}/{key} {forged.reason}.\n{forged.remedy}."
            ) from None
