"""The seam between a replica and its store of objects: put if absent, get, list and delete."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from trax.errors import StorageError

__all__ = ["MAX_PUT", "Away", "Content", "Missing", "Objects", "Refused", "check_key", "is_key"]

# Bytes in one put, at most: an upload in several parts is not conditional in every store, and one
# that is put at once must arrive in time on a slow line as well.
MAX_PUT = 32 << 20

Content = bytes | bytearray  # of an object: a file is read into memory that is not copied once more

# All characters that `encode_run` leaves. Stores and file systems treat all others differently, and
# Azure drops a dot at the end.
_PART = r"[\w%~-](?:[\w.%~-]*[\w%~-])?"
_KEY = re.compile(f"{_PART}(?:/{_PART})*", re.ASCII)


class Away(StorageError):  # noqa: N818  # the state of the store
    """The store cannot be reached or did not answer in time; it may have done as it was told."""


class Refused(StorageError):  # noqa: N818  # likewise
    """The store cannot be used, and another try is of no use: no credentials, no bucket."""


class Missing(StorageError):  # noqa: N818  # likewise
    """There is no object of this key."""


class Objects(Protocol):
    """A store of objects, each of which is written once and as a whole; threads may share it.

    Keys are parts joined by ``/``, as in ``runs/name/00000001``, of letters, digits and ``_.-~%``.
    No part begins or ends with a dot, and no key lies below another one. Every method may raise
    `Away` or `Refused`, and a directory raises `UntrustedError` for a file that somebody else could
    have written.
    """

    @property
    def url(self) -> str:
        """The URL, for messages."""

    def put(self, key: str, parts: Sequence[Any]) -> bool:
        """Store an object of the joined buffers, durably; return False if there is one already.

        That one may be the caller's own: the answer to an earlier try was lost. There may be at
        most `MAX_PUT` bytes.
        """

    def get(self, key: str) -> Content:
        """Return an object; raise `Missing` if it is not there."""

    def read(self, key: str, start: int, length: int) -> Content:
        """Return a part of an object, shorter only at its end; raise `Missing` if it is not there.

        The part has at least one byte, and must begin within the object.
        """

    def list(self, prefix: str, after: str = "") -> Iterator[tuple[str, int]]:
        """Yield the keys below ``prefix/`` and their sizes, sorted; all keys if it is empty.

        Only those behind `after` are there.
        """

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, of which some may be missing."""


def is_key(key: str) -> bool:
    """Return whether this can be a key; then no part of it leads out of a directory."""
    return _KEY.fullmatch(key) is not None


def check_key(key: str) -> None:
    """Raise `ValueError` if this is no key."""
    if not is_key(key):
        raise ValueError(f"{key!r} cannot be the key of an object")
