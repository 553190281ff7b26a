"""A store as a JSON text, and the bytes that it stands for.

Blind bytes never get past a checksum. So a fuzzer is given texts that say what the files hold,
and the checksums are made to hold: what is changed in a text reaches the code behind them. ::

    {"files": {"log-00000001": {
        "fields": {"run": ..., "after": [0, 0, "0000000000000000"], ...},
        "records": [[135, [["output out.txt#0", "\\u0003..."]]], [1, [1, 2]]],
        "durable": 1200,
        "changes": [[1100, 255]], "cut": 1190, "tail": "..."}}}

Any JSON is a recipe; what makes no sense in it is taken for something that does. A record is its
first byte and its content. Of a pickle that is the object, so that whatever is unpickled is
harmless. A list is a context, an object is JSON text, a number is eight bytes, and a text is
bytes of Latin-1; ``{"raw": TEXT, "times": N}`` is a text N times. Some words stand for what only
the building knows:

==============  ==================================================================
``"@"``         the place where the log before ends; of an end record, the length of the file;
                the log of a checkpoint; and the boot in which it is read
``"@-2"``       the place two records before that
``"@canary"``   a pickle that sings when it is loaded
``"@random"``   others of objects that JSON does not have, see `OBJECTS`
==============  ==================================================================

`changes` are made after the checksums: of the byte at an offset, by exclusive or.

A file with a `plan` is one that says what a repair was going to do.

Where ``"signed"`` stands beside ``"files"``, there is a key, and every file is signed with it; but
a file's own ``"signed"`` may be false, or ``"other"`` for another key. What is in `forged` is done
after the signatures and before the checksums, by somebody who has no key: ``[2, 5, 1]`` changes
byte 5 of the second record, ``[2, 1]`` moves it to the place of the first; the header block is 0.
"""

from __future__ import annotations

import json
import pickle
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from xxhash import xxh3_64_hexdigest, xxh3_64_intdigest

from trax.storage.codec import encode
from trax.storage.context import Key as ContextKey
from trax.storage.context import decode_context, entry_head
from trax.storage.filenames import FileName
from trax.storage.records import (
    BEGINS,
    CLOUDPICKLE,
    CONTEXT,
    DURABLE_OFFSET,
    END,
    HEADER_SIZE,
    META,
    NOTE,
    OVERHEAD,
    PICKLE,
    SIGNATURE,
    SIGNATURE_OFFSET,
    decode_header,
    encode_durable,
    encode_header,
    header_signer,
    pieces,
)
from trax.storage.signing import SIGNATURE_SIZE, Key, Signer

__all__ = [
    "NAME",
    "OBJECTS",
    "SECRET",
    "Store",
    "build",
    "context_of",
    "data_of",
    "fold",
    "parse",
    "recipe_of",
    "songs",
    "write",
]

NAME = "run"
SECRET = bytes(range(32))
_KEYS = {True: Key(SECRET, "the recipe"), "other": Key(bytes(32), "somebody else")}
_LARGEST = 1 << 18  # bytes that one text can stand for
_OBJECT_ENDS = (PICKLE, CLOUDPICKLE, NOTE)
_SIGNED = {"log": _OBJECT_ENDS, "checkpoint": (META, END)}  # a signature follows these

songs: list[int] = []  # the canaries that were loaded


def _sing(number: int) -> int:
    songs.append(number)
    return number


class _Canary:
    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return _sing, (self.number,)


def fold(state: Any, increment: Any) -> Any:
    """Return a state that has everything in it."""
    return [*(state if isinstance(state, list) else [state]), increment]


_GENERATORS = [random.Random(1), np.random.default_rng(1), np.random.RandomState(1)]

OBJECTS: dict[str, bytes] = {
    "@generators": pickle.dumps(_GENERATORS, 5),
    "@random": pickle.dumps(random.Random(1), 5),
    "@numpy": pickle.dumps(np.random.default_rng(1), 5),
    "@twister": pickle.dumps(np.random.RandomState(1), 5),
    "@missing": b"\x80\x05cnowhere\nNothing\n.",
    "@cut": pickle.dumps(["cut"], 5)[:-3],
    "@buffer": encode(np.arange(3.0), "array").payload,  # lacks its buffer
    "@function": pickle.dumps(fold, 5),
}


@dataclass
class Store:
    """The files that a recipe stands for.

    Attributes
    ----------
    files : dict of str to bytes
        Their contents.
    boot : str
        The boot that they are read in.
    key : Key or None
        The key that they are read with.
    allowed : set of int
        The canaries that may sing: every byte that a checksum or a signature covers is as it was
        written by who has the key.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    boot: str = "boot-1"
    key: Key | None = None
    allowed: set[int] = field(default_factory=set)

    @property
    def size(self) -> int:
        return sum(map(len, self.files.values()))


def parse(text: bytes) -> Any:
    """Return the recipe that a text is, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def write(recipe: Any) -> bytes:
    """Return a recipe as a text."""
    return json.dumps(recipe, ensure_ascii=False, separators=(",", ":")).encode(
        errors="surrogatepass"
    )


def data_of(content: Any) -> bytes:
    """Return the bytes that a text stands for."""
    if isinstance(content, dict):
        raw = data_of(str(content.get("raw", "")))
        times = _number(content.get("times", 1))
        return raw * max(0, min(times, _LARGEST // max(1, len(raw))))
    return str(content).encode("latin-1", "replace")


def context_of(entries: Any) -> bytes:
    """Return the payload of a context that a list of entries stands for."""
    return b"".join(map(_entry, entries if isinstance(entries, list) else [entries]))


def build(recipe: Any, boot: str = "boot-1") -> Store:
    """Return the store that a recipe stands for, in a certain boot."""
    recipe = recipe if isinstance(recipe, dict) else {}
    store = Store(boot=boot, key=_KEYS[True] if recipe.get("signed") else None)
    files = recipe.get("files")
    builder = _Builder(store)
    for name in sorted(files if isinstance(files, dict) else {}, key=_order):
        builder.add(name, files[name])
    return store


def _order(name: str) -> tuple[int, bool, str]:
    """Logs come first: a checkpoint names the one that continues it."""
    parsed = FileName.parse(name)
    return (parsed.generation if parsed else 0), name.startswith("checkpoint"), name


class _Built(NamedTuple):
    """Records without their checksums, the places in them, and where each canary's object ends."""

    records: list[bytes]
    places: list[tuple[int, int]]
    sung: list[tuple[int, int]]


class _Builder:
    """Builds files in the order of their generations, so that each can name a place before it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[int, list[tuple[int, int]]] = {0: [(0, 0)]}
        self._canaries = 0

    def add(self, name: str, content: Any) -> None:
        if not isinstance(content, dict) or "raw" in content:
            self._store.files[name] = data_of(content)
            return
        if "plan" in content:
            text = json.dumps(content["plan"], ensure_ascii=False).encode(errors="surrogatepass")
            key = self._key_of(content)
            digest = key.sign(text).hex() if key else xxh3_64_hexdigest(text)
            self._store.files[name] = _changed(digest.encode() + b"\n" + text, content)
            return
        parsed = FileName.parse(name) or FileName("log", 0)
        kind = "checkpoint" if content.get("magic", parsed.kind) == "checkpoint" else "log"
        fields = self._resolve(content.get("fields"), parsed)
        key = self._key_of(content)
        block = _header(kind, fields, _number(content.get("version", 1)), key)
        after = fields.get("after") if isinstance(fields, dict) else None
        step = _number(after[1] if isinstance(after, list) and len(after) > 1 else 0)
        built = self._records(kind, content.get("records"), block, step, header_signer(block, key))
        if kind == "log":
            self._places[parsed.generation] = built.places
        data = _chained([block, *built.records])
        forged = _chained(_forged([block, *built.records], content.get("forged")))
        durable = content.get("durable", 0)
        mark = len(data) if durable == "@" else _number(durable) % (1 << 64)
        forged[DURABLE_OFFSET : DURABLE_OFFSET + 16] = encode_durable(mark)
        self._store.files[name] = final = _changed(bytes(forged), content)
        if key is self._store.key:
            self._allow(kind, bytes(data), final, built.sung)

    def _key_of(self, content: dict[str, Any]) -> Key | None:
        signed = content.get("signed", True)
        if self._store.key is None or not signed:
            return None
        return _KEYS["other" if signed == "other" else True]

    def _resolve(self, fields: Any, name: FileName) -> Any:
        """Put the place in where a field stands for it."""
        if not isinstance(fields, dict):
            return fields
        fields = dict(fields)
        if fields.get("boot") == "@":
            fields["boot"] = self._store.boot
        after = fields.get("after")
        before = max((g for g in self._places if g < name.generation), default=0)
        if isinstance(after, list) and len(after) == 3:
            named = after[0] if type(after[0]) is int else before
            fields["after"] = [
                after[0],
                *(self._place(part, named, n) for n, part in enumerate(after[1:])),
            ]
        for number, key in enumerate(("step", "chain")):
            if key in fields:
                fields[key] = self._place(fields[key], before, number)
        if fields.get("log") == "@":
            fields["log"] = f"{self._places.get(name.generation, [(0, 0)])[0][1]:016x}"
        return fields

    def _place(self, content: Any, generation: int, number: int) -> Any:
        if not isinstance(content, str) or not content.startswith("@"):
            return content
        places = self._places.get(generation) or [(0, 0)]
        back = min(abs(_number(content[1:] or 0)), len(places) - 1)
        place = places[len(places) - 1 - back]
        return f"{place[1]:016x}" if number else place[0]

    def _records(
        self, kind: str, records: Any, block: bytes, step: int, signer: Signer | None
    ) -> _Built:
        """Build what stands behind a header block."""
        (chain,) = struct.unpack_from("<Q", block, HEADER_SIZE - 8)
        built = _Built([], [(step, chain)], [])
        offset = HEADER_SIZE
        signing = signer.begin() if signer else None
        for record in records if isinstance(records, list) else ():
            first, content = (
                record if isinstance(record, list) and len(record) == 2 else (1, record)
            )
            first = _number(first) & 0xFF
            plain = first & ~BEGINS
            is_signed = signer is not None and plain in _SIGNED[kind]
            self._canaries += content == "@canary"
            behind = offset + is_signed * (OVERHEAD + SIGNATURE_SIZE)
            payload = self._payload(first, content, behind)
            head, check, chain = pieces(first, payload, chain)
            built.records.append(head + payload)
            offset += len(payload) + OVERHEAD
            if signing is not None:
                signing.update(head + payload + check)
            if signer is not None and signing is not None and is_signed:
                signer = signer.after(signing)
                signing = signer.begin()
                head, _, chain = pieces(SIGNATURE, signer.last, chain)
                built.records.append(head + signer.last)
                offset += SIGNATURE_SIZE + OVERHEAD
            if content == "@canary":
                built.sung.append((self._canaries, offset))
            if plain in _OBJECT_ENDS:
                step += plain != NOTE
                built.places.append((step, chain))
        return built

    def _payload(self, kind: int, content: Any, offset: int) -> bytes:
        if kind & ~BEGINS in (PICKLE, CLOUDPICKLE):
            if content == "@canary":
                return pickle.dumps(_Canary(self._canaries), 5)
            if isinstance(content, str) and content in OBJECTS:
                return OBJECTS[content]
            return _pickled(content)
        if content == "@":
            return struct.pack("<Q", offset + 24)
        if isinstance(content, list):
            return context_of(content)
        if isinstance(content, dict) and "raw" not in content:
            return json.dumps(content, ensure_ascii=False).encode(errors="surrogatepass")
        if isinstance(content, (int, float)):
            return struct.pack("<Q", _number(content) % (1 << 64))
        return data_of(content)

    def _allow(self, kind: str, data: bytes, final: bytes, sung: list[tuple[int, int]]) -> None:
        for number, end in sung:
            until = end if kind == "log" else max(len(data), len(final))
            if _covered(data, until) == _covered(final, until):
                self._store.allowed.add(number)


def _pickled(content: Any) -> bytes:
    try:
        return pickle.dumps(content, 5)
    except RecursionError:
        return pickle.dumps([], 5)


def _covered(data: bytes, until: int) -> bytes:
    return data[:DURABLE_OFFSET] + data[DURABLE_OFFSET + 16 : until]


def _number(content: Any) -> int:
    try:
        return int(content)
    except (TypeError, ValueError, OverflowError):
        return 0


def _header(kind: str, fields: Any, version: int, key: Key | None) -> bytes:
    """Return a header block whose text may be anything that fits."""
    raw = isinstance(fields, str) or (isinstance(fields, dict) and "raw" in fields)
    block = bytearray(encode_header(kind, {}).block)
    try:
        block = block if raw else bytearray(encode_header(kind, fields).block)
    except (ValueError, RecursionError):
        raw = True
    if raw:
        text = data_of(fields)[: SIGNATURE_OFFSET - 16]
        struct.pack_into("<I", block, 12, len(text))
        block[16 : 16 + len(text)] = text
    struct.pack_into("<I", block, 8, version % (1 << 32))
    if key is not None:
        block[SIGNATURE_OFFSET:DURABLE_OFFSET] = key.sign(block[:SIGNATURE_OFFSET])
    struct.pack_into("<Q", block, HEADER_SIZE - 8, xxh3_64_intdigest(block[:DURABLE_OFFSET]))
    return bytes(block)


def _forged(parts: list[bytes], changes: Any) -> list[bytes]:
    """Return a header block and records as somebody changes them who has no key."""
    parts = list(parts)
    for change in changes if isinstance(changes, list) else ():
        numbers = [_number(number) for number in change] if isinstance(change, list) else []
        number = numbers[0] % len(parts) if numbers else 0
        if len(numbers) == 3:
            part = bytearray(parts[number])
            part[numbers[1] % len(part)] ^= numbers[2] & 0xFF
            parts[number] = bytes(part)
        elif len(numbers) == 2 and number:
            parts.insert(max(1, numbers[1] % len(parts)), parts.pop(number))
    return parts


def _chained(parts: list[bytes]) -> bytearray:
    """Return a file whose checksums hold: a header block, and records without theirs."""
    block, *records = parts
    chain = xxh3_64_intdigest(block[:DURABLE_OFFSET])
    data = bytearray(block)
    struct.pack_into("<Q", data, HEADER_SIZE - 8, chain)
    for record in records:
        chain = xxh3_64_intdigest(record, chain)
        data += record + struct.pack("<Q", chain)
    return data


def _entry(entry: Any) -> bytes:
    """Return one entry of a context; what is no pair stands for its bytes."""
    if not (isinstance(entry, list) and len(entry) == 2):
        return data_of(entry)
    value = data_of(entry[1])
    key = str(entry[0]).encode(errors="surrogatepass")[:1000].decode(errors="surrogateescape")
    return entry_head(ContextKey.parse(key), len(value)) + value


def _changed(data: bytes, content: dict[str, Any]) -> bytes:
    """Return what is left of a file when its checksums are made, and it is damaged."""
    damaged = bytearray(data)
    changes = content.get("changes")
    for change in changes if isinstance(changes, list) else ():
        if isinstance(change, list) and len(change) == 2 and damaged:
            damaged[_number(change[0]) % len(damaged)] ^= _number(change[1]) & 0xFF
    if "cut" in content:
        del damaged[max(0, _number(content["cut"])) :]
    return bytes(damaged + data_of(content.get("tail", "")))


# -- from a store to its recipe ------------------------------------------------------------


def recipe_of(files: dict[str, bytes]) -> dict[str, Any]:
    """Return a recipe of files that trax has written, for the corpus."""
    return {"files": {name: _recipe_of_file(name, files[name]) for name in sorted(files)}}


def _recipe_of_file(name: str, data: bytes) -> dict[str, Any]:
    parsed = FileName.parse(name)
    assert parsed is not None
    fields, _ = decode_header(parsed.kind, data[:HEADER_SIZE])
    if "after" in fields and fields["after"][0]:
        fields["after"][1:] = ["@", "@"]
    for key in {"step", "chain", "log", "boot"} & fields.keys():
        fields[key] = "@"
    recipe = {"fields": fields, "records": [[kind, part] for kind, part in _read(data)]}
    return recipe | ({"durable": "@"} if parsed.kind == "log" else {})


def _read(data: bytes) -> Iterator[tuple[int, Any]]:
    offset = HEADER_SIZE
    while offset < len(data):
        (word,) = struct.unpack_from("<Q", data, offset)
        kind, payload = word & 0xFF, data[offset + 8 : offset + 8 + (word >> 8)]
        offset += 16 + len(payload)
        plain = kind & ~BEGINS
        if plain in (PICKLE, CLOUDPICKLE):
            yield kind, _object(payload)
        elif plain in (CONTEXT, NOTE):
            entries = decode_context(payload).items()
            yield kind, [[str(key), value.decode("latin-1")] for key, value in entries]
        elif plain == 5:
            yield kind, json.loads(payload)
        else:
            yield kind, "@" if plain == 6 else payload.decode("latin-1")


def _object(payload: bytes) -> Any:
    for word, known in OBJECTS.items():
        if known == payload:
            return word
    try:
        found = pickle.loads(payload)
        return json.loads(json.dumps(found))
    except (TypeError, ValueError, pickle.UnpicklingError):
        return "@function"
