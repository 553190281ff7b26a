"""Runs the command as a person does: from a shell, in a pipe and at a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable

SET = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TRAX_DIR")
CLEAN = {key: value for key, value in os.environ.items() if key not in SET}

# Ctrl-C reaches only a process whose terminal it is.
_AS_CONTROLLING = (
    "import fcntl, runpy, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "runpy.run_module('trax', run_name='__main__')\n"
)

# A loop of numbers, whose runs are called fit-K.
FITS = """
import os, sys, trax
@trax.resumable(create=dict, every_steps=10, keep="all", name="fit-{k}")
def fit(state, k, stop=-1, epochs=100):
    for n in trax.steps(epochs):
        if n == 17 and "--kill" in sys.argv: os.kill(os.getpid(), 9)
        if n == stop: raise ValueError("loss is nan")
        state = yield {"loss": 100 / (n + 1) + k, "at": (n, "text")}
"""


def in_pipe(
    *arguments: str, typed: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "trax", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=CLEAN | environment,
        input=typed,
        stdin=subprocess.DEVNULL if typed is None else None,
    )


def at_terminal(
    *arguments: str,
    columns: int = 80,
    rows: int = 24,
    type_after: Callable[[str], str] = lambda _: "",
    **environment: str,
) -> tuple[int, str]:
    """Run the command at a terminal; return its exit status and what it has written there.

    `type_after` gets what was written so far and returns what to type then.
    """
    fd, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    written = b""
    with subprocess.Popen(
        [sys.executable, "-c", _AS_CONTROLLING, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        env={**CLEAN, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(terminal)
        with contextlib.suppress(OSError):  # so it tells on Linux that the process has ended
            while piece := os.read(fd, 4096):
                written += piece
                if typed := type_after(written.decode(errors="replace")):
                    os.write(fd, typed.encode())
    os.close(fd)
    return process.returncode, written.decode().replace("\r\n", "\n")
