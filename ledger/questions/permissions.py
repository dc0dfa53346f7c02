"""Permissions as spans: from the change that gave one to the change or the day that ended it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ledger.consents import Slot
from ledger.events import Event


@dataclass(frozen=True, slots=True)
class Permission:
    """One permission of one subject.

    Attributes:
        given: The change that gave it.
        slot: What that change says.
        ended: The change that replaced or withdrew it; None while there is none.
    """

    given: Event
    slot: Slot
    ended: Event | None

    @property
    def until(self) -> int:
        """Unix seconds from which on it permits nothing, as known now."""
        return min(self.slot.expiry, self.ended.time if self.ended else self.slot.expiry)

    def in_force(self, time: int) -> bool:
        """Whether it permits something at this moment."""
        return self.given.time <= time < self.until

    def overlaps(self, start: Event, end: Event | None) -> bool:
        """Whether it was in force somewhere between two events (to this day without the second)."""
        began_before = end is None or self.given.number < end.number
        ended_after = self.ended is None or self.ended.number > start.number
        return began_before and ended_after and self.slot.expiry > start.time


def slot_of(event: Event) -> Slot:
    """What a change of a consent says."""
    return Slot.unpack(
        event.integer("slot").to_bytes(32, "big"),
        study=event.raw("study"),
        subject=event.raw("subject"),
        digest=event.raw("digest"),
        block=event.block,
        sequence=event.integer("sequence"),
    )


def permissions(changes: Iterable[Event]) -> list[Permission]:
    """Every permission that these changes gave, oldest first."""
    found: list[Permission] = []
    standing: dict[tuple[bytes, bytes], int] = {}
    for event in changes:
        slot = slot_of(event)
        who = (slot.study, slot.subject)
        last = standing.pop(who, None)
        if last is not None:
            found[last] = Permission(found[last].given, found[last].slot, event)
        if slot.purposes:
            standing[who] = len(found)
            found.append(Permission(event, slot, None))
    return found
