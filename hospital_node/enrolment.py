"""Enrolment letters: one per patient of this hospital, each with its own secret code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from consent.letters import Letter, reference_of, write_letters
from consent.record import Domain
from consent.register import Register
from consent.study import Study
from hospital_node import approvals, audit_log, membership
from hospital_node.consents import open_vault
from hospital_node.data import records
from hospital_node.settings import FILE, NodeSettings
from twinward.errors import UsageError
from twinward.founding import Founding
from twinward.ids import RecordNumber
from twinward.organisation import Organisation
from twinward.settings import load


def consent_domain(founding: Founding) -> Domain:
    """The ledger and the contract that this network's consents are signed for."""
    return Domain.of(founding)


def write(folder: Path, *, study: str, out: Path, mandate: int | None = None) -> int:
    """Write one letter for each patient, or one for who holds a mandate; returns how many.

    Codes are durable in the vault before a letter is written: dying in between leaves codes that
    nobody has, which open nothing. Running it again makes new letters; old ones stay valid.
    """
    settings = load(NodeSettings, folder / FILE)
    agreed = approvals.load(folder, study, founding=membership.load_founding(folder))
    patients = records.read(settings.data, hospital=settings.org).records
    return write_for(folder, agreed.study, patients, out=out, mandate=mandate)


def write_for(
    folder: Path,
    study: Study,
    patients: Sequence[RecordNumber],
    *,
    out: Path,
    mandate: int | None = None,
) -> int:
    """Write letters that ask these patients about this study, or who holds a mandate; likewise.

    Each is entered in the audit log before the file of letters is there, so that an auditor who
    draws a patient can ask for the letter (``ledger.questions.sample``).
    """
    if out.exists():
        raise UsageError(
            "the file for the letters exists already",
            code="TW1013",
            at=str(out),
            help="choose another file; letters are secrets and never overwritten",
        )
    settings = load(NodeSettings, folder / FILE)
    founding = membership.load_founding(folder)
    vault = open_vault(folder)
    if mandate is not None:
        patients = (Register(vault).patient_of(mandate),)
    codes = vault.enrol(study.id32, patients, valid_until=study.closes, mandate=mandate)
    with audit_log.opened(folder) as audit:
        audit.invited(
            zip(patients, map(reference_of, codes), strict=True),
            study=study.id32,
            mandate=mandate is not None,
        )
    identity = Organisation(folder).identity().public
    domain = consent_domain(founding)
    write_letters(
        out,
        (
            Letter(
                hospital=settings.org,
                identity=identity,
                desk=f"{settings.host}:{settings.desk_port}",
                ca=founding.ca_certificate,
                domain=domain,
                study=study,
                code=code,
                door=_front_door(founding),
            )
            for code in codes
        ),
    )
    return len(codes)


def _front_door(founding: Founding) -> str | None:
    """Where everything of the coordinator is, if it is behind one address."""
    door = founding.endpoints["network"]
    return door if founding.endpoints["flower"] == door else None
