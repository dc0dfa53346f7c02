"""What can be wrong with records that are brought in: a name, a code, what became of it.

A defect says where and which field, never the value: its text may end up in a ticket. A faulty
value is left out and its patient kept; a faulty patient is left out and the others kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self


class Lost(StrEnum):
    """What is left out because of a defect."""

    FILE = "file"
    PATIENT = "patient"
    ENTRY = "entry"
    VALUE = "value"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of defect: its name, its code for ``twinward explain``, what it means."""

    name: str
    lost: Lost
    words: str
    code: str = field(kw_only=True)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("unreadable", Lost.FILE, "the file cannot be read", code="TW7210"),
        Kind("truncated", Lost.FILE, "the file ends too early", code="TW7211"),
        Kind("not-json", Lost.FILE, "the file is not JSON in UTF-8", code="TW7212"),
        Kind("not-a-bundle", Lost.FILE, "the file is no FHIR Bundle with entries", code="TW7213"),
        Kind("too-large", Lost.FILE, "the file is larger than an import takes", code="TW7214"),
        Kind("no-patient", Lost.FILE, "no Patient is in the bundle", code="TW7215"),
        Kind("not-text", Lost.PATIENT, "the line is not text in the stated coding", code="TW7216"),
        Kind("wrong-columns", Lost.PATIENT, "the line has another number of cells", code="TW7217"),
        Kind("no-identifier", Lost.PATIENT, "the hospital's own number is missing", code="TW7218"),
        Kind("duplicate", Lost.ENTRY, "it says again what an earlier one says", code="TW7219"),
        Kind(
            "contradiction", Lost.PATIENT, "it contradicts another of the same patient",
            code="TW7220",
        ),
        Kind("contradicting-value", Lost.VALUE, "two values of one moment differ", code="TW7221"),
        Kind("malformed", Lost.ENTRY, "a part of the resource has a wrong form", code="TW7222"),
        Kind("dangling-reference", Lost.ENTRY, "it refers to what is not here", code="TW7223"),
        Kind("not-final", Lost.ENTRY, "it is preliminary, cancelled or in error", code="TW7224"),
        Kind("wrong-code", Lost.VALUE, "the code is none of its system or field", code="TW7225"),
        Kind("wrong-code-system", Lost.VALUE, "the code is of another system", code="TW7226"),
        Kind("no-value", Lost.VALUE, "a value was due and is absent", code="TW7227"),
        Kind("not-a-number", Lost.VALUE, "the value is no decimal number", code="TW7228"),
        Kind("comparator", Lost.VALUE, "the value is a bound such as `<`", code="TW7229"),
        Kind("out-of-range", Lost.VALUE, "the value is outside what is possible", code="TW7230"),
        Kind("not-whole", Lost.VALUE, "the value is no whole number", code="TW7231"),
        Kind("unit-missing", Lost.VALUE, "the value has no UCUM unit", code="TW7232"),
        Kind("unit-unknown", Lost.VALUE, "the unit is none that is understood", code="TW7233"),
        Kind("unit-mismatch", Lost.VALUE, "the unit measures something else", code="TW7234"),
        Kind("no-date", Lost.VALUE, "when it was is missing", code="TW7235"),
        Kind("bad-date", Lost.VALUE, "the date is none", code="TW7236"),
        Kind("future-date", Lost.VALUE, "the date is in the future", code="TW7237"),
        Kind("before-birth", Lost.VALUE, "the date is before birth", code="TW7238"),
        Kind(
            "recording-unreadable", Lost.ENTRY, "the recording cannot be read", code="TW7245"
        ),
        Kind(
            "recording-changed", Lost.ENTRY, "the recording was cut or changed", code="TW7246"
        ),
        Kind(
            "recording-other", Lost.ENTRY, "the recording is of another kind or place",
            code="TW7247",
        ),
        Kind("no-recording", Lost.PATIENT, "no recording of the patient is whole", code="TW7248"),
        Kind("erased", Lost.PATIENT, "the patient was erased here before", code="TW3186"),
        Kind("incomplete", Lost.NOTHING, "a field that is required is missing", code="TW7239"),
    )
}  # fmt: skip
"""Every kind, by name; a test holds their codes to the table of error codes."""


@dataclass(frozen=True, slots=True)
class Defect:
    """One defect of one record.

    Attributes:
        kind: Name of its kind.
        where: File and line, or file and resource. A file's name may name a patient: it stays here.
        field: The field concerned; empty for all of them.
    """

    kind: str
    where: str
    field: str = ""

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind  # noqa: S101 - our own names

    def as_json(self) -> dict[str, Any]:
        """For a report; stays at the node."""
        kind = KINDS[self.kind]
        return {
            "defect": self.kind,
            "code": kind.code,
            "lost": kind.lost.value,
            "where": self.where,
            "field": self.field,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what ``as_json`` wrote."""
        return cls(value["defect"], value["where"], value["field"])
