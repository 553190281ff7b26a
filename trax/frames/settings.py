"""Settings of the process that decide results, such as the precision of decimal numbers.

A function sets them before its loop, and its body is not entered from the top again when the loop
goes on in another process. So those that differ from how they were at the call are stored.

Strategy: only libraries that are imported have settings; none is imported for this.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from operator import attrgetter
from typing import Any, Final, NamedTuple

from trax.storage.definitions import full_name

__all__ = ["changed", "now", "outside", "restore"]


class _Setting(NamedTuple):
    """One setting: the module that must be imported, and how the value is read and set."""

    module: str
    read: Callable[[Any], Any]
    write: Callable[[Any, Any], Any]


def now() -> dict[str, Any]:
    """Return the settings as they are, by name."""
    found = {}
    for name, (module, read, _) in _SETTINGS.items():
        imported = sys.modules.get(module)
        if imported is not None:
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
    for name, value in after.items():
        old = before.get(name)
        if value == old:
            continue
        if isinstance(value, dict):
            old = old or {}
            keys = [key for key in old.keys() | value if old.get(key) != value.get(key)]
            found[name] = {key: value.get(key) for key in sorted(keys)}
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
        return all(present.get(key) == one for key, one in value.items())
    if isinstance(value, list):
        return all(one in present for one in value)
    return bool(present == value)


# -- the settings --------------------------------------------------------------------------


def _read_decimal(decimal: Any) -> tuple[Any, ...]:
    *fields, flags, traps = decimal.getcontext().__reduce__()[1]
    return (*fields, frozenset(flags), frozenset(traps))


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


def _write_path(sys: Any, value: list[str]) -> None:
    sys.path[:0] = [one for one in value if one not in sys.path]


def _read_filters(warnings: Any) -> list[Any]:
    return [*warnings.filters]


def _write_filters(warnings: Any, value: list[Any]) -> None:
    warnings.filters[:0] = [one for one in value if one not in warnings.filters]
    with warnings.catch_warnings():  # so that Python notices
        pass


def _write_cudnn(torch: Any, value: tuple[bool, bool]) -> None:
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = value


def _write_printing(numpy: Any, value: Mapping[str, Any]) -> None:
    numpy.set_printoptions(**{name: one for name, one in value.items() if name != "override_repr"})


def _write_jax(jax: Any, value: Mapping[str, Any]) -> None:
    for name, one in value.items():
        jax.config.update(name, one)


_JAX: Final = ("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion")

_OUTSIDE: Final = (
    *("directory", "environment", "path of modules", "timeout of sockets", "locale"),
    *("recursion limit", "digits of integers", "torch dtype"),
)

_SETTINGS: Final[dict[str, _Setting]] = {
    "directory": _Setting("os", lambda os: os.getcwd(), lambda os, value: os.chdir(value)),
    "environment": _Setting("os", _read_environ, _write_environ),
    "path of modules": _Setting("sys", lambda sys: [*sys.path], _write_path),
    "warnings": _Setting("warnings", _read_filters, _write_filters),
    "recursion limit": _Setting(
        "sys",
        lambda sys: sys.getrecursionlimit(),
        lambda sys, value: sys.setrecursionlimit(value),
    ),
    "digits of integers": _Setting(
        "sys",
        lambda sys: sys.get_int_max_str_digits(),
        lambda sys, value: sys.set_int_max_str_digits(value),
    ),
    "locale": _Setting(
        "locale",
        lambda locale: locale.setlocale(locale.LC_ALL),
        lambda locale, value: locale.setlocale(locale.LC_ALL, value),
    ),
    "decimal": _Setting("decimal", _read_decimal, _write_decimal),
    "timeout of sockets": _Setting(
        "socket",
        lambda socket: socket.getdefaulttimeout(),
        lambda socket, value: socket.setdefaulttimeout(value),
    ),
    "mpmath": _Setting(
        "mpmath",
        lambda mpmath: mpmath.mp.prec,
        lambda mpmath, value: setattr(mpmath.mp, "prec", value),
    ),
    "numpy errors": _Setting(
        "numpy", lambda numpy: numpy.geterr(), lambda numpy, value: numpy.seterr(**value)
    ),
    "numpy printing": _Setting("numpy", lambda numpy: numpy.get_printoptions(), _write_printing),
    "torch dtype": _Setting(
        "torch",
        lambda torch: torch.get_default_dtype(),
        lambda torch, value: torch.set_default_dtype(value),
    ),
    "torch device": _Setting(
        "torch",
        lambda torch: torch.get_default_device(),
        lambda torch, value: torch.set_default_device(value),
    ),
    "torch gradients": _Setting(
        "torch",
        lambda torch: torch.is_grad_enabled(),
        lambda torch, value: torch.set_grad_enabled(value),
    ),
    "torch threads": _Setting(
        "torch",
        lambda torch: torch.get_num_threads(),
        lambda torch, value: torch.set_num_threads(value),
    ),
    "torch determinism": _Setting(
        "torch",
        lambda torch: torch.are_deterministic_algorithms_enabled(),
        lambda torch, value: torch.use_deterministic_algorithms(value),
    ),
    "torch precision": _Setting(
        "torch",
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, value: torch.set_float32_matmul_precision(value),
    ),
    "torch cudnn": _Setting(
        "torch",
        lambda torch: (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
        _write_cudnn,
    ),
    "jax": _Setting(
        "jax", lambda jax: {name: getattr(jax.config, name) for name in _JAX}, _write_jax
    ),
}
