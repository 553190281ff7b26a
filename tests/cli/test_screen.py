"""What is written fits a terminal, and is whole in a pipe."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from trax.cli import screen
from trax.cli.screen import cut, cut_name, table

HEAD = ("RUN", "STEP", "SIZE")
ROWS = [
    [("a-run-with-a-long-name-" * 2, "red"), ("12,000", ""), ("84 MB", "")],
    [("日本語の実行" * 5, ""), ("1", ""), ("9 MB", "")],
    [("fit", ""), ("41/100  ValueErrorOfTheUser", ""), ("100 kB", "")],
]


def test_a_pipe_gets_all_of_it_without_colours() -> None:
    lines = table(HEAD, ROWS, (2,))
    assert all(cells[0][0] in line for line, cells in zip(lines[1:], ROWS, strict=True))
    assert "\x1b" not in "".join(lines)
    assert len({cell_len(line) for line in lines}) == 1


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_terminal_gets_lines_of_its_width(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are cut first; characters may be two columns wide."""
    monkeypatch.setattr(screen, "width", lambda: columns)
    lines = table(HEAD, ROWS, (2,))
    assert all(cell_len(line) <= columns for line in lines)
    assert "…" in lines[1]
    assert lines[3].startswith("fit ")
    assert lines[3].endswith("100 kB")
    if columns == 80:
        assert "41/100  ValueErrorOfTheUser" in lines[3]


def test_names_keep_both_ends() -> None:
    found = [cut_name("magnet-2.27", columns) for columns in (11, 10, 8, 2, 1)]
    assert found == ["magnet-2.27", "magne…2.27", "magn….27", "m…", "…"]
    assert cut_name("日本語の実行", 8) == "日本…行"
    assert all(cell_len(cut_name("日本語の実行", n)) <= n for n in range(1, 12))


def test_texts_are_cut_by_columns() -> None:
    assert (cut("abcdef", 6), cut("abcdef", 5), cut("日本語", 5), cut("", 0)) == (
        "abcdef",
        "abcd…",
        "日本…",
        "",
    )
