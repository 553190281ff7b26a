"""Measures what trax costs, row by row, beside the least that each promise takes.

    python -m benchmarks                     # everything but the long loop
    python -m benchmarks fold recovery       # the rows whose names contain a word
    python -m benchmarks --long --docs       # everything, and writes docs/performance.*
    python -m benchmarks --quick             # tiny: only shows that everything runs

Run it in the directory of the repository, on an idle machine. `pip install -e '.[bench]'` installs
the tools that it compares with; those that are missing are left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks import peers, report, table


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="parts of the rows' names")
    parser.add_argument("--quick", action="store_true", help="fail only if something crashes")
    parser.add_argument("--long", action="store_true", help="also ten million steps")
    parser.add_argument("--list", action="store_true", help="only list the rows")
    parser.add_argument("--load", type=Path, metavar="FILE", help="show a JSON file of before")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--png", type=Path, metavar="FILE", help="draw them, with matplotlib")
    parser.add_argument("--docs", action="store_true", help="write both, and the table, into docs/")
    return parser.parse_args()


def main() -> None:
    given = options()
    if given.list:
        names = (row.name for group in table.groups(long=given.long) for row in group.rows)
        print(*names, sep="\n")
        return
    if given.load:
        found = json.loads(given.load.read_text())
        print(report.table(found["rows"]), end="")
    else:
        found = {"machine": report.machine(), "left_out": peers.missing(), "rows": []}
        print(f"{report.HEAD}| --- |", flush=True)
        for row in table.measured(given.words, quick=given.quick, long=given.long):
            found["rows"].append(row)
            print(report.line(row), flush=True)
    for name in found["left_out"]:
        print(f"{name} is not installed, and was left out.")
    if given.docs:
        given.json, given.png = (report.PAGE.with_suffix(end) for end in (".json", ".png"))
        report.PAGE.write_text(report.in_page(report.PAGE.read_text(), found))
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    if given.png:
        report.plot(found["rows"], given.png)


if __name__ == "__main__":
    main()
