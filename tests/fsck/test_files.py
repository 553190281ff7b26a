"""What was found of a file: plain values for a person, details for a repair."""

from __future__ import annotations

import json
import pickle

import pytest
from harm import SHAPES, store
from support import NAME

from trax.fsck.files import Generation
from trax.fsck.scan import Scan
from trax.testing.memory import MemoryDirectory


@pytest.mark.parametrize("text", SHAPES)
def test_the_dictionary_of_a_file_has_its_values_and_no_details(text: str) -> None:
    """So all of it can be JSON, and no stored bytes are in it."""
    scan = Scan(MemoryDirectory(store(text)), NAME)
    for checkpoint in scan.checkpoints.values():
        assert list(checkpoint.as_dict()) == ["name", "size", "step", "flaw", "offset"]
    for log in scan.logs.values():
        assert list(log.as_dict()) == [
            "name", "size", "durable", "begins", "count", "is_needed", "is_torn", "flaw", "offset"
        ]  # fmt: skip
    for one in scan.files:
        values = one.as_dict()
        assert values == json.loads(json.dumps(values))
        assert values == {key: getattr(one, key) for key in values}


def test_a_generation_need_not_have_both_files() -> None:
    """What is not there is None, also in the dictionary."""
    scan = Scan(MemoryDirectory(store("aacaa")), NAME)
    generation = Generation(1, None, scan.logs[1])
    assert generation.as_dict() == {
        "number": 1,
        "checkpoint": None,
        "log": scan.logs[1].as_dict(),
    }
    assert Generation(2, scan.checkpoints[2], None).as_dict()["log"] is None


def test_files_with_the_same_values_are_equal() -> None:
    """They can be in a set, and another process can have them."""
    files = store("aacaa")
    first, second = (Scan(MemoryDirectory(files), NAME).files for _ in range(2))
    assert first == second == pickle.loads(pickle.dumps(first))
    assert {*first} == {*second}
    assert "fields" not in repr(first)
