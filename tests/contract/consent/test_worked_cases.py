"""The worked cases, as a lawyer reads them, are what the policy decides; the page shows them."""

import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consent import purposes
from consent.framework import DataPermit, Default, Emergency, Framework
from consent.policy import Moment, Permission, Request, Rule, decide
from consent.record import Grant
from consent.standing import Mandate, Role, Standing
from consent.study import OptionalCategory
from tests.simulators.consent.world import DOMAIN, HOSPITAL, STUDY, Slot
from twinward.ids import OrgName

pytestmark = pytest.mark.usefixtures("both_stores")

HERE = Path(__file__).parent
PAGE = HERE.parents[2] / "docs/consent_policy.md"
CASES = tomllib.loads((HERE / "cases.toml").read_text(encoding="utf-8"))["case"]
DIGEST, OTHER = b"\x09" * 32, b"\x07" * 32
ASKS = replace(STUDY, optional=(OptionalCategory("blood pressure", ("trestbps",)),))
BEGIN, END = "<!-- cases: begin -->\n", "<!-- cases: end -->\n"
FACTS = {
    *("words", "rule", "grant", "use", "at", "ledger_clock", "ledger", "withdrawn", "verified"),
    *("accepts", "objected", "of_age", "died", "mandates", "framework", "told", "emergency"),
    *("scope", "study", "network", "table"),
}


def day(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def optional_day(text):
    return None if text is None else day(text)


def mandate(case, name):
    told = case["mandates"][name]
    return Mandate(
        Role(told["role"]),
        purposes.bits(told["purposes"]),
        day(told["begins"]),
        day(told["ends"]),
        mandate(case, told["given_by"]) if "given_by" in told else None,
    )


def scope(case):
    """Digest of what a device would sign that lets a patient leave out whatever they like."""
    without = case["grant"].get("without", [])
    lenient = replace(STUDY, optional=tuple(OptionalCategory(name, (name,)) for name in without))
    hospital = OrgName("long-beach") if "scope" in case else HOSPITAL
    return lenient.scope(hospital, without=without)


def permission(case):
    told = case.get("grant")
    if told is None:
        return None
    grant = Grant(
        network=OTHER if "network" in case else DOMAIN.genesis,
        study=OTHER if "study" in case else STUDY.id32,
        subject=b"\x01" * 20,
        purposes=purposes.bits(told["purposes"]),
        purpose_table=OTHER if "table" in case else purposes.table_digest(),
        scope=scope(case),
        terms_shown=b"\x02" * 32,
        not_before=day(told.get("begins", "2026-01-01")),
        expiry=day(told.get("until", "2027-01-01")),
        nonce=3,
        submit_by=day(told.get("until", "2027-01-01")),
    )
    slot = Slot(grant.study, grant.subject, grant.purposes, grant.expiry, 4, 1, DIGEST, 5)
    shown = {
        "shown": slot,
        "missing": None,
        "withdrawn": replace(slot, purposes=0, expiry=0, nonce=5),
        "other": replace(slot, digest=OTHER),
    }[case.get("ledger", "shown")]
    return Permission(
        grant,
        DIGEST,
        case.get("verified", True),
        told.get("signed", "signed-on-device"),
        shown,
        3 if case.get("withdrawn") else None,
        day(told.get("taken", "2026-03-01")),
        mandate(case, told["mandate"]) if "mandate" in told else None,
    )


def request(case):
    use = {"purpose": "heart-research", "commercial": False, "methods_only": False}
    framework = dict(case.get("framework", {}))
    permit = framework.pop("permit", None)
    days = framework.pop("answer_days", None)
    emergency = case.get("emergency")
    grades = frozenset(case.get("accepts", ["signed-on-device"]))
    return replace(
        Request.of(ASKS, hospital=HOSPITAL, grades=grades),
        use=purposes.Use(**use | case.get("use", {})),
        framework=Framework(
            default=Default(framework.pop("default", "opt-in")),
            permit=permit
            and DataPermit(
                permit["number"],
                *(day(permit[word]) for word in ("approved", "begins", "ends")),
            ),
            answer_seconds=days and days * 86_400,
            **framework,
        ),
        emergency=emergency
        and Emergency(emergency["by"], emergency["ground"], day(emergency["declared"])),
    )


def decided(case):
    now = case.get("at", "2026-06-15")
    return decide(
        permission(case),
        request(case),
        at=Moment(local=day(now), chain=day(case.get("ledger_clock", now))),
        standing=Standing(
            optional_day(case.get("of_age")),
            optional_day(case.get("died")),
            optional_day(case.get("objected")),
        ),
        told_at=optional_day(case.get("told")),
    )


@pytest.mark.parametrize("case", CASES, ids=[case["words"].split(".")[0][:60] for case in CASES])
def test_the_policy_decides_as_the_story_says(case):
    assert set(case) <= FACTS
    found = decided(case)
    assert found.rule is Rule(case["rule"])
    left_out = case["grant"]["without"] if found.rule is Rule.GRANTED_IN_PART else []
    assert [one.name for one in ASKS.left_out(found.withheld)] == left_out


def test_there_are_sixty_stories_and_every_rule_decides_one():
    assert len(CASES) >= 60
    assert len({case["words"] for case in CASES}) == len(CASES)
    assert {case["rule"] for case in CASES} == set(Rule)


def table():
    """The cases as the page shows them."""
    rows = [
        f"| {number} | {case['words']} | **{'yes' if Rule(case['rule']).permits else 'no'}** "
        f"| `{case['rule']}` |\n"
        for number, case in enumerate(CASES, 1)
    ]
    return "| | what happened | may it be used? | rule |\n|---|---|---|---|\n" + "".join(rows)


def rules():
    """The rules as the page shows them, in the order of application."""
    rows = [
        f"| `{rule}` | {'yes' if rule.permits else 'no'} | {rule.words} |\n" for rule in list(Rule)
    ]
    return "| rule | | in words |\n|---|---|---|\n" + "".join(rows)


def purposes_and_restrictions():
    """The table of purposes as the page shows it."""
    rows = [f"| {row.bit} | `{row.name}` | {row.code} | {row.words} |\n" for row in purposes.TABLE]
    return "| bit | name | code | in words |\n|---|---|---|---|\n" + "".join(rows)


@pytest.mark.parametrize("part", [table, rules, purposes_and_restrictions])
def test_the_page_shows_what_is_run(part):
    assert part() in PAGE.read_text(encoding="utf-8"), "write it anew: " + part()
