"""The same rows as JSON, CSV and cells; vendored files only as they were reviewed."""

import csv
import io

import pytest

from twinward.errors import InternalError, UsageError
from twinward.web import files, serve
from twinward.web.table import Column, table

ROWS = table(
    "Trial",
    (
        Column("name", "Name", href="/who/{name}"),
        Column("at", "Time (UTC)", "time"),
        Column("spent", "Spent", "number"),
        Column("digest", "Digest", "digest"),
    ),
    ({"name": "a b/c", "at": 1_800_000_000, "spent": 1234, "digest": "ab" * 32}, {"name": None}),
)


def test_json_has_whole_values_and_iso_times():
    assert ROWS.as_json() == [
        {"name": "a b/c", "at": "2027-01-15T08:00:00Z", "spent": 1234, "digest": "ab" * 32},
        {"name": None, "at": None, "spent": None, "digest": None},
    ]


@pytest.mark.parametrize("text", ['=HYPERLINK("evil")', "+1", "-1+1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_a_csv_is_a_formula(text):
    made = table(
        "T", (Column("said", "Said"), Column("n", "N", "number")), [{"said": text, "n": -2}]
    )
    (_, (said, number)) = csv.reader(io.StringIO(made.as_csv(), newline=""))
    assert said == f"'{text}"
    assert number == "-2"


def test_cells_for_people():
    name, at, spent, _ = ROWS.columns
    assert at.shown(ROWS.rows[0]) == "2027-01-15 08:00:00 UTC"
    assert spent.shown(ROWS.rows[0]) == "1,234"
    assert name.leads_to(ROWS.rows[0]) == "/who/a%20b/c"
    assert name.leads_to(ROWS.rows[1]) is None


def test_a_vendored_file_that_was_changed_is_not_served(tmp_path):
    ((name, sha256),) = files.VENDORED.items()
    (tmp_path / name).write_bytes((files.FOLDER / name).read_bytes() + b" ")
    changed = files.Files(tmp_path, {name: sha256})
    with pytest.raises(InternalError) as refused:
        changed.address(name)
    assert refused.value.code == "TW7023"


def test_every_script_is_vendored_with_its_hash():
    assert {path.name for path in files.FOLDER.glob("*.js")} == set(files.VENDORED)


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "::", "explorer.example"])
def test_no_site_is_open_to_others_without_tls(host):
    with pytest.raises(UsageError) as refused:
        serve.origin_of(host, 80, tls=False)
    assert refused.value.code == "TW7022"


def test_origins():
    assert serve.origin_of("127.0.0.1", 9450, tls=False) == "http://127.0.0.1:9450"
    assert serve.origin_of("::1", 9450, tls=False) == "http://[::1]:9450"
    assert serve.origin_of("audit.example", 443, tls=True) == "https://audit.example"


def test_a_port_in_use_is_named():
    first = serve.listen("127.0.0.1", 0)
    with first, pytest.raises(UsageError) as refused:
        serve.listen("127.0.0.1", first.getsockname()[1])
    assert refused.value.code == "TW7021"
