"""A coach's rules from a JSON file that people edit: read strictly, or refused with the place.

    {"v": 1, "twin": "wellness/1", "rules": [
      {"name": "short sleep", "quantity": "sleep_hours", "is": "below", "own_percentile": 10,
       "for_days": 3, "say": "Sleep was short for three days."}]}

``own_percentile`` compares with the person's own days; ``value`` instead with a number. Rules are
evaluated at the hospital and nowhere else.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models import twins
from models.baseline.rules import Rule
from models.twin import TwinSpec
from twinward.errors import UsageError

EXAMPLE = """{
  "v": 1,
  "twin": "wellness/1",
  "rules": [
    {
      "name": "short sleep",
      "quantity": "sleep_hours",
      "is": "below",
      "own_percentile": 10,
      "for_days": 3,
      "say": "Sleep was short for three days in a row."
    },
    {
      "name": "hardly a step",
      "quantity": "steps",
      "is": "below",
      "value": 1500,
      "for_days": 2,
      "say": "Hardly any steps on two days in a row."
    }
  ]
}
"""
_MOST_RULES = 100


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class _RuleForm(_Strict):
    name: str = Field(min_length=1, max_length=80)
    quantity: str
    side: Literal["below", "above"] = Field(alias="is")
    own_percentile: float | None = Field(default=None, gt=0, lt=100)
    value: float | None = None
    for_days: int = Field(ge=1, le=60)
    say: str = Field(min_length=1, max_length=300)


class _File(_Strict):
    v: int = Field(ge=1, le=1)
    twin: str
    rules: tuple[_RuleForm, ...] = Field(min_length=1, max_length=_MOST_RULES, strict=False)


def read(text: str) -> tuple[str, tuple[Rule, ...]]:
    """The twin that the rules are about, and the rules.

    Raises:
        UsageError: TW7160, the file is not a list of rules, with the place.
        TwinModelError: TW7115, there is no such twin.
    """
    try:
        form = _File.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise _bad(place, first["msg"]) from error
    spec = twins.get(form.twin).spec
    names = [rule.name for rule in form.rules]
    if len(set(names)) < len(names):
        raise _bad("rules", "two have the same name")
    return form.twin, tuple(_rule(each, spec, number) for number, each in enumerate(form.rules))


def _rule(form: _RuleForm, spec: TwinSpec, number: int) -> Rule:
    place = f"rules.{number}"
    quantities = {each.name: each for each in spec.inputs}
    if form.quantity not in quantities:
        raise _bad(f"{place}.quantity", f"`{spec.name}` has none of this name")
    if (form.own_percentile is None) == (form.value is None):
        raise _bad(place, "give either `own_percentile` or `value`")
    known = quantities[form.quantity]
    if form.value is not None and not known.low <= form.value <= known.high:
        raise _bad(f"{place}.value", f"it is not between {known.low:g} and {known.high:g}")
    return Rule(
        name=form.name,
        quantity=form.quantity,
        below=form.side == "below",
        own_percentile=form.own_percentile,
        value=form.value,
        days=form.for_days,
        say=form.say,
    )


def _bad(place: str, why: str) -> UsageError:
    return UsageError(
        f"these rules cannot be used: {why}",
        code="TW7160",
        at=place,
        help="see `twinward twin rules --example`; nothing was evaluated",
    )
