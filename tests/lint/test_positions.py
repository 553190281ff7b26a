"""Where a resumed run enters its loops."""

from __future__ import annotations

import pytest
from read_loops import kinds

LOOP = """
def loop(state, n, items=()):
    for i in {source}:
        state = yield i, n
"""


@pytest.mark.parametrize(
    "source", ["range(n)", "items", "enumerate(items)", "[1, 2]", "open('a')", "sorted(items)"]
)
def test_a_source_that_knows_nothing_of_the_state_begins_again(source: str) -> None:
    """The line is that of the loop."""
    assert [kind for kind, _ in kinds(LOOP.format(source=source))] == ["restart"]


@pytest.mark.parametrize(
    "source",
    [
        *("trax.steps(n)", "trax.remaining(items)", "range(state, n)", "items[state:]"),
        *("enumerate(items[state:], state)", "range(trax.step(), n)"),
    ],
)
def test_a_source_that_knows_the_state_goes_on(source: str) -> None:
    """Also by way of trax's helpers."""
    assert kinds(LOOP.format(source=source)) == []


def test_a_loop_that_leaves_out_what_the_state_has_goes_on() -> None:
    """By the item, or by something made of it."""
    text = """
        def loop(state, items):
            for item in items:
                key = str(item)
                if {test}:
                    continue
                state = yield key, item
        """
    for test in ("key in state", "state.get(item)", "item < state.last", "state[key] is not None"):
        assert kinds(text.format(test=test), create=dict) == []
    assert [kind for kind, _ in kinds(text.format(test="item % 2"), create=dict)] == ["restart"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("state = yield i", []),
        ("if i: state = yield i", ["count"]),
        ("if i:\n            continue\n        state = yield i", ["count"]),
        ("yield i\n        state = yield i", ["count"]),
        ("if i:\n            state = yield 1\n        else:\n            state = yield 2", []),
        ("for j in range(3): state = yield j", ["count"]),
        ("try:\n            state = yield i\n        except OSError: pass", ["count"]),
    ],
)
def test_a_number_has_one_increment(body: str, kind: list[str]) -> None:
    """On every way through the turn."""
    text = f"def loop(state, n):\n    for i in trax.steps(n):\n        {body}\n"
    assert [one for one, _ in kinds(text)] == kind


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("trax.remaining({source}, key=str)", []),
        ("trax.remaining(set({source}), key=lambda item: item.name)", []),
        ("trax.remaining(as_completed({source}), key=names.get)", []),
        ("trax.remaining((one for one in {source} if one not in state), key=str)", []),
        ("enumerate(trax.remaining({source}, key=str), start=trax.step())", []),
        ("enumerate(trax.remaining({source}, key=str))", ["enumerate"]),
        ("as_completed(trax.remaining({source}, key=str))", ["order"]),
        ("as_completed([submit(one) for one in trax.remaining({source}, key=str)])", ["order"]),
        ("as_completed(kept)", ["order"]),
        ("pool.imap_unordered(str, trax.remaining({source}, key=str))", ["order"]),
        ("sorted(trax.remaining({source}, key=str))", ["count"]),
    ],
)
def test_items_with_keys_come_in_any_order(source: str, kind: list[str]) -> None:
    """But each after the increment of the one before, so nothing may fetch them ahead."""
    text = """
        def loop(state, items, names, pool):
            kept = [pool.submit(one) for one in trax.remaining(items, key=str)]
            for {target} in {source}:
                state = yield number, item
        """
    target = "number, item" if source.startswith("enumerate") else "item"
    if "kept" not in source:
        text = text.replace("trax.remaining(items, key=str)", "items")
    found = kinds(text.format(target=target, source=source.format(source="items")))
    assert [one for one, _ in found] == kind


@pytest.mark.parametrize(
    "body", ["if item:\n            continue\n        state = yield item", "yield item; yield 2"]
)
def test_an_item_with_a_key_has_one_increment(body: str) -> None:
    """As any other."""
    loop = "def loop(state, items):\n    for item in trax.remaining(items, key=str):"
    text = f"{loop}\n        {body}\n"
    assert [one for one, _ in kinds(text)] == ["count"]


def test_a_condition_after_the_yield_is_asked_before_it_as_well() -> None:
    """Or else a run that resumes at the last step goes on."""
    text = """
        def loop(state, most):
            while {test}:
                state = yield state + 1
                if state > most:
                    break
        """
    assert [kind for kind, _ in kinds(text.format(test="True"))] == ["exit"]
    assert kinds(text.format(test="not state > most")) == []


def test_yields_in_a_row_ask_the_state() -> None:
    """Which of them were done."""
    text = """
        def loop(state):
            {test}state = yield 1
            while state < 9: state = yield 2
        """
    assert [kind for kind, _ in kinds(text.format(test=""))] == ["again"]
    assert kinds(text.format(test="if not state: ")) == []


def test_yield_from_hands_the_state_over() -> None:
    """To a generator that begins with it."""
    text = "def loop(state, items):\n    yield from {source}\n"
    assert [kind for kind, _ in kinds(text.format(source="items"))] == ["restart"]
    assert kinds(text.format(source="inner(state, items)")) == []
