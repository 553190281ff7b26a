"""The progress bar, as a person sees it on standard error."""

from __future__ import annotations

from support import run_script

SQUARES = """
import sys
import trax

@trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment], progress=True)
def squares(state, n):
    for i in trax.steps(n):
        yield i * i

for x in squares(n=9):
    if x == int(sys.argv[1]):
        break
"""

MISSING = """
import sys
sys.modules["tqdm"] = None  # as if it were not installed
import trax
try:
    trax.resumable(create=int, progress=True)(lambda n: (yield))
except trax.UsageError as error:
    print(error)
"""


def shown(text: str) -> str:
    """Return the last state of the bar."""
    return text.rstrip().splitlines()[-1].rpartition("\r")[2]


def test_the_bar_shows_the_total_and_begins_where_the_run_was_resumed() -> None:
    """Its last state is that of the last step, whether the loop was left or ended."""
    left = run_script(SQUARES, "16")
    assert "squares:" in shown(left.stderr)
    assert " 5/9 " in shown(left.stderr)
    ended = run_script(SQUARES, "-1")
    assert "resumed at step 5" in ended.stderr
    assert " 9/9 " in shown(ended.stderr)
    assert left.stdout == ended.stdout == ""


def test_without_tqdm_it_is_said_when_the_function_is_decorated() -> None:
    """And not after hours, at the first step."""
    said = run_script(MISSING).stdout
    assert said.startswith("progress=True needs tqdm, which is not installed.\nRun pip install")
