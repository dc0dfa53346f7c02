"""``twinward twin`` on a founded node's folder: agreed, made, asked, overridden, ended, noted."""

import json

import pytest
from click.testing import CliRunner

from hospital_node import audit_log, membership
from hospital_node.paths import NodePaths
from hospital_node.settings import FILE, NodeSettings, write
from hospital_node.twins.cli import twin
from tests.simulators.founding import Paper

RECORD = "MRN-0042-8876"


@pytest.fixture(scope="module")
def diary(tmp_path_factory):
    path = tmp_path_factory.mktemp("diary") / "diary.csv"
    assert run("example", path, "--days", "6").exit_code == 0
    return path


@pytest.fixture
def node(tmp_path):
    paper = Paper(tmp_path)
    founding = paper.found()
    folder = paper.members["harbour"].folder
    membership_file = paper.members["harbour"].founding_file
    membership_file.write_bytes(founding.document.encode())
    assert membership.load_founding(folder)
    write(
        folder / FILE,
        NodeSettings(org="harbour", data=folder / "data", desk_port=9500, flower_port=9501),
    )
    return folder


def run(*arguments):
    return CliRunner().invoke(twin, [str(each) for each in arguments])


def made(node, diary):
    assert run("agree", node, RECORD).exit_code == 0
    result = run("individualise", node, RECORD, "--history", diary)
    assert result.exit_code == 0, result.output


def entered(node):
    with audit_log.opened(node) as audit:
        size = audit.log.log.size
        return [json.loads(audit.log.log.leaf(seq))["kind"] for seq in range(size)]


def test_half_a_dose_less_is_higher_and_one_dose_more_is_lower(node, diary, tmp_path):
    made(node, diary)
    plot = tmp_path / "fan.svg"
    asked = run(
        "what-if", node, RECORD, "--change", "bolus=2@0", "--change", "carbs=30@0",
        "--plot", plot, "--json",
    )  # fmt: skip
    answer = json.loads(asked.stdout)
    assert answer["schema"] == "twinward/twin.what_if/v1"
    planned, dose, food = (row[-1] for row in answer["middle"])
    assert dose < planned < food
    assert all(low < mid for low, mid in zip(answer["low"][0], answer["middle"][0], strict=True))
    held = {each["minutes"]: each for each in answer["coverage"]}
    assert 0.85 < held[60.0]["share"] < 0.95
    assert answer["limits"]
    assert plot.read_text().count('class="middle"') == 3
    assert plot.stat().st_mode & 0o077 == 0


def test_each_answer_is_in_the_audit_log_and_no_entry_names_the_patient(node, diary):
    made(node, diary)
    run("what-if", node, RECORD)
    run("override", node, RECORD, "--reason", "fever since this morning")
    assert entered(node) == [
        "twin-agreed", "twin-individualised", "twin-asked", "twin-overridden",
    ]  # fmt: skip
    with audit_log.opened(node) as audit:
        log = audit.log.log
        leaves = b"".join(log.leaf(seq) for seq in range(log.size))
    assert RECORD.encode() not in leaves
    assert b"fever" not in leaves


def test_without_an_agreement_no_twin_is_made_and_none_is_asked(node, diary):
    for command in (("individualise", node, RECORD, "--history", diary), ("what-if", node, RECORD)):
        refused = run(*command, "--json")
        assert json.loads(refused.stdout)["error"]["code"] == "TW7122"
        assert refused.exit_code != 0
    assert entered(node) == []


def test_what_was_ended_is_gone_and_cannot_be_asked(node, diary):
    made(node, diary)
    assert run("end", node, RECORD, "--yes").exit_code == 0
    refused = run("what-if", node, RECORD, "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "TW7122"


def test_observations_move_the_twin_on_and_the_same_ones_again_do_not(node, diary, tmp_path):
    made(node, diary)
    lines = diary.read_text().splitlines()
    minute = float(lines[-1].split(",")[0])
    later = tmp_path / "later.csv"
    later.write_text(
        f"time,glucose\n{minute + 5:g},250\n{minute + 10:g},255\n{minute + 15:g},260\n"
    )
    before = json.loads(run("what-if", node, RECORD, "--json").stdout)
    assert run("observe", node, RECORD, "--history", later).exit_code == 0
    after = json.loads(run("what-if", node, RECORD, "--json").stdout)
    assert after["asked_at_minute"] == before["asked_at_minute"] + 15
    assert after["middle"][0][0] > before["middle"][0][0]
    assert run("observe", node, RECORD, "--history", later).exit_code == 0
    again = json.loads(run("what-if", node, RECORD, "--json").stdout)
    assert again["middle"] == after["middle"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "TW7130"),
        ("glucose,time\n100,5\n", "TW7130"),
        ("time,glucose,name\n5,100,x\n", "TW7130"),
        ("time,glucose\n", "TW7131"),
        ("time,glucose\n5,high\n", "TW7131"),
        ("time,glucose\n5,1000\n", "TW7131"),
        ("time,glucose\n5,100\n5,101\n", "TW7131"),
        ("time,glucose\nnoon,100\n", "TW7131"),
        ("time,glucose\n5,100,7\n", "TW7131"),
        ("time,glucose\nnan,100\n", "TW7131"),
    ],
)
def test_a_diary_that_is_wrong_anywhere_is_refused_whole(node, tmp_path, text, code):
    run("agree", node, RECORD)
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(text)
    refused = run("individualise", node, RECORD, "--history", wrong, "--json")
    assert json.loads(refused.stdout)["error"]["code"] == code
    assert "1000" not in refused.stdout


@pytest.mark.parametrize("change", ["bolus", "bolus=much", "=2@0", "insulin=2@0", "bolus=2@600"])
def test_a_change_that_cannot_be_asked_is_refused(node, diary, change):
    made(node, diary)
    refused = run("what-if", node, RECORD, "--change", change, "--json")
    assert json.loads(refused.stdout)["error"]["code"] in {"TW7132", "TW7111"}


def test_a_store_without_its_key_is_not_begun_anew(node, diary):
    made(node, diary)
    (node / "secrets" / "twins.key").unlink()
    refused = run("what-if", node, RECORD, "--json")
    assert json.loads(refused.stdout)["error"]["code"] == "TW7120"
    assert not (node / "secrets" / "twins.key").exists()


def test_nothing_in_the_store_can_be_read_without_the_key(node, diary):
    made(node, diary)
    store = NodePaths(node).twins
    content = b"".join(path.read_bytes() for path in store.parent.glob(store.name + "*"))
    assert RECORD.encode() not in content
    assert b"glucose" not in content.replace(b"glucose/1", b"")


def test_an_answer_is_written_for_the_record_and_only_its_owner_can_read_it(node, diary, tmp_path):
    made(node, diary)
    out = tmp_path / "answer.json"
    assert run("what-if", node, RECORD, "--change", "bolus=2@0", "--fhir", out).exit_code == 0
    assert out.stat().st_mode & 0o777 == 0o600
    bundle = json.loads(out.read_bytes())
    assert [each["resource"]["resourceType"] for each in bundle["entry"]] == [
        "Observation", "RiskAssessment",
    ] * 2  # fmt: skip
    assert run("show", node, RECORD, "--fhir", out).exit_code == 0
    (entry,) = json.loads(out.read_bytes())["entry"]
    assert entry["resource"]["subject"]["identifier"]["value"] == RECORD


def test_a_twin_is_judged_on_whoever_agreed_and_nothing_is_shown_of_few(node, diary):
    made(node, diary)
    judged = run("validate", "twin", node, "glucose/1", "--json")
    assert judged.exit_code == 0, judged.output
    (section,) = json.loads(judged.stdout)["sections"]
    assert section["release"] == "stays at the node"
    assert [row["value"] for row in section["rows"]] == [None]
    assert "10 people" in section["rows"][0]["note"]
    assert "twin-validated" in entered(node)
    (standing,) = json.loads(run("validate", "list", node, "--json").stdout)["validated"]
    assert (standing["what"], standing["overdue"]) == ("glucose/1", False)
