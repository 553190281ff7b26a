"""A run that begins though another one may have been meant."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from subprocess import run

import pytest

LOOP = """
import sys
import trax

@trax.resumable(create=int)
def NAME(x, n):
    for i in trax.steps(n):
        x = yield x + 1
"""


def call(name: str, *lines: str, option: str = "create=int") -> str:
    """Run a script whose loop has a name; return what is said."""
    lines = lines or (f"with {name}(n=5) as run: next(run)",)
    text = LOOP.replace("NAME", name).replace("create=int", option) + "\n".join(lines) + "\n"
    return said("script.py", text)


def said(path: str, text: str | None = None) -> str:
    """Run a script of that path; return what it says on standard error."""
    if text is not None:
        Path(path).write_text(text)
    done = run([sys.executable, path], capture_output=True, text=True, check=True)
    return done.stderr


def test_a_function_that_was_renamed_begins_with_a_hint() -> None:
    """In one line, once; the hint leads back to the run."""
    assert call("old") == ""
    assert call("new") == (
        "trax: new begins, since nothing is stored as 'new'; the run 'old' of this script has the "
        "same arguments: to resume that one, give name='old'\n"
    )
    assert "new resumed at step 1" in call("new")
    assert "old resumed at step 1" in call("new", option="create=int, name='old'")


@pytest.mark.parametrize(
    "lines",
    [
        ("with new(n=6) as run: next(run)",),  # other arguments
        ("def old(): ...", "with new(n=5) as run: next(run)"),  # it is still there
        ("new.fresh(n=5).result()",),  # it is meant
    ],
)
def test_a_run_that_is_another_one_begins_without_a_hint(lines: tuple[str, ...]) -> None:
    """Nothing is said where nothing was renamed."""
    call("old")
    assert call("new", *lines) == ""


def test_another_script_is_no_hint() -> None:
    """It may well have a loop with the same arguments."""
    call("old")
    text = LOOP.replace("NAME", "new") + "with new(n=5) as run: next(run)\n"
    assert said("other.py", text) == ""


def test_a_template_that_was_added_or_changed_is_a_hint() -> None:
    """The run of the former one has the same arguments."""
    call("sim")
    added = call("sim", option="create=int, name='sim-{n}'")
    assert "the run 'sim' of this script has the same arguments" in added
    changed = call("sim", option="create=int, name='sim-{n}-{n}'")
    assert "the run 'sim-5' of this script has the same arguments" in changed


def commands_in(hint: str) -> str:
    """Return the commands that a hint gives, to be run without questions."""
    assert hint.count("stop this one, and: ") == 1
    return hint.partition("and: ")[2].replace("trax rm", f"{sys.executable} -m trax rm --yes")


@pytest.mark.parametrize("option", ["create=int", ""])
def test_a_template_keeps_the_run_from_before_it(option: str) -> None:
    """Although runs of the template began first, in this process too; the hint leads to it."""
    loop = LOOP.replace("create=int", option)
    if not option:
        loop = loop.replace("(x, n)", "(n)").replace("x = yield x + 1", "yield i")
    said("script.py", loop.replace("NAME", "sim") + "with sim(n=5) as run: next(run); next(run)\n")
    loop = loop.replace("resumable(", "resumable(name='sim-{n}', ").replace("NAME", "sim")
    assert said("script.py", loop + "with sim(n=6) as run: next(run)\n") == ""
    both = loop + "for n in (7, 5):\n    with sim(n=n) as run: next(run)\n"
    hint = said("script.py", both)
    assert hint.startswith("trax: sim-5 begins, since nothing is stored as 'sim-5'; the run 'sim'")
    command = commands_in(hint).replace("trax fork", f"{sys.executable} -m trax fork")
    run(command, shell=True, check=True)
    again = said("script.py", both)
    assert "sim-5 resumed at step 2" in again
    assert "same arguments" not in again


def test_files_that_were_moved_are_moved_back() -> None:
    """They cannot be read under another name, which no advice may give."""
    call("sim")
    os.rename(".trax/runs/sim", ".trax/runs/other")
    hint = call("sim")
    assert "the run 'other' of this script has the same arguments" in hint
    run(commands_in(hint), shell=True, check=True)
    assert "sim resumed at step 1" in call("sim")


def test_a_sweep_gives_no_hint() -> None:
    """Each of its runs has other arguments."""
    lines = [f"sim(n={n}).result()" for n in range(3)]
    assert call("sim", *lines, option="create=int, name='sim-{n}'") == ""


def test_another_working_directory_begins_with_a_hint(store_here: Path) -> None:
    """To the store beside the script, or in a directory above."""
    call("sim")
    os.makedirs("a/b")
    os.chdir("a/b")
    hint = said("../../script.py")
    assert f"{store_here} has a run of that name with the same arguments" in hint
    assert f"give traxdir={str(store_here)!r}" in hint
    assert "sim resumed at step 1" in said("../../script.py")


def test_a_store_whose_path_is_given_gives_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever gives an absolute path means it."""
    call("sim")
    monkeypatch.setenv("TRAX_DIR", os.path.abspath("elsewhere"))
    assert call("sim") == ""


def test_a_notebook_gives_no_hint() -> None:
    """It has no file by which it could be told from another."""
    text = LOOP.replace("NAME", "old") + "with old(n=5) as run: next(run)\n"
    for name in ("old", "new"):
        done = run(
            [sys.executable, "-c", text.replace("old", name)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
