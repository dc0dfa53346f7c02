"""What the vault keeps of a grant, and how far it is on its way to the ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from consent.policy import Permission, Slot
from consent.record import Domain, Grant, require_signed
from consent.standing import Mandate
from twinward.errors import ConsentError
from twinward.ids import RecordNumber

EVERY_NONCE = 2**32 - 1
"""What a withdrawal without key ends: all that its subject has signed or can ever sign."""


class State(StrEnum):
    """Where a grant or a withdrawal is on its way to the ledger."""

    WAITING = "waiting"
    ON_LEDGER = "on-ledger"
    SKIPPED = "skipped"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class KeptGrant:
    """A grant as it was signed, with what became of it.

    ``withdrawn_through`` is the highest nonce that a withdrawal known here ends for this subject;
    ``mandate`` is the number of that under which somebody else signed for the patient.
    """

    digest: bytes
    study: bytes
    subject: bytes
    record: RecordNumber
    grant: Grant
    signature: bytes
    grade: str
    received_at: int
    state: State
    reason: str | None
    mandate: int | None
    withdrawn_through: int | None

    @property
    def withdrawn(self) -> bool:
        """Whether a withdrawal known at this hospital ends it."""
        return self.withdrawn_through is not None and self.withdrawn_through >= self.grant.nonce

    @property
    def withdrawn_for_ever(self) -> bool:
        """Whether it was withdrawn without the key, which retires the key."""
        return self.withdrawn_through == EVERY_NONCE

    def verified(self, domain: Domain) -> bool:
        """Whether the patient's signature over it holds, checked now; costs about 0.1 ms."""
        try:
            return require_signed(self.grant, self.signature, domain=domain) == self.digest
        except ConsentError:
            return False

    def permission(
        self, slot: Slot | None, *, verified: bool, mandate: Mandate | None = None
    ) -> Permission:
        """What the policy decides on, with what the ledger says of the subject.

        ``mandate`` is the one of this grant's number.
        """
        return Permission(
            grant=self.grant,
            digest=self.digest,
            verified=verified,
            grade=self.grade,
            slot=slot,
            withdrawn_through=self.withdrawn_through,
            received_at=self.received_at,
            mandate=mandate,
        )

    @classmethod
    def read(cls, row: Sequence[Any], *, record: RecordNumber) -> Self:
        """Read a row of the vault's query, whose ``record`` is hidden there."""
        _, digest, study, subject, _, body, signature, *rest = row
        grade, received_at, state, reason, mandate, ended = rest
        return cls(
            digest=digest,
            study=study,
            subject=subject,
            record=record,
            grant=Grant.from_json(json.loads(body)),
            signature=signature,
            grade=grade,
            received_at=received_at,
            state=State(state),
            reason=reason,
            mandate=mandate,
            withdrawn_through=ended,
        )
