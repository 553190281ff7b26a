"""Fields that make no sense are damage, though their checksums are right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import NAME, changed, read
from test_run_reader import LAST_LOG, NEW_CHECKPOINT, store

from trax import CorruptionError
from trax.storage.filenames import FileName
from trax.storage.records import (
    HEADER_SIZE,
    Records,
    decode_header,
    encode_header,
    pieces,
)
from trax.storage.run_reader import RunReader
from trax.testing.memory import MemoryDirectory


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("after", [4, 5, "0" * 16]),  # itself: a reader that follows would never end
        ("after", [3, 5]),
        ("after", [3, -5, "0" * 16]),
        ("after", [3, 5, "0x" + "0" * 14]),
        ("generation", "4"),
        ("run", "../../somewhere"),
        ("derived", None),
        ("sync", "sometimes"),
        ("boot", 1),
        ("name", None),
    ],
)
def test_a_log_whose_header_makes_no_sense_is_damaged(key: str, value: Any) -> None:
    """Its checksum holds; it is an error all the same, with file and offset, and by name."""
    files = store("interval", arrays=False)
    for fields in ({key: value}, None):
        content = with_fields("log", files[LAST_LOG], fields or {}, without=key)
        with pytest.raises(CorruptionError, match=key) as caught:
            read(MemoryDirectory(changed(files, LAST_LOG, content)))
        assert (Path(caught.value.path).name, caught.value.offset) == (LAST_LOG, 16)


@pytest.mark.parametrize(
    ("key", "value"),
    [("chain", "f" * 17), ("chain", -1), ("step", 10**30), ("step", True), ("written", 10**400)],
)
def test_a_checkpoint_whose_header_makes_no_sense_is_as_a_damaged_one(key: str, value: Any) -> None:
    """The one before it stands in."""
    files = store("interval", arrays=False)
    content = with_fields("checkpoint", files[NEW_CHECKPOINT], {key: value})
    recovery = RunReader(MemoryDirectory(changed(files, NEW_CHECKPOINT, content)), NAME)
    assert (recovery.base, [str(name) for name in recovery.broken]) == (2, [NEW_CHECKPOINT])
    assert key in str(recovery.broken[FileName("checkpoint", 3)])


def with_fields(kind: str, content: bytes, new: dict[str, Any], without: str = "") -> bytes:
    """Return a file with other fields in its header block, and checksums that hold."""
    fields, chain = decode_header(kind, content[:HEADER_SIZE])
    fields.pop(without, None)
    block = encode_header(kind, fields | new).block
    result = block
    records = Records(MemoryDirectory({"": content}).open(""), chain)
    chain = decode_header(kind, block)[1]
    for record in records:
        head, check, chain = pieces(record.kind | record.begins << 7, record.payload, chain)
        result += head + record.payload + check
    return result
