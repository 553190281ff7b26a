"""What a map tells of itself, ordinary or async."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import trax


def double(n: int) -> int:
    return 2 * n


async def adouble(n: int) -> int:
    return 2 * n


def test_a_map_tells_its_name_and_how_far_it_is() -> None:
    results = trax.map(double, range(3))
    assert (results.name, results.step, results.done) == ("double", 0, False)
    assert repr(results) == "<Map 'double', new>"
    next(results)
    assert (results.step, results.done) == (1, False)
    assert repr(results) == "<Map 'double', open, 1 result>"
    list(results)
    assert (results.step, results.done) == (3, True)
    assert repr(results) == "<Map 'double', done, 3 results>"


def test_a_map_shows_how_many_items_failed() -> None:
    results = trax.map(lambda n: 1 // n, [0, 1, 2], name="divide")
    assert len(list(results)) == 3
    assert repr(results) == "<Map 'divide', done, 2 results, 1 failed>"


def test_a_notebook_shows_how_far_a_map_is() -> None:
    results = trax.map(double, range(3))
    assert "<th>state</th><td>new</td></tr></tbody>" in results._repr_html_()
    next(results)
    assert "<th>results</th><td>1 of 3</td>" in results._repr_html_()
    results.close()
    results = trax.map(double, iter(range(3)))
    next(results)
    assert "<th>results</th><td>1</td>" in results._repr_html_()
    results.close()


def test_an_async_map_does_as_well() -> None:
    async def main() -> None:
        results = trax.map(adouble, range(3))
        assert repr(results) == "<AsyncMap 'adouble', new>"
        await results.result()
        assert (results.name, results.step, results.done) == ("adouble", 3, True)

    asyncio.run(main())


def test_a_map_that_nobody_iterates_over_says_that_it_did_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever iterates, closes it or asks for its result hears nothing."""

    async def main() -> None:
        assert await trax.map(adouble, range(3)).result() == [0, 2, 4]
        async for _ in trax.map(adouble, range(3)):
            pass
        await trax.map(adouble, range(3)).aclose()
        assert await anext(trax.map(adouble, range(3))) == (0, 0)

    asyncio.run(main())
    for _ in trax.map(double, range(3)):
        pass
    with trax.map(double, range(3)):
        pass
    assert next(trax.map(double, range(3))) == (0, 0)
    assert trax.map(double, range(3)).result() == [0, 2, 4]
    assert "did nothing" not in caplog.text
    for function in (double, adouble):
        trax.map(function, range(3), fresh=True)
        assert f"trax.map() of {function.__name__} was called and did nothing" in caplog.text
    assert trax.load("double") == [(0, 0), (1, 2), (2, 4)]


def test_the_length_of_a_map_is_that_of_its_items() -> None:
    """So a progress bar knows its total; a map is true even if it is empty."""
    for function in (double, adouble):
        with_length = trax.map(function, [1, 2, 3])
        assert len(with_length) == 3
        empty: Any = trax.map(function, [], name="empty")
        assert empty
        assert len(empty) == 0
        nameless = trax.map(function, iter([1, 2, 3]), name="iterator")
        with pytest.raises(TypeError, match=r"^the number of items of 'iterator' is not known"):
            len(nameless)
    assert [*trax.map(double, iter([1, 2]))] == [(1, 2), (2, 4)]
