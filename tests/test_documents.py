"""The Python code in README and docs is run, each document from top to bottom."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(text: str) -> list[str]:
    """Return the Python code blocks of a Markdown text, in order."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_code_of_a_document_runs(document: Path, tmp_path: Path) -> None:
    """A reader who types the blocks of a document into one script can run it."""
    blocks = python_blocks(document.read_text())
    script = tmp_path / "document.py"
    script.write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_readme_has_an_example() -> None:
    """The README shows at least one piece of Python, so that the test above says something."""
    assert python_blocks((ROOT / "README.md").read_text())


def test_every_test_that_the_guarantees_name_is_there() -> None:
    """A guarantee stands on a test; a test that was renamed or removed must show here."""
    text = (ROOT / "docs" / "guarantees.md").read_text()
    table = text.partition("## What survives")[2].partition("## Counts")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    tests = "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py"))
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(test_\w+)(\.py)?`", row.rpartition(" | ")[2])
        assert named or row.endswith("| the same |"), row
        for name, is_file in named:
            assert (ROOT / "tests" / f"{name}.py").exists() if is_file else f"def {name}(" in tests
