"""The command is driven as a person would: from a shell, in a pipe and at a terminal."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from commands import FITS, at_terminal, in_pipe
from support import run_script
from xxhash import xxh3_64_hexdigest

import trax
from trax.cli import main
from trax.cli.command import _COMMANDS, _ON_REPLICAS
from trax.storage.journal import STATUS_SIZE, read_status


@pytest.fixture
def store() -> None:
    """Make a store with runs that have ended in several ways."""
    run_script(
        "import os, sys, trax\n"
        "@trax.resumable(create=int, name='fit-{k}')\n"
        "def fit(n, k, lr=0.1):\n    for _ in trax.steps(100):\n"
        "        if n == 41 and k == 1: raise ValueError('loss is nan')\n"
        "        n = yield n + 1\n"
        "fit(0).result()\n"
        "for n in fit(2):\n    if n == 12: break\n"
        "if not os.fork():\n"
        "    for n in fit(3):\n        if n == 17: os.kill(os.getpid(), 9)\n"
        "os.wait()\n"
        "fit(1).result()",
        check=False,
    )


@pytest.mark.usefixtures("store")
def test_without_arguments_it_lists_the_runs() -> None:
    done = in_pipe()
    assert (done.returncode, done.stderr) == (0, "")
    lines = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    assert [line[:3] for line in lines[:-1]] == [
        ["RUN", "STATE", "STEP"],
        ["fit-0", "done", "100"],
        ["fit-1", "failed", "41/100"],
        ["fit-2", "stopped", "12/100"],
        ["fit-3", "killed", lines[4][2]],
    ]
    assert lines[4][2] in ("17", "17/100")
    assert re.fullmatch(r"4 runs, \d+ kB, in \./\.trax", done.stdout.splitlines()[-1])
    assert [line[:30] for line in in_pipe("ls").stdout.splitlines()] == [
        line[:30] for line in done.stdout.splitlines()
    ]


@pytest.mark.usefixtures("store")
def test_at_a_terminal_it_has_colours_and_its_width() -> None:
    status, wide = at_terminal()
    assert status == 0
    assert "\x1b[1;31mfailed\x1b[0m" in wide
    for columns in (80, 60):
        _, text = at_terminal(columns=columns, NO_COLOR="1")
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) <= columns, text
    assert "\x1b" not in at_terminal(TERM="dumb")[1]
    plain = re.sub(r"\x1b\[[0-9;]*m", "", wide)
    assert plain.splitlines()[0].split() == in_pipe().stdout.splitlines()[0].split()


@pytest.mark.usefixtures("store")
def test_names_and_patterns_choose_runs() -> None:
    def listed(*arguments: str) -> list[str]:
        done = in_pipe("ls", "--json", *arguments)
        return [run["name"] for run in json.loads(done.stdout)["runs"]]

    assert listed("fit-1") == ["fit-1"]
    assert listed("fit-[12]") == ["fit-1", "fit-2"]
    assert listed("*", "fit-1") == ["fit-0", "fit-1", "fit-2", "fit-3"]
    done = in_pipe("ls", "other")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: no run 'other' in ")


def test_a_name_comes_before_a_pattern() -> None:
    with trax.Trax() as here:
        here.log(**{"a[1]": 0, "a1": 0})
    found = json.loads(in_pipe("ls", "a[1]", "--json").stdout)["runs"]
    assert [run["name"] for run in found] == ["a[1]"]


@pytest.mark.usefixtures("store")
def test_the_options_stand_before_the_command_or_after_it() -> None:
    Path(".trax").rename("elsewhere")
    wanted = [
        run["name"] for run in json.loads(in_pipe("--json", "--dir", "elsewhere").stdout)["runs"]
    ]
    assert len(wanted) == 4
    for arguments in (
        ("--json", "--dir", "elsewhere"),
        ("ls", "--json", "--dir", "elsewhere"),
        ("--dir", "elsewhere", "ls", "--json"),
        ("--dir", "elsewhere", "--json", "ls"),
    ):
        assert [run["name"] for run in json.loads(in_pipe(*arguments).stdout)["runs"]] == wanted
    found = json.loads(in_pipe("--json", TRAX_DIR="elsewhere").stdout)
    assert [run["name"] for run in found["runs"]] == wanted


@pytest.mark.parametrize(
    "arguments", [("odd",), ("--odd",), ("ls", "--odd"), ("show",), ("--dir", "nowhere")]
)
def test_misuse_has_the_exit_status_2(arguments: tuple[str, ...]) -> None:
    done = in_pipe(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_store_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == "no runs in ./.trax, which does not exist\n"
    Path(".trax").mkdir(mode=0o700)
    assert main([]) == 0
    assert capsys.readouterr().out == "no runs in ./.trax\n"
    assert main(["--dir", "."]) == 0
    assert capsys.readouterr().out == "no runs in .: did you mean --dir ./.trax?\n"
    assert main(["show", "fit", "--dir", "."]) == 1
    assert ": did you mean --dir ./.trax?\n" in capsys.readouterr().err


def test_a_run_that_cannot_be_read_has_the_exit_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with trax.Trax() as here:
        here.log(fit=1)
    Path(".trax/runs/fit/log-00000001").write_bytes(b"")
    assert main([]) == main(["ls", "fit"]) == main(["show", "fit"]) == 1
    assert "damaged" in capsys.readouterr().out


def test_no_character_of_a_name_or_a_message_steers_the_terminal() -> None:
    run_script(
        "import trax\n"
        "@trax.resumable(create=int, name='odd-\\x9b31m-\\u202e-日本-[red]')\n"
        "def loop(n, text='\\x1b[2J'):\n"
        "    yield 1\n    raise ValueError('\\x1b]0;title\\x07 \\u202e [bold]')\n"
        "loop().result()",
        check=False,
    )
    for arguments in ((), ("show", "*"), ("--json",), ("show", "*", "--json")):
        for text in (in_pipe(*arguments).stdout, at_terminal(*arguments, NO_COLOR="1")[1]):
            assert text.replace("\n", "").isprintable(), arguments
            assert "[red]" in text
    assert "日本" in in_pipe().stdout


def test_whatever_a_journal_says_is_shown_or_not(capsys: pytest.CaptureFixture[str]) -> None:
    """Checksums prove nothing against somebody who made it up, if there is no key."""
    with trax.Trax() as here:
        here.log(fit=1)
    path = Path(".trax/runs/fit/journal")
    status = read_status(path.read_bytes(), None)
    odd: list[Any] = [None, [], {}, -1, 10**17, 1e17, 0.5, "\x1b[2J\n", True, {"type": ["x"]}]
    for value in odd:
        for key in ("step", "total", "rate", "time", "host", "pid", "reason", "error", "state"):
            event = {**status, "event": "resumed", "file": "\0", "edited": value, key: value}
            lines = []
            for fields, size in ({**status, key: value}, STATUS_SIZE - 18), (event, 0):
                text = json.dumps(fields).encode().ljust(size)
                lines.append(b"%b %b\n" % (xxh3_64_hexdigest(text).encode(), text))
            path.write_bytes(b"".join(lines))
            for arguments in ([], ["show", "fit", "--no-verify"], ["--json"]):
                assert main(arguments) == 0
                assert capsys.readouterr().out.replace("\n", "").isprintable()


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    with trax.Trax() as here:
        here.log(**{f"run-{number:0100d}": 1 for number in range(1500)})
    done = subprocess.run(
        f"{sys.executable} -m trax | head -1", shell=True, capture_output=True, check=False
    )
    assert (done.stdout[:3], done.stderr) == (b"RUN", b"")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands_and_names(shell: str) -> None:
    assert f"_TRAX_COMPLETE={shell}_complete" in in_pipe(_TRAX_COMPLETE=f"{shell}_source").stdout
    words = {"COMP_WORDS": "trax show fit-", "COMP_CWORD": "2" if shell != "fish" else "fit-"}
    done = in_pipe(_TRAX_COMPLETE=f"{shell}_complete", **words)
    assert [f"fit-{number}" in done.stdout for number in range(5)] == [True] * 4 + [False]
    words = {"COMP_WORDS": "trax sh", "COMP_CWORD": "1" if shell != "fish" else "sh"}
    assert "show" in in_pipe(_TRAX_COMPLETE=f"{shell}_complete", **words).stdout


@pytest.mark.parametrize("arguments", [(), *((name,) for name in _COMMANDS)])
def test_help_has_examples_and_fits(arguments: tuple[str, ...]) -> None:
    done = in_pipe(*arguments, "--help")
    assert done.returncode == 0
    assert "Examples:\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert not any(line.endswith("...") for line in done.stdout.splitlines()[1:])  # cut off
    assert ("[URL]" in done.stdout.splitlines()[0]) == bool({*arguments} & {*_ON_REPLICAS})


def test_the_library_does_not_import_what_the_command_needs() -> None:
    run_script("import sys, trax\nassert not {'click', 'rich', 'trax.cli'} & sys.modules.keys()")


def as_json(*arguments: str) -> Any:
    return json.loads(in_pipe(*arguments, "--json").stdout)


@pytest.mark.usefixtures("store")
def test_json_has_all_that_is_known() -> None:
    found = as_json()
    assert found["dir"] == str(Path(".trax").resolve())
    failed = found["runs"][1]
    assert failed["error"]["message"] == "loss is nan"
    assert (failed["state"], failed["step"], failed["total"]) == ("failed", 41, 100)
    assert found["aside"] == 0


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("shwo", "no such command 'shwo': did you mean show?"),
        ("fit", "no such command 'fit': write trax show fit"),
        ("xyzzy", "no such command 'xyzzy': trax --help lists them"),
        ("\x1b[2J", r"no such command '\x1b[2J': trax --help lists them"),
    ],
)
def test_a_word_that_is_no_command(
    word: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with trax.Trax() as store:
        store.log(fit=1)
    assert main([word]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["ls", "show fit-0", "rm fit-0", "plot fit-0"])
def test_streams_that_are_closed(closed: str, command: str) -> None:
    """As some schedulers start what they run."""
    run_script(FITS + "fit(0).result()")
    shell = f"{shlex.quote(sys.executable)} -m trax {command} {closed}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert done.returncode == 2 * command.startswith("rm")
    assert "Traceback" not in done.stderr
    assert Path(".trax/runs/fit-0").exists()


def test_names_that_the_terminal_does_not_have() -> None:
    run_script(FITS.replace("fit-{k}", "f\u00eft-{k}") + "fit(0).result()")
    for command in (["ls"], ["plot", "f*"], ["report", "-o", "-"]):
        done = in_pipe(*command, PYTHONIOENCODING="ascii")
        assert (done.returncode, done.stderr) == (0, "")
        assert "t-0" in done.stdout


def test_a_store_that_is_no_directory() -> None:
    Path("file").write_text("")
    for command in ([], ["show", "fit"]):
        done = in_pipe(*command, TRAX_DIR="file")
        assert done.returncode == 2
        assert "is no directory" in done.stderr
