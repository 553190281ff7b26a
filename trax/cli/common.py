"""The options that all commands have, and names of runs, which a shell can complete."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from trax.errors import TraxError, one_line
from trax.replica.objects import full_url
from trax.storage.filenames import has_replicas, temporary
from trax.storage.filesystem import move
from trax.survey.runs import Survey
from trax.survey.texts import place

__all__ = [
    "common",
    "confirm",
    "is_json",
    "is_meant",
    "is_url",
    "matching",
    "may_ask",
    "name",
    "names",
    "one",
    "place_of",
    "rather",
    "refuse_live",
    "replacing",
    "store_url",
    "survey",
]

F = TypeVar("F", bound=Callable[..., Any])

_URL = "trax.url"  # a key of click's context


class _StorePath(click.Path):
    """The directory of a store, or a URL of replicas."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if is_url(value) else super().convert(value, param, ctx)


def is_url(value: object) -> bool:
    """Return whether an argument is the URL of replicas, and not a name or a path."""
    return isinstance(value, str) and "://" in value


def place_of(word: str) -> str | None:
    """Return the URL that a word is, or the path of a directory; None if it is a name."""
    if is_url(word):
        return word
    return f"file://{full_url(word)}" if "/" in word else None  # no name of a run has a slash


def _replicas_at(word: str) -> str | None:
    """Return the same for a place that has replicas already.

    Raises
    ------
    click.UsageError
        It is a directory that has none, as a store.
    """
    url = place_of(word)
    path = url.removeprefix("file://") if url and not is_url(word) else ""
    if os.path.isdir(path) and not has_replicas(path):
        shown = one_line(word)
        raise click.UsageError(f"no replicas are in {shown}: if it is a store, give --dir {shown}")
    return url


def _rather_path(word: str) -> str:
    """Return a hint if a word is no path, but the name of a directory here that has replicas."""
    return f": for the replicas in that directory write ./{one_line(word)}" * has_replicas(word)


def common(command: F) -> F:
    """Add ``--dir`` and ``--json``, which can be given before a command or after it."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
    store = click.option(
        "--dir",
        "store",
        metavar="DIR",
        type=_StorePath(exists=True, file_okay=False),
        help="The store; by default $TRAX_DIR, or .trax.",
    )
    return as_json(store(command))


def survey(context: click.Context) -> Survey:
    """Return the store that the options or the first name tell.

    Raises
    ------
    click.UsageError
        That is no directory.
    """
    given = context.meta.get(_URL) or _given(context, "store")
    if is_url(given):
        from trax.survey.replica_runs import ReplicaSurvey  # seldom needed

        return ReplicaSurvey(given)
    store = Survey(given)
    if os.path.exists(store.path) and not os.path.isdir(store.path):
        raise click.UsageError(f"{one_line(store.path)} is no directory")
    return store


def is_json(context: click.Context) -> bool:
    """Return whether to write JSON."""
    return bool(_given(context, "as_json"))


def _given(context: click.Context | None, option: str) -> Any:
    """Return an option of this command, or of the one around it."""
    while context is not None:
        if value := context.params.get(option):
            return value
        context = context.parent
    return None


def is_meant(name: str, pattern: str) -> bool:
    """Return whether a run's name is one that was given, or fits a pattern that was."""
    return name == pattern or fnmatchcase(name, pattern)


def matching(store: Survey, patterns: Iterable[str]) -> list[str]:
    """Return the runs that names or patterns mean, each once; a name comes before a pattern.

    Raises
    ------
    click.ClickException
        One of them means no run.
    """
    present = store.names()
    found: dict[str, None] = {}
    for pattern in patterns:
        fitting = [name for name in present if name == pattern]
        fitting = fitting or [name for name in present if fnmatchcase(name, pattern)]
        if not fitting:
            raise click.ClickException(_no_run(store, pattern, present))
        found |= dict.fromkeys(fitting)
    return list(found)


def _no_run(store: Survey, pattern: str, present: list[str]) -> str:
    path = one_line(store.path)
    if hint := _rather_path(pattern):
        return f"no run {one_line(repr(pattern))} in {path}{hint}"
    if not store.is_there:
        return f"there is no store {path}: name another one by --dir, or by $TRAX_DIR"
    close = [one_line(name) for name in get_close_matches(pattern, present, 1)]
    hint = f": did you mean {close[0]}?" if close else rather(store.path)
    return f"no run {one_line(repr(pattern))} in {path}{hint}"


def rather(path: str) -> str:
    """Return a hint if a directory is not a store, and has one in it."""
    inner = os.path.join(path, ".trax")
    return f": did you mean --dir {one_line(place(inner))}?" if os.path.isdir(inner) else ""


def one(store: Survey, name: str) -> str:
    """Return the name of a run, or that of the only one that a pattern means.

    Raises
    ------
    click.ClickException
        There is none, or there are several.
    """
    found = matching(store, [name])
    if len(found) > 1:
        raise click.UsageError(f"{one_line(repr(name))} means {len(found):,} runs: name one")
    return found[0]


def _complete(
    context: click.Context,
    parameter: click.Parameter,  # noqa: ARG001  # of click's protocol
    incomplete: str,
) -> list[CompletionItem]:
    given = _given(context, "store")
    if is_url(given):  # a shell that completes a name is not to wait for a network
        return []
    try:
        present = Survey(given).names()
    except (TraxError, OSError):
        return []
    return [CompletionItem(name) for name in present if name.startswith(incomplete)]


def names(*, required: bool, of_replicas: bool = False) -> Callable[[F], F]:
    """Add names of runs, or patterns such as ``fit-*``; before those of replicas comes a URL."""
    metavar = "NAME..." if required else "[NAME]..."

    def take(
        context: click.Context, parameter: click.Parameter, names: tuple[str, ...]
    ) -> tuple[str, ...]:
        if names and (url := _replicas_at(names[0])):
            context.meta[_URL], names = url, names[1:]
        if required and not names:
            raise click.MissingParameter(ctx=context, param=parameter, param_hint=repr(metavar))
        return names

    return click.argument(
        "names",
        metavar=f"[URL] {metavar}" if of_replicas else metavar,
        nargs=-1,
        callback=take,
        shell_complete=_complete,
    )


def name(command: F) -> F:
    """Add the name of one run."""
    return click.argument("name", metavar="NAME", shell_complete=_complete)(command)


def store_url(command: F) -> F:
    """Add the URL of replicas to a command that takes no names."""

    def take(context: click.Context, parameter: click.Parameter, url: str | None) -> str | None:
        found = None if url is None else _replicas_at(url)
        if url is not None and found is None:
            raise click.BadParameter(
                f"{one_line(repr(url))} is no URL or path"
                f"{_rather_path(url) or ', as s3://... and ../place are'}",
                context,
                parameter,
            )
        context.meta[_URL] = found
        return url

    return click.argument("url", metavar="[URL]", required=False, callback=take)(command)


def may_ask(command: F) -> F:
    """Add ``--yes`` to a command that changes what is stored."""
    return click.option("-y", "--yes", is_flag=True, help="Do it without asking.")(command)


def confirm(lines: Iterable[str], *, yes: bool) -> None:
    """Tell what is about to be done, and ask whether to do it.

    Raises
    ------
    click.ClickException
        It is not to be done.
    click.UsageError
        Nobody is there to be asked.
    """
    for line in lines:
        click.echo(line, err=True)
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("nothing was done: give --yes to do it without being asked")
    if not click.confirm("Go on?", err=True):
        raise click.ClickException("nothing was done")


@contextmanager
def replacing(path: str) -> Iterator[str]:
    """Give the path of a file to write in a ``with`` block; at its end it gets its own name.

    Until then a file that has the name stays as it is. A device or a pipe is written itself.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        yield path
        return
    path = os.path.abspath(path)
    begun = temporary(path)
    try:
        yield begun
        move(begun, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(begun)
        raise


def refuse_live(store: Survey, names: Iterable[str]) -> None:
    """Refuse to change a run that a process has open.

    Raises
    ------
    click.ClickException
        One of them is open, or others can write to it.
    """
    for name in names:
        info = store.run(name)
        if info is not None and info.state == "untrusted":
            raise click.ClickException(f"{one_line(name)}: {info.problem}\nNothing was done.")
        if store.is_held(name):
            state = "paused" if info and info.state == "paused" else "running"
            where = f" on {info.host}, process {info.pid}" if info and info.pid else ""
            raise click.ClickException(
                f"{one_line(name)} is {state}{where}: end it first. Nothing was done."
            )
