"""Arrays from pickles: the types, shapes and items that NumPy has, without NumPy."""

from __future__ import annotations

import contextlib
import pickle
import sys
from typing import Any

import numpy as np
import pytest
from plain_kinds import decoded
from support import run_script

from trax import CodecError
from trax.plain.arrays import Array, DType
from trax.plain.data import decode_plain, numbers, shown

_KINDS = ["?", "i1", "<i2", ">i4", "<u8", ">u2", "<f2", ">f4", "<f8", ">f8", "<c8", ">c16"]
_OTHERS = ["U3", ">U2", "S4", "V3", "M8[us]", "<m8[2h]", ">M8[D]", "g"]
_STRUCTURED = [
    [("x", "<f8"), ("y", ">i4", (2, 3)), ("z", "S2")],
    {"names": ["a", "b"], "formats": ["i1", "f8"], "offsets": [3, 8], "itemsize": 24},
    [("in", [("a", "f4"), ("b", [("c", "u1")])])],
]


class Special(np.ndarray):
    """A subclass that is pickled as arrays are."""


def layouts(base: Any) -> list[Any]:
    """Return arrays with the items of one, which lie in memory in different ways."""
    three = base.reshape(2, 3, 4)
    return [
        base,
        three,
        np.asfortranarray(three),
        three.transpose(1, 0, 2),
        three[:, ::2],
        three[::-1, :, 1:],
        base[:1].reshape(()),
        base[:0],
        three[:, :0],
        base[5:9].copy(),
    ]


@pytest.mark.parametrize("kind", [*_KINDS, *_OTHERS, *_STRUCTURED], ids=str)
def test_numpy_is_given_the_same_array(kind: Any) -> None:
    """The same type, shape and items, however they lie in memory, and by protocol."""
    memory = bytes(np.arange(24 * np.dtype(kind).itemsize, dtype="u1") % 2)
    for array in layouts(np.frombuffer(memory, kind)):
        pickles = [decode_plain(pickle.dumps(array, protocol)) for protocol in range(6)]
        for found in (*pickles, decoded(array)):
            assert type(found) is Array
            made = found.numpy()
            assert made.dtype == array.dtype
            assert made.shape == array.shape == found.shape
            assert repr(made.tolist()) == repr(array.tolist())
            assert not made.flags.writeable


@pytest.mark.parametrize("kind", _KINDS)
def test_norms_and_ends_are_those_of_numpy(kind: str) -> None:
    """They are computed without it if the array is small."""
    for array in layouts(np.arange(24).astype(kind)):
        found = decoded(array)
        wide = array.astype("c16" if "c" in kind else "f8")
        assert found.norm() == pytest.approx(np.linalg.norm(wide.ravel()))
        assert found.ends() == [*wide.ravel()[[0, -1][: array.size]]]


def test_the_norm_of_a_large_array_is_left_to_numpy() -> None:
    """It is exact enough with small numbers, too."""
    for kind in ("f2", "f4", "i1", "c8"):
        array = np.ones(100_000, kind)
        assert decoded(array).norm() == pytest.approx(100_000**0.5)
        assert decoded(array[::2]).norm() == pytest.approx(50_000**0.5)


def test_types_have_the_names_of_numpy() -> None:
    """Byte orders that are not those of the machine are shown."""
    swapped = ">" if sys.byteorder == "little" else "<"
    names = {"f8": "float64", "?": "bool", "c16": "complex128", "u1": "uint8", "O": "object"}
    for kind, name in {**names, f"{swapped}i4": f"{swapped}int32"}.items():
        assert str(decoded(np.zeros(1, kind)).dtype) == name
    many = np.zeros(1, [(f"field{n}", "f4") for n in range(100)])
    assert len(str(decoded(many).dtype)) < 200


def test_objects_are_a_list() -> None:
    """In the order of the array, and as they are shared."""
    inner = [1]
    array = np.empty((2, 2), object)
    array[:] = [[inner, "a"], [None, inner]]
    for each in (array, np.asfortranarray(array), array.T, array[:, 1:], array[0]):
        for found in (decode_plain(pickle.dumps(each, 5)), decoded(each)):
            assert found.numpy().tolist() == each.tolist()
            assert found.norm() is None


def test_arrays_that_share_memory_are_views() -> None:
    """Of numbers and of objects, which may contain the array itself."""
    base = np.arange(12.0)
    views = [base, base[2:], base[::-3], base.reshape(3, 4).T]
    found = decoded(views)
    for one, expected in zip(found, views, strict=True):
        assert np.array_equal(one.numpy(), expected)
        assert one.norm() == pytest.approx(np.linalg.norm(expected))
    things = np.array([1, "a", None, 2.5], object)
    found = decoded([things, things[1:], things[::2]])
    assert [one.numpy().tolist() for one in found] == [
        [1, "a", None, 2.5],
        ["a", None, 2.5],
        [1, None],
    ]
    things[0] = things
    found = decoded({"all": things, "some": things[:2]})["all"]
    assert found.ends()[0] is found


def test_masked_arrays_show_none_of_their_items() -> None:
    """Some of them do not count."""
    found = decoded(np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False]))
    assert (found.type, found.shape, str(found.dtype)) == ("numpy.ma.MaskedArray", (3,), "float64")
    assert found.norm() is None
    assert found.ends() == []
    assert numbers({"x": found}) == {}


def test_mapped_files_are_not_opened() -> None:
    """Their type and shape are known."""
    np.arange(6.0).tofile("data")
    found = decoded(np.memmap("data", "f8", "r", shape=(2, 3)))
    assert shown(found) == "memmap float64[2, 3]"
    assert found.norm() is None
    with pytest.raises(CodecError, match="its memory is not stored"):
        found.numpy()


def test_subclasses_are_shown_by_their_name() -> None:
    """As arrays, if they are pickled as arrays."""
    assert shown(decoded(np.arange(2.0).view(Special))) == "Special float64[2] 0 … 1"
    assert shown(decoded(np.rec.array([(1, 2.0)], dtype=[("a", "i8"), ("b", "f8")]))).startswith(
        "recarray {a: int64"
    )


def test_scalars_are_those_of_python() -> None:
    """Those that are numbers or texts; others are arrays without axes."""
    for scalar in (np.float32(0.5), np.int8(-1), np.bool_(True), np.complex64(1j)):
        found = decoded(scalar)
        assert type(found) is type(scalar.item())
        assert found == scalar
    assert decoded(np.str_("aé")) == "aé"
    assert decoded(np.bytes_(b"a")) == b"a"
    assert decoded(np.datetime64("2024-01-01")).numpy() == np.datetime64("2024-01-01")
    assert decoded(np.zeros(1, [("a", "f8")])[0]).numpy()["a"] == 0


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((4,), "C", 0),
        ((-1,), "C", 0),
        ((2**40, 2**40), "C", 0),
        ((2,), (16,), 16),
        ((2,), (-8,), 0),
        ((1,), "C", -8),
        ((1,), "C", 24),
        ((1.5,), "C", 0),
        ((2**70,), "C", 0),
        ((1,) * 65, "C", 0),
        ([1], "C", 0),
        ((1, 1), (8,), 0),
    ],
)
def test_an_array_lies_in_its_memory(shape: Any, strides: Any, offset: int) -> None:
    """Whatever a pickle says."""
    with pytest.raises((TypeError, ValueError)):
        Array().place(DType("f8"), shape, bytes(24), strides, offset)


def test_items_that_repeat_are_not_counted() -> None:
    """A pickle may say that one number is there a trillion times."""
    found = Array().place(DType("f8"), (10**6, 10**6), bytes(8), (0, 0))
    assert found.norm() is None
    assert found.ends() == [0.0, 0.0]
    assert numbers({"x": found}) == {}


def test_pointers_are_never_followed() -> None:
    """Memory that is said to have objects is memory."""
    dtype = DType("V8")
    dtype.build((3, "|", None, ("a",), {"a": (DType("O8"), 0)}, 8, 1, 27))
    for each in (dtype, DType("O8")):
        found = Array().place(each, (1,), b"\x01" * 8)
        assert shown(found)
        with pytest.raises(CodecError):
            found.numpy()


def test_types_made_of_types_end() -> None:
    """Each may be in another one twice, and so on."""
    inner = outer = DType("f8")
    with contextlib.suppress(ValueError):
        for _ in range(100):
            inner, outer = outer, DType("V16")
            outer.build((3, "|", None, ("a", "b"), {"a": (inner, 0), "b": (inner, 0)}, 16, 1, 0))
    assert 100 < inner.weight < 1000
    assert outer.weight == 1
    assert len(shown(Array().place(inner, (0,), b"", "C"), 10**6)) < 10**6
    whole, part = DType("V8"), DType("V8")
    whole.build((3, "|", None, ("a",), {"a": (part, 0)}, 8, 1, 0))
    for one in (part, whole):
        with pytest.raises(ValueError, match="it is part of something already"):
            one.build((3, "|", None, ("a",), {"a": (whole, 0)}, 8, 1, 0))
    own = DType("V8")
    with pytest.raises(ValueError, match="it is part of itself"):
        own.build((3, "|", None, ("a",), {"a": (own, 0)}, 8, 1, 0))


def test_numpy_is_not_needed() -> None:
    """Nor is it imported for what is small."""
    data = pickle.dumps([np.arange(4.0), np.float64(0.5), np.arange(50_000.0)], 5)
    script = """
import sys
sys.modules["numpy"] = None
from trax.plain.data import decode_plain, numbers, shown
found = decode_plain(open("data", "rb").read())
print(shown(found))
print(numbers(found))
"""
    with open("data", "wb") as file:
        file.write(data)
    norms = {"|0|": 14**0.5, "1": 0.5, "|2|": float(np.linalg.norm(np.arange(50_000.0)))}
    text, last = run_script(script).stdout.splitlines()
    assert text == "[float64[4] 0 … 3, 0.5, float64[50000] 0 … 5e+04]"
    assert eval(last) == pytest.approx(norms)


def test_tensors_are_arrays() -> None:
    """With their type, shape and items."""
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0).reshape(2, 3)
    for each in (
        tensor,
        tensor.T,
        tensor[1:],
        torch.nn.Parameter(tensor),
        tensor.double(),
        tensor > 2,
    ):
        found = decoded({"a": each, "b": each})["a"]
        assert np.array_equal(found.numpy(), each.detach().numpy())
        assert found.norm() == pytest.approx(float(each.detach().double().norm()))
    assert shown(decoded(tensor)) == "float32[2, 3] 0 … 5"
    assert shown(decoded(tensor.bfloat16())) == "bfloat16[2, 3]"
    assert numbers({"w": decoded(torch.tensor(2.5))}) == {"w": 2.5}
    tensor.grad = torch.ones(2, 3)
    assert shown(decoded(tensor)) == "float32[2, 3] 0 … 5"
