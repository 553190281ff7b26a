"""The RNGs outside of the state: where they are found, and under which names."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import numpy as np
from support import run_script

from trax.tracking.rng_discovery import OuterRngs


class Slotted:
    """An object whose attributes are no dictionary."""

    __slots__ = ("missing", "rng")

    def __init__(self, rng: Any) -> None:
        self.rng = rng


def looping() -> tuple[Any, random.Random]:
    enclosed = random.Random(1)

    def loop() -> random.Random:
        return enclosed

    return loop, enclosed


def test_each_is_found_once_under_the_first_of_its_names() -> None:
    """The defaults, then those named, then arguments with their attributes, then variables."""
    loop, enclosed = looping()
    named, listed, slotted, held = (random.Random(n) for n in range(4))
    generator = np.random.default_rng(5)
    arguments = {
        "first": named,
        "second": [listed, 1, random.SystemRandom(), listed],
        "third": Slotted(slotted),
        "fourth": SimpleNamespace(rngs={"a#b": held}, same=enclosed),
        "fifth": generator,
        "many": [random.Random(n) for n in range(101)],
    }
    found = dict(OuterRngs((named,), arguments, loop))
    assert list(found)[:2] == ["random", "numpy.random"]
    wanted = {
        "rng 0": named,
        "argument second[0]": listed,
        "argument third.rng": slotted,
        "argument fourth.rngs['a#b']": held,
        "argument fourth.same": enclosed,
        "argument fifth": generator.bit_generator,
        "argument fifth seed": generator.bit_generator.seed_seq,
    }
    assert {name: rng for name, rng in found.items() if "random" not in name} == wanted
    assert [name for name in found if name in wanted] == list(wanted)
    assert dict(OuterRngs((), {}, loop))["variable enclosed"] is enclosed


def test_a_second_look_finds_what_was_imported_meanwhile_and_scans_nothing_again() -> None:
    """Loading a state can import a library; what is in the module is found the first time."""
    script = """
import random, sys
from trax.tracking.rng_discovery import OuterRngs

first = random.Random(1)
rngs = OuterRngs((), {}, lambda: None)
assert "numpy.random" not in sys.modules
assert [name for name, _ in rngs] == ["random", "variable first"]
import numpy.random
second = random.Random(2)
assert [name for name, _ in rngs] == ["random", "numpy.random", "variable first"]
"""
    run_script(script)
