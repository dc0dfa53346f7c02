"""Releasing a finished run: model, card, report, ledger record, evidence pack; in this order.

Files go to a folder of the run, each written whole (temporary file, fsync, rename):

    model.safetensors, card.json, card.md, privacy.svg,
    privacy.json, evaluation.json, report.html,
    release.json                                            the release, signed
    (ledger)                                                its digest, as a model
    evidence.zip                                            everything, verified; last

A model may be handed out once ``evidence.zip`` is there (``is_available``). All bytes before the
ledger record are functions of plan and transcript, so a process that dies at any line is repaired
by calling ``release`` again: files are written once more with the same bytes, the ledger has the
digest or gets it, the pack is made if it is not there. What the ledger holds without a pack is
a digest of a model that nobody was given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ledger import evidence, verify
from server import evaluate, run_absences
from server.finished import Finished, sums_of
from server.model_card import CardTexts, card, markdown
from server.report import render
from server.transcript import Transcript
from twinward import admission, canonical, descent, moved
from twinward.errors import EvidenceError
from twinward.files import write_atomic
from twinward.founding import Founding
from twinward.plan import Plan
from twinward.signing import Document, Identity
from twinward.statement import PrivacyStatement

KIND = "twinward/release/v1"
PACK = "evidence.zip"


class ReleaseLedger(Protocol):
    """The ledger as a release needs it; the integrator puts ``ledger.chain`` behind it."""

    def record_model(self, digest: bytes, *, parents: Sequence[bytes]) -> None:
        """Put a release on record durably; one that is there already is success."""
        ...

    def proofs(self, claims: Sequence[evidence.Claim]) -> Mapping[str, Any]:
        """The content of ``ledger.json`` for these claims (``evidence.ledger_record``)."""
        ...


@dataclass(frozen=True, slots=True)
class Release:
    """A released model and where its files lie."""

    folder: Path
    digest: bytes
    weights: descent.Weights
    privacy: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None
    report: verify.Report

    @property
    def report_page(self) -> Path:
        """The report for people."""
        return self.folder / "report.html"

    @property
    def model(self) -> Path:
        """The weights, as safetensors."""
        return self.folder / "model.safetensors"

    @property
    def card(self) -> Path:
        """The model card for people."""
        return self.folder / "card.md"

    @property
    def pack(self) -> Path:
        """The evidence pack."""
        return self.folder / PACK


def is_available(folder: Path) -> bool:
    """Whether the release in this folder is complete and may be handed out."""
    return (folder / PACK).is_file()


def release(
    folder: Path,
    *,
    transcript: Transcript,
    founding: Founding,
    plan: Document,
    order: Document,
    names: Sequence[str],
    texts: CardTexts,
    identity: Identity,
    ledger: ReleaseLedger,
    evaluation: Transcript | None = None,
) -> Release:
    """Release the model of a finished run; safe to repeat after a crash at any line.

    Args:
        folder: The run's own folder; made if it is missing.
        transcript: The finished record of the secure sum.
        founding: The founding file.
        plan: The signed plan.
        order: The signed ``twinward/run/v1``: ``run`` and ``plan`` in hex.
        names: What each weight belongs to (``models.registry``).
        texts: The words of the model card.
        identity: The coordinator's.
        ledger: Where the release is recorded.
        evaluation: The record of the evaluation's secure sum, finished or not.

    Raises:
        EvidenceError: TW8501 the run is not finished, TW8502 a member of the last epoch has not
            signed this model, TW8503 the pack that is there is damaged, TW8511 the evidence would
            not verify. Nothing is made available.
        LedgerError: The ledger refused, or TW5001 did not answer; repeat the call.
    """
    facts = _Facts.of(
        transcript, plan=Plan.from_document(plan), founding=founding, evaluation=evaluation
    )
    files = _files(
        facts, plan=plan, order=order, names=tuple(names), texts=texts, identity=identity
    )
    digest = Document.decode(files["release.json"], kind=KIND).digest
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomic(folder / name, data)
    pack = folder / PACK
    if is_available(folder):
        # An earlier call finished: the pack's ledger block is older than a new one would be.
        report = verify.verify(pack, founding=founding.document.encode())
        if not report.ok:
            raise EvidenceError(
                f"the evidence pack of this release was damaged: {report.faults[0].message}",
                code="TW8503",
                at=str(pack),
                help="move it away and release the run again; its transcript still holds all of it",
            )
    else:
        ledger.record_model(digest, parents=[facts.plan.digest])
        wanted = evidence.claims(run=facts.sum.run, release=digest, hospitals=facts.sum.accounts)
        records = {**files, **transcript_records(transcript)}
        if evaluation is not None and facts.measured is not None:
            measured = facts.measured
            wanted += evidence.evaluation_claims(run=measured.run, hospitals=measured.accounts)
            records |= transcript_records(evaluation, folder="evaluation/")
        records |= {
            "founding.json": founding.document.encode(),
            **admission.records(founding),
            **moved.records(founding),
            "plan.json": plan.encode(),
            "run.json": order.encode(),
            "ledger.json": canonical.encode(dict(ledger.proofs(wanted))),
        }
        report = evidence.build_pack(
            pack, records, identity=identity, run=facts.sum.run, plan_digest=facts.plan.digest
        )
    return Release(folder, digest, facts.weights, facts.sum.privacy, facts.evaluation, report)


def transcript_records(transcript: Transcript, *, folder: str = "") -> dict[str, bytes]:
    """The records of a pack that hold a secure sum: epochs, attempts, closings."""
    records: dict[str, bytes] = {}
    for epoch in transcript.epochs():
        records[f"{folder}epochs/{epoch.epoch:04d}.json"] = canonical.encode(
            {
                "members": [member.hex() for member in epoch.members],
                "offer": epoch.offer.blob.hex(),
                "adverts": [advert.blob.hex() for advert in epoch.adverts],
                "roster": epoch.roster.blob.hex(),
            }
        )
    for attempt in transcript.attempts():
        total = None
        if attempt.sum is not None and attempt.total is not None:
            total = {"signed": attempt.sum.blob.hex(), "words": memoryview(attempt.total).hex()}
        records[f"{folder}attempts/{attempt.epoch:04d}-{attempt.step:05d}.json"] = canonical.encode(
            {
                "masked": [
                    {
                        "signed": one.signed.blob.hex(),
                        "vector": None if one.vector is None else one.vector.hex(),
                    }
                    for one in attempt.masked
                ],
                "sum": total,
            }
        )
    closings = transcript.closings()
    records[f"{folder}closings.json"] = canonical.encode(
        {"closes": [closings[sender].blob.hex() for sender in sorted(closings)]}
    )
    return records


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the transcripts of a finished run say; all that the release's bytes depend on."""

    plan: Plan
    sum: Finished
    iterates: tuple[descent.Weights, ...]
    weights: descent.Weights
    evaluation: Mapping[str, Any] | None
    measured: Finished | None
    absent: list[dict[str, str]]

    @classmethod
    def of(
        cls,
        transcript: Transcript,
        *,
        plan: Plan,
        founding: Founding,
        evaluation: Transcript | None,
    ) -> _Facts:
        """Recompute the model from the recorded sums and compare it with what members signed."""
        finished = Finished.read(transcript, numbers=plan, founding=founding)
        iterates = descent.follow(plan, sums_of(transcript, numbers=plan))
        released = descent.release(plan, iterates)
        digest = descent.digest(released)
        finished.require_signed(digest)
        figures, measured = None, None
        if plan.evaluation is not None:
            figures, measured = evaluate.figures(
                evaluation, plan=plan, founding=founding, run=finished.run, model=digest
            )
        absent = run_absences.of(transcript)
        return cls(plan, finished, tuple(iterates), released, figures, measured, absent)


def _files(
    facts: _Facts,
    *,
    plan: Document,
    order: Document,
    names: tuple[str, ...],
    texts: CardTexts,
    identity: Identity,
) -> dict[str, bytes]:
    """The release's own files; the same bytes whenever they are made."""
    payload, digest = plan.payload, descent.digest(facts.weights)
    run, plan_digest = facts.sum.run, facts.plan.digest
    about = card(
        texts=texts,
        plan=payload,
        plan_digest=plan_digest,
        run=run,
        weights_digest=digest,
        names=names,
        privacy=facts.sum.privacy,
        absent=facts.absent,
    )
    stated = PrivacyStatement(payload, facts.sum.privacy)
    files = {
        "model.safetensors": weights_file(
            facts.weights,
            {
                "model": payload["model"],
                "names": list(names),
                "plan": plan_digest.hex(),
                "run": run.hex(),
            },
        ),
        "card.json": canonical.encode(about),
        "card.md": markdown(about).encode(),
        "privacy.svg": stated.svg().encode(),
        "privacy.json": canonical.encode(stated.nist()),
        "report.html": render(
            about,
            plan=facts.plan,
            evaluation=facts.evaluation,
            course=evaluate.course(facts.plan, facts.iterates),
            issued_at=str(order.payload.get("issued_at", "")),
        ),
    }
    if facts.evaluation is not None:
        files["evaluation.json"] = canonical.encode(dict(facts.evaluation))
    document = Document(
        KIND,
        {
            "run": run.hex(),
            "plan": plan_digest.hex(),
            "study": payload["study"],
            "model": payload["model"],
            "weights": digest.hex(),
            "history": facts.sum.history.hex(),
            "records": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        },
    )
    return {**files, "release.json": document.signed_by(identity).encode()}


def weights_file(weights: descent.Weights, about: Mapping[str, Any]) -> bytes:
    """The weights as one float64 tensor, with what they are; never pickle.

    One metadata entry only: the format keeps several in no stable order.
    """
    from safetensors.numpy import save  # noqa: PLC0415 - only a coordinator that releases needs it

    metadata = {"twinward": canonical.encode(dict(about)).decode()}
    return save({"weights": np.ascontiguousarray(weights)}, metadata=metadata)
