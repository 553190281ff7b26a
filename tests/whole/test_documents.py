"""The Python code in README and docs is run; what it prints, links and contents are right."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*DOCUMENTS, *(ROOT / f"{name}.md" for name in ("SECURITY", "CONTRIBUTING", "CHANGELOG"))]

OPTIONAL = ["mlflow", "tensorboardX", "torch"]  # large, or only for some documents

of_each = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
of_each_text = pytest.mark.parametrize("document", TEXTS, ids=lambda path: path.name)


def python_blocks(text: str) -> list[str]:
    """Return the Python code blocks of a Markdown text, in order; some packages may not be here."""
    found = re.findall(r"^( *```python\n.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    blocks = [dedent(block).removeprefix("```python\n") for block in found]
    missing = [name for name in OPTIONAL if importlib.util.find_spec(name) is None]
    imported = re.compile(rf"^(import|from) ({'|'.join(missing or ['-'])})\b", re.MULTILINE)
    return [block for block in blocks if not imported.search(block)]


def shown_lines(text: str) -> list[str]:
    """Return what a text says that its code prints: the block right behind it, but trax's lines."""
    code = r"^```python\n(?:(?!```)[^\n]*\n)*```\n\n"
    blocks = re.findall(code + r"```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith("trax:")]


def headings(document: Path) -> list[str]:
    """Return what links to the headings of a document end with."""
    text = re.sub(r"^ *```.*?^ *```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in found]


def lasting(text: str) -> str:
    """Return a text without the words of Python, which change from version to version."""
    return re.sub(r"\(AttributeError: .*\)\.$", "(AttributeError).", text, flags=re.MULTILINE)


@of_each
def test_the_code_of_a_document_runs(document: Path, tmp_path: Path) -> None:
    """A reader who types the blocks of a document into one script can run it, and sees the same."""
    text = document.read_text()
    script = tmp_path / "document.py"
    script.write_text("\n".join(python_blocks(text)))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = lasting(done.stdout).splitlines()
    assert not {lasting(line) for line in shown_lines(text)}.difference(printed)


@of_each_text
def test_links_lead_somewhere(document: Path) -> None:
    """To a file that is there, and to a heading in it."""
    for link in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not link.startswith("https:"):
            path, _, heading = link.partition("#")
            file = (document.parent / path).resolve() if path else document
            assert file.exists(), link
            assert not heading or heading in headings(file), link


@of_each
def test_a_table_of_contents_is_complete(document: Path) -> None:
    """Where there is one, it has every heading of the second order, in order."""
    listed = re.findall(r"^- \[.*\]\(#(.*)\)$", document.read_text(), re.MULTILINE)
    assert not listed or listed == [one for one in headings(document)[1:] if one in listed]
    second = re.findall(r"^## ", document.read_text(), re.MULTILINE)
    assert not listed or len(listed) == len(second)


def test_the_readme_has_an_example() -> None:
    """The README shows at least one piece of Python, so that the test above says something."""
    assert python_blocks((ROOT / "README.md").read_text())
    assert len(shown_lines((ROOT / "docs" / "tutorial.md").read_text())) >= 5


def test_the_tests_are_run_before_a_change_lands() -> None:
    """`.ci/run` takes their command from the README; with that for the proofs none is left out."""
    runner = (ROOT / ".ci" / "run").read_text()
    command = re.search(r"^tests=.*$", runner, re.MULTILINE)
    assert command
    assert 'bash -euc "$tests" < /dev/null' in runner
    script = f'{command[0]}\necho "$tests"'
    done = subprocess.run(
        ["bash", "-euc", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    (found,) = done.stdout.splitlines()
    assert found.endswith(" && .venv/bin/python -m pytest")
    assert "\n.venv/bin/python -m pytest -m proof\n" in (ROOT / "README.md").read_text()
    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]
    options = configured["ini_options"]["addopts"]
    assert options[options.index("-m") + 1] == "not proof or quick"


def test_every_test_that_the_guarantees_name_is_there() -> None:
    """A guarantee stands on a test; a test that was renamed or removed must show here."""
    text = (ROOT / "docs" / "guarantees.md").read_text()
    table = text.partition("## What survives")[2].partition("## Counts")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    rows = [line for line in lines if not line.startswith(("| ---", "| fault |", "| event |"))]
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    tests = "".join(files.values())
    assert len(rows) > 20
    for row in rows:
        named = re.findall(r"`(test_\w+)(\.py)?`", row.rpartition(" | ")[2])
        assert named or row.endswith("| the same |"), row
        for name, is_file in named:
            assert f"{name}.py" in files if is_file else f"def {name}(" in tests
