"""The arguments of a map: which are refused, and what is chosen for those left out."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import trax
from trax.mapping.map_call import MapCall


def square(n: int) -> int:
    return n * n


async def asquare(n: int) -> int:
    return n * n


async def anumbers() -> AsyncIterator[int]:
    yield 1


class Doubling:
    def __call__(self, n: int) -> int:
        return n


class AsyncCallable:
    async def __call__(self, n: int) -> int:
        return n


def check(function: Any = square, items: Any = (), **given: Any) -> MapCall:
    call: MapCall = trax.map(function, items, **given)._call
    return call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"function": 3}, "takes a function and its items, not 3"),
        ({"items": 3}, "takes an iterable of items, and 'int' is none"),
        ({"items": anumbers()}, "async iterable 'async_generator' with a function that is not"),
        ({"executor": 4}, "executor must have a method submit"),
        ({"executor": ThreadPoolExecutor}, "and not the class ThreadPoolExecutor"),
        ({"in_flight": np.int64(0)}, "whole number of at least 1"),
        ({"in_flight": 2.0}, "whole number of at least 1, not 2.0"),
        ({"function": asquare, "executor": ThreadPoolExecutor()}, "async function and an executor"),
        ({"in_flight": 0}, "whole number of at least 1, not 0"),
        ({"in_flight": True}, "whole number of at least 1, not True"),
        ({"key": 1}, "key must be callable, not 1.\nWrite key=str."),
        ({"key": "id"}, "not 'id'.\nWrite key=lambda item: item['id']."),
        ({"key": lambda: 1}, "key is called with an item, and <lambda> does not take it alone"),
        ({"fresh": "yes"}, "fresh must be True or False, not 'yes'"),
        ({"return_exceptions": 0}, "return_exceptions must be True or False, not 0"),
        ({"function": lambda n: n}, "Give one, as in name='pages'"),
        ({"function": functools.partial(square)}, "Give one, as in name='pages'"),
        ({"function": Doubling()}, "Give one, as in name='pages'"),
        ({"sync": "never"}, "sync must be one of"),
        ({"replica": 1}, "replica must be a URL or a directory"),
        ({"replica_seconds": 0}, "replica_seconds must be a number above 0"),
        ({"signals": "SIGKILL"}, "which no process can catch"),
        ({"time_limit": -1}, "time_limit must be"),
        ({"renames": 1}, "renames must be"),
    ],
)
def test_an_argument_that_cannot_work_is_refused_at_the_call(
    arguments: dict[str, Any], said: str
) -> None:
    """Before anything is computed."""
    with pytest.raises(trax.UsageError) as caught:
        check(**arguments)
    assert said in str(caught.value)
    assert max(map(len, str(caught.value).splitlines()[:1])) <= 100


def test_an_unknown_argument_is_a_mistake() -> None:
    unknown: Any = {"inflight": 3}
    with pytest.raises(TypeError, match="inflight"):
        trax.map(square, [1], **unknown)


def test_the_name_is_that_of_the_function() -> None:
    assert check().name == "square"
    assert check(functools.partial(square), name="squares").name == "squares"
    assert (check().is_named, check(name="squares").is_named) == (False, True)


def test_as_many_items_are_in_flight_as_the_workers_need() -> None:
    """None is idle while the caller looks at a result."""
    assert check().in_flight == 1
    assert check(asquare).in_flight == 32
    assert check(executor=ThreadPoolExecutor(5)).in_flight == 10
    assert check(executor=ThreadPoolExecutor(5), in_flight=3).in_flight == 3
    assert check(in_flight=np.int64(3)).in_flight == 3

    class Executor:
        def submit(self, *call: Any) -> Any: ...

    assert check(executor=Executor()).in_flight == 32


def test_async_functions_are_known_in_every_form() -> None:
    for function in (asquare, functools.partial(asquare), AsyncCallable()):
        assert check(function, name="a").is_async
    for ordinary in (square, functools.partial(square), Doubling(), abs):
        assert not check(ordinary, name="a").is_async
    assert check(asquare, anumbers()).is_async
