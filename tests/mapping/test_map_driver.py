"""What a map tells of itself, ordinary or async."""

from __future__ import annotations

import asyncio

import trax


def double(n: int) -> int:
    return 2 * n


async def adouble(n: int) -> int:
    return 2 * n


def test_a_map_tells_its_name_and_how_far_it_is() -> None:
    results = trax.map(double, range(3))
    assert (results.name, results.step, results.done) == ("double", 0, False)
    assert repr(results) == "<Map 'double', new, 0 items done>"
    next(results)
    assert (results.step, results.done) == (1, False)
    assert repr(results) == "<Map 'double', open, 1 items done>"
    list(results)
    assert (results.step, results.done) == (3, True)
    assert repr(results) == "<Map 'double', done, 3 items done>"


def test_an_async_map_does_as_well() -> None:
    async def main() -> None:
        results = trax.map(adouble, range(3))
        assert repr(results) == "<AsyncMap 'adouble', new, 0 items done>"
        await results.result()
        assert (results.name, results.step, results.done) == ("adouble", 3, True)

    asyncio.run(main())
