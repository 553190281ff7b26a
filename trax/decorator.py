"""The decorator that makes the loop of a generator function, ordinary or async, survive crashes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack, overload

from trax._public import public
from trax.calls.options import Given, GivenWithState, Options, check_keywords, keyword_parameters
from trax.calls.signatures import signature
from trax.errors import UsageError
from trax.wrapper import AsyncResumable, Resumable, check_state_parameter, is_in_class, wrap

__all__ = ["AsyncResumable", "Resumable", "resumable"]

if TYPE_CHECKING:
    from trax.decorated import DeclaredDecorator, G, P, Plain, PlainDecorator


@overload
def resumable(function: Callable[P, G], /) -> Plain[P, G]: ...
@overload
def resumable(**options: Unpack[Given]) -> PlainDecorator: ...
@overload
def resumable(**options: Unpack[GivenWithState]) -> DeclaredDecorator: ...
@public
def resumable(function: Any = None, /, **options: Any) -> Any:
    """Make the loop of a generator function, ordinary or async, survive crashes.

    `create` says what the state is, and the function takes it as its first parameter. Without
    `create` the loop's own local variables are the state, and the function is called just as it is
    written. Every `yield` is one step: its increment is logged, and only then handed to the caller.

    Without `create` the local variables are stored as often as 1 % of the time allows. After a
    crash the same call goes on at the yield where they were stored last; the steps after it are run
    again and compared with the log. Arguments that the loop changes are changed in place.

    With a declared state, every ``state = yield increment`` folds the increment into the state
    before it is handed to the caller. After a crash the same call loads the newest checkpoint,
    replays the log on it and continues. trax supplies the state, and the caller passes the other
    arguments. The generator never changes the state itself, unless `replay_log` is None.

    Parameters
    ----------
    create : callable, optional
        Makes the first state. It is called with the arguments of the call that it names. If it is
        left out, the loop's local variables are the state.
    replay_log : callable, str or None, optional
        ``replay_log(state, increment) -> state``: makes the new state from an increment, both live
        and in recovery. It may change `state` and return it. A str is the name of a method of the
        state that does so: ``"append"`` for a list, ``"add"`` for a set, ``"update"`` for a dict.
        If it is left out, the increment is the new state. None: increments cannot be replayed and
        are not logged, the loop may change the state itself, and recovery goes back to the newest
        checkpoint. It needs `create`.
    every_steps : int, optional
        The number of steps after which a checkpoint is due.
    every_seconds : float or timedelta, optional
        The time after which a checkpoint is due, in seconds or as a timedelta.
    policy : callable, optional
        ``policy(since) -> bool``: decides after every step if a checkpoint is due; `since` is a
        `Since`. If several of these three are given, a checkpoint is due as soon as one of them
        says so. If none is given, `trax.automatic` decides.
    name : str, optional
        The run's name, by default the function's; or a template over the arguments such as
        ``"lorenz-{seed}"``, which gives one run for each value.
    varying : tuple of str, optional
        Arguments that may differ between calls that resume the same run, such as a total number
        of steps.
    traxdir : str or os.PathLike, optional
        The directory of the store; by default ``$TRAX_DIR``, or ``.trax`` if that is not set.
    sync : {"interval", "always", "os", "replica"}
        The time at which increments are forced to the disk: at most a second later, before each is
        handed out, or when the operating system chooses. Increments that were handed out survive
        the death of the process in any case; with ``"always"`` also a power cut. With ``"replica"``
        each is handed out once it is in the replica, so that it survives the loss of the machine.
        Checkpoints are always forced.
    replica : str or os.PathLike, optional
        A store of objects to which the run is copied as it goes on, such as
        ``"s3://bucket/runs"``, or a directory that outlives the machine; by default
        ``$TRAX_REPLICA``, and none if it is empty. A call on a machine without the run's files
        gets them from there. Whoever opens a run last has it: another machine that still runs it
        gets a `LockedError`.
    replica_seconds : float or timedelta
        The time between two copies of what is new.
    keep : int, "all" or Keep
        The number of checkpoints that are kept, the newest ones, so that an older one can replace a
        damaged one. Or which are kept so that `load`, `rewind` and `fork` can go back to earlier
        steps: all of them, or those that a policy chooses: `keep_every`, `keep_for`, `keep_bytes`.
    background : bool
        Whether a large checkpoint may be written while the loop goes on. That takes memory for a
        copy of the state's arrays; if it is scarce, the loop waits. It does so in any case if
        increments are not logged, and for the first and the last checkpoint.
    progress : bool or callable
        Whether to draw a progress bar, with tqdm. Or a class of other displays: see `Display`.
    total : int or str, optional
        The total number of steps, or the name of the argument that is this number, or has this
        length. It is for displays, and for ``len(run)``, the number of steps that are left;
        `trax.steps` and `trax.remaining` give it by themselves when the loop begins.
    rng : RNG, list of RNGs, or None
        The random number generators (RNGs) that the loop draws from, in addition to those that are
        found: the global ones of `random`, `numpy.random` and `torch`, those in the state, and
        those that are an argument, an attribute of one, or a variable of the function's module. A
        resumed loop draws the same numbers from all of them as an uninterrupted one. In another
        thread than the main one, the global ones are left to all threads, unless their module is
        named, as in ``rng=random``. None: random numbers are left alone.
    renames : mapping of str to str, optional
        The new names of classes and functions that stored objects refer to, by their old names, as
        in ``{"old.module.Class": "new.module.Class"}``. A class includes its methods, and a module
        all its contents. If several names fit, the longest counts.
    version : int
        The version of the state. Increase it when the loop needs another state than the former
        script has stored.
    migrate : callable, optional
        ``migrate(state, from_version) -> state``: migrates the state of an older version. It is
        called with the state of the checkpoint, before the log is replayed on it by the present
        `replay_log`, which must understand the old increments, too. If the increment is the state,
        it is called with the newest one instead. Without `create` it is called with the local
        variables by name, and returns such a mapping. The result is stored at once. A finished run
        is migrated in memory each time, and the return value of its loop stays the same.
    signals : iterable of int or str, or None
        The signals that stop the loop, by default SIGTERM: the present step is finished, a
        checkpoint is stored, and `Preempted` is raised when the next increment is requested. A
        second one ends the program at once. Ctrl-C does the same and raises `KeyboardInterrupt`;
        with ``()`` it is the only one. None: trax leaves all signals alone.
    time_limit : float, timedelta, "auto" or None
        The time that a call may take, in seconds or as a timedelta, from the moment at which it
        loads the run. The loop stops in the same way when the remaining time is less than the sum
        of its longest step, a checkpoint and a margin. The margin is 30 seconds, or 5 % of the
        limit if that is less. One step is done in any case. ``"auto"``: until the end of the SLURM
        job, if ``$SLURM_JOB_END_TIME`` gives it. None: no limit.
    wait : float or timedelta
        The time to wait for another process or thread that holds the run, in seconds or as a
        timedelta; then a `LockedError` is raised. 0: it is raised at once.
    on_resume : callable, optional
        A hook: it is called with an `Event` when a stored run resumes, in the loop's thread, before
        the loop goes on. What a hook raises ends the call, with all steps stored; if another
        exception is being raised, that one goes on, and a line tells of the hook's.
    on_checkpoint : callable, optional
        A hook for each checkpoint that is stored. Of one that is written in the background it is
        told at a step soon after.
    on_stop : callable, optional
        A hook that is called after the run was released, however it has ended.
    check : bool
        Whether to read a function with a declared state for what would not resume exactly, and to
        give a `ResumeWarning` for it.

    Returns
    -------
    Resumable or AsyncResumable
        The function. A call of it returns a `Run`, or an `AsyncRun` if it is async. It has two
        more ways to be called: ``fresh(...)`` moves the stored run aside and starts over,
        ``load(...)`` returns the stored state without running anything.

    Raises
    ------
    TypeError
        At once, if there is no such option.
    UsageError
        At once, if an option or the function cannot work, such as a function without `create` that
        uses the value of its `yield`. When the run is opened, if it was stored by a newer version,
        or by an older one and there is no `migrate`.
    DivergedError
        When the run is opened, if a step of a loop without `create` is run again and gives
        something else than the log has.

    Examples
    --------
    >>> import trax
    >>> @trax.resumable
    ... def fibonacci(below):
    ...     a, b = 0, 1
    ...     while b < below:
    ...         a, b = b, a + b
    ...         yield a
    ...     return b
    >>> fibonacci(below=100).result()
    144

    With a declared state:

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
    arguments = _argument_names(function, plain, has_state="create" in options)
    checked = Options.check(options, plain.__name__, arguments)
    if checked.is_plain:
        _check_loop(getattr(function, "__func__", function), plain)
    else:
        check_state_parameter(plain, 1)
        if checked.is_checked:
            _read(plain, checked)
    return wrap(function, plain, checked)


def _check_loop(given: Any, plain: Any) -> None:
    """Refuse a plain loop that could not go on after a crash; `given` may have decorators."""
    from trax.frames.program import program_of
    from trax.frames.refusals import check

    check(given, program_of(plain.__code__, provides_iterators=True))


def _read(plain: Any, options: Options) -> None:
    """Warn if a loop with a declared state would not resume exactly."""
    from trax.lint.reader import warn

    warn(plain, options)


def _show_options() -> None:
    """Let `inspect` and `typing` see each option of `resumable`, as they see parameters."""
    shown, options = inspect.signature(resumable), keyword_parameters()
    function, _ = shown.parameters.values()
    resumable.__signature__ = shown.replace(parameters=[function, *options])  # type: ignore[attr-defined]
    del resumable.__annotations__["options"]
    resumable.__annotations__.update((option.name, option.annotation) for option in options)


_show_options()


def _check_function(function: Any) -> Callable[..., Any]:
    """Return the plain function that is decorated, if it can be run."""
    plain = inspect.unwrap(getattr(function, "__func__", function))
    if not inspect.isfunction(plain):
        raise _no_function_error(plain)
    described = plain.__qualname__
    if inspect.iscoroutinefunction(plain):
        raise UsageError(
            f"{described} is a coroutine function, which cannot be resumed.\n"
            "Add a 'yield' that hands out an increment, which makes it an async generator function."
        )
    if not inspect.isgeneratorfunction(plain) and not inspect.isasyncgenfunction(plain):
        raise UsageError(
            f"{described} cannot be resumed: it is not a generator function.\n"
            "Its body needs at least one 'yield', which hands out an increment.\n"
            "@trax.resumable must be directly above its def, @classmethod or @staticmethod."
        )
    if isinstance(function, type(functools.cache(len))):
        raise UsageError(
            f"{described} cannot be resumed: functools.cache returns the same generator again.\n"
            "Take it away: trax stores the result of a run itself."
        )
    checked: Callable[..., Any] = plain
    return checked


def _no_function_error(given: Any) -> UsageError:
    """Return the error for something else than a function under the decorator."""
    if isinstance(given, type):
        return UsageError(
            f"resumable() got the class {given.__qualname__} instead of a function.\n"
            f"To create the state with it, write @trax.resumable(create={given.__qualname__})."
        )
    if isinstance(given, functools.partial):
        return UsageError(
            "resumable() got a functools.partial, which has no name.\n"
            "Decorate the function itself, and give it the values when you call it."
        )
    return UsageError(
        f"resumable() got {type(given).__name__!r}, which is not a generator function.\n"
        "Write @trax.resumable above the def of one, also of a method.\n"
        "Options are given by name, as in @trax.resumable(create=int)."
    )


def _argument_names(function: Any, plain: Callable[..., Any], *, has_state: bool) -> list[str]:
    """Return the parameters without the state; all of them if that depends on the class."""
    names = list(signature(plain).parameters)
    is_first = isinstance(function, staticmethod) or not is_in_class(plain)
    return names[1:] if has_state and is_first else names
