"""The decorator: a generator function, ordinary or async, whose loop survives."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from trax.calls.arguments import check_names, check_template
from trax.calls.log_mode import REPLACE
from trax.calls.options import Options, check_keep, check_renames, check_sync, check_version
from trax.errors import UsageError
from trax.interrupts.deadline import TimeLimit, check_time_limit
from trax.interrupts.signals import check_signals
from trax.policies import Policy, Since, automatic
from trax.policies import every_seconds as _every_seconds
from trax.policies import every_steps as _every_steps
from trax.storage.filenames import encode_run
from trax.storage.store import Sync
from trax.tracking.rng_discovery import check_rng
from trax.wrapper import AsyncResumable, Resumable, check_parameters, is_in_class, wrap

__all__ = ["AsyncResumable", "Resumable", "resumable"]

P = ParamSpec("P")
S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate) and R(esult)
R = TypeVar("R")

if TYPE_CHECKING:

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
    return wrap(function, plain, options)


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
    check_parameters(checked, 1)
    return checked


def _argument_names(function: Any, plain: Callable[..., Any]) -> list[str]:
    """Return the parameters but that of the state; all, where only the class will tell which."""
    names = list(inspect.signature(plain).parameters)
    return names[1:] if isinstance(function, staticmethod) or not is_in_class(plain) else names
