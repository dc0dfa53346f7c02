"""Units are converted as UCUM means them or refused; a mistyped code is noticed."""

import pytest

from hospital_node.data.codes import LOINC, SNOMED, is_possible
from hospital_node.data.units import UnitMismatch, UnitUnknown, factor


@pytest.mark.parametrize(
    ("unit", "to", "mass", "expected"),
    [
        ("mmol/L", "mg/dL", 386.65, 38.665),
        ("mmol/l", "mg/dL", 180.156, 18.0156),
        ("g/L", "mg/dL", None, 100.0),
        ("mg/dL", "mg/dL", None, 1.0),
        ("kPa", "mm[Hg]", None, 1 / 0.133322),
        ("cm", "mm", None, 10.0),
        ("mo", "a", None, 1 / 12),
        ("Hz", "/min", None, 60.0),
        ("{beats}/min", "/min", None, 1.0),
        ("1/min", "/min", None, 1.0),
        ("min-1", "/min", None, 1.0),
        ("[lb_av]", "kg", None, 0.45359237),
    ],
)
def test_conversions(unit, to, mass, expected):
    assert factor(unit, to, mass) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "unit", ["mmHg", "mg//dL", "mg dL", "", "g.", "MG/dL", "Cel", "x" * 99, "/0", "m99"]
)
def test_what_is_no_unit_is_refused(unit):
    with pytest.raises(UnitUnknown):
        factor(unit, "mg/dL")


@pytest.mark.parametrize(
    ("unit", "to"), [("kg", "mm[Hg]"), ("mmol/L", "mg/dL"), ("mg", "mg/dL"), ("s", "/min")]
)
def test_what_measures_something_else_is_refused(unit, to):
    with pytest.raises(UnitMismatch):
        factor(unit, to)


@pytest.mark.parametrize("code", ["8480-6", "2093-3", "14647-2", "55284-4"])
def test_one_wrong_digit_of_a_loinc_number_is_noticed(code):
    assert is_possible(LOINC, code)
    digits, check = code.split("-")
    assert not any(is_possible(LOINC, f"{digits}-{d}") for d in "0123456789" if d != check)


@pytest.mark.parametrize("code", ["53741008", "429559004", "368581000119106"])
def test_one_wrong_digit_and_two_swapped_ones_of_a_snomed_code_are_noticed(code):
    assert is_possible(SNOMED, code)
    for place, digit in enumerate(code):
        for other in set("0123456789") - {digit}:
            assert not is_possible(SNOMED, code[:place] + other + code[place + 1 :])
    for place in range(len(code) - 1):
        swapped = code[:place] + code[place + 1] + code[place] + code[place + 2 :]
        assert swapped == code or not is_possible(SNOMED, swapped)
