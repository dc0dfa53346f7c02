"""A released model is measured at a hospital, also after a crash, and anyone checks the report."""

import json

import pytest
from click.testing import CliRunner

from hospital_node.twins.cli import twin
from tests.simulators.network import eventually
from twinward import canonical

pytestmark = pytest.mark.slow


def test_a_model_is_measured_recorded_handed_out_and_checked_offline(network, tmp_path):
    run, name = network.complete_run(), network.hospitals[0]
    command = network.stage.command
    # The node is dead as the model is taken in: what was asked for waits on disk.
    network.kill(name)
    taken = command("twin", "validate", "model", name, run.release["pack"], "--wait", "0")
    assert taken["report"] is None
    network.up(name)
    folder = network.folder / name / "state" / "validation" / taken["model"]
    eventually(lambda: len(list(folder.glob("*Z.ledger.json"))) == 1)
    (path,) = folder.glob("*Z.json")
    assert path.stat().st_mode & 0o077 == 0
    (standing,) = network.status(name)["validation"]
    assert (standing["overdue"], standing["trouble"], standing["on_ledger"]) == (False, None, True)
    # One message left for it, and it held a digest.
    log = (network.folder / name / "state" / "egress.jsonl").read_text()
    assert log.count('"kind": "validation"') == 1

    founding = network.folder / "coordinator" / "founding.json"

    def check(report):
        arguments = ["validate", "check", str(report), "--founding", str(founding), "--json"]
        return CliRunner().invoke(twin, arguments)

    whole = json.loads(check(path).stdout)
    assert whole["ok"]
    assert whole["kept_back"] == 0
    # What is handed out is part of what the ledger holds, and without exact figures.
    copy = tmp_path / "copy.json"
    out = command(
        "twin", "validate", "hand-out", str(path), "--out", str(copy.with_suffix(".html"))
    )
    assert "Does it rank patients rightly?" in out["left_out"]
    checked = json.loads(check(copy).stdout)
    assert (checked["digest"], checked["kept_back"]) == (whole["digest"], len(out["left_out"]))
    # A figure that was changed is noticed.
    changed = canonical.decode(copy.read_bytes())
    section = changed["sections"]["What the network's own evaluation found"]
    section["rows"][0]["note"] = "better than it is"
    copy.write_bytes(canonical.encode(changed))
    assert "TW7174" in check(copy).output
    # So is the proof of another report beside one that was made later.
    again = command("twin", "validate", "model", name, run.release["pack"])
    assert again["digest"] != whole["digest"]
    newest = max(folder.glob("*Z.json"))
    other = tmp_path / "other.json"
    other.write_bytes(newest.read_bytes())
    other.with_suffix(".ledger.json").write_bytes(path.with_suffix(".ledger.json").read_bytes())
    assert "TW5041" in check(other).output
