"""Who may sum with whom: the rule on numbers of members, one function for everybody.

Coordinator (before it offers), node (before it answers an offer) and mechanism (before it draws a
share of the noise) call the same function, so they cannot disagree.
"""

from __future__ import annotations

from twinward.errors import TrainingError

MIN_MEMBERS = 3
MAX_MEMBERS = 64
KEPT_DIMENSION = 65_536
"""Up to this many coordinates the coordinator keeps every masked vector, so that anyone can add
them again; above, the record holds their signed digests and the sums."""


def colluders(members: int) -> int:
    """How many members are assumed to pool what they know: 1 up to four, a third above.

    Never zero: every member knows its own noise.
    """
    return 1 if members <= 4 else -(-members // 3)


def noise_shares(members: int) -> int:
    """|U| - c: over how many members the noise is spread.

    Raises:
        TrainingError: TW6100, fewer than three, more than 64, or fewer than two honest shares.
    """
    shares = members - colluders(members)
    if not (MIN_MEMBERS <= members <= MAX_MEMBERS and shares >= 2):
        raise TrainingError(
            f"a secure sum of {members} member{'s' * (members != 1)} is refused",
            code="TW6100",
            note="with two, each could subtract its own part and read the other's",
            help=f"{MIN_MEMBERS} to {MAX_MEMBERS} hospitals have to be connected and to take part; "
            "one that says no reason has it in its own log (`run refused`)",
        )
    return shares
