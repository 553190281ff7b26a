"""Prints the oldest versions that pyproject.toml allows, as constraints for pip.

python .ci/oldest.py > oldest.txt && pip install -e '.[test]' -c oldest.txt
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest(project: dict[str, Any]) -> Iterator[str]:
    """Yield a constraint for each requirement of the project and of its extras but its own."""
    extras = project["optional-dependencies"].values()
    for requirement in [*project["dependencies"], *(one for extra in extras for one in extra)]:
        if requirement.startswith(project["name"]):
            continue
        parts = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)", requirement)
        assert parts is not None, f"{requirement} has no lower bound, or more than that"
        yield f"{parts[1]}=={parts[2]}"


if __name__ == "__main__":
    print(*sorted({*oldest(tomllib.loads(PYPROJECT.read_text())["project"])}), sep="\n")
