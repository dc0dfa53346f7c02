"""A table is read by its mapping; a faulty line or cell is named and costs only itself."""

from datetime import UTC, datetime

import pytest

from hospital_node.data import importing, mapping
from hospital_node.data.csv_file import CsvFile
from twinward.errors import DataError, UsageError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAPPING = """
format = "csv"
record = "MRN"
delimiter = ";"
encoding = "cp1252"
decimal = ","
[fields.age]
born = "Geburt"
at = "Datum"
[fields.sex]
column = "Geschlecht"
codes = { m = 1, w = 0 }
[fields.chol]
column = "Cholesterin"
unit = "mmol/L"
zero_is_missing = true
[fields.fbs]
column = "Zucker"
unit = "mg/dL"
[fields.num]
column = "Stenose"
codes = { keine = 0, "größer 50 %" = 1 }
"""
HEAD = "Name;MRN;Geburt;Datum;Geschlecht;Cholesterin;Zucker;Stenose"
SOUND = "Maier;A1;1950-06-30;2020-01-31;w;5,2;126,5;größer 50 %"


def source(tmp_path, *lines, text=MAPPING, encoding="cp1252"):
    path, toml = tmp_path / "t.csv", tmp_path / "m.toml"
    path.write_bytes("\n".join(lines).encode(encoding, errors="surrogateescape"))
    toml.write_text(text, encoding="utf-8")
    return CsvFile(path, mapping.read(toml), now=NOW)


def read(tmp_path, *lines, **how):
    parts = list(source(tmp_path, HEAD, *lines, **how).parts(skip=0))
    drafts = {draft.record: draft for part in parts for draft in part.drafts}
    return drafts, [(d.kind, d.where, d.field) for part in parts for d in part.defects]


def test_columns_become_fields_in_the_units_of_the_models(tmp_path):
    drafts, defects = read(tmp_path, SOUND)
    assert defects == []
    assert drafts["A1"].values == {
        "age": 69.0,
        "sex": 0.0,
        "chol": pytest.approx(201.058),
        "fbs": 1.0,
        "num": 1.0,
    }
    assert drafts["A1"].qualifies


def changed(place, cell):
    cells = SOUND.split(";")
    cells[place] = cell
    return ";".join(cells)


VALUES = {
    "wrong-code": (changed(4, "x"), "sex"),
    "not-a-number": (changed(5, "viel"), "chol"),
    "comparator": (changed(5, "<2"), "chol"),
    "out-of-range": (changed(5, "200"), "chol"),
    "bad-date": (changed(3, "31.01.2020"), "age"),
    "future-date": (changed(3, "2031-01-31"), "age"),
    "before-birth": (changed(3, "1940-01-31"), "age"),
    "incomplete": (changed(7, ""), "num"),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_faulty_cell_costs_that_value(tmp_path, kind):
    line, field = VALUES[kind]
    drafts, defects = read(tmp_path, line)
    assert defects == [(kind, "t.csv:2", field)]
    assert drafts["A1"].values.keys() == {"age", "sex", "chol", "fbs", "num"} - {field}
    assert drafts["A1"].qualifies == (field != "num")


LINES = {
    "wrong-columns": "zu;kurz",
    "no-identifier": changed(1, " "),
    "truncated": '"und dann war die Datei zu Ende',
}


@pytest.mark.parametrize("kind", LINES)
def test_a_faulty_line_costs_that_patient(tmp_path, kind):
    drafts, defects = read(tmp_path, SOUND, LINES[kind])
    assert list(drafts) == ["A1"]
    assert [(each, where) for each, where, _ in defects] == [(kind, "t.csv:3")]


def test_bytes_that_are_no_text_cost_that_line(tmp_path):
    text = MAPPING.replace("cp1252", "utf-8")
    drafts, defects = read(tmp_path, "B\udcff" + SOUND, SOUND, text=text, encoding="utf-8")
    assert list(drafts) == ["A1"]
    assert defects == [("not-text", "t.csv:2", "")]


def test_zero_and_markers_mean_not_recorded(tmp_path):
    for cell in ("0", "", "?", "NA"):
        assert "chol" not in read(tmp_path, changed(5, cell))[0]["A1"].values


def test_a_table_without_the_columns_is_refused_before_a_patient_is_read(tmp_path):
    with pytest.raises(UsageError, match="Geschlecht") as refused:
        source(tmp_path, HEAD.replace("Geschlecht", "Sex"), SOUND)
    assert refused.value.code == "TW7202"
    with pytest.raises(DataError) as refused:
        source(tmp_path)
    assert refused.value.code == "TW7201"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("format = 1", "format"),
        ("", '"csv" or "fhir"'),
        ("format = [", "TOML"),
        (MAPPING.replace("fields.sex", "fields.gender"), "no such field"),
        (MAPPING.replace('"mmol/L"', '"kg"'), "cannot become mg/dL"),
        (MAPPING.replace('"mmol/L"', '"mmol per L"'), "no UCUM unit"),
        (MAPPING.replace("w = 0", "w = 2"), "not allowed"),
        (MAPPING.replace('born = "Geburt"', ""), "born"),
        (MAPPING + "\nwhat = 1", "what"),
        (MAPPING.replace("cp1252", "klingon"), "klingon"),
    ],
)
def test_a_wrong_mapping_is_refused_and_names_what_is_wrong(tmp_path, wrong, why):
    with pytest.raises(UsageError) as refused:
        source(tmp_path, HEAD, SOUND, text=wrong)
    assert refused.value.code == "TW7200"
    assert why in refused.value.diagnostic.note


def test_the_mappings_that_are_printed_are_mappings():
    assert mapping.read(importing.CSV_MAPPING).format == "csv"
    assert mapping.read(importing.FHIR_MAPPING).format == "fhir"
