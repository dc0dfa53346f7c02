"""Published examples of Consent parse and go through both releases, or an element is named."""

import json
from pathlib import Path

import pytest

from consent.fhir.refusal import Refused
from consent.fhir.releases import to_r4, to_r5
from consent.fhir.resource import Release, parse

EXAMPLES = Path(__file__).parent / "examples"


def example(name):
    return json.loads((EXAMPLES / f"{name}.json").read_text())


@pytest.mark.parametrize(
    "name",
    ["r4/notThis", "r4/notAuthor", "r4/notTime", "r4/notThem", "r4/grantor", "r4/ips-labRep-01"],
)
def test_an_r4_example_comes_back_from_r5_as_it_was(name):
    given = parse(example(name), release=Release.R4)
    exported = parse(to_r5(given), release=Release.R5)
    assert to_r4(exported) == given


@pytest.mark.parametrize("name", ["r5/No-Emergency", "r5/smartonfhir"])
def test_an_r5_example_comes_back_from_r4_as_it_was(name):
    given = parse(example(name), release=Release.R5)
    assert to_r5(parse(to_r4(given), release=Release.R4)) == given


@pytest.mark.parametrize(
    ("name", "element"),
    [
        ("r4/smartonfhir", "Consent.provision.provision[0].type"),
        ("r4/signature", "Consent.provision.provision[0].type"),
    ],
)
def test_what_the_other_release_cannot_say_is_refused_by_its_element(name, element):
    given = parse(example(name), release=Release.R4)
    with pytest.raises(Refused) as refused:
        to_r5(given)
    assert refused.value.outcome()["issue"][0]["expression"] == [element]


@pytest.mark.parametrize("name", ["r5/draft-notTime", "r5/draft-Emergency"])
def test_drafts_of_a_release_are_refused_by_the_elements_that_changed(name):
    with pytest.raises(Refused) as refused:
        parse(example(name), release=Release.R5)
    named = {each["expression"][0] for each in refused.value.outcome()["issue"]}
    assert "Consent.dateTime" in named
    assert any(each.startswith("Consent.provision") for each in named)


@pytest.mark.parametrize(
    ("change", "element"),
    [
        ({"status": "on"}, "Consent.status"),
        ({"patient": {"reference": 3}}, "Consent.patient.reference"),
        ({"provision": {"type": "maybe"}}, "Consent.provision.type"),
        (
            {"provision": {"actor": [{"role": {"text": "x"}}]}},
            "Consent.provision.actor[0].reference",
        ),
        ({"unheard": 1}, "Consent.unheard"),
        ({"dateTime": "yesterday"}, "Consent.dateTime"),
        ({"scope": None}, "Consent.scope"),
    ],
)
def test_whatever_is_malformed_is_named(change, element):
    with pytest.raises(Refused) as refused:
        parse(example("r4/notTime") | change, release=Release.R4)
    assert element in {each["expression"][0] for each in refused.value.outcome()["issue"]}


def test_what_is_nested_without_end_is_refused():
    value = example("r4/notTime")
    for _ in range(5000):
        value = {"resourceType": "Consent", "contained": [value]}
    with pytest.raises(Refused):
        parse(value, release=Release.R4)


def test_a_permission_with_conditions_never_reads_wider_in_r5():
    """In R5 provisions are exceptions: read by that rule, everything else stays denied."""
    given = example("r4/notTime") | {"provision": {"type": "permit", "period": {"end": "2027"}}}
    exported = to_r5(parse(given, release=Release.R4))
    assert exported["decision"] == "deny"
    assert exported["provision"] == [{"period": {"end": "2027"}}]
