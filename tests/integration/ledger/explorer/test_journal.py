"""Visits of auditors in the audit log of the organisation whose site it is."""

import json
from collections import Counter

import pytest
from click.testing import CliRunner

from ledger.audit import profiles
from ledger.audit.bodies import AUDITOR, person
from ledger.explorer.cli import explorer as command
from ledger.questions import logbook
from ledger.questions.cli import audit
from tests.integration.ledger.explorer.conftest import PASSPHRASE, let_in, send
from tests.simulators.explorer.world import HEART, World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The coordinator's own folder: its identity lies in it."""
    made = World(tmp_path_factory.mktemp("own"))
    (made.audited / "secrets").mkdir(mode=0o700)
    made.run.coordinator.save(made.audited / "secrets" / "identity.key")
    return made


@pytest.fixture
def entries(explorer):
    """What was entered since the test began: kind, topics, body."""
    log, start = explorer.journal.log, explorer.journal.log.log.size

    def since():
        return [
            (entry["kind"], [t["topic"] for t in entry["topics"]], json.loads(log.body(seq)[1]))
            for seq in range(start, log.log.size)
            for entry in [json.loads(log.log.leaf(seq))]
        ]

    return since


def of_auditor(topics):
    return next(one for one in topics if one.startswith("auditor:"))


def test_who_came_in_and_who_was_refused_is_entered(explorer, stranger, entries):
    name = let_in(explorer, stranger)
    send(stranger, "/sign-out")
    send(stranger, "/sign-in", name=name, passphrase="wrong, wrong, wrong")
    send(stranger, "/sign-in", name="correct horse battery!", passphrase="typed in the wrong field")
    send(stranger, "/sign-in", name=name, passphrase=PASSPHRASE)
    found = entries()
    assert [kind for kind, _, _ in found] == ["sign-in"] * 4
    assert [topics[1:3] for _, topics, _ in found] == [
        ["way:invitation", "outcome:done"],
        ["way:passphrase", "outcome:TW7043"],
        ["way:passphrase", "outcome:TW7043"],
        ["way:passphrase", "outcome:done"],
    ]
    assert all(profiles.problems(body) == [] for _, _, body in found)
    who = [of_auditor(topics) for _, topics, _ in found]
    assert who[0] == who[1] == who[3] != who[2]
    assert "correct horse" not in json.dumps(found)  # whatever was typed as a name
    assert not any(name in topic for _, topics, _ in found for topic in topics)


def test_each_page_is_entered_before_it_is_shown_and_only_what_was_allowed(
    world, explorer, stranger, entries
):
    assert stranger.get("/overview").status_code == 303
    assert entries() == []
    let_in(explorer, stranger)
    for path in world.addresses().values():
        assert stranger.get(path).status_code == 200
    stranger.get("/timeline.csv?kind=Consent.ConsentChanged")
    stranger.get(f"/lineage/{world.release.hex()}/prov.json")
    found = [(topics, body) for kind, topics, body in entries() if kind == "page-asked"]
    asked = [body["entity"][0]["description"] for _, body in found]
    assert asked == [
        *world.addresses().values(),
        "/timeline.csv?kind=Consent.ConsentChanged",
        f"/lineage/{world.release.hex()}/prov.json",
    ]
    assert all(profiles.problems(body) == [] for _, body in found)
    pages = Counter(topic for topics, _ in found for topic in topics if topic.startswith("page:"))
    assert pages["page:timeline"] == 2
    assert not any(world.release.hex() in topic for topics, _ in found for topic in topics)


def test_a_page_that_cannot_be_entered_is_not_shown(explorer, stranger):
    let_in(explorer, stranger)
    explorer.journal.log.log.close()
    answer = stranger.get("/studies")
    assert answer.status_code == 500
    assert "TW3601" in answer.text
    assert HEART not in answer.text


def test_sign_ins_and_visits_are_questions_and_an_auditor_can_be_erased(world, explorer, stranger):
    name = let_in(explorer, stranger)
    send(stranger, "/sign-out")
    send(stranger, "/sign-in", name=name, passphrase="wrong, wrong, wrong")
    send(stranger, "/sign-in", name=name, passphrase=PASSPHRASE)
    stranger.get("/privacy")

    def ask(question):
        result = CliRunner().invoke(audit, ["ask", question, str(world.audited), "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    came = [row[1:] for row in ask("sign-ins")["rows"]][-3:]
    assert [row[0] for row in came] == [name] * 3
    assert [row[3] for row in came] == ["let in", "refused (TW7043)", "let in"]
    (*_, last) = ask("page-visits")["rows"]
    assert last[1:4] == [name, "privacy", "/privacy"]

    log = explorer.journal.log
    topic = log.bodies.topic(person(AUDITOR, name))
    done = CliRunner().invoke(command, ["remove", str(world.audited), name, "--erase"])
    assert done.exit_code == 0, done.output
    assert "4 bodies" in done.output
    (*_, last) = ask("page-visits")["rows"]
    assert last[1:4] == [f"auditor {topic.removeprefix('auditor:')[:8]}", "privacy", None]
    for path in (world.audited / "state" / "audit").iterdir():
        assert name.encode() not in path.read_bytes(), path


def test_a_site_over_copies_has_no_log_of_its_own(tmp_path):
    copy = World(tmp_path / "copy")
    assert not logbook.is_members(copy.audited)
    done = CliRunner().invoke(
        command, ["invite", str(copy.audited), "zoe", "--until", "2100-01-01"]
    )
    assert done.exit_code == 0, done.output
    assert not (copy.audited / "state" / "audit" / "audit.sqlite").exists()
