"""Temporary directories that come back with what steps have put there."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from trax.frames.directories import StoredDirectory


def test_a_directory_keeps_its_files_until_it_is_left(tmp_path: Path) -> None:
    """Then it is removed, unless it is to stay."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "a.txt").write_text("a")
    with StoredDirectory(str(tmp_path / "kept"), is_kept=False) as path:
        assert Path(path, "a.txt").read_text() == "a"
    assert not Path(path).exists()
    (tmp_path / "stays").mkdir()
    with StoredDirectory(str(tmp_path / "stays"), is_kept=True) as path:
        pass
    assert Path(path).exists()


def test_a_directory_that_is_gone_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is made again, and empty."""
    with StoredDirectory(str(tmp_path / "gone"), is_kept=False) as path:
        assert list(Path(path).iterdir()) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "was removed when its loop was stopped" in caplog.text
