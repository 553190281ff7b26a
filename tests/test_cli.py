"""The `trax` command."""

from __future__ import annotations

import pytest

from trax.cli import main


def test_misuse_of_the_command_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """With the exit status 2."""
    with pytest.raises(SystemExit) as caught:
        main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err
