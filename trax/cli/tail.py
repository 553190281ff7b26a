"""``trax tail``: the newest steps of a run, and those to come."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from trax.cli.common import common, is_json, name, one, survey
from trax.cli.log import write_steps
from trax.cli.ls import UNREAD
from trax.cli.screen import write_error
from trax.errors import NotFoundError
from trax.storage.history_reader import Past
from trax.survey.runs import Survey
from trax.survey.series import newest, stored

__all__ = ["tail"]

_PAUSE = 0.5  # seconds, at least, between two looks
_SHARE = 20  # times as long as a look took


@click.command(
    epilog="""\b
Examples:
  trax tail fit              the newest 10 steps
  trax tail -f fit           and those to come, until the run ends
  trax tail -f fit --json | jq -c .values

The exit status is 1 if the run is damaged, fails or is killed, or none has the name.
"""
)
@name
@click.option("-n", "most", type=click.IntRange(0), default=10, help="How many; by default 10.")
@click.option("-f", "--follow", is_flag=True, help="Wait for more, as long as the run goes on.")
@common
@click.pass_context
def tail(context: click.Context, /, name: str, most: int, follow: bool, **_: object) -> int:
    """Write the newest steps of a run.

    With -f those to come follow, until the run ends.
    """
    store = survey(context)
    name, as_json = one(store, name), is_json(context)
    pasts = newest(store, name, max(most, 1))
    step = pasts[-1].step if pasts else 0
    if most:
        write_steps(pasts, as_json=as_json)
    while follow:
        begun = time.monotonic()
        info = store.run(name)  # before the steps are read, so that none is missed
        if info is not None and info.step is not None and info.step != step:
            if info.step < step:  # rewound, or started over
                write_error(f"{name} is back at step {info.step:,}")
                step = info.step
            step = _write(store, name, step, as_json=as_json)
        if info is None or not info.is_open:
            state = "gone" if info is None else info.state
            write_error(f"{name} is {state}")
            return int(state in ("failed", "killed", *UNREAD))
        time.sleep(max(_PAUSE, _SHARE * (time.monotonic() - begun)))
    return 0


def _write(store: Survey, name: str, step: int, *, as_json: bool) -> int:
    """Write what follows a step; return the last one."""
    newest = step

    def noted() -> Iterator[Past]:
        nonlocal newest
        for past in stored(store, name, step + 1):
            newest = past.step
            yield past

    try:
        write_steps(noted(), as_json=as_json)
    except NotFoundError as error:
        write_error(str(error).partition("\n")[0])
    return newest
