"""Files that a loop reads are opened again at its place, if what was read is still there."""

from __future__ import annotations

import bz2
import csv
import gc
import gzip
import io
import lzma
import os
import random
import sys
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from copying import check_copies, copy, refusal

from trax.errors import CodecError
from trax.frames.iterators import reductions
from trax.frames.loading import loading
from trax.storage.codec import decode, encode

# ruff: noqa: SIM115

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """Let files that a test has left open be collected before another one begins."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def lines(count: int = 500) -> list[str]:
    """Return lines of all lengths, more than a file reads at once, with characters of all sizes."""
    rng = random.Random(1)
    return ["".join(rng.choices("aé😀, ", k=rng.randrange(60))) + "\n" for _ in range(count)]


def write(newline: str = "\n", encoding: str = "utf-8", count: int = 500) -> Path:
    text = "".join(lines(count)).replace("\n", newline)
    Path("file.txt").write_bytes(text.encode(encoding, "replace"))
    return Path("file.txt")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252"])
@pytest.mark.parametrize("option", [None, "", "\n"])
def test_lines_go_on(newline: str, encoding: str, option: str | None) -> None:
    """While a loop goes over its lines, a file does not tell its position."""
    path = write(newline, encoding)
    expected = path.open(encoding=encoding, newline=option).readlines()
    for count in {0, 1, 2, 50, 251, len(expected) // 2, len(expected) - 1, len(expected)}:
        file = path.open(encoding=encoding, newline=option)
        before = [*islice(file, count)]
        assert [*before, *copy(file)] == expected
        assert [*before, *file] == expected


def test_other_ways_to_read_go_on() -> None:
    path = write("\r\n")
    for read in (lambda file: file.readline(), lambda file: file.read(1777)):
        file = path.open(encoding="utf-8")
        for _ in range(2):
            read(file)  # type: ignore[no-untyped-call]
        copied = copy(copy(file))
        assert copied.mode == "r"
        assert copied.name == file.name
        assert copied.read() == file.read()


@pytest.mark.parametrize(
    "make",
    [
        lambda: open("file.txt", "rb"),
        lambda: open("file.txt", "rb", buffering=0),
        lambda: gzip.open("file.gz"),
        lambda: gzip.open("file.gz", "rt", encoding="utf-8"),
        lambda: bz2.open("file.bz2"),
        lambda: lzma.open("file.xz", "rt", encoding="utf-8"),
        lambda: io.StringIO("a\nb\nc\n"),
        lambda: io.BytesIO(b"a\nb\nc\n"),
        lambda: csv.reader(open("file.txt", encoding="utf-8", newline="")),
        lambda: csv.reader(iter(["a;b", "'c", "d';e"]), delimiter=";", quotechar="'"),
        lambda: csv.DictReader(open("file.txt", encoding="utf-8"), ["a", "b"]),
        lambda: csv.DictReader(open("file.txt", encoding="utf-8")),
        lambda: enumerate(
            zip(open("file.txt", encoding="utf-8"), open("file.txt", "rb"), strict=True)
        ),
    ],
)
def test_files_go_on(make: Any) -> None:
    write("\r\n", count=20)
    for kind, name in ((gzip, "file.gz"), (bz2, "file.bz2"), (lzma, "file.xz")):
        with kind.open(name, "wb") as file:
            file.write("".join(lines(20)).encode())
    check_copies(make)


def test_a_reader_still_counts_its_lines() -> None:
    reader = csv.reader(["a,b", '"c', 'd",e', "f"])
    next(reader), next(reader)
    copied = copy(copy(reader))
    assert (copied.line_num, reader.line_num) == (3, 3)
    assert next(copied) == ["f"]
    assert copied.line_num == 4


def stored(file: Any) -> Any:
    return encode(file, "the frame", shared=reductions()).copied()


def opened(encoded: Any) -> Any:
    with loading():
        return decode(encoded, "the frame")


def half_read() -> Any:
    file = write().open(encoding="utf-8")
    for _ in range(100):
        next(file)
    return file


def test_a_file_may_become_longer_and_its_later_lines_may_change() -> None:
    encoded = stored(half_read())
    text = lines()
    text[300] = "corrected\n"
    Path("file.txt").write_text("".join([*text, "more\n"]))
    assert [*opened(encoded)] == [*text[100:], "more\n"]


@pytest.mark.parametrize("change", ["other", "shorter"])
def test_a_file_whose_beginning_has_changed_is_refused(change: str) -> None:
    encoded = stored(half_read())
    text = lines()[:50] if change == "shorter" else ["x", *lines()]
    Path("file.txt").write_text("".join(text))
    with pytest.raises(CodecError) as error:
        opened(encoded)
    assert str(error.value) == (
        "the part of 'file.txt' that the loop has read was changed.\n"
        "Put the file back as it was, or start over with the function's fresh(...)."
    )


def test_a_file_that_is_gone_is_told() -> None:
    encoded = stored(half_read())
    Path("file.txt").unlink()
    with pytest.raises(CodecError, match=r"^'file.txt', which the loop reads, cannot be opened"):
        opened(encoded)


def test_a_file_is_found_from_another_directory() -> None:
    encoded = stored(half_read())
    Path("other").mkdir()
    os.chdir("other")
    Path("file.txt").write_text("another one")
    assert len([*opened(encoded)]) == 400


@pytest.mark.parametrize("mode", ["w", "a", "r+", "wb", "x"])
def test_files_that_are_written_are_refused(mode: str) -> None:
    path = write() if mode != "x" else Path("new.txt")
    with open(path, mode) as file:
        text = refusal(file)
    assert "cannot be stored: " in text
    assert "trax.open" in text


def test_what_is_no_file_is_refused() -> None:
    file = write().open("rb")
    with os.fdopen(os.dup(file.fileno()), "rb") as other:
        assert "it was opened without a path" in refusal(other)
    Path("file.txt").unlink()
    assert "there is no such regular file" in refusal(file)
    assert "cannot be stored" in refusal(sys.__stdin__)


def test_a_pipe_is_refused_with_the_remedy() -> None:
    """As standard input may be one."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as text, os.fdopen(writing, "wb"):
        for file in (text, text.buffer):
            assert "is no file, and can be read only once\nRead it into a list" in refusal(file)


def test_a_closed_file_stays_closed() -> None:
    for file in (write().open(), write().open("rb")):
        file.close()
        assert copy(file).closed


def test_what_was_read_is_not_digested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame costs only what was read since the one before."""
    read: list[int] = []
    pread = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        read.append(size)
        return pread(fd, size, at)

    monkeypatch.setattr(os, "pread", counted)
    file = half_read()
    stored(file)
    before = sum(read)
    next(file)
    stored(file)
    assert before < sum(read) < before + 300


def items(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.strip()


def test_a_generator_that_reads_a_file_goes_on() -> None:
    """Its ``with`` still closes the file."""
    write(count=10)
    check_copies(lambda: items(Path("file.txt")))
    iterator = copy(items(Path("file.txt")))
    next(iterator)
    iterator = copy(iterator)
    file = iterator.gi_frame.f_locals["file"]
    assert not file.closed
    iterator.close()
    assert file.closed
