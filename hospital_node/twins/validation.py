"""A validation report: sections of figures, each with who may see it, and one digest for all.

The signed head names every section by title, release class and salted hash; the ledger holds the
head's digest. So a report can be handed out without the sections that stay at the hospital, and
what is handed out is still shown to be part of what was recorded. Salts keep a hash of small counts
from being guessed. The head itself says nothing that depends on a patient.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Document, Identity, PublicIdentity

KIND = "twinward/validation/v1"
VERSION = 1
SALT_BYTES = 32


class Release(StrEnum):
    """Who may see a figure, and what it cost."""

    PUBLIC = "public"
    """Rests on no patient's record."""

    CHARGED = "charged with its own noise"
    """Rests on patients who paid for it from their accounts, in the run that released it."""

    STAYS = "stays at the node"
    """Exact, on this hospital's patients. Only a separate consent of theirs could let it leave, and
    nobody is asked for one yet."""


LEAVES = frozenset({Release.PUBLIC, Release.CHARGED})


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``value`` is None where it was not measured; ``note`` then says why.

    Attributes:
        name: What it is.
        value: The figure.
        low: Lower end of its 95 % interval; None if it has none.
        high: Upper end.
        of: How many patients, or moments, it rests on.
        note: What a reader has to know.
        drawn: Whether the plot of its section shows it.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    of: int | None = None
    note: str = ""
    drawn: bool = True


@dataclass(frozen=True, slots=True)
class Section:
    """Figures of one kind and one release class.

    Attributes:
        title: A question that it answers.
        release: Who may see it.
        why: What it rests on.
        rows: The figures.
        curves: What the plots need beside them (``models.evaluation.as_json``), or nothing.
        origin: What a figure is compared with by eye: 0, 0.5, 0.9, 1.
    """

    title: str
    release: Release
    why: str
    rows: tuple[Row, ...]
    curves: Mapping[str, Any] = field(default_factory=dict)
    origin: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it lies at the node, or what of it was handed out.

    Attributes:
        head: Signed by the hospital.
        sections: Title to the section with its salt; those that were not handed out are missing.
    """

    head: Document
    sections: Mapping[str, Mapping[str, Any]]

    @property
    def digest(self) -> bytes:
        """32 bytes that the ledger holds."""
        return self.head.digest

    def encode(self) -> bytes:
        """The file."""
        return canonical.encode(
            {
                "version": VERSION,
                "head": canonical.decode(self.head.encode()),
                "sections": dict(self.sections),
            }
        )

    def handed_out(self) -> Report:
        """Without the sections that stay at the node."""
        kept = {
            title: section
            for title, section in self.sections.items()
            if Release(section["release"]) in LEAVES
        }
        return Report(self.head, kept)


def seal(
    sections: tuple[Section, ...],
    *,
    about: Mapping[str, Any],
    identity: Identity,
    entropy: Callable[[int], bytes],
) -> Report:
    """Sign what was found.

    Args:
        sections: The figures; titles differ.
        about: What the head says: whose, of what, when. Nothing that depends on a patient.
        identity: The hospital's.
        entropy: Gives salts.
    """
    bodies = {
        section.title: {**_plain(section), "salt": entropy(SALT_BYTES).hex()}
        for section in sections
    }
    contents = [
        {"title": title, "release": str(body["release"]), "sha256": _hash(body)}
        for title, body in bodies.items()
    ]
    head = Document(KIND, {**about, "version": VERSION, "sections": contents})
    return Report(head.signed_by(identity), bodies)


def read(data: bytes, *, at: str) -> Report:
    """A report from a file; nothing of it is believed yet.

    Raises:
        UsageError: TW7173, not a report of this version.
    """
    try:
        value = canonical.decode(data)
        head = Document.decode(canonical.encode(value["head"]), kind=KIND, at=at)
        sections = {str(title): dict(body) for title, body in value["sections"].items()}
        good = value["version"] == head.payload["version"] == VERSION
    except (UsageError, KeyError, TypeError, ValueError, AttributeError):
        good = False
    if not good:
        raise UsageError(
            "this file is not a validation report of this version",
            code="TW7173",
            at=at,
            help="give the .json file that `twinward twin validate` wrote, or a part of it that "
            "was handed out",
        )
    return Report(head, sections)


def require_whole(report: Report, *, signer: PublicIdentity) -> None:
    """The head is signed, and every section that is there is the one that it names.

    Raises:
        IdentityError: TW2002, TW2004, another's signature.
        EvidenceError: TW7174, a section was changed, or is not one of this report.
    """
    report.head.verify(signer)
    named = {one["title"]: one for one in report.head.payload["sections"]}
    for title, body in report.sections.items():
        said = named.get(title)
        whole = said is not None and hmac.compare_digest(str(said["sha256"]), _hash(body))
        if not whole or said is None or said["release"] != body.get("release"):
            raise EvidenceError(
                f"the section `{title[:60]}` is not what the hospital signed",
                code="TW7174",
                help="ask the hospital for the report again; do not use these figures",
            )


def _plain(section: Section) -> dict[str, Any]:
    rows = [{name: _number(value) for name, value in asdict(row).items()} for row in section.rows]
    return {**asdict(section), "release": str(section.release), "rows": rows}


def _number(value: Any) -> Any:
    """As it is, but what is no finite number is nothing."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(b"twinward/validation/section/v1" + canonical.encode(body)).hexdigest()
