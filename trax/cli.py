"""The ``trax`` command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from trax.errors import TraxError
from trax.storage.keys import default_path, draw_key, make_key

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 for success, 1 for an error, 2 for misuse."""
    options = _parser().parse_args(arguments)
    try:
        options.action(options)
    except (TraxError, OSError) as error:
        print(f"trax: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trax", description="Manage stores of runs.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    keygen = commands.add_parser(
        "keygen",
        help="make a key that runs are signed with",
        description="Make a key. If trax finds it, every new run is signed with it, and only runs "
        "that are signed with it are loaded. Runs that were begun without a key continue with "
        "TRAX_KEY= (empty).",
    )
    keygen.add_argument(
        "path",
        nargs="?",
        help="the file to create (default: the user's key, which trax finds by itself); - prints "
        "the key instead, for TRAX_KEY",
    )
    keygen.set_defaults(action=_keygen)
    return parser


def _keygen(options: argparse.Namespace) -> None:
    if options.path == "-":
        print(draw_key())
        return
    path = options.path or default_path()
    try:
        key = make_key(path)
    except FileExistsError:
        raise FileExistsError(
            f"{path} exists, and runs that it has signed could not be read with another key.\n"
            "Move it away first, or give another path."
        ) from None
    print(f"{path}: key {key.id}. Keep a copy: runs that it signs cannot be loaded without it.")
    if options.path:
        print(f"It is used if TRAX_KEY_FILE={os.path.abspath(path)} is set.")
