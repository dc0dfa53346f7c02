"""What a hospital may write into ``policy.toml``: its agreements and limits, and who decides.

The edge only: forms and ranges. What the terms mean for a plan is said by ``hospital_node.policy``.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator
from pydantic import model_validator as whole

Hex32 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
ANY = "*"
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(
    rf"({'|'.join(DAYS)})(?:-({'|'.join(DAYS)}))? ([01]\d|2[0-3]):([0-5]\d)-"
    r"(?:([01]\d|2[0-3]):([0-5]\d)|24:00)"
)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudyPolicy(_Table):
    """One study this hospital takes part in, and the most that a plan of it may ask."""

    study: str
    models: tuple[str, ...]
    purposes: tuple[str, ...]
    max_epsilon: float = Field(default=1.0, gt=0, le=20)
    max_evaluation_epsilon: float = Field(default=3.0, ge=0, le=20)
    """Most that measuring a finished model may cost a patient who was kept out of training."""
    max_steps: int = Field(default=100, ge=1)
    max_runs: int | None = Field(default=None, ge=1)
    """Most runs of one plan, begun at this hospital, ever; none asks for no cap."""
    grades: tuple[str, ...] = ("signed-on-device",)
    visible_updates: bool = False
    """Whether updates may leave without masks, so that robust rules can compare hospitals."""
    minimum_cohort: int | None = Field(default=None, ge=1)
    """More patients than the site's own minimum, if this study wants more."""
    peers: tuple[str, ...] = (ANY,)
    """Hospitals that a plan may name beside this one; ``*`` is every member of the network."""
    fewest_peers: int = Field(default=2, ge=2)
    scopes: tuple[str, ...] = (ANY,)
    """Columns of records that a model may read; ``history`` is diaries and series."""
    plans: tuple[Hex32, ...] = ()
    """Digests of the only plans that may be approved; none asks for no list."""
    until: date | None = None
    """Last day, in the site's time zone, on which the agreement holds."""


class Approver(_Table):
    """A person who may approve plans, by a key of their own."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.-]{0,30}[a-z0-9]$")]
    key: Hex32
    """Ed25519 public key; the private one never is on this machine unless that person puts it."""


class Contact(_Table):
    """Whom to call when something goes wrong; stays at the hospital."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    reach: Annotated[str, StringConstraints(min_length=3, max_length=200)]
    """Telephone or mail."""
    for_what: str = "incidents"


class SitePolicy(_Table):
    """All of ``policy.toml``. The hospital's own; nobody else can change it."""

    take_part: bool = True
    """The switch: with ``false`` no run begins and none goes on."""
    minimum_cohort: int = Field(default=20, ge=1)
    """Fewer consenting patients than this and the hospital sits a run out."""
    time_zone: str = "UTC"
    hours: tuple[str, ...] = ()
    """When runs may compute: ``mon-fri 18:00-06:00``; none is at any time."""
    code: tuple[Hex32, ...] = ()
    """Digests of the installed code that may run; none asks for no list."""
    approvals: int = Field(default=0, ge=0, le=8)
    """Signatures of different approvers that a plan needs; 0 leaves it to whoever runs
    ``twinward node approve`` on this machine."""
    approvers: tuple[Approver, ...] = ()
    contacts: tuple[Contact, ...] = ()
    studies: tuple[StudyPolicy, ...] = ()

    @field_validator("hours")
    @classmethod
    def _readable(cls, hours: tuple[str, ...]) -> tuple[str, ...]:
        for text in hours:
            if not _HOURS.fullmatch(text):
                raise ValueError(f"`{text}` is no time; write it like mon-fri 18:00-06:00")
        return hours

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            zone(name)
        except (LookupError, OSError, ValueError) as error:
            raise ValueError(f"`{name}` is no time zone of this machine") from error
        return name

    @whole(mode="after")
    def _distinct(self) -> Self:
        for what, values in (
            ("study", [study.study for study in self.studies]),
            ("approver", [one.name for one in self.approvers]),
            ("approver's key", [one.key for one in self.approvers]),
        ):
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"the {what} `{min(twice)}` is named twice")
        if self.approvals > len(self.approvers):
            raise ValueError(
                f"approvals = {self.approvals}, but only {len(self.approvers)} approvers are named"
            )
        return self

    def of(self, study: str) -> StudyPolicy | None:
        """What was agreed about a study; None if it was not agreed to."""
        return next((one for one in self.studies if one.study == study), None)

    def least(self, study: StudyPolicy) -> int:
        """Fewest patients with whom a run of this study may begin."""
        return max(self.minimum_cohort, study.minimum_cohort or 0)

    def local(self, now: float) -> datetime:
        """This moment by the clock on the hospital's wall."""
        return datetime.fromtimestamp(now, tz=zone(self.time_zone))

    def open_at(self, now: float) -> bool:
        """Whether runs may compute at this moment; a window past midnight belongs to its first day.

        Args:
            now: Unix seconds.
        """
        here = self.local(now)
        return not self.hours or any(_covers(text, here) for text in self.hours)


def zone(name: str) -> tzinfo:
    """A time zone by name; UTC needs no table of zones on the machine."""
    return UTC if name == "UTC" else ZoneInfo(name)


def _covers(text: str, here: datetime) -> bool:
    found = _HOURS.fullmatch(text)
    if found is None:
        return False
    first, last, from_hour, from_minute, to_hour, to_minute = found.groups()
    low, high = DAYS.index(first), DAYS.index(last or first)
    days = {(low + n) % 7 for n in range((high - low) % 7 + 1)}
    begin = time(int(from_hour), int(from_minute))
    end = time(int(to_hour), int(to_minute)) if to_hour else None
    clock = here.time().replace(tzinfo=None)
    today = here.weekday() in days
    if end is None:
        return today and clock >= begin
    if begin < end:
        return today and begin <= clock < end
    yesterday = (here - timedelta(days=1)).weekday() in days
    return (today and clock >= begin) or (yesterday and clock < end)
