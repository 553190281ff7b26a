"""Numbered objects are read only if every byte is the one that was written, in its own place."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from replicas import with_checksum

from trax.replica import entry as entries
from trax.replica.entry import (
    SMALLEST,
    Claim,
    Data,
    Entry,
    Part,
    Piece,
    decode,
    encode,
    is_data,
    number_key,
    number_of,
    outline,
    output_name,
)
from trax.storage.records import Damage, Forged, NewerVersion
from trax.storage.signing import Key

KEY = Key(bytes(32), "a test")
CLAIM = Claim(name="a", number=7, writer="0f", time=1.5, host="here", pid=12)
DATA = Data(
    name="a",
    number=8,
    writer="0f",
    time=1.5,
    epoch=7,
    run="ab",
    since=3,
    swept=2,
    history=1,
    claims=[7],
    files={"log-00000001": 2000, "checkpoint-00000001": 1030, "output out é.txt": 7},
    cut={"log-00000001": 1500, "output out é.txt": None},
    checks={"log-00000001": "0123456789abcdef"},
    parts=[Part("log-00000001", 1990, 10), Part("output out é.txt", 0, 7)],
    pieces=[Piece("checkpoint-00000001", 0, 1030, "runs/a/piece-0f-1", "ff")],
)
CONTENT = [b"0123456789", b"seven b"]


def encoded(entry: Entry = DATA, key: Key | None = None) -> bytes:
    """Return an object."""
    return b"".join(encode(entry, CONTENT if isinstance(entry, Data) else [], key))


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("entry", [CLAIM, DATA])
def test_an_object_comes_back(entry: Entry, key: Key | None) -> None:
    found, content = decode(encoded(entry, key), key, "a", entry.number)
    assert found == entry
    assert bytes(content) == (b"".join(CONTENT) if entry is DATA else b"")


@pytest.mark.parametrize("entry", [CLAIM, DATA])
def test_no_byte_can_change(entry: Entry) -> None:
    """Nor can one be missing, or added."""
    data = encoded(entry)
    for offset in range(len(data)):
        changed = bytearray(data)
        changed[offset] ^= 0x10
        with pytest.raises(Damage):
            decode(bytes(changed), None, "a", entry.number)
        with pytest.raises(Damage):
            decode(data[:offset], None, "a", entry.number)
    with pytest.raises(Damage):
        decode(data + b"\0", None, "a", entry.number)


def test_an_object_is_valid_in_its_own_place_only() -> None:
    with pytest.raises(Damage, match="it is number 8 of the run 'a'"):
        decode(encoded(), None, "a", 9)
    with pytest.raises(Damage, match="it is number 8 of the run 'a'"):
        decode(encoded(), None, "b", 8)


def test_without_the_key_none_can_be_made() -> None:
    signed = encoded(key=KEY)
    changed = with_checksum(signed.replace(b"seven", b"SEVEN"))
    with pytest.raises(Forged, match="is not signed with the key"):
        decode(changed, KEY, "a", 8)
    with pytest.raises(Forged, match="is not signed with the key"):
        decode(encoded(), KEY, "a", 8)
    with pytest.raises(Forged, match="is signed, and there is no key"):
        decode(signed, None, "a", 8)


def test_a_newer_version_is_named() -> None:
    data = bytearray(encoded())
    data[8] = 2
    with pytest.raises(NewerVersion, match="version 2; this trax reads up to 1"):
        decode(with_checksum(bytes(data)), None, "a", 8)


def with_fields(**changes: Any) -> bytes:
    """Return data whose fields are changed, and whose checksum is valid."""
    data = encoded()
    (length,) = struct.unpack_from("<I", data, 12)
    text = json.dumps(json.loads(data[16 : 16 + length]) | changes).encode()
    head = data[:12] + struct.pack("<I", len(text)) + text
    return with_checksum(head + data[16 + length :])


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "other"},
        {"files": {"../../etc/passwd": 3}},
        {"files": {"log-00000001": -1}},
        {"files": {"log-00000001": True}},
        {"files": ["log-00000001"]},
        {"cut": {"log-00000001": "1"}},
        {"parts": [["log-00000001", 0]]},
        {"parts": [["log-00000001", 0, 16]]},  # they have 17 bytes
        {"pieces": [["log-00000001", 0, 3, "key", None]]},
        {"pieces": [["log-00000001", 0, 3, "../key", "ff"]]},
        {"claims": [1.5]},
        {"writer": "xyz"},
        {"number": "8"},
    ],
    ids=str,
)
def test_fields_must_make_sense(changes: dict[str, Any]) -> None:
    """Whoever can write to the store of objects can also write valid checksums."""
    with pytest.raises(Damage):
        decode(with_fields(**changes), None, "a", 8)
    assert decode(with_fields(unknown=1), None, "a", 8)[0] == DATA


def test_what_a_round_has_not_finished_is_not_part_of_the_state() -> None:
    assert DATA.whole == {"log-00000001": 1500, "checkpoint-00000001": 1030}
    assert replace(DATA, cut={}).whole == DATA.files
    assert (DATA.base, replace(DATA, files={}).base) == (1, 0)


def test_keys_have_numbers_or_none() -> None:
    assert number_key("a%20b", 12) == "runs/a%20b/000000000012"
    assert number_of(number_key("a", 10**13)) == 10**13
    assert number_of("runs/a/piece-0f-1") == 0
    assert output_name("output log-00000001") == "log-00000001"
    assert output_name("log-00000001") is None


def test_data_is_told_from_claims_by_its_beginning() -> None:
    assert is_data(encoded()[:4096])
    assert not is_data(encoded(CLAIM)[:4096])
    assert not is_data(b"")


@pytest.mark.parametrize("beginning", [16, 100, 1 << 14])
@pytest.mark.parametrize("entry", [CLAIM, DATA])
def test_an_outline_reads_no_bytes_of_files(
    entry: Entry, beginning: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tells the size that the object was written with, whatever has become of its end."""
    monkeypatch.setattr(entries, "_BEGINNING", beginning)
    data = encoded(entry)
    asked: list[int] = []

    def read(offset: int, length: int) -> bytes:
        asked.append(offset + length)
        return data[offset : offset + length]

    whole = len(data)
    assert outline(read, whole) == (entry, whole)
    assert beginning == 1 << 14 or max(asked) == whole - 40 - 17 * (entry is DATA)
    data = data[:-20]
    assert outline(read, len(data)) == (entry, whole)
    for end in (SMALLEST, whole - 80 - 17):
        data = data[:end]
        with pytest.raises(Damage, match="its text does not fit into it"):
            outline(read, end)
    data = b"?" + data
    with pytest.raises(Damage, match="no object of a replica"):
        outline(read, end)
