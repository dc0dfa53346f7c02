"""Which grants a hospital takes: every rule between a patient's signature and the vault."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from consent import purposes
from consent.kept import KeptGrant
from consent.notices import Notices
from consent.policy import Grade, Moment, Slot
from consent.record import DAY, LAST_NONCE, Domain, Grant, require_signed
from consent.register import Register
from consent.requests import hex_bytes
from consent.standing import Role
from consent.study import Study
from consent.terms import terms
from consent.uses import Uses
from consent.vault import Enrolment, Vault
from consent.withdrawals import KeptWithdrawal
from twinward.clock import Clock
from twinward.errors import ConsentError
from twinward.ids import OrgName, RecordNumber
from twinward.signing import Document, Identity

LONGEST_SUBMISSION = 30 * DAY
"""A grant that may be relayed later than this is refused: two would be open at once."""


def _every_grade(_: bytes) -> frozenset[str]:
    """A desk that knows no plan: tests and benchmarks."""
    return frozenset(Grade)


def _not_completed(_: bytes) -> Document | None:
    """A desk whose withdrawals nobody follows up: tests and benchmarks."""
    return None


def _no_uses(_: RecordNumber, __: bool) -> Uses:  # noqa: FBT001 - as it is called
    """A desk without an audit log: tests and benchmarks."""
    return Uses((), None)


def _unwritten(_: KeptWithdrawal, __: str | None) -> None:
    """Withdrawals of a desk without an audit log: tests and benchmarks."""


def _unheard(_: str, __: RecordNumber, ___: bytes) -> None:
    """Delegates of a desk without an audit log: tests and benchmarks."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What the desk needs to know of its surroundings.

    Attributes:
        hospital: Whose desk it is.
        identity: Signs receipts.
        domain: The ledger and contract that grants must be signed for.
        studies: Open and closed studies of this hospital, by their number on the ledger.
        clock: Local time.
        slot: What the local mirror says of a subject in a study.
        chain_time: Time of the newest block that this hospital trusts, Unix seconds.
        next_step: The first step of a run of the study whose cohort was not yet drawn; None when
            no run is under way. Asked after a withdrawal is on disk, so that it never flatters.
        ledger_deadline: Seconds after which a withdrawal has to be on the ledger.
        withdrew: Is told of a withdrawal that holds, and who of the staff took it down if anyone
            did, before its receipt is made; what it raises is passed on, and there is no receipt
            until it is asked for again.
        spoke: Is told when somebody is named, ended, or answers for a patient: one word, whose
            patient, which study. Of a naming before it is kept, of the others before the answer.
        grades: Which grades the plans of a study accept.
        completed: The last word on a withdrawal, by its digest, once there is one.
        uses: What was done with a patient's data, its proof checked if that is asked for.
        notices: Who wants mails; None where the hospital sends none.
    """

    hospital: OrgName
    identity: Identity
    domain: Domain
    studies: Mapping[bytes, Study]
    clock: Clock
    slot: Callable[[bytes, bytes], Slot | None]
    chain_time: Callable[[], float]
    next_step: Callable[[bytes], int | None]
    ledger_deadline: float = DAY
    withdrew: Callable[[KeptWithdrawal, str | None], None] = _unwritten
    spoke: Callable[[str, RecordNumber, bytes], None] = _unheard
    grades: Callable[[bytes], frozenset[str]] = _every_grade
    completed: Callable[[bytes], Document | None] = _not_completed
    uses: Callable[[RecordNumber, bool], Uses] = _no_uses
    notices: Notices | None = None


class Intake:
    """Takes grants into the vault, or says why not."""

    def __init__(self, vault: Vault, desk: Desk) -> None:
        self._vault = vault
        self._register = Register(vault)
        self._desk = desk

    def take(
        self, grant: Grant, signature: bytes, *, code: bytes, grade: Grade = Grade.DEVICE
    ) -> KeptGrant:
        """Check a grant, keep it and queue it for the ledger; durable when this returns.

        The same grant again, as after a lost answer, changes nothing. What staff wrote down is
        marked in the grant itself, and what a device signed is not: neither passes for the other.

        Raises:
            ConsentError: TW3002, TW3004, TW3005, TW3009 to TW3016; TW8160, TW8164, TW8165.
        """
        digest = require_signed(grant, signature, domain=self._desk.domain)
        study = self.study(grant.study)
        self._require_as_offered(grant, study, grade=grade)
        with self._vault.store.transaction() as database:
            enrolment = self.enrolment(code, grant.study)
            if not self._already_kept(grant, digest, enrolment):
                self._require_valid_now(grant)
                self._require_speaker(grant, enrolment, study)
                self._require_next(grant)
                self._vault.keep(
                    database,
                    grant,
                    digest=digest,
                    signature=signature,
                    code=code,
                    record=enrolment.record,
                    grade=grade,
                    received_at=int(self._desk.clock.now()),
                    mandate=enrolment.mandate,
                )
            kept = self._vault.by_digest(digest)
        assert kept is not None  # noqa: S101 - kept now or before
        return kept

    def now(self) -> Moment:
        """Now by the local clock and by the ledger's."""
        return Moment(local=self._desk.clock.now(), chain=self._desk.chain_time())

    def study(self, study32: bytes, *, even_closed: bool = False) -> Study:
        """The study of this number, if grants for it are taken now.

        Raises:
            ConsentError: TW3011.
        """
        study = self._desk.studies.get(study32)
        if study is None or (not even_closed and self.now().latest >= study.closes):
            raise ConsentError(
                "this study is not open at this hospital",
                code="TW3011",
                help="check the letter; a consent for one study counts for no other",
            )
        return study

    def study_of(self, code: bytes) -> Study:
        """The study that the letter with this code asks about, also when it is closed.

        Raises:
            ConsentError: TW3010, TW3011; TW8160.
        """
        found = self._vault.enrolment(code)
        if found is None:
            raise _no_such_code()
        self._require_mandate(found)
        return self.study(found.study, even_closed=True)

    def enrolment(self, code: bytes, study: bytes, *, to_withdraw: bool = False) -> Enrolment:
        """Whose letter carries this code; a patient's own never expires for withdrawing.

        Raises:
            ConsentError: TW3010; TW8160, it is of somebody who speaks for the patient no more.
        """
        found = self._vault.enrolment(code)
        late = found is not None and self._desk.clock.now() >= found.valid_until
        used = found is not None and found.subject is not None
        if found is None or found.study != study or (late and not (to_withdraw or used)):
            raise _no_such_code()
        self._require_mandate(found)
        return found

    def own_letter(self, code: object, study: object) -> Enrolment:
        """The patient's own letter of this code, in hex, which nobody answers for them.

        Raises:
            ConsentError: TW3010, TW3011; TW8161, it is of somebody who speaks for the patient.
            UsageError: TW3019.
        """
        about = self.study(hex_bytes(study), even_closed=True)
        found = self.enrolment(hex_bytes(code), about.id32, to_withdraw=True)
        if found.mandate is not None:
            raise not_with_this_letter()
        return found

    def _require_mandate(self, enrolment: Enrolment) -> None:
        """What was said under a mandate ends with it, so its letter has nothing left to end."""
        mandate = self._register.mandate(enrolment.mandate)
        now = self._desk.clock.now()
        if mandate is not None and any(one.ends <= now for one in mandate.chain()):
            raise ConsentError(
                "the holder of this letter speaks for the patient no more",
                code="TW8160",
                help="ask the patient, or the hospital's desk",
            )

    def _require_as_offered(self, grant: Grant, study: Study, *, grade: Grade) -> None:
        marked = bool(grant.purposes & purposes.bits([purposes.BY_STAFF]))
        offered = (
            ("scope", grant.scope in study.scopes(self._desk.hospital)),
            ("terms", grant.terms_shown == terms(study, hospital=self._desk.hospital).digest),
            ("purpose table", grant.purpose_table == purposes.table_digest()),
            ("purposes", purposes.well_formed(grant.purposes)),
            ("who wrote it down", marked == (grade is Grade.STAFF)),
        )
        other = [name for name, same in offered if not same]
        if other:
            raise ConsentError(
                f"this grant is not about what was offered: {', '.join(other)} differ",
                code="TW3014",
                help="fetch the terms again, read them, and sign those",
            )

    def _require_valid_now(self, grant: Grant) -> None:
        latest = self.now().latest
        if grant.expiry <= latest or grant.submit_by < latest:
            raise ConsentError(
                "this grant has expired",
                code="TW3013",
                note=f"valid until {grant.expiry}, to be handed in by {grant.submit_by}",
                help="sign a new one with a later end",
            )
        honest = (
            grant.expiry % DAY == 0
            and grant.not_before < grant.expiry
            and grant.not_before <= latest + DAY  # a device's clock may be ahead, not a year
            and grant.submit_by <= latest + LONGEST_SUBMISSION
            and grant.nonce < LAST_NONCE
        )
        if not honest:
            raise ConsentError(
                "the dates of this grant cannot be accepted",
                code="TW3009",
                note="from now to a UTC midnight, to be handed in within 30 days",
                help="sign it again with the `twinward consent` command",
            )

    def _already_kept(self, grant: Grant, digest: bytes, enrolment: Enrolment) -> bool:
        """Whether this is an honest repetition; a replay of what was ended is refused."""
        known = self._vault.by_digest(digest)
        if known is None:
            return False
        if known.record != enrolment.record or known.withdrawn:
            raise _replayed(grant.nonce)
        newest = self._vault.newest(grant.study, known.record)
        if newest is None or newest.digest != digest:
            raise _replayed(grant.nonce)
        return True

    def _require_speaker(self, grant: Grant, enrolment: Enrolment, study: Study) -> None:
        """One letter, one key, one patient; a new key only after the old one was withdrawn."""
        mandate = self._register.mandate(enrolment.mandate)
        if mandate is not None and mandate.purposes == 0:
            raise ConsentError(
                "the holder of this letter may stop, and not say yes",
                code="TW8164",
                help="the patient says yes with their own letter",
            )
        owner = self._vault.record_of(grant.study, grant.subject)
        newest = self._vault.newest(grant.study, enrolment.record)
        if mandate is not None and mandate.role is Role.CHOSEN and newest is not None:
            scopes = study.scopes(self._desk.hospital)
            if scopes.get(newest.grant.scope, 0) & ~scopes[grant.scope]:
                raise ConsentError(
                    "whom a patient named cannot let in a category that the patient left out",
                    code="TW8165",
                    help="leave out what the last yes left out, or ask the patient",
                )
        if (
            owner not in (None, enrolment.record)
            or enrolment.subject not in (None, grant.subject)
            or (newest and newest.subject != grant.subject and self._in_force(newest))
            or (newest and newest.subject == grant.subject and newest.withdrawn_for_ever)
        ):
            raise ConsentError(
                "this letter and this key do not speak for this patient any more",
                code="TW3015",
                note="used by another device, or withdrawn at the desk",
                help="withdraw at the hospital's desk, and ask there for a new letter",
            )

    def _require_next(self, grant: Grant) -> None:
        if self._vault.waiting(grant.study, grant.subject):
            raise ConsentError(
                "an earlier grant is still on its way to the ledger",
                code="TW3016",
                help="wait a minute and try again; withdrawing is possible at any time",
            )
        slot = self._desk.slot(grant.study, grant.subject)
        expected = self._vault.next_nonce(grant.study, grant.subject, slot)
        if grant.nonce != expected:
            raise _replayed(grant.nonce, expected)

    def _in_force(self, kept: KeptGrant) -> bool:
        slot = self._desk.slot(kept.study, kept.subject)
        ended = slot is not None and slot.nonce > kept.grant.nonce and slot.purposes == 0
        return not (kept.withdrawn or ended or self.now().latest >= kept.grant.expiry)


def not_with_this_letter() -> ConsentError:
    """The refusal of what only a patient can do, of age where that matters."""
    return ConsentError(
        "only a patient can do this, of age, with their own letter",
        code="TW8161",
        help="ask the hospital's desk",
    )


def _no_such_code() -> ConsentError:
    return ConsentError(
        "the code of the letter is not valid here",
        code="TW3010",
        help="check the letter, or ask the hospital for a new one",
    )


def _replayed(nonce: int, expected: int | None = None) -> ConsentError:
    return ConsentError(
        "this grant was used or withdrawn before; it cannot be used again",
        code="TW3012",
        note=None if expected is None else f"it carries nonce {nonce}; the next one is {expected}",
        help="sign a new grant",
    )
