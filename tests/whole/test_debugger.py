"""The debugger in a plain loop that a former process has left in its middle."""

from __future__ import annotations

import signal

from support import run_script, start_script

LOOP = """
import os, signal, sys
import trax

@trax.resumable(every_steps=1)
def loop(n):
    total = 0
    for i in range(n):
        total += i
        if i == 5 and sys.argv[1] == "look":
            breakpoint()
        yield total

for increment in loop(10):
    if increment == 6 and sys.argv[1] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_pdb_shows_lines_and_variables_of_a_resumed_loop() -> None:
    """It stops at the lines of the script, also at a breakpoint that is set there."""
    assert run_script(LOOP, "kill", check=False).returncode == -signal.SIGKILL
    line = 1 + LOOP.splitlines().index("        total += i")
    # From Python 3.13 on it stops at the line of breakpoint() itself, not at the one behind it.
    commands = ["p i, total", *["next"] * 4, "p i, total", f"break {line}", "continue"]
    with start_script(LOOP, "look") as process:
        said, _ = process.communicate("\n".join([*commands, "p i", "quit", ""]))
    shown = [text.removeprefix("(Pdb) ") for text in said.splitlines()]
    assert "(5, 15)" in shown
    assert "(6, 21)" in shown
    assert "7" in shown[-2:]
    assert "-> for i in range(n):" in shown
