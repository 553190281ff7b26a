"""The types of `trax.map`, and what a person sees of it."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import assert_type

import trax


def length(text: str) -> int:
    return len(text)


async def alength(text: str) -> int:
    return len(text)


def number(text: str) -> float:
    return float(len(text))


def test_types_follow_from_the_function_and_its_items() -> None:
    """A result may be an exception, unless that ends the map; the key is the item, or key's."""
    both = trax.map(length, ["a"])
    assert_type(both, trax.Map[str, int | Exception])
    only = trax.map(length, ["a"], return_exceptions=False)
    assert_type(only, trax.Map[str, int])
    assert_type(trax.map(length, ["a"], key=number), trax.Map[float, int | Exception])
    keyed = trax.map(length, ["a"], key=number, return_exceptions=False)
    assert_type(keyed, trax.Map[float, int])
    assert_type(only.result(), list[int])
    for key, result in only:
        assert_type(key, str)
        assert_type(result, int)
    with ThreadPoolExecutor() as pool:
        pooled = trax.map(length, ["a"], executor=pool, in_flight=4, name="n", fresh=True)
        assert_type(pooled, trax.Map[str, int | Exception])


def test_types_of_async_maps_do_as_well() -> None:
    async def main() -> None:
        assert_type(trax.map(alength, ["a"]), trax.AsyncMap[str, int | Exception])
        only = trax.map(alength, ["a"], return_exceptions=False, in_flight=5, sync="os")
        assert_type(only, trax.AsyncMap[str, int])
        assert_type(trax.map(alength, texts(), key=number), trax.AsyncMap[float, int | Exception])
        keyed = trax.map(alength, ["a"], key=number, return_exceptions=False)
        assert_type(keyed, trax.AsyncMap[float, int])
        assert_type(await only.result(), list[int])
        async for key, result in only:
            assert_type(key, str)
            assert_type(result, int)

    async def texts() -> AsyncIterator[str]:
        yield "a"

    asyncio.run(main())


def test_help_shows_every_parameter() -> None:
    parameters = inspect.signature(trax.map).parameters
    assert [*parameters][:3] == ["function", "items", "executor"]
    assert parameters["return_exceptions"].default is True
    listed = re.findall(r"^([\w, ]+?)(?: :.*)?$", (inspect.getdoc(trax.map) or ""), re.MULTILINE)
    assert {*parameters} <= {name for line in listed for name in line.split(", ")}
