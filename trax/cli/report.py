"""``trax report``: one page about a store, that needs nothing else and asks nobody."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator

import click

from trax._version import __version__
from trax.cli.common import common, is_json, matching, names, replacing, survey
from trax.cli.ls import HEAD, UNREAD, row, summary, totals
from trax.cli.panels import make_panels
from trax.cli.screen import write, write_json
from trax.cli.svg import PAGE_STYLE, STYLE, figure, safe
from trax.display import count
from trax.errors import TraxError
from trax.survey.details import Details, details
from trax.survey.run_info import RunInfo
from trax.survey.runs import Survey
from trax.survey.series import marks_of, read_series
from trax.survey.texts import clock, duration, size

__all__ = ["report"]

_DRAWN = 50  # runs, the newest, with pictures
_PANELS = 6  # of a run
_POINTS = 800  # of a line

_PAGE = (
    STYLE
    + PAGE_STYLE
    + """
body { margin: 0 auto; padding: 1rem; max-width: 60rem; font: 15px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--page); }
h1 { font-size: 1.4rem; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .3rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; white-space: nowrap;
  border-bottom: 1px solid var(--faint); }
th { color: var(--dim); font-weight: 500; }
a { color: inherit; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .3rem 0; }
dt, footer { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr));
  gap: 1rem; margin-top: 1rem; }
.running, .done { color: var(--line3); }
.failed, .damaged, .signed, .untrusted { color: var(--line4); font-weight: 600; }
.killed { color: var(--line2); }
.stopped, .paused { color: var(--line0); }
.bar { display: block; height: .3rem; background: var(--line0); border-radius: .15rem; }
"""
)


@click.command(
    epilog="""\b
Examples:
  trax report                writes trax-report.html
  trax report 'fit-*' -o fits.html
  trax report s3://bucket/sweep
  trax report -o - | ssh host 'cat > public_html/runs.html'

The exit status is 1 if a run cannot be read, or none has the name.
"""
)
@names(required=False, of_replicas=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    default="trax-report.html",
    help="The file to write, by default trax-report.html.",
)
@common
@click.pass_context
def report(context: click.Context, /, names: tuple[str, ...], output: str, **_: object) -> int:
    """Write a page of HTML about the runs, with their plots.

    It is one file, light or dark as the reader likes, without scripts, and makes no request.
    """
    store = survey(context)
    infos = list(store.runs(matching(store, names) if names else None))
    if output == "-":
        sys.stdout.writelines(_page(store, infos))
        sys.stdout.flush()
    else:
        with replacing(output) as path, open(path, "w", encoding="utf-8") as file:
            file.writelines(_page(store, infos))
        if is_json(context):
            write_json({"path": os.path.abspath(output), "runs": len(infos)})
        else:
            write([f"{output}: {summary(store, infos, store.aside_bytes())}"])
    return int(any(info.state in UNREAD for info in infos))


def _page(store: Survey, infos: list[RunInfo]) -> Iterator[str]:
    """Yield the page in pieces."""
    now = time.time()
    yield (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Runs in {safe(store.path)}</title>\n<style>{_PAGE}</style>\n</head>\n<body>\n"
        f"<h1>Runs in {safe(store.path)}</h1>\n"
        f"<p>{totals(infos, store.aside_bytes())}. {_states(infos)}</p>\n"
    )
    newest = sorted(infos, key=lambda info: info.last or 0.0, reverse=True)[:_DRAWN]
    drawn = {info.name: f"run-{number}" for number, info in enumerate(newest)}
    yield from _table(infos, drawn, now)
    for info in newest:
        yield _section(store, info, drawn[info.name])
    others = len(infos) - len(newest)
    more = f" The {others:,} runs with older steps have no plots." if others else ""
    yield (
        f"<footer><p>Written by trax {__version__} on {clock(now)}.{more}</p></footer>\n"
        "</body>\n</html>\n"
    )


def _states(infos: Iterable[RunInfo]) -> str:
    counts: dict[str, int] = {}
    for info in infos:
        counts[info.state] = counts.get(info.state, 0) + 1
    return ", ".join(f"{number:,} {state}" for state, number in sorted(counts.items()))


def _table(infos: list[RunInfo], drawn: dict[str, str], now: float) -> Iterator[str]:
    """Yield the table of all runs, with a bar for the part of the store that each takes."""
    largest = max((info.size for info in infos), default=0) or 1
    yield '<div class="wide">\n<table>\n<tr>'
    yield "".join(f'<th scope="col">{text}</th>' for text in HEAD) + "</tr>\n"
    for info in infos:
        texts = [safe(text) for text, _ in row(info, now)]
        texts[HEAD.index("LAST")] = clock(info.last)  # a page may be read much later
        if info.name in drawn:
            texts[0] = f'<a href="#{drawn[info.name]}">{texts[0]}</a>'
        texts[1] = f'<span class="{info.state}">{texts[1]}</span>'
        texts[-1] += f'<span class="bar" style="width: {100 * info.size / largest:.1f}%"></span>'
        yield "<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>\n"
    yield "</table>\n</div>\n"


def _section(store: Survey, info: RunInfo, anchor: str) -> str:
    """Return what is known of one run, and its plots."""
    try:
        return "".join(_about(store, info, anchor))
    except (TraxError, OSError) as error:
        problem = str(error).partition("\n")[0]
        return f'<h2 id="{anchor}">{safe(info.name)}</h2>\n<p>{safe(problem)}</p>\n'


def _about(store: Survey, info: RunInfo, anchor: str) -> Iterator[str]:
    """Yield the parts of a section."""
    one = details(store, info.name, most=_POINTS)
    if one is None:  # it was removed meanwhile
        return
    states = dict.fromkeys([one.info.state] + ["damaged"] * (one.good is False))
    shown = " ".join(f'<span class="{state}">{state}</span>' for state in states)
    yield f'<h2 id="{anchor}">{safe(info.name)} {shown}</h2>\n<dl>\n'
    for label, text in _facts(one):
        if text:
            yield f"<dt>{label}</dt><dd>{safe(text)}</dd>\n"
    yield "</dl>\n"
    series = one.series or read_series(store, info.name, most=_POINTS)
    panels = make_panels([(series, marks_of(store, info.name))])[:_PANELS]
    if panels:
        figures = "".join(figure(panel, is_named=False) for panel in panels)
        yield f'<div class="plots">\n{figures}</div>\n'


def _facts(one: Details) -> Iterator[tuple[str, str]]:
    """Yield what is known of a run, with labels."""
    info = one.info
    yield "problem", info.problem or ""
    if info.error is not None:
        place = f" ({info.error.file}:{info.error.line})" if info.error.file else ""
        yield "error", f"{info.error.type}: {info.error.message}{place}"
    total = f" of {info.total:,}" if info.total is not None else ""
    yield "step", f"{info.step:,}{total}" if info.step is not None else ""
    yield "stopped by", info.reason or ""
    yield "arguments", ", ".join(f"{key}={text}" for key, text in one.arguments.items())
    yield "began", clock(info.began) if info.began is not None else ""
    yield "took", duration(info.seconds) if info.seconds is not None else ""
    yield "resumed", count(info.resumes, "time") if info.resumes else ""
    yield "host", f"{info.host}, pid {info.pid}" if info.host else ""
    yield "code", {True: "edited since", False: "not edited since", None: ""}[one.code_edited]
    health = {True: ", verified", False: ", damaged (trax verify)", None: ""}[one.good]
    yield "disk", f"{size(info.size)}{health}"
