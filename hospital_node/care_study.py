"""A twin for the patient's own care, as something that a patient says yes or no to with their key.

A study that one hospital asks alone, for the purpose *own care*: no plan, no run, nothing that
leaves but the pseudonymous answer on the ledger. The patient's wallet signs and withdraws it like
any other. For care the hospital's own vault decides: a withdrawal that is known here ends it at
once, whatever the ledger shows; one that only the ledger shows ends it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from consent import purposes
from consent.kept import KeptGrant
from consent.policy import Decision, Grade, Moment, Request, Slot, decide
from consent.record import DAY, Domain
from consent.register import Register
from consent.study import KIND, Study
from consent.vault import Vault
from hospital_node import membership
from hospital_node.consents import open_vault
from hospital_node.enrolment import consent_domain
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE as SETTINGS
from hospital_node.settings import NodeSettings
from ledger.mirror_reader import MirrorReader
from twinward.clock import Clock
from twinward.files import write_atomic
from twinward.founding import Founding
from twinward.ids import OrgName, RecordNumber, StudyId
from twinward.organisation import Organisation
from twinward.settings import load
from twinward.signing import Document, Identity, random_hex32

FILE = "care_study.json"
NAME = StudyId("twin-care")
_YEARS = 10


def of(folder: Path, *, founding: Founding, identity: Identity, clock: Clock) -> Study:
    """This hospital's care study, made and signed by the hospital when it is first asked for."""
    path = folder / FILE
    if not path.exists():
        study = Study(
            network=str(founding.chain["genesis_hash"]),
            name=NAME,
            salt=random_hex32(),
            title="A twin for my own care",
            purpose=purposes.OWN_CARE,
            categories=("what your sensors show", "meals and doses as you log them"),
            closes=int(clock.now()) + _YEARS * 365 * DAY,
        )
        write_atomic(path, Document(KIND, study.to_json()).signed_by(identity).encode())
    document = Document.decode(path.read_bytes(), kind=KIND, at=str(path))
    document.verify(identity.public)
    return Study.from_json(document.payload)


@dataclass(frozen=True, slots=True)
class _AsSigned:
    """The ledger's slot as this grant makes it, while it is on its way there."""

    purposes: int
    expiry: int
    nonce: int
    digest: bytes


class CareAnswers:
    """What patients answered, with their keys, about a twin for their own care.

    Args:
        vault: The hospital's signed grants and withdrawals.
        study: The care study.
        hospital: Whose it is.
        domain: What grants are signed for.
        slot: What this hospital's copy of the ledger says of a subject.
        clock: Local time.
    """

    def __init__(
        self,
        vault: Vault,
        study: Study,
        *,
        hospital: OrgName,
        domain: Domain,
        slot: Callable[[bytes, bytes], Slot | None],
        clock: Clock,
    ) -> None:
        self._vault, self._register = vault, Register(vault)
        self._study, self._domain, self._slot, self._clock = study, domain, slot, clock
        grades = frozenset({Grade.DEVICE, Grade.HOSPITAL, Grade.STAFF})
        self._request = Request.of(study, hospital=hospital, grades=grades)

    def of(self, record: RecordNumber) -> Decision | None:
        """Whether this patient's newest answer permits it now; None if there never was one."""
        kept = self._vault.newest(self._study.id32, record)
        if kept is None:
            return None
        permission = kept.permission(
            self._known(kept),
            verified=kept.verified(self._domain),
            mandate=self._register.mandate(kept.mandate),
        )
        now = self._clock.now()
        return decide(
            permission,
            self._request,
            at=Moment(local=now, chain=now),
            standing=self._register.standing(record),
        )

    def _known(self, kept: KeptGrant) -> Slot:
        grant = kept.grant
        on_ledger = self._slot(grant.study, kept.subject)
        if on_ledger is not None and on_ledger.nonce > grant.nonce:
            return on_ledger
        return _AsSigned(grant.purposes, grant.expiry, grant.nonce + 1, kept.digest)


@contextmanager
def answers(folder: Path, *, clock: Clock) -> Iterator[CareAnswers]:
    """The answers at the hospital in this folder, for a command; the node may be up or not."""
    settings, organisation = load(NodeSettings, folder / SETTINGS), Organisation(folder)
    founding, paths = membership.load_founding(folder), NodePaths(folder)
    mirror = MirrorReader(paths.mirror) if paths.mirror.exists() else None
    vault = open_vault(folder)
    try:
        yield CareAnswers(
            vault,
            of(folder, founding=founding, identity=organisation.identity(), clock=clock),
            hospital=settings.org,
            domain=consent_domain(founding),
            slot=mirror.slot if mirror is not None else lambda *_: None,
            clock=clock,
        )
    finally:
        vault.store.close()
        if mirror is not None:
            mirror.close()
