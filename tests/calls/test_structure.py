"""The parts of values."""

from __future__ import annotations

from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from trax.calls.structure import take_apart


def parts(value: Any) -> Any:
    """Return the structure of a value under its present names."""
    return take_apart(value, {})


def test_an_array_is_its_class_dtype_shape_and_memory_in_order() -> None:
    """The arrangement in memory does not count, nor does the class of a memory-mapped one."""
    rows = np.arange(6).reshape(2, 3)
    kind, dtype, shape, memory = parts(rows.T).origin
    assert (kind, dtype, shape) == (np.ndarray, rows.dtype, (3, 2))
    assert bytes(memory) == rows.T.copy().tobytes()
    assert bytes(parts(np.zeros((0, 3))).origin[3]) == b""
    assert bytes(parts(np.array(["", ""], "U0")).origin[3]) in (b"", bytes(8))


def test_an_array_of_objects_has_them_as_its_items() -> None:
    """Its memory has addresses alone."""
    assert parts(np.array([[1], ["a"]], object)).items == [1, "a"]


def test_an_rng_is_its_seed_or_its_state() -> None:
    """Its position is restored with the run, and so does not count if the seed is known."""
    rng = np.random.default_rng(3)
    before = parts(rng)
    rng.random()
    assert parts(rng) == before
    assert before.origin == ["Generator", "PCG64", 3, ()]
    assert parts(np.random.RandomState(1)).attributes["state"]["pos"] == 624
    assert parts(np.random.SeedSequence(5)).attributes["entropy"] == 5


def test_an_object_is_its_class_and_its_attributes() -> None:
    """Those in slots as well."""

    class Slots:
        __slots__ = ("a", "b")

        def __init__(self) -> None:
            self.a, self.b = 1, 2

    assert parts(SimpleNamespace(x=1)).attributes == {"x": 1}
    assert parts(Slots()).attributes == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (np.ndarray, "numpy.ndarray"),
        (np.bool_, "numpy.bool"),
        (np.mean, "numpy.mean"),
        (np.linalg.norm, "numpy.linalg.norm"),
        (PurePosixPath, "pathlib.PurePosixPath"),
        (SimpleNamespace, "types.SimpleNamespace"),
        (len, "builtins.len"),
        (str.lower, "builtins.str.lower"),
        (parts, f"{__name__}.parts"),
    ],
)
def test_a_class_or_function_is_its_name(value: Any, name: str) -> None:
    """Without the private modules of libraries, which they rename."""
    assert parts(value).origin == [name]


def test_another_name_can_be_given() -> None:
    """The one from before `renames`."""
    assert take_apart(parts, {f"{__name__}.parts": "old.parts"}).origin == ["old.parts"]


def test_a_bound_method_has_its_owner() -> None:
    """Which may be an object, or a class."""
    owner = {"a": 1}
    assert parts(owner.get).origin == ["get", owner]
    assert parts(dict.fromkeys).origin == ["fromkeys", dict]


def test_a_function_without_a_name_is_its_syntax_and_its_variables() -> None:
    """Without its source, it depends on the version of Python."""
    k = 3
    found = parts(lambda x: x * k)
    assert found.attributes == {"k": 3}
    assert "Mult" in found.origin[1]
    assert not found.python
    names: dict[str, Any] = {}
    exec("f = lambda x: x", names)
    assert parts(names["f"]).python
