"""A progress bar on standard error, drawn by tqdm."""

from __future__ import annotations

import os
import sys
import weakref
from typing import Any

from trax.errors import UsageError, one_line

try:
    from tqdm.auto import tqdm
except ImportError as error:
    raise UsageError(
        "progress=True needs tqdm, which is not installed.\n"
        "Run pip install 'trax-resumable[progress]', or leave progress out."
    ) from error

__all__ = ["Bar"]

_SECONDS_IN_A_FILE = 30.0  # the log of a batch job is not a screen


class Bar:
    """Shows the progress of a run, from the first update on.

    Parameters
    ----------
    name : str
        The run's name.
    step : int
        The step at which the bar begins.
    """

    def __init__(self, name: str, step: int) -> None:
        self._name = name
        self._begin = step
        self._bar: Any = None
        _open.add(self)

    def update(self, step: int, total: int | None) -> None:
        """Show the step and, if it is known, the total."""
        if self._bar is None:
            self._bar = tqdm(
                desc=one_line(self._name),
                initial=self._begin,
                total=total,
                unit="step",
                dynamic_ncols=True,
                mininterval=0.1 if sys.stderr.isatty() else _SECONDS_IN_A_FILE,
            )
        self._bar.update(step - self._bar.n)

    def close(self, step: int) -> None:
        """Show the last step and leave the bar as it is."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)
            self._bar.close()

    def disown(self) -> None:
        """Draw nothing any more: this is the bar of a parent process."""
        if self._bar is not None:
            self._bar.disable = True


_open: weakref.WeakSet[Bar] = weakref.WeakSet()


def _disown() -> None:
    for bar in list(_open):
        bar.disown()


os.register_at_fork(after_in_child=_disown)  # storage, with its hook, is not for integrations
