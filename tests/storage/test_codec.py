"""Objects <-> pickles and their buffers: by reference first, memory as it lies, culprits named."""

from __future__ import annotations

import collections
import pickle
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import run_script, stored

from trax import CodecError
from trax.storage import deep_pickler
from trax.storage.codec import (
    Encoded,
    ReusedMemory,
    best_dumps,
    decode,
    encode,
    refuse_large,
)
from trax.storage.records import BEGINS, BUFFER, CLOUDPICKLE, PICKLE, READONLY_BUFFER


@dataclass
class Body:
    """A class that can be imported."""

    mass: float
    velocity: Any


class Slotted:
    """A class whose attributes are slots."""

    __slots__ = ("lock", "name")

    def __init__(self, name: str, lock: Any) -> None:
        self.name = name
        self.lock = lock


# -- plain pickle first --------------------------------------------------------------------


@given(st.recursive(st.integers() | st.text() | st.floats(allow_nan=False) | st.none(), st.lists))
def test_plain_objects_come_back(obj: Any) -> None:
    """What plain pickle can do is done by plain pickle."""
    assert encode(obj, "obj").kind == PICKLE
    assert stored(obj) == obj


def test_a_class_that_can_be_imported_is_stored_by_reference() -> None:
    """What comes back is of the class as it is now."""
    encoded = encode(Body(1.0, None), "body")
    assert encoded.kind == PICKLE
    assert b"Body" in encoded.payload
    assert len(encoded.payload) < 200
    assert type(stored(Body(1.0, None))) is Body
    assert stored(collections.OrderedDict) is collections.OrderedDict


def test_classes_of_main_come_back_as_the_present_ones() -> None:
    """The script was fixed and is run again: the fixed code runs, also inside cloudpickle."""
    script = """
import sys, pickle
from trax.storage.codec import encode, decode

class Model:
    class Inner:
        pass
    def answer(self):
        return VALUE

def helper():
    return VALUE

if sys.argv[1] == "write":
    for name, obj in {
        "plain": [Model(), Model.Inner(), Model, helper],
        "lambda": [Model(), Model.Inner(), Model, helper, lambda: Model().answer() + helper()],
    }.items():
        encoded = encode(obj, name)
        print(name, encoded.kind)
        with open(name, "wb") as file:
            pickle.dump(tuple(encoded), file)
else:
    from trax.storage.codec import Encoded
    for name in ("plain", "lambda"):
        with open(name, "rb") as file:
            model, inner, kind, function, *by_value = decode(Encoded(*pickle.load(file)), name)
        assert type(model) is Model and type(inner) is Model.Inner
        assert kind is Model and function is helper
        assert model.answer() == function() == "fixed"
        for function in by_value:
            assert function() == "fixedfixed"
    print("right")
"""
    wrote = run_script(script.replace("VALUE", repr("buggy")), "write")
    assert wrote.stdout == f"plain {PICKLE}\nlambda {CLOUDPICKLE}\n"
    assert run_script(script.replace("VALUE", repr("fixed")), "read").stdout == "right\n"


# -- cloudpickle for the rest --------------------------------------------------------------


def test_lambdas_and_local_classes_come_back() -> None:
    """cloudpickle does what plain pickle cannot, and the tag says so."""
    factor = 3

    class Local:
        def __init__(self) -> None:
            self.values = [1, 2]

    for obj in (lambda value: value * factor, Local, Local()):
        assert encode(obj, "obj").kind == CLOUDPICKLE
    assert stored(lambda value: value * factor)(5) == 15
    assert stored(Local()).values == [1, 2]


def test_inside_cloudpickle_what_can_be_imported_stays_a_reference() -> None:
    """A lambda beside it does not freeze the code of a class."""
    function, body, kind = stored([lambda: Body, Body(2.0, None), Body])
    assert type(body) is kind is function() is Body


def test_a_local_class_in_a_script_does_not_freeze_what_it_uses() -> None:
    """A class by value whose methods use a class of ``__main__`` finds the present one."""
    script = """
import sys, pickle
from trax.storage.codec import Encoded, encode, decode

class Model:
    answer = VALUE

def make():
    class Local:
        def ask(self):
            return Model.answer
    return Local()

if sys.argv[1] == "write":
    with open("local", "wb") as file:
        pickle.dump(tuple(encode(make(), "local")), file)
else:
    with open("local", "rb") as file:
        print(decode(Encoded(*pickle.load(file)), "local").ask())
"""
    run_script(script.replace("VALUE", "'buggy'"), "write")
    assert run_script(script.replace("VALUE", "'fixed'"), "read").stdout == "fixed\n"


# -- memory --------------------------------------------------------------------------------


def test_an_array_is_written_from_its_own_memory() -> None:
    """Nothing is copied on the way to the file, and the pickle stays small."""
    array = np.arange(100_000.0).reshape(100, 1000)
    encoded = encode({"array": array, "again": array}, "state")
    assert len(encoded.buffers) == 1
    assert np.shares_memory(np.frombuffer(encoded.buffers[0]), array)
    assert len(encoded.payload) < 1000
    assert encoded.nbytes == array.nbytes + len(encoded.payload)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::2],
        np.zeros((0, 3)),
        np.array(5.0),
        np.array([(1, 2.5)], dtype=[("a", "i4"), ("b", ">f8")]),
        np.array(["2026-01-01"], dtype="M8[D]"),
        np.array([{"an": "object"}, None], dtype=object),
    ],
    ids=["C", "Fortran", "strided", "empty", "scalar", "structured", "dates", "objects"],
)
def test_arrays_come_back_writable(array: Any) -> None:
    """Whatever their layout: the same values and type, in memory that may be written to."""
    back = stored(array)
    assert back.dtype == array.dtype
    assert back.tolist() == array.tolist()
    assert back.flags.writeable
    back[...] = array


def test_a_read_only_array_comes_back_read_only() -> None:
    """So a state behaves after a resume as it did before; see also test_array_memory."""
    array = np.frombuffer(bytes(40))
    kinds = [kind for kind, _ in encode([array, np.arange(3)], "arrays").records()]
    assert [kind & ~BEGINS for kind in kinds] == [READONLY_BUFFER, BUFFER, PICKLE]
    assert [bool(kind & BEGINS) for kind in kinds] == [True, False, False]
    back, other = stored([array, np.arange(3)])
    assert not back.flags.writeable
    assert other.flags.writeable


def test_memory_that_is_not_contiguous_goes_into_the_pickle() -> None:
    """What cannot be written in one piece is copied, and comes back as it was."""
    encoded = encode(np.arange(10_000)[::2], "array")
    assert encoded.buffers == []
    assert decode(encoded, "array").tolist() == list(range(0, 10_000, 2))


def test_memory_is_reused_for_one_object_after_the_other() -> None:
    """As long as the next one is not larger."""
    memory = ReusedMemory()
    fixed = np.frombuffer(bytes(320_000), int)
    copies = []
    for arrays in ([np.arange(30_000), fixed], [np.ones(9)], [fixed[:10_000], np.ones((300, 100))]):
        encoded = memory.copy(encode(arrays, "arrays"))
        copies += encoded.buffers
        assert all(map(np.array_equal, arrays, decode(encoded, "arrays")))
        assert [one.readonly for one in encoded.buffers] == [
            not array.flags.writeable for array in arrays
        ]
        assert not any(np.shares_memory(np.frombuffer(copies[-1], "u1"), one) for one in arrays)
    assert len({id(copy.obj) for copy in copies}) == 1


def test_little_memory_is_kept() -> None:
    """An object larger than that has memory of its own, which is freed with it."""
    memory = ReusedMemory()
    memory.copy(encode(np.ones(1000), "array"))
    kept = memory._memory
    encoded = memory.copy(encode(np.zeros((64 << 20) + 1, "u1"), "array"))
    assert type(encoded.buffers[0]) is bytearray
    assert memory._memory is kept
    memory.copy(encode(np.zeros(64 << 20, "u1"), "array"))
    assert len(memory._memory) == 64 << 20


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16])
def test_only_small_buffers_go_into_a_pickle(size: int) -> None:
    """A large one would be copied there."""
    array = np.zeros(size, "u1")
    try:
        payload = pickle.dumps(array, 5, buffer_callback=refuse_large)
    except OverflowError:
        assert size == 1 << 16
    else:
        assert size < 1 << 16
        assert np.array_equal(pickle.loads(payload), array)


@pytest.mark.parametrize("obj", ["x" * 70_000, b"x" * 70_000, [b"y" * (1 << 16), 1, "z" * 99], 1])
def test_large_texts_are_pickled_in_pieces_if_there_are_no_buffers(obj: object) -> None:
    """The pickle is the same."""
    dumps: Callable[[Any, int], bytes] = pickle.dumps
    for last in b"x" * 70_000, encode(b"x" * 70_000, "text"), b"x" * 70_000:
        dumps = best_dumps(last, dumps, is_state=False)
    assert dumps is not pickle.dumps
    assert dumps(obj, 5) == pickle.dumps(obj, 5)
    assert best_dumps(b"small", dumps, is_state=False) is pickle.dumps


@pytest.mark.parametrize("is_state", [True, False])
def test_after_large_buffers_only_encode_pickles(is_state: bool) -> None:
    """And after any large state."""
    dumps: Callable[[Any, int], bytes] = pickle.dumps
    for last in encode(np.zeros(9_000), "array"), encode("x" * 70_000 * is_state, "text"):
        dumps = best_dumps(last, dumps, is_state=is_state)
        if last.nbytes > 100:
            with pytest.raises(OverflowError):
                dumps(1, 5)
    assert (dumps is pickle.dumps) == (not is_state)


# -- what cannot be stored -----------------------------------------------------------------


def holding(lock: Any) -> Callable[[], Any]:
    """Return a function that has `lock` in its closure."""
    return lambda: lock


LOCK = threading.Lock()


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (LOCK, "state (_thread.lock)"),
        ({"a": [1, (2, LOCK)]}, "state['a'][1][1] (_thread.lock)"),
        (Body(1.0, {"x": LOCK}), "state.velocity['x'] (_thread.lock)"),
        ([Slotted("name", LOCK)], "state[0].lock (_thread.lock)"),
        (holding([LOCK]), "state closure lock[0] (_thread.lock)"),
        ({1: 2, "file": (number for number in range(3))}, "state['file'] (builtins.generator)"),
    ],
    ids=["itself", "containers", "attributes", "slots", "closure", "generator"],
)
def test_the_part_that_cannot_be_stored_is_named(obj: Any, path: str) -> None:
    """The error shows the way to it, its type, the reason, and what to do."""
    with pytest.raises(CodecError) as caught:
        encode(obj, "state")
    assert str(caught.value).startswith(f"{path} cannot be stored: cannot pickle")
    assert "Create it inside the loop" in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_part_that_contains_itself_does_not_end_the_search() -> None:
    """A cycle on the way to the culprit is walked once."""
    state: dict[str, Any] = {"number": 1}
    state["self"] = state
    state["lock"] = LOCK
    with pytest.raises(CodecError, match=r"state\['lock'\]"):
        encode(state, "state")


def test_a_function_with_an_empty_cell_does_not_hide_the_culprit() -> None:
    """A variable of the enclosing function that has no value yet is only looked past."""

    def enclosing() -> CodecError:
        lock = threading.Lock()

        def function() -> Any:
            return later, lock

        with pytest.raises(CodecError, match="closure lock") as caught:
            encode(function, "function")
        later = None
        return caught.value

    assert "_thread.lock" in str(enclosing())


def test_an_object_whose_own_method_fails_is_a_codec_error() -> None:
    """Whatever a ``__reduce__`` or ``__getstate__`` raises."""

    class Stubborn:
        def __reduce__(self) -> Any:
            raise ZeroDivisionError("not today")

    with pytest.raises(CodecError, match=r"state\[0\] .*Stubborn\) cannot be stored: not today"):
        encode([Stubborn()], "state")


def test_an_object_that_is_too_deep_is_a_codec_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that goes on without end is refused, and not by way of its path."""
    monkeypatch.setattr(deep_pickler, "DEPTH", 5_000)
    with pytest.raises(CodecError) as caught:
        encode(Endless(), "state")
    assert str(caught.value).startswith(
        "state cannot be stored: it is nested more than 5,000 levels deep.\nKeep it flat"
    )


class Endless:
    """Has another one in it, whenever one looks."""

    def __reduce__(self) -> Any:
        return list, ([Endless()],)


# -- what cannot be loaded -----------------------------------------------------------------


def test_a_class_that_has_moved_is_named() -> None:
    """The error says which one, and how to get it back."""
    payload = encode(Body(1.0, None), "state").payload.replace(b"Body", b"Gone")
    with pytest.raises(CodecError, match=r"(?s)the state cannot be loaded: .*Gone.*old name"):
        decode(Encoded(PICKLE, payload, []), "the state")
    payload = pickle.dumps(Body(1.0, None), 0).replace(__name__.encode(), b"no_such_module")
    with pytest.raises(CodecError, match=r"(?s)no_such_module.*old name"):
        decode(payload, "the state")


def test_an_object_whose_own_method_fails_to_load_is_a_codec_error() -> None:
    """Whatever it raises is the cause."""
    payload = b"cbuiltins\nint\n(Vnot a number\ntR."
    with pytest.raises(CodecError, match="ValueError: invalid literal") as caught:
        decode(payload, "an increment")
    assert isinstance(caught.value.__cause__, ValueError)


class RaisesInReduce:
    def __reduce__(self) -> Any:
        raise ValueError("no")


@pytest.mark.parametrize(("value", "shows"), [(threading.Lock(), False), (RaisesInReduce(), True)])
def test_the_traceback_of_a_refusal_is_short(value: Any, shows: bool) -> None:
    """Its cause has one only if that leads to code of the user's, and no chain of others."""
    with pytest.raises(CodecError) as caught:
        encode([value], "x")
    cause = caught.value.__cause__
    assert cause is not None
    assert (cause.__traceback__ is not None) is shows
    text = "".join(traceback.format_exception(caught.value))
    assert "During handling" not in text.partition("direct cause")[2]
    assert text.count("Traceback") == 1 + shows
