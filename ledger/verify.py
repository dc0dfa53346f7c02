"""Verify an evidence pack offline, years later, with nothing but Python 3.11 or later.

    python verify.py PACK [--json] [--founding FILE] [--founding-sha256 HEX]

This one file holds everything it needs (Ed25519, canonical JSON, Keccak-256, Merkle-Patricia
proofs) and imports the standard library only, so an auditor can read all that a verdict rests on.
It opens no connection and writes nothing. Exit status: 0 verified, 3 faults found, 2 wrong usage.
Every fault has a stable code (``V001``...), the record it lies in and what is wrong
(``docs/evidence_pack.md`` lists them). The sections follow one another from bytes to meaning:
archive, JSON, signatures, ledger proofs, arithmetic, and the checks themselves.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import math
import re
import struct
import sys
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

EXIT_OK, EXIT_USAGE, EXIT_FAULTS = 0, 2, 3
MAX_PACK_BYTES = 2**30
MAX_RECORDS = 20_000
_GARBAGE = (
    ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, StopIteration,
    TypeError, ValueError, struct.error,
)  # fmt: skip
"""What reading a record that is not what it should be can raise; reported as V003."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: a stable code, the record it lies in, and what is wrong."""

    code: str
    record: str
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was established, in words an auditor can quote."""

    name: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on one pack; ``notes`` say what it does not establish."""

    ok: bool
    checks: tuple[Check, ...]
    faults: tuple[Fault, ...]
    notes: tuple[str, ...] = ()


Json = Any
"""A parsed JSON value: what it is gets established where it is read."""


class Broken(Exception):
    """A check failed; carries the fault."""

    def __init__(self, code: str, record: str, message: str) -> None:
        super().__init__(message)
        self.fault = Fault(code, record, message)


def _broken(code: str, record: str, message: str) -> NoReturn:
    raise Broken(code, record, message)


# --- The archive: a ZIP in the one form that its entries allow --------------------------------

_LOCAL, _CENTRAL, _END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*(?:/[a-z0-9][a-z0-9_.-]*)*")
_MIDNIGHT_1980 = 0x21 << 16  # the earliest moment a ZIP can state: packs carry no clock


def write_archive(records: Mapping[str, bytes]) -> bytes:
    """The bytes of a pack: entries sorted by name, stored, no dates, comments or extra fields.

    One set of records has one archive, so the verifier rebuilds it and compares every byte.
    """
    body, directory = bytearray(), bytearray()
    for name in sorted(records):
        data, label = records[name], name.encode("ascii")
        common = struct.pack(
            "<HHHIIIIHH",
            10, 0, 0, _MIDNIGHT_1980, zlib.crc32(data), len(data), len(data), len(label), 0,
        )  # fmt: skip
        directory += _CENTRAL + struct.pack("<H", 10) + common
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + label
        body += _LOCAL + common + label + data
    end = struct.pack("<HHHHIIH", 0, 0, len(records), len(records), len(directory), len(body), 0)
    return bytes(body + directory + _END + end)


def read_archive(data: bytes) -> tuple[dict[str, bytes], list[Fault]]:
    """The records of a pack and what is wrong with the archive itself.

    Nothing is unpacked or sized by what the file claims: entries are slices of it.

    Raises:
        Broken: V001, it is not an archive of this form; V002, it is cut short.
    """
    records: dict[str, bytes] = {}
    ends: list[tuple[int, str]] = []
    at, last = 0, ""
    while data[at : at + 4] == _LOCAL:
        name, start, end = _local_entry(data, at)
        if name <= last:
            _broken("V001", name, "the record is out of order or there twice")
        if len(records) >= MAX_RECORDS:
            _broken("V001", name, f"more than {MAX_RECORDS} records")
        records[name] = data[start:end]
        ends.append((end, name))
        at, last = end, name
    if not records:
        _broken("V001", "archive", "this is not an evidence pack")
    rebuilt = write_archive(records)
    if rebuilt == data:
        return records, []
    place = bisect_left(range(len(data)), True, key=lambda n: data[: n + 1] != rebuilt[: n + 1])
    record = next((name for end, name in ends if place < end), "archive")
    what = "was changed, or its archive entry was" if record != "archive" else "directory differs"
    return records, [Fault("V001", record, f"{record} {what} (at byte {place} of the pack)")]


def is_record_name(name: str) -> bool:
    """Whether a pack can hold a record of this name: lower case, no leading dot, relative."""
    return len(name) <= 200 and _NAME.fullmatch(name) is not None


def _local_entry(data: bytes, at: int) -> tuple[str, int, int]:
    if len(data) < at + 30:
        _broken("V002", "archive", "the pack is cut short inside an entry's head")
    _, _, method, _, _, packed, size, label, extra = struct.unpack_from("<HHHIIIIHH", data, at + 4)
    name = data[at + 30 : at + 30 + label].decode("ascii", "replace")
    if not is_record_name(name):
        _broken("V001", "archive", f"the entry at byte {at} has no proper name")
    if method != 0 or packed != size or extra != 0:
        _broken("V001", name, "the record is compressed or carries extra fields")
    start = at + 30 + label
    if start + size > len(data):
        _broken("V002", name, f"the record says {size} bytes, the pack ends before")
    return name, start, start + size


# --- Canonical JSON (RFC 8785) and signed documents -------------------------------------------

_LARGEST_INTEGER = 2**53 - 1


def canonical(value: Json) -> bytes:
    """The one spelling of a JSON value (RFC 8785)."""
    return "".join(_spell(value)).encode("utf-8")


def _spell(value: Json) -> Iterator[str]:
    if value is None or isinstance(value, bool | str):
        yield json.dumps(value, ensure_ascii=False)
    elif isinstance(value, int):
        if abs(value) > _LARGEST_INTEGER:
            raise ValueError("an integer beyond 2^53")
        yield str(value)
    elif isinstance(value, float):
        yield _spell_number(value)
    elif isinstance(value, list):
        yield "["
        for index, item in enumerate(value):
            yield "," if index else ""
            yield from _spell(item)
        yield "]"
    elif isinstance(value, dict):
        yield "{"
        for index, key in enumerate(sorted(value, key=lambda name: name.encode("utf-16-be"))):
            yield ("," if index else "") + json.dumps(key, ensure_ascii=False) + ":"
            yield from _spell(value[key])
        yield "}"
    else:
        raise TypeError("not a JSON value")


def _spell_number(value: float) -> str:
    """ECMAScript's Number-to-String: the shortest digits, in its choice of notation."""
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    exact = Decimal(repr(abs(value))).normalize().as_tuple()
    digits = "".join(map(str, exact.digits))
    point = len(digits) + int(exact.exponent)
    if len(digits) <= point <= 21:
        text = digits + "0" * (point - len(digits))
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        tail = "." + digits[1:] if len(digits) > 1 else ""
        text = f"{digits[0]}{tail}e{point - 1:+d}"
    return sign + text


_DEEPEST = 64
_NESTING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|([\]}])', re.DOTALL)


def parse(data: bytes) -> Json:
    """Read JSON that must already be in its canonical spelling; anything else is a ValueError."""
    value = _parse_any(data)
    if canonical(value) != data:
        raise ValueError("not in canonical form (RFC 8785)")
    return value


def _parse_any(data: bytes) -> Json:
    """Read JSON in any spelling, but not deeply nested.

    Where a library has raised the recursion limit, nesting would crash the interpreter.
    """
    depth = 0
    for token in _NESTING.finditer(data):
        depth += bool(token[1]) - bool(token[2])
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
    return json.loads(data.decode("utf-8"), parse_int=_whole)


def _whole(digits: str) -> int | float:
    """Whole doubles of 2^53 and more are spelled like integers; they come back as doubles."""
    value = int(digits)
    return value if abs(value) <= _LARGEST_INTEGER else float(digits)


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """SHA-256 over a domain tag and length-prefixed parts."""
    state = hashlib.sha256()
    for part in (f"twinward/{tag}".encode(), *parts):
        state.update(len(part).to_bytes(8, "little") + part)
    return state.digest()


def pre_authentication_encoding(kind: str, message: bytes) -> bytes:
    """The exact bytes that are signed for a message of this kind (DSSE v1)."""
    tag = kind.encode()
    return b"DSSEv1 %d %s %d %s" % (len(tag), tag, len(message), message)


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON payload of a stated kind and the signatures it carries, by fingerprint."""

    kind: str
    payload: Mapping[str, Any]
    signatures: Mapping[str, bytes]

    @classmethod
    def of(cls, value: Json, kind: str) -> Document:
        """Take a parsed value for a document of this kind; a ValueError if it is not one."""
        if set(value) != {"kind", "payload", "signatures"} or value["kind"] != kind:
            raise ValueError(f"not a signed `{kind}`")
        signatures = {
            _hex(s["by"], 32).hex(): _hex(s["signature"], 64) for s in value["signatures"]
        }
        well_formed = all(set(s) == {"by", "signature"} for s in value["signatures"])
        if not well_formed or len(signatures) != len(value["signatures"]):
            raise ValueError("malformed or repeated signatures")
        return cls(kind, dict(value["payload"]), signatures)

    @property
    def signed_bytes(self) -> bytes:
        """What every signature covers."""
        return pre_authentication_encoding(self.kind, canonical(self.payload))

    @property
    def digest(self) -> bytes:
        """32 bytes that name the document whatever signatures it carries."""
        return hashlib.sha256(self.signed_bytes).digest()

    def is_signed_by(self, key: bytes) -> bool:
        """Whether it carries a valid signature of this raw Ed25519 key."""
        signature = self.signatures.get(hashlib.sha256(key).hexdigest())
        return signature is not None and ed25519_verify(key, self.signed_bytes, signature)


def _hex(text: Json, length: int | None = None) -> bytes:
    """Lower-case hex of the stated length; Python's own reader is more forgiving than we are."""
    if not isinstance(text, str) or not re.fullmatch(r"(?:[0-9a-f]{2})*", text):
        raise ValueError("not lower-case hex")
    data = bytes.fromhex(text)
    if length is not None and len(data) != length:
        raise ValueError(f"expected {length} bytes")
    return data


# --- Ed25519 (RFC 8032), extended coordinates (Hisil et al. 2008) -----------------------------

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_SQRT_MINUS_1 = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]
_NEUTRAL: _Point = (0, 1, 1, 0)


def _add(a: _Point, b: _Point) -> _Point:
    e_ = (a[1] - a[0]) * (b[1] - b[0]) % _P
    f_ = (a[1] + a[0]) * (b[1] + b[0]) % _P
    g_ = 2 * a[3] * b[3] * _D % _P
    h_ = 2 * a[2] * b[2] % _P
    e, f, g, h = f_ - e_, h_ - g_, h_ + g_, f_ + e_
    return (e * f % _P, g * h % _P, f * g % _P, e * h % _P)


def _decompress(encoded: bytes) -> _Point | None:
    """The point of an encoding; None when it is off the curve or not canonically encoded."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    if y >= _P:
        return None
    u, v = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x = u * pow(v, 3, _P) * pow(u * pow(v, 7, _P), (_P - 5) // 8, _P) % _P
    if (v * x * x - u) % _P:
        x = x * _SQRT_MINUS_1 % _P
    if (v * x * x - u) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return (x, y, 1, x * y % _P)


def _compress(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _is_small_order(point: _Point) -> bool:
    for _ in range(3):
        point = _add(point, point)
    return point[0] == 0 and point[1] == point[2]


@lru_cache(maxsize=256)
def _comb(encoded: bytes) -> list[list[_Point]] | None:
    """For one point, every digit of a scalar in base 16, so that a product is 64 additions.

    A pack has few keys and many signatures: 5 ms once per key, then well under 1 ms a signature.
    """
    point = _decompress(encoded)
    if point is None or _is_small_order(point):
        return None
    table = []
    for _ in range(64):
        row = [_NEUTRAL]
        for _ in range(15):
            row.append(_add(row[-1], point))
        table.append(row)
        point = _add(row[15], point)
    return table


def _times(scalar: int, table: list[list[_Point]], start: _Point) -> _Point:
    for row in table:
        if digit := scalar & 15:
            start = _add(start, row[digit])
        scalar >>= 4
    return start


_BASE = (4 * pow(5, -1, _P) % _P).to_bytes(32, "little")


def ed25519_verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is valid: RFC 8032 section 5.1.7, cofactorless and strict.

    Refuses S >= L (malleable), keys off the curve, in non-canonical encoding or of small order.
    R is compared as bytes, so a non-canonical R never matches.
    """
    if len(key) != 32 or len(signature) != 64:
        return False
    scalar = int.from_bytes(signature[32:], "little")
    table, base = _comb(key), _comb(_BASE)
    if scalar >= _L or table is None or base is None:
        return False
    challenge = hashlib.sha512(signature[:32] + key + message).digest()
    minus_k = _L - int.from_bytes(challenge, "little") % _L
    return _compress(_times(minus_k, table, _times(scalar, base, _NEUTRAL))) == signature[:32]


# --- Ethereum: Keccak-256, RLP, Merkle-Patricia proofs ----------------------------------------

_ROUND_CONSTANTS = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000,
    0x000000000000808B, 0x0000000080000001, 0x8000000080008081, 0x8000000000008009,
    0x000000000000008A, 0x0000000000000088, 0x0000000080008009, 0x000000008000000A,
    0x000000008000808B, 0x800000000000008B, 0x8000000000008089, 0x8000000000008003,
    0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)  # fmt: skip
_ROTATIONS = (
    0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14,
)  # fmt: skip
_MASK64 = 2**64 - 1
Rlp = Any
"""Bytes, or a list of such."""


def _keccak_f(a: list[int]) -> list[int]:
    for constant in _ROUND_CONSTANTS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ ((c[x - 4] << 1 | c[x - 4] >> 63) & _MASK64) for x in range(5)]
        b = [0] * 25
        for i in range(25):
            lane, turn = a[i] ^ d[i % 5], _ROTATIONS[i]
            x, y = i % 5, i // 5
            b[y + 5 * ((2 * x + 3 * y) % 5)] = (lane << turn | lane >> (64 - turn)) & _MASK64
        a = [b[i] ^ (~b[i - i % 5 + (i + 1) % 5] & b[i - i % 5 + (i + 2) % 5]) for i in range(25)]
        a[0] ^= constant
    return a


def keccak256(data: bytes) -> bytes:
    """Ethereum's hash: Keccak with the padding from before SHA-3 was standardised."""
    short = 136 - len(data) % 136
    padded = data + (b"\x81" if short == 1 else b"\x01" + bytes(short - 2) + b"\x80")
    state = [0] * 25
    for at in range(0, len(padded), 136):
        for i, lane in enumerate(struct.unpack_from("<17Q", padded, at)):
            state[i] ^= lane
        state = _keccak_f(state)
    return struct.pack("<4Q", *state[:4])


def rlp_decode(data: bytes) -> Rlp:
    """Bytes or nested lists of bytes; any other than the shortest encoding is a ValueError."""
    item, end = _rlp_item(data, 0, 0)
    if end != len(data):
        raise ValueError("bytes after the RLP item")
    return item


def _rlp_item(data: bytes, at: int, depth: int) -> tuple[Rlp, int]:
    first = data[at]
    if depth > 20:
        raise ValueError("RLP nested too deeply")
    if first < 0x80:
        return data[at : at + 1], at + 1
    is_list = first >= 0xC0
    short = first - (0xC0 if is_list else 0x80)
    start = at + 1
    if short > 55:
        width = short - 55
        length = int.from_bytes(data[start : start + width], "big")
        if length <= 55 or data[start] == 0:
            raise ValueError("RLP length is not the shortest")
        start += width
    else:
        length = short
    end = start + length
    if end > len(data):
        raise ValueError("RLP item is cut short")
    if not is_list:
        if length == 1 and data[start] < 0x80:
            raise ValueError("RLP byte is not the shortest")
        return data[start:end], end
    items = []
    while start < end:
        item, start = _rlp_item(data, start, depth + 1)
        items.append(item)
    if start != end:
        raise ValueError("RLP list is cut short")
    return items, end


def trie_value(root: bytes, key: bytes, proof: Sequence[bytes]) -> bytes | None:
    """What a Merkle-Patricia trie with this root holds at ``keccak256(key)``; None if nothing.

    Raises:
        ValueError: The proof does not lead from the root to an answer.
    """
    path = [nibble for byte in keccak256(key) for nibble in (byte >> 4, byte & 15)]
    left = list(proof)
    node: Rlp = root
    while True:
        if isinstance(node, bytes):
            if node == b"" or (node == root and root == _EMPTY_TRIE and not left):
                return None
            if not left or keccak256(left[0]) != node:
                raise ValueError("the proof does not lead from the root")
            node = rlp_decode(left.pop(0))
        if len(node) == 17:
            if not path:
                return node[16] or None
            node = node[path.pop(0)]
        elif len(node) == 2:
            leaf, rest = _compact_path(node[0])
            if path[: len(rest)] != rest or (leaf and len(path) != len(rest)):
                return None
            if leaf:
                return bytes(node[1])
            path, node = path[len(rest) :], node[1]
        else:
            raise ValueError("not a trie node")


_EMPTY_TRIE = keccak256(b"\x80")


def _compact_path(data: bytes) -> tuple[bool, list[int]]:
    nibbles = [nibble for byte in data for nibble in (byte >> 4, byte & 15)]
    flag = nibbles[0]
    if flag > 3 or (not flag & 1 and nibbles[1]):
        raise ValueError("not a trie path")
    return flag >= 2, nibbles[1 if flag & 1 else 2 :]


def storage_value(state_root: bytes, contract: bytes, slot: bytes, proof: Mapping[str, Any]) -> int:
    """A contract's storage word under a state root, from an ``eth_getProof`` answer (EIP-1186).

    Raises:
        ValueError: The proof does not hold.
    """
    account = trie_value(state_root, contract, [_0x(node) for node in proof["accountProof"]])
    if account is None:
        raise ValueError("there is no such contract in this state")
    storage_root = rlp_decode(account)[2]
    entry = next(e for e in proof["storageProof"] if int(e["key"], 16) == int.from_bytes(slot))
    value = trie_value(storage_root, slot, [_0x(node) for node in entry["proof"]])
    return 0 if value is None else int.from_bytes(rlp_decode(value))


def record_slot(digest: bytes) -> int:
    """Where ``Provenance`` keeps its record of a digest (mapping at slot 0)."""
    return int.from_bytes(keccak256(digest + bytes(32)))


def reservation_slots(hospital: bytes, run: bytes) -> tuple[int, int]:
    """Where ``Provenance`` keeps a hospital's reservation: plan, then millionths of mu squared."""
    inner = keccak256(hospital.rjust(32, b"\0") + (3).to_bytes(32))
    slot = int.from_bytes(keccak256(run + inner))
    return slot, (slot + 1) % 2**256


CONSENT_HEAD_SLOT = 0
"""Where ``Consent`` keeps the running hash over all grants and withdrawals."""


def _0x(text: str) -> bytes:
    if text[:2] != "0x":
        raise ValueError("expected 0x and hex")
    return _hex(text[2:])


# --- Logs: RFC 9162 trees, a map of topics, signed checkpoints (C2SP) ---------------------------


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of an entry (RFC 9162, section 2.1.1)."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two neighbouring subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(hashes: Sequence[bytes]) -> bytes:
    """The root of the tree over these leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    level = list(hashes)
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


def root_of_rows(size: int, rows: Mapping[int, bytes], nodes: Sequence[bytes]) -> bytes:
    """The root of a tree of ``size`` entries of which only some are at hand.

    Args:
        size: Entries in the tree.
        rows: Leaf hash by number of the entry.
        nodes: Hashes of the largest subtrees that hold none of the rows, from left to right. For
            one row they are its RFC 9162 inclusion proof; for all rows there are none.

    Raises:
        ValueError: A row is outside the tree, or there are too few or too many nodes.
    """
    numbers, left = sorted(rows), iter(nodes)
    if numbers and not 0 <= numbers[0] <= numbers[-1] < size:
        raise ValueError("a row is outside the log")

    def subtree(start: int, end: int, first: int, last: int) -> bytes:
        if first == last:
            return next(left)
        if end - start == 1:
            return rows[start]
        if last - first == end - start:
            return tree_root([rows[number] for number in range(start, end)])
        middle = start + split(end - start)
        cut = bisect_left(numbers, middle, first, last)
        return node_hash(subtree(start, middle, first, cut), subtree(middle, end, cut, last))

    try:
        root = subtree(0, size, 0, len(numbers)) if size else tree_root(())
    except StopIteration as error:
        raise ValueError("hashes of the proof are missing") from error
    if next(left, None) is not None:
        raise ValueError("the proof holds hashes that nothing needs")
    return root


def split(size: int) -> int:
    """The largest power of two below ``size``: how many entries the left subtree has."""
    return 1 << (size - 1).bit_length() - 1


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2).

    Raises:
        ValueError: The proof is too long or too short, or the index is outside the tree.
    """
    if not 0 <= index < size:
        raise ValueError("the entry is outside the log")
    number, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ValueError("the inclusion proof is too long")
        if number & 1 or number == last:
            found = node_hash(sibling, found)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        number, last = number >> 1, last >> 1
    if last:
        raise ValueError("the inclusion proof is too short")
    return found


def is_consistent(
    old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the newer tree begins with exactly the older one (RFC 9162, section 2.1.4.2)."""
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == tree_root(())
    if old > new or not proof:
        return False
    path = [*([old_root] if old & (old - 1) == 0 else []), *proof]
    number, last = old - 1, new - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    first = second = path[0]
    for node in path[1:]:
        if last == 0:
            return False
        if number & 1 or number == last:
            first, second = node_hash(node, first), node_hash(node, second)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            second = node_hash(second, node)
        number, last = number >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


MAP_DEPTH = 16
"""Levels of the map above its buckets: 65,536 buckets, 16 topics in each at a million topics."""

TopicTip = tuple[bytes, int, bytes]
"""A topic in the map: its key, how many entries it has, and the leaf hash of the last one."""


def topic_key(topic: str) -> bytes:
    """Where a topic stands in the map: the SHA-256 of its name."""
    return hashlib.sha256(topic.encode()).digest()


def bucket_of(key: bytes) -> int:
    """The bucket of a topic's key: its first 16 bits."""
    return int.from_bytes(key[:2])


def bucket_hash(tips: Sequence[TopicTip]) -> bytes:
    """The hash of a bucket: all its topics, ascending by key; zero if there are none."""
    if not tips:
        return bytes(32)
    content = b"".join(key + count.to_bytes(8) + leaf for key, count, leaf in tips)
    return hashlib.sha256(b"\x02" + content).digest()


def map_node(left: bytes, right: bytes) -> bytes:
    """The hash over two halves of the map; zero where both are empty."""
    both = left + right
    return hashlib.sha256(b"\x03" + both).digest() if any(both) else bytes(32)


def map_root_of(buckets: Mapping[int, bytes]) -> bytes:
    """The root of a map, from the hashes of its buckets that are not empty."""
    level, empty = dict(buckets), bytes(32)
    for _ in range(MAP_DEPTH):
        level = {
            index >> 1: map_node(level.get(index & ~1, empty), level.get(index | 1, empty))
            for index in level
        }
    return level.get(0, empty)


def map_root_from(bucket: int, found: bytes, siblings: Sequence[bytes]) -> bytes:
    """The root that a bucket's proof leads to; siblings from the bucket upwards.

    Raises:
        ValueError: Not a proof of this map's depth.
    """
    if len(siblings) != MAP_DEPTH:
        raise ValueError("not a proof of this map's depth")
    for sibling in siblings:
        found = map_node(sibling, found) if bucket & 1 else map_node(found, sibling)
        bucket >>= 1
    return found


_LOG_KEY, _WITNESS_KEY = b"\x01", b"\x04"
_SIGNATURE_LINE = "— "


@dataclass(frozen=True, slots=True)
class Note:
    """A signed note (C2SP signed-note): a text and signature lines, each with a name and a key id.

    ``text`` ends with a newline and is what is signed.
    """

    text: str
    signatures: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Read a note; a ValueError if it is not one in its only spelling."""
        text, gap, lines = data.decode().rpartition("\n\n")
        if not gap or not lines.endswith("\n"):
            raise ValueError("not a signed note")
        signatures = []
        for line in lines[:-1].split("\n"):
            name, space, blob = line.removeprefix(_SIGNATURE_LINE).partition(" ")
            if not line.startswith(_SIGNATURE_LINE) or not space or not name:
                raise ValueError("not a signature line")
            signatures.append((name, _base64(blob)))
        note = cls(text + "\n", tuple(signatures))
        if note.encode() != data:
            raise ValueError("not the only spelling of this note")
        return note

    def encode(self) -> bytes:
        """The note as it is stored and sent."""
        lines = (
            f"{_SIGNATURE_LINE}{name} {base64.b64encode(blob).decode()}\n"
            for name, blob in self.signatures
        )
        return f"{self.text}\n{''.join(lines)}".encode()

    def is_signed_by(self, name: str, key: bytes) -> bool:
        """Whether it carries a valid signature of a log: this name and raw Ed25519 key."""
        wanted = note_key_id(name, key, _LOG_KEY)
        return any(
            ed25519_verify(key, self.text.encode(), blob[4:])
            for by, blob in self.signatures
            if by == name and blob[:4] == wanted
        )

    def cosigned_at(self, name: str, key: bytes) -> int | None:
        """When a witness of this name and key co-signed, in Unix seconds; None if it did not."""
        wanted = note_key_id(name, key, _WITNESS_KEY)
        for by, blob in self.signatures:
            if by == name and blob[:4] == wanted and len(blob) == 76:
                time = int.from_bytes(blob[4:12])
                if ed25519_verify(key, cosigned_bytes(self.text, time), blob[12:]):
                    return time
        return None


def note_key_id(name: str, key: bytes, kind: bytes = _LOG_KEY) -> bytes:
    """Four bytes that tell keys of one name apart (C2SP signed-note; kind 4: tlog-cosignature)."""
    return hashlib.sha256(name.encode() + b"\n" + kind + key).digest()[:4]


def cosigned_bytes(text: str, time: int) -> bytes:
    """What a witness signs: the time and the checkpoint (C2SP tlog-cosignature, version 1)."""
    return f"cosignature/v1\ntime {time}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself (C2SP tlog-checkpoint), with our extension lines.

    Attributes:
        origin: Which log.
        size: How many entries.
        root: Root of the tree over them, 32 bytes.
        topics: Root of the map of topics, 32 bytes.
        block: Number and hash of the ledger's block that it reaches to; None if it is not about
            the ledger.
    """

    origin: str
    size: int
    root: bytes
    topics: bytes
    block: tuple[int, bytes] | None = None

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a note; a ValueError if it is not one of our checkpoints."""
        lines = text.split("\n")
        origin, size, root = lines[0], int(lines[1]), _base64(lines[2])
        extra = dict(line.split(" ", 1) for line in lines[3:-1])
        topics, block = _hex(extra["topics"], 32), None
        if "block" in extra:
            number, block_hash = extra["block"].split(" ")
            block = (int(number), _hex(block_hash, 32))
        checkpoint = cls(origin, size, root, topics, block)
        if len(root) != 32 or size < 0 or checkpoint.text != text:
            raise ValueError("not the only spelling of a checkpoint")
        return checkpoint

    @property
    def text(self) -> str:
        """The text that is signed."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode()]
        if self.block is not None:
            lines.append(f"block {self.block[0]} {self.block[1].hex()}")
        lines.append(f"topics {self.topics.hex()}")
        return "\n".join(lines) + "\n"


def _base64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("not the only spelling in base64")
    return data


# --- Arithmetic: the descent and the price in privacy, in plain IEEE 754 doubles ---------------


def take_step(
    plan: Mapping[str, Any],
    weights: list[float],
    words: Sequence[int],
    before: list[float] | None = None,
) -> list[float]:
    """One update; the same operations in the same order as every hospital did them.

    ``before`` are the weights one step earlier, None at the first; only ``fedavg`` has momentum.
    """
    local = plan["fedavg"]
    if local is not None:
        rate, grid = float(plan["learning_rate"]) / len(plan["sites"]), update_grid(local)
        moved = [w + rate * (float(s) * grid) for w, s in zip(weights, words, strict=True)]
        if before is None:
            return moved
        momentum = float(local["momentum"])
        last = zip(moved, weights, before, strict=True)
        return [m + momentum * (w - b) for m, w, b in last]
    rate, grid = float(plan["learning_rate"]) / plan["divisor"], float(plan["grid"])
    return [w - rate * (float(s) * grid) for w, s in zip(weights, words, strict=True)]


def update_grid(local: Mapping[str, Any]) -> float:
    """What one word of a summed update is worth, in units of the weights."""
    return float(local["max_update_norm"]) / 65536


def released_weights(plan: Mapping[str, Any], iterates: Sequence[list[float]]) -> list[float]:
    """The mean of the last iterates, added in order."""
    return mean_of(iterates[-plan["averaged_steps"] :])


def mean_of(several: Sequence[list[float]]) -> list[float]:
    """The mean of these weights, added in order."""
    total = [0.0] * len(several[0])
    for weights in several:
        total = [t + w for t, w in zip(total, weights, strict=True)]
    return [t / float(len(several)) for t in total]


def delta_of(mu: float, epsilon: float) -> float:
    """What mu-GDP means at this epsilon (Dong, Roth, Su 2022, corollary 2.13)."""
    low, high = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    beyond = math.erfc(high / math.sqrt(2)) / 2
    return math.erfc(low / math.sqrt(2)) / 2 - (math.exp(epsilon) * beyond if beyond else 0.0)


def mu_of(epsilon: float, delta: float) -> float:
    """The mu whose guarantee is exactly (epsilon, delta)."""
    return _solve(lambda mu: delta_of(mu, epsilon) > delta, 1e-6, 100.0)


def epsilon_of(mu: float, delta: float) -> float:
    """The epsilon of mu-GDP at this delta."""
    return _solve(lambda epsilon: delta_of(mu, epsilon) <= delta, 0.0, 700.0)


def _solve(holds: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def colluders(members: int) -> int:
    """How many members are assumed to pool what they know: 1 up to four, a third above."""
    return 1 if members <= 4 else -(-members // 3)


def charged_attempts(
    plan: Mapping[str, Any], *, closed: Mapping[str, int], lost: Sequence[str]
) -> dict[str, int]:
    """Attempts charged to each hospital of a plan.

    What it signed at the end; all that it reserved if it was lost on the way; 0 if it never began.
    """
    reserved = plan["steps"] + plan["spare_attempts"]
    return {org: closed.get(org, reserved if org in lost else 0) for org in plan["sites"]}


def price(plan: Mapping[str, Any]) -> tuple[float, float]:
    """What a whole run costs, as mu, and how much noise buys it, in units of the norm.

    A plan that samples patients states both: they come from numerical composition, which every
    hospital repeats before it takes part, and which needs more than the standard library.
    """
    sampling = plan["sampling"]
    if sampling is not None:
        return float(sampling["charged_mu"]), float(sampling["noise_multiplier"])
    mu = mu_of(float(plan["epsilon"]), float(plan["delta"]))
    releases = (plan["steps"] + plan["spare_attempts"]) * releases_per_attempt(plan)
    return mu, math.sqrt(releases) / mu


def releases_per_attempt(plan: Mapping[str, Any]) -> int:
    """How many noised sums over its patients a hospital makes for one attempt."""
    return 1 if plan["fedavg"] is None else int(plan["fedavg"]["local_steps"])


def privacy_statement(
    plan: Mapping[str, Any], *, member_counts: Sequence[int], charged: Mapping[str, int]
) -> dict[str, Any]:
    """The numbers of a model card's privacy statement; the card is made and checked by this.

    Args:
        plan: The payload of the plan.
        member_counts: |U| of every epoch of the run.
        charged: Attempts charged to each hospital.
    """
    epsilon, delta = float(plan["epsilon"]), float(plan["delta"])
    mu, noise_multiplier = price(plan)
    sampling, local = plan["sampling"], plan["fedavg"]

    def seen_by(knows: Callable[[int], int]) -> dict[str, float]:
        # The summed noise is spread over |U| - c; who knows k shares of it faces |U| - k. What a
        # sampled run gains by that is not a matter of proportion, so nothing is claimed for it;
        # nor for local steps, where each hospital adds all of the noise, for whoever looks.
        worst = max((n - colluders(n)) / (n - knows(n)) for n in member_counts)
        worst = worst if sampling is None and local is None else 1.0
        return {"mu": mu * math.sqrt(worst), "epsilon": epsilon_of(mu * math.sqrt(worst), delta)}

    return {
        "unit": "a patient at one hospital",
        "adjacency": "zero-out",
        "epsilon": epsilon,
        "delta": delta,
        "mu": mu,
        "noise_multiplier": noise_multiplier,
        "sample_rate": 1.0 if sampling is None else float(sampling["rate"]),
        "max_grad_norm": plan["max_grad_norm"],
        "grid": plan["grid"],
        "word_bits": plan["word_bits"],
        "steps": plan["steps"],
        "spare_attempts": plan["spare_attempts"],
        "releases_per_attempt": releases_per_attempt(plan),
        "attempts_charged": dict(charged),
        "fewest_members": min(member_counts),
        "fewest_honest_shares": 1 if local else min(n - colluders(n) for n in member_counts),
        "adversaries": {
            "public": seen_by(lambda _: 0),
            "one_other_hospital": seen_by(lambda _: 1),
            "coordinator_with_colluders": seen_by(colluders),
        },
        "patient_at_hospitals": {
            str(m): {"mu": m * mu, "epsilon": epsilon_of(m * mu, delta)} for m in (1, 2)
        },
        # Rounding to the grid adds less than 2^-1000 to delta at 2^10 grid steps of noise or more.
        "rounding_delta_log2": -1000,
    }


def auroc(ill: Sequence[float], well: Sequence[float], noise_sd: float) -> dict[str, float] | None:
    """What noised counts per bin say of a ranking, with a 95 % interval; None if too few.

    Ties count half; sampling variance after DeLong et al. 1988, noise by the delta method.
    """
    sick, fit = math.fsum(ill), math.fsum(well)
    if min(sick, fit) < 10 + 2 * noise_sd * math.sqrt(len(ill)):
        return None
    below = [math.fsum(well[:i]) + well[i] / 2 for i in range(len(well))]
    above = [math.fsum(ill[i + 1 :]) + ill[i] / 2 for i in range(len(ill))]
    beaten, losing = [b / fit for b in below], [a / sick for a in above]
    value = math.fsum(n * b for n, b in zip(ill, beaten, strict=True)) / sick
    slopes = [(b - value) / sick for b in beaten] + [(a - value) / fit for a in losing]
    noise = noise_sd * math.sqrt(math.fsum(s * s for s in slopes))

    def spread(counts: Sequence[float], scores: Sequence[float], total: float) -> float:
        around = math.fsum(n * (s - value) ** 2 for n, s in zip(counts, scores, strict=True))
        return max(0.0, around) / (total * max(1.0, total - 1))

    sampling = math.sqrt(spread(ill, beaten, sick) + spread(well, losing, fit))
    half = 1.959964 * math.hypot(noise, sampling)
    ties = math.fsum(a * b for a, b in zip(ill, well, strict=True))
    low, middle, high = (min(1.0, max(0.0, v)) for v in (value - half, value, value + half))
    return {
        "value": middle, "low": low, "high": high, "noise_sd": noise, "sampling_sd": sampling,
        "tied": max(0.0, ties) / (2 * sick * fit),
    }  # fmt: skip


def same_statement(stated: Json, recomputed: Json) -> bool:
    """Equal, with numbers to one part in a million: ``erfc`` differs between machines."""
    if isinstance(recomputed, dict):
        return (
            isinstance(stated, dict)
            and set(stated) == set(recomputed)
            and all(same_statement(stated[key], value) for key, value in recomputed.items())
        )
    if isinstance(recomputed, list):
        return (
            isinstance(stated, list)
            and len(stated) == len(recomputed)
            and all(map(same_statement, stated, recomputed))
        )
    if isinstance(recomputed, float) and isinstance(stated, int | float):
        return math.isclose(stated, recomputed, rel_tol=1e-6)
    return type(stated) is type(recomputed) and bool(stated == recomputed)


# --- Secure sum: signed heads of fixed width, words modulo 2^bits -----------------------------

_MAGIC = b"TWSUMA\x01"
_KEPT_DIMENSION = 65_536  # masked vectors of more numbers are not in a pack, only their digests
_COMMON = (("run", "32s"), ("plan", "32s"), ("epoch", "I"))
_HEADS: Mapping[str, tuple[int, tuple[tuple[str, str], ...]]] = {
    "offer": (2, (("roster", "32s"), ("history", "32s"), ("step", "I"), ("steps", "I"),
                  ("members", "I"), ("attempts_left", "I"), ("dimension", "I"),
                  ("word_bits", "I"))),
    "advertise": (3, (("sender", "32s"), ("roster", "32s"), ("key", "32s"), ("nonce", "32s"))),
    "roster": (4, (("roster", "32s"), ("setup", "32s"))),
    "masked": (5, (("sender", "32s"), ("setup", "32s"), ("history", "32s"), ("consent", "32s"),
                   ("vector", "32s"), ("step", "I"))),
    "sum": (6, (("setup", "32s"), ("history", "32s"), ("total", "32s"), ("heads", "32s"),
                ("step", "I"), ("then", "I"))),
    "close": (8, (("sender", "32s"), ("setup", "32s"), ("history", "32s"), ("model", "32s"),
                  ("steps", "I"), ("attempts", "I"))),
}  # fmt: skip


def read_head(name: str, head: bytes) -> dict[str, Any]:
    """The fields of a head; a ValueError if it is not one of this kind."""
    kind, own = _HEADS[name]
    layout = struct.Struct("<7sB" + "".join(width for _, width in _COMMON + own))
    if len(head) != layout.size or head[:8] != _MAGIC + bytes([kind]):
        raise ValueError(f"not a {name} head")
    values = layout.unpack(head)[2:]
    return {field: value for (field, _), value in zip(_COMMON + own, values, strict=True)}


def sum_of_vectors(vectors: Sequence[bytes], bits: int) -> bytes:
    """The masked vectors added word by word modulo 2^bits: where all are there, masks cancel."""
    letter, mask = {32: "I", 64: "Q"}[bits], 2**bits - 1
    columns = zip(
        *(struct.unpack(f"<{len(v) * 8 // bits}{letter}", v) for v in vectors), strict=True
    )
    words = [sum(column) & mask for column in columns]
    return struct.pack(f"<{len(words)}{letter}", *words)


def robust_sum(local: Mapping[str, Any], updates: Sequence[Sequence[int]]) -> list[int]:
    """The robust mean of visible updates times their number; as ``server.flower_aggregate``.

    All lengths and distances are whole numbers; each result is rounded once, halves to even.
    """
    count, hostile, rule = len(updates), local["hostile"], local["rule"]
    inside = [_cut(update) for update in updates]
    if rule == "krum":
        nearest = max(1, count - hostile - 2)

        def distance(update: Sequence[int]) -> int:
            far = [sum((a - b) ** 2 for a, b in zip(update, o, strict=True)) for o in inside]
            return sum(sorted(far)[1 : nearest + 1])

        return [count * word for word in min(inside, key=distance)]
    columns = [sorted(column) for column in zip(*inside, strict=True)]
    if rule == "median":
        hostile = (count - 1) // 2  # all but the middle one or two
    if rule in {"median", "trimmed_mean"}:
        columns = [column[hostile : count - hostile] for column in columns]
    return [round(count * (sum(column) / len(column))) for column in columns]


def _cut(update: Sequence[int]) -> list[int]:
    inside = [max(-65536, min(65536, word)) for word in update]
    square, most = sum(word * word for word in inside), 65536 + math.isqrt(len(inside)) + 1
    if square <= most**2:
        return inside
    shrink = 65536 / math.sqrt(square)
    return [round(word * shrink) for word in inside]


def signed_words(total: bytes, bits: int) -> tuple[list[int], bool]:
    """The integers of a sum, and whether its 128 guard bits came out zero."""
    words = struct.unpack(
        f"<{(len(total) - 16) * 8 // bits}{'i' if bits == 32 else 'q'}", total[:-16]
    )
    return list(words), not any(total[-16:])


def history_next(
    history: bytes, epoch: int, step: int, members: Sequence[bytes], total: bytes
) -> bytes:
    """The running hash of a run, over the digests of its sums."""
    return tagged_hash(
        "secsum-a/step/v1",
        history,
        epoch.to_bytes(4, "little"),
        step.to_bytes(4, "little"),
        b"".join(sorted(members)),
        total,
    )


def read_safetensors(data: bytes) -> list[float]:
    """The one float64 vector ``weights`` of a safetensors file that holds nothing else."""
    length = int.from_bytes(data[:8], "little")
    head = _parse_any(data[8 : 8 + length])
    body = data[8 + length :]
    tensor = head.pop("weights")
    head.pop("__metadata__", None)
    count = len(body) // 8
    expected = {"dtype": "F64", "shape": [count], "data_offsets": [0, len(body)]}
    if head or tensor != expected or len(body) != 8 * count:
        raise ValueError("not one float64 vector named `weights`")
    return list(struct.unpack(f"<{count}d", body))


# --- The checks, in the order in which trust is built up ---------------------------------------

NOT_SHOWN = (
    "that hospitals computed honestly, on consenting patients only: nobody can from outside",
    "trusted time, or that the ledger's operator left nothing out: 1 operator, 0 witnesses",
)
_CO_SIGNED = (
    "trusted time, or that the ledger's operator took in everything that it was sent; hospitals "
    "executed its blocks again and co-signed: 1 operator, "
)
"""What no pack of this version establishes; part of every report."""


@dataclass(slots=True)
class _Pack:
    """The records, and which of them was read last: that is where garbage is reported."""

    records: Mapping[str, bytes]
    at: str = "archive"

    def raw(self, name: str) -> bytes:
        self.at = name
        if name not in self.records:
            _broken("V011", name, "the record is missing")
        return self.records[name]

    def json(self, name: str) -> Json:
        return parse(self.raw(name))

    def fields(self, name: str, *fields: str) -> Json:
        value = self.json(name)
        if set(value) != set(fields):
            raise ValueError(f"expected exactly {', '.join(fields)}")
        return value

    def document(self, name: str, kind: str) -> Document:
        return Document.of(self.json(name), kind)

    def under(self, folder: str) -> list[str]:
        return [name for name in sorted(self.records) if name.startswith(folder)]


@dataclass(frozen=True, slots=True)
class _Member:
    org: str
    role: str
    key: bytes
    account: bytes

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(self.key).digest()


@dataclass(frozen=True, slots=True)
class _Network:
    """Who is who, from a founding file whose every signature was checked."""

    members: Mapping[bytes, _Member]
    coordinator: _Member
    genesis: str
    contracts: Mapping[str, bytes]

    def hospitals(self, orgs: Sequence[str]) -> dict[bytes, _Member]:
        return {f: m for f, m in self.members.items() if m.role == "hospital" and m.org in orgs}


def _enough(plan: Mapping[str, Any], present: set[str]) -> bool:
    """Whether these hospitals hold the part of the patients, as declared, that each step needs."""
    if (sizes := plan.get("sizes")) is None:
        return True
    declared = dict(zip(plan["sites"], sizes["classes"], strict=True))
    there = sum(size for site, size in declared.items() if site in present)
    return bool(100 * there >= sizes["least_percent"] * sum(declared.values()))


@dataclass(frozen=True, slots=True)
class _Run:
    """What was agreed before anything was computed."""

    id: bytes
    plan: Mapping[str, Any]
    plan_digest: bytes
    folder: str = ""

    def evaluation(self) -> _Run | None:
        """Its evaluation as a run of one step over histograms; None if the plan has none."""
        terms = self.plan.get("evaluation")
        if terms is None:
            return None
        numbers = {
            **self.plan, "steps": 1, "spare_attempts": terms["spare_attempts"],
            "averaged_steps": 1, "epsilon": terms["epsilon"], "max_grad_norm": 1.0,
            "sampling": None, "aggregate": "secure_sum", "fedavg": None, "sizes": None,
            "grid": 1 / 65536, "start_weights": [0.0] * (2 * terms["bins"]),
        }  # fmt: skip
        run = tagged_hash("evaluation/v1", self.id)
        return _Run(run, numbers, self.plan_digest, folder="evaluation/")

    @property
    def attempts(self) -> int:
        return int(self.plan["steps"] + self.plan["spare_attempts"])

    @property
    def largest_sum(self) -> float:
        """Public range of a coordinate of a sum, in grid steps; as in ``twinward.plan``."""
        plan = self.plan
        if plan["fedavg"] is not None:
            return float(len(plan["sites"]) * 65536)  # updates are cut after the noise
        norm = float(plan["max_grad_norm"])
        _, sigma = price(plan)
        patients = len(plan["sites"]) * plan["max_patients_per_hospital"] * norm
        return float((patients + 24 * sigma * norm) / plan["grid"] * (1 + 1e-6) + 1)


@dataclass(slots=True)
class _Transcript:
    """How far re-adding has come; at the end, what the run must have released."""

    history: bytes
    weights: list[float]
    before: list[float] | None = None
    iterates: list[list[float]] = field(default_factory=list)
    totals: list[list[int]] = field(default_factory=list)
    member_counts: list[int] = field(default_factory=list)
    sent: dict[bytes, int] = field(default_factory=dict)
    consent_heads: set[bytes] = field(default_factory=set)
    everyone: set[bytes] = field(default_factory=set)
    members: tuple[bytes, ...] = ()
    setup: bytes = b""
    dead: int = 0

    @property
    def step(self) -> int:
        return len(self.iterates)


Progress = Callable[[str], None]
"""Is told now and then how far a long verification has come."""


def _silent(_: str) -> None:
    """Nobody wants to know how far it has come."""


def verify(
    path: Path | str,
    *,
    founding: bytes | None = None,
    founding_sha256: str | None = None,
    fast: bool = False,
    progress: Progress = _silent,
) -> Report:
    """Check everything that a file of evidence can show.

    Args:
        path: A pack, an ensemble of packs, an answer, or evidence of a fork or of censorship.
        founding: The auditor's own copy of the founding file; the pack's must equal it.
        founding_sha256: SHA-256 of that file in hex, where only the hash is at hand.
        fast: Of a pack check every hash, the coordinator's signatures and one storage proof only.
        progress: Is told how far it has come.

    Returns:
        A report; never an exception, whatever the file holds.
    """
    try:
        data = _read(Path(path))
    except Broken as broken:
        return Report(False, (), (broken.fault,), NOT_SHOWN)
    return verify_bytes(
        data, founding=founding, founding_sha256=founding_sha256, fast=fast, progress=progress
    )


def verify_bytes(
    data: bytes,
    *,
    founding: bytes | None = None,
    founding_sha256: str | None = None,
    fast: bool = False,
    progress: Progress = _silent,
) -> Report:
    """The same for a file in memory."""
    try:
        records, faults = read_archive(data)
        kinds = {
            ANSWER: _AnswerAudit, FORK: _ForkAudit, CENSORED: _CensorshipAudit,
            ENSEMBLE: _EnsembleAudit,
        }  # fmt: skip
        audit = next((kind for name, kind in kinds.items() if name in records), _Audit)
        pins = (founding, founding_sha256)
        return audit(records, faults, pins=pins, fast=fast, progress=progress).run()
    except Broken as broken:
        return Report(False, (), (broken.fault,), NOT_SHOWN)


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():
            _broken("V004", "archive", f"{path} is not a file")
        if path.stat().st_size > MAX_PACK_BYTES:
            _broken("V004", "archive", f"larger than {MAX_PACK_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise Broken("V004", "archive", f"cannot be read: {error.strerror}") from error


class _Audit:
    """One verification: stages that each stand on the last one."""

    def __init__(
        self,
        records: Mapping[str, bytes],
        faults: list[Fault],
        *,
        pins: tuple[bytes | None, str | None],
        fast: bool,
        progress: Progress,
    ) -> None:
        self.pack = _Pack(records)
        self.faults = faults
        self.pins = pins
        self.fast = fast
        self.progress = progress
        self.checks: list[Check] = []
        self.notes: list[str] = list(NOT_SHOWN)

    def run(self) -> Report:
        """All stages; after a fault nothing that would stand on it is reported as established."""
        try:
            self._stages()
        except Broken as broken:
            self.faults.append(broken.fault)
        except _GARBAGE as error:
            what = f"cannot be read ({type(error).__name__}: {str(error)[:120]})"
            self.faults.append(Fault("V003", self.pack.at, what))
        if self.faults:
            self.notes.insert(0, "checks after the first fault were not made")
        return Report(not self.faults, tuple(self.checks), tuple(self.faults), tuple(self.notes))

    def _stages(self) -> None:
        if self.faults:
            return
        network = self._founding()
        manifest = self._manifest(network)
        if self.faults:
            return
        run = self._plan(network, manifest)
        if self.fast:
            self._fast_path(network, run)
            return
        transcript = self._transcript(network, run)
        weights = released_weights(run.plan, transcript.iterates)
        digest = _weights_digest(weights)
        charged = self._closings(network, run, transcript, digest)
        release = self._release(network, run, transcript, weights)
        self._card(run, transcript, weights, charged)
        measured = self._evaluation(network, run, release, digest)
        self._ledger(network, run, transcript, release, measured)

    def _passed(self, name: str, detail: str) -> None:
        self.checks.append(Check(name, detail))

    def _coordinator_signed(
        self, document: Document, network: _Network, record: str, code: str
    ) -> None:
        if not document.is_signed_by(network.coordinator.key):
            _broken(code, record, "the coordinator's signature is missing or does not fit")

    def _head(self, name: str, signed: str, signer: _Member, code: str) -> dict[str, Any]:
        """The fields of a head, if this member signed exactly its bytes."""
        blob = _hex(signed)
        head, signature = blob[:-64], blob[-64:]
        message = pre_authentication_encoding(f"twinward/secsum-a/{name}/v1", head)
        if not ed25519_verify(signer.key, message, signature):
            _broken(code, self.pack.at, f"the signature of {signer.org} on a `{name}` does not fit")
        return read_head(name, head)

    # Identities: all lead back to the founding file.

    def _founding(self) -> _Network:
        data, (own, digest) = self.pack.raw("founding.json"), self.pins
        found = hashlib.sha256(data).hexdigest()
        if (own is not None and own != data) or (digest is not None and digest.lower() != found):
            _broken("V022", "founding.json", "not the founding file that you hold")
        if own is None and digest is None:
            self.notes.append(
                "who the members are is taken from the pack's own founding file, SHA-256 "
                f"{found}: compare it with a copy you trust, or use --founding"
            )
        document = self.pack.document("founding.json", "twinward/founding/v1")
        members = [_founding_member(entry) for entry in document.payload["members"]]
        for member in members:
            if not document.is_signed_by(member.key):
                _broken("V020", "founding.json", f"the signature of {member.org} does not fit")
        roles = sorted(member.role for member in members)
        distinct = all(
            len({getattr(member, name) for member in members}) == len(members)
            for name in ("org", "key", "account")
        )
        if roles[:1] != ["coordinator"] or set(roles[1:]) != {"hospital"} or not distinct:
            _broken("V021", "founding.json", "not one coordinator and distinct hospitals")
        founders = len(members)
        members = self._joined(document, members)
        chain = document.payload["chain"]
        contracts = self._moved(document, members)
        network = _Network(
            members={member.fingerprint: member for member in members},
            coordinator=next(m for m in members if m.role == "coordinator"),
            genesis=_hex(chain["genesis_hash"], 32).hex(),
            contracts={name: _0x(address) for name, address in contracts.items()},
        )
        pinned = "the one you hold" if own or digest else "not compared with a copy of yours"
        self._passed("founding", f"{founders} members, signed by every one; {pinned}")
        if len(members) > founders:
            later = ", ".join(member.org for member in members[founders:])
            self._passed("joined", f"endorsed by all hospitals before but one: {later}")
        return network

    def _moved(self, founding: Document, members: list[_Member]) -> Mapping[str, str]:
        """Where the contracts stood at last: each move signed by whom it had to be signed by.

        Every founding hospital has to sign, or to be named as suspended; of those that joined
        later the founding file does not say when, so the move's own word counts.
        """
        name, chain = "moves.json", founding.payload["chain"]
        contracts: Mapping[str, str] = chain["contracts"]
        if name not in self.pack.records:
            return contracts
        hospitals = {one.fingerprint.hex(): one for one in members if one.role == "hospital"}
        founders = [_founding_member(entry) for entry in founding.payload["members"]]
        asked = {one.fingerprint.hex() for one in founders if one.role == "hospital"}
        for number, value in enumerate(self.pack.fields(name, "moves")["moves"], 1):
            move = Document.of(value, "twinward/moved/v1")
            said, signers = move.payload, set(move.payload["signers"])
            excused, named = set(said["suspended"]), signers | set(said["suspended"])
            here = (chain["genesis_hash"], founding.digest.hex(), number, contracts)
            if (said["genesis"], said["founding"], said["number"], said["old"]) != here:
                _broken("V024", name, f"move {number} is not the next one of this network")
            if any(said["new"][kept] != contracts[kept] for kept in ("membership", "consent")):
                _broken("V024", name, f"move {number} moves what patients or members signed for")
            if not asked <= named <= set(hospitals) or 2 * len(signers) <= len(named):
                _broken("V024", name, f"move {number} does not ask for the hospitals' signatures")
            if signers & excused or not all(move.is_signed_by(hospitals[s].key) for s in signers):
                _broken("V024", name, f"move {number} was not signed by every active hospital")
            contracts = said["new"]
            without = ", ".join(sorted(hospitals[one].org for one in excused))
            self._passed(
                "moved",
                f"contracts moved at block {said['block']}: {said['reason']}; signed by"
                f" {len(signers)} hospitals" + (f"; suspended then: {without}" if without else ""),
            )
        return contracts

    def _joined(self, founding: Document, members: list[_Member]) -> list[_Member]:
        """Who joined since, in order: all hospitals before it but one, at least two, signed."""
        name = "admissions.json"
        if name not in self.pack.records:
            return members
        for value in self.pack.fields(name, "admissions")["admissions"]:
            admission = Document.of(value, "twinward/admission/v1")
            member = _founding_member(admission.payload["member"])
            hospitals = [one for one in members if one.role == "hospital"]
            signed = sum(admission.is_signed_by(one.key) for one in hospitals)
            if signed < max(2, len(hospitals) - 1):
                _broken("V023", name, f"{member.org} was endorsed by {signed} hospitals only")
            shared = any(
                getattr(one, part) == getattr(member, part)
                for one in members
                for part in ("org", "key", "account")
            )
            if admission.payload["founding"] != founding.digest.hex() or shared:
                _broken("V023", name, f"{member.org} joined another network or in another's name")
            if member.role != "hospital":
                _broken("V023", name, f"{member.org} did not join as a hospital")
            members = [*members, member]
        return members

    # Integrity: every byte is one that the coordinator signed for.

    def _manifest(self, network: _Network) -> Document:
        manifest = self.pack.document("manifest.json", "twinward/pack/v1")
        self._coordinator_signed(manifest, network, "manifest.json", "V010")
        listed = manifest.payload["records"]
        present = set(self.pack.records) - {"manifest.json"}
        for name in sorted(present | set(listed)):
            if name not in present:
                self.faults.append(Fault("V011", name, "the record is missing"))
            elif name not in listed:
                self.faults.append(Fault("V012", name, "the record is not in the manifest"))
            elif hashlib.sha256(self.pack.records[name]).hexdigest() != listed[name]:
                self.faults.append(
                    Fault("V013", name, f"{name} is not the record that the manifest lists")
                )
        if not self.faults:
            count = len(self.pack.records)
            self._passed("manifest", f"{count} records, all as the coordinator signed them")
        return manifest

    # What was agreed.

    def _plan(self, network: _Network, manifest: Document) -> _Run:
        document = self.pack.document("plan.json", "twinward/plan/v1")
        self._coordinator_signed(document, network, "plan.json", "V030")
        plan, sizes = document.payload, document.payload.get("sizes")
        sound = (
            plan["network"] == network.genesis
            and plan["grid"] == plan["max_grad_norm"] / 65536
            and 1 <= plan["averaged_steps"] <= plan["steps"]
            and len(network.hospitals(plan["sites"])) == len(plan["sites"]) >= 3
            and plan["word_bits"] in {32, 64}
            and plan["aggregate"] in {"secure_sum", "fedavg"}
            and (plan["aggregate"] == "fedavg") == (plan["fedavg"] is not None)
            and (sizes is None or len(sizes["classes"]) == len(plan["sites"]))
        )
        if not sound:
            _broken("V031", "plan.json", "of another network, or its numbers contradict each other")
        order = self.pack.document("run.json", "twinward/run/v1")
        self._coordinator_signed(order, network, "run.json", "V032")
        run = _Run(_hex(order.payload["run"], 32), plan, document.digest)
        for record, payload in (("run.json", order.payload), ("manifest.json", manifest.payload)):
            if (payload["run"], payload["plan"]) != (run.id.hex(), run.plan_digest.hex()):
                _broken("V033", record, "it is of another run or plan")
        self._passed(
            "plan",
            f"{plan['study']}, {plan['model']}: epsilon {plan['epsilon']}, delta {plan['delta']}, "
            f"{plan['steps']} steps and {plan['spare_attempts']} spare attempts"
            f"{self._shard(run, order.payload.get('shard'))}",
        )
        return run

    def _shard(self, run: _Run, shard: Json) -> str:
        """Which shard was ordered, in words; the run's name binds everyone who signed to it."""
        shards = run.plan.get("shards")
        if shards is None and shard is None:
            return ""
        if shards is None or shard is None or set(shard) != {"number", "seed"}:
            _broken("V034", "run.json", "plan and order disagree on whether there are shards")
        number, seed = shard["number"], _hex(shard["seed"], 32)
        if type(number) is not int or not 0 <= number < shards:
            _broken("V034", "run.json", f"the plan has no shard {str(number)[:20]}")
        if run.id != tagged_hash("shard-run/v1", seed, bytes([number])):
            _broken("V034", "run.json", "the run is not named after the shard that was ordered")
        return f"; shard {number} of {shards}"

    # The masked vectors, added again.

    def _transcript(self, network: _Network, run: _Run) -> _Transcript:
        transcript = _Transcript(
            history=tagged_hash("secsum-a/start/v1", run.id, run.plan_digest),
            weights=[float(weight) for weight in run.plan["start_weights"]],
        )
        last, start = 0, len(run.folder)
        attempts = {name: name[start:][9:13] for name in self.pack.under(f"{run.folder}attempts/")}
        epochs = {name: name[start:][7:11] for name in self.pack.under(f"{run.folder}epochs/")}
        for name, digits in epochs.items():
            number = int(digits)
            if name != f"{run.folder}epochs/{number:04d}.json" or number <= last:
                _broken("V040", name, "not the name of an epoch")
            last = number
            mine = [attempt for attempt, epoch in attempts.items() if epoch == digits]
            self._epoch(network, run, transcript, name, mine, number=number)
        stray = set(attempts.values()) - set(epochs.values())
        if stray:
            missing = f"{run.folder}epochs/{min(stray)}.json"
            _broken("V040", missing, "the epoch of an attempt is missing")
        if transcript.step != run.plan["steps"]:
            where = list(attempts)[-1:] or [f"{run.folder}attempts"]
            what = f"the run ends after {transcript.step} of {run.plan['steps']} steps"
            _broken("V056", where[0], what)
        vectors = sum(transcript.sent.values())
        local = run.plan["fedavg"]
        how = f"{transcript.step} sums re-added from {vectors} signed masked vectors"
        if local is not None and local["visible_updates"]:
            how = f"{transcript.step} times `{local['rule']}` over {vectors} signed visible vectors"
        if len(transcript.weights) > _KEPT_DIMENSION:
            how = (
                f"{transcript.step} sums NOT re-added: so large vectors are not kept, "
                f"only their {vectors} signed digests"
            )
        self._passed(
            "evaluation" if run.folder else "sums",
            f"{how} in {len(epochs)} epochs; {transcript.dead} attempts came to nothing",
        )
        return transcript

    def _epoch(
        self,
        network: _Network,
        run: _Run,
        state: _Transcript,
        name: str,
        attempts: list[str],
        *,
        number: int,
    ) -> None:
        record = self.pack.fields(name, "members", "offer", "adverts", "roster")
        members = tuple(_hex(member, 32) for member in record["members"])
        allowed = network.hospitals(run.plan["sites"])
        count = len(members)
        if list(members) != sorted(set(members)) or not set(members) <= set(allowed):
            _broken("V040", name, "its members are not distinct hospitals of the plan")
        if not 3 <= count <= 64 or count - colluders(count) < 2:
            _broken("V040", name, f"{count} members cannot hide one another")
        if not _enough(run.plan, {allowed[member].org for member in members}):
            _broken("V040", name, "its members hold too small a part of the declared patients")
        offer = self._head("offer", record["offer"], network.coordinator, "V041")
        roster = tagged_hash("secsum-a/roster/v1", b"".join(members))
        place = {"run": run.id, "plan": run.plan_digest, "epoch": number}
        expected = {
            **place, "roster": roster, "history": state.history, "step": state.step + 1,
            "steps": run.plan["steps"], "members": count,
            "dimension": len(state.weights), "word_bits": run.plan["word_bits"],
        }  # fmt: skip
        self._agrees(offer, expected, "V042", "the offer")
        if offer["attempts_left"] > run.attempts:
            _broken("V042", name, "the offer claims more attempts than the plan has")
        keys = []
        for member, advert in zip(members, record["adverts"], strict=True):
            head = self._head("advertise", advert, allowed[member], "V041")
            self._agrees(head, {**place, "sender": member, "roster": roster}, "V042", "an advert")
            keys.append(head["key"])
        if len(set(keys)) != count:
            _broken("V042", name, "two members announced the same key")
        heads = [_hex(blob)[:-64] for blob in (record["offer"], *record["adverts"])]
        setup = tagged_hash("secsum-a/setup/v1", *heads)
        head = self._head("roster", record["roster"], network.coordinator, "V041")
        self._agrees(head, {**place, "roster": roster, "setup": setup}, "V042", "the roster")
        state.member_counts.append(count)
        state.members, state.setup = members, setup
        state.everyone.update(members)
        for index, attempt in enumerate(attempts):
            self.progress(f"{run.folder}step {state.step + 1} of {run.plan['steps']}")
            if not self._attempt(network, run, state, attempt, place) and attempts[index + 1 :]:
                _broken("V056", attempt, "the epoch went on after an attempt without a sum")

    def _agrees(
        self, head: Mapping[str, Any], expected: Mapping[str, Any], code: str, what: str
    ) -> None:
        wrong = [field for field, value in expected.items() if head[field] != value]
        if wrong:
            _broken(code, self.pack.at, f"{what} disagrees with the rest in `{wrong[0]}`")

    def _attempt(
        self, network: _Network, run: _Run, state: _Transcript, name: str, place: dict[str, Any]
    ) -> bool:
        """One attempt: every vector is as signed, and together they are the sum if there is one."""
        record = self.pack.fields(name, "masked", "sum")
        step = state.step + 1
        if name != f"{run.folder}attempts/{place['epoch']:04d}-{step:05d}.json":
            _broken("V056", name, f"step {step} was expected here")
        now = {**place, "setup": state.setup, "history": state.history, "step": step}
        vectors = [self._masked(network, state, entry, now) for entry in record["masked"]]
        senders = [_hex(e["signed"])[_SENDER] for e in record["masked"]]
        if senders != sorted(set(senders)):
            _broken("V052", name, "a member sent twice, or the vectors are out of order")
        if record["sum"] is None:
            state.dead += 1
            return False
        if tuple(senders) != state.members:
            _broken("V052", name, "the sum is not over exactly the members of the epoch")
        total, bits = _hex(record["sum"]["words"]), run.plan["word_bits"]
        kept = [vector for vector in vectors if vector is not None]
        if len(kept) == len(vectors) and self._together(run, kept) != total:
            _broken("V053", name, "the vectors together do not give the sum")
        blobs = [_hex(entry["signed"]) for entry in record["masked"]]
        head = self._head("sum", record["sum"]["signed"], network.coordinator, "V055")
        expected = {
            **now,
            "total": tagged_hash("secsum-a/total/v1", total),
            "heads": tagged_hash("secsum-a/heads/v1", *blobs),
        }
        self._agrees(head, expected, "V055", "the sum")
        words, guarded = signed_words(total, bits)
        if not guarded or max(map(abs, words)) > run.largest_sum:
            _broken("V054", name, "masks did not cancel: guard words not zero, or out of range")
        state.history = history_next(
            state.history, place["epoch"], step, state.members, head["total"]
        )
        moved = take_step(run.plan, state.weights, words, state.before)
        state.weights, state.before = moved, state.weights
        state.iterates.append(state.weights)
        if run.folder:  # of a run of large vectors only the model is kept
            state.totals.append(words)
        return True

    def _together(self, run: _Run, vectors: Sequence[bytes]) -> bytes:
        """What these vectors give together: their sum, or the plan's robust rule if visible."""
        local, bits = run.plan["fedavg"], run.plan["word_bits"]
        if local is None or not local["visible_updates"]:
            return sum_of_vectors(vectors, bits)
        words = robust_sum(local, [signed_words(vector, bits)[0] for vector in vectors])
        return struct.pack(f"<{len(words)}{'i' if bits == 32 else 'q'}", *words) + bytes(16)

    def _masked(
        self, network: _Network, state: _Transcript, entry: Json, now: Mapping[str, Any]
    ) -> bytes | None:
        sender = _hex(entry["signed"])[_SENDER]
        if sender not in state.members:
            _broken("V052", self.pack.at, "a vector of someone outside the epoch")
        head = self._head("masked", entry["signed"], network.members[sender], "V050")
        self._agrees(head, now, "V052", f"a vector of {network.members[sender].org}")
        vector = None if entry["vector"] is None else _hex(entry["vector"])
        if vector is None:
            if len(state.weights) <= _KEPT_DIMENSION:
                _broken("V051", self.pack.at, "the vector is missing from the record")
        elif tagged_hash("secsum-a/vector/v1", vector) != head["vector"]:
            who = network.members[sender].org
            _broken("V051", self.pack.at, f"the vector is not the one that {who} signed")
        state.sent[sender] = state.sent.get(sender, 0) + 1
        state.consent_heads.add(head["consent"])
        return vector

    # What came out.

    def _closings(
        self, network: _Network, run: _Run, state: _Transcript, model: bytes
    ) -> dict[str, int]:
        """Attempts charged to each hospital, as it signed them."""
        record = f"{run.folder}closings.json"
        closes = self.pack.fields(record, "closes")["closes"]
        closed: dict[str, int] = {}
        if [_hex(blob)[_SENDER] for blob in closes] != list(state.members):
            _broken("V060", record, "not signed by every member of the last epoch")
        expected = {
            "run": run.id, "plan": run.plan_digest, "setup": state.setup, "steps": state.step,
            "history": state.history, "model": model,
        }  # fmt: skip
        for member, blob in zip(state.members, closes, strict=True):
            head = self._head("close", blob, network.members[member], "V060")
            who = network.members[member].org
            self._agrees(head, expected, "V061", f"the closing of {who}")
            if not state.sent.get(member, 0) <= head["attempts"] <= run.attempts:
                _broken("V062", record, f"{who} was charged {head['attempts']} attempts")
            closed[who] = head["attempts"]
        lost = [network.members[f].org for f in state.everyone - set(state.members)]
        charged = charged_attempts(run.plan, closed=closed, lost=lost)
        self._passed(
            "evaluation closings" if run.folder else "closings",
            f"all {len(closes)} members of the last epoch signed this model; at most "
            f"{max(charged.values())} of {run.attempts} attempts charged",
        )
        return charged

    def _release(
        self, network: _Network, run: _Run, state: _Transcript, weights: list[float]
    ) -> Document:
        stored = read_safetensors(self.pack.raw("model.safetensors"))
        if struct.pack(f"<{len(stored)}d", *stored) != struct.pack(f"<{len(weights)}d", *weights):
            _broken("V070", "model.safetensors", "the weights are not those that the sums give")
        release = self._signed_release(
            network, run, weights=_weights_digest(weights).hex(), history=state.history.hex()
        )
        self._passed("model", f"{len(weights)} weights recomputed from the sums, bit for bit")
        return release

    def _signed_release(self, network: _Network, run: _Run, **more: str) -> Document:
        """The release, if the coordinator signed it for this run and these very records."""
        release = self.pack.document("release.json", "twinward/release/v1")
        self._coordinator_signed(release, network, "release.json", "V071")
        payload = release.payload
        expected = {
            "run": run.id.hex(), "plan": run.plan_digest.hex(), "study": run.plan["study"],
            "model": run.plan["model"], **more,
        }  # fmt: skip
        self._agrees(payload, expected, "V071", "the release")
        named = set(payload["records"])
        if not _RELEASED <= named <= _RELEASED | _ALSO_RELEASED:
            _broken("V071", "release.json", "not a release of model and card")
        for name, digest in payload["records"].items():
            if hashlib.sha256(self.pack.raw(name)).hexdigest() != digest:
                _broken("V071", name, "not the record that the release names")
        return release

    def _fast_path(self, network: _Network, run: _Run) -> None:
        """What needs no arithmetic: the signed release, and that it stands on the ledger."""
        release = self._signed_release(network, run)
        files = len(release.payload["records"])
        self._passed("release", f"signed for this run, with {files} files")
        self.notes.insert(
            0,
            "fast path: sums were not added again, the model, its card and figures not recomputed, "
            "and neither hospitals' signatures nor reservations were checked",
        )
        record = self.pack.fields("ledger.json", "blocks", "proofs")
        proof = next((p for p in record["proofs"] if p["claim"] == "record"), None)
        if proof is None:
            self.notes.append("the pack holds no ledger proofs: the release was not looked up")
            return
        roots = dict(self._block(network, block) for block in record["blocks"])
        self._witnesses(network, record["blocks"])
        self._recorded(network, release, roots[proof["block"]], proof)
        self._passed("ledger", f"the release is proved under block {proof['block']}")

    def _card(
        self, run: _Run, state: _Transcript, weights: list[float], charged: dict[str, int]
    ) -> None:
        card = self.pack.json("card.json")
        expected = {
            "run": run.id.hex(), "plan": run.plan_digest.hex(), "study": run.plan["study"],
            "model": run.plan["model"], "weights": _weights_digest(weights).hex(),
        }  # fmt: skip
        self._agrees(card, expected, "V080", "the card")
        statement = privacy_statement(run.plan, member_counts=state.member_counts, charged=charged)
        wrong = [
            key for key in statement if not same_statement(card["privacy"].get(key), statement[key])
        ]
        if wrong or set(card["privacy"]) != set(statement):
            what = f"`{wrong[0]}` is not what plan and transcript give" if wrong else "has more"
            _broken("V081", "card.json", f"the privacy statement: {what}")
        if run.plan["sampling"] is not None:
            self.notes.append(
                "patients were sampled: that the plan's epsilon, noise and charged mu belong "
                "together was checked by every hospital that took part, not here"
            )
        self._passed(
            "card",
            f"privacy statement recomputed: mu {statement['mu']:.4f}, noise multiplier "
            f"{statement['noise_multiplier']:.2f}, worst honest shares "
            f"{statement['fewest_honest_shares']}",
        )

    # How it was measured.

    def _evaluation(
        self, network: _Network, run: _Run, release: Document, model: bytes
    ) -> tuple[_Run, _Transcript] | None:
        """The histogram added again, and what follows from it; None if there is none."""
        evaluation, name = run.evaluation(), "evaluation.json"
        if (evaluation is not None) != (name in release.payload["records"]):
            _broken("V100", name, "the plan wants an evaluation and there is none, or the reverse")
        stray = self.pack.under("evaluation/")
        if evaluation is None:
            if stray:
                _broken("V100", stray[0], "the plan wants no evaluation")
            return None
        record = self.pack.json(name)
        expected = {
            "schema": "twinward/evaluation/v1", "run": run.id.hex(), "weights": model.hex(),
            "plan": run.plan_digest.hex(), "evaluation": evaluation.id.hex(),
        }  # fmt: skip
        self._agrees(record, expected, "V101", "the evaluation")
        if record["missing"] is not None:
            if stray or set(record) != {*expected, "missing"}:
                _broken("V100", name, "figures of an evaluation that came to nothing")
            self.notes.append(f"the model was released unmeasured: {str(record['missing'])[:200]}")
            return None
        state = self._transcript(network, evaluation)
        charged = self._closings(network, evaluation, state, model)
        self.pack.at = name
        numbers, figures = evaluation.plan, record["figures"]
        statement = privacy_statement(numbers, member_counts=state.member_counts, charged=charged)
        counts, members = [n * numbers["grid"] for n in state.totals[0]], len(state.members)
        noise_sd = statement["noise_multiplier"] * math.sqrt(
            members / (members - colluders(members))
        )
        ill, well = counts[: len(counts) // 2], counts[len(counts) // 2 :]
        recomputed = {
            "ill": ill, "well": well, "noise_sd": noise_sd, "auroc": auroc(ill, well, noise_sd),
        }  # fmt: skip
        wrong = [key for key in recomputed if not same_statement(figures[key], recomputed[key])]
        if wrong:
            _broken("V101", name, f"`{wrong[0]}` is not what the sum gives")
        if not same_statement(record["privacy"], statement):
            _broken("V081", name, "the privacy statement is not what plan and transcript give")
        self.notes.append(
            "ROC points and calibration of the evaluation, and the report, are the coordinator's "
            "drawing of the histogram that was verified"
        )
        found = recomputed["auroc"]
        value = f"AUROC {found['value']:.3f}" if found else "too few patients for an AUROC"
        self._passed("figures", f"{value}, recomputed from the histogram of held-out patients")
        return evaluation, state

    # What stands on the ledger.

    def _ledger(
        self,
        network: _Network,
        run: _Run,
        state: _Transcript,
        release: Document,
        measured: tuple[_Run, _Transcript] | None,
    ) -> None:
        record = self.pack.fields("ledger.json", "blocks", "proofs")
        if record == {"blocks": [], "proofs": []}:
            self.notes.append("the pack holds no ledger proofs: reservations were not checked")
            return
        roots = dict(self._block(network, block) for block in record["blocks"])
        self._witnesses(network, record["blocks"])
        reserved: set[bytes] = set()
        reserved_to_measure: set[bytes] = set()
        recorded = False
        for proof in record["proofs"]:
            root, claim = roots[proof["block"]], proof["claim"]
            if claim == "reservation":
                reserved.add(self._reservation(network, run, root, proof))
            elif claim == "evaluation_reservation" and measured is not None:
                reserved_to_measure.add(self._reservation(network, measured[0], root, proof))
            elif claim == "record":
                self._recorded(network, release, root, proof)
                recorded = True
            elif claim == "consent_head":
                self._consent_head(network, state, root, proof)
            else:
                _broken("V091", "ledger.json", f"an unknown claim `{str(claim)[:40]}`")
        lacking = set(state.sent) - reserved
        if measured is not None:
            lacking |= set(measured[1].sent) - reserved_to_measure
        if lacking:
            who = network.members[min(lacking)].org
            _broken("V092", "ledger.json", f"no reservation of {who} is proved")
        if not recorded:
            _broken("V093", "ledger.json", "the release is not proved to be on the ledger")
        self._passed(
            "ledger",
            f"{len(reserved) + len(reserved_to_measure)} reservations and the release proved "
            f"under block {max(roots)}, signed by the coordinator",
        )

    def _block(self, network: _Network, block: Json) -> tuple[int, bytes]:
        tip = Document.of(block["tip"], "twinward/tip/v1")
        self._coordinator_signed(tip, network, "ledger.json", "V090")
        raw = _0x(block["header"])
        header = rlp_decode(raw)
        number = int.from_bytes(header[8])
        said = tip.payload
        fits = _hash32(said["hash"]) == keccak256(raw) and said["number"] == number
        if not fits or _hash32(said["genesis"]).hex() != network.genesis:
            _broken("V090", "ledger.json", f"the header of block {number} is not the signed one")
        return number, bytes(header[3])

    def _witnesses(self, network: _Network, blocks: Sequence[Json]) -> None:
        """Which hospitals co-signed every one of the blocks: what the report says of witnesses."""
        co_signed: list[set[str]] = []
        for block in blocks:
            signers = set()
            if "witnesses" in block:
                statement = Document.of(block["witnesses"], "twinward/block/v1")
                tip = {key: block["tip"]["payload"][key] for key in ("genesis", "hash", "number")}
                if statement.payload != tip:
                    _broken("V094", "ledger.json", "witnesses co-signed another block")
                for by in statement.signatures:
                    witness = network.members.get(bytes.fromhex(by))
                    if witness is None or witness.role != "hospital":
                        _broken("V094", "ledger.json", "a witness is no hospital of this network")
                    if not statement.is_signed_by(witness.key):
                        what = f"the co-signature of {witness.org} does not fit"
                        _broken("V094", "ledger.json", what)
                    signers.add(witness.org)
            co_signed.append(signers)
        everywhere = sorted(set.intersection(*co_signed)) if co_signed else []
        if everywhere:
            said = f"{_CO_SIGNED}{len(everywhere)} witnesses ({', '.join(everywhere)})"
            self.notes[self.notes.index(NOT_SHOWN[1])] = said

    def _word(self, network: _Network, contract: str, root: bytes, slot: int, proof: Json) -> int:
        try:
            address = network.contracts[contract]
            return storage_value(root, address, slot.to_bytes(32), proof["proof"])
        except _GARBAGE as error:
            what = f"the proof of a {proof['claim']} does not hold: {error}"
            raise Broken("V091", "ledger.json", what) from error

    def _reservation(self, network: _Network, run: _Run, root: bytes, proof: Json) -> bytes:
        hospital = next(m for m in network.members.values() if m.org == proof["org"])
        plan, micro = (
            self._word(network, "provenance", root, slot, proof)
            for slot in reservation_slots(hospital.account, run.id)
        )
        needed = price(run.plan)[0] ** 2 * 1e6
        if plan != int.from_bytes(run.plan_digest) or micro < needed * (1 - 1e-6):
            what = f"{hospital.org} did not reserve the whole price of this run"
            _broken("V092", "ledger.json", what)
        return hospital.fingerprint

    def _recorded(self, network: _Network, release: Document, root: bytes, proof: Json) -> None:
        """That the coordinator recorded this release, or ensemble, as a model."""
        word = self._word(network, "provenance", root, record_slot(release.digest), proof)
        kind, by = word & 0xFF, (word >> 8 & (1 << 160) - 1).to_bytes(20)
        if kind != 5 or by != network.coordinator.account:
            _broken("V093", "ledger.json", "the ledger does not hold this release as a model")

    def _consent_head(
        self, network: _Network, state: _Transcript, root: bytes, proof: Json
    ) -> None:
        head = self._word(network, "consent", root, CONSENT_HEAD_SLOT, proof).to_bytes(32)
        used = "is" if head in state.consent_heads else "is not"
        self._passed(
            "consents",
            f"the record of consents at block {proof['block']} is proved; it {used} one that "
            f"cohorts were chosen by ({len(state.consent_heads)} in all)",
        )


_RELEASED = {"model.safetensors", "card.json", "card.md"}
_ALSO_RELEASED = {"report.html", "evaluation.json", "privacy.svg", "privacy.json"}
_SENDER = slice(8 + 68, 8 + 68 + 32)
"""Where a node's head names its sender: after the magic and the run, plan and epoch."""


def _weights_digest(weights: Sequence[float]) -> bytes:
    return hashlib.sha256(struct.pack(f"<{len(weights)}d", *weights)).digest()


def _hash32(text: str) -> bytes:
    return _hex(text.removeprefix("0x"), 32)


def _founding_member(entry: Json) -> _Member:
    keys = Document.of(entry["keys"], "twinward/keys/v1")
    claims = keys.payload
    key, account = _hex(claims["identity"], 32), _0x(claims["ledger_account"].lower())
    if not keys.is_signed_by(key):
        _broken("V020", "founding.json", f"{claims['org']} did not sign for its own keys")
    if len(account) != 20:
        raise ValueError("a ledger account has 20 bytes")
    return _Member(str(claims["org"]), str(claims["role"]), key, account)


# --- Answers: all entries of some topics of a log, proved to be all -----------------------------

ANSWER = "answer.json"
ANCHOR = "anchor.json"
_ANSWER_NOT_SHOWN = (
    "that everything that happened was written into the log: only that nothing in it is kept back",
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry as a log holds it."""

    seq: int
    hash: bytes
    commitment: bytes
    links: Mapping[str, tuple[int, bytes]]

    @classmethod
    def read(cls, leaf: bytes) -> _Entry:
        """Parse a leaf; a ValueError if it is not one in its only spelling."""
        value = json.loads(leaf)
        if json.dumps(value, separators=(",", ":"), sort_keys=True).encode() != leaf:
            raise ValueError("not in canonical form")
        links = {link["topic"]: (int(link["n"]), _hex(link["prev"])) for link in value["topics"]}
        if value["v"] != 1 or len(links) != len(value["topics"]):
            raise ValueError("not an entry of this version")
        return cls(value["seq"], leaf_hash(leaf), _hex(value["commitment"], 32), links)


class _AnswerAudit(_Audit):
    """One verification of an answer, or of a whole log, which is the answer about everything."""

    def _stages(self) -> None:
        if self.faults:
            return
        self.notes = list(_ANSWER_NOT_SHOWN)
        network = self._founding()
        checkpoint = self._checkpoint(network)
        entries = self._entries(checkpoint)
        self._bodies(entries)
        self._topics(checkpoint, entries)
        if ANCHOR in self.pack.records:
            self._anchor(network, checkpoint)
        shown = set(self.pack.records) - {
            ANSWER, ANCHOR, "leaves.txt", "bodies.txt", "checkpoint.txt", "founding.json",
        }  # fmt: skip
        stated = ", ".join(["the wording of the question", *sorted(shown)])
        self.notes.append(f"{stated}: as stated by whoever made this file, not verified here")

    def _checkpoint(self, network: _Network) -> Checkpoint:
        name = "checkpoint.txt"
        note = Note.parse(self.pack.raw(name))
        checkpoint = Checkpoint.parse(note.text)
        signer = self._log_of(checkpoint.origin, network)
        if signer is None:
            _broken("V110", name, f"`{checkpoint.origin[:120]}` is not a log of this network")
        if not note.is_signed_by(checkpoint.origin, signer.key):
            _broken("V110", name, f"{signer.org} did not sign this checkpoint of its log")
        times: dict[str, int] = {}
        for by, _ in note.signatures:
            if by == checkpoint.origin:
                continue
            org = by.removeprefix("twinward/witness/")
            witness = next((m for m in network.members.values() if m.org == org), None)
            time = None if witness is None else note.cosigned_at(by, witness.key)
            if time is None or org in times:
                _broken("V111", name, f"the co-signature of `{by[:80]}` does not fit")
            times[org] = time
        if len(note.signatures) != len(times) + 1:
            _broken("V111", name, "the log signed more than once")
        witnesses = sorted(set(times) - {signer.org})
        self._passed(
            "checkpoint",
            f"{checkpoint.origin} at {checkpoint.size} entries, signed by {signer.org}; "
            f"1 operator, {len(witnesses)} witnesses{': ' if witnesses else ''}"
            f"{', '.join(witnesses)}",
        )
        if not witnesses:
            self.notes.append(
                "that others were shown the same log: no witness co-signed this checkpoint"
            )
        return checkpoint

    def _log_of(self, origin: str, network: _Network) -> _Member | None:
        if origin == f"twinward/network/{network.genesis}":
            return network.coordinator
        org = origin.removeprefix(f"twinward/audit/{network.genesis}/")
        return next((m for m in network.members.values() if m.org == org), None)

    def _anchor(self, network: _Network, checkpoint: Checkpoint) -> None:
        """That the checkpoint of an audit log is committed to by a head that stands on the ledger.

        Only heads stand there: how many entries a log has is nobody else's business.
        """
        record = self.pack.fields(
            ANCHOR, "block", "index", "leaf", "path", "proof", "salt", "checkpoint"
        )
        body = canonical({"checkpoint": record["checkpoint"]})
        entry = _Entry.read(record["leaf"].encode())
        committed = hashlib.sha256(_hex(record["salt"]) + body).digest() == entry.commitment
        if not committed or Note.parse(record["checkpoint"].encode()).text != checkpoint.text:
            _broken("V119", ANCHOR, "the head commits to another checkpoint")
        signer = self._log_of(checkpoint.origin, network)
        number = next(n for n, m in enumerate(network.members.values(), 1) if m == signer)
        block, state_root = self._block(network, record["block"])
        slot = int.from_bytes(keccak256(number.to_bytes(32) + bytes(32)))
        proof = {"claim": "head of an audit log", "proof": record["proof"]}
        root, sizes = (
            self._word(network, "audit_anchor", state_root, place, proof)
            for place in (slot, slot + 1)
        )
        size, path = sizes & (1 << 64) - 1, [_hex(node, 32) for node in record["path"]]
        try:
            found = root_from_inclusion(entry.hash, record["index"], size, path)
        except ValueError as error:
            raise Broken("V119", ANCHOR, str(error)) from error
        if found != root.to_bytes(32):
            _broken("V119", ANCHOR, "the head is not under the root that stands on the ledger")
        self.notes.append(NOT_SHOWN[1])
        self._witnesses(network, [record["block"]])
        self._passed("anchor", f"head {record['index'] + 1} of {size} on the ledger, block {block}")

    def _entries(self, checkpoint: Checkpoint) -> list[_Entry]:
        answer = self.pack.fields(ANSWER, "nodes", "question", "rows", "schema", "topics")
        if answer["schema"] != "twinward/answer/v1":
            raise ValueError("not an answer of this version")
        whole = answer["topics"] is None
        rows = list(range(answer["rows"])) if whole else answer["rows"]
        nodes = [_hex(node, 32) for node in answer["nodes"]]
        lines = _lines(self.pack.raw("leaves.txt"))
        if len(lines) != len(rows) or (whole and len(rows) != checkpoint.size):
            what = f"{len(lines)} entries, the answer has {len(rows)} of {checkpoint.size}"
            _broken("V112", "leaves.txt", what)
        entries: list[_Entry] = []
        for row, line in zip(rows, lines, strict=True):
            if len(entries) % 5_000 == 0:
                self.progress(f"entry {len(entries)} of {len(rows)}")
            try:
                entry = _Entry.read(line)
            except _GARBAGE as error:
                what = f"entry {row} cannot be read: {str(error)[:80]}"
                raise Broken("V113", "leaves.txt", what) from error
            if entry.seq != row:
                _broken("V113", "leaves.txt", f"entry {row} says that it is {entry.seq}")
            entries.append(entry)
        hashes = {entry.seq: entry.hash for entry in entries}
        if len(hashes) != len(rows) or list(hashes) != sorted(hashes):
            _broken("V113", ANSWER, "its rows are not in order, or one is there twice")
        try:
            root = root_of_rows(checkpoint.size, hashes, nodes)
        except _GARBAGE as error:
            raise Broken("V112", ANSWER, f"the proof does not hold: {error}") from error
        if root != checkpoint.root:
            _broken("V112", "leaves.txt", "the entries are not those of the signed log")
        self._passed("entries", f"{len(rows)} of {checkpoint.size} entries are in the signed log")
        return entries

    def _bodies(self, entries: Sequence[_Entry]) -> None:
        lines = _lines(self.pack.raw("bodies.txt"))
        if len(lines) != len(entries):
            _broken("V114", "bodies.txt", f"{len(lines)} bodies for {len(entries)} entries")
        opened = 0
        for entry, line in zip(entries, lines, strict=True):
            if line == b"-":
                continue
            salt, _, body = line.partition(b" ")
            if hashlib.sha256(_hex(salt.decode()) + body).digest() != entry.commitment:
                _broken("V114", "bodies.txt", f"not the body of entry {entry.seq}")
            opened += 1
        closed = len(entries) - opened
        self._passed("bodies", f"{opened} opened and as committed; {closed} erased or withheld")

    def _topics(self, checkpoint: Checkpoint, entries: Sequence[_Entry]) -> None:
        proofs = self.pack.json(ANSWER)["topics"]
        wanted = None if proofs is None else {proof["topic"] for proof in proofs}
        tips: dict[str, tuple[int, bytes]] = {}
        for entry in entries:
            mine = [t for t in entry.links if wanted is None or t in wanted]
            if not mine:
                _broken("V118", "leaves.txt", f"entry {entry.seq} is of none of the topics")
            for topic in mine:
                count, last = tips.get(topic, (0, b""))
                if entry.links[topic] != (count + 1, last):
                    what = f"entry {entry.seq} does not follow entry {count} of `{topic[:80]}`"
                    _broken("V117", "leaves.txt", f"{what}: one is hidden, or out of order")
                tips[topic] = (count + 1, entry.hash)
        if proofs is None:
            self._whole_map(checkpoint, tips)
            return
        if wanted is None or len(wanted) != len(proofs):
            _broken("V115", ANSWER, "a topic is there twice")
        for proof in proofs:
            self._topic(checkpoint, proof, tips.get(proof["topic"], (0, b"")))

    def _whole_map(self, checkpoint: Checkpoint, tips: Mapping[str, tuple[int, bytes]]) -> None:
        buckets: dict[int, list[TopicTip]] = {}
        for key, count, last in sorted((topic_key(t), n, last) for t, (n, last) in tips.items()):
            buckets.setdefault(bucket_of(key), []).append((key, count, last))
        if map_root_of({n: bucket_hash(b) for n, b in buckets.items()}) != checkpoint.topics:
            _broken("V115", "checkpoint.txt", "its map of topics is not the one of its entries")
        self._passed("complete", f"the whole log: {len(tips)} topics, every entry in its place")

    def _topic(self, checkpoint: Checkpoint, proof: Json, tip: tuple[int, bytes]) -> None:
        topic, key = proof["topic"], topic_key(proof["topic"])
        if set(proof) != {"topic", "bucket", "siblings"}:
            raise ValueError("not a proof of a topic")
        bucket = [(_hex(k, 32), int(n), _hex(last, 32)) for k, n, last in proof["bucket"]]
        keys, number = [k for k, _, _ in bucket], bucket_of(key)
        if keys != sorted(set(keys)) or any(bucket_of(k) != number for k in keys):
            _broken("V115", ANSWER, f"not the bucket of the topic `{topic[:80]}`")
        siblings = [_hex(sibling, 32) for sibling in proof["siblings"]]
        if map_root_from(number, bucket_hash(bucket), siblings) != checkpoint.topics:
            _broken("V115", ANSWER, f"the count of `{topic[:80]}` is not in the signed map")
        count, last = next(((n, last) for k, n, last in bucket if k == key), (0, b""))
        if tip[0] != count:
            what = f"{tip[0]} of the {count} entries of `{topic[:80]}` are there"
            _broken("V116", "leaves.txt", what)
        if tip[1] != last:
            _broken("V116", "leaves.txt", f"the last entry of `{topic[:80]}` is another one")
        self._passed("complete", f"{topic[:120]}: all {count} entries")


FORK = "fork.json"
_NOT_IN_A_FORK = "who was shown which of the two histories, when, and why"


class _ForkAudit(_Audit):
    """Evidence that one member signed two histories of the ledger."""

    def _stages(self) -> None:
        if self.faults:
            return
        self.notes = [_NOT_IN_A_FORK]
        network = self._founding()
        record = self.pack.fields(FORK, "first", "second", "headers")
        kinds = ("twinward/tip/v1", "twinward/block/v1")
        first, second = (
            next(Document.of(one, kind) for kind in kinds if one["kind"] == kind)
            for one in (record["first"], record["second"])
        )
        if {first.payload["genesis"], second.payload["genesis"]} != {network.genesis}:
            _broken("V120", FORK, "a statement is not about this network's ledger")
        both = (m for m in network.members.values() if first.is_signed_by(m.key))
        signer = next((m for m in both if second.is_signed_by(m.key)), None)
        if signer is None:
            _broken("V120", FORK, "no member signed both statements")
        number, height = first.payload["number"], second.payload["number"]
        headers = [_0x(header) for header in record["headers"]]
        expected = _hash32(second.payload["hash"])
        if not 0 <= number <= height or len(headers) != height - number:
            _broken("V121", FORK, "not the headers that lead from the second to the first height")
        for header in reversed(headers):
            if keccak256(header) != expected:
                _broken("V121", FORK, "a header is not the one that the next one stands on")
            expected = bytes(rlp_decode(header)[0])
        if expected == _hash32(first.payload["hash"]):
            _broken("V122", FORK, "both statements are about one history")
        self._passed(
            "fork",
            f"{signer.org} signed two histories of the ledger: block {number} is "
            f"{first.payload['hash'][:16]} in one and {expected.hex()[:16]} in the other",
        )


ENSEMBLE = "ensemble.json"
_NOT_IN_AN_ENSEMBLE = (
    "that no newer ensemble took its place: ask the ledger, or the coordinator",
    "that a hospital put the same patients into a shard each time: nobody can from outside",
)


class _EnsembleAudit(_Audit):
    """A model that is the mean of one model for each shard, with the pack of each inside."""

    def _stages(self) -> None:
        if self.faults:
            return
        network = self._founding()
        document = self.pack.document(ENSEMBLE, "twinward/ensemble/v1")
        if not document.is_signed_by(network.coordinator.key):
            _broken("V130", ENSEMBLE, "the coordinator's signature is missing or does not fit")
        said = document.payload
        self._files(said)
        models = [
            self._member(network, said, number, one) for number, one in enumerate(said["members"])
        ]
        name = tagged_hash("ensemble/v1", *(_hex(one["run"], 32) for one in said["members"]))
        if said["name"] != name.hex():
            _broken("V130", ENSEMBLE, "it is not named after its runs")
        weights, stored = mean_of(models), read_safetensors(self.pack.raw("model.safetensors"))
        if struct.pack(f"<{len(stored)}d", *stored) != struct.pack(f"<{len(weights)}d", *weights):
            _broken("V133", "model.safetensors", "the weights are not the mean of the shards'")
        if said["weights"] != _weights_digest(weights).hex():
            _broken("V133", ENSEMBLE, "it names other weights")
        self.notes = [*NOT_SHOWN, *_NOT_IN_AN_ENSEMBLE]
        self._passed(
            "ensemble", f"{len(weights)} weights are the mean of {len(models)} shards, bit for bit"
        )
        record = self.pack.fields("ledger.json", "blocks", "proofs")
        (block,), (proof,) = record["blocks"], record["proofs"]
        number, root = self._block(network, block)
        self._recorded(network, document, root, proof)
        self._passed("ledger", f"the ensemble is proved under block {number}")

    def _files(self, said: Mapping[str, Any]) -> None:
        """Every record is one that the coordinator signed for, or proves itself."""
        for name, digest in said["records"].items():
            if hashlib.sha256(self.pack.raw(name)).hexdigest() != digest:
                _broken("V130", name, "not the record that the ensemble names")
        alone = {ENSEMBLE, "founding.json", "admissions.json", "moves.json", "ledger.json"}
        if set(said["records"]) != {"model.safetensors", "card.json", "card.md"}:
            _broken("V130", ENSEMBLE, "not an ensemble of model and cards")
        packs = {f"shards/{number:02d}.zip" for number in range(len(said["members"]))}
        if strange := set(self.pack.records) - alone - set(said["records"]) - packs:
            _broken("V130", min(strange), "a record that no ensemble has")

    def _member(
        self, network: _Network, said: Mapping[str, Any], number: int, member: Json
    ) -> list[float]:
        """The weights of one shard's model, once its own pack is verified whole."""
        name = f"shards/{number:02d}.zip"
        data, founding = self.pack.raw(name), self.pack.raw("founding.json")
        self.progress(f"shard {number}")
        report = verify_bytes(data, founding=founding, fast=self.fast)
        if not report.ok:
            fault = report.faults[0]
            _broken("V131", name, f"{fault.code} in {fault.record}: {fault.message}")
        inner = _Pack(read_archive(data)[0])
        plan = inner.document("plan.json", "twinward/plan/v1")
        order = inner.document("run.json", "twinward/run/v1").payload
        release = inner.document("release.json", "twinward/release/v1")
        expected = {
            "run": order["run"], "release": release.digest.hex(),
            "weights": release.payload["weights"],
        }  # fmt: skip
        ours = said["plan"] == plan.digest.hex() and said["network"] == network.genesis
        if not ours or (said["study"], said["model"]) != (
            plan.payload["study"], plan.payload["model"],
        ):  # fmt: skip
            _broken("V132", name, "it is of another plan")
        if member != expected or len(said["members"]) != plan.payload["shards"]:
            _broken("V132", name, "the ensemble names other runs, or not one for each shard")
        if order["shard"]["number"] != number:
            _broken("V132", name, f"it is of shard {order['shard']['number']}")
        kept = " (fast path)" if self.fast else ""
        self._passed(f"shard {number}", f"its pack verifies{kept}: run {order['run'][:16]}")
        return read_safetensors(inner.raw("model.safetensors"))


CENSORED = "censored.json"
_NOT_IN_CENSORSHIP = (
    "who kept the withdrawal away: the hospital that owed it to the ledger, or who writes blocks; "
    "and whether the record was used after the receipt"
)
_SIGNED_NONCES = 2**32


def consent_slot(study: bytes, subject: bytes) -> int:
    """Where ``Consent`` keeps what stands about a subject (mapping of mappings at slot 2)."""
    inner = keccak256(study + (2).to_bytes(32))
    return int.from_bytes(keccak256(subject.rjust(32, b"\0") + inner))


class _CensorshipAudit(_Audit):
    """Evidence that a withdrawal was acknowledged and is not on the ledger after its deadline."""

    def _stages(self) -> None:
        if self.faults:
            return
        self.notes = [_NOT_IN_CENSORSHIP]
        network = self._founding()
        record = self.pack.fields(CENSORED, "receipt", "tip", "header", "proof")
        receipt = Document.of(record["receipt"], "twinward/withdrawal-receipt/v1")
        owed = receipt.payload
        by = [
            m for m in network.members.values() if (m.role, m.org) == ("hospital", owed["hospital"])
        ]
        if not by or not receipt.is_signed_by(by[0].key):
            _broken("V123", CENSORED, "the receipt is not signed by a hospital of this network")
        tip = Document.of(record["tip"], "twinward/tip/v1")
        if not tip.is_signed_by(network.coordinator.key):
            _broken("V124", CENSORED, "the coordinator did not sign the block")
        if tip.payload["genesis"] != network.genesis:
            _broken("V124", CENSORED, "the block is not of this network's ledger")
        if not tip.payload["time"] > owed["on_chain_by"]:
            _broken("V125", CENSORED, "the block was the newest before the deadline had passed")
        header = _0x(record["header"])
        if keccak256(header) != _hash32(tip.payload["hash"]):
            _broken("V124", CENSORED, "the header is not that of the signed block")
        slot = consent_slot(_hex(owed["study"], 32), _hex(owed["subject"], 20))
        state = bytes(rlp_decode(header)[3])
        word = storage_value(
            state, network.contracts["consent"], slot.to_bytes(32), record["proof"]
        )
        purposes, nonce = word >> 128, word >> 32 & (_SIGNED_NONCES - 1)
        ended = _SIGNED_NONCES if owed["nonce"] is None else owed["nonce"]
        if not purposes or nonce > ended:
            _broken("V126", CENSORED, "the ledger does show that this permission was withdrawn")
        self._passed(
            "censorship",
            f"{by[0].org} took the withdrawal {owed['digest'][:16]} and owed it to the ledger by "
            f"{owed['on_chain_by']}; block {tip.payload['number']}, the newest at "
            f"{tip.payload['time']:.0f}, still shows the permission",
        )


def _lines(data: bytes) -> list[bytes]:
    """Lines that each end with a newline."""
    if data and not data.endswith(b"\n"):
        raise ValueError("the last line does not end")
    return data.split(b"\n")[:-1]


# --- The command ------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """The report for machines."""
    return {
        "schema": "twinward/verify/v1",
        "ok": report.ok,
        "checks": [{"name": c.name, "detail": c.detail} for c in report.checks],
        "faults": [
            {"code": f.code, "record": f.record, "message": f.message} for f in report.faults
        ],
        "not_shown": list(report.notes),
        "exit": EXIT_OK if report.ok else EXIT_FAULTS,
    }


def as_text(report: Report) -> str:
    """The report for people: verdict first."""
    verdict = "verified" if report.ok else f"NOT verified, {len(report.faults)} fault(s)"
    lines = [f"evidence: {verdict}"]
    lines += [f"  fault {f.code} in {f.record}: {f.message}" for f in report.faults]
    lines += [f"  ok    {c.name}: {c.detail}" for c in report.checks]
    lines += [f"  not shown: {note}" for note in report.notes]
    return "\n".join(lines)


def _show(progress: str) -> None:
    print(f"\r{progress:<60}", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify the pack named on the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="verify.py", description="Verify a Twinward evidence pack offline."
    )
    parser.add_argument("pack", type=Path, metavar="PACK")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--fast", action="store_true", help="hashes, signatures and one proof only")
    how.add_argument("--full", action="store_true", help="everything (the default), with progress")
    parser.add_argument("--founding", type=Path, help="your own copy of the founding file")
    parser.add_argument("--founding-sha256", help="SHA-256 of the founding file, in hex")
    options = parser.parse_args(arguments)
    try:
        founding = options.founding.read_bytes() if options.founding else None
    except OSError as error:
        parser.error(f"cannot read {options.founding}: {error.strerror}")
    report = verify(
        options.pack,
        founding=founding,
        founding_sha256=options.founding_sha256,
        fast=options.fast,
        progress=_show if options.full else _silent,
    )
    print(json.dumps(as_json(report), indent=2) if options.json else as_text(report))
    return EXIT_OK if report.ok else EXIT_FAULTS


if __name__ == "__main__":
    sys.exit(main())
