"""What the law of a place says of those who never answered: the default state of a permission.

The words are those of ISO/TS 17975: express opt-in, opt-out, deemed, none with a legal basis. The
framework of a study is written down with it; without one it is opt-in. What a default permits is
of the grade *permitted-by-law*, so it counts only where a plan names that grade.

**The data path of this version trains on signed grants alone**: `hospital_node/cohort.py` asks the
policy about patients who have one. A default decides other questions that are put to the policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Default(StrEnum):
    """What holds for a patient who never answered."""

    OPT_IN = "opt-in"
    OPT_OUT = "opt-out"
    """EHDS, Regulation (EU) 2025/327 Art. 71: permitted under a data permit unless objected to."""
    DEEMED = "deemed"
    """Permitted when the patient was told and did not answer in the time that the law gives."""
    LEGAL_BASIS = "legal-basis"
    """No consent is needed: a law names the use."""


@dataclass(frozen=True, slots=True)
class DataPermit:
    """A permit of a health data access body (EHDS Art. 68), Unix seconds."""

    number: str
    approved_at: int
    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class Framework:
    """Which default holds for a study, and on what ground.

    Attributes:
        default: What holds for whoever never answered.
        ground: The law or the decision, as it is cited; needed for every default but opt-in.
        permit: Needed for opt-out.
        old_permits_stay: A Member State may let an objection bind later permits only (Art. 71(4));
            otherwise it binds at once.
        answer_seconds: For *deemed*: how long after being told a patient may answer.
        after_death: Whether a signed grant still counts after death; grants only.
    """

    default: Default = Default.OPT_IN
    ground: str = ""
    permit: DataPermit | None = None
    old_permits_stay: bool = False
    answer_seconds: int | None = None
    after_death: bool = False

    def permits_unasked(self, *, told_at: int | None, earliest: float, latest: float) -> bool:
        """Whether the default covers a patient who never answered; a missing fact is a no."""
        if not self.ground:
            return False
        if self.default is Default.OPT_OUT:
            permit = self.permit
            return permit is not None and permit.begins <= earliest and latest < permit.ends
        if self.default is Default.DEEMED:
            waited = told_at is not None and self.answer_seconds is not None
            return waited and earliest >= (told_at or 0) + (self.answer_seconds or 0)
        return self.default is Default.LEGAL_BASIS

    def heeds(self, objected_at: int) -> bool:
        """Whether an objection of that time binds the use."""
        if self.default is Default.LEGAL_BASIS:
            return False  # Art. 21(6): not where the task is carried out in the public interest
        late = self.permit is not None and objected_at > self.permit.approved_at
        return not (self.default is Default.OPT_OUT and self.old_permits_stay and late)


OPT_IN = Framework()
GLASS_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Emergency:
    """Breaking the glass: a named person looks at a record in an emergency, and says why.

    It opens a patient's own care and nothing else, for a day, and is looked at afterwards.
    """

    by: str
    ground: str
    declared_at: int

    def opens(self, *, earliest: float, latest: float) -> bool:
        """Whether it holds now: somebody named a ground, less than a day ago."""
        complete = bool(self.by.strip() and self.ground.strip())
        return (
            complete and self.declared_at <= earliest and latest < self.declared_at + GLASS_SECONDS
        )
