"""Bundles of FHIR R4 resources as drafts of patients: one bundle a file, one or many patients each.

Resources are looked at one by one, so a faulty one costs nothing but itself. References are
resolved inside the bundle, by ``fullUrl`` or by type and id (https://hl7.org/fhir/R4/bundle.html);
nothing is ever fetched. A bundle that ends too early is refused whole: a patient of whom a part is
missing looks like another patient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from hospital_node.data.codes import is_possible
from hospital_node.data.defects import Defect
from hospital_node.data.drafts import Draft, Read, Refused, quantity
from hospital_node.data.fhir import files
from hospital_node.data.fhir import resources as fhir
from hospital_node.data.fhir.chart import Chart, Said
from hospital_node.data.mapping import Code, FhirMapping, parse_code
from twinward import canonical

_UCUM = "http://unitsofmeasure.org"
_FINAL = frozenset({"final", "amended", "corrected"})
_WITHDRAWN = "entered-in-error"
_REFUTED = "refuted"


class FhirBundles:
    """Bundle files with the mapping that says which codes are which fields.

    Args:
        paths: ``.json`` or ``.json.gz``, in the order in which they are read.
        mapping: What is read out of them.
        now: Nothing can have been measured later.
    """

    def __init__(self, paths: Sequence[Path], mapping: FhirMapping, *, now: datetime) -> None:
        self.files = paths
        self._mapping = mapping
        self._now = now
        self._index = _Index.of(mapping)

    @cached_property
    def mapping(self) -> bytes:
        """What names the mapping."""
        return canonical.encode(self._mapping.model_dump(mode="json"))

    def parts(self, *, skip: int) -> Iterator[Read]:
        """All parts but the first ``skip``; a part is some files."""
        for number, part in enumerate(files.parts(self.files)):
            if number >= skip:
                reads = [self.read(path) for path in part]
                yield Read(
                    [draft for read in reads for draft in read.drafts],
                    [defect for read in reads for defect in read.defects],
                    sum(read.bytes for read in reads),
                )

    def read(self, path: Path) -> Read:
        """One file."""
        try:
            data = files.content(path)
            drafts, defects = self.decode(data, name=path.name)
        except Refused as refused:
            return Read((), (Defect(refused.kind, path.name),), 0)
        return Read(drafts, defects, len(data))

    def decode(self, data: bytes, *, name: str) -> tuple[list[Draft], list[Defect]]:
        """The bundle in these bytes.

        Raises:
            Refused: truncated, not-json, not-a-bundle, no-patient.
        """
        with files.bounded_stack():
            bundle = files.bundle(data)
            return _Reading(self._mapping, self._index, bundle, name, self._now).run()


@dataclass(frozen=True, slots=True)
class _Index:
    """The mapping turned round: from codes to fields."""

    quantities: dict[Code, str]
    asked: dict[Code, str]
    findings: dict[Code, list[tuple[str, float]]]
    system: dict[str, str]
    """The system of each code that is mapped, to notice one under another system's name."""

    @classmethod
    def of(cls, mapping: FhirMapping) -> _Index:
        index = cls({}, {}, {}, {})
        for name, wanted in mapping.fields.items():
            index.quantities.update({parse_code(code): name for code in wanted.quantities})
            index.asked.update({parse_code(code): name for code in wanted.asked})
            for code, value in wanted.findings.items():
                index.findings.setdefault(parse_code(code), []).append((name, value))
        for system, code in (*index.quantities, *index.asked, *index.findings):
            index.system[code] = system
        return index


class _Reading:
    """One bundle while it is read."""

    def __init__(
        self, mapping: FhirMapping, index: _Index, bundle: fhir.Bundle, name: str, now: datetime
    ) -> None:
        self._mapping, self._index, self._name, self._now = mapping, index, name, now
        self._entries = bundle.entry or ()
        self._charts: dict[str, Chart] = {}
        self._defects: list[Defect] = []
        self._seen: set[tuple[str, str]] = set()

    def run(self) -> tuple[list[Draft], list[Defect]]:
        """Patients first, since others refer to them; then what is said of them."""
        rest: list[tuple[str, int, fhir.Entry]] = []
        patients: list[Chart] = []
        for place, entry in enumerate(self._entries):
            kind = self._kind(place, entry)
            if kind == "Patient":
                patients += self._patient(place, entry)
            elif kind in {"Observation", "Condition"}:
                rest.append((kind, place, entry))
        if not patients:
            raise Refused("no-patient")
        for kind, place, entry in rest:
            self._statement(kind, place, entry)
        drafts = [draft for chart in patients if (draft := chart.draft(self._mapping))]
        for chart in patients:
            self._defects += chart.defects
        return drafts, self._defects

    def _kind(self, place: int, entry: fhir.Entry) -> str:
        try:
            return fhir.HEAD.decode(entry.resource).resourceType if bytes(entry.resource) else ""
        except fhir.UNREADABLE:
            self._defects.append(Defect("malformed", f"{self._name}: entry {place + 1}"))
            return ""

    def _patient(self, place: int, entry: fhir.Entry) -> list[Chart]:
        where = f"{self._name}: entry {place + 1}"
        try:
            patient = fhir.PATIENT.decode(entry.resource)
        except fhir.UNREADABLE:
            self._defects.append(Defect("malformed", where))
            return []
        chart = Chart.of(patient, where=where, now=self._now)
        for address in (entry.fullUrl, f"Patient/{patient.id}" if patient.id else ""):
            if address:
                self._charts.setdefault(address, chart)
        return [chart]

    def _statement(self, kind: str, place: int, entry: fhir.Entry) -> None:
        where = f"{self._name}: {kind}, entry {place + 1}"
        decoder = fhir.OBSERVATION if kind == "Observation" else fhir.CONDITION
        try:
            said: fhir.Observation | fhir.Condition = decoder.decode(entry.resource)
        except fhir.UNREADABLE:
            self._defects.append(Defect("malformed", where))
            return
        if said.id and (kind, said.id) in self._seen:
            self._defects.append(Defect("duplicate", where))
            return
        self._seen.add((kind, said.id))
        chart = self._charts.get(said.subject.reference) or self._charts.get(
            "/".join(said.subject.reference.rsplit("/", 2)[-2:])
        )
        if chart is None:
            self._defects.append(Defect("dangling-reference", where))
        elif isinstance(said, fhir.Condition):
            self._condition(chart, said, where)
        else:
            self._observation(chart, said, where)

    def _codes(self, concept: fhir.Concept, where: str, field: str = "") -> Iterator[Code]:
        """The codes of a concept that can be codes of their systems."""
        for coding in concept.coding:
            if not is_possible(coding.system, coding.code):
                self._defects.append(Defect("wrong-code", where, field))
            elif self._index.system.get(coding.code, coding.system) != coding.system:
                self._defects.append(Defect("wrong-code-system", where, field))
            else:
                yield coding.system, coding.code

    def _condition(self, chart: Chart, said: fhir.Condition, where: str) -> None:
        findings = [
            finding
            for code in self._codes(said.code, where)
            for finding in self._index.findings.get(code, ())
        ]
        status = {coding.code for coding in said.verificationStatus.coding}
        if not findings or _REFUTED in status:
            return
        if _WITHDRAWN in status:
            self._defects.append(Defect("not-final", where))
            return
        text = said.onsetDateTime or said.recordedDate
        try:
            at = chart.moment(text) if text else None
        except Refused as refused:
            self._defects.append(Defect(refused.kind, where))
            return
        for name, value in findings:
            chart.said[name].append(Said(value, at, stale=False))

    def _observation(self, chart: Chart, said: fhir.Observation, where: str) -> None:
        parts = [(said.code, said.valueQuantity)]
        parts += [(part.code, part.valueQuantity) for part in said.component]
        codes = [(code, given) for concept, given in parts for code in self._codes(concept, where)]
        measured = [
            (self._index.quantities[code], given)
            for code, given in codes
            if code in self._index.quantities
        ]
        asked = [self._index.asked[code] for code, _ in codes if code in self._index.asked]
        if not measured and not asked:
            return
        if said.status not in _FINAL:
            self._defects.append(Defect("not-final", where))
            return
        try:
            at = chart.moment(self._when(said))
        except Refused as refused:
            self._defects.append(Defect(refused.kind, where))
            return
        for name, given in measured:
            try:
                value = _measured(name, given)
            except Refused as refused:
                self._defects.append(Defect(refused.kind, where, name))
            else:
                chart.said[name].append(Said(value, at, stale=True))
        for name in asked:
            self._answer(chart, name, said, at=at, where=where)

    def _answer(
        self, chart: Chart, name: str, said: fhir.Observation, *, at: datetime, where: str
    ) -> None:
        if said.valueCodeableConcept is None:
            self._defects.append(Defect("no-value", where, name))
            return
        found = {
            value
            for code in self._codes(said.valueCodeableConcept, where, name)
            for field, value in self._index.findings.get(code, ())
            if field == name
        }
        if len(found) == 1:
            chart.said[name].append(Said(found.pop(), at, stale=True))
        else:
            self._defects.append(Defect("wrong-code", where, name))

    def _when(self, said: fhir.Observation) -> str:
        """When it was measured; if it does not say so itself, when the visit began."""
        own = said.effectiveDateTime or said.effectiveInstant or said.effectivePeriod.start
        return own or self._visits.get(said.encounter.reference, "")

    @cached_property
    def _visits(self) -> dict[str, str]:
        """When each visit began, by its address; only made where an observation has no date."""
        visits = {}
        for entry in self._entries:
            try:
                if fhir.HEAD.decode(entry.resource).resourceType == "Encounter":
                    visit = fhir.ENCOUNTER.decode(entry.resource)
                    visits[entry.fullUrl] = visits[f"Encounter/{visit.id}"] = visit.period.start
            except fhir.UNREADABLE:
                continue
        return visits


def _measured(name: str, given: fhir.Quantity | None) -> float:
    if given is None or given.value is None:
        raise Refused("no-value")
    if given.comparator:
        raise Refused("comparator")
    if isinstance(given.value, bool) or not isinstance(given.value, int | float):
        raise Refused("not-a-number")
    if given.system != _UCUM or not given.code:
        raise Refused("unit-missing")
    return quantity(name, float(given.value), given.code)
