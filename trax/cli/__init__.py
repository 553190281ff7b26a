"""The ``trax`` command: what a store has, for a person at a terminal and for scripts."""

from trax.cli.command import main

__all__ = ["main"]
