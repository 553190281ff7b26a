"""Output files, compared with what a context says of them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from trax import CorruptionError
from trax.fsck.outputs import OutputChecker, find_outputs
from trax.storage.context import Key, Kind


def context(**lengths: int) -> dict[Key, bytes]:
    """Return what is stored of output files beside the store."""
    return {
        Key(Kind.OUTPUT, f"../{name}.txt", 0): struct.pack("<Q", length)
        for name, length in lengths.items()
    }


def test_each_output_file_is_found_with_its_lengths(tmp_path: Path) -> None:
    """The recorded one and the present one; a file that is longer is long enough."""
    (tmp_path / "short.txt").write_bytes(bytes(9))
    (tmp_path / "long.txt").write_bytes(bytes(11))
    found = find_outputs(str(tmp_path / ".trax"), context(short=10, long=10, missing=10))
    assert {Path(one.path).stem: (one.length, one.present) for one in found} == {
        "short": (10, 9),
        "long": (10, 11),
        "missing": (10, None),
    }
    assert [one.is_long_enough for one in found] == [False, True, False]


@pytest.mark.parametrize(("length", "enough"), [(9, False), (10, True), (11, True)])
def test_all_must_be_long_enough(tmp_path: Path, length: int, enough: bool) -> None:
    """One that is not is one too many."""
    (tmp_path / "one.txt").write_bytes(bytes(length))
    (tmp_path / "two.txt").write_bytes(bytes(10))
    assert OutputChecker(str(tmp_path / ".trax"))(context(one=10, two=10)) is enough
    assert OutputChecker(str(tmp_path / ".trax"))({})


def test_what_cannot_be_about_an_output_file_is_no_output(tmp_path: Path) -> None:
    """It is an error to look for it, and nothing that a run could resume with."""
    odd = {Key.parse("output ../out.txt#0"): b"seven.."}
    with pytest.raises(CorruptionError, match=r"'\.\./out\.txt'"):
        find_outputs(str(tmp_path), odd)
    assert not OutputChecker(str(tmp_path))(odd)
