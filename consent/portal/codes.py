"""The code of a letter as people type it: 26 signs in groups, without those that look alike.

Crockford's base 32 (https://www.crockford.com/base32.html): 128 bits, no I, L, O, U; I and L are
read as 1, O as 0, small letters as large ones. Spaces and dashes do not count.
"""

from __future__ import annotations

import re

from consent.vault import CODE_BYTES
from twinward.errors import UsageError

_SIGNS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH = 26
_GROUP = 5
_ALIKE = str.maketrans("ILO", "110")


def spelled(code: bytes) -> str:
    """The code in groups of five: ``7ZQ2K-...``."""
    number = int.from_bytes(code)
    signs = "".join(_SIGNS[number >> 5 * place & 31] for place in reversed(range(_LENGTH)))
    return "-".join(signs[start : start + _GROUP] for start in range(0, _LENGTH, _GROUP))


def read(typed: str) -> bytes:
    """The code that somebody typed, in groups or as 32 hex digits.

    Raises:
        UsageError: TW8070.
    """
    plain = re.sub(r"[\s\-\u2010-\u2015]", "", typed)
    if re.fullmatch(r"[0-9a-fA-F]{32}", plain):
        return bytes.fromhex(plain)
    signs = plain.upper().translate(_ALIKE)
    number = 0
    for sign in signs:
        place = _SIGNS.find(sign)
        if place < 0 or len(signs) != _LENGTH:
            raise _not_a_code()
        number = number << 5 | place
    if not signs or number >> 8 * CODE_BYTES:
        raise _not_a_code()
    return number.to_bytes(CODE_BYTES)


def _not_a_code() -> UsageError:
    return UsageError(
        "this is not the code of a letter",
        code="TW8070",
        help="type the 26 signs of your letter; spaces and dashes do not matter",
    )
