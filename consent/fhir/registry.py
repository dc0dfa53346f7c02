"""A hospital's consents as FHIR sees them: read, search, give, withdraw, ask for a decision.

What holds is in the vault and on the ledger; each call first follows the vault, so that what a
patient did elsewhere (with a wallet, in the portal, by telephone) is seen here at once. Narrowing
always works: a ``deny`` and a withdrawal need no version, no form beyond the patient, no ledger.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

from consent import erased
from consent.attested import Attested
from consent.fhir import meaning
from consent.fhir.kept import Draft, Version, Versions
from consent.fhir.refusal import Issue, Json, Refused, of_element
from consent.fhir.releases import PRIVACY
from consent.fhir.resource import Release, parse
from consent.intake import Desk, Intake
from consent.kept import KeptGrant
from consent.policy import Decision, Request, decide
from consent.purposes import OWN_CARE
from consent.register import Register
from consent.requests import hex_bytes, object_of, read
from consent.service import ConsentDesk
from consent.study import Study
from consent.vault import Vault
from twinward.ids import RecordNumber

ENDED = ("inactive", "entered-in-error")
_AT_ONCE = 500
"""Patients whose new versions wait for the disk together."""


@dataclass(frozen=True, slots=True)
class House:
    """What the registry needs to know of the hospital.

    Attributes:
        desk: The surroundings of the consent desk.
        records: The hospital's patients.
        confirm: Requires a fresh and complete mirror of the ledger; raises otherwise.
        attested: Enters in the audit log, before it is kept, that a client attests a patient's
            yes: record, study's number, who.
        objected: The same of a refusal of all studies: record, who.
        decided: Enters a decision: study, record, digest of the grant or none, decision, client.
        changed: Wakes whoever brings changes to the ledger.
    """

    desk: Desk
    records: Collection[RecordNumber]
    confirm: Callable[[], object]
    attested: Callable[[RecordNumber, bytes, str], None]
    objected: Callable[[RecordNumber, str], None]
    decided: Callable[[Study, RecordNumber, bytes | None, Decision, str], None]
    changed: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision, the Consent that it rests on, and the categories that the patient left out."""

    decision: Decision
    consent: str | None
    withheld: tuple[str, ...]


class Registry:
    """The consents of one hospital. Thread-safe; durable when a call returns."""

    def __init__(self, vault: Vault, versions: Versions, house: House) -> None:
        self._vault = vault
        self._versions = versions
        self._house = house
        self._desk = ConsentDesk(vault, house.desk)
        self._intake = Intake(vault, house.desk)
        self._register = Register(vault)
        self._lock = threading.RLock()

    @property
    def versions(self) -> Versions:
        """What is kept, as of the vault's newest change."""
        with self._lock:
            for study in self._house.desk.studies.values():
                self._follow(study)
        return self._versions

    def offers(self) -> list[tuple[Study, str]]:
        """The studies that a Consent can be given for now, and the policy that it must name."""
        now, desk = self._house.desk.clock.now(), self._house.desk
        return [
            (study, meaning.policy_uri(study, desk.hospital))
            for study in desk.studies.values()
            if now < study.closes
        ]

    def create(self, value: object, *, client: str) -> Version:
        """Take a Consent: a permission, signed by the patient or attested, or a refusal.

        Raises:
            Refused: TW8600, TW8601 an element; TW8602, no such patient; TW8603, answered already.
            ConsentError, UsageError: As the consent desk refuses it.
        """
        if isinstance(value, dict) and meaning.denies(value):
            with self._lock:
                return self._refuse_all(value, client=client)
        resource = parse(value, release=Release.R4)
        asked = meaning.permission(resource, self._house.desk.studies, self._house.desk.hospital)
        self._require_patient(asked.record)
        with self._lock:
            extensions = {each["url"]: each for each in resource.get("extension", [])}
            if set(extensions) == {meaning.SIGNED}:
                kept = self._signed(extensions[meaning.SIGNED], asked)
            elif set(extensions) == {meaning.ATTESTED_BY}:
                kept = self._attested(extensions[meaning.ATTESTED_BY], asked, client)
            else:
                raise of_element(
                    "Consent.extension",
                    f"exactly one of {meaning.SIGNED} and {meaning.ATTESTED_BY} is needed",
                )
            self._house.changed()
            known = self._versions.newest(kept.digest.hex())
            if known is not None:
                return known  # asked again after a lost answer
            grade = {"url": meaning.GRADE, "valueCode": kept.grade}
            whole = {**resource, "extension": [grade]}
            now = self._house.desk.clock.now()
            added = self._versions.add(kept.digest.hex(), asked.record, whole, at=now)
            self._follow(asked.study)
            return added

    def end(self, name: str, value: object, *, match: str | None, client: str) -> Version:
        """Withdraw: a new version of this status, and nothing else of it is looked at.

        Raises:
            Refused: TW8604 no such Consent; TW8605, another version than ``match`` is the newest;
                TW8601, it is not the end of this patient's Consent.
        """
        with self._lock:
            newest = self.versions.newest(name)
            if newest is None:
                raise not_found()
            if match is not None and match != newest.etag:
                raise Refused(
                    412, [Issue("conflict", "", f"the newest version is {newest.etag}")],
                    code="TW8605",
                )  # fmt: skip
            given = value if isinstance(value, dict) else {}
            if given.get("resourceType") != "Consent" or given.get("id", name) != name:
                raise of_element("Consent.id", "this is another resource than the address names")
            if given.get("status") not in ENDED:
                raise of_element(
                    "Consent.status", "a Consent can only be ended; give a new one to change it"
                )
            record = meaning.patient_of(newest.resource)
            if "patient" in given and meaning.patient_of(given) != record:
                raise of_element("Consent.patient", "this Consent is another patient's")
            if meaning.denies(newest.resource):
                raise of_element("Consent.status", "a refusal ends when the patient says yes")
            if newest.status in ENDED:
                return newest
            return self._ended(newest, record, str(given["status"]), client)

    def decide(self, record: RecordNumber, study_name: str, *, client: str) -> Decided:
        """Whether a study may use a patient's data now, and which of it not.

        Every decision is entered in the audit log before it is told.

        Raises:
            Refused: TW8602 no such patient; TW8606 no such study.
            ConsentError: TW3102 to TW3104, what the ledger says is not known well enough.
        """
        self._require_patient(record)
        desk = self._house.desk
        study = next((s for s in desk.studies.values() if s.name == study_name), None)
        if study is None:
            raise Refused(
                404, [Issue("not-found", "Parameters.parameter", "no such study here")],
                code="TW8606",
            )  # fmt: skip
        self._house.confirm()
        newest = self._vault.newest(study.id32, record)
        request = Request.of(study, hospital=desk.hospital, grades=desk.grades(study.id32))
        found = decide(
            None
            if newest is None
            else newest.permission(
                desk.slot(study.id32, newest.subject),
                verified=newest.verified(desk.domain),
                mandate=self._register.mandate(newest.mandate),
            ),
            request,
            at=self._intake.now(),
            standing=self._register.standing(record),
        )
        digest = None if newest is None else newest.digest
        self._house.decided(study, record, digest, found, client)
        withheld = tuple(one.name for one in study.left_out(found.withheld))
        return Decided(found, None if digest is None else digest.hex(), withheld)

    def _require_patient(self, record: RecordNumber) -> None:
        if record not in self._house.records:
            raise Refused(
                422, [Issue("not-found", "Consent.patient", "this is no patient of this hospital")],
                code="TW8602",
            )  # fmt: skip

    def _signed(self, extension: Json, asked: meaning.Permission) -> KeptGrant:
        """The patient's own signature, brought by the record system; it must say the same."""
        at = f"Consent.extension({meaning.SIGNED})"
        body = str(extension.get("valueString", "")).encode()
        value = read(body)
        code = hex_bytes(value.get("code"))
        enrolment = self._vault.enrolment(code)
        grant = object_of(value.get("grant"))
        scope = asked.study.scope(self._house.desk.hospital, without=asked.without)
        same = (
            enrolment is not None
            and enrolment.record == asked.record
            and enrolment.study == asked.study.id32
            and grant.get("purposes") == f"{asked.mask:032x}"
            and grant.get("scope") == scope.hex()
            and grant.get("expiry") == int(asked.until)
        )
        if not same:
            raise of_element(at, "what the patient signed is not what this Consent says")
        self._desk.grant(body)
        kept = self._vault.newest(asked.study.id32, asked.record)
        assert kept is not None  # noqa: S101 - just taken
        return kept

    def _attested(self, extension: Json, asked: meaning.Permission, client: str) -> KeptGrant:
        staff = str(extension.get("valueString", "")).strip()
        if not staff or len(staff) > 100:
            raise of_element(f"Consent.extension({meaning.ATTESTED_BY})", "a name is needed")
        taking = Attested(self._vault, self._house.desk, study=asked.study)
        if taking.is_answered(asked.record, signed_on=asked.signed_on):
            raise Refused(
                409, [Issue("duplicate", "Consent.patient", "this patient has answered already")],
                code="TW8603",
            )  # fmt: skip
        enter = partial(self._house.attested, asked.record, asked.study.id32, f"{client}/{staff}")
        return taking.take(
            asked.record, mask=asked.mask, until=asked.until, enter=enter, without=asked.without
        )

    def _refuse_all(self, value: Json, *, client: str) -> Version:
        """A refusal: of one study, or of all. What else it says does not hold it up."""
        record = meaning.patient_of(value)
        self._require_patient(record)
        if not meaning.about_studies(value):
            raise of_element("Consent.provision.purpose", "these purposes are not of studies")
        desk = self._house.desk
        study = meaning.study_of(value, desk.studies, desk.hospital)
        now = int(desk.clock.now())
        if study is not None:
            self._desk.withdraw_record(study.id32, record, staff=client)
        else:
            self._house.objected(record, client)
            standing = self._register.standing(record)
            self._register.note(record, replace(standing, objected_at=now))
            erased.withdraw_all(
                self._vault,
                record,
                now=now,
                on_chain_by=now + int(desk.ledger_deadline),
                but=[one.id32 for one in desk.studies.values() if one.purpose == OWN_CARE],
            )
        self._house.changed()
        whole = {
            "resourceType": "Consent",
            "status": "active",
            "scope": PRIVACY,
            "category": meaning.CATEGORY,
            "patient": {"reference": f"Patient/{record}"},
            "organization": [{"reference": f"Organization/{desk.hospital}"}],
            **({"policy": [{"uri": meaning.policy_uri(study, desk.hospital)}]} if study else {}),
            "provision": {"type": "deny"},
        }
        return self._versions.add(secrets.token_hex(32), record, whole, at=now)

    def _ended(self, newest: Version, record: RecordNumber, status: str, client: str) -> Version:
        kept = self._vault.by_digest(bytes.fromhex(newest.id))
        assert kept is not None  # noqa: S101 - permissions are kept under their digest
        self._desk.withdraw_record(kept.study, record, staff=client)
        self._house.changed()
        now = self._house.desk.clock.now()
        return self._versions.add(newest.id, record, {**newest.resource, "status": status}, at=now)

    def _follow(self, study: Study) -> None:
        """A version for each grant and each end that the vault knows and this file does not."""
        last = self._vault.last_change()
        after = self._versions.followed(study.id32)
        if last == after:
            return
        changed = self._vault.changed_records(study.id32, after=after)
        for first in range(0, len(changed), _AT_ONCE):
            some = changed[first : first + _AT_ONCE]
            self._versions.add_all([new for one in some for new in self._unseen(study, one)])
        self._versions.note_followed(study.id32, last)

    def _unseen(self, study: Study, record: RecordNumber) -> Iterator[Draft]:
        """The versions of one patient's Consents that are not kept yet, in their order."""
        desk = self._house.desk
        subjects = {s for number, s in self._vault.subjects_of(record) if number == study.id32}
        grants = [kept for one in subjects for kept in self._vault.all_of(study.id32, one)]
        current = self._vault.newest(study.id32, record)
        for kept in sorted(grants, key=lambda each: each.received_at):
            name = kept.digest.hex()
            known = self._versions.newest(name)
            if known is None:
                resource = meaning.written(kept, study, desk.hospital)
                yield Draft(name, record, resource, kept.received_at)
            else:
                resource = known.resource
            is_current = current is not None and current.digest == kept.digest
            if resource["status"] == "active" and (kept.withdrawn or not is_current):
                ended = {**resource, "status": "inactive"}
                yield Draft(name, record, ended, desk.clock.now())


def not_found() -> Refused:
    """The refusal of an address with nothing behind it."""
    return Refused(404, [Issue("not-found", "", "there is no such Consent")], code="TW8604")
