"""One call of a decorated function: its arguments, the name of its run, and its loop."""

from __future__ import annotations

import contextlib
import copy
import inspect
import operator
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from types import FunctionType, MethodType
from typing import Any

from trax.calls.arguments import describe, describe_where_possible
from trax.calls.creation import call_create
from trax.calls.fingerprint import fingerprint
from trax.calls.log_mode import Frames, LogMode, log_mode
from trax.calls.migration import Migration
from trax.calls.misfit import misfit
from trax.calls.name_template import fits_template, format_name
from trax.calls.options import Options
from trax.calls.script import script_of
from trax.calls.signatures import signature
from trax.calls.surrounding import surrounding_values
from trax.errors import UsageError
from trax.storage.codec import Names
from trax.storage.definitions import Definitions, full_name
from trax.tracking.references import references
from trax.tracking.rng_discovery import OuterRngs

__all__ = ["Call"]

_HELPERS = 100  # functions


class Call:
    """A call: it determines a run, and the behaviour of its loop.

    Parameters
    ----------
    options : Options
        The options of the decorator, checked.
    function : callable
        The plain generator function.
    bound : callable
        The same with ``self`` or ``cls`` bound, so that it takes the arguments, after the state if
        it is declared.
    instance : object
        That ``self`` or ``cls``, or None.
    args, kwargs
        The arguments.

    Attributes
    ----------
    is_case : bool
        Whether it is a case of a sweep, which tells how far its runs are in one line.
    """

    def __init__(
        self,
        options: Options,
        function: Callable[..., Any],
        bound: Callable[..., Any],
        instance: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.options = options
        self.is_case = False
        self.function = function
        self._bound = bound
        self._args = args
        self._kwargs = kwargs
        self._owner = {}
        if instance is not None:
            self._owner = {next(iter(signature(function).parameters)): instance}

    @cached_property
    def _signature(self) -> inspect.Signature:
        return signature(self._bound)

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The values by parameter, ``self`` among them, without the state.

        Raises
        ------
        CallError
            They do not fit the function.
        """
        return self._bind(self._signature.bind)

    @property
    def surroundings(self) -> dict[str, Any]:
        """The arguments, and the variables of the functions around the loop, as cells."""
        names, cells = self.function.__code__.co_freevars, self.function.__closure__ or ()
        return self.arguments | dict(zip(names, cells, strict=True))

    @property
    def is_plain(self) -> bool:
        """Whether the loop's local variables are the state, and all parameters are arguments."""
        return self.options.is_plain

    @property
    def state_parameter(self) -> str:
        """The name of the parameter that takes the state; empty if there is none."""
        return "" if self.is_plain else next(iter(self._signature.parameters))

    @cached_property
    def name(self) -> str:
        """The run's name. Only the arguments in its template must be given."""
        return format_name(self.options.name, self._bind(self._signature.bind_partial))

    def fits_name(self, name: str) -> bool:
        """Return whether a name is that of a run of the function, with some arguments."""
        return fits_template(name, self.options.name)

    @cached_property
    def described(self) -> dict[str, dict[str, str]]:
        """The stored descriptions of the arguments that must stay the same."""
        varying = self.options.varying
        fixed = {k: value for k, value in self.arguments.items() if k not in varying}
        return describe(fixed, by_shape=self.is_plain)

    @cached_property
    def varying(self) -> dict[str, dict[str, str]]:
        """The stored descriptions of the arguments that may vary, if they can be described."""
        varying = self.options.varying
        free = {k: value for k, value in self.arguments.items() if k in varying}
        return describe_where_possible(free, by_shape=self.is_plain)

    @cached_property
    def surrounding(self) -> dict[str, dict[str, str]]:
        """The stored descriptions of plain values that the loop's function reads from outside."""
        return describe(surrounding_values(self.function))

    def describe_again(self, *, version: str, is_renamed: bool) -> dict[str, dict[str, str]]:
        """Return the descriptions of all arguments with digests of a version, where possible.

        If `is_renamed`, they are those under the names from before ``renames``.
        """
        renames = self.options.renames if is_renamed else {}
        names = {new: old for old, new in renames.items()}
        return describe_where_possible(
            self.arguments, names, version=version, by_shape=self.is_plain
        )

    @property
    def total(self) -> int | None:
        """The total number of steps, as far as the option says it: a number, or a length."""
        total = self.options.total
        value = self.arguments.get(total) if isinstance(total, str) else total
        for number in (operator.index, len):
            with contextlib.suppress(Exception):  # it is only shown
                return max(0, number(value))  # type: ignore[arg-type]  # hence the suppression
        return None

    @cached_property
    def outer_rngs(self) -> OuterRngs | None:
        """The RNGs outside of the state; None if random numbers are left alone."""
        if self.options.rng is None:
            return None
        return OuterRngs(self.options.rng, self.arguments, self.function, self.helpers)

    @cached_property
    def helpers(self) -> list[Callable[..., Any]]:
        """The functions beside the loop: ``create`` and ``replay_log``, as far as given."""
        replay_log = self.log_mode.fold if self.log_mode.has_function else None
        return [function for function in (self.options.create, replay_log) if function]

    @property
    def migration(self) -> Migration:
        """The migration of older versions of the state."""
        options = self.options
        name = self.function.__name__
        return Migration(self.name, name, options.version, options.migrate, self.is_plain)

    @cached_property
    def names(self) -> Names:
        """The meaning of the names in pickles of this run."""
        return Names(self.options.renames or {}, Definitions(self._roots))

    def _roots(self) -> list[Any]:
        """Return the objects that lead to the classes and functions of this run."""
        options = self.options
        code = [self.function, options.create, options.replay_log, options.migrate]
        arguments = self._bind(self._signature.bind_partial)  # load() needs only some of them
        return [*code, *arguments.values()]

    @cached_property
    def log_mode(self) -> LogMode:
        """The meaning of ``replay_log``."""
        return Frames() if self.is_plain else log_mode(self.options.replay_log)

    @property
    def forces_increments(self) -> bool:
        """Whether each increment is forced to the disk before it is handed out."""
        return self.options.disk_sync == "always" and self.log_mode.is_logged

    @cached_property
    def code(self) -> dict[str, str]:
        """Digests of the code of the loop and of ``replay_log``."""
        replay_log = self.log_mode.fold if self.log_mode.has_function else None
        return fingerprint({self.function.__name__: self.function, "replay_log": replay_log})

    @cached_property
    def helper_code(self) -> dict[str, str]:
        """Digests of the bytecode of the user's other functions that the loop refers to."""
        mine = [self.function, self.log_mode.fold if self.log_mode.has_function else None]
        searched = references([self.function, *self.helpers]).searched
        functions = [one for one in searched if type(one) is FunctionType and one not in mine]
        home = f"{self.function.__module__}."
        names = [full_name(one).removeprefix(home) for one in functions[:_HELPERS]]
        count = Counter(names)  # those of one name, such as lambdas, cannot be told apart
        found = {n: one for n, one in zip(names, functions, strict=False) if count[n] == 1}
        return fingerprint(found, by_source=False)

    @cached_property
    def script(self) -> str:
        """The name of the file that the function is written in; empty if it has none."""
        return script_of(self.function)

    def create(self) -> Any:
        """Return the first state; None if the loop's local variables are the state."""
        create = self.options.create
        return call_create(create, self.arguments) if create else None

    def start(self, state: Any) -> Any:
        """Return the generator that continues from a state."""
        supplied = () if self.is_plain else (state,)
        generator = self._bound(*supplied, *self._args, **self._kwargs)
        if hasattr(generator, "gi_frame") or hasattr(generator, "ag_frame"):
            return generator
        name = self.function.__name__
        raise UsageError(
            f"{name}() returned {type(generator).__name__!r} and no generator: a decorator changed "
            "it.\n"
            f"Put @trax.resumable directly above def {name}, and the other decorator away."
        )

    def apply(self, function: Callable[..., Any]) -> Any:
        """Call another function with the arguments of this call, ``self`` or ``cls`` included."""
        owner = (self._bound.__self__,) if inspect.ismethod(self._bound) else ()
        return function(*owner, *self._args, **self._kwargs)

    def again(self, options: Options) -> Call:
        """Return the same call under other options, with arguments of its own.

        Arguments that cannot be copied are shared.
        """
        bound, instance = self._bound, next(iter(self._owner.values()), None)
        given = (instance if inspect.ismethod(bound) else None), self._args, self._kwargs
        try:
            owner, args, kwargs = copy.deepcopy(given)
        except Exception:  # noqa: BLE001  # a __deepcopy__ may raise anything
            owner, args, kwargs = given
        if inspect.ismethod(bound):
            bound, instance = MethodType(bound.__func__, owner), owner
        return Call(options, self.function, bound, instance, args, kwargs)

    def _bind(self, bind: Callable[..., inspect.BoundArguments]) -> dict[str, Any]:
        try:
            bound = bind(*([] if self.is_plain else [None]), *self._args, **self._kwargs)
        except TypeError:
            parameters = [*self._signature.parameters.values()]
            state = None if self.is_plain else parameters.pop(0)
            name, args, kwargs = self.function.__name__, self._args, self._kwargs
            raise misfit(name, state, parameters, args, kwargs) from None
        bound.apply_defaults()
        values = {**bound.arguments}
        values.pop(self.state_parameter, None)
        for parameter in bound.signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                values.update(values.pop(parameter.name, {}))
        return {**self._owner, **values}
