"""The decorator: a generator function, ordinary or async, whose loop survives."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import wrapt

from trax.arguments import check_names, check_template
from trax.async_run import AsyncRun
from trax.call import Call
from trax.deadline import TimeLimit, check_time_limit
from trax.deferred import DeferredEngine
from trax.engine import Engine
from trax.errors import NotFoundError, UsageError
from trax.options import Options, check_keep, check_renames, check_sync, check_version
from trax.policies import Policy, Since, automatic
from trax.policies import every_seconds as _every_seconds
from trax.policies import every_steps as _every_steps
from trax.replay import REPLACE, load
from trax.run import Run
from trax.signals import check_signals
from trax.sources import check_rng
from trax.storage.names import encode_run
from trax.storage.store import Store, Sync

__all__ = ["AsyncResumable", "Resumable", "resumable"]

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate) and R(esult)
R = TypeVar("R")

# How a call is to be carried out travels as an argument, so that wrapt binds all kinds alike.
_HOW = "trax: how"

_BOUND = ("self", "cls")  # what methods call what they are bound to


class _Ways:
    """The two other ways to call a decorated function, and how it looks at a prompt."""

    def __repr__(self) -> str:
        return f"<resumable {self.__qualname__}>"  # type: ignore[attr-defined]

    def fresh(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function anew: what is stored is moved aside when the run begins."""
        return self(*args, **kwargs, **{_HOW: _run_fresh})  # type: ignore[operator]

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stored state without running or holding anything.

        Of the arguments only those in the name template matter; the others may be left out.

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
    _self_owners: list[type]  # whose attribute it is

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__qualname__

    def __set_name__(self, owner: type, name: str) -> None:
        self._self_owners.append(owner)
        if inspect.isfunction(self.__wrapped__):
            _check_parameters(self.__wrapped__, 2)


class _AsyncWrapper(_Wrapper):
    """A decorated async generator function; it pickles by reference."""


if TYPE_CHECKING:

    class Resumable(Generic[P, S, I, R]):
        """What `resumable` makes of a function, as a type checker sees it."""

        __name__: str
        __qualname__: str

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Run[S, I, R]: ...
        def fresh(self, *args: P.args, **kwargs: P.kwargs) -> Run[S, I, R]:
            """Call the function anew: what is stored is moved aside when the run begins."""

        def load(self, *args: Any, **kwargs: Any) -> S:
            """Return the stored state without running or holding anything."""

        @overload
        def __get__(self, instance: None, owner: type, /) -> Resumable[P, S, I, R]: ...
        @overload
        def __get__(
            self: Resumable[Concatenate[Any, Q], Any, I, R], instance: object, owner: type | None, /
        ) -> Resumable[Q, Any, I, R]: ...  # mypy cannot tell the type of a method's state
        def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...

    class AsyncResumable(Generic[P, S, I]):
        """What `resumable` makes of an async function, as a type checker sees it."""

        __name__: str
        __qualname__: str

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AsyncRun[S, I]: ...
        def fresh(self, *args: P.args, **kwargs: P.kwargs) -> AsyncRun[S, I]:
            """Call the function anew: what is stored is moved aside when the run begins."""

        def load(self, *args: Any, **kwargs: Any) -> S:
            """Return the stored state without running or holding anything."""

        @overload
        def __get__(self, instance: None, owner: type, /) -> AsyncResumable[P, S, I]: ...
        @overload
        def __get__(
            self: AsyncResumable[Concatenate[Any, Q], Any, I],
            instance: object,
            owner: type | None,
            /,
        ) -> AsyncResumable[Q, Any, I]: ...  # mypy cannot tell the type of a method's state
        def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...

    class _Decorator(Protocol):
        """What `resumable` returns when it is called with options."""

        @overload  # the first that fits is meant: a generator is an iterator too
        def __call__(  # type: ignore[overload-overlap]
            self, function: Callable[Concatenate[S, P], Generator[I, Any, R]], /
        ) -> Resumable[P, S, I, R]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[S, P], Iterator[I]], /
        ) -> Resumable[P, S, I, None]: ...
        @overload
        def __call__(
            self, function: Callable[Concatenate[S, P], AsyncIterator[I]], /
        ) -> AsyncResumable[P, S, I]: ...

else:
    Resumable = _Wrapper
    AsyncResumable = _AsyncWrapper


@overload
def resumable(  # type: ignore[overload-overlap]
    function: Callable[Concatenate[S, P], Generator[I, Any, R]], /
) -> Resumable[P, S, I, R]: ...
@overload
def resumable(
    function: Callable[Concatenate[S, P], Iterator[I]], /
) -> Resumable[P, S, I, None]: ...
@overload
def resumable(
    function: Callable[Concatenate[S, P], AsyncIterator[I]], /
) -> AsyncResumable[P, S, I]: ...
@overload
def resumable(
    *,
    create: Callable[..., Any] | None = None,
    replay_log: Callable[[Any, Any], Any] | None = REPLACE,
    every_steps: int | None = None,
    every_seconds: float | timedelta | None = None,
    policy: Callable[[Since], bool] | None = None,
    name: str | None = None,
    varying: tuple[str, ...] | str = (),
    traxdir: str | os.PathLike[str] | None = None,
    sync: Sync = "interval",
    keep: int = 2,
    progress: bool = False,
    rng: Any = (),
    renames: Mapping[str, str] | None = None,
    version: int = 1,
    migrate: Callable[[Any, int], Any] | None = None,
    signals: Iterable[int | str] | int | str | None = ("SIGTERM",),
    time_limit: TimeLimit = "auto",
) -> _Decorator: ...


def resumable(
    function: Any = None,
    /,
    *,
    create: Callable[..., Any] | None = None,
    replay_log: Callable[[Any, Any], Any] | None = REPLACE,
    every_steps: int | None = None,
    every_seconds: float | timedelta | None = None,
    policy: Callable[[Since], bool] | None = None,
    name: str | None = None,
    varying: tuple[str, ...] | str = (),
    traxdir: str | os.PathLike[str] | None = None,
    sync: Sync = "interval",
    keep: int = 2,
    progress: bool = False,
    rng: Any = (),
    renames: Mapping[str, str] | None = None,
    version: int = 1,
    migrate: Callable[[Any, int], Any] | None = None,
    signals: Iterable[int | str] | int | str | None = ("SIGTERM",),
    time_limit: TimeLimit = "auto",
) -> Any:
    """Make the loop of a generator function survive, or of an async one.

    Every ``state = yield increment`` is one step: the increment is logged, folded into the
    state, and only then handed to the caller. After a crash the same call brings back the newest
    checkpoint, replays the log on top and goes on.

    The function's first parameter is the state, which trax supplies; the caller passes the rest.
    The generator never changes the state itself, unless `replay_log` is None.

    Parameters
    ----------
    create : callable, optional
        Makes the first state; it is called with those of the call's arguments that it names.
        Left out, the state begins as None.
    replay_log : callable or None, optional
        ``replay_log(state, increment) -> state``, by which increments become state, live and in
        recovery alike; it may change `state` and return it. Left out, the increment is the new
        state. None: increments cannot be replayed and are not logged, the state is the loop's own
        to change, and recovery goes back to the newest checkpoint.
    every_steps : int, optional
        A checkpoint after so many steps.
    every_seconds : float or timedelta, optional
        A checkpoint after so much time, in seconds.
    policy : callable, optional
        ``policy(since) -> bool``, asked after every step whether a checkpoint is due; `since` is a
        `Since`. Where several of these are given, one that is due is enough; where none is,
        `trax.automatic` decides.
    name : str, optional
        The run's name, by default the function's; or a template over the arguments such as
        ``"lorenz-{seed}"``, one run for each value.
    varying : tuple of str, optional
        Arguments that may differ between calls that go on with the same run, such as a number
        of steps in all.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` where that is not set.
    sync : {"interval", "always", "os"}
        When increments are forced to the disk: at most a second later, before each is handed out,
        or when the operating system likes. What was handed out survives the death of the
        process in any case; with ``"always"`` a power cut too. Checkpoints are always forced.
    keep : int
        How many checkpoints are kept, so that an older one can stand in for a damaged one.
    progress : bool
        Whether to draw a progress bar, with tqdm.
    rng : random generator, list of them, or None
        Random generators that the loop draws from, beside those that are found: the global ones of
        `random`, `numpy.random` and `torch`, those in the state, and those that are an argument, an
        attribute of one, or a variable of the function's module. A resumed loop draws from all of
        them what it would have drawn. None: random numbers are left alone.
    renames : mapping of str to str, optional
        Where classes and functions are now that stored objects refer to, by where they were when
        these were stored, as in ``{"old.module.Class": "new.module.Class"}``. A class takes its
        methods along, and a module all that is in it; where several names fit, the longest counts.
    version : int
        Which version the state is of. Count it up when what is stored by the former script is not
        what the loop needs now.
    migrate : callable, optional
        ``migrate(state, from_version) -> state``: brings the state of an older version forward.
        It is called with the state of the checkpoint, before the log is replayed on it by the
        present `replay_log`, which must then understand old increments, too; or with the newest
        state, where the increment is the state. The result is stored at once. A run that is done is
        migrated in memory each time, and what its loop returned stays as it is.
    signals : iterable of int or str, or None
        The signals that stop the loop, by default SIGTERM: the step that is being done is
        finished, a checkpoint is stored, and `Preempted` is raised when the next increment is
        asked for. A second one ends the program at once. Ctrl-C does the same and raises
        `KeyboardInterrupt`; with ``()`` it is the only one. None: trax leaves all signals alone.
    time_limit : float, timedelta, "auto" or None
        How long a call may take, in seconds, from the moment at which it brings the run back. The
        loop stops in the same way when what remains is less than its longest step, a checkpoint
        and a margin of 30 seconds, or of 5 % where that is less. One step is done in any case.
        ``"auto"``: until the end of the SLURM job, where ``$SLURM_JOB_END_TIME`` says when that is.
        None: as long as it takes.

    Returns
    -------
    Resumable or AsyncResumable
        The function; called, it returns a `Run`, or an `AsyncRun` where it is async. It has two
        more ways to be called: ``fresh(...)`` moves what is stored aside and begins anew,
        ``load(...)`` returns the stored state without running anything.

    Raises
    ------
    UsageError
        At once, where an option or the function cannot work. When the run is opened, where it was
        stored by a newer version, or by an older one and there is no `migrate`.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable(create=list, replay_log=lambda found, prime: [*found, prime])
    ... def primes(found, below):
    ...     for n in range(found[-1] + 1 if found else 2, below):
    ...         if all(n % p for p in found):
    ...             found = yield n
    >>> primes(below=20).result()
    [2, 3, 5, 7, 11, 13, 17, 19]
    >>> primes.load()
    [2, 3, 5, 7, 11, 13, 17, 19]
    """
    if function is None:
        return functools.partial(
            resumable,
            create=create,
            replay_log=replay_log,
            every_steps=every_steps,
            every_seconds=every_seconds,
            policy=policy,
            name=name,
            varying=varying,
            traxdir=traxdir,
            sync=sync,
            keep=keep,
            progress=progress,
            rng=rng,
            renames=renames,
            version=version,
            migrate=migrate,
            signals=signals,
            time_limit=time_limit,
        )
    plain = _check_function(function)
    parameters = _argument_names(function, plain)
    callables = {"create": create, "replay_log": replay_log, "policy": policy, "migrate": migrate}
    for what, option in callables.items():
        if option is not None and not callable(option):
            raise UsageError(f"{what} must be callable, not {option!r}")
    if create is not None:
        check_names(create, parameters, "create")
    if name is not None:
        check_template(name, parameters)
        if "{" not in name:
            encode_run(name)
    varying = (varying,) if isinstance(varying, str) else tuple(varying)
    for argument in varying:
        if argument not in parameters:
            raise UsageError(
                f"varying names {argument!r}, which is not an argument of {plain.__name__}; there "
                f"are {', '.join(parameters) or 'none'}"
            )
    options = Options(
        name=plain.__name__ if name is None else name,
        is_named=name is not None,
        create=create,
        replay_log=replay_log,
        policy=_choose_policy(every_steps, every_seconds, policy),
        varying=varying,
        traxdir=traxdir,
        sync=check_sync(sync),
        keep=check_keep(keep),
        progress=progress,
        rng=check_rng(rng),
        renames=check_renames(renames),
        version=check_version(version, migrate),
        migrate=migrate,
        signals=check_signals(signals),
        time_limit=check_time_limit(time_limit),
    )
    if progress:
        import trax.integrations.tqdm  # noqa: F401  # it says now if tqdm is missing

    def call(wrapped: Any, instance: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        how = kwargs.pop(_HOW, _run)
        if function is plain and not owners:
            _check_outermost(plain, instance, args)
        return how(Call(options, plain, wrapped, instance, args, kwargs))

    owners: list[type] = []  # not asked of the wrapper, which would be a cycle
    wrapper = (_AsyncWrapper if inspect.isasyncgenfunction(plain) else _Wrapper)(function, call)
    wrapper._self_owners = owners  # noqa: SLF001
    return wrapper


def _choose_policy(
    steps: int | None, seconds: float | timedelta | None, policy: Callable[[Since], bool] | None
) -> Callable[[Since], bool]:
    chosen: list[Callable[[Since], bool]] = []
    if steps is not None:
        chosen.append(_every_steps(steps))
    if seconds is not None:
        chosen.append(_every_seconds(seconds))
    if policy is not None:
        chosen.append(policy)
    if not chosen:
        return automatic()
    return functools.reduce(lambda one, other: Policy(one) | other, chosen)


def _check_function(function: Any) -> Callable[..., Any]:
    """Return the plain function behind what is decorated, if it can be run."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    described = getattr(plain, "__qualname__", repr(plain))
    if inspect.iscoroutinefunction(plain):
        raise UsageError(
            f"{described} is a coroutine function: with a 'yield' in its body, which hands out an "
            "increment, it would be an async generator, and could be resumed."
        )
    if not inspect.isgeneratorfunction(plain) and not inspect.isasyncgenfunction(plain):
        raise UsageError(
            f"{described} is not a generator function: its body needs at least one 'yield', which "
            "hands out an increment. @resumable stands directly above the def."
        )
    checked: Callable[..., Any] = plain
    _check_parameters(checked, 1)
    return checked


def _check_outermost(plain: Callable[..., Any], instance: Any, args: tuple[Any, ...]) -> None:
    """Refuse a method that was bound by another decorator above, if at all.

    Below ``@classmethod``, Python 3.12 has the class bound; later ones pass it as an argument, and
    nothing to ``fresh`` and ``load``.
    """
    is_bound = isinstance(instance, type) or (bool(args) and _has_class_method(args[0], plain))
    is_method = _is_in_class(plain) and next(iter(inspect.signature(plain).parameters)) in _BOUND
    if is_bound or (is_method and instance is None):
        raise UsageError(
            f"{plain.__qualname__} has another decorator above that of trax, which takes the call "
            "in a sense that is not meant. In a class, @trax.resumable is the outermost one: it "
            "stands above @classmethod, too."
        )


def _has_class_method(owner: Any, plain: Callable[..., Any]) -> bool:
    """Whether a class, or one above it, has the decorated function under ``@classmethod``."""
    bases = owner.__mro__ if isinstance(owner, type) else ()
    found = [value for base in bases for value in vars(base).values()]
    return any(
        isinstance(one, classmethod) and getattr(one.__func__, "__wrapped__", None) is plain
        for one in found
    )


def _is_in_class(plain: Callable[..., Any]) -> bool:
    owner = plain.__qualname__.rpartition(".")[0]
    return bool(owner) and not owner.endswith("<locals>")


def _argument_names(function: Any, plain: Callable[..., Any]) -> list[str]:
    """Return the parameters but that of the state; all, where only the class will tell which."""
    names = list(inspect.signature(plain).parameters)
    return names[1:] if isinstance(function, staticmethod) or not _is_in_class(plain) else names


def _check_parameters(plain: Callable[..., Any], needed: int) -> None:
    positional = [
        parameter
        for parameter in inspect.signature(plain).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) < needed:
        raise UsageError(
            f"{plain.__qualname__} has no parameter for the state. Write "
            f"def {plain.__name__}({'self, ' * (needed - 1)}state, ...): trax supplies the state, "
            "the caller passes the rest."
        )


def _run(call: Call, *, fresh: bool = False) -> Run[Any, Any, Any] | AsyncRun[Any, Any]:
    call.arguments  # noqa: B018  # those that do not fit are a TypeError of the call
    if inspect.isasyncgenfunction(call.function):
        return AsyncRun(DeferredEngine(call, fresh=fresh), call.start)
    return Run(Engine(call, fresh=fresh), call.start)


def _run_fresh(call: Call) -> Run[Any, Any, Any] | AsyncRun[Any, Any]:
    return _run(call, fresh=True)


def _load(call: Call) -> Any:
    store = Store(call.options.traxdir)
    options = call.options
    replayed = load(
        store,
        call.name,
        None,
        options.replay_log,
        renames=options.renames,
        migration=call.migration,
    )
    if replayed is None:
        raise NotFoundError(
            f"nothing is stored as {call.name!r} in {store.path}. Call "
            f"{call.function.__name__}(...) to begin the run, or check the arguments and the "
            "directory."
        )
    return replayed.state
