"""Encoded objects in one piece."""

from __future__ import annotations

import numpy as np
import pytest

from trax.frames.packed import pack, unpack
from trax.storage.codec import decode, encode
from trax.storage.records import Damage


def test_an_object_comes_back_from_one_piece() -> None:
    """With memory of its own that can be written to, or not, as before."""
    fixed = np.arange(5000.0)
    fixed.flags.writeable = False
    packed = pack(encode({"a": np.arange(3000), "b": fixed, "c": "text"}, "it"))
    loaded = decode(unpack(packed), "it")
    assert loaded["a"].tolist() == list(range(3000))
    assert loaded["b"].tolist() == fixed.tolist()
    assert loaded["a"].flags.writeable
    assert not loaded["b"].flags.writeable
    assert loaded["c"] == "text"


def test_bytes_that_were_cut_are_refused() -> None:
    """Their checksum was right, but they make no sense."""
    packed = pack(encode(np.arange(3000), "it"))
    for length in (0, 3, 8, 20, 100):
        with pytest.raises(Damage):
            unpack(packed[:length])
