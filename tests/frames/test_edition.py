"""Functions that were edited between a crash and the next run: the fixed loop goes on."""

from __future__ import annotations

import contextlib
import importlib
import linecache
import math
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import trax
from trax.engine import plain_session
from trax.frames.edition import Edition
from trax.frames.program import program_of

BASE = """
import trax

def helper(x):
    return x

@trax.resumable
def loop(n):
    total, rate = 0, 1
    def twice(x):
        return 2 * x
    for i in range(n):
        total += helper(rate)
        yield total
        total += twice(0)
    return total
"""

# For each edit: the text that is replaced, the new text, the increments that follow, and the
# result. The first three steps are 1, 2 and 3.
EDITS: dict[str, tuple[str, str, list[Any], Any]] = {
    "nothing": ("", "", [4, 5], 5),
    "comment": ("    for i", "    # as it was\n    for i", [4, 5], 5),
    "blank lines": ("def loop", "\n\n\ndef loop", [4, 5], 5),
    "moved down": ("def helper", "X = 1\n\n\ndef helper", [4, 5], 5),
    "body": ("helper(rate)", "helper(rate) * 10", [13, 23], 23),
    "prologue": ("rate = 0, 1", "rate = 0, 50", [4, 5], 5),
    "yielded value": ("yield total", "yield total * 10", [40, 50], 5),
    "after the yield": ("twice(0)", "twice(50)", [104, 205], 305),
    "new statement": ("    return total", "    total += 1000\n    return total", [4, 5], 1005),
    "second yield": (
        "        total += twice",
        "        yield 'b'\n        total += twice",
        ["b", 4, "b", 5, "b"],
        5,
    ),
    "yield before": (
        "        yield total",
        "        yield 'a'\n        yield total",
        ["a", 4, "a", 5],
        5,
    ),
    "condition": (
        "        yield total",
        "        if total > 0:\n            yield total",
        [4, 5],
        5,
    ),
    "helper": ("    return x\n", "    return x + 5\n", [9, 15], 15),
    "inner function": ("2 * x", "2 * x + 7", [11, 19], 26),
    "result": ("    return total", "    return -total", [4, 5], -5),
    "loop variable": ("for i in", "for j in", [4, 5], 5),
    "else of the loop": (
        "    return total",
        "    else:\n        total = -1\n    return total",
        [4, 5],
        -1,
    ),
    "new variable in the loop": (
        "        total += helper(rate)",
        "        more = 10\n        total += helper(rate) + more",
        [14, 25],
        25,
    ),
    "end of the range": ("range(n)", "range(n + 2)", [4, 5], 5),
    "text": ("import trax", "import trax  # the library", [4, 5], 5),
}

REFUSED: dict[str, tuple[str, str, str]] = {
    "renamed variable": ("total", "count", "now needs count"),
    "new variable": ("total += helper(rate)", "total += helper(rate) + extra", "now needs extra"),
    "no yield": (
        "        yield total\n        total += twice(0)\n",
        "        n += 1\n    yield -1\n",
        "stopped at `yield total`, which is no longer in the function",
    ),
    "another block": (
        "        yield total",
        "        while total:\n            yield total\n            break",
        "other blocks around it now.\nPut those back that it had: for.",
    ),
    "other loop": (
        "    for i in range(n):",
        "    while total < n:",
        "stopped at `yield total`, which has other blocks around it now",
    ),
}


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Return a function that imports a script, in place of the one before."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(plain_session, "_SHARE", math.inf)  # a frame at each step

    def load(text: str) -> ModuleType:
        (tmp_path / "edited.py").write_text(text)
        linecache.clearcache()
        importlib.invalidate_caches()
        sys.modules.pop("edited", None)
        return importlib.import_module("edited")

    return load


def edited(old: str, new: str) -> str:
    """Return the script after an edit."""
    assert old in BASE
    text = BASE.replace(old, new) if old else BASE
    return (
        text.replace("total, rate = 0, 1", "total, rate, extra = 0, 1, 9")
        if "extra" in new
        else text
    )


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_loop_goes_on_where_it_was(edit: str, load: Callable[[str], ModuleType]) -> None:
    """The present code runs from the yield on, with the variables of before."""
    old, new, increments, result = EDITS[edit]
    run = load(BASE).loop(n=5)
    assert [next(run) for _ in range(3)] == [1, 2, 3]
    run.close()
    again = load(edited(old, new)).loop(n=5)
    assert again.resumed_at == 3
    assert list(again) == increments
    assert again.result() == result


@pytest.mark.parametrize("edit", REFUSED)
def test_an_edit_after_which_nothing_can_go_on_is_refused(
    edit: str, load: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    """By name, before anything is said to go on; and the edit can be taken back."""
    old, new, message = REFUSED[edit]
    run = load(BASE).loop(n=5)
    for _ in range(3):
        next(run)
    run.close()
    with pytest.raises(trax.UsageError, match=message):
        next(load(edited(old, new)).loop(n=5))
    assert not caplog.messages
    assert list(load(BASE).loop(n=5)) == [4, 5]
    assert caplog.messages[0].startswith("loop resumed at step 3 (")


def test_a_renamed_variable_goes_on_with_the_line_of_the_error(
    load: Callable[[str], ModuleType],
) -> None:
    """The stored variable that is gone is the one to take, if it is the only one."""
    run = load(BASE).loop(n=5)
    assert [next(run) for _ in range(3)] == [1, 2, 3]
    run.close()
    renamed = BASE.replace("total", "count")
    with pytest.raises(trax.UsageError, match="It has total, which the code has no more") as caught:
        next(load(renamed).loop(n=5))
    found = re.search(r"version=2 and (migrate=.*)\.\n", str(caught.value))
    assert found is not None
    options = f"resumable(version=2, {found[1]})"
    assert list(load(renamed.replace("resumable", options)).loop(n=5)) == [4, 5]


def test_all_variables_that_are_gone_are_named(load: Callable[[str], ModuleType]) -> None:
    run = load(BASE).loop(n=5)
    next(run)
    run.close()
    both = BASE.replace("total", "count").replace("rate", "speed")
    with pytest.raises(trax.UsageError, match=r"It has rate, total, which.*\n.*'count': \.\.\.}"):
        next(load(both).loop(n=5))


def test_two_edits_in_a_row(load: Callable[[str], ModuleType]) -> None:
    """Later frames refer to the yields of the text that they were stored with."""
    run = load(BASE).loop(n=5)
    next(run)
    run.close()
    second = edited("        yield total", "        yield 'a'\n        yield total")
    run = load(second).loop(n=5)
    assert [next(run), next(run), next(run)] == ["a", 2, "a"]
    run.close()
    third = second.replace("        yield 'a'", "        yield 'z'\n        yield 'a'")
    assert list(load(third).loop(n=5)) == [3, "z", "a", 4, "z", "a", 5]


def test_every_checkpoint_has_the_text_of_the_function(load: Callable[[str], ModuleType]) -> None:
    """So an edit is noticed also when the files of the beginning are gone."""
    text = BASE.replace("every_steps=1000", "every_steps=1")
    run = load(text).loop(n=9)
    for _ in range(6):
        next(run)
    run.close()
    needy = text.replace("helper(rate)", "helper(rate) + extra")
    with pytest.raises(trax.UsageError, match="needs extra, which the stored frame does not"):
        next(load(needy.replace("total, rate = 0, 1", "total, rate, extra = 0, 1, 9")).loop(n=9))


def test_what_does_not_run_any_more_is_told(
    load: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    """The line that was changed is shown, if the loop does not come to it."""
    run = load(BASE).loop(n=5)
    next(run)
    run.close()
    list(load(edited("rate = 0, 1", "rate = 0, 50")).loop(n=5))
    told = [line for line in caplog.messages if "runs only when the run begins" in line]
    assert told == [
        "loop: 'line 9: total, rate = 0, 50' was changed, and runs only when the run begins"
    ]


NOTHING = ""
ITERABLE = "line 12: the loop goes on through the iterable that it had; the new one is not used"


def test_an_error_of_items_of_the_old_iterable_is_explained(
    load: Callable[[str], ModuleType],
) -> None:
    """If it is that of the first step."""
    run = load(BASE).loop(n=5)
    next(run)
    run.close()
    with pytest.raises(TypeError, match="unpack") as caught:
        list(load(edited("for i in range(n)", "for i, _ in [(1, 2)]")).loop(n=5))
    assert f"trax: {ITERABLE}" in caught.value.__notes__


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("range(n):", "range(n):  # as before", NOTHING),
        ("range(n):", "range(\n        n\n    ):", NOTHING),
        ("for i in", "for turn in", NOTHING),
        ("rate = 0, 1", "rate = (0, 1)  # to begin with", NOTHING),
        ("    total, rate", '    """Adds."""\n    total, rate', NOTHING),
        ("range(n)", "range(n + 2)", ITERABLE),
        ("for i in range(n)", "for i, _ in [(1, 2)]", ITERABLE),
    ],
)
def test_a_changed_iterable_is_told_and_another_way_to_write_it_is_not(
    old: str,
    new: str,
    told: str,
    load: Callable[[str], ModuleType],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A comment, the layout and the name of an item change nothing."""
    run = load(BASE).loop(n=5)
    next(run)
    run.close()
    with contextlib.suppress(TypeError):  # items of the old iterable, taken apart
        list(load(edited(old, new)).loop(n=5))
    ours = [line for line in caplog.messages if "had;" in line or "only when" in line]
    assert ours == ([f"loop: {told}"] if told else [])


def test_the_iterable_of_a_loop_that_begins_again_is_used(
    load: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    """In the next turn of the loop around it."""
    text = BASE.replace("    for i", "    while total < 9:\n     for i")
    run = load(text).loop(n=2)
    next(run)
    run.close()
    assert list(load(text.replace("range(n)", "range(1)")).loop(n=2)) == [*range(2, 10)]
    assert "that it had" not in caplog.text


def test_a_method_is_compared_by_its_statements(
    load: Callable[[str], ModuleType], caplog: pytest.LogCaptureFixture
) -> None:
    """Its text is indented, and a text in it is not."""
    text = """
import trax

class Sum:
    @trax.resumable
    def loop(self, n):
        note = '''
as it is'''
        rate = 1
        for i in range(n):
            yield i * rate
"""
    run = load(text).Sum().loop(n=4)
    next(run)
    run.close()
    assert list(load(text.replace("rate = 1", "rate = 2")).Sum().loop(n=4)) == [1, 2, 3]
    told = [line for line in caplog.messages if "only when" in line]
    assert told == ["loop: 'line 9: rate = 2' was changed, and runs only when the run begins"]


def test_a_variable_that_is_missing_can_be_given(load: Callable[[str], ModuleType]) -> None:
    """`migrate` gets the variables as a mapping, and returns others."""
    run = load(BASE).loop(n=5)
    for _ in range(3):
        next(run)
    run.close()
    text = edited("total += helper(rate)", "total += helper(rate) + extra")
    given = "version=2, migrate=lambda v, version: {**v, 'extra': 10 * version, 'rate': v.step}, "
    with pytest.raises(
        trax.UsageError, match=r"migrate=lambda variables, version: {\*\*variables, "
    ):
        next(load(text.replace("resumable", "resumable(version=2)")).loop(n=5))
    migrated = load(text.replace("resumable", f"resumable({given})")).loop(n=5)
    assert list(migrated) == [16, 29]


def test_an_edit_that_changes_what_was_logged_is_a_difference(
    load: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error shows the edit."""
    module = load(BASE)
    run = module.loop(n=5)
    next(run)
    run._lifecycle.session._frame_at = 1e99
    next(run)
    run.close()
    with pytest.raises(trax.DivergedError, match=r"The code was changed \(line 13: total \+= "):
        next(load(edited("helper(rate)", "helper(rate) * 10")).loop(n=5))


def test_an_exception_of_edited_code_in_a_step_that_is_run_again_is_explained(
    load: Callable[[str], ModuleType],
) -> None:
    """By the edit, and not by input that the step has used up."""
    run = load(BASE).loop(n=5)
    next(run)
    run._lifecycle.session._frame_at = 1e99
    next(run)
    run.close()
    with pytest.raises(TypeError) as caught:
        next(load(edited("for i in range(n)", "for i, _ in enumerate(range(n))")).loop(n=5))
    note = caught.value.__notes__[-1]
    assert "It runs the changed code (line 12: for i, _ in enumerate(range(n)):)." in note
    assert "used up" not in note


def test_an_edition_comes_back_from_its_bytes() -> None:
    """Its yields, and its lines."""

    def loop(n: int) -> Any:
        for i in range(n):
            yield i

    edition = Edition.of(program_of(loop.__code__))
    assert Edition.decode(edition.encode()) == edition
    assert edition.spots[0].line == "yield i"
