"""Each loop of the page about porting loops is killed with SIGKILL, and gives the same result."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from support import run_script
from test_documents import ROOT, python_blocks

PAGE = (ROOT / "docs" / "port-your-loop.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
LOOPS = [name for name, text in SECTIONS.items() if "```python" in text]

KILLER = """
import os, signal, sys

left = int(sys.argv[1])

def after_step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def before_and_after(name: str) -> tuple[str, str]:
    """Return the code of a loop before and after; skip the test if it needs what is not here."""
    if "import torch" in SECTIONS[name]:
        pytest.importorskip("torch", reason="PyTorch is not installed")
    before, after = python_blocks(SECTIONS[name])
    return before, after


def test_there_are_six_loops() -> None:
    """A heading that is written in another way must show here."""
    assert len(LOOPS) == 6


@pytest.mark.parametrize("name", LOOPS)
def test_two_lines_are_new(name: str) -> None:
    """At most; nothing else is changed in the function."""
    before, after = before_and_after(name)
    parts = (part.strip() for part in after.split("\n\n\n"))
    lines = next(part for part in parts if part.startswith("@trax")).splitlines()
    new = [line for line in lines if line not in before.splitlines()]
    assert 1 <= len(new) <= 2
    assert "\n".join(line for line in lines if line not in new) in before


@pytest.mark.parametrize("name", LOOPS)
def test_a_ported_loop_that_is_killed_gives_the_same_result(name: str) -> None:
    """The page itself compares the result with that of the loop as it was."""
    before, after = before_and_after(name)
    step = re.compile(r"^( +)yield .*$", re.MULTILINE)
    after, yields = step.subn(r"\g<0>\n\1killer.after_step()", after)
    assert yields == 1
    Path("killer.py").write_text(KILLER)
    imports = "import random, math\nimport numpy as np\nimport trax\nimport killer\n"
    text = imports + before + after
    for steps in ("3", "5"):
        assert run_script(text, steps, check=False).returncode == -signal.SIGKILL
    assert " resumed at step " in run_script(text, "0").stderr
