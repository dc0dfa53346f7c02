"""What was done with one patient's data, out of the hospital's audit log, told to that patient.

A patient gets the lines about themselves with what opens them, signed by the hospital, and not the
log's proof: a proof names the length of the log, which tells how many others were used. The
hospital checks the proof itself when it is asked to; an auditor who has the log finds each line by
its commitment, without the hospital's help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from consent.study import Study
from twinward.ids import OrgName
from twinward.signing import Document, Identity

KIND: Final = "twinward/uses/v1"


@dataclass(frozen=True, slots=True)
class Line:
    """One entry about the patient.

    Attributes:
        at: Unix seconds of the hospital's clock.
        kind: What happened, one word.
        topics: What it is about, as the log has it.
        commitment: What stands in the log for the body.
        salt: With the body it gives the commitment.
        body: The FHIR AuditEvent as it was entered.
    """

    at: int
    kind: str
    topics: tuple[str, ...]
    commitment: bytes
    salt: bytes
    body: Mapping[str, Any]

    def topic(self, family: str) -> str | None:
        """The name of its topic of this family."""
        prefix = f"{family}:"
        return next((t.removeprefix(prefix) for t in self.topics if t.startswith(prefix)), None)

    @property
    def study(self) -> str | None:
        """Short name of the study that data went to, or was decided about."""
        if self.kind == "disclosure":
            return str(self.body["entity"][1]["name"])
        names = (str(one["who"]["identifier"]["value"]) for one in self.body["agent"])
        prefix = "urn:twinward:study:"
        return next((n.removeprefix(prefix) for n in names if n.startswith(prefix)), None)

    def is_about(self, study: Study) -> bool:
        """Whether it is about this study."""
        return study.name == self.study or study.id32.hex() == self.topic("study")

    def as_json(self) -> dict[str, Any]:
        """What a page shows, and what an auditor needs."""
        return {
            "at": self.at,
            "kind": self.kind,
            "study": self.study,
            "run": self.topic("run"),
            "permit": self.body["outcome"] == "0",
            "commitment": self.commitment.hex(),
            "salt": self.salt.hex(),
            "body": dict(self.body),
        }


@dataclass(frozen=True, slots=True)
class Spent:
    """What everything together can have told about the patient, at most.

    Attributes:
        epsilon: Spent over the life of the data.
        limit: Where the hospital stops.
        delta: At which both hold.
    """

    epsilon: float
    limit: float
    delta: float


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of the log's proof found; it raised if the proof did not hold.

    Attributes:
        lines: How many lines are proved to be all about the patient.
        on_ledger: How many of them are under a head on the ledger; None if no head is proved.
    """

    lines: int
    on_ledger: int | None


@dataclass(frozen=True, slots=True)
class Uses:
    """What is known of a patient's data."""

    lines: Sequence[Line]
    spent: Spent | None
    checked: Checked | None = None


def statement(
    found: Uses,
    *,
    study: Study,
    only_study: bool,
    hospital: OrgName,
    identity: Identity,
    at: float,
) -> Document:
    """The hospital's signed statement for the holder of a letter.

    Args:
        found: All that there is.
        study: What the letter is about.
        only_study: Whether the holder speaks for somebody else, and only about this study.
        hospital: Who says it.
        identity: Signs it.
        at: Unix seconds.
    """
    lines = [one for one in found.lines if not only_study or one.is_about(study)]
    spent = None if only_study or found.spent is None else found.spent
    return Document(
        KIND,
        {
            "hospital": hospital,
            "said_at": int(at),
            "lines": [one.as_json() for one in lines],
            "spent": None
            if spent is None
            else {"epsilon": spent.epsilon, "limit": spent.limit, "delta": spent.delta},
            "checked": None
            if found.checked is None
            else {"lines": found.checked.lines, "on_ledger": found.checked.on_ledger},
        },
    ).signed_by(identity)
