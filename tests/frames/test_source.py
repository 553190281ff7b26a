"""Functions are found in their source, whatever they are called and however they were compiled."""

from __future__ import annotations

import ast
import functools
import linecache
import subprocess
import sys
import textwrap
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
from support import run_script

from trax.calls.bytecode import content
from trax.errors import UsageError
from trax.frames.source import Source, compile_function, nested_codes, place, source_of


def compiled(text: str, name: str) -> CodeType:
    text = textwrap.dedent(text)
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    return compile(text, name, "exec")


MODULE = '''
def plain(a, b=1, *c, d: int = 2, **e) -> None:
    """Docstring."""
    x: int = a
    yield x, {1, 2} == {a}, -1.5, ..., (1, (2, None)), b"c"

class plain_class:
    def plain_class(self):
        yield self.__private, __class__, super()
    class Inner:
        def method(self):
            def inside():
                yield self.__private
            return inside

@(lambda f: f)
@(lambda f: f)
def decorated():
    class Local:
        size: int = 3
        def method(self): return Local
    yield Local

def outer(n):
    async def inner():
        nonlocal n
        n += 1
        yield [x async for x in n], lambda: (yield)
    def inner(): yield n
    return inner

def same(): yield 1
def same(): yield 2

several = [(x for x in [1]), (x + 1 for x in [1]), (x + 2 for x in [1] if x for y in [2])]
nested = ((x, y) for x in (y for y in [1]) for y in (z for z in [2]))
'''


def test_every_function_is_found_and_compiles_to_the_same() -> None:
    """That also holds for two of one name, and for generator expressions in one line."""
    codes = [*nested_codes(compiled(MODULE, "<module>"))]
    functions = [code for code in codes if code.co_flags & 0x20 or code.co_flags & 0x200]
    assert len(functions) > 10
    for code in functions:
        if code.co_name == "<lambda>":
            continue
        source = source_of(code)
        assert source.code is code
        if code.co_name != "<genexpr>":
            made = compile_function(source, source.node.body, source.node.args)
            assert made.replace(co_flags=code.co_flags) == code  # it is nested in another now
            assert made.co_qualname == code.co_qualname
            assert [*nested_codes(made)] == [*nested_codes(code)]
    elements = [source_of(c).node for c in functions if c.co_name == "<genexpr>"]
    assert len({id(element) for element in elements}) == len(elements)


def test_generator_expressions_in_one_line_are_told_apart() -> None:
    codes = [c for c in nested_codes(compiled(MODULE, "<module>")) if c.co_name == "<genexpr>"]
    elements = sorted(_element(source_of(code)) for code in codes)
    assert elements == ["(x, y)", "x", "x + 1", "x + 2", "y", "z"]


def _element(source: Source) -> str:
    (made,) = (node for node in ast.walk(source.node) if isinstance(node, ast.Yield))
    assert made.value is not None
    return ast.unparse(made.value)


def test_names_that_are_private_to_a_class() -> None:
    codes = {c.co_qualname: c for c in nested_codes(compiled(MODULE, "<module>"))}
    inside = source_of(codes["plain_class.Inner.method.<locals>.inside"])
    assert inside.classes == ("plain_class", "Inner")
    assert [*map(inside.mangled, ("__a", "__a__", "_a"))] == ["_Inner__a", "__a__", "_a"]
    assert Source(inside.code, inside.node, ("__",)).mangled("__a") == "__a"
    assert source_of(codes["plain"]).mangled("__a") == "__a"


CHANGES: dict[str, Callable[[str], str]] = {
    "a constant": lambda text: text.replace("yield 1", "yield 2"),
    "a name": lambda text: text.replace("print", "input"),
    "a line before it": lambda text: "\n" + text,
    "a space": lambda text: text.replace("print (", "print("),
    "no function": lambda text: "",
    "no Python": lambda text: "def (",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_source_that_has_changed_is_refused(change: str) -> None:
    text = "def loop():\n    print (3)\n    yield 1\n"
    (code,) = nested_codes(compiled(text, f"/somewhere/{change}.py"))
    changed = CHANGES[change](text)
    name = code.co_filename
    linecache.cache[name] = len(changed), None, changed.splitlines(keepends=True), name
    with pytest.raises(UsageError, match=r"has changed since it was loaded|has no source"):
        source_of(code)


def test_no_source() -> None:
    variables: dict[str, Any] = {}
    exec("def loop(): yield 1", variables)
    with pytest.raises(UsageError, match=r"^loop has no source, which a loop without create="):
        source_of(variables["loop"].__code__)


def test_a_lambda_has_no_statements() -> None:
    loop = lambda: (yield)  # noqa: E731
    with pytest.raises(
        UsageError, match=r"line \d+ of test_source.py: a lambda cannot be a loop\."
    ):
        source_of(loop.__code__)


def test_a_place_is_short() -> None:
    def loop() -> Iterator[int]:
        yield 1

    assert place(loop.__code__, 12) == "loop, line 12 of test_source.py"
    assert place(Source.mangled.__code__, 3) == "Source.mangled, line 3 of source.py"


def test_assert_statements_that_pytest_has_changed_are_no_other_source() -> None:
    """This module is compiled by pytest."""

    def loop(a: int) -> Iterator[int]:
        assert a, f"{a} is not true"
        for x in [1]:
            assert x == a
            yield x

    assert any(
        name.startswith("@py") for name in (*loop.__code__.co_names, *loop.__code__.co_varnames)
    )
    assert source_of(loop.__code__).node.name == "loop"


def test_decorated_by_functools() -> None:
    @functools.lru_cache
    def loop() -> Iterator[int]:
        yield 1

    assert source_of(loop.__wrapped__.__code__).node.name == "loop"


def test_warnings_of_the_compiler_are_not_said_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compiled("def loop():\n  '\\d'\n  yield 1 is 2\n", "<warns>")
    (code,) = nested_codes(code)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert source_of(code).node.name == "loop"


@pytest.mark.parametrize("options", [[], ["-O"], ["-OO"], ["-X", "no_debug_ranges"]])
def test_options_of_python(options: list[str]) -> None:
    """Without columns, yields are told by their lines."""
    script = Path("options.py")
    script.write_text(
        textwrap.dedent('''
            from trax.frames.program import program_of
            from trax.errors import CodecError
            def loop(n):
                """Docstring."""
                assert n, "no n"
                for i in range(n):
                    yield (
                        i
                    )
                    if i: yield 1; yield 2
            running, seen = loop(3), []
            program = program_of(loop.__code__)
            for _ in running:
                try:
                    seen.append(program.snapshot(running).site)
                except CodecError as error:
                    seen.append(str(error))
            print(seen[:4])
            program_of((x for x in [1]).gi_code)
        ''')
    )
    done = subprocess.run(
        [sys.executable, *options, script], capture_output=True, text=True, check=True
    )
    told = (
        "loop, line 11 of options.py: the generator cannot be stored: columns were left out of the "
        "code."
    )
    assert done.stdout.strip() == str([0, 0, told, told] if "-X" in options else [0, 0, 1, 2])


def test_the_source_in_a_zip_file() -> None:
    with zipfile.ZipFile("modules.zip", "w") as file:
        file.writestr("zipped.py", "def loop():\n    yield 1\n")
    run_script(
        """
        import sys
        sys.path.insert(0, "modules.zip")
        import zipped
        from trax.frames.source import source_of
        assert source_of(zipped.loop.__code__).node.name == "loop"
        """.replace("\n        ", "\n")
    )


def load(text: str) -> CodeType:
    """Return the code of the function `loop` in a file that is written anew."""
    path = Path("edited.py").resolve()
    path.write_text(text)
    variables: dict[str, Any] = {}
    exec(compile(text, str(path), "exec"), variables)
    code: CodeType = variables["loop"].__code__
    return code


def test_a_file_that_is_edited_and_loaded_again() -> None:
    """The text of each function is the one that it was loaded from."""
    first = load("def loop():\n    yield 1\n")
    assert source_of(first).code is first
    second = load("x = 0\ndef loop():\n    yield 2, x\n")
    assert source_of(second).node.lineno == 2
    assert source_of(first).node.lineno == 1


@pytest.mark.parametrize("alone", [False, True], ids=["a module", "statements of a cell"])
def test_calls_of_what_is_imported_are_compiled_as_they_were(alone: bool) -> None:
    """A notebook compiles each statement of a cell alone, and a call of an import differs then."""
    text = "import math\ndef f(x):\n    g = lambda: math.sqrt(x)\n    yield g()\n"
    name = f"<imports, {alone}>"
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    parts = ast.parse(text).body
    names: dict[str, Any] = {}
    for part in ([one] for one in parts) if alone else [parts]:
        exec(compile(ast.Module(list(part), []), name, "exec"), names)
    source = source_of(names["f"].__code__)
    made = compile_function(source, source.node.body, source.node.args)
    assert content(made) == content(names["f"].__code__)
