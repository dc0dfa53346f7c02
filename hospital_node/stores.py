"""Every file under a node's folder: what it holds of a patient, and what an erasure does with it.

One table for erasure, retention and the documents. A file that fits no row is not known to
erasure, which then says so and is not complete: whoever adds a store adds its row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

_BESIDE_SQLITE = ("-wal", "-shm", "-journal")


class Treatment(StrEnum):
    """What an erasure does with a store."""

    ERASED = "erased"
    UNLINKED = "unlinked"
    KEPT = "kept"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class Store:
    """One store.

    Attributes:
        name: One word.
        files: Patterns of its files, under the node's folder; ``**`` is everything below.
        holds: What it holds of a patient.
        treatment: What an erasure does with it.
        ground: Why something is kept, or may go.
        keep: For how long it is kept otherwise.
    """

    name: str
    files: tuple[str, ...]
    holds: str
    treatment: Treatment
    ground: str
    keep: str

    def has(self, path: str) -> bool:
        """Whether a file, named from the node's folder, belongs to it."""
        return any(_fits(path.split("/"), pattern.split("/")) for pattern in self.files)


_SIGNED_YEARS = 10
STORES = (
    Store(
        "twins", ("state/twins.sqlite",),
        "twins of the patient and what was observed for them, sealed", Treatment.ERASED,
        "GDPR 17(1)", "while the patient wants a twin; `twin end` erases",
    ),
    Store(
        "records", ("state/patients.sqlite",), "the imported record, sealed", Treatment.ERASED,
        "GDPR 17(1); the hospital's own medical record is not in here and stays under its own law",
        "while a study may use it; `data forget` erases",
    ),
    Store(
        "consents", ("state/vault.sqlite",),
        "letters, standing, mandates, signed answers and withdrawals", Treatment.UNLINKED,
        "signed answers, withdrawals and receipts stay without the record number, to show that use "
        "was allowed: GDPR 7(1), 17(3)(e); everything else goes",
        f"{_SIGNED_YEARS} years after a withdrawal; letters never answered a year after their end",
    ),
    Store(
        "fhir", ("state/fhir.sqlite",),
        "consents as they were served to record systems, sealed", Treatment.ERASED,
        "GDPR 17(1); systems that fetched them keep their own copies",
        "as long as the consents",
    ),
    Store(
        "audit-bodies", ("state/audit/bodies.sqlite", "state/audit/keys.sqlite"),
        "what was done with the patient's data, sealed under a key of the patient's",
        Treatment.ERASED, "GDPR 17(1); entries stay and point to nobody",
        "while the audit log is kept",
    ),
    Store(
        "audit-log", (
            "state/audit/audit.sqlite", "state/audit/heads.sqlite", "state/audit/anchored.json",
        ),
        "hashes that lead to no person once the patient's key is gone", Treatment.KEPT,
        "GDPR 5(2), 17(3)(b): accountability; nothing in it can be linked any more", "for good",
    ),
    Store(
        "accounts", ("state/accounts.sqlite", "state/accounts.copy.tmp"),
        "what of the patient's privacy was spent, under a name that only this site can make",
        Treatment.KEPT, "GDPR 17(3)(b), (e): without it the limit that protects the person could "
        "not be kept, and enrolling again would be a fresh budget (ADR 8)", "for good",
    ),
    Store(
        "completions", ("state/completions.sqlite",),
        "what became of withdrawals, by their digests, without record numbers", Treatment.KEPT,
        "GDPR 12(3), 17(3)(e): shows that the withdrawal was followed", "as long as the consents",
    ),
    Store(
        "cohorts", ("state/cohorts/*.sealed",),
        "digests of signed answers by their row in the patient table, without record numbers; "
        "sealed", Treatment.KEPT,
        "GDPR recital 26: names nobody; the row is empty when the node next writes it",
        "until the node writes it anew; it may be deleted at any time",
    ),
    Store(
        "erasures", ("state/erased", "state/erasures/*.json"),
        "a name that says nothing without the site's key, and the signed reports", Treatment.KEPT,
        "GDPR 17(1), 5(2): without it a backup would bring back what was erased", "for good",
    ),
    Store(
        "holds", ("state/holds.json",), "a name as above, and why the record must not be erased",
        Treatment.KEPT, "GDPR 17(3)(b), (e)", "until the hold is ended",
    ),
    Store(
        "ledger", ("state/mirror.sqlite", "state/ledger/**"),
        "pseudonyms for one study each, public to the network", Treatment.KEPT,
        "written by every member; after the erasure nobody here can link them (ADR 1)", "for good",
    ),
    Store(
        "reports", ("state/reports/**", "state/validation/**"),
        "figures of groups of at least the site's minimum", Treatment.KEPT,
        "GDPR recital 26: nobody can be told apart in them", "the hospital decides",
    ),
    Store(
        "portal", ("state/portal/sessions.sqlite",),
        "sessions of who looked in by a letter", Treatment.KEPT,
        "ends by itself within hours; the letter opens nothing any more", "hours",
    ),
    Store(
        "sealed-keys", ("state/portal/sealed_keys.sqlite",),
        "keys that patients' own devices sealed; nobody here can open them", Treatment.ERASED,
        "GDPR 17(1)", "as long as the consents",
    ),
    Store(
        "notices", ("state/notices.sqlite",),
        "where a patient wants mails to go, and which were sent; sealed", Treatment.ERASED,
        "GDPR 17(1)", "until the patient ends it on the page",
    ),
    Store(
        "results", ("state/portal/result-*.toml",), "what came out of studies, in plain words",
        Treatment.NOBODY, "-", "-",
    ),
    Store(
        "operation", (
            "state/budget.sqlite", "state/votes.sqlite", "state/egress.jsonl",
            "state/policy.seen.toml", "state/training.stopped", "state/supernode/**",
            "studies/**", "secrets/**", "run/**", "*.toml", "*.json", "*.pem", "*.key", "*.token",
            "*.log",
        ),
        "nothing of a patient", Treatment.NOBODY, "-", "-",
    ),
)  # fmt: skip

ELSEWHERE = (
    "the hospital's own medical records, also where `data` in node.toml names them: their law",
    "backups made before: `state/erased` makes a restore erase again; old files of keys must go",
    "letters, receipts and answers that were handed out or fetched by other systems",
    "models that were released: bounded by differential privacy, see `models`",
)
"""What an erasure at the node does not reach."""


def store_of(path: str) -> Store | None:
    """The store that a file belongs to, named from the node's folder; None if none is known."""
    for ending in _BESIDE_SQLITE:
        path = path.removesuffix(ending)
    return next((store for store in STORES if store.has(path)), None)


def walked(folder: Path) -> Iterator[tuple[str, Store | None]]:
    """Every file under a node's folder with its store; sockets and links included."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_dir():
            name = path.relative_to(folder).as_posix()
            yield name, store_of(name)


def _fits(path: list[str], pattern: list[str]) -> bool:
    if pattern[-1] == "**":
        return len(path) >= len(pattern) and _fits(path[: len(pattern) - 1], pattern[:-1])
    return len(path) == len(pattern) and all(map(fnmatchcase, path, pattern))
