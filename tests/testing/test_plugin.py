"""The plugin of pytest: no test gets a result that an earlier one has stored."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LOOP = """
import os
import unittest
from pathlib import Path

import pytest
import trax

Path("calls.txt").touch()


@trax.resumable
def work(n):
    for i in range(n):
        with open("calls.txt", "a") as file:
            file.write("x")
        yield i


def calls():
    return len(Path("calls.txt").read_text())


"""

TESTS = {
    "a result is computed in each test, however often they run": """
@pytest.mark.parametrize("again", [1, 2])
def test(again, trax_store):
    before = calls()
    assert not trax_store.exists()
    assert work(3).result() == 2
    assert calls() == before + 3
    assert trax_store.is_dir()
    assert work(3).result() == 2  # in one test it is the same store
    assert calls() == before + 3
""",
    "nobody has to ask for it": """
before = calls()


class TestCase(unittest.TestCase):
    def test_one(self):
        assert work(3).result() == 2

    def test_two(self):
        assert work(3).result() == 2
        assert calls() == before + 6
""",
    "a fixture for all tests has a new store too": """
@pytest.fixture(scope="session")
def made():
    before = calls()
    assert work(3).result() == 2
    return calls() - before


def test(made):
    assert made == 3
""",
    "so has each class": """
class First(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        before = calls()
        cls.found = work(5).result(), calls() - before

    def test(self):
        assert self.found == (4, 5)


class TestSecond:
    @classmethod
    def setup_class(cls):
        before = calls()
        cls.found = work(6).result(), calls() - before

    def test(self):
        assert self.found == (5, 6)
""",
    "and each module": """
@pytest.fixture(scope="module")
def made():
    before = calls()
    assert work(7).result() == 6
    return calls() - before


@pytest.fixture(scope="session")
def late():
    before = calls()
    assert work(7).result() == 6
    return calls() - before


def test(made):
    assert made == 7
    before = calls()
    assert work(7).result() == 6
    assert calls() == before + 7


def test_late(late, made):
    assert late == 7
""",
    "and the import of a module": """
before = calls()
found = work(11).result(), calls() - before


@pytest.mark.parametrize("step", [*range(found[1] - 8)])
def test(step):
    assert found == (10, 11)
""",
    "a store that a test chooses itself counts": """
def test(monkeypatch):
    monkeypatch.setenv("TRAX_DIR", "mine")
    work(2).result()
    assert Path("mine").is_dir()
    assert trax.load("work", traxdir="mine").step == 2
""",
}


def run_pytest(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run tests in the current directory, in a process of its own, with this plugin alone."""
    Path("test_it.py").write_text(LOOP + text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "trax.testing.plugin", "--basetemp=tmp", *options],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(ROOT),
            "TRAX_DIR": "of-user",
        },
    )


@pytest.mark.parametrize("case", TESTS)
def test_each_test_has_a_store_of_its_own(case: str) -> None:
    """In a second session too; the store in the environment is left alone."""
    for _ in range(2):
        done = run_pytest(TESTS[case])
        assert done.returncode == 0, done.stdout
    assert not Path("of-user").exists()


WARNS = """
kept = [0]


@trax.resumable
def drifts():
    for i in range(4):
        kept[0] += 1
        yield kept[0]


def test_that_passes():
    drifts().result()
"""


def test_a_test_that_passes_shows_the_warnings_of_trax() -> None:
    """Each once, at the test; whoever makes warnings errors sees it fail."""
    done = run_pytest(WARNS)
    assert done.returncode == 0, done.stdout
    line = "UserWarning: trax: drifts changes kept, outside of its variables"
    assert done.stdout.count(line) == 1
    assert "test_it.py::test_that_passes" in done.stdout
    assert run_pytest(WARNS, "-W", "error").returncode == 1
    assert run_pytest(WARNS, "-W", "error", "-W", "ignore:trax").returncode == 0


WARNS_IN_FIXTURE = """
kept = [0]


@trax.resumable
def drifts():
    for i in range(4):
        kept[0] += 1
        yield kept[0]


@pytest.fixture(scope="{scope}")
def made():
    return drifts().result()


def test_that_passes(made):
    pass
"""


@pytest.mark.parametrize("scope", ["session", "module", "class"])
def test_so_does_a_fixture_of_a_wider_scope(scope: str) -> None:
    text = WARNS_IN_FIXTURE.format(scope=scope)
    done = run_pytest(text)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("UserWarning: trax: drifts changes kept, outside of its") == 1
    assert run_pytest(text, "-W", "error").returncode == 1
    assert run_pytest(text, "-W", "error", "-W", "ignore:trax").returncode == 0


def test_the_lines_of_trax_are_logged_as_they_are_without_the_plugin() -> None:
    """A failure shows them."""
    done = run_pytest("""
def test_that_fails():
    work(3).result()
    work(3).result()
    raise AssertionError
""")
    assert "result() has its result" in done.stdout


def test_two_modules_do_not_share_the_stores_of_their_fixtures() -> None:
    text = TESTS["and each module"].partition('@pytest.fixture(scope="session")')[0]
    text += "def test(made):\n    assert made == 7\n"
    Path("test_other.py").write_text(LOOP + text)
    done = run_pytest(text)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_pytest_finds_the_plugin() -> None:
    """Its entry point leads to the module."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (module,) = project["entry-points"]["pytest11"].values()
    assert hasattr(importlib.import_module(module), "trax_store")
