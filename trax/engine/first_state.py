"""Makes the first state of a run again, if its checkpoint is lost and `create` has not changed.

The first log begins with a note: the context of the first checkpoint, and a digest of its state and
of the call that made it. If no checkpoint is valid, a call creates the state once more. If the
digest is the same, the log is replayed on that state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_128

from trax.errors import CodecError
from trax.storage.codec import Encoded
from trax.storage.context import CREATED, Key, decode_context, encode_context
from trax.storage.records import CONTEXT, HEADER_SIZE, decode_text
from trax.storage.schema import check_meta

if TYPE_CHECKING:
    from trax.calls.call import Call
    from trax.tracking.rng_tracking import RngTracking

__all__ = ["describe", "note_beginning", "recreate"]

# The fields of a meta record, apart from the arguments, in which the call must be the same.
_SAME = ("replay_log", "function", "version")

_DIGEST = 16  # bytes


def describe(call: Call) -> dict[str, Any]:
    """Return the fields of a checkpoint's meta record that describe a call."""
    return {
        "replay_log": call.log_mode.word,
        "arguments": call.described,
        "varying": {**call.surrounding, **call.varying},
        "code": call.code,
        "helpers": call.helper_code,
        "function": call.function.__qualname__,
        "script": call.script,
        "version": call.options.version,
    }


def note_beginning(meta: Mapping[str, Any], parts: Mapping[str, Encoded]) -> bytes:
    """Return the note about a first checkpoint, as a context."""
    context = decode_context(parts["context"].payload)
    # The same state may be pickled with its RNGs under other numbers, so these are stored.
    created = _digest(meta, parts["state"]) + json.dumps(meta["generators"]).encode()
    return encode_context([*context.items(), (CREATED, created)])


def recreate(
    call: Call, tracking: RngTracking, context: Mapping[Key, bytes]
) -> tuple[dict[str, Any], dict[str, Encoded]] | None:
    """Return the meta record and the parts of a run's first checkpoint, made again.

    `tracking` is that of a new run, and `context` that of the note about the checkpoint. If
    `create` makes another state now, or the call is another one, return None. An exception that
    `create` raises is passed on.

    Raises
    ------
    Damage
        The note makes no sense.
    """
    digest, places = context[CREATED][:_DIGEST], context[CREATED][_DIGEST:]
    tracking.know_outer()
    try:
        state = tracking.encode_state(call.create())
    except CodecError:
        return None
    meta = {"step": 0, "done": False, **describe(call), "drawn": []}
    if digest != _digest(meta, state):
        return None
    meta["generators"] = decode_text(places, HEADER_SIZE)
    check_meta({"parts": [], **meta}, HEADER_SIZE)
    stored = encode_context((key, value) for key, value in context.items() if key != CREATED)
    return meta, {"state": state, "context": Encoded(CONTEXT, stored, [])}


def _digest(meta: Mapping[str, Any], state: Encoded) -> bytes:
    """Return a digest of a first state, as it is stored, and of the call that it belongs to."""
    # Pickles of equal states may differ, and then nothing is recreated; those of others always do.
    arguments = {name: value["digest"] for name, value in meta["arguments"].items()}
    about = [arguments, *(meta[key] for key in _SAME)]
    digest = xxh3_128(json.dumps(about, sort_keys=True).encode())
    for kind, payload in state.records():
        view = memoryview(payload)
        digest.update(f"{kind}:{view.nbytes};".encode())
        digest.update(view.cast("B") if view.contiguous else view.tobytes())
    return digest.digest()
