"""The decorated function: the ways to call, pickle and bind it."""

from __future__ import annotations

import inspect
import itertools
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import Parameter
from types import FrameType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any

import wrapt

from trax._public import public
from trax.calls.options import Options
from trax.calls.signatures import signature
from trax.calls.source_text import files_of, in_file, remember, texts_at
from trax.errors import CallError, UsageError
from trax.interrupts import main_thread
from trax.storage.definitions import Sent, Texts, by_name, reachable, sent_of
from trax.storage.filenames import store_path

__all__ = [
    "AsyncResumable",
    "Resumable",
    "call_of",
    "check_state_parameter",
    "is_decorated",
    "is_in_class",
    "wrap",
]

# The kind of a call is passed as an argument, so that wrapt binds all kinds alike.
_HOW = "trax: how"

_OF_RUNS = ("close", "done", "name", "result", "resumed_at", "state", "step")

_BOUND = ("self", "cls")  # the usual names of the first parameter of a method


class _Ways:
    """The methods `fresh`, `load` and `check` of a decorated function, and its text at a prompt."""

    @property  # type: ignore[misc]  # nobody sets it
    def __class__(self) -> Any:
        # cloudpickle takes functions apart itself, and would leave the decorator out.
        is_asked_by_cloudpickle = _is_cloudpickle(sys._getframe(1))  # noqa: SLF001
        return type(self) if is_asked_by_cloudpickle else type(self.__wrapped__)

    def __repr__(self) -> str:
        return f"<resumable {self.__qualname__}>"

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)  # type: ignore[misc]  # wrapt's
        except AttributeError:
            if name in _OF_RUNS:
                raise AttributeError(self._not_called(name)) from None
            raise

    def _not_called(self, attribute: str) -> str:
        name = self.__name__
        return f"the function {name} was not called: write {name}(...).{attribute}"

    def fresh(self, *args: Any, **kwargs: Any) -> Any:
        """Start over: the stored run is moved aside when the run begins."""
        return self(*args, **kwargs, **{_HOW: ("fresh", {})})  # type: ignore[operator]

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored state, without running the loop or locking the run.

        Only the arguments in the name template matter; the others may be left out. With ``step=``
        it is the state of an earlier step; see `trax.load`, also for a function that has an
        argument of that name.

        Raises
        ------
        NotFoundError
            Nothing is stored for this call, or nothing leads to the state of that step.
        """
        given = {} if _takes_step(self) or "step" not in kwargs else {"step": kwargs.pop("step")}
        return self(*args, **kwargs, **{_HOW: ("load", given)})  # type: ignore[operator]

    def check(self, *args: Any, **kwargs: Any) -> Any:
        """Check on a short run that the loop resumes exactly; see `trax.testing.check_resume`.

        The loop is run for 20 steps, or to its end. Then it is closed after every step, killed at
        20 places with and without a checkpoint at every step, and resumed, in new processes too.
        That takes as long as some 500 of its steps. It neither reads nor changes the store, and
        runs in empty temporary directories, with copies of the arguments.

        Returns
        -------
        trax.testing.Checked
            The number of steps and of crashes.

        Raises
        ------
        AssertionError
            The resumed loop differed. The message says where, and gives the likely cause.

        Examples
        --------
        >>> import random
        >>> import trax
        >>> @trax.resumable
        ... def walk(steps):
        ...     place = 0
        ...     for _ in range(steps):
        ...         place += random.choice((-1, 1))
        ...         yield place
        >>> walk.check(steps=1_000_000).steps
        20
        """
        return self(*args, **kwargs, **{_HOW: ("check", {})})  # type: ignore[operator]


class _Bound(_Ways, wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]  # not at run time
    """A decorated function as a method of an object or a class."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        is_of_class = self._self_instance is None
        return getattr, (self._self_owner if is_of_class else self._self_instance, self.__name__)


class _Wrapper(_Ways, wrapt.FunctionWrapper):  # type: ignore[type-arg]  # not at run time
    """A decorated function; it pickles by reference, unless cloudpickle takes it along."""

    __bound_function_wrapper__ = _Bound
    _self_owners: list[type]  # the classes whose attribute it is
    _self_options: Options

    def __reduce_ex__(self, protocol: Any) -> Any:
        caller = sys._getframe(1)  # noqa: SLF001
        if not _is_cloudpickle(caller) or _is_importable(self, caller):
            return self.__qualname__
        plain = inspect.unwrap(getattr(self.__wrapped__, "__func__", self.__wrapped__))
        # The directory is that of this process, wherever the other one runs.
        options = replace(self._self_options, traxdir=store_path(self._self_options.traxdir))
        texts = _texts_along(caller, plain)
        given = self.__wrapped__, options, texts, plain.__code__.co_filename
        return decorated, given, self._self_owners, None, None, _add_owners

    def __set_name__(self, owner: type, name: str) -> None:
        self._self_owners.append(owner)
        if not isinstance(self.__wrapped__, staticmethod):
            method = getattr(self.__wrapped__, "__func__", self.__wrapped__)
            _check_method(method, is_plain=self._self_options.is_plain)


class _AsyncWrapper(_Wrapper):
    """A decorated async generator function; it pickles by reference."""


if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.decorated import AsyncResumable, Resumable
else:
    Resumable = public(_Wrapper, "Resumable")
    AsyncResumable = public(_AsyncWrapper, "AsyncResumable")


def wrap(function: Any, plain: Callable[..., Any], options: Options) -> Any:
    """Return a function decorated; `plain` is the generator function that it wraps."""

    def call(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        from trax import ways  # with them comes the engine, which the decorator does not need

        _settle(plain, owners)
        how, given = kwargs.pop(_HOW, ("run", {}))
        is_method = function is plain and bool(owners) and is_in_class(plain)
        if is_method and instance is None and (args or how != "load"):
            instance, args = _take_instance(plain, tuple(owners), args)
        if instance is not None and not inspect.ismethod(wrapped):  # called through its class
            wrapped = MethodType(plain, instance)
        if function is plain and not owners:
            _check_outermost(plain, instance, args)
        called = ways.Call(options, plain, wrapped, instance, args, kwargs)
        return getattr(ways, how)(called, **given)

    if options.signals is not None:
        main_thread.listen()
    owners: list[type] = []  # not read from the wrapper, which would be a cycle
    wrapper = (_AsyncWrapper if inspect.isasyncgenfunction(plain) else _Wrapper)(function, call)
    wrapper._self_owners = owners  # noqa: SLF001
    wrapper._self_options = options  # noqa: SLF001
    return wrapper


def is_decorated(function: Any) -> bool:
    """Return whether an object is a decorated function, or a method that is one."""
    return issubclass(type(function), _Ways)


def call_of(function: Any, arguments: dict[str, Any]) -> Call:
    """Return a call of a decorated function, which runs nothing by itself."""
    call: Call = function(**arguments, **{_HOW: ("given", {})})
    return call


# -- by value ------------------------------------------------------------------------------


def _is_cloudpickle(frame: FrameType) -> bool:
    """Return whether a frame is one of cloudpickle, or of a copy in another library."""
    name = str(frame.f_globals.get("__name__"))
    return name.rpartition(".")[2] in ("cloudpickle", "cloudpickle_fast")


def _is_importable(wrapper: Any, caller: FrameType) -> bool:
    """Return whether another process is expected to have a function under its name."""
    return not _is_by_value(caller, wrapper.__module__) and by_name(wrapper) is wrapper


def _is_by_value(caller: FrameType, module: str) -> bool:
    """Return whether cloudpickle takes the functions of a module along."""
    parents = itertools.accumulate(module.split("."), "{}.{}".format)
    return module == "__main__" or not _registered(caller).isdisjoint(parents)


def _registered(caller: FrameType) -> set[str]:
    """Return the modules that cloudpickle was told to take along."""
    return caller.f_globals.get("list_registry_pickle_by_value", set)()  # type: ignore[no-any-return]


def _texts_along(caller: FrameType, plain: FunctionType) -> Mapping[str, Texts]:
    """Return the texts of the files of the modules whose functions go along, by module."""
    variables = plain.__globals__
    sent = sent_of(variables)
    if sent is not None:  # and is sent on
        return sent.texts
    modules = {str(variables.get("__name__")): variables}
    if _registered(caller):
        modules |= {name: vars(module) for name, module in [*sys.modules.items()]}
    return {
        name: {path: texts for path in files_of(found) if (texts := [*texts_at(path)])}
        for name, found in modules.items()
        if _is_by_value(caller, name)
    }


def decorated(function: Any, options: Options, texts: Mapping[str, Texts], file: str) -> Any:
    """Return a function of another process, decorated; `texts` are those of its module's files.

    Pickles refer to this function.
    """
    plain = inspect.unwrap(getattr(function, "__func__", function))
    for path, versions in itertools.chain(*(files.items() for files in texts.values())):
        remember(path, versions)
        remember(plain.__code__.co_filename, versions)  # that of helpers which do not know theirs
    plain.__code__ = in_file(plain.__code__, file)
    (sent_of(plain.__globals__) or Sent(texts)).add(plain)
    return wrap(function, plain, options)


def _add_owners(wrapper: Any, owners: list[type]) -> None:
    wrapper._self_owners.extend(owners)  # noqa: SLF001


def _settle(plain: Any, owners: list[type]) -> None:
    """Look through all that has come along with a function, once it is complete."""
    sent = sent_of(plain.__globals__)
    if sent is not None:
        sent.settle(plain, (one for one, _ in reachable([plain, *owners])))


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


def _takes_step(wrapper: Any) -> bool:
    """Return whether the caller of a decorated function may pass it a `step` of its own."""
    function = getattr(wrapper.__wrapped__, "__func__", wrapper.__wrapped__)
    parameters = signature(inspect.unwrap(function)).parameters
    return "step" in parameters or Parameter.VAR_KEYWORD in {
        parameter.kind for parameter in parameters.values()
    }
