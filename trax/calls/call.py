"""One call of a decorated function: its arguments, the name of its run, and its loop."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import cached_property
from types import MethodType
from typing import Any

from trax.calls.arguments import describe, describe_where_possible
from trax.calls.creation import call_create
from trax.calls.fingerprint import fingerprint
from trax.calls.log_mode import LogMode, log_mode
from trax.calls.migration import Migration
from trax.calls.name_template import format_name
from trax.calls.options import Options
from trax.calls.signatures import signature
from trax.errors import UsageError
from trax.tracking.rng_discovery import OuterRngs

__all__ = ["Call"]


class Call:
    """A call: it determines a run, and the behaviour of its loop.

    Parameters
    ----------
    options : Options
        The options of the decorator, checked.
    function : callable
        The plain generator function.
    bound : callable
        The same with ``self`` or ``cls`` bound, so that it takes the state and the arguments.
    instance : object
        That ``self`` or ``cls``, or None.
    args, kwargs
        The arguments.
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
        TypeError
            They do not fit the function.
        """
        return self._bind(self._signature.bind)

    @cached_property
    def name(self) -> str:
        """The run's name. Only the arguments in its template must be given."""
        try:
            values = self._bind(self._signature.bind_partial)
        except TypeError as error:
            name = self.function.__name__
            raise UsageError(f"the arguments of {name} do not fit: {error}") from error
        return format_name(self.options.name, values)

    @cached_property
    def described(self) -> dict[str, dict[str, str]]:
        """The stored descriptions of the arguments that must stay the same."""
        varying = self.options.varying
        return describe({k: value for k, value in self.arguments.items() if k not in varying})

    @cached_property
    def varying(self) -> dict[str, dict[str, str]]:
        """The stored descriptions of the arguments that may vary, if they can be described."""
        varying = self.options.varying
        return describe_where_possible(
            {k: value for k, value in self.arguments.items() if k in varying}
        )

    @cached_property
    def described_before(self) -> dict[str, dict[str, str]]:
        """The descriptions of all arguments under the names from before ``renames``."""
        names = {new: old for old, new in (self.options.renames or {}).items()}
        return describe_where_possible(self.arguments, names)

    @cached_property
    def outer_rngs(self) -> OuterRngs | None:
        """The RNGs outside of the state; None if random numbers are left alone."""
        named = self.options.rng
        return None if named is None else OuterRngs(named, self.arguments, self.function)

    @property
    def migration(self) -> Migration:
        """The migration of older versions of the state."""
        options = self.options
        return Migration(self.name, self.function.__name__, options.version, options.migrate)

    @cached_property
    def log_mode(self) -> LogMode:
        """The meaning of ``replay_log``."""
        return log_mode(self.options.replay_log)

    @property
    def forces_increments(self) -> bool:
        """Whether each increment is forced to the disk before it is handed out."""
        return self.options.sync == "always" and self.log_mode.is_logged

    @cached_property
    def code(self) -> dict[str, str]:
        """Digests of the code of the loop and of ``replay_log``."""
        replay_log = self.log_mode.fold if self.log_mode.has_function else None
        return fingerprint({self.function.__name__: self.function, "replay_log": replay_log})

    def create(self) -> Any:
        """Return the first state."""
        create = self.options.create
        return call_create(create, self.arguments) if create else None

    def start(self, state: Any) -> Any:
        """Return the generator that continues from a state."""
        return self._bound(state, *self._args, **self._kwargs)

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
        bound = bind(None, *self._args, **self._kwargs)
        bound.apply_defaults()
        values = dict(list(bound.arguments.items())[1:])
        for parameter in bound.signature.parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                values.update(values.pop(parameter.name, {}))
        return {**self._owner, **values}
