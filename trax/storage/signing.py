"""Signatures: anyone with the key can verify that nobody without it has written a file.

A file is signed piece by piece. Each signature covers the one before it and, through the first, the
file's header block. So a signed piece is valid only in its own place in its own file.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple

__all__ = ["SIGNATURE_SIZE", "UNSIGNED", "Key", "Signer"]

SIGNATURE_SIZE = 32
UNSIGNED = bytes(SIGNATURE_SIZE)  # in the place of a signature


class Key:
    """A secret that files are signed with.

    Parameters
    ----------
    secret : bytes
        32 bytes that nobody can guess.
    source : str
        Its origin, for messages.

    Attributes
    ----------
    id : str
        Eight hexadecimal digits that tell keys apart and reveal nothing about the secret.
    """

    def __init__(self, secret: bytes, source: str) -> None:
        self._keyed = hmac.new(secret, digestmod=sha256)
        self.source = source
        self.id = self.sign(b"trax key id").hex()[:8]

    def __repr__(self) -> str:
        return f"Key({self.id} from {self.source})"

    def sign(self, data: bytes | bytearray) -> bytes:
        """Return the signature of `data`."""
        return self.begin(data).digest()

    def begin(self, data: bytes | bytearray) -> hmac.HMAC:
        """Return a signature in the making, which covers `data` and all that is added to it."""
        signing = self._keyed.copy()
        signing.update(data)
        return signing


class Signer(NamedTuple):
    """The signer of the next piece of a file.

    Attributes
    ----------
    key : Key
        The key.
    last : bytes
        The signature before, which the next one covers too.
    """

    key: Key
    last: bytes

    def begin(self) -> hmac.HMAC:
        """Return the next signature in the making; update it with the pieces that it covers."""
        return self.key.begin(self.last)

    def sign(self, pieces: Iterable[Any]) -> Signer:
        """Sign pieces; return the signer after them, whose `last` is their signature."""
        signing = self.begin()
        for piece in pieces:
            signing.update(piece)
        return Signer(self.key, signing.digest())

    def check(self, signing: hmac.HMAC, signature: bytes | bytearray) -> Signer | None:
        """Return the signer after a signature, or None if that is invalid."""
        if not hmac.compare_digest(signing.digest(), signature):
            return None
        return Signer(self.key, bytes(signature))
