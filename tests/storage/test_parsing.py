"""Source text is parsed by one thread at a time."""

from __future__ import annotations

import ast
import os
import threading
import warnings

import pytest
from support import run_script

from trax.storage.parsing import alone, parse

THREADS = """
import ast, gc, threading, time, warnings
from pathlib import Path
from trax.storage.parsing import parse

text = Path(ast.__file__).read_text()
gc.set_threshold(500)  # its callbacks are where other threads come in, as those of Dask do
gc.callbacks.append(lambda *_: time.sleep(0))
failures = []

def work():
    try:
        for _ in range(2):
            parse(text)
    except SystemError as error:
        failures.append(error)

before = [*warnings.filters]
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not failures, failures
assert warnings.filters == before
"""


def test_threads_that_parse_at_once_do_not_disturb_each_other() -> None:
    """Some Pythons count the levels of all trees together, and find an error there."""
    run_script(THREADS)


def test_threads_leave_the_filters_of_warnings_as_they_were() -> None:
    before = [*warnings.filters]
    begun, entered, end = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        with alone():
            entered.set()
            end.wait()

    other = threading.Thread(target=work)
    with alone():
        other.start()
        begun.wait()
        assert not entered.wait(0.1)
    end.set()
    other.join()
    assert warnings.filters == before


def test_the_compiler_is_silent() -> None:
    tree = parse("x = 1 is 1\n")
    assert isinstance(tree.body[0], ast.Assign)
    with pytest.raises(SyntaxError):
        parse("x =")


def test_a_forked_child_is_not_kept_from_it_by_a_thread_of_its_parent() -> None:
    begun, end = threading.Event(), threading.Event()

    def work() -> None:
        with alone():
            begun.set()
            end.wait()

    other = threading.Thread(target=work)
    other.start()
    begun.wait()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a fork beside threads
        pid = os.fork()
    if not pid:
        threading.Timer(10, os._exit, [1]).start()
        parse("x")
        os._exit(0)
    end.set()
    other.join()
    assert os.waitpid(pid, 0)[1] == 0
