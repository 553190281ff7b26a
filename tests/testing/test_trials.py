"""Trials run in directories of their own, and what a failure leaves is kept."""

from __future__ import annotations

import dataclasses
import logging
import os
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_checks import (
    Steps,
    append,
    folds,
    keep_here,  # noqa: F401  # a fixture of every test here
    keeps_a_variable,
    walks,
    writes_by_itself,
)

import trax
from trax.storage.process import process
from trax.testing import check_power_cut, check_resume


@trax.resumable(create=str, check=False)
def reads_a_file(text: str, path: str) -> Steps:
    for line in Path(path).read_text():
        text = yield text + line


def test_the_directory_of_a_failure_is_kept_as_the_crash_left_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The loop can be resumed there, and does what the message says."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(AssertionError) as caught:
        check_resume(keeps_a_variable(below=9))
    (kept,) = tmp_path.glob("trax-crash-*")
    assert f"is copied to {kept}." in str(caught.value)
    monkeypatch.chdir(kept)
    run = keeps_a_variable(below=9)
    assert run.resumed_at == 1
    assert next(run) == 2


@trax.resumable(create=int)
def fails_when_resumed(n: int, below: int) -> Steps:
    if n == 2:
        raise ZeroDivisionError("only resumed")
    while n < below:
        n = yield n + 1


def test_an_exception_of_a_resumed_loop_is_told_and_is_the_cause() -> None:
    """One of an undisturbed loop is that loop's own."""
    with pytest.raises(AssertionError, match="ended with ZeroDivisionError: only res") as caught:
        check_resume(fails_when_resumed(below=4))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)

    @trax.resumable(create=int)
    def fails(n: int) -> Steps:
        yield 1
        raise ZeroDivisionError("always")

    with pytest.raises(ZeroDivisionError, match="always"):
        check_resume(fails())


def what_is_replaced() -> list[Any]:
    """Return what a check replaces while it runs."""
    logger = logging.getLogger("trax")
    functions = [getattr(process, field.name) for field in dataclasses.fields(process)]
    return [*functions, os.fsync, os.rename, [*logger.handlers], logger.propagate, logger.level]


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No directory, no store, no other position of a generator, nothing replaced."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = what_is_replaced()
    rng = np.random.default_rng(1)
    random.seed(1)
    check_resume(walks(steps=3, rng=rng), limit=5)
    check_power_cut(folds(steps=3), limit=5)
    assert random.random() == random.Random(1).random()
    assert rng.random() == np.random.default_rng(1).random()
    assert what_is_replaced() == before
    assert Path.cwd() == tmp_path
    assert not list(temporary.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]


def test_the_loop_runs_in_a_directory_that_is_prepared() -> None:
    """Before every run, as a script does before its call."""

    def prepare() -> None:
        Path("input.txt").write_text("3 4 5")
        random.seed(8)

    @trax.resumable(create=list, replay_log=append)
    def reads(state: list[Any]) -> Steps:
        words = Path("input.txt").read_text().split()
        for word in trax.remaining(words):
            yield int(word) + random.random()

    assert check_resume(reads(), prepare=prepare, limit=10).steps == 3
    assert check_power_cut(reads(), prepare=prepare, limit=10).steps == 3
    with pytest.raises(FileNotFoundError):
        check_resume(reads())


def test_files_that_need_not_be_the_same_can_be_left_out() -> None:
    """By a pattern."""
    assert check_resume(writes_by_itself(below=3), ignore=["*.txt"]).steps == 3


def test_a_loop_that_misses_a_file_is_told_where_it_is_run() -> None:
    """The file lies where the test is, and the loop is run elsewhere."""
    with pytest.raises(FileNotFoundError) as caught:
        check_resume(reads_a_file(path="data.txt"))
    assert "prepare=" in caught.value.__notes__[0]


def test_a_loop_that_writes_elsewhere_is_refused(tmp_path: Path) -> None:
    """All trials would write to the same file, which may be precious."""
    precious = tmp_path / "precious.txt"
    precious.write_text("precious")

    @trax.resumable(create=int)
    def writes_elsewhere(n: int) -> Steps:
        with trax.open(precious):
            yield 1

    with pytest.raises(trax.UsageError, match="relative path"):
        check_resume(writes_elsewhere())
    assert precious.read_text() == "precious"


def test_the_lines_for_the_person_are_kept_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """A loop that is resumed a hundred times need not say so."""
    caplog.set_level(logging.INFO)
    check_resume(folds(steps=3), limit=5)
    assert not caplog.records
