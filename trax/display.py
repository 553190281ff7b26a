"""Short texts for the user's values, to be shown in messages."""

from __future__ import annotations

import re
import reprlib
import sys
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

__all__ = [
    "as_html",
    "as_html_table",
    "count",
    "in_notebook",
    "same_code",
    "short_error",
    "shorten",
    "show",
    "text_of",
]

_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_BREAK = re.compile(r"\s*\n\s*")
_LARGE = 4000  # bits; Python refuses to write integers of more than 4,300 digits


class _Repr(reprlib.Repr):
    def __init__(self, length: int) -> None:
        super().__init__()
        self.maxstring = self.maxother = length

    def repr1(self, x: Any, level: int) -> str:
        # It looks at the name of a type alone, so that a class named `array` is taken for that one.
        try:
            return super().repr1(x, level)
        except Exception:  # noqa: BLE001  # a __repr__ may raise anything
            return f"<{type(x).__name__} instance>"

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() < _LARGE:
            return super().repr_int(x, level)
        digits = hex(x)
        return f"{digits[:18]}...{digits[-15:]}"

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """Show the first items in their order, which counts."""
        if x and level <= 0:
            return "{...}"
        shown = [
            f"{self.repr1(key, level - 1)}: {self.repr1(value, level - 1)}"
            for key, value in islice(x.items(), self.maxdict)
        ]
        return f"{{{', '.join(shown + ['...'] * (len(x) > self.maxdict))}}}"


def show(value: Any, length: int = 80) -> str:
    """Return a text for a value: in one line, shortened, without addresses; it never raises.

    Examples
    --------
    >>> show(list(range(100)))
    '[0, 1, 2, 3, 4, 5, ...]'
    >>> show(2**20000)
    '0x1000000000000000...000000000000000'
    """
    text = _BREAK.sub(" ", _ADDRESS.sub("", _Repr(length).repr(value)))
    if len(text) > 2 * length:
        text = f"{text[:length]}..."
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def count(number: int, noun: str) -> str:
    """Return a number with what it counts.

    Examples
    --------
    >>> count(1, "result"), count(2000, "result")
    ('1 result', '2,000 results')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def shorten(text: str, length: int = 40) -> str:
    """Return a text, or its beginning if it is long.

    Examples
    --------
    >>> shorten("a line of code", 8)
    'a lin...'
    """
    return text if len(text) <= length else f"{text[: length - 3]}..."


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook, so that a person runs cells."""
    module = sys.modules.get("IPython")
    get_shell = getattr(module, "get_ipython", None)
    return get_shell is not None and getattr(get_shell(), "kernel", None) is not None


def same_code() -> str:
    """Return the words for what a person runs again."""
    return "the same cell" if in_notebook() else "the same script"


def as_html(title: str, facts: Mapping[str, str]) -> str:
    """Return a table in the colours of the page that shows it."""
    return _table(title, ([("th", name), ("td", fact)] for name, fact in facts.items()))


def as_html_table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table with a head, in the colours of the page that shows it."""
    lines = [[("th", text) for text in head], *([("td", text) for text in row] for row in rows)]
    return _table(title, lines)


def _table(title: str, lines: Iterable[Iterable[tuple[str, str]]]) -> str:
    import html  # nobody needs it outside of notebooks

    rows = "".join(
        f"<tr>{''.join(f'<{tag}>{html.escape(text)}</{tag}>' for tag, text in line)}</tr>"
        for line in lines
    )
    return f"<table><caption>{html.escape(title)}</caption><tbody>{rows}</tbody></table>"


def text_of(error: BaseException) -> str:
    """Return the text of an exception; an empty one if it has none, since `str` may raise."""
    try:
        return str(error).strip()
    except Exception:  # noqa: BLE001  # a __str__ may raise anything
        return ""


def short_error(error: BaseException, length: int) -> str:
    """Return the type of an exception and the first line of its text, shortened.

    A line that ends with a colon goes on in the next one.
    """
    text, _, rest = text_of(error).partition("\n")
    if text.endswith(":"):
        text = f"{text} {rest.partition(chr(10))[0].strip()}".strip()
    text = shorten(text, length)
    return f"{type(error).__name__}{': ' * bool(text)}{text}"
