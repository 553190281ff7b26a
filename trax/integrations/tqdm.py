"""A progress bar on standard error, or in a notebook, drawn by tqdm."""

from __future__ import annotations

import os
import sys
import time
import warnings
import weakref
from typing import TYPE_CHECKING, Any

from trax.display import in_notebook
from trax.errors import UsageError, one_line

if TYPE_CHECKING:
    from trax.hooks import Event

try:
    with warnings.catch_warnings():  # of notebooks without ipywidgets, where a bar of text is drawn
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm
except ImportError as error:
    raise UsageError(
        "progress=True needs tqdm, which is not installed.\n"
        "Run pip install 'trax-resumable[progress]', or leave progress out."
    ) from error

__all__ = ["Bar", "RunsBar"]

_SECONDS_IN_A_FILE = 30.0  # the log of a batch job is not a screen


class Bar:
    """Shows the progress of a run: from its first step on, or before if the total is known.

    Parameters
    ----------
    name : str
        The run's name.
    step : int
        The step at which the bar begins.
    """

    # A plain loop goes on from its newest variables, not from the checkpoint that a bar shows.
    counts_on_replay = True
    unit = "step"

    def __init__(self, name: str, step: int) -> None:
        self._name = name
        self._begin = step
        self._begun = time.time()  # of the live steps, which alone count for the rate
        self._beside = ""
        self._bar: Any = None
        _open.add(self)

    def update(self, step: int, total: int | None) -> None:
        """Show the step and, if it is known, the total."""
        if step == self._begin:
            self._begun = time.time()
        if self._bar is None and step == self._begin and total is None:
            return  # a bar in a notebook cannot be given a total afterwards
        if self._bar is None:
            self._bar = self._draw(total)
        if total != self._bar.total:
            self._bar.total = total
            self._bar.refresh()
        self._bar.update(step - self._bar.n)

    def _draw(self, total: int | None) -> Any:
        bar = tqdm(
            desc=one_line(self._name),
            initial=self._begin,
            total=total,
            unit=self.unit,
            dynamic_ncols=True,
            mininterval=0.1 if _is_watched() else _SECONDS_IN_A_FILE,
            postfix=self._beside or None,
            disable=not _has_output(),
        )
        bar.start_t = bar.last_print_t = self._begun
        return bar

    def on_checkpoint(self, event: Event) -> None:
        """Show the step of the last checkpoint beside the bar, when it is drawn next."""
        self._show_beside(f"checkpoint {event.step:,}" if event.step else "")

    def _show_beside(self, text: str) -> None:
        self._beside = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)

    def close(self, step: int) -> None:
        """Show the last step and leave the bar as it is."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
            self._bar.close()

    def disown(self) -> None:
        """Draw nothing any more: this is the bar of a parent process."""
        if self._bar is not None:
            self._bar.disable = True


class RunsBar(Bar):
    """Shows the progress of a sweep: how many of its runs have ended, and how many have failed."""

    unit = "run"

    def note_failed(self, number: int) -> None:
        """Show the number of failed runs beside the bar, when it is drawn next."""
        self._show_beside(f"{number:,} failed")


def _is_watched() -> bool:
    """Return whether somebody sees the bar move."""
    return in_notebook() or (_has_output() and sys.stderr.isatty())


def _has_output() -> bool:
    return sys.stderr is not None and not sys.stderr.closed


_open: weakref.WeakSet[Bar] = weakref.WeakSet()


def _disown() -> None:
    for bar in list(_open):
        bar.disown()


os.register_at_fork(after_in_child=_disown)  # storage, with its hook, is not for integrations
