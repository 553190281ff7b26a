"""The numbered objects of a replica, claims and data: encoded and decoded, and their keys.

``docs/format.md`` draws the same in boxes; the two change together.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from hmac import compare_digest
from typing import Any, NamedTuple

from xxhash import xxh3_64, xxh3_64_intdigest

from trax.replica.seam import is_key
from trax.storage.filenames import FileName
from trax.storage.records import HEADER_SIZE, Damage, Forged, NewerVersion, decode_text
from trax.storage.signing import SIGNATURE_SIZE, UNSIGNED, Key

__all__ = [
    "SMALLEST",
    "Claim",
    "Data",
    "Entry",
    "Part",
    "Piece",
    "decode",
    "encode",
    "is_data",
    "number_key",
    "number_of",
    "outline",
    "output_name",
    "piece_writer",
    "run_key",
]

_MAGIC = b"\x89traxR\r\n"
_VERSION = 1
_PREFIX = struct.Struct("<8sII")  # magic, version, length of the JSON text
_CHECK = struct.Struct("<Q")
_NUMBER = re.compile("[0-9]{12,}")
_OUTPUT = "output "
_HEX = re.compile("[0-9a-f]+")
_BEGINNING = 16 << 10  # bytes that have the text of an object, unless it lists very much

SMALLEST = _PREFIX.size + SIGNATURE_SIZE + _CHECK.size  # bytes that every object has


def run_key(encoded: str) -> str:
    """Return the prefix of all keys of a run, whose name is encoded as that of its directory."""
    return f"runs/{encoded}"


def number_key(encoded: str, number: int) -> str:
    """Return the key of a numbered object."""
    return f"{run_key(encoded)}/{number:012d}"


def number_of(key: str) -> int:
    """Return the number of an object; 0 if it has none."""
    name = key.rpartition("/")[2]
    return int(name) if _NUMBER.fullmatch(name) else 0


def piece_writer(key: str) -> str:
    """Return the identity of the writer of a piece; an empty text if this is none."""
    parts = key.rpartition("/")[2].split("-")
    return parts[1] if parts[0] == "piece" and len(parts) == 3 else ""


def output_name(file: str) -> str | None:
    """Return the path of an output file as a context has it; None if it is a file of the run."""
    return file.removeprefix(_OUTPUT) if file.startswith(_OUTPUT) else None


class Part(NamedTuple):
    """Bytes of a file, in the object that lists them."""

    file: str
    offset: int
    length: int


class Piece(NamedTuple):
    """Bytes of a file, in an object of their own."""

    file: str
    offset: int
    length: int
    key: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The beginning of a writer, which no other writer can pass unnoticed.

    Attributes
    ----------
    name : str
        The run's name.
    number : int
        The number of the object.
    writer : str
        The identity of the writer, 32 hexadecimal digits.
    time : float
        The time of writing, in seconds since 1970.
    host, pid
        The machine and the process.
    """

    name: str
    number: int
    writer: str
    time: float
    host: str
    pid: int
    kind: str = "claim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Bytes of files, and all that the replica has after them.

    Attributes
    ----------
    name, number, writer, time
        As in a claim.
    epoch : int
        The number of the writer's claim.
    run : str
        The run's identity.
    since : int
        The number of the image, the first object that is needed.
    claims : list of int
        The numbers from there on that are claims.
    swept : int
        Below this number there are only claims.
    history : int
        The number since which the run was only added to: it was not rewound, nor replaced.
    files : dict of str to int
        The files of the replica, with their lengths.
    cut : dict of str to int or None
        The lengths before the round that is going on, if it is not finished, of the files that are
        longer now; None if a file is new.
    rewritten : dict of str to int
        The shortest lengths to which output files were cut since the image: after these, its pieces
        have other bytes.
    checks : dict of str to str
        For each log the checksum of its header block.
    parts : list of Part
        The bytes in this object.
    pieces : list of Piece
        In an image, the bytes that lie in objects of their own.
    status : dict of str to Any
        The status in the run's journal, shortly before its files were forced; nothing depends on
        it.
    """

    name: str
    number: int
    writer: str
    time: float
    epoch: int
    run: str
    since: int
    swept: int
    history: int
    claims: list[int] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    cut: dict[str, int | None] = field(default_factory=dict)
    rewritten: dict[str, int] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    status: dict[str, Any] = field(default_factory=dict)
    kind: str = "data"

    @property
    def whole(self) -> dict[str, int]:
        """The files with the lengths up to which they are a state of the run."""
        found = {**self.files, **self.cut}
        return {file: length for file, length in found.items() if length is not None}

    @property
    def base(self) -> int:
        """The generation of the newest checkpoint that the replica has; 0 if there is none."""
        names = filter(None, map(FileName.parse, self.files))
        return max((name.generation for name in names if name.kind == "checkpoint"), default=0)

    @property
    def needed(self) -> list[int]:
        """The numbers of the data that the files are in."""
        claims = {*self.claims}
        return [one for one in range(self.since, self.number + 1) if one not in claims]

    @property
    def lineage(self) -> str:
        """Equal in data of which the later one goes on from the earlier one."""
        return f"{self.run} {self.history}"

    @property
    def newest(self) -> int:
        """The generation of the newest file that the replica has."""
        return max(map(FileName.generation_of, self.whole), default=0)

    def durable(self, file: str) -> int | None:
        """Return the durable mark of a log when it is restored; None for other files.

        All of it is forced then. In an empty log the mark says that its checkpoint counts.
        """
        whole = self.whole
        if not file.startswith("log-") or whole[file] < HEADER_SIZE:
            return None
        has_mark = whole[file] > HEADER_SIZE or file.replace("log", "checkpoint") in whole
        return whole[file] if has_mark else 0


Entry = Claim | Data


def encode(entry: Entry, content: Sequence[Any], key: Key | None) -> list[Any]:
    """Return an object as buffers to be joined; `content` are the bytes of its parts."""
    text = json.dumps(asdict(entry), ensure_ascii=True, separators=(",", ":")).encode()
    buffers = [_PREFIX.pack(_MAGIC, _VERSION, len(text)) + text, *content]
    signature = UNSIGNED
    if key is not None:
        signing = key.begin(b"")
        for buffer in buffers:
            signing.update(buffer)
        signature = key.end(signing)
    digest = xxh3_64()
    for buffer in [*buffers, signature]:
        digest.update(buffer)
    return [*buffers, signature + _CHECK.pack(digest.intdigest())]


def decode(
    data: bytes | bytearray, key: Key | None, name: str, number: int
) -> tuple[Entry, memoryview]:
    """Return the object of a number of a run, and the bytes of its parts.

    Raises
    ------
    Damage
        The bytes are not those that were written, or belong elsewhere.
    NewerVersion
        A newer trax wrote it.
    Forged
        Nothing proves that its writer had the key of the store.
    """
    end = len(data) - SIGNATURE_SIZE - _CHECK.size
    if len(data) < SMALLEST:
        raise Damage("it is cut short", len(data))
    with memoryview(data) as view:
        if _CHECK.unpack_from(data, end + SIGNATURE_SIZE)[0] != xxh3_64_intdigest(view[:-8]):
            raise Damage("its checksum is invalid", 0)
        begin = _end_of_text(data)
        _check_signature(view[:end], data[end : end + SIGNATURE_SIZE], key)
        if begin > end:
            raise Damage("its text does not fit into it", 12)
        entry = _parse(decode_text(data[_PREFIX.size : begin], _PREFIX.size))
        if (entry.name, entry.number) != (name, number):
            raise Damage(f"it is number {entry.number} of the run {entry.name!r}", _PREFIX.size)
        if isinstance(entry, Data) and sum(part.length for part in entry.parts) != end - begin:
            raise Damage("its parts have other lengths", begin)
    return entry, memoryview(data)[begin:end]


def outline(read: Callable[[int, int], bytes | bytearray], size: int) -> tuple[Entry, int]:
    """Return an object of this size without the bytes of its parts, and the size that it must have.

    Neither its checksum nor its signature is checked. `read` returns bytes of the object, from an
    offset on; few are asked for.

    Raises
    ------
    Damage, NewerVersion
        As in `decode`.
    """
    data = read(0, min(size, _BEGINNING))
    end = _end_of_text(data)
    if end > size:
        raise Damage("its text does not fit into it", 12)
    if end > len(data):
        data = data + read(len(data), end - len(data))
    entry = _parse(decode_text(data[_PREFIX.size : end], _PREFIX.size))
    parts = entry.parts if isinstance(entry, Data) else []
    return entry, end - _PREFIX.size + sum(part.length for part in parts) + SMALLEST


def _end_of_text(data: bytes | bytearray) -> int:
    """Return where the text of an object ends, given its first bytes."""
    magic, version, length = _PREFIX.unpack_from(data)
    if magic != _MAGIC:
        raise Damage("this is no object of a replica", 0)
    if version > _VERSION:
        raise NewerVersion(f"version {version}; this trax reads up to {_VERSION}")
    return int(_PREFIX.size + length)


def is_data(beginning: bytes | bytearray) -> bool:
    """Return whether an object is data, by its first bytes; nothing is checked."""
    return beginning.startswith(_MAGIC) and b'"kind":"data"' in beginning


def _check_signature(signed: memoryview, signature: bytes | bytearray, key: Key | None) -> None:
    if key is None:
        if signature != UNSIGNED:
            remedy = "Give the key that the run was begun with, in TRAX_KEY or TRAX_KEY_FILE"
            raise Forged("is signed, and there is no key", 0, remedy)
        return
    signing = key.begin(b"")
    signing.update(signed)
    if not compare_digest(key.end(signing), signature):
        reason = f"is not signed with the key {key.id} from {key.source}"
        raise Forged(reason, 0, "Find out who else can write to this store of objects")


# -- the types of the fields ---------------------------------------------------------------


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _is_time(value: Any) -> bool:
    return type(value) in (int, float)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_hex(value: Any) -> bool:
    return isinstance(value, str) and _HEX.fullmatch(value) is not None


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and is_key(value)


def _is_file(value: Any) -> bool:
    name = output_name(value) if isinstance(value, str) else ""
    return bool(name) or (name is None and FileName.parse(value) is not None)


def _all(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _each(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, dict) and all(_is_file(key) and check(one) for key, one in value.items())
    )


def _row(*checks: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, list)
        and len(value) == len(checks)
        and all(check(one) for check, one in zip(checks, value, strict=True))
    )


_BOTH = {"kind": _is_text, "name": _is_text, "number": _is_count, "writer": _is_hex}
_BOTH |= {"time": _is_time}
_FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "claim": _BOTH | {"host": _is_text, "pid": _is_count},
    "data": _BOTH
    | {
        "epoch": _is_count,
        "run": _is_hex,
        "since": _is_count,
        "swept": _is_count,
        "history": _is_count,
        "claims": _all(_is_count),
        "files": _each(_is_count),
        "cut": _each(lambda value: value is None or _is_count(value)),
        "rewritten": _each(_is_count),
        "checks": _each(_is_hex),
        "parts": _all(_row(_is_file, _is_count, _is_count)),
        "pieces": _all(_row(_is_file, _is_count, _is_count, _is_key, _is_hex)),
        "status": lambda value: isinstance(value, dict),
    },
}


def _parse(fields: dict[str, Any]) -> Entry:
    types = _FIELDS.get(str(fields.get("kind")))
    if types is None or not all(has(fields.get(key)) for key, has in types.items()):
        raise Damage("its fields are not those of a claim or of data", _PREFIX.size)
    known = {key: fields[key] for key in types}
    if known["kind"] == "claim":
        return Claim(**known)
    known["parts"] = [Part(*row) for row in known["parts"]]
    known["pieces"] = [Piece(*row) for row in known["pieces"]]
    return Data(**known)
