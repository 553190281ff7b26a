"""The names by which pickles of older versions refer to the public objects of trax.

A pickle contains the full name of a class, so a store may contain any of these forever.
"""

from __future__ import annotations

__all__ = ["FORMER_NAMES"]

_ERRORS = (
    "ArgumentsChangedError CodecError CorruptionError DurabilityError FormatVersionError "
    "LockedError NotFoundError Preempted StorageError TraxError UntrustedError UsageError"
)
_POLICIES = "Policy Since automatic every_seconds every_steps"
_WRAPPERS = {"_Wrapper": "Resumable", "_AsyncWrapper": "AsyncResumable"}

_MODULES = {
    "async_run": "AsyncRun",
    "core": "Trax load",
    "errors": _ERRORS,
    "loop": "Step remaining step steps",
    "output": "open",
    "policies": _POLICIES,
    "resumable": "resumable",
    "run": "Run",
    "storage.verification": "CheckpointFile Generation LogFile",
    "testing.checks": "Checked check_power_cut check_resume",
    "upkeep": "OutputFile Repaired Verification repair verify",
}


def _names() -> dict[str, str]:
    found = {f"trax.decorated.{old}": f"trax.{new}" for old, new in _WRAPPERS.items()}
    for module, names in _MODULES.items():
        package = "trax.testing" if module.startswith("testing.") else "trax"
        found |= {f"trax.{module}.{name}": f"{package}.{name}" for name in names.split()}
    return found


# Digests of version 1 contain these names, too.
FORMER_NAMES = _names()
