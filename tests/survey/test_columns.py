"""The numbers that are read from many pickles together are those of each one."""

from __future__ import annotations

import math
import pickle
import pickletools
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trax.plain.data import numbers
from trax.storage.codec import Encoded
from trax.storage.records import PICKLE
from trax.survey import columns as module
from trax.survey.columns import Columns, plain


def one_by_one(increments: list[bytes | Encoded]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for place, increment in enumerate(increments):
        for label, value in numbers(plain(increment)).items():
            found.setdefault(label, []).append((place, value))
    return found


def together(
    increments: list[bytes | Encoded], columns: Columns | None = None
) -> dict[str, list[tuple[int, float]]]:
    found = (columns or Columns()).read(increments)
    return {label: [*zip(*column, strict=True)] for label, column in found.items()}


def check(values: list[Any], protocol: int = 5) -> None:
    pickles: list[bytes | Encoded] = [pickle.dumps(value, protocol) for value in values]
    found, expected = together(pickles), one_by_one(pickles)
    assert list(found) == list(expected)
    assert repr(found) == repr(expected)  # the same bits, NaN and -0.0 among them


SCALARS = (
    st.floats()
    | st.integers(-5, 300)
    | st.integers()
    | st.booleans()
    | st.none()
    | st.text(max_size=3)
    | st.complex_numbers()
)
KEYS = st.sampled_from(["a", "b", "a.b", 0, 1, 300, 2.5, True, (1, 2)]) | st.integers(0, 99)
OBJECTS = st.recursive(
    SCALARS,
    lambda parts: (
        st.lists(parts, max_size=4)
        | st.tuples(parts, parts)
        | st.dictionaries(KEYS, parts, max_size=4)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.lists(OBJECTS, max_size=3), st.randoms(use_true_random=False), st.sampled_from([4, 5]))
def test_they_are_those_of_each(kinds: list[Any], chance: random.Random, protocol: int) -> None:
    """Whatever the objects are, and in whatever order those of one form come."""
    check([changed(chance.choice(kinds), chance) for _ in range(60)] if kinds else [], protocol)


def changed(value: Any, chance: random.Random) -> Any:
    """Return an object of about the same form with other numbers."""
    if isinstance(value, bool) or chance.random() < 0.1:
        return value
    if isinstance(value, float):
        return chance.choice([0.5, -0.0, math.nan, math.inf, chance.random()])
    if isinstance(value, int):
        return chance.choice([0, 1, 255, 256, 65_535, 65_536, -1, 2**31, 50, 150])
    if isinstance(value, (list, tuple)):
        return type(value)(changed(part, chance) for part in value)
    if isinstance(value, dict):
        return {
            changed(key, chance) if isinstance(key, int) else key: changed(part, chance)
            for key, part in value.items()
        }
    return value


@dataclass
class Point:
    x: float
    y: int


KINDS: dict[str, Callable[[int], Any]] = {
    "floats": lambda n: n / 3,
    "integers": lambda n: n * n,
    "dicts": lambda n: {"loss": n / 3, "at": (n, 2), "ok": n % 2 == 0, "name": "x"},
    "lists": lambda n: [n % 7, [float(n)], {"a": {"b": {"c": n}}}],
    "keys": lambda n: {n % 5: n / 2, "k": {n: 1.0}},
    "numbers as keys": lambda n: {1: n / 3, 2: (n, 7), 2.5: n},
    "the same key twice": lambda n: {"a.b": n, "a": {"b": -n}},
    "texts": lambda n: {"name": f"run {n}", "loss": n / 3},
    "two kinds in turn": lambda n: n / 3 if n % 2 else (n, n / 3),
    "an odd one at first": lambda n: n / 3 if n else "begin",
    "parts of one object": lambda n: [[float(n)]] * 2,
    "many numbers": lambda n: [float(n + at) for at in range(120)],
    "large numbers": lambda n: {"time": 10**18 + n, "loss": n / 3},
    "objects": lambda n: Point(n / 3, n),
    "numbers of NumPy": lambda n: np.float64(n / 3),
    "arrays": lambda n: np.full(3, n),
    "strange numbers": lambda n: [math.nan, -0.0, math.inf, float(n)][n % 4],
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_increments(kind: str) -> None:
    check([KINDS[kind](n) for n in range(400)])


@pytest.mark.parametrize(
    "kind", ["floats", "integers", "dicts", "numbers as keys", "two kinds in turn"]
)
def test_pickles_of_one_form_are_not_decoded(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for some, from which it is found."""
    decoded = 0

    def counted(increment: bytes | Encoded) -> Any:
        nonlocal decoded
        decoded += 1
        return plain(increment)

    monkeypatch.setattr(module, "plain", counted)
    together([pickle.dumps(KINDS[kind](n), 5) for n in range(10_000)])
    assert decoded < 100


def test_what_differs_in_more_than_numbers_has_no_form() -> None:
    """Such as pickles with other opcodes, of the same length, and of what is no pickle."""
    columns = Columns()
    good = [pickle.dumps((n / 3, n % 200), 5) for n in range(100)]
    assert len(together(list(good), columns)["0"]) == 100
    places = [at for at in range(len(good[0])) if at not in numbers_in(good[0])]
    for at in places:
        bad = [one[:at] + bytes([one[at] ^ 1]) + one[at + 1 :] for one in good[:30]]
        mixed = [one for pair in zip(good[:30], bad, strict=True) for one in pair]
        for some in (bad, mixed):
            assert repr(together(list(some), columns)) == repr(one_by_one(list(some)))


def test_a_key_is_told_from_a_number_even_if_values_look_like_those_of_trials() -> None:
    for value in (50, 51, 150):
        pickles: list[bytes | Encoded] = [
            b"\x80\x05}K%c\x8a\x02%bs." % (key, struct.pack("<h", value)) for key in range(60)
        ]
        assert plain(pickles[7]) == {7: value}
        assert repr(together(pickles)) == repr(one_by_one(pickles))


def numbers_in(data: bytes) -> set[int]:
    """Return the places of the bytes of numbers in a pickle."""
    found = set[int]()
    for opcode, _, at in pickletools.genops(data):
        assert at is not None
        width = {"BINFLOAT": 8, "BININT1": 1}.get(opcode.name, 0)
        found |= {*range(at + 1, at + 1 + width)}
    return found


def test_increments_with_buffers_are_read_as_they_are() -> None:
    array = np.arange(3.0)
    buffers: list[Any] = []
    data = pickle.dumps(array, 5, buffer_callback=lambda one: buffers.append(one.raw()))
    alone = Encoded(PICKLE, pickle.dumps(2.5, 5), [])
    increments: list[bytes | Encoded] = [Encoded(PICKLE, data, buffers), alone] * 30
    found = together(increments)
    assert found == {
        "norm": [(place, math.sqrt(5)) for place in range(0, 60, 2)],
        "": [(place, 2.5) for place in range(1, 60, 2)],
    }
