"""Whether a permission covers a use. A pure function that names the rule it applied.

The default is no: no record, no use. Everything that is unclear is a no as well. Rules are applied
in the order in which `Rule` lists them; the first that forbids is the one that is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from consent import purposes
from consent.record import Grant
from consent.study import Study
from twinward.ids import OrgName


class Grade(StrEnum):
    """How a grant came about; the plan says which of them count."""

    DEVICE = "signed-on-device"
    HOSPITAL = "signed-at-hospital"
    STAFF = "staff-attested"


class Slot(Protocol):
    """What the ledger says of one subject in one study; ``nonce`` is that of the next grant."""

    @property
    def purposes(self) -> int:
        """Bits of the purpose table; 0 after a withdrawal."""
        ...

    @property
    def expiry(self) -> int:
        """Unix seconds, a UTC midnight."""
        ...

    @property
    def nonce(self) -> int:
        """The nonce that the subject's next grant must carry."""
        ...

    @property
    def digest(self) -> bytes:
        """Digest of what the subject signed last."""
        ...


class Rule(StrEnum):
    """Why a use is permitted or not, in the order of application."""

    NO_RECORD = "no-record"
    WITHDRAWN_HERE = "withdrawn-here"
    SIGNATURE = "signature-not-verified"
    NOT_ON_LEDGER = "not-on-ledger"
    WITHDRAWN_ON_LEDGER = "withdrawn-on-ledger"
    LEDGER_DIFFERS = "ledger-differs"
    OTHER_NETWORK = "other-network"
    OTHER_STUDY = "other-study"
    OTHER_SCOPE = "other-scope"
    OTHER_TABLE = "other-purpose-table"
    NOT_YET = "not-yet-valid"
    EXPIRED = "expired"
    PURPOSE = "purpose-not-permitted"
    RESTRICTION = "restriction"
    GRADE = "grade-not-accepted"
    GRANTED = "granted"


@dataclass(frozen=True, slots=True)
class Permission:
    """All that a hospital knows of one patient's permission for one study.

    Attributes:
        grant: The newest one that the patient signed.
        digest: What names it: the bytes that were signed.
        verified: Whether this process itself verified the patient's signature over it.
        grade: How the grant came about.
        slot: What the ledger says of the subject; None if nothing.
        withdrawn_through: The highest nonce that a withdrawal known to this hospital ends;
            None if there is none.
    """

    grant: Grant
    digest: bytes
    verified: bool
    grade: str
    slot: Slot | None
    withdrawn_through: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """A use that somebody asks about: a study's plan at one hospital."""

    network: bytes
    study: bytes
    scope: bytes
    purpose: str
    commercial: bool
    grades: frozenset[str]

    @classmethod
    def of(cls, study: Study, *, hospital: OrgName, grades: frozenset[str]) -> Request:
        """What this study asks at this hospital; ``grades`` are those its plan accepts."""
        return cls(
            network=bytes.fromhex(study.network),
            study=study.id32,
            scope=study.scope(hospital),
            purpose=study.purpose,
            commercial=study.commercial,
            grades=grades,
        )


@dataclass(frozen=True, slots=True)
class Moment:
    """Now, by two clocks that nobody should have to trust alone; Unix seconds."""

    local: float
    chain: float

    @property
    def latest(self) -> float:
        """What an expiry is compared with: the later clock wins."""
        return max(self.local, self.chain)

    @property
    def earliest(self) -> float:
        """What a start is compared with: the earlier clock wins."""
        return min(self.local, self.chain)


@dataclass(frozen=True, slots=True)
class Decision:
    """Permit or not, and the rule that decided."""

    permit: bool
    rule: Rule


def decide(permission: Permission | None, request: Request, *, at: Moment) -> Decision:
    """Decide one use of one patient's data; never raises, never permits what it cannot prove."""
    rule = _first_rule(permission, request, at=at)
    return Decision(rule is Rule.GRANTED, rule)


def _first_rule(permission: Permission | None, request: Request, *, at: Moment) -> Rule:
    if permission is None:
        return Rule.NO_RECORD
    grant, slot = permission.grant, permission.slot
    rules = (
        (Rule.WITHDRAWN_HERE, _withdrawn(permission)),
        (Rule.SIGNATURE, not permission.verified),
        (Rule.NOT_ON_LEDGER, slot is None or slot.nonce <= grant.nonce),
        (Rule.WITHDRAWN_ON_LEDGER, slot is not None and slot.purposes == 0),
        (Rule.LEDGER_DIFFERS, slot is None or not on_ledger(grant, permission.digest, slot)),
        (Rule.OTHER_NETWORK, grant.network != request.network),
        (Rule.OTHER_STUDY, grant.study != request.study),
        (Rule.OTHER_SCOPE, grant.scope != request.scope),
        (Rule.OTHER_TABLE, grant.purpose_table != purposes.table_digest()),
        (Rule.NOT_YET, at.earliest < grant.not_before),
        (Rule.EXPIRED, at.latest >= grant.expiry),
        (Rule.PURPOSE, not purposes.permits(grant.purposes, request.purpose)),
        (Rule.RESTRICTION, purposes.restricts(grant.purposes, commercial=request.commercial)),
        (Rule.GRADE, permission.grade not in request.grades),
    )
    return next((rule for rule, forbids in rules if forbids), Rule.GRANTED)


def on_ledger(grant: Grant, digest: bytes, slot: Slot) -> bool:
    """Whether the ledger's slot is exactly what this grant makes of it."""
    return (slot.digest, slot.purposes, slot.expiry, slot.nonce) == (
        digest,
        grant.purposes,
        grant.expiry,
        grant.nonce + 1,
    )


def _withdrawn(permission: Permission) -> bool:
    through = permission.withdrawn_through
    return through is not None and through >= permission.grant.nonce
