"""`trax keygen` makes a key, and never replaces one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trax.cli import main


def test_a_key_in_a_file_and_one_that_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "mine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["path"] == str(Path("mine").resolve())
    assert main(["keygen", "-", "--json"]) == main(["keygen", "-"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()[-1]) == 64
    before = Path("mine").read_text()
    assert main(["keygen", "mine"]) == 1
    assert "mine exists" in capsys.readouterr().err
    assert Path("mine").read_text() == before
