"""The policy while a node runs, and two people who approve a plan: on files, as they change."""

import json
import os
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from hospital_node import approvals, policy_code, policy_file
from hospital_node.audit_log import NodeAudit
from hospital_node.cli import node
from hospital_node.data import virtual
from hospital_node.paths import NodePaths
from hospital_node.policy_live import SiteRules
from hospital_node.policy_rules import Moment
from hospital_node.privacy.book import BudgetBook
from hospital_node.settings import FILE, NodeSettings, write
from tests.simulators.founding import NOW
from tests.unit.hospital_node.test_approvals import NAME, World, refused
from twinward.clock import FixedClock
from twinward.ids import RunId
from twinward.plan import evaluation_run
from twinward.signing import Identity

RUN = RunId("11" * 32)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def live(world):
    """The rules of a hospital that approved a plan, with its real book and audit log."""
    policy_file.write(world.folder, world.policy())
    world.approve()
    clock = FixedClock(NOW)
    book = BudgetBook(NodePaths(world.folder).book)
    audit = NodeAudit.open(
        world.folder, org="harbour", founding=world.founding,
        identity=world.paper.members["harbour"].identity(), clock=clock,
    )  # fmt: skip
    rules = SiteRules(world.folder, org="harbour", book=book, audit=audit, clock=clock)
    approved = approvals.load(world.folder, NAME, founding=world.founding)
    yield SimpleNamespace(
        rules=rules, book=book, audit=audit, clock=clock, approved=approved, folder=world.folder,
        world=world,
        step=lambda: rules.require(approved, at=Moment.STEP, run=RUN),
    )  # fmt: skip
    book.close()
    audit.close()


def entries(live):
    """What the audit log says of the policy: outcome in words of each entry."""
    found = []
    for seq in range(live.audit.log.log.size):
        _, body = live.audit.log.body(seq)
        event = json.loads(body)
        assert event["subtype"][0]["code"] == "policy-changed"
        found.append(event["outcomeDesc"])
    return found


def change(live, old, new):
    path = live.folder / policy_file.FILE
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_change_holds_at_the_next_step_and_is_entered_before(live):
    live.step()
    live.step()
    assert len(entries(live)) == 1
    change(live, "take_part = true", "take_part = false")
    refused("TW7302", live.step)
    assert entries(live)[1:] == ["take_part: true -> false"]
    change(live, "take_part = false", "take_part = true")
    live.step()
    assert len(entries(live)) == 3


def test_hours_end_a_run_that_is_under_way(live):
    change(live, "hours = []", 'hours = ["fri 00:00-09:00"]')
    live.clock.at = 1_800_000_000.0  # Friday 15 January 2027, 08:00 UTC
    live.step()
    live.clock.at += 3600
    refused("TW7303", live.step)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda path: path.unlink(), "TW7300"),
        (lambda path: path.write_text("take_part = treu\n"), "TW7301"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "TW7301"),
        (lambda path: path.write_text(""), "TW6002"),
        (lambda path: os.chmod(path, 0o666), "TW7306"),
    ],
    ids=["gone", "broken", "binary", "empty", "open"],
)
def test_without_a_sound_policy_every_step_is_refused(live, damage, code):
    live.step()
    path = live.folder / policy_file.FILE
    kept = path.read_bytes()
    damage(path)
    refused(code, live.step)
    refused(code, live.step)
    status = live.rules.standing()
    assert (status["trouble"] or {"code": "TW6002"})["code"] == code
    assert len(entries(live)) == 2  # once, not at every step
    path.write_bytes(kept)
    path.chmod(0o640)
    live.step()
    assert live.rules.standing()["trouble"] is None


def test_a_policy_that_cannot_be_entered_decides_nothing(live):
    live.step()
    change(live, "minimum_cohort = 20", "minimum_cohort = 1")
    with closing(sqlite3.connect(NodePaths(live.folder).audit / "audit.sqlite")) as db:
        db.execute("alter table leaves rename to taken_away")
        refused("TW3601", live.step)
        refused("TW3601", live.step)
        db.execute("alter table taken_away rename to leaves")
    live.step()


def test_after_a_restart_only_what_changed_meanwhile_is_entered(live):
    live.step()
    again = SiteRules(
        live.folder, org="harbour", book=live.book, audit=live.audit, clock=live.clock
    )
    again.current()
    assert len(entries(live)) == 1
    change(live, "minimum_cohort = 20", "minimum_cohort = 50")
    third = SiteRules(
        live.folder, org="harbour", book=live.book, audit=live.audit, clock=live.clock
    )
    third.current()
    assert entries(live)[1:] == ["minimum_cohort: 20 -> 50"]


def test_runs_are_counted_in_the_book_and_evaluations_are_none(live):
    change(
        live, "[[studies]]  # the most that a plan of it may ask\n", "[[studies]]\nmax_runs = 2\n"
    )
    digest = live.approved.plan.digest

    def begin(run):
        for name in (run, RunId(evaluation_run(bytes.fromhex(run)).hex())):
            live.book.reserve(name, plan_digest=digest, attempts=1, mu2_per_attempt=0.1)

    def ask(run):
        live.rules.require(live.approved, at=Moment.STEP, run=run)

    runs = [RunId(f"{n:064x}") for n in range(3)]
    for run in runs[:2]:
        ask(run)
        begin(run)
        ask(run)
    refused("TW7305", ask, runs[2])
    ask(runs[0])  # it began when there was one left


def test_the_code_that_may_run_is_the_installed_one(live):
    change(live, "code = []", f'code = ["{policy_code.installed()}"]')
    live.step()
    change(live, f'"{policy_code.installed()}"', f'"{"0" * 64}"')
    refused("TW6003", live.step)


# Two people


@pytest.fixture
def people(world):
    found = {name: Identity.generate() for name in ("anna", "ben", "mallory")}
    named = [{"name": n, "key": found[n].public.raw.hex()} for n in ("anna", "ben")]
    site = world.policy().model_copy(update={"approvals": 2})
    site = type(site).model_validate(site.model_dump() | {"approvers": named})
    policy_file.write(world.folder, site)
    return SimpleNamespace(**found, site=site)


def test_a_plan_is_approved_when_two_different_people_have_signed_it(world, people):
    refused("TW7310", world.approve, site=people.site)
    refused("TW7311", world.approve, site=people.site, by=people.mallory)
    first = world.approve(site=people.site, by=people.anna)
    assert (first.complete, first.signed_by) == (False, {"anna"})
    assert approvals.names(world.folder) == []
    refused("TW6004", approvals.load, world.folder, NAME, founding=world.founding)
    refused("TW7312", world.approve, site=people.site, by=people.anna)
    second = world.approve(site=people.site, by=people.ben)
    assert (second.complete, second.signed_by) == (True, {"anna", "ben"})
    loaded = approvals.load(world.folder, NAME, founding=world.founding)
    assert approvals.signers(world.folder, loaded, people.site, org="harbour") == {"anna", "ben"}
    assert world.approve(site=people.site, by=people.ben).complete  # nothing to do


def test_a_signature_is_for_one_plan_and_for_these_terms(world, people):
    world.approve(site=people.site, by=people.anna)
    import dataclasses

    other = dataclasses.replace(world.plan, learning_rate=0.25)
    outcome = world.approve(world.files(plan=other), site=people.site, by=people.ben)
    assert outcome.signed_by == {"ben"}
    world.approve(site=people.site, by=people.anna)
    world.approve(site=people.site, by=people.ben)
    loaded = approvals.load(world.folder, NAME, founding=world.founding)
    lower = people.site.model_copy(
        update={"studies": (people.site.studies[0].model_copy(update={"max_steps": 99}),)}
    )
    assert approvals.signers(world.folder, loaded, lower, org="harbour") == frozenset()
    called = people.site.model_copy(update={"contacts": ()})
    assert approvals.signers(world.folder, loaded, called, org="harbour") == {"anna", "ben"}
    removed = people.site.model_copy(update={"approvers": people.site.approvers[:1]})
    assert approvals.signers(world.folder, loaded, removed, org="harbour") == frozenset()


def test_signatures_that_were_changed_on_disk_do_not_count_in_a_run(live, people):
    world = live.world
    world.approve(site=people.site, by=people.anna)
    refused("TW7304", live.step)
    world.approve(site=people.site, by=people.ben)
    live.step()
    path = world.folder / "studies" / NAME / "approval.json"
    kept = path.read_bytes()
    first = json.loads(kept)["signatures"][0]["signature"]
    path.write_bytes(kept.replace(first.encode(), b"0" * 128))
    refused("TW7304", live.step)
    path.unlink()
    refused("TW7304", live.step)
    path.write_bytes(kept)
    live.step()


def test_dying_between_signatures_and_plan_leaves_no_approval(live, people, monkeypatch):
    world = live.world
    world.approve(site=people.site, by=people.anna)
    world.approve(site=people.site, by=people.ben)
    import dataclasses

    files = world.files(plan=dataclasses.replace(world.plan, learning_rate=0.25))
    world.approve(files, site=people.site, by=people.anna)
    write_atomic = approvals.files.write_atomic

    def dies(path, data, **more):
        if path.name == "plan.json":
            raise KeyboardInterrupt
        write_atomic(path, data, **more)

    with monkeypatch.context() as patch:
        patch.setattr(approvals.files, "write_atomic", dies)
        with pytest.raises(KeyboardInterrupt):
            world.approve(files, site=people.site, by=people.ben)
    refused("TW7304", live.step)  # the plan of before stands there without its signatures
    assert world.approve(files, site=people.site, by=people.ben).complete
    assert approvals.load(world.folder, NAME, founding=world.founding).plan.learning_rate == 0.25


# As people type it


@pytest.fixture
def typed(world, tmp_path):
    home = world.paper.members["harbour"]
    home.founding_file.write_bytes(world.founding.document.encode())
    data = virtual.write(tmp_path / "data", seed=1)["harbour"]
    write(home.folder / FILE, NodeSettings(org="harbour", data=data, desk_port=1, flower_port=2))
    policy_file.write(home.folder, world.policy())
    study, plan = tmp_path / "study.json", tmp_path / "plan.json"
    for path, content in zip((study, plan), world.files(), strict=True):
        path.write_bytes(content)

    def run(*words, status=0, text=False):
        done = CliRunner().invoke(
            node, [str(word) for word in words] + ([] if text else ["--json"])
        )
        assert done.exit_code == status, done.output
        return done.stdout if text else json.loads(done.stdout)

    return SimpleNamespace(run=run, folder=home.folder, study=study, plan=plan, tmp=tmp_path)


def test_two_people_approve_from_the_command_line(typed):
    keys = {}
    for name in ("anna", "ben"):
        keys[name] = typed.tmp / f"{name}.key"
        public = typed.run("approver", "key", keys[name])["key"]
        typed.run("approver", "add", typed.folder, "--name", name, "--key", public)
    path = typed.folder / policy_file.FILE
    path.write_text(path.read_text().replace("approvals = 0", "approvals = 2"))
    files = (typed.folder, typed.study, typed.plan, "--no-attack", "--yes")
    assert typed.run("approve", *files, status=2)["error"]["code"] == "TW7310"
    first = typed.run("approve", *files, "--key", keys["anna"])
    assert (first["approved"], first["signed_by"], first["needed"]) == (False, ["anna"], 2)
    assert (
        typed.run("approve", *files, "--key", keys["anna"], status=2)["error"]["code"] == "TW7312"
    )
    second = typed.run("approve", *files, "--key", keys["ben"])
    assert (second["approved"], second["changed"]) == (True, None)


def test_a_person_who_says_no_signs_nothing(typed):
    key = typed.tmp / "anna.key"
    public = typed.run("approver", "key", key)["key"]
    typed.run("approver", "add", typed.folder, "--name", "anna", "--key", public)
    words = ["approve", typed.folder, typed.study, typed.plan, "--no-attack", "--key", key]
    done = CliRunner().invoke(node, [str(word) for word in words], input="n\n")
    assert done.exit_code == 1
    assert "Sign it?" in done.stderr
    assert not (typed.folder / "studies").exists()


def test_a_dry_run_says_what_each_rule_would_decide_and_changes_nothing(typed):
    before = sorted(typed.folder.rglob("*"))
    found = typed.run("policy", "check", typed.folder, typed.plan)
    assert (found["permit"], found["rule"]) == (True, "all")
    assert {"rule": "minimum_cohort", "permit": None, "because": "20 patients are needed"} in (
        found["rules"]
    )
    path = typed.folder / policy_file.FILE
    path.write_text(path.read_text().replace("max_epsilon = 1.0", "max_epsilon = 0.5", 1))
    found = typed.run("policy", "check", typed.folder, typed.plan, status=6)
    assert (found["permit"], found["rule"]) == (False, "max_epsilon")
    shown = typed.run("policy", "check", typed.folder, typed.plan, status=6, text=True)
    assert "REFUSED by `max_epsilon`: a run for epsilon 1, more than the 0.5 agreed to" in shown
    assert sorted(typed.folder.rglob("*")) == before
    assert typed.run("policy", "check", typed.folder)["studies"] == [NAME]
    path.write_text("hours = 3\n")
    assert typed.run("policy", "check", typed.folder, status=2)["error"]["code"] == "TW7301"
