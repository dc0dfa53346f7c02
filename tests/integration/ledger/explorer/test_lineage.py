"""Lineage as a drawing, as words, as W3C PROV and as FHIR: the same graph in each."""

import re
from xml.etree import ElementTree as ET

import pytest

from tests.simulators.explorer.world import HEART


@pytest.fixture
def digests(world):
    study, _ = world.studies[HEART]
    return [study.hex(), world.heart_plan.hex(), world.release.hex()]


def test_every_record_leads_to_the_whole_lineage(digests, world, auditor):
    for digest in digests:
        page = auditor.get(f"/lineage/{digest}.json").json()
        shown = [row["digest"] for row in page["steps"] if row["digest"]]
        assert shown == digests
        assert [digests[0], digests[1]] in page["edges"]
        assert [f"run {world.run.run.hex()}", digests[2]] in page["edges"]
        assert len(page["approvals"]) == 4


def test_the_drawing_is_well_formed_and_has_a_text_beside_it(digests, auditor):
    text = auditor.get(f"/lineage/{digests[2]}").text
    drawing = ET.fromstring(re.search(r"<svg.*?</svg>", text, re.DOTALL)[0])
    assert drawing.attrib["role"] == "img"
    assert "the list below says the same" in drawing.attrib["aria-label"]
    assert "In words" in text
    assert "style" not in drawing.attrib


def test_prov_json_is_read_by_the_reference_library(digests, world, auditor):
    prov = pytest.importorskip("prov.model", reason="the PROV library is not installed")
    text = auditor.get(f"/lineage/{digests[2]}/prov.json").text
    document = prov.ProvDocument.deserialize(content=text, format="json")
    assert len(list(document.get_records(prov.ProvEntity))) == 3
    assert len(list(document.get_records(prov.ProvActivity))) == 5  # a run and four approvals
    assert len(list(document.get_records(prov.ProvAgent))) == 5
    derived = list(document.get_records(prov.ProvDerivation))
    assert {tuple(str(value).removeprefix("tw:") for _, value in d.formal_attributes[:2])
            for d in derived} == {(digests[1], digests[0]), (digests[2], digests[1])}  # fmt: skip
    generated = list(document.get_records(prov.ProvGeneration))
    assert world.run.run.hex() in str(generated[0])


def test_fhir_provenance_names_targets_agents_and_sources(digests, auditor):
    bundle = auditor.get(f"/lineage/{digests[2]}/fhir.json").json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "collection")
    by_target = {}
    for entry in bundle["entry"]:
        resource = entry["resource"]
        assert resource["resourceType"] == "Provenance"
        assert resource["target"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", resource["recorded"])
        assert all(agent["who"]["identifier"]["value"] for agent in resource["agent"])
        by_target[resource["target"][0]["identifier"]["value"]] = resource
    assert list(by_target) == digests
    model = by_target[digests[2]]
    assert model["entity"][0]["what"]["identifier"]["value"] == digests[1]
    roles = [agent["type"]["coding"][0]["code"] for agent in model["agent"]]
    assert roles == ["author", *["performer"] * 4]
    assert model["occurredPeriod"]["start"] < model["occurredPeriod"]["end"]
    plan = by_target[digests[1]]
    assert [a["type"]["coding"][0]["code"] for a in plan["agent"]].count("verifier") == 4
