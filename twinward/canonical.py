"""One byte string per value: canonical JSON (RFC 8785) and domain-separated SHA-256."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

import rfc8785

from twinward.errors import UsageError


class Hash(Protocol):
    """A hash under way, as ``hashlib`` gives it."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take the next bytes."""
        ...

    def digest(self) -> bytes:
        """The digest of what came so far."""
        ...


_DEEPEST = 64
_NESTING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|([\]}])', re.DOTALL)


def encode(value: Any) -> bytes:
    """Encode to the one canonical JSON form of RFC 8785.

    Raises:
        UsageError: TW1010, the value has no canonical form (NaN, integers over 2^53, other types).
    """
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise UsageError(
            f"the value has no canonical JSON form: {error}",
            code="TW1010",
            help="use finite numbers, integers up to 2^53, strings, lists and objects only",
        ) from error


def decode(data: bytes, *, at: str = "JSON") -> Any:
    """Parse JSON that must already be canonical: any other spelling is refused.

    Refusing is what makes "the bytes that were signed" and "the value that was read" one thing:
    duplicate keys, white space, other number forms and byte-order marks all fail here.

    Raises:
        UsageError: TW1011, not JSON or not in canonical form.
    """
    try:
        require_shallow(data)
        value = json.loads(data.decode("utf-8"), parse_int=_integer)
        canonical = encode(value)
    except (ValueError, RecursionError, UsageError) as error:
        raise UsageError(
            "the document is not valid JSON",
            code="TW1011",
            at=at,
            help="fetch the file again from whoever signed it; do not edit signed files",
        ) from error
    if canonical != data:
        raise UsageError(
            "the document is not in canonical form (RFC 8785)",
            code="TW1011",
            at=at,
            note="white space, key order, duplicate keys or number spelling differ",
            help="fetch the file again from whoever signed it; do not edit signed files",
        )
    return value


def require_shallow(data: bytes) -> None:
    """Refuse deep nesting before the parser recurses into it.

    Libraries of the ledger raise the interpreter's recursion limit to 100,000; without this a
    hundred kilobytes of brackets from a stranger would crash the process.
    """
    depth = 0
    for token in _NESTING.finditer(data):
        depth += bool(token[1]) - bool(token[2])
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")


def _integer(digits: str) -> int | float:
    """Whole doubles of 2^53 and more are spelled like integers; they come back as doubles."""
    value = int(digits)
    return value if abs(value) < 2**53 else float(digits)


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """SHA-256 over a domain tag and length-prefixed parts: no two inputs share an encoding."""
    *first, last = (f"twinward/{tag}".encode(), *parts)
    state = _prefixed(first, last=len(last))
    state.update(last)
    return state.digest()


def tagged_hasher(tag: str, *parts: bytes, size: int) -> Hash:
    """``tagged_hash`` of these parts and a last one of ``size`` bytes that is still to come.

    The last part is given to ``update`` in as many pieces as it takes.
    """
    return _prefixed([f"twinward/{tag}".encode(), *parts], last=size)


def _prefixed(parts: Sequence[bytes], *, last: int) -> Hash:
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    state.update(last.to_bytes(8, "little"))
    return state
