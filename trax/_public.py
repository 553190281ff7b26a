"""Gives public names the address of their package instead of the module that defines them.

A pickle refers to a class by its module. Stores must not depend on the modules inside trax.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any, TypeVar

__all__ = ["public"]

T = TypeVar("T")


def public(defined: T, name: str = "", package: str = "trax") -> T:
    """Set the ``__module__`` of a class and its methods, or of a function, to a package.

    The package does so for what it imports itself. What it imports later is published where it is
    defined, since an object can be pickled before anybody has asked the package for its class.

    Parameters
    ----------
    defined : type or function
        The class or function.
    name : str, optional
        Its name in the package, if it has another one.
    package : str
        The package that has it as an attribute.
    """
    if isinstance(defined, type):
        _publish_class(defined, name or defined.__name__, package)
    elif isinstance(defined, FunctionType):
        defined.__module__ = package
    return defined


def _publish_class(public: type, name: str, package: str) -> None:
    # Annotations that are strings are evaluated in the present ``__module__``, so that comes first.
    if annotations := inspect.get_annotations(public, eval_str=True):
        public.__annotations__ = annotations
    for member in vars(public).values():
        function: Any = getattr(member, "__func__", member)
        if isinstance(function, FunctionType) and function.__module__ == public.__module__:
            function.__module__ = package
    public.__module__, public.__name__, public.__qualname__ = package, name, name
