"""Whatever the bytes are: a draft within the contract, or a defect by name; never anything else."""

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hospital_node.data import importing, mapping
from hospital_node.data.contract import FIELDS, is_in_range, is_whole
from hospital_node.data.csv_file import CsvFile
from hospital_node.data.defects import KINDS, Defect
from hospital_node.data.drafts import Refused
from hospital_node.data.fhir.bundle import FhirBundles
from tests.simulators.bundles import bundle, condition, observation, patient
from twinward.errors import DataError, UsageError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BUNDLES = FhirBundles((), mapping.read(importing.FHIR_MAPPING), now=NOW)
TABLE = mapping.read(importing.CSV_MAPPING)
SOUND = bundle(patient(), observation(), observation("2093-3", 200, "mg/dL"), condition())
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
KEYS = sorted({key for entry in json.loads(SOUND)["entry"] for key in entry["resource"]})


def keeps_the_contract(drafts, defects):
    assert {each.kind for each in defects} <= set(KINDS)
    for draft in drafts:
        for name, value in draft.values.items():
            assert is_in_range(value, FIELDS[name].column)
            assert is_whole(value, FIELDS[name].column)


def decoded(data):
    try:
        found = BUNDLES.decode(data, name="b")
    except Refused as refused:
        found = (), (Defect(refused.kind, "b"),)
    keeps_the_contract(*found)


@given(st.binary(max_size=300))
def test_any_bytes_for_a_bundle(data):
    decoded(data)


@given(st.integers(0, len(SOUND) - 1), st.binary(max_size=3), st.integers(0, 4))
def test_a_bundle_with_some_bytes_changed(place, new, gone):
    decoded(SOUND[:place] + new + SOUND[place + gone :])


@given(st.integers(0, 3), st.sampled_from(KEYS), ANYTHING)
def test_a_resource_with_anything_in_any_part(which, key, value):
    value_in = json.loads(SOUND)
    value_in["entry"][which]["resource"][key] = value
    decoded(json.dumps(value_in).encode())


@given(ANYTHING, st.text(max_size=9))
def test_any_amount_in_any_unit(value, unit):
    decoded(bundle(patient(), observation(value=value, unit=unit)))


@pytest.mark.parametrize(
    "value", ["1e999", "-1e999", "1" * 5000, "0." + "0" * 5000 + "1", "[" * 50_000 + "]" * 50_000]
)
def test_numbers_and_nesting_without_end(value):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6)  # as some libraries do
    try:
        endless(value)
    finally:
        sys.setrecursionlimit(before)


def endless(value):
    decoded(SOUND.replace(b"140", value.encode()))
    decoded(SOUND.replace(b'"status": "final"', b'"x": ' + value.encode()))


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_for_a_table(data, with_head):
    names = [field.column for field in TABLE.fields.values()]
    head = ",".join([TABLE.record, *names]).encode() + b"\n" if with_head else b""
    with TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        path.write_bytes(head + data)
        with suppress(DataError, UsageError):
            for part in CsvFile(path, TABLE, now=NOW).parts(skip=0):
                keeps_the_contract(part.drafts, part.defects)
