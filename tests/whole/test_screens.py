"""The pictures in the docs are whole and linked, ask for nothing, and show the present command."""

from __future__ import annotations

import re
import signal
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import screens
from commands import FITS
from support import run_script, write_script

from trax.cli.ls import HEAD

PAGE = screens.PICTURES.parent / "command.md"
DRAWN = sorted(screens.PICTURES.glob("*.svg"))


def texts(drawing: str) -> list[str]:
    """Return the lines of a drawing, each with its pieces one behind the other."""
    lines = ElementTree.fromstring(drawing).iterfind("{*}text")
    return [" ".join(line.itertext()).replace("\xa0", " ") for line in lines]


def test_the_page_shows_every_picture() -> None:
    """And the script has made each of them."""
    shown = re.findall(r"!\[[^]]+\]\(screens/([^)]+)\)", PAGE.read_text())
    assert sorted(shown) == sorted(path.name for path in screens.PICTURES.iterdir())
    assert {*shown} == {*(f"{name}.svg" for name in screens.SHOWN), "plot-file.svg", "report.png"}


@pytest.mark.parametrize("path", DRAWN, ids=lambda path: path.stem)
def test_a_picture_needs_nothing_else(path: Path) -> None:
    text = path.read_text()
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not re.search(r"https?:|url\(|@import|href|<script", text.replace(root.tag[1:-4], ""))
    assert "prefers-color-scheme: dark" in text
    assert len(text) < 60_000


def test_the_picture_of_a_page_is_small() -> None:
    data = (screens.PICTURES / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert len(data) < 150_000


def test_pictures_are_those_of_the_present_command() -> None:
    """The heads of their tables, and the marks of what they show."""
    drawn = {path.stem: texts(path.read_text()) for path in DRAWN}
    for name in ("ls", "watch"):
        (head,) = (line for line in drawn[name] if line.startswith("RUN"))
        assert head.split() == [*HEAD]
        states = {line.split()[1] for line in drawn[name] if len(line.split()) >= len(HEAD) - 1}
        assert {"done", "running", "failed", "killed", "stopped"} <= states
    for name, (arguments, _) in screens.SHOWN.items():
        if name != "watch":
            assert drawn[name][0] == "$ " + " ".join(("trax", *arguments))
    assert any("resumed at" in line for line in drawn["show"])
    assert any("ValueError" in line for line in drawn["failed"])
    assert "resumed" in drawn["plot"][1]
    assert "differ at the first step that both have" in drawn["diff"][1]
    assert re.search("[▁-█]", "".join(drawn["watch"]))


def test_a_screen_of_a_store_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """In its colours, and with a name like a tag as a text."""
    run_script(FITS.replace("fit-{k}", "<b>-{k}") + "fit(2, stop=41).result()", check=False)
    drawing = screens.picture(screens.screen("ls"))
    lines = texts(drawing)
    assert lines[0] == "$ trax ls"
    assert lines[1].split() == [*HEAD]
    assert lines[2].split()[:4] == ["<b>-2", "failed", "41/100", "ValueError"]
    assert '<tspan class="bold c1"' in drawing
    monkeypatch.setattr(screens, "LOOKS", 1)
    watched = texts(screens.picture(screens.screen("watch", rows=6)))
    assert watched[1].split()[:4] == lines[2].split()[:4]
    assert watched[-1].startswith("q quit")


def test_a_run_is_killed_at_a_step() -> None:
    script = write_script(FITS.replace("fit-{k}", "script-{k}") + "fit(1, epochs=10**9).result()")
    with screens.running(script, 1, 0, until=30) as process:
        assert screens.step_of("script-1") >= 30
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert "killed" in screens.screen("ls")
