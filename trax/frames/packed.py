"""Encoded objects in one piece of bytes, as a step's record has them in its context."""

from __future__ import annotations

import struct

from trax.storage.codec import Encoded
from trax.storage.records import Damage

__all__ = ["pack", "unpack"]

_HEAD = struct.Struct("<BI")  # kind, number of buffers
_BUFFER = struct.Struct("<?Q")  # whether it is read-only, length


def pack(encoded: Encoded) -> bytes:
    """Return an encoded object as bytes."""
    if not encoded.buffers:
        return b"".join([_HEAD.pack(encoded.kind, 0), encoded.payload])
    views = [memoryview(buffer).cast("B") for buffer in encoded.buffers]
    heads = [_BUFFER.pack(view.readonly, view.nbytes) for view in views]
    head = _HEAD.pack(encoded.kind, len(views))
    return b"".join([head, *heads, *views, encoded.payload])


def unpack(packed: bytes) -> Encoded:
    """Return the encoded object that `pack` has made bytes of; its buffers are copies.

    Raises
    ------
    Damage
        The bytes make no sense.
    """
    try:
        kind, count = _HEAD.unpack_from(packed)
        begin = _HEAD.size + count * _BUFFER.size
        buffers: list[bytes | bytearray] = []
        for number in range(count):
            is_fixed, size = _BUFFER.unpack_from(packed, _HEAD.size + number * _BUFFER.size)
            part = packed[begin : begin + size]
            if len(part) < size:
                raise struct.error
            buffers.append(part if is_fixed else bytearray(part))
            begin += size
    except struct.error:
        raise Damage("a frame is shorter than it says", 0) from None
    return Encoded(kind, packed[begin:], buffers)
