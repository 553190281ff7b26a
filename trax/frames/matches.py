"""Takes the matches of regular expressions apart: they are found again in the same text.

Pickles refer to the public function of this module by name.
"""

from __future__ import annotations

import re
from typing import Any

from trax.storage.refusals import RefusedError

__all__ = ["match_again", "reduce_match"]

_TEXTS = (str, bytes)
_ADVICE = "Keep its text or its span instead, as in `text = found.group()`."


def reduce_match(found: re.Match[Any]) -> tuple[Any, ...]:
    """Reduce a match to its text and to the way in which the same one is found there.

    Raises
    ------
    RefusedError
        There is no such way, or the text can change.

    Examples
    --------
    >>> make, args = reduce_match(re.search("b+", "abbc"))
    >>> make(*args)
    <re.Match object; span=(1, 3), match='bb'>
    """
    if type(found.string) in _TEXTS:
        # One that `finditer` gives begins where the one before it ended.
        for how, start in (
            ("match", found.pos),
            ("fullmatch", found.pos),
            ("search", found.pos),
            ("match", found.start()),
        ):
            args = found.re, found.string, how, start, found.endpos
            if _is_same(found, match_again(*args)):
                return match_again, args
    raise RefusedError(found, _ADVICE, "it is not found again in its text")


def match_again(
    pattern: re.Pattern[Any], text: Any, how: str, start: int, end: int
) -> re.Match[Any] | None:
    """Return the match that a method of a pattern finds in a part of a text."""
    found: re.Match[Any] | None = getattr(pattern, how)(text, start, end)
    return found


def _is_same(one: re.Match[Any], other: re.Match[Any] | None) -> bool:
    return other is not None and (one.regs, one.lastindex) == (other.regs, other.lastindex)
