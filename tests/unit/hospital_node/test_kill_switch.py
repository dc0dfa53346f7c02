"""The kill switch: on at the next vector, over restarts, without a daemon; damage is on."""

import json

import pytest

from hospital_node import audit_log, kill_switch
from hospital_node.paths import NodePaths
from tests.unit.hospital_node.test_approvals import refused
from tests.unit.hospital_node.test_policy_live import live, typed, world  # noqa: F401 - fixtures


def test_it_refuses_the_next_vector_and_lets_the_one_after_resuming_be_made(live):  # noqa: F811
    live.step()
    NodePaths(live.folder).training_stopped.write_text(json.dumps({"by": "anna"}))
    refused("TW6222", live.step)
    assert kill_switch.standing(live.folder) == {"since": None, "by": "anna", "reason": ""}
    NodePaths(live.folder).training_stopped.unlink()
    live.step()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\x00"])
def test_a_damaged_switch_is_on(live, content):  # noqa: F811
    NodePaths(live.folder).training_stopped.write_bytes(content)
    refused("TW6222", live.step)
    assert kill_switch.standing(live.folder) is not None


def test_from_the_command_line_without_a_daemon(typed):  # noqa: F811
    first = typed.run("stop-training", typed.folder, "--reason", "audit of our data")
    assert (first["stopped"], first["reason"]) == (True, "audit of our data")
    again = typed.run("stop-training", typed.folder, "--reason", "another one")
    assert (again["since"], again["reason"]) == (first["since"], "audit of our data")
    assert typed.run("resume-training", typed.folder)["was_stopped"]
    assert not typed.run("resume-training", typed.folder)["was_stopped"]
    assert kill_switch.standing(typed.folder) is None
    assert kinds(typed.folder) == ["stop-training", "stop-training", "resume-training"]


def test_it_is_on_although_it_cannot_be_entered_and_off_only_once_it_was(typed):  # noqa: F811
    audit = NodePaths(typed.folder).audit
    audit.rmdir()
    audit.write_text("no folder")
    stopped = typed.run("stop-training", typed.folder, status=1)
    assert stopped["error"]["code"] in {"TW3601", "TW3610", "TW9000"}
    assert kill_switch.standing(typed.folder) is not None
    typed.run("resume-training", typed.folder, status=1)
    assert kill_switch.standing(typed.folder) is not None


def test_a_folder_that_is_no_node_is_refused(typed, tmp_path):  # noqa: F811
    (tmp_path / "empty").mkdir()
    found = typed.run("stop-training", tmp_path / "empty", status=2)
    assert found["error"]["code"] == "TW1050"
    assert not (tmp_path / "empty" / "state").exists()


def kinds(folder):
    """What the audit log says was done, in order."""
    with audit_log.opened(folder) as audit:
        bodies = [audit.log.body(seq)[1] for seq in range(audit.log.log.size)]
    return [json.loads(body)["subtype"][0]["code"] for body in bodies]
