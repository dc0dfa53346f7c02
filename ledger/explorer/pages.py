"""Which page answers at which address."""

from __future__ import annotations

from ledger.explorer.asking import question, questions
from ledger.explorer.consents import consents, subject
from ledger.explorer.gaps import gaps
from ledger.explorer.lineage import asked_lineage, lineage, models
from ledger.explorer.overview import overview
from ledger.explorer.prov import fhir, prov_json
from ledger.explorer.site import Export, Make
from ledger.explorer.spending import spending
from ledger.explorer.studies import studies, study
from ledger.explorer.timeline import event_page, timeline
from ledger.explorer.verification import verification

PAGES: dict[str, Make] = {
    "/overview": overview,
    "/verification": verification,
    "/timeline": timeline,
    "/events/{number}": event_page,
    "/studies": studies,
    "/studies/{digest}": study,
    "/models": models,
    "/lineage/{digest}": lineage,
    "/consents": consents,
    "/subjects": subject,
    "/privacy": spending,
    "/gaps": gaps,
    "/questions": questions,
    "/questions/{question}": question,
}

EXPORTS: dict[str, Export] = {
    "/lineage/{digest}/prov.json": lambda view, words: prov_json(view, asked_lineage(view, words)),
    "/lineage/{digest}/fhir.json": lambda view, words: fhir(view, asked_lineage(view, words)),
}
