"""Every refusal Twinward can give, with a stable code, an exit status and the next step.

    TwinwardError
    ├── UsageError          TW1xxx  exit 2   the call or the configuration is wrong
    ├── IdentityError       TW2xxx  exit 4   who someone is could not be established
    ├── ConsentError        TW3xxx  exit 6   no permission on record
    ├── BudgetError         TW4xxx  exit 6   the privacy budget does not allow it
    ├── LedgerError         TW5xxx  exit 1   the ledger refused or contradicts itself
    │   └── LedgerUnreachable TW5001 exit 5  safe to retry
    ├── TrainingError       TW6xxx  exit 1   a run could not go on
    │   └── CoordinatorUnreachable TW6001 exit 5
    ├── TwinModelError      TW7xxx  exit 1   a twin model refuses
    ├── DataError           TW8xxx  exit 3   records do not satisfy the contract
    ├── EvidenceError       TW85xx  exit 3   an evidence pack does not verify
    └── InternalError       TW9xxx  exit 1   our bug

A family is a class; a concrete refusal is that class raised with its own code, listed in
``twinward/error_codes.md`` (a test holds the two equal). Messages say the cause, ``help`` the fix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CHECK = 3
EXIT_IDENTITY = 4
EXIT_UNREACHABLE = 5
EXIT_REFUSED = 6
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What a person is shown of an error: nothing in it is a secret or data-dependent."""

    code: str
    message: str
    at: str | None
    note: str | None
    help: str
    exit_status: int

    def as_json(self) -> dict[str, Any]:
        """The same content for machines; ``exit`` equals the process's exit status."""
        fields = {
            "code": self.code,
            "message": self.message,
            "at": self.at,
            "note": self.note,
            "help": self.help,
            "exit": self.exit_status,
        }
        return {key: value for key, value in fields.items() if value is not None}

    def as_text(self) -> str:
        """Render in the style of a compiler: code and cause, place, note, help."""
        lines = [f"error[{self.code}]: {self.message}"]
        if self.at:
            lines.append(f"  --> {self.at}")
        if self.note:
            lines.append(f"   = note: {self.note}")
        lines.append(f"   = help: {self.help}")
        lines.append(f"   = more: twinward explain {self.code}")
        return "\n".join(lines)


class TwinwardError(Exception):
    """Root of everything that Twinward refuses on purpose.

    Args:
        message: The cause, matter of fact, without a final full stop.
        code: Stable code, ``TWnnnn``; unique to this refusal.
        help: What to do next, as a sentence a person can act on.
        at: Where: a file and key, a command, a contract.
        note: One more fact that helps to understand.
    """

    exit_status: ClassVar[int] = EXIT_FAILED
    default_code: ClassVar[str] = "TW9000"

    def __init__(
        self,
        message: str,
        *,
        help: str,  # noqa: A002 - the word users see in front of the text
        code: str | None = None,
        at: str | None = None,
        note: str | None = None,
    ) -> None:
        super().__init__(message)
        self.diagnostic = Diagnostic(
            code=code or self.default_code,
            message=message,
            at=at,
            note=note,
            help=help,
            exit_status=self.exit_status,
        )

    @property
    def code(self) -> str:
        """The stable code of this refusal."""
        return self.diagnostic.code


class UsageError(TwinwardError):
    """The command line, a setting or a file given by a person is wrong."""

    exit_status = EXIT_USAGE
    default_code = "TW1000"


class IdentityError(TwinwardError):
    """A signature, a certificate or a membership does not establish who this is."""

    exit_status = EXIT_IDENTITY
    default_code = "TW2000"


class ConsentError(TwinwardError):
    """No permission on record, or the record of permissions cannot be trusted now."""

    exit_status = EXIT_REFUSED
    default_code = "TW3000"


class BudgetError(TwinwardError):
    """The privacy budget does not allow it; nothing was computed."""

    exit_status = EXIT_REFUSED
    default_code = "TW4000"


class LedgerError(TwinwardError):
    """The ledger refused, or what it says contradicts itself or a proof."""

    default_code = "TW5000"


class LedgerUnreachable(LedgerError):
    """The ledger did not answer; the same call may be repeated safely."""

    exit_status = EXIT_UNREACHABLE
    default_code = "TW5001"


class TrainingError(TwinwardError):
    """A run could not go on; what was sent stays charged."""

    default_code = "TW6000"


class CoordinatorUnreachable(TrainingError):
    """The coordinator did not answer; the same call may be repeated safely."""

    exit_status = EXIT_UNREACHABLE
    default_code = "TW6001"


class TwinModelError(TwinwardError):
    """A twin model refuses a question that it cannot answer honestly."""

    default_code = "TW7000"


class DataError(TwinwardError):
    """Records do not satisfy the data contract; nothing was imported."""

    exit_status = EXIT_CHECK
    default_code = "TW8000"


class EvidenceError(TwinwardError):
    """An evidence pack does not verify."""

    exit_status = EXIT_CHECK
    default_code = "TW8500"


class InternalError(TwinwardError):
    """Something that cannot happen happened: our bug."""

    default_code = "TW9000"
