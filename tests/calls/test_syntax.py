"""The syntax trees of functions, found in their source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from trax.calls.syntax import syntax_of


def same(function: Any) -> Any:
    """Return the function: a decorator."""
    return function


def make() -> list[Callable[..., Any]]:
    """Return functions that no name leads to, several in a line."""

    @same
    @same
    def inner(n: int, by: int = 3) -> str:
        """Say something."""
        return f"{n:>{by}}"

    return [inner, lambda: 1, lambda x: x + 1, lambda x: x + 2, lambda: lambda x: x + inner(3)]


def loaded(source: str) -> Callable[..., Any]:
    """Return the function `f` of a file with a source."""
    path = Path("made.py").resolve()
    path.write_text(source)
    module = ModuleType("made")
    exec(compile(source, str(path), "exec"), module.__dict__)
    function: Callable[..., Any] = module.f
    return function


def test_functions_in_one_line_are_told_apart() -> None:
    """By the positions of their instructions."""
    inner, _, one, two, outer = make()
    assert syntax_of(one.__code__) == (
        "Lambda(args=arguments(args=[arg(arg='x')]),"
        "body=BinOp(left=Name(id='x'),op=Add(),right=Constant(value=0x1)))"
    )
    found = [syntax_of(function.__code__) for function in (inner, one, two, outer, outer())]
    assert None not in found
    assert len(set(found)) == 5


@pytest.mark.parametrize(
    "other",
    [
        "\n\n# moved\ndef f(x):\n    return (x\n        + 1)\n",
        "def f(x: int, /) -> int:\n    'doc'\n    return x + 1  # a comment\n",
        "def f(x=3):\n    return x + 1\n",
    ],
)
def test_comments_annotations_and_positions_do_not_count(other: str) -> None:
    """Nor do docstrings, and defaults are compared by their values."""
    plain = syntax_of(loaded("def f(x):\n    return x + 1\n").__code__)
    changed = syntax_of(loaded(other).__code__)
    assert changed is not None
    assert changed.replace("posonlyargs", "args") == plain


@pytest.mark.parametrize("other", ["x + 2", "x - 1", "1 + x", "(lambda: x)()"])
def test_another_expression_is_another_syntax(other: str) -> None:
    """Nothing that a function does is left out."""
    plain = syntax_of(loaded("def f(x):\n    return x + 1\n").__code__)
    assert syntax_of(loaded(f"def f(x):\n    return {other}\n").__code__) not in (plain, None)


def test_a_file_that_has_changed_is_of_no_use() -> None:
    """What is in the line now is not what the function was made from."""
    function = loaded("f = lambda x: x + 1\n")
    assert syntax_of(function.__code__)
    other = loaded("f = lambda x: x + 3\n")
    Path("made.py").write_text("f = lambda x: x + 4\n# longer\n")
    assert syntax_of(other.__code__) is None


def test_a_function_without_a_source_has_no_syntax() -> None:
    """As one that was made from a text."""
    names: dict[str, Any] = {}
    exec("def f(x): return x", names)
    assert syntax_of(names["f"].__code__) is None
