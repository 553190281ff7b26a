"""``trax rm``: removes runs."""

from __future__ import annotations

from collections import Counter

import click

from trax.cli.common import (
    common,
    confirm,
    is_json,
    is_url,
    matching,
    may_ask,
    names,
    refuse_live,
    survey,
)
from trax.cli.screen import write, write_json
from trax.display import count
from trax.errors import one_line
from trax.replica.marker import replica_of
from trax.storage.store import Store
from trax.survey.run_info import RunInfo
from trax.survey.texts import place, size

__all__ = ["rm"]


@click.command(
    epilog="""\b
Examples:
  trax rm fit                tells what it would remove, and asks
  trax rm 'fit-*' --yes
  trax rm s3://bucket/sweep fit  its replica: nobody goes on writing it

Copies of runs that lie in aside/ are removed by trax prune.
The exit status is 1 if one of them is running, or none has the name.
"""
)
@names(required=True, of_replicas=True)
@may_ask
@common
@click.pass_context
def rm(context: click.Context, /, names: tuple[str, ...], yes: bool, **_: object) -> int:
    """Remove runs for good: their checkpoints and logs.

    Files that the runs have written stay.
    """
    store = survey(context)
    chosen = matching(store, names)
    refuse_live(store, chosen)
    infos = [info for info in map(store.run, chosen) if info is not None]
    confirm(_plan(infos, store.path), yes=yes)
    urls = {} if is_url(store.path) else _replicas(Store(store.path), chosen)
    for name in chosen:
        store.remove(name)
    freed = sum(info.size for info in infos)
    if is_json(context):
        write_json({"removed": chosen, "freed": freed, "replicas": urls})
    else:
        write([f"{count(len(chosen), 'run')} removed, {size(freed)} freed", *_left(urls)])
    return 0


def _replicas(store: Store, names: list[str]) -> dict[str, str]:
    """Return the URL of each run's replica, if it has one."""
    found = {name: replica_of(store, name) for name in names}
    return {name: url if is_url(url) else f"file://{url}" for name, url in found.items() if url}


def _left(urls: dict[str, str]) -> list[str]:
    """Return a line for each replica that still has some of the runs."""
    counts = Counter(urls.values())
    return [
        f"{one_line(url)} may still have {count(counts[url], 'run')} of these; trax rm "
        f"{one_line(url)} NAME... removes them there"
        for url in sorted(counts)
    ]


def _plan(infos: list[RunInfo], path: str) -> list[str]:
    lines = []
    for info in infos:
        step = f" at step {info.step:,}" if info.step is not None else ""
        lines.append(f"{one_line(info.name)}  {info.state}{step}, {size(info.size)}")
    total = size(sum(info.size for info in infos))
    where = one_line(place(path))
    return [*lines, f"{count(len(infos), 'run')} in {where} to be removed for good: {total}"]
