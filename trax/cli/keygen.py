"""``trax keygen``: a new key that runs are signed with."""

from __future__ import annotations

import os

import click

from trax.cli.common import is_json
from trax.cli.screen import write, write_json
from trax.storage.keys import default_path, draw_key, make_key

__all__ = ["keygen"]


@click.command(
    epilog="""\b
Examples:
  trax keygen                your key, which trax finds by itself
  trax keygen team.key       another one, for TRAX_KEY_FILE
  export TRAX_KEY=$(trax keygen -)
"""
)
@click.argument("path", required=False)
@click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")
@click.pass_context
def keygen(context: click.Context, /, path: str | None, **_: object) -> int:
    """Make a key that runs are signed with.

    If trax finds it, every new run is signed with it, and only runs that are signed with it are
    loaded. Runs that were begun without a key continue with TRAX_KEY= (empty).

    PATH is the file to create, by default your own key, which trax finds by itself; - prints the
    key instead, for TRAX_KEY.
    """
    if path == "-":
        key = draw_key()
        write_json({"key": key}) if is_json(context) else write([key])
        return 0
    place = path or default_path()
    try:
        made = make_key(place)
    except FileExistsError:
        raise FileExistsError(
            f"{place} exists, and runs that it has signed could not be read with another key.\n"
            "Move it away first, or give another path."
        ) from None
    if is_json(context):
        write_json({"path": os.path.abspath(place), "id": made.id})
        return 0
    write([f"{place}: key {made.id}. Keep a copy: runs that it signs cannot be loaded without it."])
    if path:
        write([f"It is used if TRAX_KEY_FILE={os.path.abspath(place)} is set."])
    return 0
