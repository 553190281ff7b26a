"""Executors that a user gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support import run_script

import trax
from trax.mapping.executors import check_executor, default_in_flight


class Client:
    """Has a method ``submit``, and does not tell its workers."""

    def submit(self, function: Any, *arguments: Any) -> Any: ...


def test_what_has_submit_is_an_executor() -> None:
    for executor in (None, ThreadPoolExecutor(), Client()):
        check_executor(executor, "map")
    for other in (3, "pool", object()):
        with pytest.raises(trax.UsageError, match="executor must have a method submit"):
            check_executor(other, "map")
    with pytest.raises(trax.UsageError, match=r"Client\(\) as pool: ... trax.sweep\(...,"):
        check_executor(Client, "sweep")


WITHOUT_GUARD = """
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
import trax

@trax.resumable(name="loop-{n}")
def loop(n):
    yield n

def same(n):
    return n

with ThreadPoolExecutor() as pool:
    assert sorted(trax.map(same, [1, 2], name="threads", executor=pool)) == [(1, 1), (2, 2)]
with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
    for _ in {call}:
        pass
print("end")
"""


@pytest.mark.parametrize(
    "call", ["trax.map(same, [1], executor=pool)", "trax.sweep(loop, {'n': [1]}, executor=pool)"]
)
def test_a_script_that_runs_again_in_its_workers_is_told_of_the_guard(call: str) -> None:
    """The workers end there, as everywhere; what needs no processes is left alone."""
    done = run_script(WITHOUT_GUARD.replace("{call}", call), check=False)
    assert done.stdout in ("", "end\n")  # a sweep has the error in its case
    assert "was called in a worker that is just being started" in done.stderr
    assert "if __name__ == '__main__':" in done.stderr


def test_as_many_calls_are_in_flight_as_the_workers_need() -> None:
    assert default_in_flight(None, 7) == 1
    assert default_in_flight(ThreadPoolExecutor(3), 7) == 6
    assert default_in_flight(Client(), 7) == 7
