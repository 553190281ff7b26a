"""A chain has one writer at a time, and each of its numbers is written once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from replicas import NAME, Objects, no_answer, with_checksum

from trax import CorruptionError, FormatVersionError, LockedError, UntrustedError
from trax.replica.chain import Chain
from trax.replica.entry import Data
from trax.replica.seam import Away
from trax.storage.signing import Key


def claimed(objects: Objects, key: Key | None = None) -> Chain:
    """Return a chain that has claimed the run."""
    chain = Chain(objects, NAME, key)
    chain.claim()
    return chain


def data_of(chain: Chain, **fields: object) -> Data:
    """Return data for the next number."""
    number = chain.number + 1
    data = Data(
        name=NAME,
        number=number,
        writer=chain.writer,
        time=0.0,
        epoch=chain.epoch,
        run="ab",
        since=number,
        swept=0,
        files={"log-00000001": 0},
        history=number,
    )
    return replace(data, **fields)  # type: ignore[arg-type]


def put(chain: Chain) -> None:
    """Put data without bytes."""
    chain.put(chain.encode(data_of(chain), []))


def test_a_writer_begins_with_a_claim() -> None:
    objects = Objects()
    chain = claimed(objects)
    assert (chain.epoch, chain.number, chain.before) == (1, 1, [])
    assert chain.look_back() == ("", None, [])
    put(chain)
    put(chain)
    assert [key[-1] for key in objects.contents] == ["1", "2", "3"]


def test_the_next_writer_finds_the_last_data_and_the_claims_after_it() -> None:
    objects = Objects()
    first = claimed(objects)
    put(first)
    claimed(objects)
    third = claimed(objects)
    last, data, claims = claimed(objects).look_back()
    assert data is not None
    assert (last, data.number, claims) == (third.writer, 2, [4, 3])


def test_nothing_is_listed_while_a_run_goes_on() -> None:
    objects = Objects()
    chain = claimed(objects)
    for _ in range(10):
        put(chain)
    assert objects.listings == 2


def test_a_former_writer_is_told_who_has_the_run() -> None:
    objects = Objects()
    first = claimed(objects)
    claimed(objects)
    with pytest.raises(LockedError, match=r"was taken over by process \d+ on .+ \(\d{4}-"):
        put(first)
    with pytest.raises(LockedError):
        put(first)


def test_a_put_whose_answer_was_lost_is_known_by_its_content() -> None:
    objects = Objects()
    chain = claimed(objects)
    data = chain.encode(data_of(chain), [])
    objects.after_put(0, no_answer)
    with pytest.raises(Away):
        chain.put(data)
    chain.put(data)
    assert chain.number == 2
    put(chain)


def test_a_claim_whose_answer_was_lost_is_no_other_writer() -> None:
    objects = Objects()
    put(claimed(objects))
    chain = Chain(objects, NAME, None)
    objects.after_put(0, no_answer)
    with pytest.raises(Away):
        chain.claim()
    chain.claim()
    last, data, claims = chain.look_back()
    assert data is not None
    assert last == data.writer != chain.writer
    assert claims == [3]


def test_a_missing_object_is_damage_unless_another_writer_deleted_it() -> None:
    objects = Objects()
    first = claimed(objects)
    put(first)
    second = claimed(objects)
    objects.delete(["runs/magnet/000000000002"])
    with pytest.raises(CorruptionError, match="000000000002: it is missing"):
        second.read(2)
    claimed(objects)
    with pytest.raises(LockedError):
        second.read(2)


def test_damage_is_named_with_its_key() -> None:
    objects = Objects()
    chain = claimed(objects)
    objects.contents["runs/magnet/000000000001"] = b"rubbish"
    with pytest.raises(CorruptionError, match="memory://test/runs/magnet/000000000001: it is cut"):
        chain.read(1)


def test_whoever_has_another_key_claims_nothing() -> None:
    objects = Objects()
    first = claimed(objects, Key(bytes(32), "a test"))
    put(first)
    for key in (None, Key(b"1" * 32, "another")):
        with pytest.raises(UntrustedError):
            claimed(objects, key)
    put(first)


def test_a_newer_version_is_left_alone() -> None:
    objects = Objects()
    claimed(objects)
    data = bytearray(objects.contents["runs/magnet/000000000001"])
    data[8] = 2
    objects.contents["runs/magnet/000000000001"] = with_checksum(bytes(data))
    with pytest.raises(FormatVersionError, match="version 2; this trax reads up to 1"):
        claimed(objects)
    assert len(objects.contents) == 1


def test_what_was_left_is_swept_but_no_claim() -> None:
    objects = Objects()
    first = claimed(objects)
    put(first)
    put(first)
    objects.put("runs/magnet/piece-1", [b"kept"])
    objects.put("runs/magnet/piece-2", [b"left"])
    second = claimed(objects)
    second.sweep(0, 3, ["runs/magnet/piece-1"])
    left = [key.removeprefix("runs/magnet/") for key in objects.contents]
    assert left == ["000000000001", "000000000003", "piece-1", "000000000004"]
