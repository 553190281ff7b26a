"""What all tests, doctests and documents share: each runs in an empty directory of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser


@pytest.fixture(autouse=True)
def store_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty directory, with the default store in it; return that store's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRAX_DIR", raising=False)
    monkeypatch.delenv("TRAX_TRUST", raising=False)
    return tmp_path / ".trax"


_documents = Sybil(
    parsers=[PythonCodeBlockParser()], patterns=["*.md"], fixtures=["store_here"], name="documents"
)
_docstrings = Sybil(
    parsers=[DocTestParser()],
    patterns=["*.py"],
    fixtures=["store_here"],
    name="docstrings",
    excludes=["tests/*"],
)
pytest_collect_file = (_documents + _docstrings).pytest()
