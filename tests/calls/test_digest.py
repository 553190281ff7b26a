"""Digests of values: what counts as equal, and what does not."""

from __future__ import annotations

import datetime
import logging
import operator
import random
import re
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import partial, update_wrapper
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import numpy as np
import pytest

import trax
from trax.calls.arguments import describe, differences
from trax.calls.digest import are_comparable, version_of
from trax.engine.replay import tell_changed_code


def test_equal_arguments_are_the_same_however_they_are_given() -> None:
    """Defaults, keywords and equal values of other identity are no change."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any, options: Any = None) -> Iterator[int]:
        yield 1

    text = "abc"[:2]
    loop([np.arange(3), text, text], {"x": 1, "y": {"p", "q"}}).result()
    assert loop(options={"x": 1, "y": {"q", "p"}}, data=[np.arange(3), "ab", "a" + "b"]).done


def cell(n: int) -> Any:
    """Return a function that differs from its siblings in its closure alone."""
    return lambda: n


def scale(factor: int, x: int) -> int:
    return factor * x


def dressed(factor: int) -> Any:
    """Return a partial function that has the names of the one inside."""
    return update_wrapper(partial(scale, factor), scale)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda x: x**2, lambda x: x**3),
        (lambda x, k=1: x, lambda x, k=2: x),
        (cell(1), cell(2)),
        ({"a": 1}.get, {"a": 2}.get),
        (np.random.default_rng(1), np.random.default_rng(2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ([{"a": 1, "b": 2}], [{"b": 2, "a": 1}]),
        (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (defaultdict(int, a=1, b=2), defaultdict(int, b=2, a=1)),
        (Counter("aab"), Counter("baa")),
        (partial(int, base=2), partial(int, base=3)),
        (dressed(1), dressed(2)),
    ],
)
def test_functions_and_objects_are_told_apart_by_what_they_are(one: Any, other: Any) -> None:
    """The same call goes on; another function or another content is a change."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(one).result()
    assert loop(one).done
    with pytest.raises(trax.ArgumentsChangedError):
        loop(other).result()


def test_an_argument_may_contain_itself() -> None:
    """A cycle is a structure like any other."""
    data: dict[str, Any] = {"list": [1]}
    data["self"] = data
    data["list"].append(data)

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(data).result()
    assert loop(data).done


@pytest.mark.parametrize("other", [[1, 3], (1, 2), [1, 2.0], [1, np.int64(2)], {1, 2}, None])
def test_unequal_arguments_are_told_apart(other: Any) -> None:
    """Another value is a change, and so is another type."""

    @trax.resumable(create=int)
    def loop(n: int, data: Any) -> Iterator[int]:
        yield 1

    loop(data=[1, 2]).result()
    with pytest.raises(trax.ArgumentsChangedError, match="data"):
        loop(data=other).result()


def test_a_digest_without_a_version_is_of_version_1() -> None:
    """Those that were stored before there were versions have none."""
    assert [version_of(digest) for digest in ("", "9f0c", "1:9f0c", "2:9f0c")] == list("1112")
    assert are_comparable("9f0c", "1:ffff")
    assert not are_comparable("9f0c", "2:9f0c")


def test_a_digest_of_another_version_is_never_taken_for_the_same() -> None:
    """A changed argument must not be overlooked, and the reason is shown."""
    given = describe({"a": 1})
    stored = {"a": {"text": "1", "digest": "3:" + given["a"]["digest"].rpartition(":")[2]}}
    assert differences(given, given) == {}
    assert differences(stored, given) == {
        "a": ["a: 1 -> 1 (stored by a newer trax: its digest of version 3 cannot be compared)"]
    }


def test_the_order_of_attributes_and_keywords_does_not_count() -> None:
    """They are set in any order, and a call spells its keywords in any."""

    @trax.resumable(create=int)
    def loop(n: int, /, data: Any, **options: Any) -> Iterator[int]:
        yield 1

    loop([SimpleNamespace(a=1, b=2), partial(int, x=1, y=2)], p=1, q=2).result()
    assert loop([SimpleNamespace(b=2, a=1), partial(int, y=2, x=1)], q=2, p=1).done


class Colour(Enum):
    """A class whose members are arguments."""

    RED = 1


@dataclass
class Settings:
    """A class whose instances are arguments."""

    rate: float = 0.1


def scaled(factor: float) -> Any:
    """Return a function that no name leads to."""

    def scale(x: float, *, by: float = 2) -> float:
        """Scale a number."""
        return x * factor * by  # this comment, and the docstring, do not count

    return scale


# Of version 2, under all versions of Python and NumPy.
FROZEN: list[tuple[Any, str]] = [
    (2**20000, "8066c5ebcd783c61993b351d7d534eca"),
    (-0.0, "91d014d2501a7dc92778af4b317130fb"),
    ("a", "a5d42ba770ccb9b8f6ff3629e95a753f"),
    ([None, True, 1.5, 1j, b"x"], "2b04926ba66506e1822ed8ce401e8db7"),
    ({"b": {1, "one"}, "a": (2, 3)}, "6ff8674c1bdbda19c8a08f4884889d4c"),
    (SimpleNamespace(x=1), "4189c4a1d8b4de7b1b826d29ac2b1474"),
    (Path("data/x"), "7c5015e479ee9b428bb08bbf78fe69c5"),
    (Decimal("1.50"), "27b905ddd12269716eb794556accbe3a"),
    (Fraction(1, 3), "486b20085193f5bb702cd8d7a2b9a807"),
    (UUID(int=5), "165b341fc24683224c187d86650b34b1"),
    (
        datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
        "f50d64699399d2252b3343bcb9cf70ad",
    ),
    (re.compile("a+"), "d88171bd4d7d02177296c818d368f1eb"),
    (operator.itemgetter(1), "68087bc8257f94167d4a6d605d8be418"),
    (range(3), "82870841ab35541ece417cf0583298d8"),
    (random.Random(1), "fae0a65e4a6f4554af8407291c123198"),
    (Colour.RED, "3e49b6233ffc8a40b89003b82d665773"),
    (Settings(), "2a39a75af80a492d222b2d3e45ed4e09"),
    (Settings, "07e1f056daa747005b931c53bcb80ff1"),
    (lambda x: x + 1, "fd62b1fc3f08b4d4eec83e2efd0b0472"),
    (scaled(3), "0b9f14f5b7ff89c5cd25bba53b8578ca"),
    (partial(scaled, factor=3), "78d0366fa96735bb64d10600d2a4961c"),
    (np.arange(6.0).reshape(2, 3), "a5e62e8489d06768c7270ec73c55184b"),
    (np.asfortranarray(np.arange(6.0).reshape(2, 3)), "a5e62e8489d06768c7270ec73c55184b"),
    (np.array([1, "a", None], object), "67c0474ba7d0ccfb2ffe49b57fdb105e"),
    (np.array(["2020-01-01"], "M8[D]"), "d690e315e9d1f0e5eefe15facbc695d6"),
    (np.array([(1, 2.0)], [("a", "<i4"), ("b", "<f8")]), "69fdd31c09fdb2c7d10f692d293ec78b"),
    (np.ma.array([1, 2], mask=[False, True]), "374637f74dcf14741574c6ad4fa5b6af"),
    (np.float32(1.5), "c21a63ad3a9e9be5b7422cdddc2fc9d4"),
    (np.bool_(True), "78df9d99b853c86c3a6c6b6ed2099161"),
    (np.dtype("<f4"), "a7a40427561c64b38763f4620292dcf1"),
    (np.random.RandomState(3), "688b4139afb6a3cee02e4ba1eb8f2092"),
    (np.random.default_rng(3), "c277b90da9751992ba92f71bf5535970"),
    (np.random.SeedSequence(5), "cf0e18f35201e6d964fc33eb24d3ccb1"),
    (np.mean, "8ddb23d1e99627fadf439c53c248814a"),
]


@pytest.mark.parametrize(
    ("value", "digest"),
    FROZEN,
    ids=[f"{n} {type(value).__name__}" for n, (value, _) in enumerate(FROZEN)],
)
def test_a_digest_is_the_same_everywhere(value: Any, digest: str) -> None:
    """It depends on the content alone, and not on the modules of Python and NumPy."""
    assert describe({"a": value})["a"]["digest"] == f"2:{digest}"


def test_code_whose_digest_is_of_another_version_is_not_said_to_have_changed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody can know; one of the same version is compared."""
    caplog.set_level(logging.INFO)
    tell_changed_code("run", {"code": {"loop": "2:9f0c"}}, {"loop": "ffff"}, "it runs")
    assert not caplog.records
    tell_changed_code("run", {"code": {"loop": "9f0c"}}, {"loop": "ffff"}, "it runs")
    assert "the code of loop has changed" in caplog.text
