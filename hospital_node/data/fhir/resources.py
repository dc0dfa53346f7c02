"""The few parts of FHIR R4 resources that an import reads, decoded from JSON with their types.

Anything else in a resource is skipped without being built, which is where the speed is from. A part
of a wrong type makes its own resource malformed and no other. https://hl7.org/fhir/R4/json.html
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct


class Coding(Struct, frozen=True, gc=False):
    """A code and the address of its system."""

    system: str = ""
    code: str = ""


class Concept(Struct, frozen=True, gc=False):
    """What somebody meant, in one or several code systems."""

    coding: tuple[Coding, ...] = ()


class Reference(Struct, frozen=True, gc=False):
    """Another resource, by its address in the bundle, or by type and id."""

    reference: str = ""


class Quantity(Struct, frozen=True, gc=False):
    """A measured amount; ``code`` is its unit as ``system`` has it."""

    value: Any = None
    unit: str = ""
    system: str = ""
    code: str = ""
    comparator: str = ""


class Period(Struct, frozen=True, gc=False):
    """From when on."""

    start: str = ""


class Identifier(Struct, frozen=True, gc=False):
    """A number that somebody gave to the patient."""

    type: Concept = Concept()
    value: str = ""


class Patient(Struct, frozen=True, gc=False):
    """A person."""

    id: str = ""
    identifier: tuple[Identifier, ...] = ()
    gender: str = ""
    birthDate: str = ""  # noqa: N815 - FHIR's


class Component(Struct, frozen=True, gc=False):
    """One of several measurements of an observation."""

    code: Concept
    valueQuantity: Quantity | None = None  # noqa: N815


class Observation(Struct, frozen=True, gc=False):
    """Something measured or found."""

    code: Concept
    status: str = ""
    subject: Reference = Reference()
    encounter: Reference = Reference()
    id: str = ""
    effectiveDateTime: str = ""  # noqa: N815
    effectivePeriod: Period = Period()  # noqa: N815
    effectiveInstant: str = ""  # noqa: N815
    valueQuantity: Quantity | None = None  # noqa: N815
    valueCodeableConcept: Concept | None = None  # noqa: N815
    component: tuple[Component, ...] = ()


class Condition(Struct, frozen=True, gc=False):
    """A diagnosis or finding."""

    code: Concept
    subject: Reference = Reference()
    id: str = ""
    verificationStatus: Concept = Concept()  # noqa: N815
    onsetDateTime: str = ""  # noqa: N815
    recordedDate: str = ""  # noqa: N815


class Encounter(Struct, frozen=True, gc=False):
    """A visit; read only where an observation has no date of its own."""

    id: str = ""
    period: Period = Period()


class Head(Struct, frozen=True, gc=False):
    """What a resource is, before anything else of it is decoded."""

    resourceType: str = ""  # noqa: N815


class Entry(Struct, frozen=True, gc=False):
    """One resource of a bundle with its address there; not decoded yet."""

    fullUrl: str = ""  # noqa: N815
    resource: Raw = Raw()


class Bundle(Struct, frozen=True, gc=False):
    """The file."""

    resourceType: str = ""  # noqa: N815
    entry: tuple[Entry, ...] | None = None


UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What a decoder raises when bytes are not what it is for; too deep a nesting included."""

BUNDLE = msgspec.json.Decoder(Bundle)
HEAD = msgspec.json.Decoder(Head)
PATIENT = msgspec.json.Decoder(Patient)
OBSERVATION = msgspec.json.Decoder(Observation)
CONDITION = msgspec.json.Decoder(Condition)
ENCOUNTER = msgspec.json.Decoder(Encounter)
