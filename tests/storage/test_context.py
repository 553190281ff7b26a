"""Contexts, and the texts that their keys have in a file."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trax.storage.context import (
    FOLDED,
    Key,
    Kind,
    decode_context,
    encode_context,
    entry_head,
    has_outputs,
    parts_of,
)
from trax.storage.records import Damage

TEXTS = st.text(st.characters(codec="utf-8"))
RNG = Key(Kind.OUTER_RNG, "random: Random")
KEYS = {
    "random: Random#0": RNG.at(0),
    "variable rngs['a#b']: PCG64#10": Key(Kind.OUTER_RNG, "variable rngs['a#b']: PCG64", 10),
    "state 3#1": Key(Kind.INNER_RNG, "3", 1),
    "output ../out#1.txt#0": Key(Kind.OUTPUT, "../out#1.txt", 0),
    "folded": FOLDED,
}


@pytest.mark.parametrize("text", KEYS)
def test_a_key_is_written_and_read_as_the_format_says(text: str) -> None:
    """As `docs/format.md` has it; and without its part it is the key of the thing."""
    assert Key.parse(text) == KEYS[text]
    assert str(KEYS[text]) == text
    assert entry_head(KEYS[text], 5) == bytes([len(text), 0, 5, 0, 0, 0]) + text.encode()
    if text != "folded":
        assert Key.thing(text.rpartition("#")[0]) == KEYS[text].whole


@pytest.mark.parametrize(
    "text",
    ["", "#", "#0", "one", "random: Random", "a#", "a#00", "a#\u0663", "a#0\n", "a#1000000000"],
)
def test_a_text_that_trax_does_not_write_is_a_mark(text: str) -> None:
    """It stands alone, and is never taken for the part of a thing."""
    assert Key.parse(text) == Key(Kind.MARK, text)


@pytest.mark.parametrize("text", ["output out.txt", "output out.txt#00", "output #", "output "])
def test_a_text_that_speaks_of_an_output_file_always_does(text: str) -> None:
    """However malformed it is: so it is refused where lengths are needed."""
    assert Key.parse(text).kind is Kind.OUTPUT
    assert Key.parse(text).part is None
    assert has_outputs([FOLDED, Key.parse(text)])
    assert not has_outputs([FOLDED, RNG])


@given(TEXTS)
@example("state #0")
@example("output a#01")
@example("output state 1#1")
def test_any_text_comes_back_as_it_was(text: str) -> None:
    """Entries that another program wrote are stored again under the same keys."""
    assert str(Key.parse(text)) == text


def test_a_path_may_be_of_any_bytes() -> None:
    """A key keeps those that are no text."""
    key = Key(Kind.OUTPUT, b"caf\xe9 \xff".decode(errors="surrogateescape"), 0)
    payload = encode_context([(key, b"value")])
    assert b"output caf\xe9 \xff#0" in payload
    assert decode_context(payload) == {key: b"value"}


def test_the_parts_of_a_thing_end_at_the_first_that_is_missing() -> None:
    """They are numbered from 0."""
    context = {RNG.at(0): b"a", RNG.at(1): b"b", RNG.at(3): b"d", FOLDED: b""}
    assert [*parts_of(context, RNG)] == [b"a", b"b"]
    assert [*parts_of(context, Key(Kind.INNER_RNG, "0"))] == []


@given(st.dictionaries(TEXTS.map(Key.parse), st.binary(max_size=300)))
def test_a_context_comes_back_and_a_part_of_it_is_never_taken_for_it(
    entries: dict[Key, bytes],
) -> None:
    """A cut between two entries leaves those before; any other is found."""
    payload = encode_context(entries.items())
    assert decode_context(payload) == entries
    ends = {len(encode_context(list(entries.items())[:n])) for n in range(len(entries) + 1)}
    for length in set(range(len(payload))) - ends:
        with pytest.raises(Damage, match="cut short") as caught:
            decode_context(payload[:length], 1000)
        assert caught.value.offset - 1000 == max(end for end in ends if end <= length)
