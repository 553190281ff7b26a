"""RNGs are known by their types, and by the libraries that have default ones."""

from __future__ import annotations

import random
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from trax.tracking.rngs import (
    bits_of,
    canonical,
    default_of,
    defaults,
    importing,
    is_rng,
    numpy_random,
    rng_types,
    seed_of,
)


def test_which_objects_are_generators() -> None:
    """What has no state is none, and NumPy's Generator stands for its bit generator."""
    generator = np.random.default_rng(1)
    assert canonical(generator) is generator.bit_generator
    assert is_rng(generator)
    assert is_rng(generator.bit_generator)
    assert not is_rng(random.SystemRandom())
    assert not is_rng(random)


def test_an_rng_has_parts() -> None:
    """Of which one has the position, and another the seeds of further RNGs."""
    generator, old = np.random.default_rng(1), np.random.RandomState(1)
    assert seed_of(generator) is generator.bit_generator.seed_seq
    assert bits_of(old) is old._bit_generator
    assert canonical(old) is old
    assert bits_of(generator) is None
    assert seed_of(random.Random(1)) is None


def test_a_module_with_a_default_rng_stands_for_it() -> None:
    """Any other module is no RNG."""
    named = dict(defaults())
    assert default_of(random) is named["random"]
    assert default_of(np.random) is named["numpy.random"]
    assert default_of(sys) is sys


def test_a_library_that_another_thread_is_importing_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its functions may be missing."""
    assert numpy_random() is np.random
    assert np.random.Generator in rng_types()
    half = ModuleType("numpy.random")
    half.__spec__ = SimpleNamespace(_initializing=True)  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, "numpy.random", half)
    assert numpy_random() is None
    assert np.random.Generator not in rng_types()
    assert "numpy.random" not in dict(defaults())
    assert not importing()
    monkeypatch.setitem(sys.modules, "numpy", half)
    assert importing()
