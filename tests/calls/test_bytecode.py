"""The bytecode of functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trax.calls.bytecode import content


def compiled(source: str, *, lines: int = 0) -> Callable[..., Any]:
    """Return a function `f` made from a source that stands some lines further down."""
    names: dict[str, Any] = {}
    exec("\n" * lines + f"def f(x):\n    {source}", names)
    made: Callable[..., Any] = names["f"]
    return made


@pytest.mark.parametrize("source", ["return x + 1", "return lambda: x", "return x in {'a', 'b'}"])
def test_the_place_in_a_file_does_not_count(source: str) -> None:
    """Nor does the order of a set of constants."""
    one, other = (content(compiled(source, lines=lines).__code__) for lines in (0, 9))
    assert one == other


def test_functions_within_count() -> None:
    """They are constants of the outer one."""
    one, other = (content(compiled(f"return lambda: {n}").__code__) for n in (1, 2))
    assert one != other
