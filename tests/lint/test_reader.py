"""Loops that would not resume exactly are warned of when they are decorated, and no others."""

from __future__ import annotations

import ast
import subprocess
import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from broken_off import define, differs, warnings_of
from lint_loops import Loop, loops
from read_loops import found, function_of

import trax
from trax.calls.options import Options
from trax.lint import reader

ROOT = Path(__file__).parents[2]

LOSING = """
import trax
@trax.resumable(create=int, replay_log=lambda total, n: n{options})
def add(total, n):
    own = 0
    for i in trax.steps(n):
        own += i
        total = yield own
"""


@pytest.mark.parametrize("loop", loops(), ids=lambda loop: loop.name)
def test_of_each_loop_that_is_found_which_is_wrong_with_it(loop: Loop) -> None:
    """And nothing is found where it resumes exactly."""
    told = [*warnings_of(loop.text, Path("script.py"))]
    assert (not told) == (loop.kind == "exact"), told


@pytest.mark.parametrize("loop", loops(), ids=lambda loop: loop.name)
def test_what_is_found_is_of_the_kind_that_the_table_says(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason counts, not only that there is one."""
    seen: list[str] = []

    def collect(function: object, options: object) -> None:
        seen.extend(one.kind for one in reader.findings(function, options))  # type: ignore[arg-type]

    monkeypatch.setattr(reader, "warn", collect)
    define(loop.text, Path("script.py"))
    assert {*seen} == ({loop.kind} - {"exact"})


@pytest.mark.proof
@pytest.mark.parametrize("loop", loops(), ids=lambda loop: loop.name)
def test_the_table_says_of_each_loop_whether_it_resumes_exactly(loop: Loop, tmp_path: Path) -> None:
    """It is broken off at every step, and resumed in another process."""
    difference = differs(loop.text, tmp_path, is_thorough=True)
    assert bool(difference) == (loop.kind != "exact"), difference


def test_every_kind_is_in_the_table() -> None:
    """With loops of the same sort that are right."""
    texts = [path.read_text() for path in (ROOT / "trax" / "lint").glob("*.py")]
    calls = (
        one for text in texts for one in ast.walk(ast.parse(text)) if isinstance(one, ast.Call)
    )
    made = [call for call in calls if getattr(call.func, "id", "") == "Finding"]
    kinds = {ast.literal_eval(call.args[2]) for call in made}
    # A file that is moved too early is missed only if the process ends before the step is stored.
    assert kinds - {"moved"} == {loop.kind for loop in loops()} - {"exact"}
    assert sum(loop.kind == "exact" for loop in loops()) >= len(loops()) // 3


def test_a_warning_shows_the_line_the_name_and_the_ways() -> None:
    """In the words of the loop."""
    path = Path("script.py")
    with pytest.warns(trax.ResumeWarning) as told:
        define(LOSING.format(options=""), path)
    (one,) = told
    assert (one.filename, one.lineno) == ("script.py", 7)
    first, *ways = str(one.message).splitlines()
    assert first == "add: 'own' changes from step to step, but begins anew in a resumed run."
    assert len(ways) == 2


def test_check_false_silences_one_function() -> None:
    """Whoever knows better says so beside the loop."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        define(LOSING.format(options=", check=False"), Path("script.py"))


@pytest.mark.parametrize(
    "rule",
    [
        "ignore::UserWarning",
        "ignore:add:UserWarning",
        "ignore::UserWarning:__main__",
        "ignore::UserWarning:__main__:7",
    ],
)
def test_the_filters_of_python_silence_all(rule: str) -> None:
    """By category, message, module and line."""
    Path("script.py").write_text(LOSING.format(options=""))
    for options, is_silent in (([], False), (["-W", rule], True)):
        done = subprocess.run(
            [sys.executable, *options, "script.py"],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(ROOT)},
        )
        assert ("ResumeWarning" in done.stderr) != is_silent, done.stderr


def test_at_most_three_things_are_told_of_one_function() -> None:
    """The most certain ones."""
    lines = ["    for i in trax.steps(n):", *(f"        a{k} += i" for k in range(6))]
    lines.append("        total = yield a0 + a1 + a2 + a3 + a4 + a5")
    names = "".join(f"    a{k} = 0\n" for k in range(6))
    head = "import trax\n@trax.resumable(create=int)\ndef add(total, n):\n"
    with pytest.warns(trax.ResumeWarning) as told:
        define(head + names + "\n".join(lines) + "\n", Path("script.py"))
    assert len(told) == 3


def test_without_source_nothing_is_said() -> None:
    """There is nothing to read."""
    made: dict[str, object] = {"trax": trax}
    exec(LOSING.format(options=""), made)
    assert "add" in made


def test_a_function_that_cannot_be_read_can_be_decorated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake of the reader is none of the user's."""

    def fails(*given: object) -> None:
        raise RecursionError

    monkeypatch.setattr(reader, "findings", fails)
    define(LOSING.format(options=""), Path("script.py"))


def test_each_cause_fits_into_one_line() -> None:
    """Its first hundred characters are what a person reads."""
    text = "".join(path.read_text() for path in (ROOT / "trax" / "lint").glob("*.py"))
    for node in ast.walk(ast.parse(text.replace("from __future__ import annotations", ""))):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "cause":
            assert len(ast.unparse(node.value)) <= 100, ast.unparse(node.value)


HEAD = "def loop(state, n):\n    best, seen = 0, []\n    for i in trax.steps(n):\n"
END = "        state = yield best\n"
# Parts of a turn that come again and again, with a number instead of K.
PARTS = {
    "conditions": "        aK = state * K\n        if aK > i: b = max(i, aK)\n",
    "variables of each turn": "        if i: best, aK = aK + 1 if i > K else 0, best\n",
    "attributes": "        state.aK.x = state.bK + best; own.vK += 1\n",
    "calls": "        seen.append(f(i, key=aK)); aK = g(seen, out=aK)\n",
    "caches": "        if aK is None: aK = f(state)\n        if i not in dK: dK[i] = f(aK)\n",
    "loops": "        for jK in range(K):\n            while cK: cK -= sum(seen)\n",
    "exceptions": "        try: aK = next(seen)\n        except ValueError as e: aK = e\n",
    "exits": "        if state > K: break\n        if i > aK: continue\n",
}


def work(text: str) -> int:
    """Return the number of lines of trax that are run to read the function in a text."""
    lines = 0

    def count(frame: FrameType, event: str, given: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count if frame.f_code.co_filename.startswith(str(ROOT / "trax")) else None

    former = sys.gettrace()
    function = function_of(text)
    options = Options.check({"create": int}, "loop", ["n"])
    sys.settrace(count)
    try:
        reader.findings(function, options)
    finally:
        sys.settrace(former)
    return lines


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_twice_as_long_a_function_is_twice_the_work(part: str) -> None:
    """Whatever it is made of; a walk of all of it for each of its variables is seen."""

    def repeated(times: int) -> str:
        return HEAD + "".join(part.replace("K", str(number)) for number in range(times)) + END

    assert work(repeated(40)) < 2.2 * work(repeated(20))


def test_loops_in_loops_do_not_multiply_the_work() -> None:
    """What goes around in them is followed once more, not once more for each loop around."""

    def nested(depth: int) -> str:
        loops = [f"{'    ' * (level + 2)}for j in range(i):\n" for level in range(depth)]
        return HEAD + "".join(loops) + "    " * (depth + 2) + "best += 1\n" + END

    assert work(nested(8)) < 2.5 * work(nested(4))


def test_a_lost_variable_is_told_once() -> None:
    """Even if there are several reasons."""
    text = """
        def add(total, n):
            own = []
            for i in range(n):
                own.append(i)
                total = yield own
        """
    assert len({one.subject for one in found(text)}) == len(found(text))
