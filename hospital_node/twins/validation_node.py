"""Validating a released model at a running node: which model, on whom, kept where.

The evidence pack is the model: it is verified as an auditor would, with this network's own founding
file, and kept, so that the model can be measured again. Patients are those who permit the study at
this moment and were not trained on. Every report is a file that is written whole; the newest whole
one is what counts after a crash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hospital_node import approvals, holdout
from hospital_node.approvals import Approved
from hospital_node.data.records import table
from hospital_node.evaluate import HeldOut
from hospital_node.privacy import experiment
from hospital_node.shares import Columns, readable
from hospital_node.twins import validation, validation_risk
from hospital_node.twins.validation_files import Kept, Reports
from ledger import verify
from models import registry
from twinward.clock import iso
from twinward.errors import EvidenceError, TrainingError
from twinward.plan import KIND as PLAN_KIND
from twinward.plan import Plan
from twinward.signing import Document

if TYPE_CHECKING:
    from hospital_node.node import Node

RELEASE_KIND = "twinward/release/v1"


@dataclass(frozen=True, slots=True)
class Released:
    """A model as its verified evidence shows it."""

    pack: bytes
    plan: Plan
    release: Document
    weights: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    evaluation: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """Under which its reports are kept."""
        return self.release.digest.hex()[:16]


def opened(pack: Path, *, founding: bytes) -> Released:
    """The model in an evidence pack, once everything about it was verified.

    Raises:
        EvidenceError: TW7175, it does not verify, or is of another network.
    """
    report = verify.verify(pack, founding=founding)
    if not report.ok:
        fault = report.faults[0]
        raise EvidenceError(
            f"the evidence of this model does not verify: {fault.message}",
            code="TW7175",
            at=f"{pack}: {fault.record}",
            note=fault.code,
            help="ask the coordinator for the pack of the release; nothing was measured",
        )
    data = pack.read_bytes()
    records, _ = verify.read_archive(data)
    evaluation = records.get("evaluation.json")
    return Released(
        pack=data,
        plan=Plan.from_document(Document.decode(records["plan.json"], kind=PLAN_KIND)),
        release=Document.decode(records["release.json"], kind=RELEASE_KIND),
        weights=np.array(verify.read_safetensors(records["model.safetensors"])),
        evaluation=None if evaluation is None else json.loads(evaluation),
    )


def take(node: Path, pack: Path, *, founding: bytes, without: Path | None = None) -> Reports:
    """Verify the evidence of a model and keep it; the running node measures the model then.

    Args:
        node: The node's folder.
        pack: Evidence of the model.
        founding: This network's founding file.
        without: Evidence of a model of the same study that this hospital gave nothing to.

    Raises:
        EvidenceError: TW7175, it does not verify, or is of another network.
        TwinModelError: TW7001, it is not a risk model that is installed here.
    """
    released = opened(pack, founding=founding)
    registry.risk(released.plan.model)
    other = None if without is None else opened(without, founding=founding)
    reports = Reports.of(node, released.name)
    reports.take(released.pack, without=None if other is None else other.pack)
    return reports


def validate(node: Node, reports: Reports) -> Kept:
    """Measure a released risk model on this hospital's patients and keep the report.

    Args:
        node: The running node.
        reports: Where the model's evidence lies.

    Raises:
        EvidenceError: TW7175.
        ConsentError: The record of consents cannot be trusted now.
        TwinModelError: TW7001, TW7005, not a model that is installed here.
        TrainingError: TW6004, the study is not approved here; TW7176, nobody was kept out; TW7177.
        LedgerError: It cannot be entered in the audit log.
    """
    founding = node.founding.document.encode()
    released = opened(reports.pack, founding=founding)
    without = reports.without
    elsewhere = None if without is None else opened(without, founding=founding)
    about = (f"digest:{released.release.digest.hex()}",)
    node.audit.did("model-validated", about=about)
    study = approvals.load(node.folder, released.plan.study, founding=node.founding).study
    found = _measured(node, Approved(study, released.plan), released, elsewhere)
    sections, alarms = validation_risk.sections(
        found, before=reports.first_section(validation_risk.REFERENCE)
    )
    model = registry.risk(released.plan.model)
    report = validation.seal(
        sections,
        about={
            "org": node.settings.org,
            "made_at": iso(node.clock.now()),
            "kind": model.kind,
            "subject": model.name,
            "title": model.title,
            "intended_use": model.intended_use,
            "limits": list(model.limits),
            "study": released.plan.study,
            "run": str(released.release.payload["run"]),
            "plan": released.plan.digest.hex(),
            "release": released.release.digest.hex(),
        },
        identity=node.identity,
        entropy=os.urandom,
    )
    return reports.keep(report, alarms=alarms)


def _measured(
    node: Node, approved: Approved, released: Released, elsewhere: Released | None
) -> validation_risk.Measured:
    plan, org = approved.plan, node.settings.org
    outside = org not in plan.sites
    if not outside and plan.holdout_share == 0:
        raise _nobody(plan)
    cohort = node.cohort(approvals.load(node.folder, plan.study, founding=node.founding))
    test = HeldOut(node, approved, cohort=cohort, weights=released.weights)
    permitted, shares = test.everybody()
    places = holdout.within(node.places, holdout.held_out(plan.holdout_share))
    here = permitted if outside else permitted & places
    columns: Columns = table(node.patients).columns
    if approved.study.optional:  # without them recordings of everybody would be copied for nothing
        columns = readable(columns, approved.study, rows=np.arange(len(shares)), shares=shares)
    model = registry.risk(plan.model)
    labels_known = np.isin(model.labels(columns), (0.0, 1.0))
    here = here & labels_known
    own = None
    if model.module(plan.sites) is None and not outside:
        rest = permitted & ~places & labels_known
        x = model.encode(columns, site=org, sites=plan.sites)
        own = experiment.Cohort(x[rest], model.labels(columns)[rest])
    scores, labels = test.of(here)
    return validation_risk.Measured(
        plan=plan,
        org=org,
        columns={name: values[here] for name, values in columns.items()},
        scores=scores,
        labels=labels,
        own=own,
        weights=released.weights,
        evaluation=released.evaluation,
        elsewhere=None
        if elsewhere is None
        else _scores_of(node, elsewhere, released, columns)[here],
    )


def _scores_of(
    node: Node, elsewhere: Released, released: Released, columns: Columns
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Scores of the model of a run without this hospital.

    Raises:
        TrainingError: TW7177, it is of another study or model, or this hospital was in it.
    """
    plan, org = elsewhere.plan, node.settings.org
    if org in plan.sites or plan.study != released.plan.study or plan.model != released.plan.model:
        raise TrainingError(
            "this is not a model of the same study that learnt nothing from this hospital",
            code="TW7177",
            help="give the pack of a run of the same study and model whose plan leaves this "
            "hospital out",
        )
    registry.require_same_spec(plan.model, plan.model_spec, sites=plan.sites)
    model = registry.risk(plan.model)
    x = model.encode(columns, site=None, sites=plan.sites)
    return model.predict(elsewhere.weights, x)


def _nobody(plan: Plan) -> TrainingError:
    return TrainingError(
        "the plan of this model kept nobody out of training, so there is nobody to measure it on",
        code="TW7176",
        at=f"plan {plan.digest.hex()[:16]}",
        help="ask for a plan with a hold-out share; a model is never measured on whom it learnt "
        "from",
    )
