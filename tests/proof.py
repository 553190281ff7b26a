"""Runs every test that counts the faults it tries, and prints how many there were of each kind.

::

    python tests/proof.py

The table in ``docs/guarantees.md`` is made by this. It prints nothing but the failures where a
single test fails, so a count stands for as many faults with nothing lost and nothing wrong.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", "-m", "proof", f"--junitxml={report}"]
        done = subprocess.run(
            [*command, "tests", *sys.argv[1:]],
            check=False,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(done.stdout, done.stderr, file=sys.stderr)
            return done.returncode
        tree = ElementTree.parse(report)
    faults: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for case in tree.iter("testcase"):
        kinds = set()
        for found in case.iter("property"):
            label, _, kind = found.attrib["name"].partition(": ")
            if label == "proof":
                faults[kind] += int(found.attrib["value"])
                kinds.add(kind)
        tests.update(kinds)
    print("| what | how many | in tests |\n| --- | ---: | ---: |")
    for kind, number in sorted(faults.items()):
        print(f"| {kind} | {number:,} | {tests[kind]} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
