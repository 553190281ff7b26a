"""Takes suspended generators of helper functions and libraries apart, and makes them again.

Strategy: a generator is stored as the place of its code, its frame, and the cells that it shares
with functions around it. The code itself is not stored: the present one is found by its module and
its qualified name, so that a corrected function continues. The program of the code then makes a
generator that stands at the same yield.

Pickles refer to the public functions of this module by name.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import linecache
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from dataclasses import replace
from types import AsyncGeneratorType, CellType, CodeType, FunctionType, GeneratorType
from typing import Any, Final, NamedTuple

from xxhash import xxh3_64_hexdigest

from trax.calls.source_text import files_of
from trax.calls.syntax import syntax_of
from trax.errors import CodecError, UsageError
from trax.frames.loading import end_of_loading
from trax.frames.managers import held_managers, stored_slots
from trax.frames.program import START, Frame, Loop, Program, program_of
from trax.frames.source import nested_codes
from trax.frames.spots import Spot, find_spot, missing, spot_of
from trax.frames.suspended import code_of, frame_of, function_of, variables
from trax.frames.written_files import written_file
from trax.storage.codec import encode
from trax.storage.definitions import home, is_sent, sent_of
from trax.storage.members import contents
from trax.storage.refusals import ADVICE, RefusedError
from trax.storage.unpickler import present_place, present_variables, ways_to_find
from trax.tracking.rng_discovery import kept, tracked_below

__all__ = [
    "REDUCTIONS",
    "Place",
    "adoptable",
    "fill_cell",
    "finished",
    "function_at",
    "name_of",
    "new_cell",
    "reduce_cell",
    "reduce_generator",
    "suspended",
    "unstarted",
]

REDUCTIONS: Final[dict[type, Callable[[Any], Any]]] = {}
"""How objects in frames are taken apart, by type; `trax.frames.iterators` fills it."""

_ADVICE: Final = (
    "Let the loop go over a list of its items, or over numbers.\n"
    "Or let it end before the yield, as in list(...)."
)
_DRIVERS: Final = {
    "trax.engine.sync_driver": (ADVICE["trax.Run"], "it drives another run"),
    "trax.sweeping.sweep_driver": (ADVICE["trax.Sweep"], "it drives a sweep"),
}
_ASYNC: Final = "Collect its items before the loop, as in [item async for item in ...]."
# The attributes under which decorators keep a function.
_WRAPPED: Final = ("__wrapped__", "__func__", "func", "fget", "fset", "fdel")
_DEEP: Final = 20  # decorators around a function
_MOST: Final = 1000  # places of codes that are remembered


# -- the place of a code -------------------------------------------------------------------


class Place(NamedTuple):
    """The place of a function's code in the present program.

    Attributes
    ----------
    module : str
        The name of its module.
    name : str
        Its qualified name in it.
    number : int
        Its number among the codes of this name.
    digest : str
        The digest of its text, if it has a source.
    """

    module: str
    name: str
    number: int
    digest: str

    @property
    def present(self) -> Place:
        """The same place, if the module, the function or the class was renamed since."""
        module, name = present_place(home(self.module), self.name)
        return self._replace(module=module, name=name)


_places: dict[tuple[str, int], tuple[CodeType, Place]] = {}


def place_of(code: CodeType, variables: dict[str, Any]) -> Place | None:
    """Return the place of a code among the variables of its module; None if it is not there."""
    module = name_of(variables)
    found = _places.get((module, id(code)))
    if found is None:
        own = variables if is_sent(variables) else present_variables(module) or {}
        codes = _find_codes(own, code.co_qualname)
        number = next((n for n, one in enumerate(codes) if one is code), None)
        if number is None:  # compiled once more from the same text
            number = next((n for n, one in enumerate(codes) if _is_alike(one, code)), None)
        if number is None:
            return None
        place = Place(module, code.co_qualname, number, _text_digest(code, module))
        found = _places[module, id(code)] = code, place
        while len(_places) > _MOST:  # those that were sent are new in each task
            _places.pop(next(iter(_places)), None)
    return found[1]


def name_of(variables: dict[str, Any]) -> str:
    """Return the name of the module whose variables these are; empty if they have none."""
    name = variables.get("__name__", "")
    return name if isinstance(name, str) else ""


def _is_alike(one: CodeType, other: CodeType) -> bool:
    return one == other or (
        one.co_varnames == other.co_varnames and {*one.co_positions()} == {*other.co_positions()}
    )


def _find_code(place: Place) -> tuple[CodeType, dict[str, Any]]:
    """Return the code at a place, and the variables of its module.

    If there are several, it is the one with the same text.

    Raises
    ------
    CodecError
        There is none, or it cannot be told which.
    """
    variables = present_variables(place.module) or {}
    codes = _find_codes(variables, place.name)
    digest = place.digest
    same = [one for one in codes if not digest or _text_digest(one, place.module) == digest]
    if len(codes) == 1:
        return codes[0], variables
    if same:
        is_same = place.number < len(codes) and codes[place.number] in same
        return (codes[place.number] if is_same else same[0]), variables
    text = f"the function {place.name} of {place.module}"
    if codes:
        raise CodecError(
            f"{text} has changed in number and text.\n"
            "Put it back as it was, or start over with the decorated function's fresh(...)."
        )
    ways = ways_to_find(f"{place.module}.{place.name}")
    raise CodecError(f"{text} is not there any more.\n{ways}")


def _find_codes(variables: dict[str, Any], name: str) -> list[CodeType]:
    """Return the codes in a module that have a qualified name, in the order of the text."""
    codes = [*_by_attributes(variables, name)] or [*_by_source(variables, name)]
    return [*{id(code): code for code in codes}.values()]


def _by_attributes(attributes: dict[str, Any], name: str) -> Iterator[CodeType]:
    head = name.partition(".<")[0].split(".")
    one: Any = attributes.get(head[0])
    for part in head[1:]:
        one = vars(one).get(part) if isinstance(one, type) else None
    for function in _functions(one, name, _DEEP):
        code = function.__code__
        yield from (each for each in (code, *nested_codes(code)) if _is_called(each, name))


def _functions(one: Any, name: str, depth: int) -> Iterator[FunctionType]:
    """Yield the functions that an object is, or wraps as decorators do."""
    if not depth or one is None:
        return
    if type(one) is FunctionType:
        code = one.__code__
        if _is_called(code, name) or name.startswith(f"{code.co_qualname}.<locals>."):
            yield one
            return
        inner: Sequence[Any] = [
            cell.cell_contents for cell in one.__closure__ or () if _is_function(cell)
        ]
    else:
        inner = []
    for attribute in _WRAPPED:
        with contextlib.suppress(Exception):  # a property may raise anything
            inner = [*inner, getattr(one, attribute)]
    for each in inner:
        yield from _functions(each, name, depth - 1)


def _is_called(code: CodeType, name: str) -> bool:
    """Whether a code has a qualified name; one in a generator expression may have it shorter."""
    return code.co_qualname == name or (
        code.co_name == name.rpartition(".")[2]
        and code.co_qualname.replace(".<locals>", "") == name.replace(".<locals>", "")
    )


def _is_function(cell: CellType) -> bool:
    try:
        return isinstance(cell.cell_contents, FunctionType)
    except ValueError:  # still empty
        return False


def _by_source(variables: dict[str, Any], name: str) -> Iterator[CodeType]:
    """Yield the codes of a name from the text of a module: not all functions are its variables."""
    for file, text in _texts(variables):
        yield from (code for code in _compiled(file, text) if _is_called(code, name))


def _texts(variables: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the files of a module, with their texts."""
    sent = sent_of(variables)
    if sent is None:
        yield from ((path, "".join(linecache.getlines(path))) for path in files_of(variables))
    else:
        texts = sent.texts[name_of(variables)]
        yield from ((path, "".join(versions[0])) for path, versions in texts.items())


@functools.lru_cache(maxsize=8)
def _compiled(file: str, text: str) -> list[CodeType]:
    try:
        return [*nested_codes(compile(text, file, "exec", dont_inherit=True))]
    except SyntaxError:
        return []


def _program_of(code: CodeType, module: str) -> Program:
    """Return the program of a code; the interpreter's own copy of a module names no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if code.co_filename.startswith("<frozen") and file is not None:
        code = code.replace(co_filename=file)
    return program_of(code)


def _text_digest(code: CodeType, module: str) -> str:
    try:
        return xxh3_64_hexdigest(ast.unparse(_program_of(code, module).source.node).encode())
    except UsageError:
        text = syntax_of(code)  # that of a lambda
        return "" if text is None else xxh3_64_hexdigest(text.encode())


def _site_at(program: Program, spot: Spot, place: Place) -> int:
    """Return the number of the yield that a spot describes, in the present function."""
    found = find_spot(program, spot)
    if found is not None:
        return found
    raise CodecError(
        f"{place.name} of {place.module} was at `{spot.line}`, which is not there any more.\n"
        "Put this yield back with the loops around it, or start over with the function's "
        "fresh(...)."
    )


# -- generators ----------------------------------------------------------------------------

_made: weakref.WeakKeyDictionary[Loop, tuple[Program, FunctionType, Place]] = (
    weakref.WeakKeyDictionary()
)


def adoptable(generator: Loop) -> bool:
    """Return whether a generator's code has a source, and is found again by its place."""
    if generator in _made or frame_of(generator) is None:
        return True
    try:
        variables = _variables_of(generator)
        _program_of(code_of(generator), name_of(variables))
        return place_of(code_of(generator), variables) is not None
    except UsageError:
        return False


def reduce_generator(generator: Any) -> tuple[Any, ...]:
    """Reduce a generator to the place of its code, and to its frame.

    Raises
    ------
    RefusedError
        It cannot be taken apart.
    """
    names = generator.__name__, generator.__qualname__
    if frame_of(generator) is None:
        return finished, (*names, isinstance(generator, AsyncGeneratorType))
    module = name_of(_variables_of(generator))
    if module in _DRIVERS:
        raise RefusedError(generator, *_DRIVERS[module])
    if getattr(generator, "gi_running", False):
        raise _refused(generator, "it is running")
    program, function, place = _known(generator)
    outer = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    if isinstance(generator, GeneratorType) and not generator.gi_suspended:
        return unstarted, (place, names, outer, variables(generator))
    try:
        program = program or _program_of(function.__code__, place.module)
        frame = _frame_of(program, generator)
    except (UsageError, CodecError) as error:
        raise _refused(generator, str(error).partition("\n")[0]) from error
    if frame.site == START:
        return unstarted, (place, names, outer, variables(generator))
    spot = spot_of(program, frame.site)
    return suspended, (place, names, outer, spot, frame.values, frame.cells, frame.slots)


def _known(generator: Loop) -> tuple[Program | None, FunctionType, Place]:
    if generator in _made:
        return _made[generator]
    function = function_of(generator)
    place = place_of(function.__code__, _variables_of(generator))
    if place is None:
        raise _refused(generator, "its function cannot be found again by its name")
    return None, function, place


def _frame_of(program: Program, generator: Loop) -> Frame:
    """Take a generator apart, without the managers of blocks that are entered again."""
    frame = program.snapshot(generator)
    site = program.site(frame.site)
    if not site.entered:
        return frame
    held, remade = held_managers(site, variables(generator), frame.slots, _can_store)
    again = {number: item for number, item in site.entered if number not in held}
    for step in site.path:
        if isinstance(step.node, ast.AsyncWith) and {*again.values()} & {*step.node.items}:
            raise CodecError("only an event loop can enter its `async with` again")
    if any(written_file(frame.slots[number], "it") for number in again):
        raise CodecError("a `with` in it would open a file for writing again")
    slots = stored_slots(site, frame.slots, held)
    values = {name: value for name, value in frame.values.items() if name not in remade}
    return replace(frame, values=values, slots=slots)


def _can_store(value: Any) -> bool:
    try:
        encode(value, "manager", shared=REDUCTIONS)
    except CodecError:
        return False
    return True


def _variables_of(generator: Loop) -> dict[str, Any]:
    """Return the variables of the module of a generator's function."""
    frame = frame_of(generator)
    return frame.f_globals if frame is not None else {}


def _refused(generator: Loop, reason: str) -> RefusedError:
    code, frame = code_of(generator), frame_of(generator)
    line = frame.f_lineno if frame else code.co_firstlineno
    advice = _ADVICE if isinstance(generator, GeneratorType) else _ASYNC
    return RefusedError(generator, advice, f"{code.co_qualname}, line {line}: {reason}")


def finished(name: str, qualified: str, is_async: bool) -> Loop:
    """Return a generator that has ended."""
    ended: Any
    if is_async:
        ended = _nothing_async()
        _run(ended.aclose())
    else:
        ended = _nothing()
        ended.close()
    return _named(ended, (name, qualified))


def _nothing() -> Generator[None]:
    yield


async def _nothing_async() -> AsyncGenerator[None]:
    yield


def _run(awaitable: Any) -> None:
    """Run what awaits nothing."""
    with contextlib.suppress(StopIteration):
        awaitable.send(None)


def unstarted(
    place: Place, names: tuple[str, str], outer: dict[str, CellType], values: dict[str, Any]
) -> Loop:
    """Return a generator that has not begun."""
    place = place.present
    function = function_at(place, outer)
    code = function.__code__
    count = code.co_argcount
    parameters = code.co_varnames
    rest = count + code.co_kwonlyargcount
    has_more = bool(code.co_flags & inspect.CO_VARARGS)
    more = values.get(parameters[rest], ()) if has_more else ()
    named: dict[str, Any] = {name: values[name] for name in parameters[count:rest]}
    if code.co_flags & inspect.CO_VARKEYWORDS:
        named |= values[parameters[rest + has_more]]
    try:
        ordered = [values[name] for name in parameters[:count]]
    except KeyError as error:
        raise CodecError(
            f"{place.name} of {place.module} has a new parameter, {error.args[0]}.\n"
            "Give it a default inside of the function, or start over with fresh(...)."
        ) from None
    made: Loop = function(*ordered, *more, **named)
    return _named(made, names)


def suspended(
    place: Place,
    names: tuple[str, str],
    outer: dict[str, CellType],
    spot: Spot,
    values: dict[str, Any],
    cells: dict[str, CellType],
    slots: list[Any],
) -> Loop:
    """Return a generator that stands at a yield."""
    place = place.present
    function = function_at(place, outer)
    code = function.__code__
    try:
        program = _program_of(code, place.module)
    except UsageError as error:
        raise CodecError(str(error)) from error
    number = _site_at(program, spot, place)
    _check_variables(program, number, spot, place)
    frame = Frame(number, values, cells, slots)
    made: Any = program.resume(frame, function, {})
    _made[made] = program, function, place
    end_of_loading(functools.partial(_enter, made, frame), is_generator=True)
    return _named(made, names)


def _enter(generator: Any, frame: Frame) -> None:
    """Let a generator come to its yield of before; what it enters again may draw from its RNGs."""
    with kept(tracked_below(frame.values | contents(frame.cells))):
        if isinstance(generator, AsyncGeneratorType):
            _run(generator.asend(None))
        else:
            next(generator)


def _check_variables(program: Program, number: int, spot: Spot, place: Place) -> None:
    lost = missing(program, number, spot)
    if lost:
        raise CodecError(
            f"{place.name} of {place.module} now needs {', '.join(lost)}, not stored before.\n"
            "Let it do without, or start over with the function's fresh(...)."
        )


def function_at(place: Place, outer: dict[str, CellType]) -> FunctionType:
    """Return the function at a place, with the variables that it shares with others."""
    code, variables = _find_code(place)
    lost = [name for name in code.co_freevars if name not in outer]
    if lost:
        raise CodecError(
            f"{place.name} of {place.module} now uses {', '.join(lost)} from around it.\n"
            "Let it do without, or start over with the function's fresh(...)."
        )
    closure = tuple(outer[name] for name in code.co_freevars)
    return FunctionType(code, variables, code.co_name, None, closure)


def _named(generator: Any, names: tuple[str, str]) -> Loop:
    generator.__name__, generator.__qualname__ = names
    loop: Loop = generator
    return loop


# -- cells ---------------------------------------------------------------------------------


def reduce_cell(cell: CellType) -> tuple[Any, ...]:
    """Reduce a variable that several functions share."""
    try:
        return new_cell, (), (cell.cell_contents,), None, None, fill_cell
    except ValueError:  # still empty
        return new_cell, ()


def new_cell() -> CellType:
    """Return such a variable without a value."""
    return CellType()


def fill_cell(cell: CellType, content: tuple[Any]) -> None:
    """Set such a variable."""
    (cell.cell_contents,) = content
