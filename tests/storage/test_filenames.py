"""What files and directories are called, and which names are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trax
from trax import UsageError
from trax.storage.filenames import (
    FileName,
    decode_run,
    encode_run,
    is_default,
    is_leftover,
    local_store,
    store_path,
    temporary,
)

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\"), min_size=1, max_size=30)


def accepted(name: str) -> str | None:
    """Return the directory name of a run, or None where the name is refused."""
    try:
        return encode_run(name)
    except UsageError:
        return None


@pytest.mark.parametrize(
    ("name", "encoded"),
    [
        ("simulate", "simulate"),
        ("lorenz-42_a.b~1", "lorenz-42_a.b~1"),
        ("two words", "two%20words"),
        ("50%", "50%25"),
        ("Erdős", "Erd%C5%91s"),
        ("a:b*c?", "a%3Ab%2Ac%3F"),
        (".hidden", "%2Ehidden"),
        ("...", "%2E.%2E"),
        ("run.", "run%2E"),
    ],
)
def test_a_run_is_called_what_a_person_would_recognise(name: str, encoded: str) -> None:
    """Letters, digits and a few signs stand for themselves, the rest is percent-encoded."""
    assert encode_run(name) == encoded
    assert decode_run(encoded) == name


@given(NAMES)
def test_a_name_comes_back(name: str) -> None:
    """Every name that is accepted can be read off its directory."""
    encoded = accepted(name)
    assert encoded is None or decode_run(encoded) == name


@given(NAMES, NAMES)
def test_two_names_never_share_a_directory(one: str, other: str) -> None:
    """Names that differ are directories that differ."""
    if one != other and accepted(one) is not None:
        assert accepted(one) != accepted(other)


@given(st.text(max_size=30))
def test_no_name_leaves_the_store(name: str) -> None:
    """The directory of a run is a child of the directory of runs, and hidden from nobody."""
    encoded = accepted(name)
    if encoded is not None:
        assert Path("/runs", encoded).parent == Path("/runs")
        assert encoded.isascii()
        assert encoded not in ("", ".", "..")
        assert not encoded.startswith(".")
        assert len(encoded) <= 200


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "must not be empty"),
        ("  ", "must not be empty"),
        (".", "looks like a path"),
        ("..", "looks like a path"),
        ("../../x", "looks like a path"),
        ("/etc/passwd", "looks like a path"),
        ("a\\b", "looks like a path"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("\ud800", "not valid Unicode"),
        ("x" * 201, "too long"),
        ("é" * 40, "too long"),
        (7, "must be a str, not 7\nGive the name that `trax ls` shows"),
    ],
    ids=repr,
)
def test_a_name_that_cannot_work_is_refused(name: str, reason: str) -> None:
    """The error is a `UsageError`, and shows the name."""
    with pytest.raises(UsageError, match=reason) as caught:
        encode_run(name)
    assert repr(name) in str(caught.value)


def test_the_names_of_the_files_of_a_run() -> None:
    """Whole, being written, damaged, and cut off."""
    name = FileName("checkpoint", 7)
    assert str(name) == "checkpoint-00000007"
    assert temporary(str(name)) == "checkpoint-00000007.tmp"
    assert name.broken == "checkpoint-00000007.broken"
    assert FileName("log", 123456789).torn(5) == "log-123456789.torn-5"


@given(st.sampled_from(["log", "checkpoint"]), st.integers(1, 10**18 - 1))
def test_a_file_name_comes_back(kind: str, generation: int) -> None:
    """Also behind the first hundred million generations."""
    name = FileName(kind, generation)
    assert FileName.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "log",
        "log-1",
        "log-00000001.tmp",
        "log-00000001.torn-5",
        "log-00000001\n",
        "checkpoint-00000001.broken",
        "xlog-00000001",
        "log--0000001",
        "log-00000000",  # generations begin with 1
        "checkpoint-1000000000000000000",  # and end before 10**18
        "log-000000001",  # a digit more than it would be written with
        "log-\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0661",  # digits, but not ours
        ".gitignore",
    ],
)
def test_any_other_file_does_not_count(text: str) -> None:
    """What was set aside, is not finished, or is somebody else's is never read."""
    assert FileName.parse(text) is None


def test_files_sort_by_generation() -> None:
    """Also where the number has outgrown its eight digits."""
    names = [FileName("log", generation) for generation in (99_999_999, 100_000_000, 9)]
    assert sorted(names) == [names[2], names[0], names[1]]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "cannot be the directory"),
        (b"store", "cannot be the directory"),
        (3, "cannot be the directory"),
        (True, "cannot be the directory"),
        ("a\0b", "cannot be the directory"),
        (r"C:\data", "a path of Windows"),
        ("C:/data", "a path of Windows"),
        (r"\\server\share", "a path of Windows"),
        (r"data\runs", "a path of Windows"),
        ("~nobody-of-this-name/x", "an unknown user"),
        ("s3://bucket/sweep", "at the URL 's3://bucket/sweep'"),
        (Path("s3://bucket/sweep"), "at the URL 's3:/bucket/sweep'"),
        ("file:///sweep", "at the URL"),
    ],
)
def test_the_directory_of_a_store_is_not_made_of_a_slip(given: Any, says: str) -> None:
    """It would lie in a directory with a strange name, and be found by nobody."""
    with pytest.raises(UsageError, match=says):
        trax.Trax(given)
    assert list(Path().iterdir()) == []


def test_the_directory_of_a_store_can_be_in_the_home_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And under any name that is meant."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert store_path("~/store") == str(tmp_path / "home" / "store")
    assert store_path("./~nobody-of-this-name") == str(tmp_path / "~nobody-of-this-name")
    assert store_path("./s3:/bucket") == str(tmp_path / "s3:" / "bucket")
    assert store_path("at/12:30:/x") == str(tmp_path / "at/12:30:/x")
    Path(r"back\slash").mkdir()
    assert store_path(r"back\slash") == str(tmp_path / r"back\slash")


def test_the_default_store_may_be_one_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages ask for it, which are about another one."""
    assert is_default(store_path())
    assert not is_default("/other")
    monkeypatch.setenv("TRAX_DIR", "s3://bucket/sweep")
    assert not is_default("/other")


@pytest.mark.parametrize(
    ("name", "is_left"),
    [
        ("log-00000001", False),
        ("journal", False),
        ("repair", False),
        ("replica", False),
        ("000000000001", False),  # an object of a replica
        ("notes.txt", False),
        ("log-00000001.torn-12", True),
        ("checkpoint-00000001.broken", True),
        ("checkpoint-00000001.tmp", True),
        ("journal.tmp", True),
    ],
)
def test_what_trax_has_set_aside_is_told_from_what_others_need(name: str, is_left: bool) -> None:
    """The first is removed when somebody needs room."""
    assert is_leftover(name) is is_left


def test_a_directory_is_a_place_of_replicas_by_its_probe_alone(tmp_path: Path) -> None:
    """A store may be in a directory in which somebody has something of that name."""
    (tmp_path / "probe").write_bytes(b"1")
    with pytest.raises(UsageError, match="has replicas of runs, so it is no store"):
        local_store(tmp_path)
    (tmp_path / "locks").mkdir()
    assert local_store(tmp_path) == str(tmp_path)
    (tmp_path / "locks").rmdir()
    (tmp_path / "probe").unlink()
    (tmp_path / "probe").mkdir()
    assert local_store(tmp_path) == str(tmp_path)
