"""Files that are open for writing are found in whatever keeps them."""

from __future__ import annotations

import contextlib
import csv
import functools
import gzip
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trax
from trax.frames.written_files import written_file


class Keeper:
    file: Any
    rows: Any

    def __init__(self, **kept: Any) -> None:
        vars(self).update(kept)


KEPT: dict[str, Callable[[Any], Any]] = {
    "x": lambda file: file,
    "x.file": lambda file: Keeper(file=file),
    "x.files['a'][0]": lambda file: Keeper(files={"a": [file]}),
    "x.print": lambda file: Keeper(print=functools.partial(print, file=file)),
    "x.write": lambda file: Keeper(write=file.write),
    "x.rows": lambda file: Keeper(rows=csv.writer(file)),
    "x.writer": lambda file: csv.DictWriter(file, "ab"),
}


@pytest.mark.parametrize("path", KEPT)
@pytest.mark.parametrize("mode", ["w", "a", "x", "r+"])
def test_a_file_is_found_by_its_path(path: str, mode: str) -> None:
    if mode == "r+":
        Path("out.txt").touch()
    with open("out.txt", mode) as file:
        found = written_file(KEPT[path](file), "x")
        assert found is not None
        assert found == (path, "out.txt", file)
    assert written_file(KEPT["x.file"](file), "x") is None  # it is closed


def test_files_of_bytes_and_compressed_ones() -> None:
    with open("a.bin", "wb") as plain, open("b.bin", "wb", 0) as raw, gzip.open("c.gz", "wt") as gz:
        for file in (plain, raw, gz):
            assert written_file([file], "x") is not None


def test_the_advice_for_a_compressed_file_is_another_one() -> None:
    """What `trax.open` writes is not compressed."""
    with open("a.txt", "w") as plain, gzip.open("c.gz", "wt") as packed:
        advice = [found.advice for one in (plain, packed) if (found := written_file(one, "x"))]
    assert "Open 'a.txt' with trax.open" in advice[0]
    assert "compress that when the loop has ended" in advice[1]


def test_others_are_left_alone() -> None:
    """Files that are read, standard streams, and handlers of logs."""
    Path("in.txt").write_text("a")
    handler = logging.FileHandler("log.txt")
    with open("in.txt") as read:
        for one in (read, sys.stdout, sys.stderr.write, handler):
            assert written_file(Keeper(one=one), "x") is None
    handler.close()


def test_a_module_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """It leads to all files of the program."""
    with open("out.txt", "w") as file:
        monkeypatch.setattr(csv, "out", file, raising=False)
        assert written_file({"a": csv}, "x") is None


def test_output_files_of_trax_are_left_alone() -> None:
    """Also below objects that can only be made again."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        rows = csv.DictWriter(trax.open("out.csv", "w"), ["n"])
        keeper = Keeper(rows=csv.writer(trax.open("other.csv", "w")))
        for i in range(n):
            rows.writerow({"n": i})
            keeper.rows.writerow([i])
            yield i

    assert loop(3).result() == 2
    assert Path("out.csv").read_text() == Path("other.csv").read_text() == "0\n1\n2\n"


def test_an_object_of_a_plain_loop_that_keeps_such_a_file_is_refused() -> None:
    """With the name, the line and the remedy; nobody opens the file a second time."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        report = Keeper(file=open("out.txt", "a"))  # noqa: SIM115
        for i in range(n):
            report.file.write(f"{i}\n")
            yield i

    with pytest.raises(trax.CodecError) as caught:
        next(loop(3))
    cause, kind, way, *_ = str(caught.value).splitlines()
    line = loop.__wrapped__.__code__.co_firstlineno + 2
    assert cause == (
        f"loop: report (line {line}) cannot be made again: report.file is open for writing."
    )
    assert kind.startswith("It cannot be stored (")
    assert way == "Open 'out.txt' with trax.open, which goes on at the right place after a crash."


@contextlib.contextmanager
def redirected(path: str) -> Iterator[None]:
    with open(path, "a") as file, contextlib.redirect_stdout(file):
        yield


def test_a_with_that_opens_such_a_file_is_refused() -> None:
    """It would be entered again; nothing of it need be a variable of the loop."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        with redirected("out.txt"):
            for i in range(n):
                print(i)
                yield i

    with pytest.raises(trax.CodecError) as caught:
        next(loop(3))
    cause, way, *_ = str(caught.value).splitlines()
    line = loop.__wrapped__.__code__.co_firstlineno + 2
    assert cause == (
        f"loop: the with in line {line} cannot be entered again: it has a file open for writing."
    )
    assert way.startswith("Open 'out.txt' with trax.open")


def test_one_that_is_made_in_each_turn_of_a_loop() -> None:
    """It is no help to make it once, before the loop."""

    @trax.resumable
    def loop(n: int) -> Iterator[int]:
        for i in range(n):
            rows = csv.writer(open(f"{i}.csv", "w").__enter__())  # noqa: SIM115
            rows.writerow([i])
            yield i
            rows.writerow([i])

    with pytest.raises(trax.CodecError, match=r"loop: rows .*\n.*\nOpen '0.csv' with trax.open"):
        next(loop(3))
