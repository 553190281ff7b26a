"""The marker of a directory is read if it is valid, and changes nothing if it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trax.replica.entry import Data
from trax.replica.marker import Marker, is_behind, mark_rewound, read_marker, write_marker
from trax.testing.memory import MemoryDirectory


def test_a_marker_comes_back() -> None:
    directory = MemoryDirectory()
    assert read_marker(directory) == Marker()
    marker = Marker("s3://bucket", ["ab", "cd"], behind=True)
    write_marker(directory, marker)
    assert read_marker(directory) == marker
    mark_rewound(directory)
    assert read_marker(directory) == Marker("s3://bucket", ["ab", "cd"], behind=True, rewound=True)


def test_a_replica_is_behind_unless_it_is_known_to_have_all() -> None:
    """A generation that was begun since may have been written without it."""
    directory = MemoryDirectory({"log-00000003": b"", "checkpoint-00000003": b"", "other": b""})
    assert is_behind(directory, "s3://bucket")
    marker = Marker("s3://bucket", ["ab"], copied=3)
    write_marker(directory, marker)
    assert not is_behind(directory, "s3://bucket")
    assert is_behind(directory, "s3://other")
    write_marker(directory, replace(marker, behind=True))
    assert is_behind(directory, "s3://bucket")
    write_marker(directory, replace(marker, copied=2))
    assert is_behind(directory, "s3://bucket")


def test_a_run_without_a_replica_gets_no_marker() -> None:
    directory = MemoryDirectory()
    mark_rewound(directory)
    assert directory.list() == []


INVALID = [b"", b"{", b"[]", b'{"other": 1}', b'{"writers": "ab"}', b'{"outputs": []}', b"\xff"]


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_marker_counts_as_none(text: bytes) -> None:
    assert read_marker(MemoryDirectory({"replica": text})) == Marker()


DATA = Data(
    name="run", number=7, writer="ab", time=0.0, epoch=6, run="ff", since=7, swept=0, history=7
)


def test_the_directory_goes_on_if_nobody_else_has_written_since() -> None:
    marker = Marker("s3://bucket", ["ab"], pushed={"s3://other": ["ef"]})
    assert marker.trusts("ab", DATA)
    assert marker.trusts("ef", DATA)
    assert not marker.trusts("cd", DATA)


def test_another_writer_is_trusted_for_the_data_that_was_seen() -> None:
    marker = Marker().seeing("cd", DATA)
    assert marker.trusts("cd", DATA)
    assert marker.trusts("ab", DATA)
    later = replace(DATA, number=8)
    assert not marker.trusts("ab", later)
    assert not marker.trusts("cd", later)
    claimed = replace(marker, writers=["ef"])
    assert claimed.trusts("ef", DATA)
    assert not claimed.trusts("ef", later)


def test_a_marker_from_the_announcement_of_a_writer_until_all_is_copied() -> None:
    """Another place that the run was copied to keeps its writers."""
    marker = Marker("s3://other", ["ab"], copied=2, history="ff 1", seen={"cd": 3})
    announced = marker.announcing("ef")
    assert announced == replace(marker, writers=["ab", "ef"], behind=True)
    begun = announced.begun("s3://bucket", "ef", {"output a": 5}, rewound=True)
    pushed = {"s3://other": ["ab", "ef"]}
    assert begun == Marker("s3://bucket", ["ef"], True, {"output a": 5}, True, pushed=pushed)
    assert begun.begun("s3://bucket", "gh", {}, rewound=False).pushed == pushed
    done = replace(begun, rewound=False).complete(DATA)
    assert (done.behind, done.copied, done.history) == (False, 0, "ff 7")
    assert done.pushing("s3://third", ["gh"]).pushed == {**pushed, "s3://third": ["gh"]}
