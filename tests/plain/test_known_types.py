"""Types whose objects are data: they are built as pickle builds them, or stood in for."""

from __future__ import annotations

import collections
import datetime
import pathlib
import pickle
import uuid
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from plain_kinds import Body, decoded, ways

import trax
from trax.engine.outer_objects import OuterObjects
from trax.plain.data import decode_plain, shown
from trax.plain.known_types import Keys, make
from trax.plain.stand_ins import Instance, Named, Unhashed
from trax.storage.codec import encode

_UTC = datetime.UTC
_EAST = datetime.timezone(datetime.timedelta(hours=2), "east")


@pytest.mark.parametrize(
    "value",
    [
        1j,
        bytearray(b"ab"),
        range(3, 9, 2),
        slice(1, None),
        2**100,
        -(2**3000),
        "\ud800",
        datetime.datetime(2024, 2, 29, 23, 59, 58, 123456),
        datetime.datetime(2024, 2, 29, 1, tzinfo=_UTC),
        datetime.datetime(2024, 2, 29, 1, tzinfo=_EAST),
        datetime.date(1, 1, 1),
        datetime.time(23, 59, 1, 999999),
        datetime.time(1, tzinfo=_UTC),
        datetime.timedelta(-1, 5, 7),
        Decimal("-1.50"),
        Decimal("NaN"),
        Fraction(-3, 7),
        uuid.UUID(int=2**127 + 5),
        pathlib.Path("a/b.txt"),
        pathlib.PurePosixPath("/a"),
        pathlib.PureWindowsPath("c:/a"),
        collections.deque([1, 2], 5),
        collections.deque(),
        collections.OrderedDict(b=1, a=2),
        collections.Counter("abca"),
        {frozenset({1}), (1, (2, "a")), Decimal(1), uuid.UUID(int=1), 2**90},
        set(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_types_of_the_standard_library_are_built(value: Any) -> None:
    """They are data, and what they are is known."""
    for found in ways(value):
        assert type(found) is type(value)
        assert repr(found) == repr(value)
        assert found == value or found != found


def test_the_second_one_of_two_equal_times_is_kept() -> None:
    """When clocks are set back."""
    zone = datetime.timezone(datetime.timedelta(hours=-1))
    for value in (datetime.datetime(2024, 2, 29, 1, tzinfo=zone, fold=1), datetime.time(1, fold=1)):
        assert repr(decoded(value)) == repr(value)


def test_the_factory_of_a_default_dict_is_left_out() -> None:
    """It is a function."""
    for found in ways(collections.defaultdict(list, a=[1])):
        assert type(found) is collections.defaultdict
        assert found == {"a": [1]}
        assert found.default_factory is None


def test_definitions_that_no_name_leads_to_are_names_as_well() -> None:
    """cloudpickle stores their code, of which nothing is made."""

    class Local:
        def __init__(self) -> None:
            self.mass = 2.0

    def add(x: int) -> int:
        return x + 1

    found = decoded([Local(), Local, add, lambda: None])
    assert found[0].type.endswith("Local")
    assert found[0].fields == {"mass": 2.0}
    assert found[1].name.endswith("Local")
    assert found[2].name.endswith("add")
    assert "lambda" in found[3].name


def test_exceptions_show_their_message_and_their_cause() -> None:
    """As trax stores them."""
    error = ValueError("loss is nan")
    error.__cause__ = KeyError("a")
    found = decoded(error)
    assert (found.type, found.fields["0"]) == ("builtins.ValueError", "loss is nan")
    assert found.fields["__cause__"].type == "builtins.KeyError"
    assert shown(decoded(ValueError("a"))) == "ValueError('a')"


def test_keys_with_equal_hashes_stand_for_themselves() -> None:
    """They are kept, each as a key of its own, without one comparison with each other."""
    modulus = 2**61 - 1
    value = {n * modulus: n for n in range(1, 1000)}
    found = decode_plain(pickle.dumps(value, 5))
    keys = [key.value if type(key) is Unhashed else key for key in found]
    assert keys == list(value)
    assert list(found.values()) == list(value.values())
    assert sum(type(key) is Unhashed for key in found) > 800


def test_keys_are_counted_for_each_container() -> None:
    """The same key in a thousand of them is no attack."""
    for kind in (frozenset, set, dict.fromkeys):
        value = [kind([(1, n % 7)]) for n in range(1000)]
        assert decode_plain(pickle.dumps(value, 5)) == value


def test_keys_that_would_take_long_to_hash_are_not_hashed() -> None:
    """Nor those that cannot be hashed; all others stay as they are."""
    value: Any
    deep: Any = ()
    for _ in range(200):
        deep = (deep, deep)
    key, container = Keys().key, {}  # type: ignore[var-annotated]
    for value in (
        deep,
        "a" * 10**6,
        b"a" * 10**6,
        1 << 10**6,
        [],
        {},
        ([],),
        slice(1),
        (1,) * 1000,
    ):
        assert type(key(container, value)) is Unhashed
    for value in (
        1,
        "a",
        b"a",
        None,
        2.5,
        (1, ("a", 2**80)),
        frozenset({1}),
        Decimal(1),
        1j,
        range(3),
    ):
        assert key(container, value) is value


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("datetime.datetime", (b"\x07\xe8\x0d\x01\x00\x00\x00\x00\x00\x00",)),
        ("datetime.datetime", (b"\x07\xe8\x02\x1e\x00\x00\x00\x00\x00\x00",)),
        ("datetime.datetime", (b"short",)),
        ("datetime.datetime", (2024, 1, 1)),
        ("datetime.date", (b"\x07\xe8\x02\x1e",)),
        ("datetime.time", (b"\x19\x00\x00\x00\x00\x00",)),
        ("datetime.timedelta", (10**12, 0, 0)),
        ("datetime.timezone", (datetime.timedelta(9),)),
        ("decimal.Decimal", ("one",)),
        ("decimal.Decimal", ("1" * 10**5,)),
        ("fractions.Fraction", (1, 0)),
        ("fractions.Fraction", ("1e9999999",)),
        ("fractions.Fraction", (1 << 10**6, 3)),
        ("builtins.complex", ("1", "2")),
        ("builtins.range", (1, 2, 0)),
        ("builtins.bytearray", (10**12,)),
        ("builtins.set", ("abc",)),
        ("collections.deque", ((), -1)),
        ("collections.deque", (10**12,)),
        ("collections.Counter", ("abc",)),
        ("pathlib.Path", (Named("os.system"),)),
        ("_codecs.encode", ("a", "rot13")),
        ("numpy.dtype", ("nonsense",)),
        ("numpy.dtype", ("",)),
        ("numpy._core.multiarray.scalar", (None, b"")),
        ("trax.storage.array_memory.view_of", (1, 2, 3, 4, 5, 6)),
        ("trax.storage.exceptions.complete_exception", (1, 2)),
        ("torch._utils._rebuild_tensor_v2", (1, 2, 3, 4)),
    ],
)
def test_what_does_not_fit_is_shown_as_it_is(name: str, arguments: tuple[Any, ...]) -> None:
    """With its arguments: nothing is made of it, and nothing is an error."""
    found = make(Named(name), arguments)
    assert type(found) is Instance
    assert found.type == name
    assert [*found.fields.values()] == [*arguments]


def test_a_time_zone_with_a_name_is_not_looked_up() -> None:
    """It would be read from a file."""
    found = decoded(datetime.datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")))
    assert found.type == "datetime.datetime"
    assert "Europe/Berlin" in shown(found)


def test_an_object_of_a_module_is_an_instance_as_any_other() -> None:
    """Wherever it is besides in the state."""

    @trax.resumable(create=list)
    def loop(state: list[Body], body: Body) -> Iterator[Body]:
        yield body

    body = Body(1.5, "north")
    run: Any = loop(body)
    shared = OuterObjects(run._lifecycle._call).reductions
    found = decode_plain(encode([body], "state", shared=shared).payload, [])
    assert shown(found) == "[Body(mass=1.5, velocity='north')]"
