"""The requests that reach the consent desk: small, canonical JSON, exactly the expected fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twinward import canonical
from twinward.errors import UsageError

LARGEST_BODY = 8_192
"""Bytes of a request; an honest one has about 1,000."""


def read(body: bytes, *names: str) -> dict[str, Any]:
    """The request's fields; exactly ``names`` if any are given.

    Raises:
        UsageError: TW3019.
    """
    if len(body) > LARGEST_BODY:
        raise not_a_request(f"more than {LARGEST_BODY} bytes")
    try:
        value = canonical.decode(body, at="request")
    except UsageError as error:
        raise not_a_request("not canonical JSON") from error
    if not isinstance(value, dict) or (names and set(value) != set(names)):
        raise not_a_request("fields are missing or unknown")
    return value


def object_of(value: object) -> Mapping[str, Any]:
    """The field as an object.

    Raises:
        UsageError: TW3019.
    """
    if not isinstance(value, dict):
        raise not_a_request("an object is expected")
    return value


def hex_bytes(value: object) -> bytes:
    """The bytes that a field spells in lower-case hex; never none.

    Raises:
        UsageError: TW3019.
    """
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        data = b""
    if not data or data.hex() != value:
        raise not_a_request("lower-case hex digits are expected")
    return data


def not_a_request(note: str) -> UsageError:
    """The refusal of a request that has another form."""
    return UsageError(
        "the consent desk cannot read this request",
        code="TW3019",
        note=note,
        help="use the `twinward consent` command of the same version",
    )
