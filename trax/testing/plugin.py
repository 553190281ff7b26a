"""A plugin of pytest: each test has a store of its own, and shows the warnings of trax."""

from __future__ import annotations

import inspect
import itertools
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["trax_store"]

_NAME = 60  # characters of a test's name
_DIR = "TRAX_DIR"
_numbers = itertools.count(1)
_before = pytest.StashKey[tuple[str, str | None]]()
_store = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Give modules a store that is empty, for what they call while they are imported."""
    path = tempfile.mkdtemp(prefix="trax-pytest-")
    config.stash[_before] = path, os.environ.get(_DIR)
    os.environ[_DIR] = path


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove that store."""
    path, before = config.stash[_before]
    _set(before)
    shutil.rmtree(path, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, None]:
    """Give each module, class and session a store for its fixtures, of which tests see nothing."""
    if request.scope == "function":
        yield
        return
    path, before = str(_store_of(request)), os.environ.get(_DIR)
    os.environ[_DIR] = path
    heard = _Heard()
    with heard:
        outcome = yield
    if os.environ.get(_DIR) == path:  # else the fixture has chosen one
        _set(before)
    code = inspect.unwrap(fixturedef.func).__code__
    try:
        heard.warn(code.co_filename, code.co_firstlineno)
    except Warning as error:  # where warnings are errors
        outcome.force_exception(error)


def _store_of(request: pytest.FixtureRequest) -> Path:
    node: pytest.Item | pytest.Collector = request.node
    if _store not in node.stash:
        base, _ = request.config.stash[_before]
        node.stash[_store] = Path(base) / _new_name(f"{request.scope}-{node.name}")
    return node.stash[_store]


def _new_name(name: str) -> str:
    return f"{next(_numbers)}-" + re.sub(r"[^\w-]+", "-", name)[:_NAME]


def _set(path: str | None) -> None:
    os.environ.pop(_DIR, None)
    if path is not None:
        os.environ[_DIR] = path


@pytest.fixture(autouse=True)
def trax_store(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """Give a test a store of its own, for all calls without ``traxdir=``; it is empty.

    Otherwise a loop that ran in an earlier test, or an earlier session, would return its stored
    result, and the test would no longer test the loop. What trax warns of becomes a warning of the
    test.

    Yields
    ------
    Path
        The directory of the store, which is there as soon as a loop runs.
    """
    path = tmp_path_factory.getbasetemp() / "trax" / _new_name(request.node.name)
    monkeypatch.setenv(_DIR, str(path))
    heard = _Heard()
    with heard:
        yield path
    file, number, _ = request.node.location
    heard.warn(file, (number or 0) + 1)


class _Heard(logging.Filter):
    """Keeps the lines that trax warns of, and lets all lines pass."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, None] = {}

    def __enter__(self) -> None:
        # A handler would be a choice of the user, and change what is logged.
        logging.getLogger("trax").addFilter(self)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("trax").removeFilter(self)

    def warn(self, file: str, line: int) -> None:
        """Make warnings of the lines."""
        for text in self.lines:
            warnings.warn_explicit(f"trax: {text}", UserWarning, file, line)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            self.lines[record.getMessage()] = None
        return True
