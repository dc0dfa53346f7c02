"""What a check found, and how checks are run: one after the other, none can end the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from twinward.errors import TwinwardError

Place = TypeVar("Place")
"""What is looked at: a node, a coordinator."""


class Result(StrEnum):
    """How a check ended."""

    OK = "ok"
    CONCERN = "concern"
    FAULT = "FAULT"
    SKIPPED = "not checked"


class Concern(TwinwardError):
    """Something that works now and may not for long; it does not fail the doctor."""


class NotChecked(Exception):
    """A check has nothing to look at: why, in words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's table. No secret and no patient is in it.

    Attributes:
        check: Which check.
        result: How it ended.
        what: What was seen, or the cause.
        code: The refusal's code; None if there is none.
        fix: What to do; empty if nothing.
        at: Where.
    """

    check: str
    result: Result
    what: str
    code: str | None = None
    fix: str = ""
    at: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "check": self.check,
            "result": self.result.value.lower(),
            "what": self.what,
            "code": self.code,
            "fix": self.fix,
            "at": self.at,
        }


@dataclass(frozen=True, slots=True)
class Check(Generic[Place]):
    """One check: it returns what it saw, or raises the refusal that it found.

    Attributes:
        name: In the table.
        run: The check.
        needs: Checks without which this one has nothing to look at.
    """

    name: str
    run: Callable[[Place], str]
    needs: tuple[str, ...] = ()


def examine(place: Place, checks: Iterable[Check[Place]]) -> Iterator[Finding]:
    """Run the checks in their order; a check whose needs are not met is not run."""
    failed: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in failed]
        finding = (
            Finding(check.name, Result.SKIPPED, f"needs `{missing[0]}`")
            if missing
            else _examined(place, check)
        )
        if finding.result in {Result.FAULT, Result.SKIPPED}:
            failed.add(check.name)
        yield finding


def _examined(place: Place, check: Check[Place]) -> Finding:
    try:
        return Finding(check.name, Result.OK, check.run(place))
    except NotChecked as reason:
        return Finding(check.name, Result.SKIPPED, str(reason))
    except TwinwardError as error:
        found = error.diagnostic
        result = Result.CONCERN if isinstance(error, Concern) else Result.FAULT
        what = found.message if found.note is None else f"{found.message} ({found.note})"
        return Finding(check.name, result, what, found.code, found.help, found.at)
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide the others
        return Finding(
            check.name,
            Result.FAULT,
            f"the check itself met an unexpected {type(error).__name__}",
            "TW9000",
            "report it; what the other checks say holds all the same",
        )
