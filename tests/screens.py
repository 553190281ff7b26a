"""Makes the pictures in docs/screens: the command at a terminal, with real runs that really die.

    python tests/screens.py

Loops run, are killed with SIGKILL, fail, are stopped by SIGTERM, are done; then the command shows
them at a terminal of 80 columns. For that the script needs `unshare`, which gives this machine
another name for the while, and chromium, for the picture of the report.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from html import escape
from io import StringIO
from pathlib import Path

from commands import at_terminal, in_pipe
from rich.cells import cell_len
from rich.console import Console
from rich.style import Style
from rich.text import Text

from trax.survey.runs import Survey

PICTURES = Path(__file__).parents[1] / "docs" / "screens"
PLACE, HOST = Path("/tmp/magnet"), "laptop"

MAGNET = """\
import sys
import numpy as np
import trax

SIZE = 64
BLACK = np.indices((SIZE, SIZE)).sum(axis=0) % 2 == 0


@trax.resumable(name="magnet-{temperature}", total="sweeps")
def magnetise(temperature, sweeps):
    rng = np.random.default_rng(1)
    spins = np.ones((SIZE, SIZE), dtype=np.int8)
    for _ in range(sweeps):
        for colour in BLACK, ~BLACK:
            field = sum(np.roll(spins, by, axis) for by in (1, -1) for axis in (0, 1))
            flips = rng.random(spins.shape) < np.exp(-2 * spins * field / temperature)
            spins[flips & colour] *= -1
        yield {"magnetisation": float(spins.mean()), "energy": float(-(spins * field).mean() / 2)}


magnetise(float(sys.argv[1]), sweeps=int(sys.argv[2])).result()
"""
FIT = """\
import sys
import numpy as np
import trax

rng = np.random.default_rng(1)
data = rng.normal(size=(200, 8))
target = data @ rng.normal(size=8)


@trax.resumable(name="fit-{rate}")
def fit(rate, epochs):
    weights = np.zeros(8)
    for _ in trax.steps(epochs):
        error = data @ weights - target
        loss = float(error @ error) / len(data)
        if loss > 1e6:
            raise ValueError(f"loss is {loss:.3g}")
        weights -= rate * error @ data / len(data)
        yield {"loss": loss}


fit(float(sys.argv[1]), epochs=int(sys.argv[2])).result()
"""
SHOWN = {  # arguments of the command, and rows of the terminal, by the name of the picture
    "ls": (("ls",), 24),
    "show": (("show", "magnet-2.27"), 24),
    "failed": (("show", "fit-1.9"), 24),
    "diff": (("diff", "fit-0.1", "fit-0.3"), 24),
    "plot": (("plot", "magnet-2.27", "magnet-2.0", "--field", "magnetisation"), 22),
    "watch": (("watch",), 12),
}
LOOKS = 8  # that watch takes

COLUMNS, CHARACTER, LINE, MARGIN = 80, 8.4, 18, 14
STYLE = """
:root { --page: #fff; --edge: #d0d7de; --ink: #1f2328; --c1: #b3164d; --c2: #12793c; --c3: #8a5a00;
  --c4: #0b62c4; --c5: #8a3fb0; --c6: #0b6e7f; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --edge: #33373d; --ink: #e6e8eb;
  --c1: #ff86ab; --c2: #6fd798; --c3: #e3c05a; --c4: #6cb2ff; --c5: #d79bff; --c6: #5fd0e0; } }
rect { fill: var(--page); stroke: var(--edge); }
text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  fill: var(--ink); }
.bold { font-weight: 700; }
.dim { opacity: .65; }
"""
STYLE += "".join(f".c{number} {{ fill: var(--c{number}); }}\n" for number in range(1, 7))


# -- runs ----------------------------------------------------------------------------------


def make_runs() -> None:
    """Write the two scripts, and runs of them that have ended in every way there is."""
    Path("magnet.py").write_text(MAGNET)
    Path("fit.py").write_text(FIT)
    run("fit.py", 0.1, 400)
    run("fit.py", 0.3, 400)
    run("fit.py", 1.9, 400)
    run("magnet.py", 2.0, 20_000)
    run("magnet.py", 2.5, 100_000, end=signal.SIGTERM, at=9_000)
    run("magnet.py", 2.35, 100_000, end=signal.SIGKILL, at=14_000)
    run("magnet.py", 2.27, 300_000, end=signal.SIGKILL, at=12_000)


def run(script: str, value: float, steps: int, end: int | None = None, at: int = 0) -> None:
    """Run a script to its end, or send it a signal when its run has come to a step."""
    with running(script, value, steps, until=at) as process:
        if end is not None:
            process.send_signal(end)
        process.wait()


@contextlib.contextmanager
def running(
    script: str, value: float, steps: int, until: int = 0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a script for the length of a block, which begins when its run has come to a step."""
    command = [sys.executable, script, str(value), str(steps)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while step_of(f"{Path(script).stem}-{value}") < until:
                assert process.poll() is None, f"{script} {value} has ended"
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def step_of(name: str) -> int:
    info = Survey().run(name)
    return 0 if info is None else info.step or 0


# -- pictures ------------------------------------------------------------------------------


def screen(*arguments: str, rows: int = 24) -> str:
    """Return what a person sees who runs the command at a terminal."""

    def type_after(text: str) -> str:
        return "q" if text.count("\x1b[H") >= LOOKS else ""

    _, text = at_terminal(*arguments, columns=COLUMNS, rows=rows, type_after=type_after)
    if arguments[0] == "watch":  # the last of its screens
        last = text.partition("\x1b[?25h")[0].split("\x1b[H")[-1]
        return re.sub(r"\x1b\[[JK]|\r", "", last)
    return f"\x1b[2m$\x1b[0m {' '.join(('trax', *arguments))}\n{text.rstrip()}"


def picture(text: str) -> str:
    """Return a drawing of a text in the colours of a terminal, for light pages and dark ones."""
    lines = text.split("\n")
    width = COLUMNS * CHARACTER + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    console = Console(file=StringIO(), width=COLUMNS)
    drawn = []
    for number, line in enumerate(lines):
        column, parts = 0, []
        for segment in Text.from_ansi(line).render(console):
            parts.append(_piece(segment.text, segment.style or Style(), column))
            column += cell_len(segment.text)
        assert column <= COLUMNS, line
        y = MARGIN + number * LINE + 14
        drawn.append(f'<text y="{y}">{"".join(parts)}</text>\n' if any(parts) else "")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height}" '
        f'width="{width:g}" height="{height}">\n<style>{STYLE}</style>\n'
        f'<rect x=".5" y=".5" width="{width - 1:g}" height="{height - 1}" rx="6"/>\n'
        f"{''.join(drawn)}</svg>\n"
    )


def _piece(text: str, style: Style, column: int) -> str:
    """Return an element with a piece of a line, as wide as it is on a terminal."""
    bare = text.lstrip(" ")
    column += len(text) - len(bare)
    bare = bare.rstrip(" \n")
    if not bare:
        return ""
    kinds = ["bold"] * bool(style.bold) + ["dim"] * bool(style.dim)
    kinds += [f"c{style.color.number}"] if style.color and style.color.number else []
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return (
        f'<tspan{kind} x="{MARGIN + column * CHARACTER:.1f}" '
        f'textLength="{cell_len(bare) * CHARACTER:.1f}" lengthAdjust="spacingAndGlyphs">'
        f"{escape(bare).replace(' ', '&#160;')}</tspan>"
    )


def photograph(page: str, path: Path) -> None:
    """Write a picture of the beginning of a page in a browser."""
    browser = shutil.which("chromium")
    assert browser is not None, "chromium is not installed"
    subprocess.run(
        [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=900,950",
         "--hide-scrollbars", f"--screenshot={path}", Path(page).resolve().as_uri()],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def write_pictures() -> None:
    """Write all pictures; while they are made, two runs go on."""
    PICTURES.mkdir(exist_ok=True)
    with (
        running("magnet.py", 2.27, 300_000, until=15_000),
        running("magnet.py", 2.2, 300_000, until=1),
    ):
        for name, (arguments, rows) in SHOWN.items():
            (PICTURES / f"{name}.svg").write_text(picture(screen(*arguments, rows=rows)))
        in_pipe("plot", "fit-*", "-o", "plot.svg", "--log")
        in_pipe("report")
    shutil.copy("plot.svg", PICTURES / "plot-file.svg")
    photograph("trax-report.html", PICTURES / "report.png")


def main() -> None:
    if socket.gethostname() != HOST:  # once more, where the name is another one
        rename = f"import os, socket; socket.sethostname({HOST!r}); os.execv({sys.executable!r}, "
        again = [sys.executable, "-c", f"{rename}{[sys.executable, __file__]})"]
        command = ["unshare", "--user", "--map-root-user", "--uts", *again]
        os.execvpe(command[0], command, {**os.environ, "HOME": str(PLACE)})
    PLACE.mkdir()
    try:
        os.chdir(PLACE)
        make_runs()
        write_pictures()
    finally:
        shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
