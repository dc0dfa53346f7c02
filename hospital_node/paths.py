"""Where a node keeps its state; everything under ``state/``, mode 0700."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PATIENTS = "patients.sqlite"
"""Name of the file of imported records; `data` in `node.toml` may name it."""

FHIR = "fhir.toml"
"""Settings of the FHIR API, in a node's folder; without the file there is none."""

ERASED = "erased"
"""Name of the file of names of what was erased; beside the files that it was erased from."""


@dataclass(frozen=True, slots=True)
class NodePaths:
    """Paths in a node's folder."""

    folder: Path

    @property
    def state(self) -> Path:
        """Made on first use."""
        path = self.folder / "state"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @property
    def vault(self) -> Path:
        """Who is who, and signed consents."""
        return self.state / "vault.sqlite"

    @property
    def completions(self) -> Path:
        """What became of withdrawals; by their digests, without record numbers."""
        return self.state / "completions.sqlite"

    @property
    def notices(self) -> Path:
        """Which patients want mails, sealed, and what is to go out."""
        return self.state / "notices.sqlite"

    @property
    def fhir(self) -> Path:
        """Consents as they were served to record systems."""
        return self.state / "fhir.sqlite"

    @property
    def holds(self) -> Path:
        """Who must not be erased for now."""
        return self.state / "holds.json"

    def cohort(self, study: bytes) -> Path:
        """What the cohort of a study knows, sealed; made anew when it is not there."""
        return self.state / "cohorts" / f"{study.hex()}.sealed"

    @property
    def mirror(self) -> Path:
        """Copy of the ledger's consent events."""
        return self.state / "mirror.sqlite"

    @property
    def book(self) -> Path:
        """The privacy budget: reservations and marks."""
        return self.state / "budget.sqlite"

    @property
    def accounts(self) -> Path:
        """What each patient has spent; never deleted, and a copy is held against the ledger."""
        return self.state / "accounts.sqlite"

    @property
    def ledger(self) -> Path:
        """This hospital's own copy of the chain, executed again."""
        path = self.state / "ledger"
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    @property
    def votes(self) -> Path:
        """Which blocks this hospital co-signed."""
        return self.state / "votes.sqlite"

    @property
    def egress_log(self) -> Path:
        """What left, one line a message."""
        return self.state / "egress.jsonl"

    @property
    def audit(self) -> Path:
        """The audit log: entries, heads, and the bodies and keys that can be erased."""
        path = self.state / "audit"
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    @property
    def policy_seen(self) -> Path:
        """The policy that was entered in the audit log last."""
        return self.state / "policy.seen.toml"

    @property
    def training_stopped(self) -> Path:
        """There while the hospital's kill switch is on."""
        return self.state / "training.stopped"

    @property
    def twins(self) -> Path:
        """Sealed twins of patients and what was observed of them; the key is not in here."""
        return self.state / "twins.sqlite"

    @property
    def patients(self) -> Path:
        """Sealed records that were brought in; the key is not in here."""
        return self.state / PATIENTS

    @property
    def patients_key(self) -> Path:
        """Opens them; apart from the node's other keys, which are made after the first import."""
        return self.folder / "patients.key"

    @property
    def erased(self) -> Path:
        """Names of what was erased, so that a backup that is put back does not bring it again."""
        return self.state / ERASED

    @property
    def reports(self) -> Path:
        """Exact figures on this hospital's own patients; they stay here."""
        path = self.state / "reports"
        path.mkdir(mode=0o700, exist_ok=True)
        return path

    @property
    def supernode(self) -> Path:
        """Flower's own folder."""
        path = self.state / "supernode"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    @property
    def log(self) -> Path:
        """The daemon's log."""
        return self.folder / "node.log"
