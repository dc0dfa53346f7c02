"""Which versions of the wire between members this release speaks, and the one that both do.

A release that changes what members say to each other adds a number and keeps the old one for as
long as hospitals run it: kits and invitations carry no version of the software.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from twinward.errors import UsageError

SPEAKS: Final = (1,)


def choose(theirs: object, *, ours: Sequence[int] = SPEAKS) -> int:
    """The newest version that both sides speak.

    Raises:
        UsageError: TW6022, there is none; the message names what each side speaks.
    """
    known = [n for n in theirs if type(n) is int] if isinstance(theirs, list) else []
    common = set(known) & set(ours)
    if not common:
        raise UsageError(
            f"the other side speaks {_listed(known)} of the network's protocol, this one "
            f"{_listed(ours)}",
            code="TW6022",
            help="update the older of the two installations; nothing was changed",
        )
    return max(common)


def _listed(versions: Sequence[int]) -> str:
    return "version " + ", ".join(map(str, sorted(versions)[:9])) if versions else "no version"
