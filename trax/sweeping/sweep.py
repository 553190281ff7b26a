"""`sweep`: runs a decorated function for each case of a grid, on any engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict, TypeVar, Unpack, overload

from trax._public import public
from trax.calls.options import check_option, checks_keywords
from trax.display import show
from trax.engine.driver import Driver
from trax.errors import UsageError
from trax.hooks import Display
from trax.mapping.executors import check_executor, default_in_flight
from trax.storage.store import Store
from trax.sweeping.cases import Grid, check_names
from trax.sweeping.sweep_driver import Plan, Replaced, Sweep
from trax.whole_numbers import check_whole
from trax.wrapper import call_of, is_decorated

if TYPE_CHECKING:
    from trax.engine.driver import Unknown
    from trax.frames.locals import Locals
    from trax.wrapper import Resumable

__all__ = ["sweep"]

S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate) and R(esult)
R = TypeVar("R")
X = TypeVar("X")

_IN_FLIGHT = 256  # where no executor says it

_Grid: TypeAlias = Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]]


class _Submits(Protocol):
    """What can run a case: an executor, a client of Dask, or whatever returns a future."""

    def submit(self, fn: Any, /, *args: Any) -> Any: ...


class _Given(TypedDict, total=False):
    executor: Executor | _Submits | None
    in_flight: int | None
    progress: bool | Callable[[str, int], Display] | None
    fresh: bool


@overload
def sweep(
    function: Resumable[..., Any, Unknown], grid: _Grid, **options: Unpack[_Given]
) -> Sweep[Any]: ...
@overload
def sweep(
    function: Resumable[..., Locals, Generator[I, Any, None]],
    grid: _Grid,
    **options: Unpack[_Given],
) -> Sweep[I]: ...
@overload
def sweep(
    function: Resumable[..., S, Generator[I, Any, None]], grid: _Grid, **options: Unpack[_Given]
) -> Sweep[S]: ...
@overload
def sweep(
    function: Resumable[..., Any, Generator[I, Any, R]], grid: _Grid, **options: Unpack[_Given]
) -> Sweep[R]: ...
@overload
def sweep(
    function: Resumable[..., Locals, Iterator[I] | AsyncIterator[I]],
    grid: _Grid,
    **options: Unpack[_Given],
) -> Sweep[I]: ...
@overload
def sweep(
    function: Resumable[..., S, Iterator[I] | AsyncIterator[I]],
    grid: _Grid,
    **options: Unpack[_Given],
) -> Sweep[S]: ...


@public
@checks_keywords()
def sweep(
    function: Any,
    grid: Any,
    *,
    executor: Any = None,
    in_flight: int | None = None,
    progress: Any = None,
    fresh: bool = False,
) -> Sweep[Any]:
    """Run a function of `resumable` for each case of a grid, here or on any engine.

    The cases come in the order in which they end. Each is a run of its own, which its worker
    stores; the sweep itself stores nothing. A run that was done before is answered from the store
    and needs no worker. One that fails ends nothing: its exception is the case's. After a crash run
    the same script again, and the runs go on from where they were.

    Nothing is retried, and nothing is scheduled: that is for the engine.

    Parameters
    ----------
    function : Resumable
        The decorated function. Its name template must tell the cases apart.
    grid : mapping or iterable of mappings
        The values of each argument, of which all combinations are run, as in
        ``{"seed": range(100), "n": [10_000]}``. Or the arguments of each case.
    executor : object with a method ``submit``, optional
        Runs the cases: an executor of concurrent.futures, joblib or submitit, or a client of Dask.
        ``submit(function, *arguments)`` must return a future with `done` and `result`. All workers
        must see the directory of the store. By default the cases run here, one after the other.
    in_flight : int, optional
        The number of cases at a time that run, wait for a worker, or wait to be handed out. By
        default twice the number of the executor's workers, or 256 if it does not tell that.
    progress : bool or callable, optional
        One display for the whole sweep, as for `resumable`; by default that of the function, whose
        runs then have none.
    fresh : bool
        Whether every run starts over; the stored one is moved aside when its case begins. A case
        that the engine tries again goes on, and so does a second iteration.

    Returns
    -------
    Sweep
        The cases: an iterable of `Case`, with a length and `close`.

    Raises
    ------
    UsageError
        At once, if an argument is invalid, or two cases would share a run.
    CallError
        At once, if the arguments of a case do not fit the function.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> import trax
    >>> @trax.resumable(name="logistic-{r}")
    ... def logistic(r, n):
    ...     x = 0.5
    ...     for _ in range(n):
    ...         x = r * x * (1 - x)
    ...         yield x
    ...     return round(x, 3)
    >>> with ThreadPoolExecutor(2) as pool:
    ...     for case in trax.sweep(logistic, {"r": [2, 2.8], "n": [50]}, executor=pool):
    ...         assert case.error is None
    >>> [(case.arguments["r"], case.result) for case in trax.sweep(logistic, {"r": [2], "n": [50]})]
    [(2, 0.5)]
    """
    if not is_decorated(function):
        raise _refusal(function)
    if not isinstance(fresh, bool):
        raise UsageError(f"fresh must be True or False, not {show(fresh)}")
    check_executor(executor, "sweep")
    if in_flight is None:
        in_flight = default_in_flight(executor, _IN_FLIGHT)
    elif executor is None:
        raise UsageError(
            "in_flight needs an executor: without one, cases run here, one after the other"
        )
    checked = Grid(grid)
    check_names(function, checked)
    call = call_of(function, {})
    options = call.options
    store = Store(options.traxdir)
    return Sweep(
        Plan(
            function=function,
            name=call.function.__name__,
            grid=checked,
            executor=executor,
            in_flight=check_whole(in_flight, "in_flight"),
            store=store,
            progress=_display(options.progress if progress is None else progress),
            signals=options.signals,
            time_limit="auto" if options.time_limit == "auto" else None,
            replaced=Replaced(store, is_all=fresh),
        )
    )


def _refusal(given: Any) -> UsageError:
    shown, way = show(given), "To call an ordinary function for many items, use trax.map."
    inner: Any = given.func if isinstance(given, partial) else getattr(given, "__self__", None)
    if is_decorated(inner):
        way = f"Give {inner.__name__} itself, and all of its arguments in the grid."
        if not isinstance(given, partial):
            shown = f"{inner.__name__}.{given.__name__}"
            way += "\nTo start over, add fresh=True." * (given.__name__ == "fresh")
    elif isinstance(given, Driver):
        way = "Give the function, and not a call of it: its arguments are in the grid."
    elif isgeneratorfunction(given) or isasyncgenfunction(given):
        way = f"Write @trax.resumable above def {given.__name__}."
    return UsageError(f"sweep() takes a function decorated with resumable, not {shown}.\n{way}")


def _display(progress: Any) -> Any:
    """Return what makes the display of a sweep."""
    checked = check_option("progress", progress)
    if checked is None:
        return None
    is_bar = getattr(checked, "__module__", "") == "trax.integrations.tqdm"
    if not is_bar:
        return checked
    from trax.integrations.tqdm import RunsBar

    return RunsBar
