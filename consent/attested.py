"""Consents that staff attest for a patient: one grant each, of a key that is thrown away at once.

The grant says of itself that staff wrote it down (``written-down-by-staff``, also on the ledger);
its grade is ``staff-attested``, so it counts only in plans that accept that grade. It never
outranks what a patient said since: an answer to a letter, or a withdrawal after the signature,
stands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from consent import purposes, signature
from consent.intake import Desk, Intake
from consent.kept import KeptGrant
from consent.policy import Grade
from consent.record import DAY, Grant, midnight_before
from consent.study import Study
from consent.terms import terms
from consent.vault import Vault
from consent.withdrawals import Withdrawals
from twinward.errors import UsageError
from twinward.ids import RecordNumber

_SUBMISSION = 7 * DAY
"""How long the hospital may take to bring a grant to the ledger, seconds."""


class Attested:
    """Takes what staff attest into a hospital's vault, for one study."""

    def __init__(self, vault: Vault, desk: Desk, *, study: Study) -> None:
        self._vault = vault
        self._desk = desk
        self._study = study
        self._intake = Intake(vault, desk)
        self._withdrawals = Withdrawals(vault)

    def is_answered(self, record: RecordNumber, *, signed_on: float) -> bool:
        """Whether the patient has a permission already, so that there is nothing to take.

        Raises:
            UsageError: TW7256, the patient withdrew since ``signed_on`` (Unix seconds).
        """
        last = self._withdrawals.newest(self._study.id32, record)
        if last is not None and last.received_at >= signed_on:
            raise UsageError(
                "the patient withdrew after signing this",
                code="TW7256",
                help="leave the line out; the patient can be asked again with a letter",
            )
        newest = self._vault.newest(self._study.id32, record)
        return newest is not None and not newest.withdrawn

    def take(
        self,
        record: RecordNumber,
        *,
        mask: int,
        until: float,
        enter: Callable[[], None],
        without: Collection[str] = (),
    ) -> KeptGrant:
        """Keep a grant that `is_answered` did not stand against; durable when this returns.

        Args:
            record: Whose.
            mask: What is permitted; the mark of staff is added.
            until: Unix seconds; rounded down to a midnight.
            enter: Enters the attestation in the audit log; called before anything is kept.
            without: Categories of the study that the patient left out.

        Raises:
            UsageError: TW3042, one of them cannot be left out.
            ConsentError: As of `consent.intake.Intake.take`.
        """
        study = self._study
        scope = study.scope(self._desk.hospital, without=without)
        enter()
        (code,) = self._vault.enrol(study.id32, [record], valid_until=study.closes)
        key = signature.new_key()
        now = self._desk.clock.now()
        grant = Grant(
            network=self._desk.domain.genesis,
            study=study.id32,
            subject=signature.address_of(key),
            purposes=mask | purposes.bits([purposes.BY_STAFF]),
            purpose_table=purposes.table_digest(),
            scope=scope,
            terms_shown=terms(study, hospital=self._desk.hospital).digest,
            not_before=midnight_before(now),  # the day on the paper stays in the hospital
            expiry=midnight_before(until),
            nonce=0,
            submit_by=int(now + _SUBMISSION),
        )
        signed = grant.sign(key, self._desk.domain)
        return self._intake.take(grant, signed, code=code, grade=Grade.STAFF)
