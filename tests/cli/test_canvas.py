"""Pictures of characters have the size that they should, and show what is there."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from trax.cli.canvas import draw, spark
from trax.cli.panels import Line, Panel, Scale


def panel(*lines: list[tuple[float, float]], name: str = "run") -> Panel:
    points = [point for line in lines for point in line]
    xs, ys = zip(*points, strict=True)
    return Panel(
        "loss",
        [Line(f"{name}-{number}", line) for number, line in enumerate(lines)],
        [min(xs)],
        [max(xs)],
        Scale(min(xs), max(xs), "step"),
        Scale(min(ys), max(ys)),
        [],
    )


def test_a_rising_line() -> None:
    lines = draw(panel([(0, 0.0), (100, 10.0)]), 30, 8)
    assert lines[0].startswith("loss  ━ run-0  ╎ resumed")
    picture = [line.partition("┤")[2] or line.partition("│")[2] for line in lines[1:-2]]
    ends = [len(line) for line in picture]
    assert ends == sorted(ends, reverse=True)
    assert lines[-2].endswith("┴")
    assert lines[1].lstrip().startswith("10 ┤")
    assert lines[-3].lstrip().startswith("0 ┤")
    assert "50" in lines[-1]


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
@pytest.mark.parametrize("rows", [1, 10, 40])
def test_no_line_is_wider_than_the_terminal(columns: int, rows: int) -> None:
    odd: list[list[tuple[float, float]]] = [
        [(1, 5.0)],
        [(0, 1e300), (10**9, -1e300)],
        [(1, 1e-9), (2, 2e-9), (3, 0.0)],
    ]
    for points in odd:
        lines = draw(panel(points, points, name="日本" * 30), columns, rows)
        assert max(map(cell_len, lines)) <= columns
        assert len(lines) <= max(6, rows)


def test_several_runs_have_letters_where_there_are_no_colours() -> None:
    text = "\n".join(draw(panel([(0, 0.0), (9, 1.0)], [(0, 1.0), (9, 0.0)]), 40, 10))
    assert "• run-0  + run-1" in text
    assert text.count("•") > 5 < text.count("+")


@pytest.mark.parametrize(
    ("columns", "title"),
    [
        (13, "loss  8 runs"),
        (30, "loss  • run-0  and 7 more"),
        (75, "loss  • run-0  + run-1  o run-2  * run-3  x run-4  # run-5  and 2 more"),
        (80, "loss  • run-0  + run-1  o run-2  * run-3  x run-4  # run-5  • run-6  + run-7"),
    ],
)
def test_runs_whose_names_do_not_fit_are_counted(columns: int, title: str) -> None:
    """Nobody takes those that are named for all."""
    eight = panel(*([(0.0, 0.0), (9.0, float(number))] for number in range(8)))
    eight.resumes.clear()
    eight.checkpoints.clear()
    assert draw(eight, columns, 8)[0] == title
    assert draw(eight, columns, 8, names_all=True)[0].endswith("  + run-7")


def test_bars() -> None:
    assert spark([], 5) == ""
    assert spark([1], 5) == "▄"
    assert spark([0, 7], 1) == "▄"
    assert spark([0.0] * 50 + [1.0] * 50, 10) == "▁▁▁▁▁█████"
    assert spark([-1e308, 1e308], 2) == "▁█"
