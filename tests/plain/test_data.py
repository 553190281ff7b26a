"""Plain data: numbers with names, and short texts, for what a pickle describes."""

from __future__ import annotations

import collections
import contextlib
import datetime
import pathlib
import pickle
import pickletools
import random
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_kinds import decoded

from trax.plain import data as plain_data
from trax.plain.data import decode_plain, numbers, shown
from trax.plain.machine import PlainUnpickler


@dataclass
class Body:
    """A dataclass."""

    mass: float
    velocity: Any


class Point(NamedTuple):
    """A named tuple."""

    x: float
    y: float


# -- the shortcut --------------------------------------------------------------------------

_SMALL = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**63), 2**63) | st.text(max_size=20),
    lambda some: (
        st.lists(some, max_size=5)
        | st.lists(some, max_size=5).map(tuple)
        | st.dictionaries(st.text("abc", max_size=9), some, max_size=5)
    ),
    max_leaves=10,
)
_HARMLESS = re.compile(
    "PROTO|FRAME|MEMOIZE|MARK|STOP|NONE|NEW(TRUE|FALSE)|BINFLOAT|BININT[12]?|LONG1|"
    "SHORT_BINUNICODE|EMPTY_(TUPLE|LIST|DICT)|TUPLE[123]?|APPENDS?|SETITEMS?"
)


@given(_SMALL, st.integers(4, 5))
def test_the_shortcut_gives_what_the_machine_does(value: Any, protocol: int) -> None:
    """To the last bit."""
    data = pickle.dumps(value, protocol)
    assert repr(decode_plain(data)) == repr(PlainUnpickler(data).load()) == repr(value)


def test_increments_of_numbers_take_the_shortcut() -> None:
    """They are what is read a million times."""
    value: Any
    for value in (0.5, 3, (0.5, 1, True), {"loss": 0.5, "step": 10**6}, {"a": {"b": [None, -1]}}):
        assert plain_data._HARMLESS.fullmatch(pickle.dumps(value, 5))
    for value in (len, {"a": len}, b"a", 2**90, "a" * 50, np.float64(1.0), {1, 2}):
        assert not plain_data._HARMLESS.fullmatch(pickle.dumps(value, 5))


@given(_SMALL, st.randoms(use_true_random=False))
def test_nothing_that_names_anything_takes_the_shortcut(value: Any, rng: random.Random) -> None:
    """Whatever bytes are changed: pickle itself is given opcodes alone that only put together."""
    data = bytearray(pickle.dumps(value, 5))
    for _ in range(100):
        found = bytearray(data)
        at = rng.randrange(len(found))
        found[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 2))
        if plain_data._HARMLESS.fullmatch(found):
            with contextlib.suppress(UnicodeDecodeError):
                for opcode, _, _ in pickletools.genops(bytes(found)):
                    assert _HARMLESS.fullmatch(opcode.name)


# -- numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.5, {"": 0.5}),
        (3, {"": 3}),
        (2**53 + 1, {"": 2**53 + 1}),
        (True, {"": True}),
        (Decimal("0.5"), {"": 0.5}),
        (np.float32(0.5), {"": 0.5}),
        (np.int64(-3), {"": -3}),
        (np.bool_(True), {"": True}),
        (np.array(2.5), {"": 2.5}),
        ("text", {}),
        (None, {}),
        (10**400, {}),
        (3 + 4j, {"norm": 5.0}),
        ({"z": 3 + 4j}, {"|z|": 5.0}),
        ((1, 2.5), {"0": 1, "1": 2.5}),
        ([1, "a", 2.5], {"0": 1, "2": 2.5}),
        (Point(1, 2), {"0": 1, "1": 2}),
        ({"a": {"b": {"c": 1, "d": {"e": 1}}}}, {"a.b.c": 1}),
        ({1: 2, ("x", 0): 3}, {"1": 2, "('x', 0)": 3}),
        (Body(0.5, {"x": 1}), {"mass": 0.5, "velocity.x": 1}),
        (np.array([3.0, 4.0]), {"norm": 5.0}),
        ({"g": np.array([[3, 0], [0, 4]])}, {"|g|": 5.0}),
        ({"a\x1b[31m": 1}, {"a\\x1b[31m": 1}),
    ],
)
def test_numbers_have_names(value: Any, expected: dict[str, float]) -> None:
    """Scalars, fields, and norms of arrays."""
    for plain in decoded(value), decode_plain(pickle.dumps(value, 5)):
        assert repr(numbers(plain)) == repr(expected)


@given(st.dictionaries(st.text("abc", max_size=3), st.floats() | st.integers(-(2**70), 2**70)))
def test_numbers_of_small_dicts_are_their_values(value: dict[str, float]) -> None:
    """They are read by a shortcut if they are small."""
    found = numbers(decode_plain(pickle.dumps(value, 5)))
    assert repr(found) == repr(value)


def test_only_so_many_numbers_are_given() -> None:
    """A list of a million is no record."""
    assert len(numbers([0.5] * 10**6)) == 100


# -- texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, "0.1"),
        ([1, "a\n\x1b[31m\u202e", b"\x00"], r"[1, 'a\n\x1b[31m\u202e', b'\x00']"),
        ((1,), "(1,)"),
        ((), "()"),
        (set(), "set()"),
        ({1}, "{1}"),
        (frozenset({1}), "frozenset({1})"),
        ({"a": [None, True]}, "{'a': [None, True]}"),
        (Decimal("1.50"), "1.50"),
        (datetime.date(2024, 1, 2), "2024-01-02"),
        (pathlib.Path("a/b"), "a/b"),
        (collections.deque([1]), "deque([1])"),
        (range(3), "range(0, 3)"),
        (np.linspace(0.31, 2.3, 3000).reshape(1000, 3), "float64[1000, 3] 0.31 … 2.3"),
        (np.array(["ab"]), "str[1]"),
        (np.array([1, "a"], object), "object[2] 1 … 'a'"),
        (np.zeros((0, 3), "i2"), "int16[0, 3]"),
        (np.ma.array([1.0, 2.0], mask=[False, True]), "MaskedArray float64[2]"),
        (np.array([(1.0, 2)], [("x", "f8"), ("y", "i4")]), "{x: float64, y: int32}[1]"),
        (np.array(["2024-01-01"], "M8[us]"), "datetime64[us][1]"),
    ],
)
def test_texts_are_short_and_harmless(value: Any, expected: str) -> None:
    """One line for a person, in which nothing can steer a terminal."""
    assert shown(decoded(value)) == expected


@given(_SMALL, st.integers(2, 60))
def test_texts_fit_into_their_width(value: Any, width: int) -> None:
    """Also those of containers of containers."""
    text = shown(value, width)
    assert len(text) <= width
    assert text.isprintable() or "\u200d" in text or not text.isascii()


def test_a_text_ends_where_the_width_does() -> None:
    """However large, deep or cyclic a thing is, and however often its parts are shared."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    wide: Any = ()
    for _ in range(100):
        wide = (wide,) * 10
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    for value in (deep, wide, slice(wide), cyclic, "a" * 10**7, 10**5000, [0] * 10**6):
        for width in (20, 200):
            assert 1 < len(shown(value, width)) <= width
        numbers(value)
