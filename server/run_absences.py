"""Which hospitals of a plan are missing in its run, and why: nobody drops out silently.

What a hospital tells itself stands above what the coordinator sees. Every change is told, entered
in the coordinator's audit log and kept in the run's transcript, from which the model card is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from server.transcript import Transcript
from twinward import absence
from twinward.errors import TrainingError, UsageError
from twinward.founding import Member
from twinward.ids import OrgName, RunId
from twinward.plan import Plan
from twinward.signing import Document


class Absences:
    """The missing hospitals of one run.

    Args:
        run: The run.
        plan: Names the hospitals that could take part.
        transcript: Keeps what was found; durable on return.
        enter: Enters a topic list in the coordinator's audit log.
    """

    def __init__(
        self,
        run: RunId,
        plan: Plan,
        *,
        transcript: Transcript,
        enter: Callable[[tuple[str, ...]], None],
    ) -> None:
        self._run = run
        self._plan = plan
        self._transcript = transcript
        self._enter = enter
        self._causes: dict[OrgName, str] = {}
        self._told: dict[OrgName, str] = {}

    def at_epoch(
        self, members: Collection[OrgName], online: Collection[OrgName]
    ) -> list[dict[str, str]]:
        """An epoch begins with these members; who is newly missing, or back."""
        for org in members:
            self._told.pop(org, None)
            if self._causes.pop(org, None) is not None:
                self._transcript.present(org)
        missing = {
            org: self._told.get(org, absence.UNKNOWN if org in online else absence.OFFLINE)
            for org in self._plan.sites
            if org not in members and org not in self._causes
        }
        return self._note(missing)

    def lost(self, missing: Collection[OrgName], *, silent: bool) -> list[dict[str, str]]:
        """An attempt was lost because of these hospitals."""
        seen = absence.SILENT if silent else absence.BROKE_OFF
        return self._note({org: self._told.get(org, seen) for org in missing})

    def tells(self, member: Member, data: bytes) -> list[dict[str, str]]:
        """A hospital says why it is missing.

        Raises:
            IdentityError: TW2002, TW2004, it did not sign this.
            UsageError: TW6223, it is about another run or hospital, or tells what none may tell.
        """
        word = Document.decode(data, kind=absence.KIND, at="absence")
        word.verify(member.identity)
        said = word.payload
        code = said.get("code")
        if (
            said.get("run") != self._run
            or said.get("org") != member.org
            or member.org not in self._plan.sites
            or not isinstance(code, str)
            or code not in absence.TOLD
        ):
            raise UsageError(
                "this does not say why a hospital is missing in the run under way",
                code="TW6223",
                help="compare the versions of Twinward; the hospital counts as missing",
            )
        if member.org in self._told:
            return []  # it has said so already, until it is back
        self._told[member.org] = code
        return self._note({member.org: code})

    def as_json(self) -> list[dict[str, str]]:
        """Everyone who is missing now, in order of name."""
        return [_said(org, self._causes[org]) for org in sorted(self._causes)]

    def _note(self, missing: dict[OrgName, str]) -> list[dict[str, str]]:
        new = {org: why for org, why in missing.items() if self._causes.get(org) != why}
        for org, why in sorted(new.items()):
            self._enter((f"run:{self._run}", f"hospital:{org}", f"cause:{why}"))
            self._transcript.absent(org, why)
            self._causes[org] = why
        return [_said(org, why) for org, why in sorted(new.items())]


def of(transcript: Transcript) -> list[dict[str, str]]:
    """Who was missing at the end of a run, from its transcript."""
    return [_said(org, why) for org, why in transcript.absences()]


def too_few(
    error: TrainingError, missing: Sequence[Mapping[str, str]], ages: Mapping[OrgName, int | None]
) -> TrainingError:
    """The refusal to go on with too few hospitals, naming each that was expected and is missing.

    Args:
        error: The refusal as the secure sum says it.
        missing: As of ``Absences.as_json``.
        ages: How many seconds ago each hospital's node called; None if it did not.
    """
    said = error.diagnostic
    names = [
        f"{one['org']} ({one['words']}, {absence.last_seen(ages[OrgName(one['org'])])})"
        for one in missing
    ]
    return TrainingError(
        f"{said.message}; missing: {', '.join(names)}" if names else said.message,
        code=error.code,
        note=said.note,
        help=said.help,
    )


def _said(org: str, cause: str) -> dict[str, str]:
    return {"org": org, "cause": cause, "words": absence.in_words(cause)}
