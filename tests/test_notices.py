"""The lines for the person, on standard error or through logging."""

from __future__ import annotations

import logging
from collections.abc import Generator

import pytest
from support import run_script

import trax
from trax import notices

SQUARES = """
import sys
import trax

@trax.resumable(create=list, replay_log=lambda state, increment: [*state, increment], every_steps=4)
def squares(state, n):
    for i in trax.steps(n):
        yield i * i

for x in squares(n=9):
    if x == int(sys.argv[1]):
        break
"""


def test_the_person_sees_that_it_resumed() -> None:
    """With nothing configured, one line on standard error says it; standard output is theirs."""
    said = [run_script(SQUARES, stop) for stop in ("25", "-1", "-1")]
    assert [done.stdout for done in said] == ["", "", ""]
    assert said[0].stderr == ""
    assert (
        "squares resumed at step 6 (checkpoint of step 4, 2 increments replayed" in said[1].stderr
    )
    assert "squares is done, at step 9" in said[2].stderr


@trax.resumable(create=int)
def count(n: int, to: int) -> Generator[int, int, None]:
    while n < to:
        n = yield n + 1


def test_configured_logging_gets_the_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Then they go through the logger `trax`, and nowhere else."""
    with count(to=6) as run:
        next(run)
    with caplog.at_level(logging.INFO, "trax"), count(to=6) as run:
        next(run)
    told = [record.name for record in caplog.records if "resumed at step 1" in record.message]
    assert told == ["trax"]


def resumed(*configuration: str) -> str:
    """Resume a run in a script that configures logging in some way; return its standard error."""
    script = SQUARES.replace(
        "import trax\n", "\n".join(["import logging, trax", *configuration, ""])
    )
    run_script(script, "4")
    return run_script(script, "-1").stderr


@pytest.mark.parametrize("level", ["", "level=logging.WARNING", "level=logging.DEBUG"])
def test_the_line_is_seen_after_basic_config(level: str) -> None:
    """It lets the root logger, which everybody shares, have its usual level."""
    assert resumed(f"logging.basicConfig({level})").startswith("INFO:trax:squares resumed at")


@pytest.mark.parametrize(
    "choice",
    [
        "logging.getLogger('trax').setLevel(logging.WARNING)",
        "logging.getLogger('trax').addHandler(logging.NullHandler()); logging.lastResort = None",
        "logging.getLogger().setLevel(logging.ERROR)",
        "logging.disable(logging.INFO)",
    ],
)
def test_the_person_can_choose_not_to_see_it(choice: str) -> None:
    """By a level or handlers of the logger trax, or a root logger that wants no warnings either."""
    assert resumed("logging.basicConfig()", choice) == ""


def test_a_notice_cannot_steer_the_terminal() -> None:
    """Names are the person's, and those of a store that somebody handed over need not be."""
    name = "a\x9b31mred\u202eevil\nline 👩\u200d🔬"
    done = run_script("import sys\nfrom trax.notices import info\ninfo(sys.argv[1])", name)
    assert done.stderr == "trax: a\\x9b31mred\\u202eevil\\nline 👩\u200d🔬\n"


def test_a_closed_standard_error_is_no_error() -> None:
    """A run is not lost because nobody listens."""
    run_script("import sys\nfrom trax import notices\nsys.stderr.close()\nnotices.info('x')\n")


def test_a_run_that_is_done_is_told_once_and_some_runs_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A loop over seeds asks for a hundred, again and again."""

    @trax.resumable(name="up-{n}")
    def up(n: int) -> Generator[int, None, None]:
        yield from range(n)

    for n in range(1, 7):
        up(n).result()
    for _ in range(2):
        assert [up(n).result() for n in range(1, 7)] == [*range(6)]
    *first, last = caplog.messages
    assert [line.split(",")[0] for line in first] == [f"up-{n} is done" for n in (1, 2, 3)]
    assert last.endswith("up: more of its runs are done, and are not told one by one")


def test_details_need_the_level_debug(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing else shows them, and not a root logger at that level without a handler."""
    notices.detail("a")
    caplog.set_level(logging.DEBUG, "trax")
    notices.detail("b")
    assert caplog.messages == ["b"]
    script = "import logging; from trax import notices; {}notices.detail('c'); notices.info('d')"
    set_level = "logging.getLogger('trax').setLevel('DEBUG'); "
    assert run_script(script.format("")).stderr == "trax: d\n"
    assert "c" in run_script(script.format("logging.basicConfig(level='DEBUG'); ")).stderr
    assert "c\n" not in run_script(script.format(set_level)).stderr
