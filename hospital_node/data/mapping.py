"""A mapping file: which column or code of a hospital's own data is which field of the models.

TOML, written by the hospital, read strictly: an unknown key, a field that no model has, a unit that
cannot become the field's own, a code whose value the field cannot hold are refused before a record
is read. ``hospital_node/data/fhir/heart.toml`` is the one for FHIR that is used when none is given.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from hospital_node.data.codes import SYSTEMS
from hospital_node.data.contract import FIELDS
from hospital_node.data.drafts import Refused, checked
from hospital_node.data.units import UnitMismatch, UnitUnknown, factor
from models.cardiac_risk.inputs import LABEL
from twinward.errors import UsageError
from twinward.files import read_given

_CODE = re.compile(r"([a-z]+):(\S+)|(\S+)\|(\S+)")

Code = tuple[str, str]
"""A code with the address of its system before it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CsvField(_Part):
    """Where one field stands in a table."""

    column: str = ""
    unit: str | None = None
    """UCUM unit of the column; the field's own if it is not said."""
    codes: dict[str, float] | None = None
    """What the cells say, to what the models expect; a cell that is not in it is a wrong code."""
    zero_is_missing: bool = False
    born: str = ""
    """For the age: the column with the date of birth, in place of ``column``."""
    at: str = ""
    """For the age: the column with the date at which the patient had it."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if bool(self.column) == bool(self.born and self.at):
            raise ValueError("give `column`, or both `born` and `at`")
        return self


class CsvMapping(_Part):
    """A table with one patient a line."""

    format: Literal["csv"]
    record: str
    """The column with the hospital's own number of the patient."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    encoding: str = "utf-8"
    decimal: Literal[".", ","] = "."
    missing: tuple[str, ...] = ("", "?", "NA")
    required: tuple[str, ...] = (LABEL.name,)
    """Without these a patient is kept and does not qualify."""
    fields: dict[str, CsvField]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _require_fields((*self.fields, *self.required))
        "".encode(self.encoding)
        for name, field in self.fields.items():
            if field.born and name != "age":
                raise ValueError(f"fields.{name}: only an age is made of dates")
            _require_unit(name, field.unit)
            _require_values(name, (field.codes or {}).values())
        return self


class FhirField(_Part):
    """Which codes say one field."""

    quantities: tuple[str, ...] = ()
    """Codes of observations, or of their components, that measure it."""
    asked: tuple[str, ...] = ()
    """Codes of observations whose coded answer is looked up in ``findings``."""
    findings: dict[str, float] = {}
    """Codes of conditions and of answers, to what the models expect."""
    absent: float | None = None
    """The value if there is none of these. Only where silence means no; that is for a physician to
    decide, since a record that does not mention a disease does not say that the patient is well."""


class FhirMapping(_Part):
    """Bundles of FHIR R4 resources."""

    format: Literal["fhir"]
    identifier: str = "MR"
    """Type of the identifier that is the hospital's own number (HL7 table 0203)."""
    within_days: int = Field(default=365, ge=1)
    """A value that is older than this, counted from the newest one, is not taken."""
    required: tuple[str, ...] = (LABEL.name,)
    fields: dict[str, FhirField]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _require_fields((*self.fields, *self.required))
        for name, field in self.fields.items():
            if name in ("age", "sex"):
                raise ValueError(f"fields.{name}: it is taken from the Patient itself")
            if field.quantities and FIELDS[name].unit is None:
                raise ValueError(f"fields.{name}: the models expect a code and no quantity")
            for code in (*field.quantities, *field.asked, *field.findings):
                parse_code(code)
            absent = () if field.absent is None else (field.absent,)
            _require_values(name, (*field.findings.values(), *absent))
        return self


Mapping = Annotated[CsvMapping | FhirMapping, Field(discriminator="format")]
_ADAPTER: TypeAdapter[CsvMapping | FhirMapping] = TypeAdapter(Mapping)


def read(path: Path) -> CsvMapping | FhirMapping:
    """The mapping in this file.

    Raises:
        UsageError: TW1070 it cannot be read, TW7200 it is no mapping.
    """
    try:
        return _ADAPTER.validate_python(tomllib.loads(read_given(path).decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, LookupError) as error:
        raise _wrong(path, f"it is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"].startswith("union_tag"):
            raise _wrong(path, 'format: it is "csv" or "fhir"') from error
        key = ".".join(str(part) for part in first["loc"])
        raise _wrong(path, f"{key}: {first['msg']}" if key else first["msg"]) from error


def parse_code(text: str) -> Code:
    """``loinc:8480-6`` or ``http://loinc.org|8480-6`` as system and code.

    Raises:
        ValueError: It is neither.
    """
    match = _CODE.fullmatch(text)
    if match is None or (match[1] and match[1] not in SYSTEMS):
        names = ", ".join(f"{name}:CODE" for name in SYSTEMS)
        raise ValueError(f"`{text}` is no code; write {names} or SYSTEM|CODE")
    return (SYSTEMS[match[1]], match[2]) if match[1] else (match[3], match[4])


def _require_fields(names: tuple[str, ...]) -> None:
    for name in names:
        if name not in FIELDS:
            raise ValueError(f"fields.{name}: there is no such field; {', '.join(FIELDS)}")


def _require_unit(name: str, unit: str | None) -> None:
    wanted = FIELDS[name]
    if unit is None:
        return
    if wanted.unit is None:
        raise ValueError(f"fields.{name}: this field has no unit")
    try:
        factor(unit, wanted.unit, wanted.grams_per_mole)
    except UnitUnknown:
        raise ValueError(f"fields.{name}: `{unit}` is no UCUM unit known here") from None
    except UnitMismatch:
        raise ValueError(f"fields.{name}: `{unit}` cannot become {wanted.unit}") from None


def _require_values(name: str, values: Iterable[float]) -> None:
    for value in values:
        try:
            checked(name, value)
        except Refused:
            column = FIELDS[name].column
            raise ValueError(f"fields.{name}: {value:g} is not allowed; {column.meaning}") from None


def _wrong(path: Path, why: str) -> UsageError:
    return UsageError(
        "this is not a mapping that an import can use",
        code="TW7200",
        at=str(path),
        note=why,
        help="correct the line; `twinward data mapping` prints one to start from",
    )
