"""Calls before a loop whose effects are not there when the loop is resumed."""

from __future__ import annotations

import ast
import linecache
import textwrap
from types import FunctionType

import pytest

from trax.frames.effects import unrepeated, unrepeated_notice
from trax.frames.program import program_of


def found(body: str, *, remade: str = "") -> list[str]:
    """Return the calls that are told of a function with a body before its loop."""
    text = f"def f(p):\n{textwrap.indent(textwrap.dedent(body), '    ')}\n"
    text += "    for i in range(3):\n        yield i\n"
    name = f"<{hash(text)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    made: dict[str, FunctionType] = {}
    exec(compile(text, name, "exec"), {}, made)  # a function with this text
    program = program_of(made["f"].__code__)
    told = unrepeated(program.source.code, program.sites[0], remade.split())
    return [shown for _, shown in told]


@pytest.mark.parametrize(
    "text",
    ["setup()", "registry.register(p)", "signal.alarm(3)", "if p:\n    setup()", "plugin.load(p)"],
)
def test_calls_with_an_unknown_effect_are_told(text: str) -> None:
    """They stand alone, so their effect is somewhere else."""
    call = ast.unparse(next(n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Call)))
    assert found(text) == [call]


@pytest.mark.parametrize(
    "text",
    [
        "print('begin')",
        "logging.info('begin')",
        "log.warning('begin')",
        "os.makedirs('out', exist_ok=True)",
        "torch.manual_seed(0)",
        "random.seed(1)",
        "set_random_seeds(1)",
        "setup_logging('log.txt')",
        "load_dotenv()",
        "rows = []\nheapq.heappush(rows, 1)\nheapify(rows)",
        "rows = np.eye(2)\nnp.fill_diagonal(rows, 0)",
        "plt.close('all')",
        "np.seterr(all='raise')",
        "os.chdir('out')",
        "plt.style.use('dark')",
        "p.train()",
        "rows = []\nrows.append(1)",
        "def setup(): ...\nsetup()",
        "check_arguments(p)",
        "shutil.rmtree('out')",
        "x = setup()",
        "'''a text'''",
        "super().setup()",
    ],
)
def test_nothing_is_told_of_others(text: str) -> None:
    """Their effect lasts, or belongs to what is stored, or is set again."""
    assert found(text) == []


def test_nothing_is_told_of_what_runs_again() -> None:
    """It uses a variable that is made again."""
    assert found("c = make()\nsetup(c)", remade="c") == []
    assert found("c = make()\nsetup(c)") == ["setup(c)"]


def test_the_notice() -> None:
    """One line, with the call shortened."""
    assert unrepeated_notice("train", 12, "setup()") == (
        "train: line 12 runs only when the run begins: setup(); "
        "put it outside of the function, or into a with"
    )
    assert "...; put" in unrepeated_notice("train", 12, f"setup({'x' * 100})")
