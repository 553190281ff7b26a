"""How large and how entangled the package is: one table, beside another checkout if one is given.

python benchmarks/house.py [PATH_TO_OTHER_CHECKOUT]

Lines of functions and classes are counted without docstrings, comments and blank lines. A field of
an f-string counts as 8 characters of a message.
"""

from __future__ import annotations

import argparse
import ast
import io
import os
import re
import statistics
import subprocess
import sys
import tempfile
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FIELD = "_" * 8
QUESTION = re.compile(r"(What|Where|Which|How|Who|When|Whether)\b")
BUILT_IN = {"TypeError", "ValueError", "AttributeError", "FileExistsError"}
LAYOUT = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
APPEND = """
import sys, trax
@trax.resumable(create=int, replay_log=lambda state, increment: state + increment, every_steps=1000)
def loop(state):
    while True:
        state = yield 1
with loop() as run:
    for _ in range(10):
        next(run)
    seen = set()
    sys.setprofile(lambda frame, event, value: seen.add(frame.f_code.co_filename))
    next(run)
    sys.setprofile(None)
print(*seen, sep="\\n")
"""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Names = set[str]


class Module:
    """One file of the package, parsed."""

    def __init__(self, path: Path) -> None:
        text = path.read_text()
        self.path = path
        self.lines = len(text.splitlines())
        self.tree = ast.parse(text)
        self.nodes = list(ast.walk(self.tree))
        self.docstrings = list(docstrings(self.nodes))
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        self.comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
        self.code: set[int] = set()  # the numbers of the lines that count
        for token in tokens:
            if token.type not in LAYOUT | {tokenize.COMMENT}:
                self.code.update(range(token.start[0], token.end[0] + 1))
        for one in self.docstrings:
            self.code.difference_update(range(one.lineno, int(one.end_lineno or 0) + 1))

    def length(self, node: ast.stmt) -> int:
        """Return how many lines a function or a class has."""
        return len(self.code.intersection(range(node.lineno, int(node.end_lineno or 0) + 1)))

    def messages(self, names: Names) -> Iterator[str]:
        """Yield the texts that are the first argument of calls of these names."""
        for node in self.nodes:
            if isinstance(node, ast.Call) and node.args:
                message = text_of(node.args[0])
                if ast.unparse(node.func).rpartition(".")[2] in names and message.strip("_ "):
                    yield message


def docstrings(nodes: list[ast.AST]) -> Iterator[ast.Constant]:
    """Yield the docstrings of modules, classes and functions."""
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | Function) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def text_of(node: ast.expr) -> str:
    """Return the constant parts of a text, with something in place of its fields."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(text_of, node.values))
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.FormattedValue):
        return FIELD
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def imports(body: list[ast.stmt], known: Names) -> Iterator[str]:
    """Yield what statements import of trax when their module is imported."""
    for node in body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("trax"):
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else str(node.module) for name in full)
        elif isinstance(node, ast.Import):
            yield from known.intersection(alias.name for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(node.orelse, known)
        elif not isinstance(node, Function):
            for part in ("body", "orelse", "handlers", "finalbody"):
                yield from imports(getattr(node, part, []), known)


def longest_chain(graph: dict[str, Names]) -> list[str]:
    """Return the longest chain of imports; that of the package itself, as a name, is none."""

    @cache
    def chain(module: str) -> list[str]:
        inner = [chain(other) for other in sorted(graph[module] - {"trax"})]
        return [module, *max(inner, key=len, default=[])]

    return max(map(chain, graph), key=len)


def run_by_append(root: Path) -> Names:
    """Return the files whose code is run by one step of a loop, from `next` to the log."""
    with tempfile.TemporaryDirectory() as directory:
        output = subprocess.check_output(
            [sys.executable, "-c", APPEND],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(root), "TRAX_DIR": "store"},
            text=True,
        )
    return set(output.splitlines())


def attributes(node: ast.AST) -> Names:
    """Return the attributes of `self` that are set somewhere in a class or function."""
    found = [one for one in ast.walk(node) if isinstance(one, ast.Attribute)]
    stored = [one for one in found if isinstance(one.ctx, ast.Store)]
    return {one.attr for one in stored if ast.unparse(one.value) == "self"}


def mentioned(node: ast.ClassDef, begins: list[Function]) -> Names:
    """Return the names in the types of what `__init__` is given, and in all that `self` gets."""
    arguments = [
        one for begin in begins for one in ast.walk(begin.args) if isinstance(one, ast.arg)
    ]
    places: list[ast.AST] = [one.annotation for one in arguments if one.annotation]
    for one in ast.walk(node):
        if isinstance(one, ast.Assign | ast.AnnAssign) and attributes(one):
            places += [one.value] if one.value else []
            places += [one.annotation] if isinstance(one, ast.AnnAssign) else []
    inner = [name for place in places for name in ast.walk(place)]
    return {name.id for name in inner if isinstance(name, ast.Name)}


def table_of_class(modules: list[Module]) -> dict[str, object]:
    """Return the numbers of the class with the most lines."""
    every = [(module, node) for module in modules for node in module.nodes]
    classes = [(module, node) for module, node in every if isinstance(node, ast.ClassDef)]
    module, biggest = max(classes, key=lambda found: found[0].length(found[1]))
    methods = [one for one in biggest.body if isinstance(one, Function)]
    begins = [one for one in methods if one.name == "__init__"]
    at_once = set().union(*map(attributes, begins))
    others = {node.name for _, node in classes} - {biggest.name}
    return {
        "biggest class": biggest.name,
        "its lines": module.length(biggest),
        "its methods": len(methods),
        "its attributes set in __init__": len(at_once),
        "its attributes set only elsewhere": len(attributes(biggest) - at_once),
        "its collaborators": len(mentioned(biggest, begins) & others),
    }


def table_of_prose(modules: list[Module]) -> dict[str, object]:
    """Return the numbers of messages, docstrings and comments."""
    errors = next(module for module in modules if module.path.name == "errors.py")
    names = {node.name for node in errors.nodes if isinstance(node, ast.ClassDef)} | BUILT_IN
    messages = [text for module in modules for text in module.messages(names)]
    heads = [str(ast.get_docstring(module.tree)) for module in modules]
    prose = list(messages)
    for module in modules:
        prose += [*module.messages({"info", "warn"}), *module.comments]
        prose += [str(one.value) for one in module.docstrings]
    words = re.findall(r"[^\W_]+", "\n".join(prose).lower())
    first = [text.partition("\n")[0] for text in messages]
    return {
        "error messages, median and longest": lengths(messages),
        "their first lines": lengths(first),
        '"what" per 1,000 words of prose': round(words.count("what") / len(words) * 1000, 1),
        "modules that begin with a question": sum(bool(QUESTION.match(head)) for head in heads),
    }


def lengths(texts: list[str]) -> str:
    return f"{statistics.median(map(len, texts)):.0f}, {max(map(len, texts))}"


def module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def table(root: Path) -> dict[str, object]:
    """Return all numbers of a checkout, each with its label."""
    modules = [Module(path) for path in sorted(root.glob("trax/**/*.py"))]
    bodies = {module_name(module.path, root): module.tree.body for module in modules}
    graph = {name: set(imports(body, set(bodies))) for name, body in bodies.items()}
    every = [(module, node) for module in modules for node in module.nodes]
    functions = [module.length(node) for module, node in every if isinstance(node, Function)]
    files = run_by_append(root)
    append = [module for module in modules if str(module.path) in files]
    return {
        "modules at the top level": len([*root.glob("trax/[!_]*.py")]),
        "packages below": len([*root.glob("trax/*/**/__init__.py")]),
        "longest chain of imports": len(longest_chain(graph)),
        "imports": sum(map(len, graph.values())),
        **table_of_class(modules),
        "functions over 40 lines": sum(lines > 40 for lines in functions),
        "median lines of a function": statistics.median(functions),
        **table_of_prose(modules),
        "modules that one append runs": len(append),
        "their lines": sum(module.lines for module in append),
        "lines of trax/": sum(module.lines for module in modules),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", nargs="?", type=Path, help="another checkout")
    other = parser.parse_args().other
    roots = [path.resolve() for path in (Path(__file__).parents[1], other) if path]
    tables = [table(root) for root in roots]
    print(f"| {'':34} |", *(f"{root.name:>12} |" for root in roots))
    print(f"| {'-' * 34} |", *(f"{'-' * 11}: |" for _ in roots))
    for label in tables[0]:
        print(f"| {label:34} |", *(f"{one[label]!s:>12} |" for one in tables))


if __name__ == "__main__":
    main()
