"""The hospital's consent desk: takes grants and withdrawals, answers what is on record.

Bodies are canonical JSON. A grant is kept and queued for the ledger in one transaction; it widens
nothing until the ledger shows it (`hospital_node.cohort`). A withdrawal is on disk before its
receipt is made and holds from that moment, whatever the ledger does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from consent import purposes
from consent.delegates import Delegates
from consent.foresight import foresee
from consent.intake import Desk, Intake
from consent.kept import KeptGrant
from consent.notice_desk import NoticeDesk
from consent.policy import Grade, Request, decide
from consent.receipts import grant_receipt, step_of, withdrawal_receipt
from consent.record import LAST_NONCE, Grant, Withdrawal, require_signed
from consent.register import Register
from consent.requests import hex_bytes, not_a_request, object_of, read
from consent.terms import terms
from consent.uses import statement
from consent.vault import Vault
from consent.withdrawals import KeptWithdrawal, Withdrawals
from twinward import canonical
from twinward.errors import ConsentError
from twinward.ids import RecordNumber


class ConsentDesk:
    """The four calls of the service ``ConsentDesk``, and the desk clerk's own."""

    def __init__(self, vault: Vault, desk: Desk) -> None:
        self._vault = vault
        self._withdrawals = Withdrawals(vault)
        self._register = Register(vault)
        self._intake = Intake(vault, desk)
        self._delegates = Delegates(vault, desk, self._intake)
        self._notices = NoticeDesk(desk, self._intake)
        self._desk = desk

    def terms(self, body: bytes) -> bytes:
        """``{study}``, or a letter's ``{code}``, to the study, the text to show and its digest.

        Raises:
            ConsentError: TW3010, TW3011. UsageError: TW3019.
        """
        value = read(body)
        if set(value) == {"code"}:
            study = self._intake.study_of(hex_bytes(value["code"]))
        else:
            study = self._intake.study(hex_bytes(read(body, "study")["study"]))
        shown = terms(study, hospital=self._desk.hospital)
        return canonical.encode(
            {
                "hospital": self._desk.hospital,
                "study": study.to_json(),
                "language": shown.language,
                "version": shown.version,
                "text": shown.text,
                "digest": shown.digest.hex(),
            }
        )

    def grant(self, body: bytes) -> bytes:
        """``{code, grant, signature}`` to the receipt, a signed document.

        The same grant again, as after a lost answer, gives the same receipt. Who adds ``grade``
        says that no device of the patient's signed; it can only be ``signed-at-hospital``. With a
        ``delegate`` instead of a grant the patient names somebody (`consent.delegates`), with
        ``notices`` they choose mails (`consent.notice_desk`).

        Raises:
            ConsentError: TW3002, TW3004, TW3005, TW3010 to TW3016, TW8160 to TW8165.
            UsageError: TW3003, TW3019.
        """
        value = read(body)
        if "notices" in value:
            return self._notices.choose(body)
        if "delegate" in value:
            return self._delegates.name(body)
        grade = Grade.HOSPITAL if value.pop("grade", None) == Grade.HOSPITAL else Grade.DEVICE
        named = ("grade",) if grade is Grade.HOSPITAL else ()
        read(body, "code", "grant", "signature", *named)
        kept = self._intake.take(
            Grant.from_json(object_of(value["grant"])),
            hex_bytes(value["signature"]),
            code=hex_bytes(value["code"]),
            grade=grade,
        )
        if kept.mandate is not None:
            self._desk.spoke("mandate-yes", kept.record, kept.study)
        return self._grant_receipt(kept)

    def withdraw(self, body: bytes) -> bytes:
        """``{withdrawal, signature}`` or, without a key, ``{code, study}`` to the receipt.

        With a ``mandate`` besides, that mandate ends instead (`consent.delegates`); with
        ``notices``, mails do (`consent.notice_desk`).

        Raises:
            ConsentError: TW3002, TW3004, TW3005, TW3010, TW3011, TW3017, TW3018, TW8160 to TW8163.
            UsageError: TW3003, TW3019.
        """
        value = read(body)
        if "notices" in value:
            return self._notices.end(body)
        if "mandate" in value:
            return self._delegates.end(body)
        if set(value) == {"withdrawal", "signature"}:
            kept = self._withdraw_signed(
                Withdrawal.from_json(object_of(value["withdrawal"])), hex_bytes(value["signature"])
            )
            newest = self._vault.newest(kept.study, kept.record)
            mandated = newest is not None and newest.mandate is not None
            own_key = newest is not None and newest.subject == kept.subject
            return self._receipt(kept, by_other=mandated and own_key)
        value = read(body, "code", "study")
        study = hex_bytes(value["study"])
        enrolment = self._intake.enrolment(hex_bytes(value["code"]), study, to_withdraw=True)
        by_other = enrolment.mandate is not None
        return self._withdraw_record(study, enrolment.record, by_other=by_other)

    def withdraw_record(
        self, study: bytes, record: RecordNumber, *, staff: str | None = None
    ) -> bytes:
        """The clerk's call, for a patient at the desk or on the telephone: no key, no code.

        ``staff`` is who takes it down, for the hospital's own audit log.

        Raises:
            ConsentError: TW3011, no such study here.
        """
        return self._withdraw_record(study, record, staff=staff)

    def _withdraw_record(
        self,
        study: bytes,
        record: RecordNumber,
        *,
        staff: str | None = None,
        by_other: bool = False,
    ) -> bytes:
        self._intake.study(study, even_closed=True)
        now = self._desk.clock.now()
        return self._receipt(
            self._withdrawals.without_key(
                study,
                record,
                received_at=int(now),
                on_chain_by=int(now + self._desk.ledger_deadline),
            ),
            staff=staff,
            by_other=by_other,
        )

    def show(self, body: bytes) -> bytes:
        """``{code, study}`` to what is on record for that patient and which rule applies.

        With a ``draft`` beside them also which rule would apply if the patient signed that. With
        ``uses`` instead of it what was done with the data, a signed document: ``look``, or
        ``check`` to have the log's proof checked. With ``notices``: `consent.notice_desk`.

        Raises:
            ConsentError: TW3010, TW3011. UsageError: TW3019.
        """
        if "notices" in read(body):
            return self._notices.look(body)
        if "uses" in read(body):
            return self._uses(read(body, "code", "study", "uses"))
        drafted = read(body).get("draft")
        value = read(body, "code", "study", *(() if drafted is None else ("draft",)))
        study = self._intake.study(hex_bytes(value["study"]), even_closed=True)
        enrolment = self._intake.enrolment(hex_bytes(value["code"]), study.id32, to_withdraw=True)
        record = enrolment.record
        newest = self._vault.newest(study.id32, record)
        withdrawal = self._withdrawals.newest(study.id32, record)
        answer: dict[str, Any] = {"rule": "no-record", "permit": False, "grant": None}
        if newest is not None:
            slot = self._desk.slot(study.id32, newest.subject)
            decision = decide(
                newest.permission(
                    slot,
                    verified=newest.verified(self._desk.domain),
                    mandate=self._register.mandate(newest.mandate),
                ),
                Request.of(
                    study, hospital=self._desk.hospital, grades=self._desk.grades(study.id32)
                ),
                at=self._intake.now(),
                standing=self._register.standing(record),
            )
            answer = {
                "rule": decision.rule.value,
                "permit": decision.permit,
                "grant": {
                    "digest": newest.digest.hex(),
                    "subject": newest.subject.hex(),
                    "nonce": newest.grant.nonce,
                    "received_at": newest.received_at,
                    "begins": newest.grant.not_before,
                    "terms": newest.grant.terms_shown.hex(),
                    "purposes": list(purposes.names(newest.grant.purposes)),
                    "without": list(study.without(newest.grant.scope, self._desk.hospital)),
                    "expiry": newest.grant.expiry,
                    "grade": newest.grade,
                    "ledger": newest.state.value,
                    "reason": newest.reason,
                    "next_nonce": self._vault.next_nonce(study.id32, newest.subject, slot),
                },
            }
        answer["withdrawal"] = (
            None
            if withdrawal is None
            else {
                "digest": withdrawal.digest.hex(),
                "received_at": withdrawal.received_at,
                "on_chain_by": withdrawal.on_chain_by,
                "ledger": withdrawal.state.value,
                "excluded_from_step": step_of(withdrawal.receipt),
            }
        )
        answer["receipts"] = {
            "grant": None if newest is None else self._grant_receipt(newest).decode(),
            "withdrawal": None
            if withdrawal is None or withdrawal.receipt is None
            else withdrawal.receipt.decode(),
            "completion": None if withdrawal is None else self._last_word(withdrawal),
        }
        own = enrolment.mandate
        answer["mandates"] = [
            {
                "number": one.number,
                "role": one.mandate.role.value,
                "holder": one.holder,
                "purposes": list(purposes.names(one.mandate.purposes)),
                "begins": one.mandate.begins,
                "ends": one.mandate.ends,
            }
            for one in self._register.mandates(record)
            if own in {None, one.number}  # who speaks for a patient reads of nobody else who does
        ]
        if own is not None:
            answer["speaks"] = answer["mandates"][0]
        if drafted is not None:
            answer["foreseen"] = foresee(
                object_of(drafted),
                study,
                Request.of(
                    study, hospital=self._desk.hospital, grades=self._desk.grades(study.id32)
                ),
                hospital=self._desk.hospital,
                domain=self._desk.domain,
                at=self._intake.now(),
                standing=self._register.standing(record),
                mandate=self._register.mandate(enrolment.mandate),
            ).value
        return canonical.encode(answer)

    def _last_word(self, withdrawal: KeptWithdrawal) -> str | None:
        found = self._desk.completed(withdrawal.digest)
        return None if found is None else found.encode().decode()

    def _uses(self, value: Mapping[str, Any]) -> bytes:
        study = self._intake.study(hex_bytes(value["study"]), even_closed=True)
        enrolment = self._intake.enrolment(hex_bytes(value["code"]), study.id32, to_withdraw=True)
        if value["uses"] not in {"look", "check"}:
            raise not_a_request("uses are looked at or checked")
        return statement(
            self._desk.uses(enrolment.record, value["uses"] == "check"),
            study=study,
            only_study=enrolment.mandate is not None,
            hospital=self._desk.hospital,
            identity=self._desk.identity,
            at=self._desk.clock.now(),
        ).encode()

    def _grant_receipt(self, kept: KeptGrant) -> bytes:
        return grant_receipt(
            kept, hospital=self._desk.hospital, identity=self._desk.identity
        ).encode()

    def _withdraw_signed(self, withdrawal: Withdrawal, signature: bytes) -> KeptWithdrawal:
        digest = require_signed(withdrawal, signature, domain=self._desk.domain)
        known = self._withdrawals.by_digest(digest)
        if known is not None:
            return known
        record = self._vault.record_of(withdrawal.study, withdrawal.subject)
        if record is None or withdrawal.nonce > LAST_NONCE:
            raise ConsentError(
                "this hospital has nothing to withdraw for that key",
                code="TW3017",
                help="send it to the hospital that wrote the letter, or withdraw at its desk",
            )
        newest = self._vault.newest(withdrawal.study, record)
        if newest and newest.subject == withdrawal.subject:
            self._require_ends_something(withdrawal, newest)
        now = self._desk.clock.now()
        return self._withdrawals.signed(
            withdrawal,
            digest=digest,
            signature=signature,
            record=record,
            received_at=int(now),
            on_chain_by=int(now + self._desk.ledger_deadline),
        )

    @staticmethod
    def _require_ends_something(withdrawal: Withdrawal, newest: KeptGrant) -> None:
        if withdrawal.nonce < newest.grant.nonce:
            raise ConsentError(
                "this withdrawal is older than the permission that is now in force",
                code="TW3018",
                note=f"it ends nonces up to {withdrawal.nonce}; now: {newest.grant.nonce}",
                help="withdraw again with the patient's device, or at the desk",
            )

    def _receipt(
        self, kept: KeptWithdrawal, *, staff: str | None = None, by_other: bool = False
    ) -> bytes:
        if kept.receipt is not None:
            return kept.receipt
        self._desk.withdrew(kept, staff)
        if by_other:
            self._desk.spoke("mandate-stop", kept.record, kept.study)
        receipt = withdrawal_receipt(
            kept,
            hospital=self._desk.hospital,
            identity=self._desk.identity,
            excluded_from_step=self._desk.next_step(kept.study),
        )
        return self._withdrawals.keep_receipt(kept.digest, receipt.encode())
