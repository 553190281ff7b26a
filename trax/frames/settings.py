"""Settings of the process that decide results, such as the precision of decimal numbers.

A function sets them before its loop, and its body is not entered from the top again when the loop
goes on in another process. So those that differ from how they were at the call are stored.

Strategy: only libraries that are imported have settings; none is imported for this.
"""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from operator import attrgetter
from typing import Any, Final, NamedTuple

from trax.frames import log_handlers
from trax.frames.remade_kinds import is_data
from trax.storage.definitions import full_name

__all__ = ["SETTERS", "changed", "is_known", "now", "outside", "restore"]

SETTERS: Final = frozenset(
    [
        *("chdir", "filterwarnings", "set_default_device", "set_default_dtype"),
        *("set_float32_matmul_precision", "set_grad_enabled", "set_int_max_str_digits"),
        *("set_num_threads", "set_printoptions", "setcontext", "setdefaulttimeout", "seterr"),
        *("setlocale", "setrecursionlimit", "simplefilter", "use_deterministic_algorithms"),
    ]
)
"""The names of functions that change these settings, and nothing else."""


class _Setting(NamedTuple):
    """One setting: the module that must be imported, and how the value is read and set.

    What has changed of it is stored as `describe` returns it.
    """

    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], Any]
    describe: Callable[[Any], Any] = lambda changed: changed


def now() -> dict[str, Any]:
    """Return the settings as they are, by name."""
    found = {}
    modules = sys.modules
    for module, readers in _READERS:
        if module not in modules:
            continue
        imported = modules[module]
        for name, read in readers:
            try:
                found[name] = read(imported)
            except (AttributeError, OSError):  # half imported, or the directory is gone
                continue
    return found


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that differ from how they were; of mappings and lists the items.

    A library that was not yet imported had its settings as they are after its import: nobody knows
    them, so all of them are returned.
    """
    found: dict[str, Any] = {}
    if _is_equal(before, after):
        return found
    for name, value in after.items():
        old = before.get(name)
        if _is_equal(value, old):
            continue
        if isinstance(value, dict):
            old = old or {}
            keys = [
                key for key in old.keys() | value if not _is_equal(old.get(key), value.get(key))
            ]
            found[name] = _SETTINGS[name].describe({key: value.get(key) for key in sorted(keys)})
        elif isinstance(value, list):
            added = [one for one in value if one not in (old or [])]
            found |= {name: added} if added else {}
        else:
            found[name] = value
    return found


def outside(
    stored: Mapping[str, Any], before: Mapping[str, Any], managers: Sequence[Any]
) -> dict[str, Any]:
    """Return the settings outside of ``with`` blocks, as far as they differ from those of before.

    They are set before objects are made again and the blocks are entered again; all settings are
    set afterwards, since a block may set some of them itself, and must put others back.

    Parameters
    ----------
    stored : mapping
        The settings that have changed, as `changed` returns them.
    before : mapping
        All settings as they were at the call.
    managers : sequence
        The context managers of the blocks, from the outermost, and other objects.
    """
    found = {name: stored[name] for name in _OUTSIDE if name in stored}
    for manager in reversed(managers):
        name, saved = _SAVED.get(full_name(type(manager)), ("", None))
        if saved is not None:
            with suppress(AttributeError, IndexError):  # another version of a library
                found[name] = saved(manager)
    # A block may enter a directory by a path from the one of before.
    return {name: v for name, v in found.items() if v != before.get(name) or name == "directory"}


def is_known(manager: Any) -> bool:
    """Whether a context manager is one of those that tell what a setting was before."""
    return full_name(type(manager)) in _SAVED


def _saved_errors(manager: Any) -> Any:
    """Return how NumPy treated errors before an ``errstate``."""
    token = manager._token  # noqa: SLF001  # shown nowhere else
    numpy = sys.modules["numpy"]

    def errors() -> Any:
        if token.old_value is not token.MISSING:
            token.var.set(token.old_value)
        return numpy.geterr()

    return Context().run(errors)


def _saved_context(manager: Any) -> Any:
    """Return the context of decimal numbers before a ``localcontext``."""

    def context() -> Any:
        manager.__exit__(None, None, None)
        return _read_decimal(sys.modules["decimal"])

    return copy_context().run(context)


_SAVED: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "contextlib.chdir": ("directory", lambda manager: vars(manager)["_old_cwd"][0]),
    "decimal.ContextManager": ("decimal", _saved_context),
    "numpy.errstate": ("numpy errors", _saved_errors),
    "torch.autograd.grad_mode.enable_grad": ("torch gradients", attrgetter("prev")),
    "torch.autograd.grad_mode.no_grad": ("torch gradients", attrgetter("prev")),
}


def restore(stored: Mapping[str, Any]) -> list[str]:
    """Set settings as they were stored; return the names of those that cannot be set."""
    failed = []
    for name, value in stored.items():
        setting = _SETTINGS.get(name)
        try:
            if setting is not None:
                module = importlib.import_module(setting.module)
                if not _is_so(setting.read(module), value):
                    setting.write(module, value)
        except Exception:  # noqa: BLE001  # whatever a library raises, it is told
            failed.append(name)
    return failed


def _is_so(present: Any, value: Any) -> bool:
    if isinstance(value, dict) and isinstance(present, dict):
        return all(_is_equal(present.get(key), one) for key, one in value.items())
    if isinstance(value, list):
        return all(one in present for one in value)
    return _is_equal(present, value)


def _is_equal(one: Any, other: Any) -> bool:
    if one is other:
        return True
    try:
        return bool(one == other)
    except ValueError:  # arrays
        return False


# -- the settings --------------------------------------------------------------------------


def _read_decimal(decimal: Any) -> tuple[Any, ...]:
    values: tuple[Any, ...] = decimal.getcontext().__reduce__()[1]
    return values


def _write_decimal(decimal: Any, value: tuple[Any, ...]) -> None:
    context = decimal.getcontext()  # in place: a variable may be it
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
    *fields, flags, traps = value
    for name, field in zip(names, fields, strict=True):
        setattr(context, name, field)
    for signal in context.flags:
        context.flags[signal] = signal in flags
        context.traps[signal] = signal in traps


def _read_environ(os: Any) -> dict[bytes, bytes]:
    return dict(os.environ._data)  # noqa: SLF001  # all else takes a microsecond for each


def _write_environ(os: Any, value: Mapping[bytes, bytes | None]) -> None:
    for key, one in value.items():
        if one is None:
            os.environb.pop(key, None)
        else:
            os.environb[key] = one


_places: dict[ContextVar[Any], tuple[str, str] | None] = {}


def _place_of(variable: ContextVar[Any]) -> tuple[str, str] | None:
    """Return the module and the name of a context variable; None if it has none, or a library's."""
    if variable not in _places:
        _places[variable] = next(
            (
                (module, name)
                for module, found in sys.modules.copy().items()
                if module.partition(".")[0] not in _LIBRARIES
                for name, value in getattr(found, "__dict__", {}).copy().items()
                if value is variable
            ),
            None,
        )
    return _places[variable]


def _read_variables(_: Any) -> dict[tuple[str, str], tuple[Any]]:
    """Return the values of the context variables that are data."""
    set_now = copy_context().items()
    places = ((_place_of(variable), value) for variable, value in set_now)
    return {place: (value,) for place, value in places if place and is_data(value)}


def _write_variables(_: Any, value: Mapping[tuple[str, str], tuple[Any] | None]) -> None:
    for (module, name), one in value.items():
        if one is not None:  # no variable can be made to have no value again
            getattr(importlib.import_module(module), name).set(*one)


def _write_path(sys: Any, value: list[str]) -> None:
    sys.path[:0] = [one for one in value if one not in sys.path]


def _read_filters(warnings: Any) -> list[Any]:
    return [*warnings.filters]


def _write_filters(warnings: Any, value: list[Any]) -> None:
    warnings.filters[:0] = [one for one in value if one not in warnings.filters]
    with warnings.catch_warnings():  # so that Python notices
        pass


def _write_cudnn(cudnn: Any, value: tuple[bool, bool]) -> None:
    cudnn.benchmark, cudnn.deterministic = value


def _write_mpmath(mpmath: Any, value: int) -> None:
    mpmath.mp.prec = value


def _write_printing(numpy: Any, value: Mapping[str, Any]) -> None:
    numpy.set_printoptions(**{name: one for name, one in value.items() if name != "override_repr"})


def _write_jax(jax: Any, value: Mapping[str, Any]) -> None:
    for name, one in value.items():
        jax.config.update(name, one)


_JAX: Final = ("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion")

_LIBRARIES: Final = frozenset([*sys.stdlib_module_names, "numpy", "torch", "trax"]) - {"__main__"}

_OUTSIDE: Final = (
    *("directory", "environment", "path of modules", "timeout of sockets", "locale"),
    *("recursion limit", "digits of integers", "torch dtype"),
)


def _set_by(setter: str, module: str, read: Callable[[Any], Any]) -> _Setting:
    """Return the setting that a function of a module sets."""
    return _Setting(module, read, lambda found, value: getattr(found, setter)(value))


_SETTINGS: Final[dict[str, _Setting]] = {
    "context variables": _Setting("contextvars", _read_variables, _write_variables),
    "directory": _set_by("chdir", "os", lambda os: os.getcwd()),
    "environment": _Setting("os", _read_environ, _write_environ),
    "path of modules": _Setting("sys", lambda sys: [*sys.path], _write_path),
    "warnings": _Setting("warnings", _read_filters, _write_filters),
    "recursion limit": _set_by("setrecursionlimit", "sys", lambda sys: sys.getrecursionlimit()),
    "digits of integers": _set_by(
        "set_int_max_str_digits", "sys", lambda sys: sys.get_int_max_str_digits()
    ),
    "locale": _Setting(
        "locale",
        lambda locale: locale.setlocale(locale.LC_ALL),
        lambda locale, value: locale.setlocale(locale.LC_ALL, value),
    ),
    "decimal": _Setting("decimal", _read_decimal, _write_decimal),
    "timeout of sockets": _set_by(
        "setdefaulttimeout", "socket", lambda socket: socket.getdefaulttimeout()
    ),
    "loggers": _Setting("logging", log_handlers.read, log_handlers.write, log_handlers.describe),
    "mpmath": _Setting("mpmath", attrgetter("mp.prec"), _write_mpmath),
    "numpy errors": _Setting(
        "numpy", lambda numpy: numpy.geterr(), lambda numpy, value: numpy.seterr(**value)
    ),
    "numpy printing": _Setting("numpy", lambda numpy: numpy.get_printoptions(), _write_printing),
    "torch dtype": _set_by("set_default_dtype", "torch", lambda torch: torch.get_default_dtype()),
    "torch device": _set_by(
        "set_default_device", "torch", lambda torch: torch.get_default_device()
    ),
    "torch gradients": _set_by("set_grad_enabled", "torch", lambda torch: torch.is_grad_enabled()),
    "torch threads": _set_by("set_num_threads", "torch", lambda torch: torch.get_num_threads()),
    "torch determinism": _set_by(
        "use_deterministic_algorithms",
        "torch",
        lambda torch: torch.are_deterministic_algorithms_enabled(),
    ),
    "torch precision": _set_by(
        "set_float32_matmul_precision", "torch", lambda torch: torch.get_float32_matmul_precision()
    ),
    "torch cudnn": _Setting(
        "torch.backends.cudnn", attrgetter("benchmark", "deterministic"), _write_cudnn
    ),
    "jax": _Setting(
        "jax", lambda jax: {name: getattr(jax.config, name) for name in _JAX}, _write_jax
    ),
}

_READERS: Final = [
    (module, [(name, one.read) for name, one in settings])
    for module, settings in itertools.groupby(
        sorted(_SETTINGS.items(), key=lambda one: one[1].module), lambda one: one[1].module
    )
]
"""How the settings of each module are read, by name."""
