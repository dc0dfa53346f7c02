"""Who may speak for a patient, and what ends that: age, death, an objection, a mandate.

What is known here only ever narrows what was signed. A mandate never reaches further than whoever
gave it; a grant made under one reaches no further than the mandate, and ends with it.

GDPR Art. 8 and 21(6); UN Convention on the Rights of the Child Art. 12. The dates come from the
hospital's register: nothing of this is on the ledger, nothing leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from consent import purposes


class Role(StrEnum):
    """In which role somebody else speaks for a patient."""

    GUARDIAN = "guardian"
    """Of a child: ends when the patient is of age, whatever its own end says."""
    DELEGATE = "delegate"
    """Written down by staff: named by the patient, or by a court for an adult."""
    CHOSEN = "chosen"
    """Named by the patient, of age, with their own letter; who alone ends it."""


@dataclass(frozen=True, slots=True)
class Mandate:
    """That somebody may say yes for a patient: for these purposes, in this time.

    Attributes:
        role: Guardian, delegate, or chosen.
        purposes: Bits of the table: what may be permitted, with the restrictions that must be kept;
            0 for one who may only stop.
        begins: Unix seconds.
        ends: Unix seconds; from then on nothing that was granted under it holds.
        given_by: The mandate under which this one was given; None: the patient, or the law.
    """

    role: Role
    purposes: int
    begins: int
    ends: int
    given_by: Mandate | None = None

    def chain(self) -> tuple[Mandate, ...]:
        """This mandate and those that it stands on, the nearest first."""
        return (self, *(self.given_by.chain() if self.given_by else ()))

    def in_force(self, *, earliest: float, latest: float) -> bool:
        """Whether every mandate of the chain has begun by both clocks and ended by neither."""
        return all(one.begins <= earliest and latest < one.ends for one in self.chain())

    def covers(self, mask: int) -> bool:
        """Whether a grant of this mask stays inside every mandate of the chain."""
        return all(purposes.within(mask, one.purposes) for one in self.chain())


@dataclass(frozen=True, slots=True)
class Standing:
    """What the hospital's register says of a patient, Unix seconds; None: nothing of the kind.

    Attributes:
        of_age_at: When the patient is of age.
        died_at: When the patient died.
        objected_at: Since when the patient objects to any use beside their own care; signed grants
            that are newer than an objection lift it for their study.
    """

    of_age_at: int | None = None
    died_at: int | None = None
    objected_at: int | None = None

    def is_dead(self, *, latest: float) -> bool:
        """Whether the patient has died, by either clock."""
        return self.died_at is not None and self.died_at <= latest

    def is_of_age(self, *, latest: float) -> bool:
        """Whether nobody speaks for the patient as a child's guardian any more."""
        return self.of_age_at is not None and self.of_age_at <= latest


NOTHING_KNOWN = Standing()
