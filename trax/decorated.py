"""The types of decorated functions, as type checkers see them; at run time all of them are one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

from trax.engine.async_driver import AsyncRun
from trax.engine.driver import Unknown
from trax.engine.sync_driver import Run
from trax.frames.locals import Locals

if TYPE_CHECKING:
    from trax.testing.trials import Checked

__all__ = [
    "AsyncResumable",
    "Declared",
    "DeclaredDecorator",
    "Plain",
    "PlainDecorator",
    "Resumable",
]

P = ParamSpec("P")
Q = ParamSpec("Q")
S = TypeVar("S")
I = TypeVar("I")  # noqa: E741  # increment, beside S(tate) and R(esult)
R = TypeVar("R")
T = TypeVar("T")  # an object, or its class
X = TypeVar("X")  # the state of a method
T_contra = TypeVar("T_contra", contravariant=True)
X_contra = TypeVar("X_contra", contravariant=True)

# What the function returns is one type, which is taken apart when it is called. If overloads of the
# decorator did that, all of it would be Any as soon as one parameter is.
G = TypeVar("G", bound=Iterator[Any] | AsyncIterator[Any])
G_co = TypeVar("G_co", covariant=True)


class Resumable(Generic[P, S, G_co]):
    """A function decorated with `resumable`, which the caller passes P.

    S is its state, and G_co what the function returns as it is written.
    """

    __name__: str
    __qualname__: str

    @overload  # the first that fits counts: a generator is an iterator too
    def __call__(self: Resumable[P, S, Unknown], *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self: Resumable[P, S, Generator[I, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> Run[S, I, R]: ...
    @overload
    def __call__(
        self: Resumable[P, S, Iterator[I]], *args: P.args, **kwargs: P.kwargs
    ) -> Run[S, I, None]: ...
    @overload
    def __call__(
        self: Resumable[P, S, AsyncIterator[I]], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncRun[S, I]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...

    @overload
    def fresh(self: Resumable[P, S, Unknown], *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def fresh(  # type: ignore[overload-overlap]
        self: Resumable[P, S, Generator[I, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> Run[S, I, R]: ...
    @overload
    def fresh(
        self: Resumable[P, S, Iterator[I]], *args: P.args, **kwargs: P.kwargs
    ) -> Run[S, I, None]: ...
    @overload
    def fresh(
        self: Resumable[P, S, AsyncIterator[I]], *args: P.args, **kwargs: P.kwargs
    ) -> AsyncRun[S, I]: ...
    def fresh(self, *args: Any, **kwargs: Any) -> Any:
        """Start over: the stored run is moved aside when the run begins."""

    def check(self, *args: P.args, **kwargs: P.kwargs) -> Checked:
        """Check on a short run that the loop resumes exactly."""
        raise NotImplementedError

    def load(self, *args: Any, **kwargs: Any) -> S:
        """Return the stored state, without running the loop or locking the run.

        With ``step=`` it is the state of an earlier step, unless the function has such an argument.
        Without `create` it is a `trax.Locals`: the local variables that were stored last.
        """
        raise NotImplementedError


AsyncResumable: TypeAlias = Resumable[P, S, AsyncIterator[I]]


class _First(Protocol[T_contra, Q, G_co]):
    """A function whose first parameter is its object or class."""

    @property
    def __wrapped__(self) -> Callable[Concatenate[T_contra, Q], G_co]: ...


class _Second(Protocol[T_contra, X_contra, Q, G_co]):
    """A function whose second parameter is the state, after its object or class."""

    @property
    def __wrapped__(self) -> Callable[Concatenate[T_contra, X_contra, Q], G_co]: ...


class Plain(Resumable[P, Locals, G_co]):
    """A function decorated without `create`: its local variables are the state."""

    @property
    def __wrapped__(self) -> Callable[P, G_co]:
        raise NotImplementedError

    @overload  # a class method
    def __get__(
        self: _First[type[T], Q, G_co], instance: Any, owner: type[T], /
    ) -> Resumable[Q, Locals, G_co]: ...
    @overload  # a method of the class
    def __get__(self, instance: None, owner: Any, /) -> Plain[P, G_co]: ...
    @overload  # a method
    def __get__(
        self: _First[T, Q, G_co], instance: T, owner: Any, /
    ) -> Resumable[Q, Locals, G_co]: ...
    @overload  # a static method
    def __get__(self, instance: object, owner: Any, /) -> Plain[P, G_co]: ...
    def __get__(self, instance: Any, owner: Any, /) -> Any: ...


class Declared(Resumable[P, S, G_co]):
    """A function decorated with `create`: its first parameter is the state."""

    @property
    def __wrapped__(self) -> Callable[Concatenate[S, P], G_co]:
        raise NotImplementedError

    @overload  # a class method
    def __get__(
        self: _Second[type[T], X, Q, G_co], instance: Any, owner: type[T], /
    ) -> Resumable[Q, X, G_co]: ...
    @overload  # a method of the class
    def __get__(
        self: _Second[T, X, Q, G_co], instance: None, owner: type[T], /
    ) -> Resumable[Concatenate[T, Q], X, G_co]: ...
    @overload  # a static method of the class
    def __get__(self, instance: None, owner: Any, /) -> Declared[P, S, G_co]: ...
    @overload  # a method
    def __get__(
        self: _Second[T, X, Q, G_co], instance: T, owner: Any, /
    ) -> Resumable[Q, X, G_co]: ...
    @overload  # a static method
    def __get__(self, instance: object, owner: Any, /) -> Declared[P, S, G_co]: ...
    def __get__(self, instance: Any, owner: Any, /) -> Any: ...


class PlainDecorator(Protocol):
    """The decorator that `resumable` returns for options without `create`."""

    def __call__(self, function: Callable[P, G], /) -> Plain[P, G]: ...


class DeclaredDecorator(Protocol):
    """The decorator that `resumable` returns for options with `create`."""

    def __call__(self, function: Callable[Concatenate[S, P], G], /) -> Declared[P, S, G]: ...
