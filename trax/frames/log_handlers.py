"""Loggers as a function sets them up before its loop: their levels and handlers.

Only handlers to files and to the standard streams are stored. One that is made again goes on at the
end of its file: a log has no other place.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any, Final

from trax.frames.remade_kinds import is_data

__all__ = ["describe", "read", "write"]

_STREAMS: Final = ("stdout", "stderr")
_FORMATTER: Final = "logging:Formatter"


def read(logging: Any) -> dict[str, tuple[Any, ...]]:
    """Return the level and the handlers of each logger that has any; the root has an empty name."""
    loggers = logging.root.manager.loggerDict.copy()
    named = {
        name: (one.level, one.propagate, *one.handlers)
        for name, one in loggers.items()
        if hasattr(one, "handlers") and (one.handlers or one.level)  # others are placeholders
    }
    return {"": (logging.root.level, True, *logging.root.handlers), **named}


def describe(changed: Mapping[str, tuple[Any, ...] | None]) -> dict[str, tuple[Any, ...]]:
    """Return what `read` has returned as plain data."""
    return {
        name: (settings[0], settings[1], *filter(None, map(_described, settings[2:])))
        for name, settings in changed.items()
        if settings is not None  # it is as it was made
    }


def write(logging: Any, described: Mapping[str, tuple[Any, ...]]) -> None:
    """Set loggers as they were described; a handler that is there already is kept."""
    for name, (level, propagate, *handlers) in described.items():
        logger = logging.getLogger(name or None)
        logger.setLevel(level)
        logger.propagate = propagate
        present = [*map(_target, logger.handlers)]
        for kind, target, fields, form in handlers:
            if (kind, target) not in present:
                logger.addHandler(_made(logging, kind, target, fields, form))


def _target(handler: Any) -> tuple[str, str] | None:
    """Return the class of a handler, and its file or standard stream; None if it has neither."""
    stream = getattr(handler, "stream", None)
    names = (name for name in _STREAMS if stream is not None and stream is getattr(sys, name))
    target = getattr(handler, "baseFilename", None) or next(names, None)
    return None if target is None else (_name(handler), target)


def _name(one: Any) -> str:
    return f"{type(one).__module__}:{type(one).__qualname__}"


def _described(handler: Any) -> tuple[Any, ...] | None:
    target = _target(handler)
    if target is None:
        return None
    fields = {name: value for name, value in vars(handler).items() if is_data(value)}
    form = handler.formatter
    if form is None or _name(form) != _FORMATTER:
        return (*target, fields, None)
    return (*target, fields, (form._fmt, form.datefmt, _name(form._style)))  # noqa: SLF001


def _made(logging: Any, kind: str, target: str, fields: Mapping[str, Any], form: Any) -> Any:
    made = resolve_name(kind)
    handler = made.__new__(made)
    if target in _STREAMS:
        logging.StreamHandler.__init__(handler, getattr(sys, target))
    else:
        logging.FileHandler.__init__(handler, target, delay=True)
        fields = {**fields, "mode": "a"}
    vars(handler).update(fields)
    if form is not None:
        text, dates, style = form
        handler.setFormatter(logging.Formatter(text, dates, validate=False))
        handler.formatter._style = resolve_name(style)(text)  # noqa: SLF001  # its sign is not kept
    return handler
