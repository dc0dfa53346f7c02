"""What a node writes down about itself: decisions on consent, uses of data, runs, commands.

Everything is entered before it has consequences; what cannot be entered does not happen. Bodies
with patients in them stay here and can be erased; of the log only one head per tick goes to the
ledger (``ledger.audit.log``), which tells nobody how many patients were used.
"""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from consent.study import Study
from hospital_node import membership
from hospital_node.cohort import Decided
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings
from ledger.audit import fhir
from ledger.audit.log import Anchor, AuditLog, Happened
from twinward.clock import Clock, SystemClock
from twinward.errors import TwinwardError
from twinward.founding import Founding
from twinward.ids import OrgName, RecordNumber
from twinward.logging import log
from twinward.organisation import Organisation
from twinward.settings import load
from twinward.signing import Identity

_STOP_SECONDS = 3.0


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
        body = fhir.activity(
            org=self.log.org,
            what=what,
            by=f"urn:twinward:{'node' if by == 'node' else 'account'}:{by}",
            about=about,
            at=self._clock.now(),
            failure=failure,
        )
        outcome = (f"outcome:{failure or 'done'}",)
        self.log.enter([Happened(what, body, (*dict.fromkeys(about), *outcome))])

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
        return audit.log.erase(record)


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


class Anchoring:
    """Brings a head of the audit log to the ledger at fixed times, whatever happened in between.

    Fixed, because a head that comes when something happened would tell when. While the ledger
    does not answer the lag grows, is shown, and is made up at the next tick.
    """

    def __init__(
        self, audit: NodeAudit, anchor: Callable[[], Anchor], *, every_seconds: float
    ) -> None:
        self._audit = audit
        self._anchor = anchor
        self._every = every_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-anchor", daemon=True)
        self.trouble: TwinwardError | None = None

    def start(self) -> None:
        """Begin; the first head goes at once."""
        self._thread.start()

    def stop(self) -> None:
        """End; a tick that hangs on a silent ledger is not waited for."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._audit.log.tick(self._anchor())
                self.trouble = None
            except TwinwardError as error:
                if self.trouble is None or self.trouble.code != error.code:
                    log().warning("audit log is not anchored", code=error.code)
                self.trouble = error
            self._ended.wait(self._every)
