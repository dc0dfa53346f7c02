"""What stands behind a released model, and what was released."""

from __future__ import annotations

from ledger.provenance import Kind
from ledger.questions.permissions import permissions
from ledger.questions.question import (
    MEMBERS,
    Column,
    Found,
    NoSource,
    Parameter,
    Question,
    Row,
    Values,
    some,
    utc,
)
from ledger.questions.runs import TOPICS as RUNS
from ledger.questions.runs import Run, records, runs
from ledger.questions.sources import Sources
from ledger.questions.uses import CHANGED, JOINED, NO_STUDY, covered, studies_of

_MODEL = Parameter("model", "Digest of the model's release", "digest", required=True)
_GUESS = (
    "A model is taken to be of the newest run of its plan before it; its evidence pack names the"
    " run for certain."
)


def _run_of(sources: Sources, digest: bytes) -> Run | None:
    for run in runs(sources.history):
        if run.measures is None and run.model and run.model.raw("digest") == digest:
            return run
    return None


def _no_model(digest: bytes) -> Found:
    return Found((), f"No model {digest.hex()[:16]} is on the ledger.")


def _consents(sources: Sources, values: Values) -> Found | NoSource:
    run = _run_of(sources, values["model"])
    if run is None:
        return _no_model(values["model"])
    numbers = studies_of(sources, [run])
    if numbers is None:
        return NoSource(NO_STUDY)
    found = permissions(sources.history.events(kind="Consent.ConsentChanged"))
    rows = []
    for share in run.shares:
        number = sources.number(share.hospital)
        for one in found:
            if one.slot.relay == number and covered(run, share, one, numbers):
                events = (one.given, one.ended, share.reserved, share.ended)
                cells = (
                    sources.name(share.hospital),
                    f"0x{one.slot.subject.hex()}",
                    one.slot.digest.hex(),
                    one.slot.nonce,
                    utc(one.given.time),
                    utc(one.ended.time) if one.ended else None,
                    utc(one.slot.expiry),
                )
                rows.append(Row(cells, tuple(e.number for e in events if e is not None)))
    return Found(
        tuple(rows),
        f"{some(len(rows), 'consent')} in force while the hospitals of this model trained it.",
        (
            "Which of them were used in which step stays in the hospital; nobody else was used.",
            "The digest is of all that the patient signed, the version of the text included.",
            _GUESS,
        ),
    )


CONSENTS = Question(
    id="consents-of-model",
    title="Which consents, in which version, stood behind this model?",
    why="Shows that a model rests on permissions that were in force when it was made.",
    parameters=(_MODEL,),
    columns=(
        Column("hospital", "Hospital"),
        Column("subject", "Pseudonym"),
        Column("digest", "What was signed (digest)"),
        Column("nonce", "Version"),
        Column("given", "Given", "UTC"),
        Column("ended", "Replaced or withdrawn", "UTC"),
        Column("expires", "Ends by itself", "UTC"),
    ),
    topics=lambda _: (JOINED, *RUNS, CHANGED),
    run=_consents,
)


def _sites(sources: Sources, values: Values) -> Found | NoSource:
    run = _run_of(sources, values["model"])
    if run is None:
        return _no_model(values["model"])
    numbers = studies_of(sources, [run])
    if numbers is None:
        return NoSource(NO_STUDY)
    found = permissions(sources.history.events(kind="Consent.ConsentChanged"))
    rows = []
    for share in run.shares:
        number = sources.number(share.hospital)
        held = sum(one.slot.relay == number and covered(run, share, one, numbers) for one in found)
        cells = (
            sources.name(share.hospital),
            utc(share.reserved.time),
            held,
            share.micro_mu2 / 1e6,
            run.id.hex(),
            run.plan.hex(),
        )
        ends = [share.ended.number] if share.ended else []
        rows.append(Row(cells, (share.reserved.number, *ends)))
    return Found(
        tuple(rows),
        f"{some(len(rows), 'hospital')} set a privacy budget aside for the run of this model.",
        (
            "How many patients a hospital used is not published: it would be a figure about them.",
            (
                "A hospital that set a budget aside may have dropped out; the evidence pack says"
                " who sent vectors."
            ),
            _GUESS,
        ),
    )


SITES = Question(
    id="sites-of-model",
    title="Which hospitals, with how many consents, fed this model?",
    why="Names every hospital behind a model and bounds how many patients can be in it.",
    parameters=(_MODEL,),
    columns=(
        Column("hospital", "Hospital"),
        Column("reserved", "Joined the run", "UTC"),
        Column("consents", "Consents in force, at most", "patients"),
        Column("mu2", "Privacy set aside", "mu^2"),
        Column("run", "Run"),
        Column("plan", "Plan"),
    ),
    topics=lambda _: (JOINED, *RUNS, CHANGED),
    run=_sites,
)


def _releases(sources: Sources, values: Values) -> Found | NoSource:
    del values
    models = records(sources.history, Kind.MODEL)
    if not models:
        return NoSource("a released model: no run on this ledger has come to one yet")
    plans = sources.documents.plans
    rows = []
    for model in models:
        studies = [str(plans[p]["study"]) for p in model.parts("parents") if p in plans]
        cells = (
            utc(model.time),
            model.raw("digest").hex(),
            sources.name(model.raw("by")),
            studies[0] if studies else None,
            ", ".join(parent.hex() for parent in model.parts("parents")),
        )
        rows.append(Row(cells, (model.number,)))
    return Found(
        tuple(rows),
        f"{some(len(rows), 'model')} on record as released.",
        ("Who fetched a released model has no source yet: it comes with the model registry.",),
    )


RELEASES = Question(
    id="exports",
    title="What left the network, and who received it?",
    why="Lists every model that was released. Records never leave a hospital.",
    parameters=(),
    columns=(
        Column("at", "Released", "UTC"),
        Column("model", "Model"),
        Column("by", "Released by"),
        Column("study", "Study", release=MEMBERS),
        Column("made_of", "Made of (plan)"),
    ),
    topics=lambda _: (JOINED, "kind:Provenance.Recorded"),
    run=_releases,
)
