"""The decorator: a generator function, ordinary or async, whose loop survives."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar, Unpack, overload

from trax.calls.options import Given, Options, check_keywords, keyword_parameters
from trax.errors import UsageError
from trax.wrapper import AsyncResumable, Resumable, check_parameters, is_in_class, wrap

__all__ = ["AsyncResumable", "Resumable", "resumable"]

P = ParamSpec("P")
S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate) and R(esult)
R = TypeVar("R")

if TYPE_CHECKING:

    class _Decorator(Protocol):
        """A decorator, as `resumable` with options returns it."""

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
def resumable(**options: Unpack[Given]) -> _Decorator: ...


def resumable(function: Any = None, /, **options: Unpack[Given]) -> Any:
    """Make the loop of a generator function survive, or of an async one.

    Every ``state = yield increment`` is one step: the increment is logged, folded into the
    state, and only then handed to the caller. After a crash the same call brings back the newest
    checkpoint, replays the log on top and continues.

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
        Arguments that may differ between calls that resume the same run, such as a number
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
        more ways to be called: ``fresh(...)`` moves what is stored aside and starts over,
        ``load(...)`` returns the stored state without running anything.

    Raises
    ------
    TypeError
        At once, if there is no such option.
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
    check_keywords(options)
    if function is None:
        return functools.partial(resumable, **options)
    plain = _check_function(function)
    arguments = _argument_names(function, plain)
    return wrap(function, plain, Options.check(options, plain.__name__, arguments))


def _signature() -> inspect.Signature:
    """Return the signature of `resumable` with each of its options."""
    shown = inspect.signature(resumable)
    function, _ = shown.parameters.values()
    return shown.replace(parameters=[function, *keyword_parameters()])


resumable.__signature__ = _signature()  # type: ignore[attr-defined]


def _check_function(function: Any) -> Callable[..., Any]:
    """Return the plain function behind what is decorated, if it can be run."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    described = getattr(plain, "__qualname__", repr(plain))
    if inspect.iscoroutinefunction(plain):
        raise UsageError(
            f"{described} is a coroutine function, which cannot be resumed.\n"
            "With a 'yield' in its body, which hands out an increment, it is an async generator."
        )
    if not inspect.isgeneratorfunction(plain) and not inspect.isasyncgenfunction(plain):
        raise UsageError(
            f"{described} is not a generator function, which alone can be resumed.\n"
            "Its body needs at least one 'yield', which hands out an increment.\n"
            "@trax.resumable stands directly above its def, @classmethod or @staticmethod."
        )
    checked: Callable[..., Any] = plain
    check_parameters(checked, 1)
    return checked


def _argument_names(function: Any, plain: Callable[..., Any]) -> list[str]:
    """Return the parameters but that of the state; all, where only the class will tell which."""
    names = list(inspect.signature(plain).parameters)
    return names[1:] if isinstance(function, staticmethod) or not is_in_class(plain) else names
