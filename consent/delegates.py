"""Whom a patient names to answer for them, with their own letter; the hospital only writes it down.

A delegate gets a letter of their own for one study. With it they stop, or stop and say yes; never
to more than the patient's own yes, never longer than the patient said, and never after the patient
ended it: then the letter opens nothing any more. A delegate names nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from consent import purposes
from consent.intake import Desk, Intake, not_with_this_letter
from consent.record import DAY
from consent.register import KeptMandate, Register
from consent.requests import not_a_request, object_of, read
from consent.standing import Mandate, Role
from consent.study import Study
from consent.vault import Enrolment, Vault
from twinward import canonical
from twinward.errors import ConsentError
from twinward.ids import RecordNumber

MOST: Final = 5
"""Delegates of one patient at a time; a letter is a secret, and each one more may be lost."""
LONGEST: Final = 5 * 366 * DAY
LONGEST_NAME: Final = 60


class Delegates:
    """What a patient's own letter can do about delegates, over one vault."""

    def __init__(self, vault: Vault, desk: Desk, intake: Intake) -> None:
        self._vault = vault
        self._register = Register(vault)
        self._desk = desk
        self._intake = intake

    def name(self, body: bytes) -> bytes:
        """``{code, study, delegate: {holder, says, until}}`` to the code of the delegate's letter.

        ``says`` is ``stop`` or ``all``. The code is told once and kept nowhere. Asking again after
        a lost answer names the person twice; the patient sees both and ends one.

        Raises:
            ConsentError: TW3010, TW3011; TW8161 not with this letter, TW8162 not whole, or too
                many. UsageError: TW3019.
        """
        value = read(body, "code", "study", "delegate")
        enrolment = self._own_letter(value)
        study = self._intake.study(enrolment.study, even_closed=True)
        told = object_of(value["delegate"])
        if set(told) != {"holder", "says", "until"} or told["says"] not in {"stop", "all"}:
            raise not_a_request("a delegate has a holder, what they say, and an end")
        now = int(self._desk.clock.now())
        holder, until = _whole(told, now=now)
        record = enrolment.record
        if len([one for one in self._chosen(record) if one.mandate.ends > now]) >= MOST:
            raise _incomplete(f"there are {MOST} already")
        mask = self._most(study, record) if told["says"] == "all" else 0
        given = Mandate(Role.CHOSEN, mask, now, until)
        self._desk.spoke("delegate-named", record, study.id32)
        number = self._register.give(record, given, holder=holder)
        (code,) = self._vault.enrol(study.id32, [record], valid_until=until, mandate=number)
        return canonical.encode({"number": number, "code": code.hex(), "holder": holder})

    def end(self, body: bytes) -> bytes:
        """``{code, study, mandate}``: that mandate ends now, with what was said under it.

        Raises:
            ConsentError: TW3010, TW3011; TW8161 not with this letter, TW8163 not named by the
                patient. UsageError: TW3019.
        """
        value = read(body, "code", "study", "mandate")
        enrolment = self._own_letter(value)
        record, number = enrolment.record, value["mandate"]
        known = next((one for one in self._chosen(record) if one.number == number), None)
        if known is None:
            raise ConsentError(
                "this person was not named by the patient with a letter",
                code="TW8163",
                help="guardians, and whom staff wrote down, are changed at the hospital's desk",
            )
        now = int(self._desk.clock.now())
        self._register.end(known.number, of=record, now=now)
        if known.mandate.ends > now:
            self._desk.spoke("delegate-ended", record, enrolment.study)
        return canonical.encode({"number": known.number, "ends": min(now, known.mandate.ends)})

    def _own_letter(self, value: Mapping[str, Any]) -> Enrolment:
        enrolment = self._intake.own_letter(value["code"], value["study"])
        of_age_at = self._register.standing(enrolment.record).of_age_at
        if of_age_at is not None and self._desk.clock.now() < of_age_at:
            raise not_with_this_letter()
        return enrolment

    def _chosen(self, record: RecordNumber) -> list[KeptMandate]:
        return [one for one in self._register.mandates(record) if one.mandate.role is Role.CHOSEN]

    def _most(self, study: Study, record: RecordNumber) -> int:
        """What a delegate may say yes to: the patient's own last yes, else what the study asks."""
        own = self._vault.newest(study.id32, record)
        if own is None or own.mandate is not None:
            return purposes.bits([study.purpose])
        return own.grant.purposes & ~purposes.bits([purposes.BY_STAFF])


def _whole(told: Mapping[str, Any], *, now: int) -> tuple[str, int]:
    holder, until = told["holder"], told["until"]
    if not isinstance(holder, str) or not isinstance(until, int):
        raise not_a_request("a holder is text, an end Unix seconds")
    name = " ".join(holder.split())
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise _incomplete(f"a name has 1 to {LONGEST_NAME} signs")
    if not now < until <= now + LONGEST:
        raise _incomplete("it ends after today, and within five years")
    return name, until


def _incomplete(note: str) -> ConsentError:
    return ConsentError(
        "this person cannot be named like this",
        code="TW8162",
        note=note,
        help="give a name and a day in the next five years; end one of five before naming another",
    )
