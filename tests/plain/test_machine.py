"""A machine for pickles: all opcodes, no code, and any bytes in time and memory like their size."""

from __future__ import annotations

import collections
import copyreg
import datetime
import os
import pathlib
import pickle
import random
import tracemalloc
import uuid
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plain_kinds import Body, Colour, Frozen, Point, Slotted, Stack, ways
from support import run_script

from trax import CodecError
from trax.plain.data import decode_plain, numbers, shown
from trax.plain.stand_ins import Named
from trax.storage.codec import encode
from trax.storage.outside import Outside

# -- data ----------------------------------------------------------------------------------

_atoms = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates()
)
_keys = st.none() | st.booleans() | st.integers() | st.text() | st.tuples(st.text(), st.integers())
_values = st.recursive(
    _atoms,
    lambda some: (
        st.lists(some)
        | st.lists(some).map(tuple)
        | st.dictionaries(_keys, some)
        | st.sets(_keys)
        | st.frozensets(_keys)
    ),
)


@given(_values, st.integers(0, 5))
def test_plain_values_are_those_that_pickle_loads(value: Any, protocol: int) -> None:
    """Bit for bit, as far as their representations show it."""
    data = pickle.dumps(value, protocol)
    assert repr(decode_plain(data)) == repr(pickle.loads(data))


def test_sharing_and_cycles_are_kept() -> None:
    """A part that is met twice is one part; one may contain itself."""
    inner: list[Any] = []
    body = Body(1.0, inner)
    inner.append((body, {"self": inner}))
    for found in ways([inner, inner, body]):
        assert found[0] is found[1]
        assert found[0][0][1]["self"] is found[0]
        assert found[0][0][0] is found[2]
        assert found[2].fields["velocity"] is found[0]


def test_objects_outside_of_a_pickle_are_their_paths() -> None:
    """They are with the caller."""
    body = Body(1.0, None)
    encoded = encode([body, 1], "it", outside=Outside({id(body): "the argument body"}))
    found = decode_plain(encoded.payload, encoded.buffers)
    assert found == [Named("the argument body"), 1]
    assert decode_plain(b"Pbody\n.") == Named("body")


# -- nothing is executed -------------------------------------------------------------------

_HOSTILE = r"""
import pickle, struct

def line(text):
    return b"c" + text.replace(".", "\n", 1).encode() + b"\n"

def text(value):
    return b"\x8c" + bytes([len(value)]) + value.encode()

ARGUMENT = text("touch hurt") + b"\x85"
OS = line("os.system") + ARGUMENT + b"R."
CODE = b"C" + bytes([len(OS)]) + OS
HOSTILE = [
    OS,
    b"\x80\x05" + text("os") + text("system") + b"\x93" + ARGUMENT + b"R.",
    b"(S'touch hurt'\nios\nsystem\n.",
    b"(" + text("touch hurt") + b"ios\nsystem\n.",
    b"(" + line("os.system") + text("touch hurt") + b"o.",
    line("os.system") + ARGUMENT + b"\x81.",
    line("os.system") + ARGUMENT + b"}\x92.",
    line("os.system") + ARGUMENT + b"}" + text("a") + b"Ns\x92.",
    line("builtins.eval") + text("open('hurt', 'w')") + b"\x85R.",
    line("builtins.exec") + text("open('hurt', 'w')") + b"\x85R.",
    line("builtins.getattr") + line("os.x") + text("system") + b"\x86R" + ARGUMENT + b"R.",
    line("builtins.open") + text("hurt") + text("w") + b"\x86R.",
    line("builtins.__import__") + text("antigravity") + b"\x85R.",
    line("antigravity.fly") + b".",
    line("antigravity.Body") + b")\x81}" + text("__setstate__") + line("os.system") + b"sbNb.",
    line("__main__.Armed") + b")\x81" + text("touch hurt") + b"b.",
    line("__main__.Armed") + b")R.",
    b"\x82\x01)R.", b"\x83\x01\x02)R.", b"\x84\x01\x02\x03\x00)R.",
    b"Ptouch hurt\n.", text("touch hurt") + b"Q.", b"}" + line("os.system") + text("a") + b"s.",
    line("uuid.UUID") + b")\x81}" + text("int") + line("os.system") + b"sb.",
    line("pathlib.Path") + text("hurt") + b"\x85R.",
    line("numpy.memmap") + text("hurt") + b"\x85R.",
    line("trax.storage.array_memory.reopen") + b"(" + text("hurt") + b"K\x01NK\x00)NtR.",
    line("trax.storage.definitions.at_hand") + b"(" + text("os") * 3 + b"}" + CODE + b"tR.",
    line("trax.storage.reductions.named") + text("antigravity") + text("x") + b"\x86R.",
    line("cloudpickle.cloudpickle.subimport") + text("antigravity") + b"\x85R.",
    line("numpy.load") + text("hurt") + b"\x85R.",
    line("torch.storage._load_from_bytes") + b"C\x03abc\x85R.",
    line("zoneinfo.ZoneInfo._unpickle") + text("Europe/Berlin") + b"K\x01\x86R.",
    line("collections.defaultdict") + line("os.system") + b"\x85R" + text("a") + b"Ns.",
    line("_codecs.encode") + text("a") + text("hurt_codec") + b"\x86R.",
]
"""

_AUDITED = (
    _HOSTILE
    + r"""
import sys
from trax.plain.data import decode_plain, numbers, shown
from trax.errors import CodecError

class Armed:
    def __init__(self, *_): open("hurt", "w")
    def __setstate__(self, _): open("hurt", "w")
    def __hash__(self): open("hurt", "w"); return 1
    def __eq__(self, _): open("hurt", "w"); return True

events = []
sys.addaudithook(lambda name, args: events.append((name, args)))
modules = set(sys.modules)
del events[:]
refused = 0
for data in HOSTILE:
    for prefix in (b"", b"\x80\x05\x95" + struct.pack("<Q", len(data))):
        try:
            found = decode_plain(prefix + data)
        except CodecError:
            refused += 1
        else:
            shown(found)
            numbers(found)
assert not events, events
assert refused <= 2, refused
assert set(sys.modules) == modules, set(sys.modules) - modules
print("nothing")
"""
)


def test_nothing_is_imported_looked_up_opened_or_called() -> None:
    """An audit hook sees nothing at all."""
    result = run_script(_AUDITED)
    assert result.stdout == "nothing\n", result.stderr
    assert not os.path.exists("hurt")


class Trap:
    """An object whose pickle does harm when it is loaded."""

    def __init__(self, sprung: list[str] | None = None) -> None:
        self.sprung = sprung

    def __reduce__(self) -> Any:
        return _spring, (), {"a": 1}


def _spring() -> Any:
    raise AssertionError("it was called")


def test_code_of_the_user_is_not_run() -> None:
    """Neither functions of reductions nor registered ones."""
    copyreg.add_extension(__name__, "_spring", 0x7F)
    try:
        data = pickle.dumps(_spring, 2)
        assert b"\x82" in data
        assert decode_plain(data) == Named("copyreg.extension.127")
    finally:
        copyreg.remove_extension(__name__, "_spring", 0x7F)
    for found in (decode_plain(pickle.dumps(Trap(), n)) for n in range(6)):
        assert found.type.endswith("_spring")
        assert found.fields == {"a": 1}


# -- any bytes -----------------------------------------------------------------------------


class Harmless(dict):  # type: ignore[type-arg]
    """A dict in whose pickles all kinds of opcodes are."""


def samples() -> list[bytes]:
    """Return pickles of all kinds."""
    base: list[Any] = [1, 2.5, "text", None]
    values = [
        0.5,
        {"loss": 0.25, "step": 300, "big": 2**80, "ok": True},
        [base, base, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {1, 2}, frozenset({"a"})],
        [Body(1.0, Point(1.0, 2.0)), Colour.RED, Slotted(1.0), Frozen(1.0, "a"), Stack([1, 2])],
        [
            np.arange(6.0).reshape(2, 3),
            np.float64(1.5),
            np.arange(9)[::2],
            np.array([1, "a"], object),
        ],
        [np.array([(1.0, 2)], [("x", "f8"), ("y", "i4")]), np.ma.array([1.0], mask=[True])],
        [datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), Decimal("1.5"), Fraction(1, 3), 1j],
        [uuid.UUID(int=5), pathlib.Path("a/b"), collections.deque([1], 2), bytearray(b"abc")],
        [collections.OrderedDict(a=1), collections.Counter("ab"), range(3), "a" * 300, b"b" * 300],
        [ValueError("a"), Body, len, Harmless(a=1), "\u20ac"],
    ]
    found = [pickle.dumps(value, protocol) for value in values for protocol in range(2, 6)]
    found += [pickle.dumps(value, n) for value in (values[1], values[2], values[8]) for n in (0, 1)]
    return found + [bytes(encode(value, "it").payload) for value in (*values, lambda: 1)]


def is_data_or_refused(data: bytes, buffers: Any = ()) -> bool:
    """Decode bytes; return whether they are data, which is then shown as well."""
    try:
        found = decode_plain(data, buffers)
    except CodecError:
        return False
    assert len(shown(found, 60)) <= 60
    assert all(type(number) in (int, float, bool) for number in numbers(found).values())
    return True


def test_a_pickle_that_is_cut_short_is_refused_at_each_byte() -> None:
    """None of its beginnings is a pickle."""
    for data in samples():
        assert is_data_or_refused(data) or b"\x97" in data
        assert not any(is_data_or_refused(data[:n]) for n in range(len(data)))


def test_a_buffer_that_is_missing_is_an_error() -> None:
    """The pickle alone does not give the array."""
    encoded = encode(np.arange(100_000.0), "it")
    assert encoded.buffers
    assert not is_data_or_refused(bytes(encoded.payload))
    with pytest.raises(CodecError, match="a pickle refers to a buffer that is missing"):
        decode_plain(encoded.payload)


def mutated(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return a pickle with some bytes changed, removed, repeated or taken from others."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, size = rng.randrange(len(found) + 1), rng.randint(0, 8)
        other = rng.choice(others)
        begin = rng.randrange(len(other))
        pieces: list[Callable[[], bytes]] = [
            lambda: rng.randbytes(1),
            lambda: bytes([rng.choice(b"(.0123FIKNJMRbcdeilopqrstu}]\x81\x85\x86\x92\x93\x94")]),
            lambda: other[begin : begin + rng.randint(1, 40)],  # noqa: B023
            lambda: bytes(found[at : at + size]) * 2,  # noqa: B023
            lambda: b"",
        ]
        found[at : at + rng.choice((0, 1, size))] = rng.choice(pieces)()
    return bytes(found)


@pytest.mark.proof
@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_are_data_or_refused(seed: int, count: Callable[[str, int], None]) -> None:
    """No other error, no crash, and no endless work."""
    rng, data = random.Random(seed), samples()
    tried = 2000
    for _ in range(tried):
        is_data_or_refused(mutated(rng.choice(data), data, rng))
    count("pickles that were changed", tried)


@given(st.binary(max_size=60))
def test_random_bytes_are_data_or_refused(data: bytes) -> None:
    """As those above."""
    is_data_or_refused(data)


_LEVELS = 100_000


@pytest.mark.parametrize(
    "data",
    [
        b"]" + b"]" * _LEVELS + b"a" * _LEVELS + b".",
        b")" + b"\x85" * _LEVELS + b".",
        b"(" * _LEVELS + b"t" * _LEVELS + b".",
        b"(" * _LEVELS + b"\x91" * _LEVELS + b".",
        b"(" * _LEVELS + b"l" * _LEVELS + b".",
        b"}K\x00" * _LEVELS + b"N" + b"s" * _LEVELS + b".",
        b")" + b"\x85" * _LEVELS + b"}\x94h\x00" + b".",
        b"}(" + b")" + b"\x85" * _LEVELS + b"Nu.",
        b"\x8f(" + b")" + b"\x85" * _LEVELS + b"\x90.",
        b"cm\nA\n" * _LEVELS + b")\x81" + b"\x85\x81" * (_LEVELS - 1) + b".",
        b"cm\nA\n)\x81" + b"}\x8c\x01aNsb" * _LEVELS + b".",
    ],
)
def test_deep_nesting_is_no_danger(data: bytes) -> None:
    """Neither for the stack of the interpreter nor for that of the process."""
    assert is_data_or_refused(data)


def bomb(items: bytes, times: int = 20_000) -> bytes:
    """Return a pickle in which a list is filled by the same opcodes again and again."""
    return b"](" + items * times + b"e."


_MEGABYTE = b"B" + (10**6).to_bytes(4, "little") + bytes(10**6) + b"\x94"
_WIDE = b"(" + b"N" * 100_000 + b"t\x94"
_RECORD = b"}(" + b"".join(b"M%bN" % n.to_bytes(2, "little") for n in range(30_000)) + b"u\x94"


@pytest.mark.parametrize(
    "data",
    [
        b"\x8e" + b"\xff" * 7 + b"\x7f" + b".",
        b"B\xff\xff\xff\xff.",
        b"\x8b\xff\xff\xff\x7f.",
        b"\x80\x05\x95" + b"\xff" * 8 + b"N.",
        b"Nr\xff\xff\xff\xffj\xff\xff\xff\xff.",
        b"Np99999999999999999999\n.",
        b"I" + b"9" * 10**6 + b"\n.",
        b"L" + b"9" * 10**6 + b"L\n.",
        _MEGABYTE + b"0" + bomb(b"cbuiltins\nbytearray\nh\x00\x85R"),
        _MEGABYTE + b"0" + bomb(b"cm\nA\nh\x00\x85R"),
        _WIDE + b"0" + bomb(b"cm\nA\nh\x00\x81"),
        _WIDE + b"0" + bomb(b"cm\nA\nh\x00R"),
        _WIDE + b"0" + bomb(b"cpathlib\nPath\nh\x00R"),
        _WIDE + b"0" + bomb(b"ccollections\ndeque\nh\x00\x85R"),
        _WIDE + b"0" + bomb(b"cm\nA\n)\x81h\x00b"),
        _RECORD + b"0" + bomb(b"cm\nA\n)\x81h\x00b"),
        _RECORD + b"0" + bomb(b"ccollections\nCounter\nh\x00\x85R"),
        _WIDE + b"0" + bomb(b"}h\x00Ns"),
        b")\x94" + b"".join(b"h%c" % n * 2 + b"\x86\x94" for n in range(100)) + b"}h\x50Ns.",
        b")\x94" + b"".join(b"(" + b"h%c" % n * 9 + b"t\x94" for n in range(100)) + b".",
        bomb(b"cos\nsystem\n"),
        b"cdecimal\nDecimal\n\x8c\x0c1E+999999999\x85R.",
        b"cfractions\nFraction\n\x8c\x0b1e999999999\x85R.",
        b"cnumpy\nempty\n(\x8a\x08" + b"\xff" * 7 + b"\x7f\x85cnumpy\ndtype\n\x8c\x02f8\x85RtR.",
        b"("
        + b"".join(b"\x8a\x0a" + (n * (2**61 - 1)).to_bytes(10, "little") for n in range(9000))
        + b"\x91.",
        b"("
        + b"".join(b"\x47" + b"\x00" * 8 + b"K%c\x86" % (n % 256) for n in range(9000))
        + b"\x91.",
        _MEGABYTE + b"}(" + b"h\x00N" * 20_000 + b"u.",
    ],
)
def test_bombs_take_memory_in_proportion_to_their_size(data: bytes) -> None:
    """Nothing is copied again and again, hashed forever, or made because of a number alone."""
    tracemalloc.start()
    try:
        is_data_or_refused(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200 * len(data) + 2**20
