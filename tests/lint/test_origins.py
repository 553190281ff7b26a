"""Which values come from the state."""

from __future__ import annotations

import pytest
from read_loops import declared, only_loop

from trax.lint.origins import CLOCK, KEPT, OUTPUT, PROGRESS, RNG, STATE


@pytest.mark.parametrize(
    ("before", "origins"),
    [
        ("a = 0", set()),
        ("a = len(state)", {STATE}),
        ("a, b = 0, state", set()),
        ("b, a = state", {STATE}),
        ("a = np.zeros_like(state)", set()),
        ("a = [0] * len(state)", set()),
        ("a = [0 for one in state]", set()),
        ("a = [one for one in n if one not in state]", {STATE}),
        ("a = 0\n    if state > 2: a = 1", {STATE}),
        ("a = 0\n    if state: a = 1", set()),
        ("a = 0\n    if trax.step() == 0: a = n", set()),
        ("match state:\n        case {'a': a}: pass", {STATE}),
        ("a = open(n)\n    a.seek(state.offset)", {STATE}),
        ("a = iter(n)\n    for _ in range(trax.step()): next(a)", {PROGRESS}),
        ("a = set()\n    for one in state: a.add(one)", {STATE}),
        ("a = trax.open('a')", {OUTPUT}),
        ("a = random.Random(3)", {RNG}),
        ("a = time.time()", {CLOCK}),
        ("a = state\n    a = 0", set()),
    ],
)
def test_origins(before: str, origins: set[str]) -> None:
    """At the entry of the loop."""
    loop = declared(
        f"import random, time\ndef loop(state, n):\n    {before}\n"
        "    while True:\n        state = yield 1\n"
    )
    entry = loop.origins.entries[id(only_loop(loop))]
    assert entry["a"] & (KEPT | {OUTPUT, RNG, CLOCK}) == origins
