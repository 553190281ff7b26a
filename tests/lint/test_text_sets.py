"""Sets of texts."""

from __future__ import annotations

import ast

import pytest
from read_loops import declared, kinds

from trax.lint.text_sets import TextSets

NAMES = "WORDS = ['a', 'b']\nNUMBERS = [1, 2]\n"
LOOP = NAMES + "def loop(state, n):\n    own = set(WORDS)\n    state = yield own\n"


@pytest.mark.parametrize(
    ("text", "is_set"),
    [
        *(("{'a'}", True), ("{1}", False), ("set(WORDS)", True), ("set(NUMBERS)", False)),
        *(("set(n.split())", True), ("set(n)", False), ("{w for w in WORDS}", True)),
        *(("{len(w) for w in WORDS}", False), ("own", True), ("own - {1}", True)),
        *(("own.union(n)", True), ("own.pop()", False), ("state[0]", True), ("state[1]", False)),
        *(("WORDS", False), ("frozenset({'a'})", True)),
    ],
)
def test_sets_of_texts(text: str, is_set: bool) -> None:
    """As far as they are seen."""
    loop = declared(LOOP)
    first = ast.parse("({'a'}, {1})", mode="eval").body
    sets = TextSets(loop.callees, "state", first)
    assert (ast.parse(text, mode="eval").body in sets) == is_set


@pytest.mark.parametrize(
    ("value", "is_told"),
    [
        *(("next(iter(words))", True), ("words.pop()", True), ("list(words)[i]", True)),
        *(("[len(w) for w in words]", True), ("' '.join(words)", True), ("words", False)),
        *(("sorted(words)", False), ("len(list(words))", False), ("{w for w in words}", False)),
        *(("max(len(w) for w in words)", False), ("i in words", False)),
    ],
)
def test_increments_that_depend_on_the_order(value: str, is_told: bool) -> None:
    """It is another one in every process."""
    text = f"""
        def loop(state, n):
            words = {{"a", "b"}}
            for i in trax.steps(n):
                state = yield {value}
        """
    found = [kind for kind, _ in kinds(text) if kind == "order"]
    assert found == ["order"] * is_told
