"""Two reports that the law asks for, from the ledger and the documents that it names.

HIPAA 45 CFR 164.528: an accounting of disclosures for one patient, six years back. GDPR Article
30(1): the register of processing of one hospital. What these sources do not hold is listed as open,
to be filled in by a person; nothing is invented.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ledger.provenance import Kind
from ledger.questions.answer import Answer
from ledger.questions.library import ask
from ledger.questions.question import utc
from ledger.questions.runs import records
from ledger.questions.sources import Sources
from twinward.errors import UsageError

_YEARS = 6


@dataclass(frozen=True, slots=True)
class Report:
    """A report: its title, parts of headed entries, and what a person has to fill in."""

    title: str
    about: Mapping[str, Any]
    parts: Sequence[tuple[str, Sequence[Mapping[str, Any]]]]
    open: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return {
            "title": self.title,
            "about": dict(self.about),
            "parts": {name: [dict(entry) for entry in entries] for name, entries in self.parts},
            "open": list(self.open),
        }

    def as_markdown(self) -> str:
        """The same for people."""
        lines = [f"# {self.title}", "", *_list(self.about)]
        for name, entries in self.parts:
            lines += ["", f"## {name}", ""]
            if not entries:
                lines.append("None.")
            for place, entry in enumerate(entries, 1):
                first, *rest = _list(entry)
                lines += [f"{place}. {first[2:]}", *(f"   {one}" for one in rest)]
        lines += ["", "## To be filled in by a person", "", *(f"- {one}" for one in self.open)]
        return "\n".join(lines).rstrip() + "\n"


def _list(entry: Mapping[str, Any]) -> list[str]:
    return [f"- {name}: {_safe(value)}" for name, value in entry.items() if value is not None]


def _safe(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text.replace("\n", " ").replace("<", "&lt;").replace("|", "\\|")


def hipaa(sources: Sources, *, subjects: str, until: datetime) -> Report:
    """Every possible use of one patient's data in the six years before a day.

    What leaves a hospital here are masked, noised sums, which are no record of anyone. Whether they
    are disclosures at all is for the hospital's counsel; they are listed as if they were.

    Args:
        sources: With the network's documents.
        subjects: The patient's pseudonyms, which only the patient and the hospital know.
        until: The last day, with a time zone.

    Raises:
        UsageError: TW3711; TW3717, the documents that it needs are not at hand.
    """
    since = until.astimezone(UTC).replace(year=until.year - _YEARS, day=min(until.day, 28))
    given = {"subjects": subjects, "since": since.isoformat(), "until": until.isoformat()}
    answer = _answered(ask("uses", given, sources=sources))
    place = sources.founding.endpoints["network"] if sources.founding else None
    uses = [_named(answer, row.cells) for row in answer.rows]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for use in uses:
        key = (use["study"], use["hospital"], use["recipient"], use["activity"])
        groups.setdefault(key, []).append(use)
    summary = [
        {
            "study": study,
            "disclosed by": hospital,
            "recipient": f"{recipient} ({place})" if place else recipient,
            "description": found[0]["what"],
            "purpose": ", ".join(filter(None, [activity, found[0]["purpose"]])),
            "first": found[0]["from"],
            "number": len(found),
            "last": found[-1]["from"],
        }
        for (study, hospital, recipient, activity), found in groups.items()
    ]
    return Report(
        title="Accounting of disclosures (45 CFR 164.528)",
        about={
            "pseudonyms": subjects,
            "from": utc(int(since.timestamp())),
            "to": utc(int(until.timestamp())),
            "ledger": f"block {answer.block} of {utc(answer.time)}",
            "in one sentence": answer.summary,
        },
        parts=(
            ("Repeated disclosures in summary", summary),
            ("Each of them", uses),
            ("Research protocols that may have used the record", _protocols(sources, uses)),
        ),
        open=(
            "postal address and telephone number of the recipient and of the research sponsor",
            "disclosures outside this network",
        ),
    )


def _protocols(sources: Sources, uses: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    wanted = dict.fromkeys(use["study"] for use in uses)
    return [
        {
            "study": payload["name"],
            "title": payload.get("title"),
            "purpose": payload.get("purpose"),
            "kinds of data": payload.get("categories"),
            "may be left out": _optional(payload),
            "statement": "the patient's data may or may not have been used in a particular run",
        }
        for payload in sources.studies.values()
        if payload["name"] in wanted
    ]


def gdpr(sources: Sources, *, member: str) -> Report:
    """The register of processing of one hospital, one entry for each plan that it approved.

    Raises:
        UsageError: TW3711, no such member; TW3717, the documents that it needs are not at hand.
    """
    try:
        controller = sources.member(member)
    except KeyError as error:
        raise UsageError(
            f"`{member}` is not a member of this network",
            code="TW3711",
            help="give the name or the number of a member",
        ) from error
    approved = {
        event.raw("digest"): event
        for event in sources.history.events(kind="Provenance.Approved")
        if event.raw("by") == controller.account
    }
    entries = []
    for record in records(sources.history, Kind.PLAN):
        digest = record.raw("digest")
        if digest in approved:
            plan = sources.documents.plans.get(digest)
            study = next((sources.studies.get(p) for p in record.parts("parents")), None)
            if plan is None or study is None:
                raise _lacking(digest)
            entries.append(_processing(plan, study, digest, approved[digest].time))
    return Report(
        title=f"Register of processing activities of {controller.name} (GDPR Article 30(1))",
        about={
            "controller": controller.name,
            "account on the ledger": f"0x{controller.account.hex()}",
            "other controllers": [
                one.name
                for one in sources.members
                if one.role == "hospital" and one.number != controller.number
            ],
            "ledger": f"block {sources.history.block} of {utc(sources.history.time)}",
        },
        parts=(("Processing activities", entries),),
        open=(
            (
                "address and contact of the controller, of its representative and of its data"
                " protection officer"
            ),
            "transfers to third countries: where the members and the readers of the model are",
            "legal basis beside consent, if any",
        ),
    )


def _processing(
    plan: Mapping[str, Any], study: Mapping[str, Any], digest: bytes, since: int
) -> dict[str, Any]:
    evaluation = plan.get("evaluation")
    held_out = f" ({evaluation['epsilon']} for who is held out to measure)" if evaluation else ""
    return {
        "activity": f"training the model {plan['model']} for {plan['study']}",
        "purpose": f"{study.get('title')} ({plan['purpose']})",
        "data subjects": "patients of this hospital who signed a grant for this study",
        "kinds of data": study.get("categories"),
        "may be left out": _optional(study),
        "recipients": "the coordinator: masked, noised sums; everyone: the released model",
        "together with": plan.get("sites"),
        "transfers": "no record leaves the hospital",
        "erasure": (
            "records stay in the hospital's own systems; a grant ends at its expiry or withdrawal;"
            " on the ledger stay pseudonyms: whose they are stands in the hospital's vault, its"
            " receipts and their backups, and is erased there; grants are taken until"
            f" {utc(study.get('closes'))}"
        ),
        "security": (
            f"secure sum of {len(plan.get('sites', []))} hospitals; differential privacy per"
            f" patient and run, epsilon {plan.get('epsilon')} at delta {plan.get('delta')}"
            f"{held_out}; mutual TLS; a signed record of every use"
        ),
        "legal basis": f"consent (Articles 6(1)(a), 9(2)(a)): {', '.join(plan.get('grades', []))}",
        "agreed": utc(since),
        "plan": digest.hex(),
    }


def _optional(study: Mapping[str, Any]) -> list[str] | None:
    """Kinds of data that each patient may leave out; None if there are none."""
    return sorted(study.get("optional", {})) or None


def _named(answer: Answer, cells: Sequence[Any]) -> dict[str, Any]:
    return {c.name: cell for c, cell in zip(answer.question.columns, cells, strict=True)}


def _answered(answer: Answer) -> Answer:
    if answer.missing:
        raise UsageError(
            f"the report cannot be made: no source for {answer.missing}",
            code="TW3717",
            help="give the folder with the network's documents (`--documents`)",
        )
    return answer


def _lacking(digest: bytes) -> UsageError:
    return UsageError(
        f"the report cannot be made: plan {digest.hex()[:16]} or its study is not at hand",
        code="TW3717",
        help="give the folder with the network's documents (`--documents`)",
    )
