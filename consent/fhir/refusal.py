"""What a FHIR request is refused with: an OperationOutcome that names the element.

https://hl7.org/fhir/R4/operationoutcome.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twinward.errors import TwinwardError

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong.

    Attributes:
        kind: A code of ``http://hl7.org/fhir/issue-type``.
        element: FHIRPath of the element, such as ``Consent.provision.type``; empty: none.
        text: What is wrong, never the value itself.
    """

    kind: str
    element: str
    text: str


class Refused(TwinwardError):
    """A request that is not taken, with the HTTP status and all that is wrong with it."""

    default_code = "TW8600"

    def __init__(self, status: int, issues: Sequence[Issue], *, code: str) -> None:
        """Refuse with this HTTP status for these reasons; the first is the message."""
        super().__init__(issues[0].text, code=code, at=issues[0].element or None, help=_HELP)
        self.status = status
        self.issues = tuple(issues)

    def outcome(self) -> Json:
        """The refusal as an OperationOutcome."""
        return outcome(self.issues, code=self.code)


_HELP = "docs/fhir.md says what is taken"


def outcome(issues: Sequence[Issue], *, code: str) -> Json:
    """An OperationOutcome with these issues, each an error with our code."""
    return {
        "resourceType": "OperationOutcome",
        "issue": [
            {
                "severity": "error",
                "code": issue.kind,
                "details": {"coding": [{"system": "urn:twinward:errors", "code": code}]},
                "diagnostics": issue.text,
                **({"expression": [issue.element]} if issue.element else {}),
            }
            for issue in issues
        ],
    }


def of_element(element: str, text: str, *, kind: str = "not-supported") -> Refused:
    """A well-formed resource that says something that this server cannot keep to."""
    return Refused(422, [Issue(kind, element, text)], code="TW8601")
