"""A set of digests: what it has, what has come, and how much memory it takes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import pytest
from support import peak_memory

from trax.engine.done_keys import Keys


def digests(count: int) -> Iterator[bytes]:
    return (hashlib.md5(str(number).encode()).digest() for number in range(count))


def test_it_is_a_set_whose_members_come() -> None:
    """As a dict from digest to mark is, whatever is done in whatever order."""
    keys, model = Keys(), dict[bytes, bool]()
    several, rng = [*digests(400)], random.Random(1)
    for _ in range(4000):
        digest = rng.choice(several)
        if rng.random() < 0.5:
            came = rng.random() < 0.5
            assert keys.add(digest, came=came) is (digest not in model)
            model.setdefault(digest, came)
        else:
            assert keys.meet(digest) is model.get(digest)
            if digest in model:
                model[digest] = True
        assert len(keys) == len(model)
        assert keys.missing == sum(not came for came in model.values())
    assert len(model) > 300


def test_its_digests_make_it_again() -> None:
    """None of their items has come."""
    several = [*digests(100)]
    keys = Keys(b"".join(several))
    assert (len(keys), keys.missing) == (100, 100)
    assert not keys.add(several[0], came=True)
    assert keys.meet(several[1]) is False
    joined = keys.digests()
    assert {joined[at : at + 16] for at in range(0, len(joined), 16)} == {*several}
    assert len(joined) == 1600


@pytest.mark.parametrize("digest", [bytes(16), b"\x01" * 16, b"\x00\x01" * 8, b"ab" * 8])
def test_the_end_of_one_digest_and_the_beginning_of_the_next_are_none(digest: bytes) -> None:
    """A digest is found only where an entry begins."""
    keys = Keys()
    for cut in range(1, 16):
        keys.add(digest[cut:] + b"\x07" * cut, came=True)
        keys.add(b"\x07" * cut + digest[:-cut], came=True)
    before = len(keys)
    assert keys.meet(digest) is None
    assert keys.add(digest, came=False)
    assert len(keys) == before + 1
    assert keys.meet(digest) is False


@pytest.mark.parametrize("count", [5_000, 60_000])
def test_a_digest_takes_less_than_24_bytes(count: int) -> None:
    """Also while it grows."""

    def add_all() -> None:
        keys = Keys()
        for digest in digests(count):
            keys.add(digest, came=True)
        assert len(keys) == count

    assert peak_memory(add_all) / count < 24
