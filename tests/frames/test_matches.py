"""Matches of regular expressions as variables of loops."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

import trax
from trax.frames.iterators import reductions
from trax.storage.codec import decode, encode
from trax.testing import check_resume

TEXT = "ab = 1, abc = 22"


def copied(found: re.Match[Any]) -> re.Match[Any]:
    """Return what comes back of a match."""
    text = found.string
    copy, also = decode(encode((found, text), "match", shared=reductions()).copied(), "match")
    assert copy.string is also
    loaded: re.Match[Any] = copy
    return loaded


def seen(found: re.Match[Any]) -> tuple[Any, ...]:
    """Return all that a match tells but the place where the search began."""
    return found.re, found.string, found.regs, found.groupdict(), found.lastgroup, found.endpos


@pytest.mark.parametrize(
    "found",
    [
        re.match("a(?P<rest>b)(x)?", TEXT),
        re.search("[0-9]+", TEXT),
        re.search(b"b", b"abb"),
        re.compile("b").search(TEXT, 3, 10),
        re.compile("b+?").fullmatch("abb", 1),
        re.fullmatch("a*?", "aaa"),
        re.search("", TEXT),
        re.search("(?<=abc) =", TEXT),
        re.search(r"\b$", TEXT),
    ],
)
def test_a_match_comes_back(found: re.Match[Any]) -> None:
    """With its groups, and with the part of the text that was searched."""
    copy = copied(found)
    assert seen(copy) == seen(found)
    assert copy.pos == found.pos


@pytest.mark.parametrize("pattern", ["[a-z]*", r"(\w+) = (\d+)|,", "(?<== )[0-9]", ""])
def test_each_match_of_many_comes_back(pattern: str) -> None:
    """Those of `finditer` begin where another one ended."""
    for found in re.finditer(pattern, TEXT):
        assert seen(copied(found)) == seen(found)


def test_a_loop_that_needs_a_match_after_its_yield() -> None:
    """As lexers do; also in a generator that it goes over."""

    def words(text: str) -> Iterator[str]:
        place = 0
        while found := re.compile(r"\w+|\W+").match(text, place):
            yield found.group()
            place = found.end()

    @trax.resumable
    def loop(text: str) -> Iterator[tuple[str, str]]:
        for word in words(text):
            found = re.search("[a-z]|$", word)
            assert found is not None
            yield word, found.group()
            assert found.string == word

    check_resume(loop(TEXT))
    assert len(list(loop(TEXT))) == 7


def test_a_match_in_a_text_that_can_change_is_refused() -> None:
    """It would not be found again."""

    @trax.resumable
    def loop(text: bytearray) -> Iterator[int]:
        for _ in range(3):
            found = re.search(b"a+", text)
            assert found is not None
            yield found.start()
            text[found.start()] = 32

    with pytest.raises(trax.CodecError, match="found"):
        next(loop(bytearray(b"aaaa")))
