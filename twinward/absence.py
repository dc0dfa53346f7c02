"""Why a hospital is missing in a run: what it may tell of that, and what the coordinator sees.

A hospital tells only causes that say nothing about its patients; of any other the coordinator
learns that it is missing and no more, which it sees in any case (ADR 14).
"""

from __future__ import annotations

from typing import Final

KIND = "twinward/absence/v1"
"""Signed by the hospital: ``org``, ``run`` in hex, ``code``."""

TOLD: Final = {
    "TW3500": "not enough hospitals have approved the plan on the ledger",
    "TW6002": "it does not take part in this study",
    "TW6003": "its policy does not allow it at this moment",
    "TW6004": "it has not approved the plan",
    "TW6006": "it is in another run",
    "TW6007": "it approved another plan",
    "TW6222": "its staff stopped training",
    "TW7001": "it has another version of the model installed",
}
"""Error codes that a hospital may name: its own decisions, agreements and installed software."""

OFFLINE, UNKNOWN, SILENT, BROKE_OFF = "offline", "untold", "silent", "broke-off"
SEEN: Final = {
    OFFLINE: "its node was not connected",
    UNKNOWN: "it was connected and did not take part; it does not say why",
    SILENT: "it was silent until the deadline",
    BROKE_OFF: "its connection ended",
}
"""What the coordinator itself sees of a hospital that tells nothing."""


def in_words(cause: str) -> str:
    """A cause for people.

    Args:
        cause: A code of ``TOLD`` or a word of ``SEEN``.
    """
    return TOLD.get(cause) or SEEN.get(cause) or SEEN[UNKNOWN]


def last_seen(seconds: int | None) -> str:
    """When a hospital's node called last, for people.

    Args:
        seconds: How long ago; None if it never did since the coordinator started.
    """
    if seconds is None:
        return "not seen since the coordinator started"
    for unit, length in (("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"last seen {seconds // length} {unit} ago"
    return f"last seen {seconds} seconds ago"
