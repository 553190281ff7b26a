"""Progress bars of tqdm: a new bar begins where the stored one was.

Pickles refer to the public functions of this module by name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType
from typing import Any, Final

from trax.frames.loading import end_of_loading
from trax.frames.program import program_of

__all__ = [
    "is_bar",
    "is_bar_type",
    "is_passage",
    "new_bar",
    "new_passage",
    "reduce_passage",
    "reductions",
]

_OPTIONS: Final = (
    *("total", "leave", "ncols", "mininterval", "maxinterval", "ascii", "unit", "unit_scale"),
    *("smoothing", "bar_format", "unit_divisor", "colour", "delay"),
)


def _tqdm() -> Any:
    """Return the class of bars; no class if there is none."""
    return getattr(sys.modules.get("tqdm.std"), "tqdm", ())


def is_bar(one: Any) -> bool:
    """Return whether an object is a progress bar of tqdm."""
    return isinstance(one, _tqdm())


def is_bar_type(one: Any) -> bool:
    """Return whether an object is a class of such bars."""
    return isinstance(one, type) and issubclass(one, _tqdm())


def is_passage(code: CodeType) -> bool:
    """Return whether a generator with this code goes through the items of a bar."""
    return code is getattr(_tqdm().__iter__, "__code__", None)


def reductions() -> dict[type, Callable[[Any], Any]]:
    """Return how bars are taken apart, by type."""
    found: dict[type, Callable[[Any], Any]] = {}
    waiting = [kind] if (kind := _tqdm()) else []
    while waiting:
        one = waiting.pop()
        found[one] = _reduce_bar
        waiting += type.__subclasses__(one)
    return found


def _reduce_bar(bar: Any) -> tuple[Any, ...]:
    known = vars(bar)
    options = {name: known[name] for name in _OPTIONS if name in known}
    options["desc"] = known.get("desc")
    options["disable"] = bar.disable
    options["dynamic_ncols"] = bool(known.get("dynamic_ncols"))
    if not known.get("dynamic_miniters", True):
        options["miniters"] = bar.miniters
    if bar.pos < 0:  # it was chosen
        options["position"] = -bar.pos
    is_output = getattr(known.get("fp"), "_wrapped", known.get("fp")) is sys.stdout
    return new_bar, (type(bar), bar.iterable, bar.n, options, known.get("postfix"), is_output)


def new_bar(
    kind: Any, iterable: Any, n: int, options: dict[str, Any], postfix: Any, is_output: bool
) -> Any:
    """Return a bar, which is drawn at the end of loading."""
    bar = kind.__new__(kind)
    bar.disable = True
    bar.iterable, bar.n, bar.pos = iterable, n, 0
    bar.total, bar.leave = options["total"], options["leave"]
    end_of_loading(partial(_draw, bar, options, postfix, is_output), is_generator=True)
    return bar


def _draw(bar: Any, options: dict[str, Any], postfix: Any, is_output: bool) -> None:
    file = {"file": sys.stdout} if is_output else {}
    bar.__init__(bar.iterable, initial=bar.n, **options, **file)
    if postfix and not bar.disable:
        bar.postfix = postfix


def reduce_passage(generator: Any) -> tuple[Any, ...]:
    """Reduce a generator that goes through the items of a bar."""
    frame = program_of(generator.gi_code).snapshot(generator)
    bar = generator.gi_frame.f_locals["self"]
    if not frame.slots:
        return new_passage, (bar, bar.iterable, bar.n)
    n = generator.gi_frame.f_locals.get("n")
    return new_passage, (bar, frame.slots[-1], bar.n if n is None else n + 1)


def new_passage(bar: Any, items: Iterator[Any], n: int) -> Any:
    """Return an iterator over the items that are left to a bar."""
    bar.iterable, bar.n = items, n
    return iter(bar)
