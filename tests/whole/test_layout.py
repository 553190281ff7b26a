"""Imports point one way in short chains, each module has tests, and CONTRIBUTING lists them all.

``python tests/whole/test_layout.py`` writes the layout in CONTRIBUTING.md anew.
"""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import groupby
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
HOUSE = runpy.run_path(str(ROOT / "benchmarks" / "house.py"))
LONGEST_CHAIN = 12  # modules

# Each may import those above it, and itself; those in one line know nothing of each other.
LAYERS = [
    ["_version", "_public", "_interpreter", "display"],
    ["ranks"],
    ["errors"],
    ["notices", "whole_numbers"],
    ["hooks", "policies"],
    ["keep"],
    ["integrations", "plain"],
    ["storage"],
    ["interrupts"],
    ["tracking"],
    ["replica"],
    ["fsck", "calls"],
    ["comparing"],
    ["frames"],
    ["lint"],
    ["engine"],
    ["testing"],
    ["core", "decorated", "difference", "increments", "mapping", "ways"],
    ["wrapper"],
    ["decorator"],
    ["survey", "sweeping"],
    ["cli", "demo"],
    ["__init__", "__main__"],
]
RANK = {unit: rank for rank, units in enumerate(LAYERS) for unit in units}


def paths() -> dict[str, Path]:
    """Return the files of all modules by the modules' names."""
    found = {}
    for path in sorted((ROOT / "trax").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


PATHS = paths()


def unit(module: str) -> str:
    """Return the package of a module, or the module itself where it is in none."""
    return module.split(".")[1] if "." in module else "__init__"


def imports(module: str) -> Iterator[tuple[int, str]]:
    """Yield what a module imports of trax, with the line: types and inside functions as well."""
    for node in ast.walk(ast.parse(PATHS[module].read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{PATHS[module]}:{node.lineno} imports by a relative name"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in PATHS else str(node.module) for name in inner]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name in PATHS)


IMPORTS = {module: sorted(imports(module)) for module in PATHS}


def test_imports_point_one_way() -> None:
    """A package uses those above it, whatever the import is for, and wherever it is written."""
    assert {unit(module) for module in PATHS} == RANK.keys()
    for module, found in IMPORTS.items():
        for line, imported in found:
            is_inside = unit(imported) == unit(module)
            place = f"{PATHS[module].relative_to(ROOT)}:{line}"
            assert is_inside or RANK[unit(imported)] < RANK[unit(module)], (
                f"{place}: {unit(module)} may not import {imported}"
            )


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Neither in a package, nor at all."""
    graph = {module: {imported for _, imported in found} for module, found in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" is imported by ".join(error.args[1]), pytrace=False)


def test_no_chain_of_imports_is_long() -> None:
    """Imports for types, and those inside functions, do not count."""
    graph = {
        module: set(HOUSE["imports"](ast.parse(path.read_text()).body, set(PATHS)))
        for module, path in PATHS.items()
    }
    chain = HOUSE["longest_chain"](graph)
    assert len(chain) <= LONGEST_CHAIN, " imports ".join(chain)


def modules() -> set[str]:
    """Return the modules that must have tests, such as ``storage/log``."""
    found = {path.relative_to(ROOT / "trax").with_suffix("") for path in PATHS.values()}
    return {path.as_posix() for path in found if not path.name.startswith("_")}


def files_of_tests() -> dict[str, str]:
    """Return the files of tests for one module each, such as ``storage/test_log``, and that module.

    The name is ``test_MODULE`` or ``test_MODULE_ASPECT``; the longest module that fits counts.
    """
    found = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        test = path.relative_to(ROOT / "tests").with_suffix("").as_posix()
        if not test.startswith(("whole/", "proofs/", "fuzz/")):
            named = test.replace("test_", "", 1)
            fitting = [module for module in modules() if f"{named}_".startswith(f"{module}_")]
            found[test] = max(fitting, key=len, default="")
    return found


def test_every_module_has_its_tests() -> None:
    """Whoever changes it knows which file to run."""
    assert modules() - set(files_of_tests().values()) == set()


def test_all_tests_are_those_of_a_module() -> None:
    """They lie where the module does, and have its name."""
    assert {test for test, module in files_of_tests().items() if not module} == set()


# -- what CONTRIBUTING says ----------------------------------------------------------------


def layout() -> str:
    """Return the layout of the package: the first line of each module, in the order of imports."""
    lines = ["trax/"]
    ordered = sorted(PATHS, key=lambda module: (RANK[unit(module)], unit(module), module))
    for package, members in groupby((m for m in ordered if m != "trax"), unit):
        for module in members:
            depth = module.count(".")
            is_package = PATHS[module].name == "__init__.py"
            name = f"{package}/" if is_package else PATHS[module].name
            text = ast.get_docstring(ast.parse(PATHS[module].read_text())) or ""
            lines.append(f"{'  ' * depth}{name}".ljust(22) + text.splitlines()[0].rstrip("."))
    return "\n".join(lines) + "\n"


def with_layout(text: str) -> str:
    """Return the text of CONTRIBUTING with the layout as it is."""
    before, begin, rest = text.partition("```text\n")
    _, tests_line, after = rest.partition("tests/  ")
    assert begin
    assert tests_line
    return before + begin + layout() + tests_line + after


def test_the_layout_in_contributing_is_that_of_the_modules() -> None:
    """Each module says on its first line what it is for, and nobody else does."""
    text = CONTRIBUTING.read_text()
    assert text == with_layout(text), f"python {Path(__file__).relative_to(ROOT)} writes it anew"


def test_files_that_contributing_names_are_there() -> None:
    """Paths, and modules by their file names."""
    text = re.sub(r"```.*?```", "", CONTRIBUTING.read_text(), flags=re.DOTALL)
    named = re.findall(r"`([\w/.-]*\w\.(?:py|md)|\.ci/run|(?:tests|trax|docs)/[\w/.-]*)`", text)
    assert len(named) > 5
    for name in named:
        assert (ROOT / name).exists() or list(ROOT.glob(f"trax/*/{name}")), name


def test_only_what_contributing_names_renames_files_and_forces_them() -> None:
    """The order of these calls is what a crash tests."""
    text = " ".join(CONTRIBUTING.read_text().split())
    claim = re.search(r"Only ((?:`[\w/.]+`(?:, | and )?)+) renames? files or forces? them", text)
    assert claim
    calls = re.compile(r"\bos\.(fsync|fdatasync|rename|renames|replace)\b")
    found = {
        path.relative_to(ROOT).as_posix()
        for path in PATHS.values()
        if calls.search(path.read_text())
    }
    assert set(re.findall(r"`([\w/.]+)`", claim[1])) == found


if __name__ == "__main__":
    CONTRIBUTING.write_text(with_layout(CONTRIBUTING.read_text()))
