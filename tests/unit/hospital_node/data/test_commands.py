"""`twinward data` as its user calls it: what it prints, what it keeps, how it ends."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from hospital_node.data import imported, version
from hospital_node.paths import NodePaths
from tests.simulators.bundles import bundle, condition, observation, patient
from twinward.__main__ import main
from twinward.organisation import Organisation

MAPPING = """
format = "csv"
record = "id"
[fields.age]
column = "age"
[fields.chol]
column = "chol"
unit = "mmol/L"
[fields.num]
column = "num"
"""


def twinward(*words, status=0, typed=None):
    """Run a command; its JSON if it was asked for, what it printed otherwise."""
    ended = CliRunner().invoke(main, [str(word) for word in words], input=typed)
    assert ended.exit_code == status, ended.output
    return json.loads(ended.stdout) if "--json" in words else ended.output


@pytest.fixture
def files(tmp_path):
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "t.csv").write_text("id,age,chol,num\na,50,5,1\nb,60,900,0\nc,70,5,\n,1,1,1\n")
    Organisation(tmp_path / "node").create(
        org="here", role="hospital", ledger_key=bytes(31) + b"\1", ledger_account="0x" + "1" * 40
    )
    return tmp_path


def bring_in(files, *words, **how):
    words = ("--mapping", files / "m.toml", *words)
    return twinward("data", "import", files / "node", files / "t.csv", *words, **how)


def test_an_import_says_what_became_of_each_record(files):
    said = bring_in(files, "--json")
    assert (said["patients"], said["qualifying"]) == (3, 2)
    (source,) = said["sources"]
    assert source["counts"] == {"new": 3, "changed": 0, "same": 0}
    assert source["left_out"] == 1
    assert [(d["defect"], d["where"], d["field"], d["code"]) for d in source["defects"]] == [
        ("out-of-range", "t.csv:3", "chol", "TW7230"),
        ("incomplete", "t.csv:4", "num", "TW7239"),
        ("no-identifier", "t.csv:5", "", "TW7218"),
    ]
    again = bring_in(files, "--json")
    assert again["sources"][0]["imported_before"]
    assert again["qualifying"] == 2


def test_people_read_counts_and_the_next_step(files):
    said = bring_in(files)
    assert "t.csv: 3 new; 1 left out" in said
    assert "1 x out-of-range (TW7230)" in said
    assert "2 of 3 patients qualify" in said
    assert "Next: twinward node init" in said
    assert "900" not in said


def test_a_dry_run_says_the_same_and_keeps_nothing(files):
    said = bring_in(files, "--dry-run", "--json")
    assert (said["qualifying"], said["report"]) == (2, None)
    assert not NodePaths(files / "node").patients.exists()
    assert not (files / "node" / "patients.key").exists()


def test_the_report_is_private_complete_and_loads_nothing(files):
    bring_in(files)
    said = twinward("data", "report", files / "node", "--json")
    page = NodePaths(files / "node").reports / "data.html"
    assert said["report"] == str(page)
    for path in (page, page.with_suffix(".json")):
        assert path.stat().st_mode & 0o077 == 0
    html = page.read_text()
    assert "2 of 3" in html
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html
    assert "<script" not in html
    assert {"out-of-range", "incomplete", "no-identifier"} <= {d["defect"] for d in said["defects"]}
    chol = next(field for field in said["fields"] if field["name"] == "chol")
    assert (chol["recorded"], chol["share"], chol["unit"]) == (1, 0.5, "mg/dL")


def test_the_report_names_the_version_that_goes_to_the_ledger(files):
    bring_in(files)
    said = twinward("data", "report", files / "node", "--json")
    key = Organisation(files / "node").identity().derive(version.PURPOSE)
    table = imported.read(NodePaths(files / "node").patients, hospital="here")
    assert said["version"] == version.root(table, key=key).hex()


def test_file_names_cannot_put_markup_into_the_report(files):
    evil = files / "<img src=x onerror=alert(1)>.json"
    evil.write_bytes(bundle(patient(), observation(unit="kg"), condition()))
    twinward("data", "import", files / "node", evil)
    assert "<img" not in (NodePaths(files / "node").reports / "data.html").read_text()


def test_a_patient_is_erased_by_number(files):
    bring_in(files)
    assert twinward("data", "forget", files / "node", "-", "--yes", "--json", typed="a\n")["erased"]
    assert not twinward("data", "forget", files / "node", "a", "--yes", "--json")["erased"]
    assert twinward("data", "report", files / "node", "--json")["patients"] == 2


def test_an_erased_patient_stays_out_until_staff_let_them_in(files):
    bring_in(files)
    twinward("data", "forget", files / "node", "a", "--yes")
    (files / "t.csv").write_text("id,age,chol,num\na,51,5,1\nd,60,5,0\n")
    for words in (("--dry-run",), ()):
        (source,) = bring_in(files, *words, "--json")["sources"]
        (defect,) = [one for one in source["defects"] if one["defect"] == "erased"]
        assert (defect["code"], defect["where"], defect["lost"]) == ("TW3186", "t.csv:2", "patient")
        assert source["counts"]["new"] == 1
    assert "1 x erased (TW3186)" in bring_in(files)
    assert not twinward("data", "again", files / "node", "b", "--yes", "--json")["let_in"]
    assert twinward("data", "again", files / "node", "-", "--json", typed="a\ny\n")["let_in"]
    (source,) = bring_in(files, "--json")["sources"]
    assert (source["counts"]["new"], source["left_out"]) == (1, 0)


def test_wrong_calls_end_with_their_status(files):
    error = twinward("data", "import", files / "node", files / "t.csv", "--json", status=2)
    assert error["error"]["code"] == "TW7207"
    (files / "empty").mkdir()
    error = twinward("data", "import", files / "node", files / "empty", "--json", status=3)
    assert error["error"]["code"] == "TW7201"
    twinward("data", "import", files / "node", files / "absent", status=2)
    twinward("data", "fetch", "weather", "--from", "https://x", status=2)
    error = twinward(
        "data", "fetch", "heart", "--from", "http://example.org", "--out", files, "--json", status=2
    )
    assert error["error"]["code"] == "TW7240"


def test_the_mappings_that_are_printed_can_be_used(files):
    for kind in ("csv", "fhir"):
        (files / "printed.toml").write_text(twinward("data", "mapping", "--format", kind))
    (files / "one.json").write_bytes(bundle(patient(), observation(), condition()))
    said = twinward(
        "data", "import", files / "node", files / "one.json", "--mapping", files / "printed.toml",
        "--json",
    )  # fmt: skip
    assert said["qualifying"] == 1


@pytest.mark.slow
def test_an_import_that_is_killed_again_and_again_ends_as_if_it_never_was(files):
    lines = [f"p{n},{30 + n % 60},5,{n % 2}" for n in range(24_000)]
    (files / "t.csv").write_text("\n".join(["id,age,chol,num", *lines, lines[7]]))
    words = ("data", "import", str(files / "node"), str(files / "t.csv"))
    command = [sys.executable, "-m", "twinward", *words, "--mapping", str(files / "m.toml")]
    killed = 0
    for wait in (0.05, 0.5, 0.65, 0.8):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        # Not before it writes: a process that is killed while it imports modules shows nothing.
        while not NodePaths(files / "node").patients.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(wait)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed >= 2
    said = bring_in(files, "--json")
    (source,) = said["sources"]
    assert source["counts"] == {"new": 24_000, "changed": 0, "same": 0}
    assert [each["defect"] for each in source["defects"]] == ["duplicate"]
    assert said["patients"] == 24_000


def test_a_node_is_made_on_what_was_imported_before(tmp_path):
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "t.csv").write_text("id,age,chol,num\na,50,5,1\nb,60,5,0\n")
    node, mapping = tmp_path / "node", tmp_path / "m.toml"
    twinward("data", "import", node, tmp_path / "t.csv", "--mapping", mapping)
    store = NodePaths(node).patients
    twinward("node", "init", node, "--name", "harbour", "--data", store, "--json")
    assert f'data = "{store}"' in (node / "node.toml").read_text()
    said = twinward("data", "report", node, "--json")
    assert (said["qualifying"], len(said["version"]), said["enough"]) == (2, 64, False)


def test_a_node_is_not_made_before_anybody_qualifies(tmp_path):
    store = NodePaths(tmp_path / "node").patients
    words = ("node", "init", tmp_path / "node", "--name", "harbour", "--data", store, "--json")
    assert twinward(*words, status=3)["error"]["code"] == "TW7205"
    assert not (tmp_path / "node" / "secrets").exists()
