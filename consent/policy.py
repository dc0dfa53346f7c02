"""Whether a permission covers a use. A pure function that names the rule it applied.

The default is no: no record, no use. Everything that is unclear is a no as well. Rules are applied
in the order in which `Rule` lists them, and the first that decides is named. A use for the
patient's own care is not a study's: no default of a law and no objection to studies reaches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from consent import purposes
from consent.framework import OPT_IN, Emergency, Framework
from consent.record import Grant
from consent.standing import NOTHING_KNOWN, Mandate, Role, Standing
from consent.study import Study
from twinward.ids import OrgName


class Grade(StrEnum):
    """How a grant came about; the plan says which of them count."""

    DEVICE = "signed-on-device"
    HOSPITAL = "signed-at-hospital"
    STAFF = "staff-attested"
    LAW = "permitted-by-law"


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

    BREAK_GLASS = "break-glass"
    DIED = "died"
    OBJECTED = "objected"
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
    A_CHILD = "signed-by-a-child"
    CAME_OF_AGE = "came-of-age"
    MANDATE_NOT_IN_FORCE = "mandate-not-in-force"
    MANDATE_EXCEEDED = "mandate-exceeded"
    PURPOSE = "purpose-not-permitted"
    RESTRICTION = "restriction"
    GRADE = "grade-not-accepted"
    BY_LAW = "permitted-by-law"
    GRANTED_IN_PART = "granted-in-part"
    GRANTED = "granted"

    @property
    def permits(self) -> bool:
        """Whether this rule lets a use happen; every other one forbids it."""
        return self in (Rule.BREAK_GLASS, Rule.BY_LAW, Rule.GRANTED_IN_PART, Rule.GRANTED)

    @property
    def words(self) -> str:
        """The rule in one plain sentence."""
        return _WORDS[self]


_WORDS = {
    Rule.BREAK_GLASS: "In an emergency a named person may look at a record for the patient's care.",
    Rule.DIED: "The patient has died, and what they signed ended with it.",
    Rule.OBJECTED: "The patient objected.",
    Rule.NO_RECORD: "Nobody said yes, and no law says it for them.",
    Rule.WITHDRAWN_HERE: "The patient withdrew; this hospital knows it.",
    Rule.SIGNATURE: "The patient's signature was not checked here, or does not hold.",
    Rule.NOT_ON_LEDGER: "The yes is not on the ledger yet.",
    Rule.WITHDRAWN_ON_LEDGER: "The patient withdrew; the ledger shows it.",
    Rule.LEDGER_DIFFERS: "The ledger shows something else than what the patient signed.",
    Rule.OTHER_NETWORK: "The yes was given in another network.",
    Rule.OTHER_STUDY: "The yes was given for another study.",
    Rule.OTHER_SCOPE: "The yes was given for other data, or at another hospital.",
    Rule.OTHER_TABLE: "The yes was given when the purposes had another meaning.",
    Rule.NOT_YET: "The yes begins later.",
    Rule.EXPIRED: "The yes has ended.",
    Rule.A_CHILD: "A child cannot sign alone.",
    Rule.CAME_OF_AGE: "A guardian said yes; the patient is of age now and has to be asked.",
    Rule.MANDATE_NOT_IN_FORCE: "Who said yes for the patient may not do so now.",
    Rule.MANDATE_EXCEEDED: "Who said yes for the patient was not allowed to say yes to this.",
    Rule.PURPOSE: "The yes does not contain this purpose.",
    Rule.RESTRICTION: "The yes has a limit that forbids this use.",
    Rule.GRADE: "The study does not accept a yes that came about like this.",
    Rule.BY_LAW: "Nobody was asked; the law that the study names permits it.",
    Rule.GRANTED_IN_PART: "The patient said yes, and left out a kind of data: it is not read.",
    Rule.GRANTED: "The patient said yes to this.",
}


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
        received_at: When the hospital took the grant, Unix seconds.
        mandate: Under which somebody else signed for the patient; None: the patient did.
    """

    grant: Grant
    digest: bytes
    verified: bool
    grade: str
    slot: Slot | None
    withdrawn_through: int | None
    received_at: int = 0
    mandate: Mandate | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A use that somebody asks about: a study's plan at one hospital.

    ``scope`` is that of all the data that the study asks for; ``narrower`` are those that leave
    out what a patient can leave out, and which of it, as bits (`consent.study.Study.scopes`).
    """

    network: bytes
    study: bytes
    scope: bytes
    use: purposes.Use
    grades: frozenset[str]
    framework: Framework = OPT_IN
    emergency: Emergency | None = None
    narrower: Mapping[bytes, int] = field(default_factory=dict)

    @classmethod
    def of(cls, study: Study, *, hospital: OrgName, grades: frozenset[str]) -> Request:
        """What this study asks at this hospital; ``grades`` are those its plan accepts."""
        return cls(
            network=bytes.fromhex(study.network),
            study=study.id32,
            scope=study.scope(hospital),
            use=study.use,
            grades=grades,
            narrower={scope: bits for scope, bits in study.scopes(hospital).items() if bits},
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
    """Permit or not, and the rule that decided.

    ``withheld`` are the categories that the patient left out, as bits of the request.
    """

    permit: bool
    rule: Rule
    withheld: int = 0


def decide(
    permission: Permission | None,
    request: Request,
    *,
    at: Moment,
    standing: Standing = NOTHING_KNOWN,
    told_at: int | None = None,
) -> Decision:
    """Decide one use of one patient's data; never raises, never permits what it cannot prove.

    ``told_at`` is when a patient who never answered was told of the study, Unix seconds.
    """
    rule = (
        _in_an_emergency(request, at=at)
        or _by_standing(permission, request, at=at, standing=standing)
        or (
            _unasked(request, at=at, told_at=told_at)
            if permission is None
            else _by_grant(permission, request, at=at)
            or _by_signer(permission, at=at, standing=standing)
            or _by_use(permission, request)
        )
    )
    withheld = 0
    if permission is not None and rule is Rule.GRANTED_IN_PART:
        withheld = request.narrower[permission.grant.scope]
    return Decision(rule.permits, rule, withheld)


def starts(permission: Permission, standing: Standing) -> list[int]:
    """When time alone may turn a no into a yes, Unix seconds; by the earlier clock."""
    begun = [one.begins for one in permission.mandate.chain()] if permission.mandate else []
    of_age = [standing.of_age_at] if standing.of_age_at is not None else []
    return [permission.grant.not_before, *begun, *of_age]


def ends(permission: Permission, standing: Standing) -> list[int]:
    """When time alone may turn a yes into a no, Unix seconds; by the later clock."""
    ended = [one.ends for one in permission.mandate.chain()] if permission.mandate else []
    dates = (standing.of_age_at, standing.died_at, standing.objected_at)
    return [permission.grant.expiry, *ended, *(date for date in dates if date is not None)]


def _in_an_emergency(request: Request, *, at: Moment) -> Rule | None:
    emergency = request.emergency
    if emergency is None or request.use.purpose != purposes.OWN_CARE:
        return None
    opens = emergency.opens(earliest=at.earliest, latest=at.latest)
    return Rule.BREAK_GLASS if opens else None


def _by_standing(
    permission: Permission | None, request: Request, *, at: Moment, standing: Standing
) -> Rule | None:
    by_grant = permission is not None and request.framework.after_death
    if standing.is_dead(latest=at.latest) and not by_grant:
        return Rule.DIED
    objected = standing.objected_at
    if objected is None or request.use.purpose == purposes.OWN_CARE:
        return None
    if permission is not None:
        mandate = permission.mandate
        chosen = mandate is not None and mandate.role is Role.CHOSEN
        # An objection is the patient's own word: whom they chose before it does not lift it.
        since = mandate.begins if mandate is not None and chosen else permission.received_at
        return Rule.OBJECTED if objected >= since else None
    return Rule.OBJECTED if request.framework.heeds(objected) else None


def _unasked(request: Request, *, at: Moment, told_at: int | None) -> Rule:
    covered = request.framework.permits_unasked(
        told_at=told_at, earliest=at.earliest, latest=at.latest
    )
    if not covered or request.use.purpose == purposes.OWN_CARE:
        return Rule.NO_RECORD
    return Rule.BY_LAW if Grade.LAW in request.grades else Rule.GRADE


def _by_grant(permission: Permission, request: Request, *, at: Moment) -> Rule | None:
    grant, slot = permission.grant, permission.slot
    rules = (
        (Rule.WITHDRAWN_HERE, _withdrawn(permission)),
        (Rule.SIGNATURE, not permission.verified),
        (Rule.NOT_ON_LEDGER, slot is None or slot.nonce <= grant.nonce),
        (Rule.WITHDRAWN_ON_LEDGER, slot is not None and slot.purposes == 0),
        (Rule.LEDGER_DIFFERS, slot is None or not on_ledger(grant, permission.digest, slot)),
        (Rule.OTHER_NETWORK, grant.network != request.network),
        (Rule.OTHER_STUDY, grant.study != request.study),
        (
            Rule.OTHER_SCOPE,
            grant.scope != request.scope and grant.scope not in request.narrower,
        ),
        (Rule.OTHER_TABLE, grant.purpose_table != purposes.table_digest()),
        (Rule.NOT_YET, at.earliest < grant.not_before),
        (Rule.EXPIRED, at.latest >= grant.expiry),
    )
    return next((rule for rule, forbids in rules if forbids), None)


def _by_signer(permission: Permission, *, at: Moment, standing: Standing) -> Rule | None:
    mandate = permission.mandate
    # Whom a patient chose can do no more than the patient, who is a child until that day.
    by_patient = mandate is None or mandate.role is Role.CHOSEN
    if by_patient and standing.of_age_at is not None and at.earliest < standing.of_age_at:
        return Rule.A_CHILD
    if mandate is None:
        return None
    guardian = any(one.role is Role.GUARDIAN for one in mandate.chain())
    if guardian and standing.is_of_age(latest=at.latest):
        return Rule.CAME_OF_AGE
    if not mandate.in_force(earliest=at.earliest, latest=at.latest):
        return Rule.MANDATE_NOT_IN_FORCE
    return None if mandate.covers(permission.grant.purposes) else Rule.MANDATE_EXCEEDED


def _by_use(permission: Permission, request: Request) -> Rule:
    mask = permission.grant.purposes
    if not purposes.permits(mask, request.use.purpose):
        return Rule.PURPOSE
    if purposes.restriction(mask, request.use) is not None:
        return Rule.RESTRICTION
    if permission.grade not in request.grades:
        return Rule.GRADE
    return Rule.GRANTED if permission.grant.scope == request.scope else Rule.GRANTED_IN_PART


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
