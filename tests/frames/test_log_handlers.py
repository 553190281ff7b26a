"""Loggers that a loop has set up are so again when it is resumed."""

from __future__ import annotations

import logging
import logging.handlers
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import run_script

from trax.frames import settings
from trax.frames.log_handlers import describe, read, write

NAME = "tests.log_handlers"


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    """A logger that is put back."""
    logger = logging.getLogger(NAME)
    yield logger
    _reset(logger)


def _reset(logger: logging.Logger) -> None:
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
    for handler in [*logger.handlers]:
        logger.removeHandler(handler)
        handler.close()


def test_levels_and_handlers_come_back(logger: logging.Logger) -> None:
    """With their own levels, formats and other settings; a file goes on at its end."""
    before = settings.now()
    to_file = logging.handlers.RotatingFileHandler("log.txt", "w", maxBytes=1000, backupCount=2)
    to_file.setLevel(logging.INFO)
    to_file.setFormatter(logging.Formatter("{levelname} {message}", style="{"))
    to_screen = logging.StreamHandler(sys.stdout)
    to_screen.setFormatter(logging.Formatter("$name", "%H", style="$"))
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(to_file)
    logger.addHandler(to_screen)
    logger.info("one")
    stored = pickle.loads(pickle.dumps(settings.changed(before, settings.now())))
    assert {*stored} == {"loggers"}
    _reset(logger)
    assert settings.restore(stored) == []
    assert (logger.level, logger.propagate) == (logging.DEBUG, False)
    file, screen = logger.handlers
    assert isinstance(file, logging.handlers.RotatingFileHandler)
    assert (file.level, file.maxBytes, file.backupCount) == (logging.INFO, 1000, 2)
    assert isinstance(screen, logging.StreamHandler)
    assert screen.stream is sys.stdout
    record = logging.LogRecord(NAME, logging.INFO, "", 1, "text", (), None)
    assert (file.format(record), screen.format(record)) == ("INFO text", NAME)
    logger.info("two")
    logger.debug("three")
    assert Path("log.txt").read_text() == "INFO one\nINFO two\n"
    assert settings.restore(stored) == []
    assert logger.handlers == [file, screen]


def test_a_handler_that_is_there_already_is_kept(logger: logging.Logger) -> None:
    """A script may set it up again by itself."""
    handler = logging.FileHandler("log.txt")
    logger.addHandler(handler)
    write(logging, describe({NAME: read(logging)[NAME]}))
    assert logger.handlers == [handler]


def test_other_handlers_are_left_out(logger: logging.Logger) -> None:
    """Nobody can make them again."""
    logger.addHandler(logging.handlers.MemoryHandler(10))
    assert describe({NAME: read(logging)[NAME], "other": None}) == {NAME: (0, True)}


SCRIPT = """
import logging
import os
import signal
import sys
import trax

def set_up():
    logging.basicConfig(filename="root.txt", level="INFO")
    log = logging.getLogger("mine")
    log.addHandler(logging.FileHandler("mine.txt", "w"))
    return log

@trax.resumable
def loop(n):
    log = set_up()
    for i in range(n):
        if i == 3 and "die" in sys.argv:
            os.kill(os.getpid(), signal.SIGKILL)
        log.info("%d", i)
        yield i

loop(6).result()
"""


def test_a_killed_loop_goes_on_to_log() -> None:
    """Also if a function has set the loggers up, and nothing of it is a variable of the loop."""
    assert run_script(SCRIPT, "die", check=False).returncode == -9
    assert Path("mine.txt").read_text().split() == ["0", "1", "2"]
    run_script(SCRIPT)
    assert Path("mine.txt").read_text().split()[-3:] == ["3", "4", "5"]
    assert Path("root.txt").read_text().split()[-3:] == [f"INFO:mine:{i}" for i in (3, 4, 5)]
