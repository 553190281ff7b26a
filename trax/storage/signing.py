"""Signatures: who holds the key can tell that nobody else has written a file.

A file is signed piece by piece, and each signature covers the one before it and, through the
first, the file's header block. So what is signed holds only in its own place in its own file.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, NamedTuple

__all__ = ["SIGNATURE_SIZE", "UNSIGNED", "Key", "Signer"]

SIGNATURE_SIZE = 32
UNSIGNED = bytes(SIGNATURE_SIZE)  # stands where a signature would


class Key:
    """A secret that files are signed with.

    Parameters
    ----------
    secret : bytes
        32 bytes that nobody can guess.
    source : str
        Where it comes from, for messages.

    Attributes
    ----------
    id : str
        Eight hexadecimal digits that tell keys apart and give nothing away.
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
        """Return what signs `data` and all that it is updated with."""
        signing = self._keyed.copy()
        signing.update(data)
        return signing


class Signer(NamedTuple):
    """A key, and the last signature in a file: what the next one there is made from."""

    key: Key
    last: bytes

    def begin(self) -> hmac.HMAC:
        """Return what makes the next signature, once it is updated with what that covers."""
        return self.key.begin(self.last)

    def sign(self, pieces: Iterable[Any]) -> Signer:
        """Return the signer behind these pieces, whose `last` is their signature."""
        signing = self.begin()
        for piece in pieces:
            signing.update(piece)
        return Signer(self.key, signing.digest())

    def check(self, signing: hmac.HMAC, signature: bytes | bytearray) -> Signer | None:
        """Return the signer behind a signature, or None where that does not hold."""
        if not hmac.compare_digest(signing.digest(), signature):
            return None
        return Signer(self.key, bytes(signature))
