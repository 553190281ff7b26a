"""trax makes a long computation survive.

Decorate a generator-style loop with `resumable`; after a crash, a kill or a reboot run the same
script again, and the loop goes on as if nothing had happened. Below the decorator is `Trax`, a
store of states, each a checkpoint and a log of increments.
"""

from trax._version import __version__
from trax.async_run import AsyncRun
from trax.core import Trax, load
from trax.errors import (
    ArgumentsChangedError,
    CodecError,
    CorruptionError,
    DurabilityError,
    FormatVersionError,
    LockedError,
    NotFoundError,
    Preempted,
    StorageError,
    TraxError,
    UntrustedError,
    UsageError,
)
from trax.loop import Step, remaining, step, steps
from trax.output import open
from trax.policies import Policy, Since, automatic, every_seconds, every_steps
from trax.resumable import AsyncResumable, Resumable, resumable
from trax.run import Run
from trax.upkeep import Repaired, Verification, repair, verify

__all__ = [
    "ArgumentsChangedError",
    "AsyncResumable",
    "AsyncRun",
    "CodecError",
    "CorruptionError",
    "DurabilityError",
    "FormatVersionError",
    "LockedError",
    "NotFoundError",
    "Policy",
    "Preempted",
    "Repaired",
    "Resumable",
    "Run",
    "Since",
    "Step",
    "StorageError",
    "Trax",
    "TraxError",
    "UntrustedError",
    "UsageError",
    "Verification",
    "__version__",
    "automatic",
    "every_seconds",
    "every_steps",
    "load",
    "open",
    "remaining",
    "repair",
    "resumable",
    "step",
    "steps",
    "verify",
]
