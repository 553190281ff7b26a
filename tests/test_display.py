"""Short texts for values."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import trax
from trax.display import as_html, as_html_table, in_notebook, same_code, short_error, show


class Nameless:
    """Has no text."""

    def __repr__(self) -> str:
        raise ValueError("no text")


def test_a_large_integer_is_shortened_wherever_it_is() -> None:
    """Python refuses to write more than 4,300 of its digits."""
    for value in (2**20000, -(3**20000), [2**20000], {"n": (2**20000,)}):
        assert "..." in show(value)
    assert show(10**50) == "100000000000000000...0000000000000000000"


def test_a_value_without_a_text_is_shown_by_its_type() -> None:
    """And so is one whose class has the name of another type."""
    assert show([Nameless()]) == "[<Nameless instance>]"
    assert "array" in show(type("array", (), {"__len__": lambda self: 1})())


def test_a_text_is_one_line_that_moves_no_cursor() -> None:
    """Whatever a `__repr__` gives."""

    class Hostile:
        def __repr__(self) -> str:
            return "a\x1b[2J\n  b\u202e"

    assert show(Hostile()) == "a\\x1b[2J b\\u202e"
    assert "\n" not in show(np.zeros((3, 3)))
    assert show("naïve\ud800") == "'naïve\\ud800'"


def test_a_text_is_short() -> None:
    """Whatever is in the value."""
    for value in ("a" * 10**6, list(range(10**5)), {str(i): "x" * 99 for i in range(99)}):
        assert len(show(value)) < 200
    assert show({2: 1, 1: 2}) == "{2: 1, 1: 2}"


@pytest.mark.parametrize("value", [-(2**20000), Nameless()], ids=["large", "nameless"])
def test_a_value_without_a_text_breaks_no_message(value: Any) -> None:
    """As an option, in a name, as an argument, and as a state."""
    for option in ({"every_steps": value}, {"varying": value}, {"sync": value}, {"name": value}):
        with pytest.raises(trax.UsageError, match=r"\.\.\.|Nameless"):
            trax.resumable(create=int, **option)(loop)
    with pytest.raises(trax.UsageError, match="cannot be formatted"):
        trax.resumable(create=int, name="loop-{data!r}")(loop)(data=[value])
    trax.resumable(create=lambda data: data, replay_log=None, name="none")(loop)(value).result()
    trax.resumable(create=int)(loop)(data=[value]).result()
    with pytest.raises(trax.ArgumentsChangedError, match="data"):
        trax.resumable(create=int)(loop)(data=[1]).result()


def loop(state: Any, data: Any) -> Iterator[Any]:
    """Make one step."""
    yield data


def test_a_table_has_no_markup_of_what_it_shows() -> None:
    """Neither in the title, nor in names and facts."""
    shown = as_html("<i>", {'a"': "<script>1</script>", "b&": "ok"})
    assert shown == (
        "<table><caption>&lt;i&gt;</caption><tbody>"
        "<tr><th>a&quot;</th><td>&lt;script&gt;1&lt;/script&gt;</td></tr>"
        "<tr><th>b&amp;</th><td>ok</td></tr></tbody></table>"
    )


def test_what_is_run_again_is_a_cell_where_there_are_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at a prompt of IPython, which is no notebook, and nothing is imported to find out."""
    assert "IPython" not in sys.modules or not in_notebook()
    ipython = types.ModuleType("IPython")
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    for shell, code in [
        (None, "the same script"),
        (types.SimpleNamespace(), "the same script"),
        (types.SimpleNamespace(kernel=object()), "the same cell"),
    ]:
        ipython.get_ipython = lambda shell=shell: shell  # type: ignore[attr-defined]
        assert same_code() == code


def test_a_table_of_several_rows_shows_texts_as_they_are() -> None:
    table = as_html_table("<2 runs>", ["RUN"], [["a&b"], ["c"]])
    assert "<caption>&lt;2 runs&gt;</caption>" in table
    assert "<tr><th>RUN</th></tr><tr><td>a&amp;b</td></tr><tr><td>c</td></tr>" in table


class NoTextError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_without_a_text_is_shown_by_its_type() -> None:
    assert short_error(ValueError("\none\ntwo"), 20) == "ValueError: one"
    assert short_error(ValueError("one:\n  two\nthree"), 20) == "ValueError: one: two"
    assert short_error(ValueError("one:"), 20) == "ValueError: one:"
    assert short_error(ValueError(), 20) == "ValueError"
    assert short_error(NoTextError(), 20) == "NoTextError"
