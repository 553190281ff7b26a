"""Gives public names the address of their package instead of the module that defines them.

A pickle refers to a class by its module. Stores must not depend on the modules inside trax.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import FunctionType
from typing import Any

__all__ = ["publish"]


def publish(package: str, names: Mapping[str, Any]) -> None:
    """Set the ``__module__`` of classes, their methods, and functions to a package.

    Parameters
    ----------
    package : str
        The package that has them as attributes.
    names : mapping of str to object
        The objects, by name. One that is neither a class nor a function stays as it is.
    """
    for name, public in names.items():
        if isinstance(public, type):
            _publish_class(public, name, package)
        elif isinstance(public, FunctionType):
            public.__module__ = package


def _publish_class(public: type, name: str, package: str) -> None:
    # Annotations that are strings are evaluated in the present ``__module__``, so that comes first.
    if annotations := inspect.get_annotations(public, eval_str=True):
        public.__annotations__ = annotations
    for member in vars(public).values():
        function = getattr(member, "__func__", member)
        if isinstance(function, FunctionType) and function.__module__ == public.__module__:
            function.__module__ = package
    public.__module__, public.__name__, public.__qualname__ = package, name, name
