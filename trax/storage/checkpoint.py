"""One checkpoint file: a header block, a meta record, the parts, and an end record.

A checkpoint counts from the moment its final name is on the disk. Until then it is a ``.tmp`` file,
which nobody reads.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trax.storage.codec import Encoded
from trax.storage.context import decode_context
from trax.storage.filenames import FileName
from trax.storage.filesystem import (
    Directory,
    Input,
    Output,
    closing_quietly,
    new_file,
    write_all,
)
from trax.storage.records import (
    BUFFER,
    CONTEXT,
    END,
    HEADER_SIZE,
    META,
    OVERHEAD,
    READONLY_BUFFER,
    VALUES,
    Damage,
    Framing,
    Records,
    decode_header,
    decode_text,
    encode_header,
    header_signer,
)
from trax.storage.schema import check_meta
from trax.storage.signing import SIGNATURE_SIZE, Key

__all__ = ["Checkpoint", "read_checkpoint", "read_meta", "write_checkpoint"]

_LENGTH = struct.Struct("<Q")
assert _LENGTH.size == 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a checkpoint file; nothing in it has been unpickled.

    Attributes
    ----------
    fields : dict
        The fields of the header block: the run, the generation, the position.
    meta : dict
        The meta record: JSON about the parts, written by the layer above.
    parts : dict of str to Encoded
        The pickles and the context, by name.
    """

    fields: dict[str, Any]
    meta: dict[str, Any]
    parts: dict[str, Encoded]


def write_checkpoint(
    directory: Directory,
    name: FileName,
    fields: dict[str, Any],
    meta: dict[str, Any],
    parts: Mapping[str, Encoded],
) -> int:
    """Write a checkpoint and make it count; return the size of the file in bytes.

    The meta record is stored as JSON with the names of the parts: the pickles and the context.

    Raises
    ------
    OSError
        The checkpoint does not count. Its temporary file is removed if the file system allows that.
    """
    with new_file(directory, str(name)) as output:
        return _write(output, fields, {**meta, "parts": list(parts)}, parts, directory.key)


def _write(
    output: Output,
    fields: dict[str, Any],
    meta: dict[str, Any],
    parts: Mapping[str, Encoded],
    key: Key | None,
) -> int:
    block, chain, signer = encode_header("checkpoint", fields, key)
    framing = Framing(chain, signer, len(block))

    def records() -> Iterator[tuple[int, Any]]:
        for part in parts.values():
            yield from part.records()
        size = framing.end + OVERHEAD + _LENGTH.size
        yield END, _LENGTH.pack(size + (OVERHEAD + SIGNATURE_SIZE if signer else 0))

    # The meta record is signed on its own: it can be read, and trusted, without the rest.
    first = framing.chunks([(META, json.dumps(meta).encode())])
    chunks = framing.chunks(records())
    write_all(output, b"".join([block, *first, next(chunks)]))
    for chunk in chunks:
        write_all(output, chunk)
    return framing.end


def read_checkpoint(directory: Directory, name: FileName) -> Checkpoint:
    """Read and check a whole checkpoint.

    Raises
    ------
    Damage
        At least one byte of it is not the one that was written.
    NewerVersion
        A newer trax wrote it.
    Forged
        Nothing proves that its writer had the key of the store.
    """
    source = directory.open(str(name))
    with closing_quietly(source):
        fields, records = _open(source, directory.key)
        meta: dict[str, Any] = {}
        objects: list[Encoded] = []
        buffers: list[Any] = []
        whole = False
        for kind, _, payload, offset in records:
            if kind == META and not (meta or objects or buffers):
                meta = decode_text(payload, offset)
                check_meta(meta, offset)
            elif kind == BUFFER:
                buffers.append(payload)
            elif kind == READONLY_BUFFER:
                buffers.append(bytes(payload))
            elif kind in VALUES or (kind == CONTEXT and not buffers):
                if kind == CONTEXT:
                    decode_context(payload, offset + _LENGTH.size)
                objects.append(Encoded(kind, payload, buffers))
                buffers = []
            elif kind == END:
                whole = records.offset == source.size and payload == _LENGTH.pack(source.size)
                if not whole:
                    raise Damage("there are bytes after the end record", offset)
            else:
                raise Damage("a record does not belong here", offset)
        if not whole:
            raise Damage(records.flaw or "the end record is missing", records.offset)
    return Checkpoint(fields, meta, _name(meta.pop("parts", []), objects))


def _name(names: list[str], objects: list[Encoded]) -> dict[str, Encoded]:
    """Return the objects by name; all but the context must be pickles."""
    contexts = [name == "context" for name in names]
    if contexts != [encoded.kind == CONTEXT for encoded in objects]:
        raise Damage("the parts do not match their names in the meta record", HEADER_SIZE)
    return dict(zip(names, objects, strict=True))


def _open(source: Input, key: Key | None) -> tuple[dict[str, Any], Records]:
    block = source.read_at(0, HEADER_SIZE)
    fields, chain = decode_header("checkpoint", block, key)
    return fields, Records(source, chain, header_signer(block, key))


def read_meta(directory: Directory, name: FileName) -> dict[str, Any]:
    """Return the header fields and the meta record as one dict, reading and checking only those.

    Raises
    ------
    Damage, NewerVersion, Forged
        As `read_checkpoint` raises them, about these two alone.
    """
    source = directory.open(str(name))
    with closing_quietly(source):
        fields, records = _open(source, directory.key)
        for kind, _, payload, _ in records:
            if kind == META:
                meta = decode_text(payload, HEADER_SIZE)
                check_meta(meta, HEADER_SIZE)
                return fields | meta
            break
        raise Damage(records.flaw or "the meta record is missing", records.offset)
