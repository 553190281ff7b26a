"""`trax plot` draws in the terminal and into files, and tells of all that is not drawn."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from commands import FITS, at_terminal, in_pipe
from support import run_script

import trax


@pytest.fixture
def fits() -> None:
    run_script(FITS + "fit(0).result()", "--kill", check=False)
    run_script(FITS + "fit(0).result()\nfit(1).result()")


@pytest.mark.usefixtures("fits")
def test_in_the_terminal() -> None:
    status, text = at_terminal("plot", "fit-*", columns=60, rows=30)
    assert status == 0
    assert "\x1b[36m" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= 60
    assert len(plain.splitlines()) <= 30
    assert "loss  ━ fit-0  ━ fit-1  ╎ resumed  ┴ checkpoint" in plain
    assert "at.0" in plain
    done = in_pipe("plot", "fit-*", "--field", "loss")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert done.stdout.startswith("loss  • fit-0  + fit-1  ╎ resumed")
    assert len(done.stdout.splitlines()) <= 24


def test_many_runs_are_all_named_in_a_pipe() -> None:
    run_script(FITS + "for k in range(8): fit(1000 + k, epochs=2).result()")
    done = in_pipe("plot", "fit-*", "--field", "loss")
    assert all(f"fit-{1000 + k}" in done.stdout for k in range(8))
    assert len(done.stdout.splitlines()[0]) > 80
    assert "  and 3 more" in at_terminal("plot", "fit-*", "--field", "loss", NO_COLOR="1")[1]


@pytest.mark.usefixtures("fits")
@pytest.mark.parametrize("kind", ["svg", "html"])
def test_into_a_file_that_needs_nothing(kind: str) -> None:
    done = in_pipe("plot", "fit-0", "-o", f"fit.{kind}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text = Path(f"fit.{kind}").read_text()
    assert "<title>resumed</title>" in text
    assert "<title>checkpoint</title>" in text
    assert text.count("<polyline") == 2
    drawn = text.partition("</style>\n")[2].removesuffix("</html>\n") if kind == "html" else text
    ElementTree.fromstring(f"<div>{drawn}</div>")
    assert "script" not in text


@pytest.mark.usefixtures("fits")
def test_into_a_picture() -> None:
    pytest.importorskip("matplotlib")
    done = in_pipe("plot", "fit-*", "-o", "fit.png", "--log")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"trax: at.0: fit-{k}: values that are not positive are left out" for k in range(2)
    ]
    assert Path("fit.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.usefixtures("fits")
def test_json_has_the_points() -> None:
    (found,) = json.loads(in_pipe("plot", "fit-0", "--field", "loss", "--json").stdout)
    points = found["fields"]["loss"]["points"]
    assert [(step, value) for step, _, value in points] == [
        (n + 1, 100 / (n + 1)) for n in range(100)
    ]
    assert [mark["kind"] for mark in found["marks"] if mark["step"] == 17] == ["resumed"]


def test_what_has_no_numbers() -> None:
    with trax.Trax() as store:
        store.log(word="text", odd=float("nan"))
    done = in_pipe("plot", "word", "odd")
    assert (done.returncode, done.stdout) == (1, "")
    assert "word: no numbers in its increments" in done.stderr
    assert "odd: value: 1 are not finite" in done.stderr


@pytest.mark.parametrize(("option", "told"), [("--log", "--log"), ("--x=time", "--x time")])
def test_what_has_no_point_to_draw(option: str, told: str) -> None:
    with trax.Trax() as store:
        store.log(cold=-1.0)
    Path(".trax/runs/cold/journal").unlink()  # which has the time of the first steps
    done = in_pipe("plot", "cold", option, "-o", "cold.svg")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"trax: cold: value: no point to draw with {told}\n"
    assert not Path("cold.svg").exists()


@pytest.mark.usefixtures("fits")
def test_a_damaged_run_is_drawn_up_to_there() -> None:
    path = Path(".trax/runs/fit-0/log-00000005")
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    done = in_pipe("plot", "fit-0", "--field", "loss")
    assert done.returncode == 1
    assert done.stdout.startswith("loss")
    assert "log-00000005" in done.stderr


@pytest.mark.usefixtures("fits")
@pytest.mark.parametrize("arguments", [("-o", "fit.doc"), ("--x", "date"), ("-o", "fit")])
def test_misuse(arguments: tuple[str, ...]) -> None:
    assert in_pipe("plot", "fit-0", *arguments).returncode == 2


def test_steps_that_are_not_kept_are_told() -> None:
    """By all that shows numbers: a curve that begins late looks like a whole one."""
    run_script(FITS.replace('keep="all"', "keep=1") + "run = fit(0)\nfor _ in range(95): next(run)")
    note = re.compile(r"fit-0: steps 1 to (8|9)\d are not kept \(keep='all' keeps all\)\n")
    for command in (("plot", "fit-0"), ("export", "fit-0")):
        done = in_pipe(*command)
        assert done.returncode == 0
        assert note.search(done.stderr)
    assert re.search(r"  values .*; steps 1 to .* are not kept", in_pipe("show", "fit-0").stdout)
    run_script(FITS + "fit(1).result()")
    assert in_pipe("plot", "fit-1").stderr == in_pipe("export", "fit-1").stderr == ""


@pytest.mark.usefixtures("fits")
def test_fields_that_are_not_there() -> None:
    done = in_pipe("plot", "fit-0", "--field", "los")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "trax: no field 'los'; fit-0 has loss, at.0\n"
    done = in_pipe("plot", "fit-0", "--field", "loss", "--field", "zzz")
    assert done.returncode == 1
    assert done.stdout
    assert done.stderr == "trax: no field 'zzz'; fit-0 has loss, at.0\n"
