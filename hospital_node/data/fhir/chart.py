"""What a bundle says of one patient, gathered resource by resource, then made into a draft."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from hospital_node.data.dates import age, birth_date, moment
from hospital_node.data.defects import Defect
from hospital_node.data.drafts import Draft, Refused, checked, incomplete
from hospital_node.data.fhir.resources import Patient
from hospital_node.data.mapping import FhirMapping
from hospital_node.record import is_record_number
from twinward.ids import RecordNumber

_SEX = {"male": 1.0, "female": 0.0}
_NO_SEX = frozenset({"", "other", "unknown"})


@dataclass(frozen=True, slots=True)
class Said:
    """One statement on one field: its value, when it was, and whether it grows stale."""

    value: float
    at: datetime | None
    stale: bool


@dataclass(slots=True)
class Chart:
    """One patient of a bundle and all that is said of them."""

    patient: Patient
    where: str
    now: datetime
    birth: date | None = None
    said: defaultdict[str, list[Said]] = field(default_factory=lambda: defaultdict(list))
    defects: list[Defect] = field(default_factory=list)

    @classmethod
    def of(cls, patient: Patient, *, where: str, now: datetime) -> Chart:
        """A chart with nothing in it but the patient."""
        chart = cls(patient, where, now)
        try:
            chart.birth = birth_date(patient.birthDate, now=now)
        except Refused as refused:
            chart.defects.append(Defect(refused.kind, where, "age"))
        return chart

    def moment(self, text: str) -> datetime:
        """When something of this patient was.

        Raises:
            Refused: no-date, bad-date, future-date, before-birth.
        """
        return moment(text, now=self.now, birth=self.birth)

    def draft(self, mapping: FhirMapping) -> Draft | None:
        """The patient as a draft; None, with a defect, without the hospital's own number."""
        record = self._record(mapping.identifier)
        if record is None:
            self.defects.append(Defect("no-identifier", self.where))
            return None
        dated = [each.at for of in self.said.values() for each in of if each.at is not None]
        aging = [
            each.at
            for of in self.said.values()
            for each in of
            if each.at is not None and each.stale
        ]
        newest = max(aging or dated, default=None)
        values = dict(self._values(mapping, newest))
        values |= self._from_patient(newest)
        lacking = incomplete(values, mapping.required, where=self.where)
        self.defects += lacking
        return Draft(record, self.where, values, qualifies=not lacking)

    def _values(self, mapping: FhirMapping, newest: datetime | None) -> Iterator[tuple[str, float]]:
        """The newest statement on each field that is not older than the mapping allows."""
        for name, wanted in mapping.fields.items():
            said = [
                each
                for each in self.said.get(name, ())
                if not (each.stale and each.at and newest)
                or newest - each.at <= timedelta(days=mapping.within_days)
            ]
            if not said:
                if wanted.absent is not None and name not in self.said:
                    yield name, wanted.absent
                continue
            last = max(each.at.timestamp() if each.at else 0.0 for each in said)
            found = {
                each.value for each in said if (each.at.timestamp() if each.at else 0.0) == last
            }
            if len(found) > 1:
                self.defects.append(Defect("contradicting-value", self.where, name))
            else:
                yield name, found.pop()

    def _from_patient(self, newest: datetime | None) -> dict[str, float]:
        values, gender = {}, self.patient.gender
        if gender in _SEX:
            values["sex"] = _SEX[gender]
        elif gender not in _NO_SEX:
            self.defects.append(Defect("wrong-code", self.where, "sex"))
        if self.birth is not None and newest is not None:
            try:
                values["age"] = checked("age", age(self.birth, newest.date()))
            except Refused as refused:
                self.defects.append(Defect(refused.kind, self.where, "age"))
        return values

    def _record(self, kind: str) -> RecordNumber | None:
        for each in self.patient.identifier:
            if any(coding.code == kind for coding in each.type.coding):
                return RecordNumber(each.value) if is_record_number(each.value) else None
        return None
