"""The decorated function: the ways to call, pickle and bind it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from inspect import Parameter
from types import MethodType
from typing import TYPE_CHECKING, Any

import wrapt

from trax.calls.call import Call
from trax.calls.options import Options
from trax.calls.signatures import signature
from trax.engine.async_driver import AsyncRun
from trax.engine.deferral import AtOnce, Deferred
from trax.engine.lifecycle import Lifecycle
from trax.engine.replay import load
from trax.engine.sync_driver import Run
from trax.errors import CallError, UsageError
from trax.storage.messages import not_stored
from trax.storage.store import Store

__all__ = ["AsyncResumable", "Resumable", "check_state_parameter", "is_in_class", "wrap"]

# The kind of a call is passed as an argument, so that wrapt binds all kinds alike.
_HOW = "trax: how"

_BOUND = ("self", "cls")  # the usual names of the first parameter of a method


class _Ways:
    """The methods `fresh` and `load` of a decorated function, and its text at a prompt."""

    def __repr__(self) -> str:
        return f"<resumable {self.__qualname__}>"  # type: ignore[attr-defined]

    def fresh(self, *args: Any, **kwargs: Any) -> Any:
        """Start over: the stored run is moved aside when the run begins."""
        return self(*args, **kwargs, **{_HOW: _run_fresh})  # type: ignore[operator]

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored state, without running the loop or locking the run.

        Only the arguments in the name template matter; the others may be left out.

        Raises
        ------
        NotFoundError
            Nothing is stored for this call.
        """
        return self(*args, **kwargs, **{_HOW: _load})  # type: ignore[operator]


class _Bound(_Ways, wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]  # not at run time
    """A decorated function as a method of an object or a class."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return getattr, (self._self_instance, self.__name__)


class _Wrapper(_Ways, wrapt.FunctionWrapper):  # type: ignore[type-arg]  # not at run time
    """A decorated function; it pickles by reference."""

    __bound_function_wrapper__ = _Bound
    _self_owners: list[type]  # the classes whose attribute it is
    _self_is_plain: bool  # the loop's local variables are the state

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__qualname__

    def __set_name__(self, owner: type, name: str) -> None:
        self._self_owners.append(owner)
        if not isinstance(self.__wrapped__, staticmethod):
            method = getattr(self.__wrapped__, "__func__", self.__wrapped__)
            _check_method(method, is_plain=self._self_is_plain)


class _AsyncWrapper(_Wrapper):
    """A decorated async generator function; it pickles by reference."""


if TYPE_CHECKING:
    from trax.decorated import AsyncResumable, Resumable
else:
    Resumable = _Wrapper
    AsyncResumable = _AsyncWrapper


def wrap(function: Any, plain: Callable[..., Any], options: Options) -> Any:
    """Return a function decorated; `plain` is the generator function that it wraps."""

    def call(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        how = kwargs.pop(_HOW, _run)
        is_method = function is plain and bool(owners) and is_in_class(plain)
        if is_method and instance is None and (args or how is not _load):
            instance, args = _take_instance(plain, tuple(owners), args)
        if instance is not None and not inspect.ismethod(wrapped):  # called through its class
            wrapped = MethodType(plain, instance)
        if function is plain and not owners:
            _check_outermost(plain, instance, args)
        return how(Call(options, plain, wrapped, instance, args, kwargs))

    owners: list[type] = []  # not read from the wrapper, which would be a cycle
    wrapper = (_AsyncWrapper if inspect.isasyncgenfunction(plain) else _Wrapper)(function, call)
    wrapper._self_owners = owners  # noqa: SLF001
    wrapper._self_is_plain = options.is_plain  # noqa: SLF001
    return wrapper


def _take_instance(
    plain: Callable[..., Any], owners: tuple[type, ...], args: tuple[Any, ...]
) -> tuple[Any, tuple[Any, ...]]:
    """Return the object of a method that was called on its class, and the other arguments."""
    if args and isinstance(args[0], owners):
        return args[0], args[1:]
    raise CallError(
        f"{plain.__name__}() is a method and was called on its class.\nCall it on an object."
    )


def _check_outermost(plain: Callable[..., Any], instance: Any, args: tuple[Any, ...]) -> None:
    """Refuse a method with another decorator above, which binds it or leaves it unbound."""
    # Above trax's decorator, @classmethod binds the class in Python 3.12. Later versions pass it as
    # an argument, and pass nothing to `fresh` and `load`.
    is_bound = isinstance(instance, type) or (bool(args) and _has_class_method(args[0], plain))
    is_method = is_in_class(plain) and next(iter(signature(plain).parameters)) in _BOUND
    if is_bound or (is_method and instance is None):
        raise UsageError(
            f"{plain.__qualname__}: @trax.resumable must be the outermost decorator.\n"
            "Move it above @classmethod and every other decorator."
        )


def _has_class_method(owner: Any, plain: Callable[..., Any]) -> bool:
    """Return whether a class or a base of it has the function under ``@classmethod``."""
    bases = owner.__mro__ if isinstance(owner, type) else ()
    found = [value for base in bases for value in vars(base).values()]
    return any(
        isinstance(one, classmethod) and getattr(one.__func__, "__wrapped__", None) is plain
        for one in found
    )


def is_in_class(plain: Callable[..., Any]) -> bool:
    """Return whether a function is defined in the body of a class."""
    owner = plain.__qualname__.rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")


def check_state_parameter(plain: Callable[..., Any], needed: int) -> None:
    """Refuse a function that has no parameter for the state, after ``self`` if it is a method.

    It must have `needed` positional parameters.
    """
    if _count_positional(plain) < needed:
        raise UsageError(
            f"{plain.__qualname__} has no parameter for the state.\n"
            f"Write def {plain.__name__}({'self, ' * (needed - 1)}state, ...): trax supplies the "
            "state, and the caller passes the rest.\n"
            "Or leave out create=, and the loop's local variables are the state."
        )


def _check_method(method: Callable[..., Any], *, is_plain: bool) -> None:
    """Refuse a method or a class method that lacks a parameter which it is called with."""
    if not is_plain:
        check_state_parameter(method, 2)
    elif not _count_positional(method):
        raise UsageError(
            f"{method.__qualname__} is a method without a parameter for its object.\n"
            f"Write def {method.__name__}(self, ...), or @staticmethod above the def."
        )


def _count_positional(plain: Callable[..., Any]) -> int:
    kinds = [parameter.kind for parameter in signature(plain).parameters.values()]
    return kinds.count(Parameter.POSITIONAL_ONLY) + kinds.count(Parameter.POSITIONAL_OR_KEYWORD)


def _run(call: Call, *, fresh: bool = False) -> Run[Any, Any, Any] | AsyncRun[Any, Any]:
    call.arguments  # noqa: B018  # arguments that do not fit are a TypeError now
    if inspect.isasyncgenfunction(call.function):
        deferred = Deferred(forces=call.forces_increments)
        return AsyncRun(Lifecycle(call, deferred, fresh=fresh), deferred, call.start)
    return Run(Lifecycle(call, AtOnce(), fresh=fresh), call.start)


def _run_fresh(call: Call) -> Run[Any, Any, Any] | AsyncRun[Any, Any]:
    return _run(call, fresh=True)


def _load(call: Call) -> Any:
    store = Store(call.options.traxdir)
    replayed = load(
        store, call.name, None, call.log_mode, names=call.names, migration=call.migration
    )
    if replayed is None:
        raise not_stored(
            call.name,
            store.path,
            f"Call {call.function.__name__}(...) to begin the run.",
            "Or check the arguments and the directory.",
        )
    return replayed.state
