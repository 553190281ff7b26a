"""One call of a decorated function: its arguments, the name of its run, and its loop."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import cached_property
from types import MethodType
from typing import Any

from trax.calls.arguments import call_with, describe, describe_where_possible
from trax.calls.fingerprint import fingerprint
from trax.calls.migration import Migration
from trax.calls.options import Options
from trax.engine.replay import replay_mode
from trax.errors import UsageError
from trax.storage.filenames import encode_run
from trax.tracking.rng_discovery import OuterRngs

__all__ = ["Call"]


class Call:
    """A call, as far as it decides which run it is and what its loop does.

    Parameters
    ----------
    options : Options
        What the decorator was told.
    function : callable
        The plain generator function.
    bound : callable
        The same with ``self`` or ``cls`` bound, which the state and the arguments are for.
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
            self._owner = {next(iter(inspect.signature(function).parameters)): instance}

    @cached_property
    def arguments(self) -> dict[str, Any]:
        """The values by parameter, ``self`` among them, without the state.

        Raises
        ------
        TypeError
            They do not fit the function.
        """
        return self._bind(inspect.signature(self._bound).bind)

    @cached_property
    def name(self) -> str:
        """The run's name. Only those arguments must be there that are in its template."""
        template = self.options.name
        try:
            name = template.format(**self._bind(inspect.signature(self._bound).bind_partial))
        except KeyError as error:
            raise UsageError(
                f"the run's name {template!r} needs the argument {error.args[0]!r}"
            ) from None
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise UsageError(f"the run's name {template!r} cannot be formatted: {error}") from error
        if " object at 0x" in name:
            raise UsageError(
                f"the run's name {template!r} would be {name!r}, another one in every process. Use "
                "arguments that are numbers or words, or attributes of them, as in '{model.size}'."
            )
        encode_run(name)
        return name

    @cached_property
    def described(self) -> dict[str, dict[str, str]]:
        """What is stored of the arguments that must stay the same."""
        varying = self.options.varying
        return describe({k: value for k, value in self.arguments.items() if k not in varying})

    @cached_property
    def varying(self) -> dict[str, dict[str, str]]:
        """What is stored of those that may vary, where they can be described at all."""
        varying = self.options.varying
        return describe_where_possible(
            {k: value for k, value in self.arguments.items() if k in varying}
        )

    @cached_property
    def described_before(self) -> dict[str, dict[str, str]]:
        """What would be stored of all arguments had nothing been renamed."""
        names = {new: old for old, new in (self.options.renames or {}).items()}
        return describe_where_possible(self.arguments, names)

    @cached_property
    def outer_rngs(self) -> OuterRngs | None:
        """The RNGs outside of the state; None where random numbers are left alone."""
        named = self.options.rng
        return None if named is None else OuterRngs(named, self.arguments, self.function)

    @property
    def migration(self) -> Migration:
        """What brings a state of an older version forward."""
        options = self.options
        return Migration(self.name, self.function.__name__, options.version, options.migrate)

    @property
    def mode(self) -> str:
        """What a checkpoint says of ``replay_log``."""
        return replay_mode(self.options.replay_log)

    @property
    def code(self) -> dict[str, str]:
        """Digests of the code that makes the run what it is."""
        replay_log = self.options.replay_log if self.mode == "function" else None
        return fingerprint({self.function.__name__: self.function, "replay_log": replay_log})

    def create(self) -> Any:
        """Return the first state."""
        create = self.options.create
        return call_with(create, self.arguments) if create else None

    def start(self, state: Any) -> Any:
        """Return the generator that goes on from a state."""
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
