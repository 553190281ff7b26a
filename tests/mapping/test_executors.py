"""Executors that a user gives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

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


def test_as_many_calls_are_in_flight_as_the_workers_need() -> None:
    assert default_in_flight(None, 7) == 1
    assert default_in_flight(ThreadPoolExecutor(3), 7) == 6
    assert default_in_flight(Client(), 7) == 7
