"""Objects have all their attributes from the beginning."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
attributes = runpy.run_path(str(ROOT / "benchmarks" / "house.py"))["attributes"]

MAKING = {"__init__", "__new__", "__post_init__"}

CLASSES = [
    (path.relative_to(ROOT), node)
    for path in sorted((ROOT / "trax").rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.ClassDef)
]


def declared(node: ast.ClassDef) -> set[str]:
    """Return the fields of a dataclass, the names in ``__slots__``, and attributes of the class."""
    is_dataclass = any("dataclass" in ast.unparse(one) for one in node.decorator_list)
    names = set()
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and (one.value or is_dataclass):
            names.add(ast.unparse(one.target))
        elif isinstance(one, ast.Assign):
            targets = {ast.unparse(target) for target in one.targets}
            names |= set(ast.literal_eval(one.value)) if "__slots__" in targets else targets
    return names


def set_at_once(node: ast.ClassDef) -> set[str]:
    """Return the attributes that an object of a class has when it is made; bases count too."""
    names = declared(node)
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name in MAKING:
            names |= attributes(one)
    bases = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases}
    return names.union(*(set_at_once(base) for _, base in CLASSES if base.name in bases))


def test_no_object_gains_attributes_later() -> None:
    """An attribute that is there only some of the time belongs to a class of its own."""
    late = [
        f"{path}:{node.lineno}: {node.name}.{name}"
        for path, node in CLASSES
        for name in sorted(attributes(node) - set_at_once(node))
    ]
    assert len(CLASSES) > 50
    assert late == [], "set outside of __init__ only"
