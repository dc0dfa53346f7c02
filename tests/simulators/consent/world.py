"""One hospital, its patients and a ledger in memory that keeps the rules of `Consent.sol`.

The ledger here is held equal to the real contract by `tests/contract/consent`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

from consent import purposes, signature
from consent.intake import Desk
from consent.letters import Letter
from consent.policy import Grade, Request
from consent.record import DAY, Domain, Grant, Withdrawal, require_signed
from consent.relay import Ledger, Relay
from consent.service import ConsentDesk
from consent.study import OptionalCategory, Study
from consent.terms import terms
from consent.uses import Uses
from consent.vault import Vault
from hospital_node.cohort import Cohort
from hospital_node.cohort_snapshot import Snapshot
from twinward import canonical
from twinward.clock import FixedClock
from twinward.errors import ConsentError, LedgerError, LedgerUnreachable
from twinward.ids import OrgName, RecordNumber, StudyId
from twinward.signing import Identity

NOW = 1_795_226_400.0
GENESIS = bytes(range(32))
VAULT_KEY = b"\x77" * 32
DOMAIN = Domain(chain_id=1337, contract=b"\x11" * 20, genesis=GENESIS)
HOSPITAL = OrgName("cleveland")
IDENTITY = Identity.generate()
STUDY = Study(
    network=GENESIS.hex(),
    name=StudyId("heart-risk"),
    salt="5a" * 32,
    title="Who is at risk of heart disease?",
    purpose="heart-research",
    categories=("age and sex", "blood pressure"),
    optional=(OptionalCategory("blood pressure", ("trestbps",)),),
    closes=int(NOW) + 3650 * DAY,
)


@dataclass(frozen=True, slots=True)
class Slot:
    study: bytes
    subject: bytes
    purposes: int
    expiry: int
    nonce: int
    flags: int
    digest: bytes
    block: int


class LedgerInMemory:
    """The contract and a mirror of it that is always in step. A block per call."""

    def __init__(self, clock: FixedClock, domain: Domain = DOMAIN) -> None:
        self.clock = clock
        self.domain = domain
        self.reachable = True
        self.dies_after_taking = False
        self.block = 0
        self.time = clock.now()
        self.slots: dict[tuple[bytes, bytes], Slot] = {}
        self.heads: dict[int, bytes] = {0: bytes(32)}
        self.grants_seen: list[list[bytes]] = []

    def slot(self, study, subject):
        return self.slots.get((study, subject))

    def changes(self, after_block):
        return [slot for slot in self.slots.values() if slot.block > after_block]

    def head_at(self, block):
        return self.heads[block]

    def confirm(self) -> float:
        return self.time

    def _mine(self) -> None:
        if not self.reachable:
            raise LedgerUnreachable("the ledger does not answer", code="TW5001", help="retry")
        self.block += 1
        self.time = max(self.clock.now(), self.time + 1)
        self.heads[self.block] = self.heads[self.block - 1]

    def _write(self, study, subject, bits, expiry, nonce, flags, digest) -> None:
        slot = Slot(study, subject, bits, expiry, nonce, flags, digest, self.block)
        self.slots[study, subject] = slot
        self.heads[self.block] = canonical.tagged_hash(
            "test", self.heads[self.block], repr(slot).encode()
        )

    def _nonce(self, study, subject) -> int:
        slot = self.slot(study, subject)
        return slot.nonce if slot else 0

    def grants(self, items):
        self._mine()
        results = [(g.digest(self.domain), self._grant(g, s)) for g, s in items]
        self.grants_seen.append([digest for digest, _ in results])
        self._maybe_die()
        return results

    def _grant(self, g: Grant, sig: bytes) -> str | None:
        for reason, wrong in (
            ("WrongNetwork", g.network != self.domain.genesis),
            ("NoSubject", g.subject == bytes(20)),
            ("NoPurpose", g.purposes == 0),
            ("WrongNonce", g.nonce != self._nonce(g.study, g.subject)),
            ("TooLate", self.time > g.submit_by),
            ("ExpiryNotMidnight", g.expiry % DAY != 0),
            ("Expired", g.expiry <= self.time),
        ):
            if wrong:
                return reason
        try:
            digest = require_signed(g, sig, domain=self.domain)
        except ConsentError:
            return "BadSignature"
        self._write(g.study, g.subject, g.purposes, g.expiry, g.nonce + 1, 1, digest)
        return None

    def withdrawal(self, w: Withdrawal, sig: bytes) -> None:
        self._mine()
        digest = require_signed(w, sig, domain=self.domain)
        if w.nonce < self._nonce(w.study, w.subject):
            raise LedgerError("NonceSpent", code="TW5030", help="none")
        self._write(w.study, w.subject, 0, 0, w.nonce + 1, 1, digest)
        self._maybe_die()

    def attestation(self, study: bytes, subject: bytes) -> None:
        self._mine()
        slot = self.slot(study, subject)
        if slot is None or slot.purposes == 0:
            raise LedgerError("NothingGranted", code="TW5030", help="none")
        self._write(study, subject, 0, 0, slot.nonce + 1, 2, bytes(32))
        self._maybe_die()

    def _maybe_die(self) -> None:
        if self.dies_after_taking:
            self.dies_after_taking = False
            raise LedgerUnreachable("the answer was lost", code="TW5001", help="retry")


def in_a_file(folder: Path) -> Path:
    return folder / "consent.db"


place = in_a_file
"""Where a hospital's vault lies; the fixture `both_stores` puts a server in its place."""


class Hospital:
    """A vault on disk with its desk, relay and cohorts; `reopen` is a crash and a restart."""

    def __init__(
        self,
        folder: Path,
        *,
        study: Study = STUDY,
        patients: int = 4,
        domain: Domain = DOMAIN,
        now: float = NOW,
        ledger=None,
        notices=None,
    ) -> None:
        self.notices = notices
        self.clock = FixedClock(now)
        self.domain = domain
        self.ledger = ledger or LedgerInMemory(self.clock, domain)
        self.study = study
        self.open_studies = {study.id32: study}
        self.records = [RecordNumber(f"R{number}") for number in range(patients)]
        self.path = place(folder)
        self.next_step: int | None = None
        self.withdrew = lambda _kept, _staff: None
        self.uses = lambda _record, _check: Uses((), None)
        self.spoke = lambda *_told: None
        self.vault = Vault.open(self.path, key=VAULT_KEY)
        self.snapshot = Snapshot(folder / "cohort.sealed", key=VAULT_KEY, release="this one")
        self._build()

    def _build(self) -> None:
        self.desk = ConsentDesk(
            self.vault,
            Desk(
                hospital=HOSPITAL,
                identity=IDENTITY,
                domain=self.domain,
                studies=self.open_studies,
                clock=self.clock,
                slot=self.ledger.slot,
                chain_time=self.ledger.confirm,
                next_step=lambda _study: self.next_step,
                withdrew=lambda *told: self.withdrew(*told),  # noqa: PLW0108 - set later
                uses=lambda *asked: self.uses(*asked),  # noqa: PLW0108 - set later
                spoke=lambda *told: self.spoke(*told),  # noqa: PLW0108 - set later
                notices=self.notices,
            ),
        )
        ledger = Ledger(
            grants=self.ledger.grants,
            withdrawal=self.ledger.withdrawal,
            attestation=self.ledger.attestation,
            slot=self.ledger.slot,
            chain_time=self.ledger.confirm,
        )
        self.relay = Relay(self.vault, ledger, shuffle=random.Random(7))

    def reopen(self) -> None:
        self.vault.store.close()
        self.vault = Vault.open(self.path, key=VAULT_KEY)
        self._build()

    def push(self) -> None:
        self.relay.push_withdrawals()
        self.relay.push_grants()

    def cohort(
        self,
        *,
        grades=(Grade.DEVICE,),
        confirm=None,
        records=None,
        note=lambda _decided: None,
        snapshot=None,
    ) -> Cohort:
        return Cohort(
            self.vault,
            self.ledger,
            records=self.records if records is None else records,
            request=Request.of(self.study, hospital=HOSPITAL, grades=frozenset(grades)),
            domain=self.domain,
            clock=self.clock,
            confirm=confirm or self.ledger.confirm,
            note=note,
            snapshot=snapshot,
        )

    def letter(self, number: int = 0, *, valid_seconds: int = 90 * DAY) -> Letter:
        (code,) = self.vault.enrol(
            self.study.id32,
            [self.records[number]],
            valid_until=int(self.clock.now()) + valid_seconds,
        )
        return self.letter_of(code)

    def letter_of(self, code: bytes) -> Letter:
        return Letter(
            hospital=HOSPITAL,
            identity=IDENTITY.public,
            desk="localhost:1",
            ca="",
            domain=self.domain,
            study=self.study,
            code=code,
        )


class Patient:
    """Someone with a letter and a key, who can also be made to lie."""

    def __init__(
        self, hospital: Hospital, number: int = 0, *, letter: Letter | None = None
    ) -> None:
        self.hospital = hospital
        self.letter = letter or hospital.letter(number)
        self.record = hospital.records[number]
        self.key = signature.new_key()
        self.subject = signature.address_of(self.key)

    def grant(
        self,
        *,
        days: int = 365,
        nonce: int = 0,
        names=("heart-research",),
        without=(),
        **changes,
    ) -> Grant:
        now, study = int(self.hospital.clock.now()), self.letter.study
        honest = Grant(
            network=self.hospital.domain.genesis,
            study=study.id32,
            subject=self.subject,
            purposes=purposes.bits(names),
            purpose_table=purposes.table_digest(),
            scope=study.scope(HOSPITAL, without=without),
            terms_shown=terms(study, hospital=HOSPITAL).digest,
            not_before=now // DAY * DAY,
            expiry=now // DAY * DAY + days * DAY,
            nonce=nonce,
            submit_by=now + 7 * DAY,
        )
        return replace(honest, **changes)

    def body(
        self, grant: Grant, *, domain: Domain | None = None, key: bytes | None = None, **changes
    ):
        request = {
            "code": self.letter.code.hex(),
            "grant": grant.to_json(),
            "signature": grant.sign(key or self.key, domain or self.hospital.domain).hex(),
        }
        return canonical.encode(request | changes)

    def grants(self, grant: Grant | None = None, **changes) -> bytes:
        return self.hospital.desk.grant(self.body(grant or self.grant(), **changes))

    def withdraws(
        self, *, nonce: int = 1, domain: Domain | None = None, key=None, **changes
    ) -> bytes:
        now = int(self.hospital.clock.now())
        fields = {
            "network": self.hospital.domain.genesis,
            "study": self.letter.study.id32,
            "subject": self.subject,
        }
        withdrawal = Withdrawal(**(fields | {"nonce": nonce, "signed_at": now} | changes))
        return self.hospital.desk.withdraw(
            canonical.encode(
                {
                    "withdrawal": withdrawal.to_json(),
                    "signature": withdrawal.sign(
                        key or self.key, domain or self.hospital.domain
                    ).hex(),
                }
            )
        )

    def withdraws_by_code(self) -> bytes:
        study = self.letter.study.id32.hex()
        return self.hospital.desk.withdraw(
            canonical.encode({"code": self.letter.code.hex(), "study": study})
        )

    def is_used(self) -> bool:
        """By a cohort that was built from nothing, right now."""
        row = self.hospital.records.index(self.record)
        return bool(self.hospital.cohort().mask()[row])
