"""The options of `resumable`: each declared once, with its default and its checks.

A new option is one line in `Given` and, with the type that the checked value has, one in `Options`.
"""

# The annotations of `Given` are read below, and so are not postponed.

import inspect
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from functools import partial, reduce, wraps
from signal import Signals
from typing import Annotated, Any, Literal, Self, TypedDict, TypeVar, cast, get_args

from trax.calls.creation import check_create
from trax.calls.log_mode import REPLACE, check_replay_log
from trax.calls.name_template import check_template
from trax.calls.signatures import check_argument, takes
from trax.display import count, show
from trax.errors import UsageError
from trax.hooks import Display, Hook, check_hook
from trax.interrupts.deadline import TimeLimit, check_time_limit
from trax.interrupts.signals import check_signals
from trax.keep import ALL, Keep
from trax.policies import Policy, Since, automatic, every_seconds, every_steps, wait_seconds
from trax.storage.process import Sync
from trax.tracking.rngs import check_rng
from trax.whole_numbers import as_whole, check_whole

__all__ = [
    "Given",
    "GivenWithState",
    "Options",
    "SyncOrReplica",
    "check_keywords",
    "check_option",
    "checks_keywords",
    "keyword_parameters",
    "on_disk",
]

F = TypeVar("F", bound=Callable[..., Any])

SyncOrReplica = Literal[Sync, "replica"]


def on_disk(sync: SyncOrReplica) -> Sync:
    """Return the time at which increments are forced to the local disk."""
    return "always" if sync == "replica" else sync


class _Default(Enum):
    """What the state is if `create` does not say it; `help` shows it as the default."""

    LOCALS = "the loop's local variables"

    def __repr__(self) -> str:
        return f"<{self.value}>"


@dataclass(frozen=True, slots=True)
class Option:
    """The default of an option, and its checks.

    Attributes
    ----------
    default : object
        The value if the option is not given.
    check : callable
        Returns a value in the form that `Options` has, or raises a `UsageError`.
    fit : callable
        ``fit(value, arguments)``: refuses a checked value that does not fit the names of the
        function's arguments. It is not called with None.
    """

    default: Any
    check: Callable[[Any], Any] = lambda value: value
    fit: Callable[[Any, Sequence[str]], None] = lambda value, arguments: None  # noqa: ARG005

    def checked(self, value: Any, arguments: Sequence[str]) -> Any:
        """Return a value checked by itself and against the arguments of the function."""
        value = self.check(value)
        if value is not None:
            self.fit(value, arguments)
        return value


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _callable(name: str, example: str, needed: int = 0) -> Callable[[Any], Any]:
    """Return the check of a function; it must take `needed` positional arguments, if any."""

    def check(value: Any) -> Any:
        if value is not None and not callable(value):
            raise UsageError(f"{name} must be callable, not {show(value)}.\nWrite {example}.")
        if value is not None and needed and not takes(value, needed):
            described = getattr(value, "__qualname__", None) or show(value)
            raise UsageError(
                f"{name} is called with {count(needed, 'argument')}, which {described} does not "
                "take.\n"
                f"Write a function that does, as in {example}."
            )
        return value

    return check


def _check_create(create: Any) -> Any:
    if create is None:
        raise UsageError(
            "create must be callable, not None.\n"
            "Leave it out, and the loop's local variables are the state.\n"
            "To declare a state that begins as None, write create=lambda: None."
        )
    if create is _Default.LOCALS:
        return None
    return _callable("create", "create=int or create=lambda: 0")(create)


def _check_keep(keep: Any) -> int | Keep:
    if isinstance(keep, Keep):
        return keep
    if isinstance(keep, str) and keep == "all":
        return ALL
    number = as_whole(keep, 1)
    if number is None:
        raise UsageError(
            "keep must be a whole number of at least 1, 'all' or a policy, not "
            f"{show(keep)}\n"
            "A policy is trax.keep_every(steps=1000), trax.keep_for(days=7) or "
            "trax.keep_bytes(10e9), or several joined by | and &."
        )
    return number


def _check_hook(name: str) -> Callable[[Any], Any]:
    check = _callable(name, f"{name}=lambda event: print(event.step)", 1)
    return lambda hook: check_hook(check(hook))


def _check_background(background: Any) -> bool:
    if not isinstance(background, bool):
        raise UsageError(f"background must be True or False, not {show(background)}")
    return background


def _check_varying(varying: Any) -> tuple[str, ...]:
    if isinstance(varying, str):
        return (varying,)
    if not isinstance(varying, Iterable):
        raise UsageError(f"varying must be a tuple of argument names, not {show(varying)}")
    return tuple(varying)


def _fit_varying(varying: tuple[str, ...], arguments: Sequence[str]) -> None:
    for name in varying:
        check_argument(name, arguments, "varying names")


def _check_sync(sync: Any) -> SyncOrReplica:
    words = [*get_args(Sync), "replica"]
    if sync not in words:
        raise UsageError(f"sync must be one of {', '.join(map(repr, words))}, not {show(sync)}")
    checked: SyncOrReplica = sync
    return checked


def _check_replica(replica: Any) -> str | os.PathLike[str]:
    if not isinstance(replica, (str, os.PathLike)):
        raise UsageError(
            f"replica must be a URL or a directory, as in replica='s3://bucket/runs', not "
            f"{show(replica)}"
        )
    from trax.replica.credentials import complaint  # seldom needed

    if error := complaint(os.fsdecode(replica)):
        raise UsageError(error)
    return replica


def _check_replica_seconds(seconds: Any) -> float:
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_number or not 0 < seconds < math.inf:
        raise UsageError(f"replica_seconds must be a number above 0, not {show(seconds)}")
    return float(seconds)


def _check_progress(progress: Any) -> Callable[[str, int], Display] | None:
    if not progress:
        return None
    if progress is True:
        from trax.integrations.tqdm import Bar  # if tqdm is missing, this raises at once

        return Bar
    example = "progress=True, or a class of displays, as in progress=MyBar"
    display: Callable[[str, int], Display] = _callable("progress", example, 2)(progress)
    return display


def _check_total(total: Any) -> int | str:
    if isinstance(total, str):
        return total
    number = as_whole(total, 0)
    if number is None:
        raise UsageError(
            f"total must be a number of steps, or an argument's name, not {show(total)}"
        )
    return number


def _fit_total(total: int | str, arguments: Sequence[str]) -> None:
    if isinstance(total, str):
        check_argument(total, arguments, "total names")


def _check_renames(renames: Any) -> dict[str, str]:
    if renames is None:
        return {}
    if not isinstance(renames, Mapping):
        raise UsageError(f"renames must be a mapping of old names to new ones, not {show(renames)}")
    for name in (*renames, *renames.values()):
        if not isinstance(name, str) or not all(map(str.isidentifier, name.split("."))):
            raise UsageError(
                f"renames has {name!r}, which is not a name with its module.\n"
                "Give both, as in renames={'old.module.Class': 'new.module.Class'}."
            )
    return dict(renames)


def _check_replay_log(replay_log: Any) -> Any:
    check = _callable("replay_log", "replay_log=lambda state, increment: state", 2)
    return check(check_replay_log(replay_log))


class _Create(TypedDict):
    create: Annotated[Callable[..., Any], Option(_Default.LOCALS, _check_create, check_create)]


class _State(_Create, total=False):
    replay_log: Annotated[
        Callable[[Any, Any], Any] | str | None, Option(REPLACE, _check_replay_log)
    ]


class Given(TypedDict, total=False):
    """The options as the user gives them: for each the type, the default and the checks."""

    every_steps: Annotated[int | None, Option(None, _optional(every_steps))]
    every_seconds: Annotated[float | timedelta | None, Option(None, _optional(every_seconds))]
    policy: Annotated[
        Callable[[Since], bool] | None,
        Option(None, _callable("policy", "policy=lambda since: since.steps >= 100", 1)),
    ]
    name: Annotated[str | None, Option(None, fit=check_template)]
    varying: Annotated[tuple[str, ...] | str, Option((), _check_varying, _fit_varying)]
    traxdir: Annotated[str | os.PathLike[str] | None, Option(None)]
    sync: Annotated[SyncOrReplica, Option("interval", _check_sync)]
    replica: Annotated[str | os.PathLike[str] | None, Option(None, _optional(_check_replica))]
    replica_seconds: Annotated[float | timedelta, Option(1.0, _check_replica_seconds)]
    keep: Annotated[int | Literal["all"] | Keep, Option(2, _check_keep)]
    background: Annotated[bool, Option(True, _check_background)]
    progress: Annotated[bool | Callable[[str, int], Display], Option(False, _check_progress)]
    total: Annotated[int | str | None, Option(None, _optional(_check_total), _fit_total)]
    rng: Annotated[Any, Option((), check_rng)]
    renames: Annotated[Mapping[str, str] | None, Option(None, _check_renames)]
    version: Annotated[int, Option(1, partial(check_whole, name="version"))]
    migrate: Annotated[
        Callable[[Any, int], Any] | None,
        Option(None, _callable("migrate", "migrate=lambda state, from_version: state", 2)),
    ]
    signals: Annotated[Iterable[int | str] | int | str | None, Option(("SIGTERM",), check_signals)]
    time_limit: Annotated[TimeLimit, Option("auto", check_time_limit)]
    wait: Annotated[float | timedelta, Option(10.0, wait_seconds)]
    on_resume: Annotated[Hook | None, Option(None, _check_hook("on_resume"))]
    on_checkpoint: Annotated[Hook | None, Option(None, _check_hook("on_checkpoint"))]
    on_stop: Annotated[Hook | None, Option(None, _check_hook("on_stop"))]
    check: Annotated[bool, Option(True)]


class GivenWithState(_State, Given):
    """All options of a loop whose state is declared; `create` must be among them."""


_DECLARED: dict[str, tuple[Any, Option]] = {
    name: get_args(declared) for name, declared in GivenWithState.__annotations__.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options after the checks; `trax.resumable` documents each of them."""

    create: Callable[..., Any] | None  # None: the loop's local variables are the state
    replay_log: Callable[[Any, Any], Any] | None
    policy: Callable[[Since], bool]  # of every_steps, every_seconds and policy
    name: str  # that of the function, unless it is given
    is_named: bool
    varying: tuple[str, ...]
    traxdir: str | os.PathLike[str] | None
    sync: SyncOrReplica
    replica: str | os.PathLike[str] | None
    replica_seconds: float
    keep: int | Keep
    background: bool
    progress: Callable[[str, int], Display] | None
    total: int | str | None
    rng: tuple[Any, ...] | None
    renames: dict[str, str]
    version: int
    migrate: Callable[[Any, int], Any] | None
    signals: tuple[Signals, ...] | None
    time_limit: float | Literal["auto"] | None
    wait: float
    on_resume: Hook | None
    on_checkpoint: Hook | None
    on_stop: Hook | None
    is_checked: bool  # the option `check`

    @property
    def disk_sync(self) -> Sync:
        """The time at which increments are forced to the local disk."""
        return on_disk(self.sync)

    @property
    def is_template(self) -> bool:
        """Whether the name depends on the arguments."""
        return "{" in self.name

    @property
    def is_plain(self) -> bool:
        """Whether the loop's local variables are the state, because there is no `create`."""
        return self.create is None

    def __post_init__(self) -> None:
        if self.is_plain and self.replay_log is not REPLACE:
            raise UsageError(
                "replay_log needs create, which says what the state is.\n"
                "Give both, as in create=list; the function's first parameter is the state then.\n"
                "Or leave out both, and the loop's local variables are the state."
            )
        if self.migrate is not None and self.version == 1:
            raise UsageError(
                "migrate would never be called: a state stored without a version has version 1.\n"
                "Give version=2."
            )

    @classmethod
    def check(cls, given: Mapping[str, Any], function: str, arguments: Sequence[str]) -> Self:
        """Return the options of a function, checked.

        `arguments` are the names of those that the caller passes, so without a declared state.

        Raises
        ------
        UsageError
            One of them is invalid.
        """
        checked = {
            name: option.checked(given.get(name, option.default), arguments)
            for name, (_, option) in _DECLARED.items()
        }
        name = checked.pop("name")
        policies = [checked.pop(part) for part in ("every_steps", "every_seconds", "policy")]
        return cls(
            name=function if name is None else name,
            is_named=name is not None,
            is_checked=checked.pop("check"),
            policy=_either([policy for policy in policies if policy is not None]),
            **checked,
        )


def _either(policies: list[Callable[[Since], bool]]) -> Callable[[Since], bool]:
    return reduce(lambda one, other: Policy(one) | other, policies) if policies else automatic()


def check_option(name: str, value: Any) -> Any:
    """Return the value of one option in the form that `Options` has."""
    return _DECLARED[name][1].check(value)


def check_keywords(given: Iterable[str]) -> None:
    """Refuse a keyword that is not an option, as a function with these parameters would."""
    for name in given:
        if name not in _DECLARED:
            raise _unexpected("resumable", name, _hint(name, _DECLARED))


def _unexpected(function: str, name: str, hint: str) -> TypeError:
    return TypeError(f"{function}() got an unexpected keyword argument {name!r}{hint}")


def _hint(name: str, names: Collection[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, names, n=1)
    return f". Did you mean {close[0]!r}?" if close else f"\nIts options: {', '.join(names)}."


def checks_keywords(**hints: str) -> Callable[[F], F]:
    """Return a decorator of functions that say which keyword may have been meant.

    `hints` are for keywords that are none of the function.
    """

    def decorate(function: F) -> F:
        parameters = inspect.signature(function).parameters
        names = [name for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY]

        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            for unknown in (name for name in kwargs if name not in parameters):
                hint = f"\n{hints[unknown]}" if unknown in hints else _hint(unknown, names)
                raise _unexpected(function.__name__, unknown, hint)
            return function(*args, **kwargs)

        return cast("F", checked)

    return decorate


def keyword_parameters() -> list[inspect.Parameter]:
    """Return the options as the parameters that `inspect.signature` and `help` show."""
    return [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=option.default, annotation=annotation
        )
        for name, (annotation, option) in _DECLARED.items()
    ]
