"""A plugin of pytest: each test has a store of its own, and shows the warnings of trax."""

from __future__ import annotations

import itertools
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["trax_store"]

_NAME = 60  # characters of a test's name
_numbers = itertools.count(1)


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
    name = re.sub(r"[^\w-]+", "-", request.node.name)[:_NAME]
    path = _stores(tmp_path_factory) / f"{next(_numbers)}-{name}"
    monkeypatch.setenv("TRAX_DIR", str(path))
    heard = _Heard()
    logger = logging.getLogger("trax")
    logger.addFilter(heard)  # a handler would be a choice of the user, and change what is logged
    try:
        yield path
    finally:
        logger.removeFilter(heard)
    for line in heard.lines:
        file, number, _ = request.node.location
        warnings.warn_explicit(f"trax: {line}", UserWarning, file, (number or 0) + 1)


@pytest.fixture(scope="session", autouse=True)
def _store_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the fixtures of wider scopes a store that is empty when the session begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAX_DIR", str(_stores(tmp_path_factory) / "session"))
        yield


def _stores(factory: pytest.TempPathFactory) -> Path:
    return factory.getbasetemp() / "trax"


class _Heard(logging.Filter):
    """Keeps the lines that trax warns of, and lets all lines pass."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, None] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            self.lines[record.getMessage()] = None
        return True
