"""Questions that an auditor keeps: a name, the question or the SQL, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from twinward import canonical
from twinward.errors import UsageError
from twinward.files import write_atomic

_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    question: str | None
    parameters: dict[str, str]
    sql: str | None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    saved: dict[_Name, _Form] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Saved:
    """One of them: ``question`` with ``parameters``, or ``sql``."""

    question: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    sql: str | None = None


def load(path: Path) -> dict[str, Saved]:
    """Everything in this file, by name; nothing if there is none.

    Raises:
        UsageError: TW3732, it is not such a file.
    """
    if not path.exists():
        return {}
    try:
        read = _File.model_validate(canonical.decode(path.read_bytes(), at=str(path)))
    except (ValidationError, UsageError) as error:
        raise UsageError(
            "this file does not hold saved questions",
            code="TW3732",
            at=str(path),
            help="move it away and save the questions again",
        ) from error
    return {name: Saved(one.question, one.parameters, one.sql) for name, one in read.saved.items()}


def save(path: Path, name: str, what: Saved) -> None:
    """Keep a question under a name; the same name again replaces it.

    Raises:
        UsageError: TW3732 the file holds something else, TW3733 this cannot be a name.
    """
    saved = {**load(path), name: what}
    try:
        form = _File(
            saved={
                key: _Form(question=one.question, parameters=dict(one.parameters), sql=one.sql)
                for key, one in saved.items()
            }
        )
    except ValidationError as error:
        raise UsageError(
            f"`{name}` cannot be the name of a saved question",
            code="TW3733",
            help="use small letters, digits and hyphens, starting with a letter",
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, canonical.encode(form.model_dump()))


def find(path: Path, name: str) -> Saved:
    """The saved question of this name.

    Raises:
        UsageError: TW3734, there is none.
    """
    try:
        return load(path)[name]
    except KeyError as error:
        raise UsageError(
            f"no question is saved under `{name}`",
            code="TW3734",
            at=str(path),
            help="save one with `twinward audit save`",
        ) from error
