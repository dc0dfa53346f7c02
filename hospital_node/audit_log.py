"""What a node writes down about itself: decisions on consent, uses of data, runs, commands.

Everything is entered before it has consequences; what cannot be entered does not happen. Bodies
with patients in them stay here and can be erased; of the log only one head per tick goes to the
ledger (``ledger.audit.log``), which tells nobody how many patients were used.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from consent.study import Study
from consent.withdrawals import KeptWithdrawal
from hospital_node import erasures, membership
from hospital_node.cohort import Decided
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from ledger.audit import fhir
from ledger.audit.bodies import STAFF, person
from ledger.audit.log import AuditLog, Happened
from twinward.clock import Clock, SystemClock
from twinward.founding import Founding
from twinward.ids import OrgName, RecordNumber
from twinward.organisation import Organisation
from twinward.settings import load
from twinward.signing import Identity


class NodeAudit:
    """The audit log of one hospital's node. Thread-safe."""

    def __init__(self, log: AuditLog, *, clock: Clock) -> None:
        self.log = log
        self._clock = clock

    @classmethod
    def open(
        cls, folder: Path, *, org: OrgName, founding: Founding, identity: Identity, clock: Clock
    ) -> NodeAudit:
        """The log in a node's folder; a command may open it while the daemon has it open.

        Raises:
            LedgerError: TW3601, TW3610, its files cannot be used.
        """
        genesis = bytes.fromhex(str(founding.chain["genesis_hash"]))
        audit = AuditLog(
            NodePaths(folder).audit, org=org, genesis=genesis, identity=identity, clock=clock
        )
        return cls(audit, clock=clock)

    def decided(self, study: Study, decisions: Sequence[Decided]) -> None:
        """Enter each patient's decision whose rule is another than was entered last."""
        noted = self.log.bodies.noted(study.name, [one.record for one in decisions])
        changed = {
            one.record: one for one in decisions if noted.get(one.record) != one.decision.rule
        }
        if not changed:
            return
        now = self._clock.now()
        self.log.enter(
            [
                Happened(
                    "consent-decision",
                    fhir.consent_decision(
                        org=self.log.org,
                        patient=one.record,
                        study=study.name,
                        consent=one.consent.hex(),
                        permit=one.decision.permit,
                        rule=one.decision.rule,
                        at=now,
                    ),
                    (
                        f"study:{study.id32.hex()}",
                        f"decision:{'permit' if one.decision.permit else 'deny'}",
                        f"rule:{one.decision.rule}",
                    ),
                    one.record,
                )
                for one in changed.values()
            ]
        )
        self.log.bodies.note(
            study.name, {record: one.decision.rule for record, one in changed.items()}
        )

    def used(self, patients: Iterable[RecordNumber], *, study: str, run: str, to: str) -> None:
        """Enter that each of these patients' data goes into a run, before any vector leaves."""
        now = self._clock.now()
        self.log.enter(
            [
                Happened(
                    "disclosure",
                    fhir.disclosure(
                        org=self.log.org, patient=patient, study=study, run=run, to=to, at=now
                    ),
                    (f"run:{run}",),
                    patient,
                )
                for patient in patients
            ]
        )

    def invited(
        self, letters: Iterable[tuple[RecordNumber, str]], *, study: bytes, mandate: bool = False
    ) -> None:
        """Enter each letter before it is handed out: an auditor who draws a patient asks for it.

        Args:
            letters: To whom, and the letter's number, which does not give its code away.
            study: The study's number on the ledger.
            mandate: Whether it goes to somebody who answers for the patient.
        """
        about = (f"study:{study.hex()}", "to:mandate" if mandate else "to:patient")
        now = self._clock.now()
        self.log.enter(
            [
                Happened(
                    "letter-written",
                    fhir.care(
                        org=self.log.org,
                        what="letter-written",
                        by="urn:twinward:node:consent-desk",
                        patient=record,
                        about=(*about, f"letter:{number}"),
                        at=now,
                    ),
                    (*about, f"letter:{number}"),
                    record,
                )
                for record, number in letters
            ]
        )

    def withdrew(self, withdrawal: KeptWithdrawal, staff: str | None = None) -> None:
        """Enter a withdrawal that holds, before its receipt; how it came, and nobody's words.

        Who of the staff attested it is a topic made from a random key, that of one person here.
        """
        way = "key" if withdrawal.signature is not None else "code" if staff is None else "staff"
        about = (f"study:{withdrawal.study.hex()}", f"by:{way}", *self._staff(staff))
        self._of_the_desk("withdrawal", withdrawal.record, about=about)

    def spoke(self, what: str, record: RecordNumber, study: bytes) -> None:
        """Enter that somebody was named, ended, or answered for a patient; whom stays in the vault.

        Args:
            what: One word: ``delegate-named``, ``delegate-ended``, ``mandate-yes``,
                ``mandate-stop``.
            record: Whose.
            study: The study's number on the ledger.
        """
        self._of_the_desk(what, record, about=(f"study:{study.hex()}",))

    def attested(self, record: RecordNumber, *, what: str, study: bytes, staff: str) -> None:
        """Enter something that staff attest about a patient's consent, before it is kept.

        Args:
            what: One word: ``grant-attested``.
            record: Whose.
            study: The study's number on the ledger.
            staff: Who attests it: an account of this machine.
        """
        about = (f"study:{study.hex()}", "by:staff", *self._staff(staff))
        self._of_the_desk(what, record, about=about)

    def _of_the_desk(self, what: str, record: RecordNumber, *, about: tuple[str, ...]) -> None:
        body = fhir.care(
            org=self.log.org,
            what=what,
            by="urn:twinward:node:consent-desk",
            patient=record,
            about=about,
            at=self._clock.now(),
        )
        self.log.enter([Happened(what, body, about, record)])

    def _staff(self, name: str | None) -> tuple[str, ...]:
        return () if name is None else (self.log.bodies.topic_for(person(STAFF, name)),)

    def did(
        self, what: str, *, about: Sequence[str] = (), failure: str | None = None, by: str = "node"
    ) -> None:
        """Enter something that is about no single patient: a run, a reservation, a command.

        Args:
            what: One word.
            about: What it is about, as topics: ``run:HEX``, ``digest:HEX``.
            failure: The code of the refusal, if it was refused.
            by: The node itself, or an account of this machine.
        """
        kind = "node" if by == "node" else "account"
        self.log.did(what, by=f"urn:twinward:{kind}:{by}", about=about, failure=failure)

    def cared(
        self, what: str, patient: RecordNumber, *, twin: str, by: str, words: str = ""
    ) -> None:
        """Enter something done or said for one patient's own care, before it is done or said.

        Args:
            what: One word.
            patient: Whose.
            twin: Which twin it is about; none for all of them.
            by: An account of this machine, or the name that staff gave.
            words: Why; kept in the body that can be erased.
        """
        about = (f"twin:{twin.replace('/', '.')}",) if twin else ()
        body = fhir.care(
            org=self.log.org,
            what=what,
            by=f"urn:twinward:account:{by}",
            patient=patient,
            about=about,
            at=self._clock.now(),
            words=words,
        )
        self.log.enter([Happened(what, body, about, patient)])

    def close(self) -> None:
        """Release the files; everything is durable."""
        self.log.close()


def commanded(folder: Path, what: str, *, about: Sequence[str] = ()) -> None:
    """Enter a command of this hospital's staff, by the account that gave it; the node may be up.

    Raises:
        LedgerError: TW3601, TW3610, it cannot be entered: then the command is refused.
    """
    with opened(folder) as audit:
        audit.did(what, about=about, by=getpass.getuser())


def erase(folder: Path, record: str) -> int:
    """Erase what links the audit log to a patient, and enter that somebody was erased.

    Returns:
        How many bodies.
    """
    with opened(folder) as audit:
        audit.did("erase", by=getpass.getuser())
        name = erasures.name(Organisation(folder).identity(), record)
        erasures.note(NodePaths(folder).audit, "audit", name)
        return audit.log.erase(record)


def check(folder: Path) -> int:
    """Require that every row of the audit log's files is what its entries say; how many entries.

    Raises:
        EvidenceError: TW3613, it is not; the first row is named.
    """
    with opened(folder) as audit:
        return audit.log.require_sound(
            help="stop the node, keep the files, restore the newest backup, tell the auditor"
        )


@contextmanager
def opened(folder: Path) -> Iterator[NodeAudit]:
    """The audit log of a node's folder, for a command; the node may be up."""
    audit = NodeAudit.open(
        folder,
        org=load(NodeSettings, folder / FILE).org,
        founding=membership.load_founding(folder),
        identity=Organisation(folder).identity(),
        clock=SystemClock(),
    )
    try:
        yield audit
    finally:
        audit.close()
