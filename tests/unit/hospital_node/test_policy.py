"""The site's policy: each rule decides by its name, broken files permit nothing."""

import dataclasses
import datetime as dt
import os
from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hospital_node import policy_file
from hospital_node.policy import decide, require, verdicts
from hospital_node.policy_rules import RULES, Asked, Moment
from hospital_node.policy_terms import Contact, SitePolicy, StudyPolicy
from models.cardiac_risk import recipe
from twinward.errors import TwinwardError
from twinward.plan import FedAvg

NOW = dt.datetime(2026, 11, 20, 19, 30, tzinfo=UTC).timestamp()  # a Friday
STUDY = StudyPolicy(study="heart-risk", models=("cardiac_risk/1",), purposes=("heart-research",))
PLAN = recipe.plan(
    network="0" * 64, study="heart-risk", sites=("bern", "chur", "genf"), divisor=600,
    purpose="heart-research", grades=("signed-on-device",), evaluation=recipe.EVALUATION,
)  # fmt: skip
CODE = "ab" * 32


def a_site(study=None, **terms):
    return SitePolicy(studies=(STUDY.model_copy(update=study or {}),), **terms)


def asked(plan=PLAN, **facts):
    known = {"code": CODE, "runs": 0, "signed_by": frozenset(), "cohort": 500}
    return Asked(plan, "bern", NOW, **{**known, **facts})


def code_of(call, *args, **kwargs):
    with pytest.raises(TwinwardError) as refused:
        call(*args, **kwargs)
    return refused.value.code


VISIBLE = dataclasses.replace(
    PLAN, aggregate="fedavg",
    fedavg=FedAvg(3, 0.1, 0.0, 2.0, 0.0, visible_updates=True, rule="norm_bound"),
)  # fmt: skip
TWO = [{"name": "anna", "key": "aa" * 32}, {"name": "ben", "key": "bb" * 32}]
REFUSED = {
    "study": (SitePolicy(), {}, "TW6002"),
    "take_part": (a_site(take_part=False), {}, "TW7302"),
    "org": (a_site(), {"plan": dataclasses.replace(PLAN, sites=("chur", "genf", "zug"))}, "TW6003"),
    "until": (a_site({"until": dt.date(2026, 11, 19)}), {}, "TW6003"),
    "peers": (a_site({"peers": ("chur",)}), {}, "TW6003"),
    "models": (a_site({"models": ("mlp_risk/1",)}), {}, "TW6003"),
    "purposes": (a_site({"purposes": ("health-research",)}), {}, "TW6003"),
    "grades": (a_site({"grades": ("staff-attested",)}), {}, "TW6003"),
    "scopes": (a_site({"scopes": ("age", "sex")}), {}, "TW6003"),
    "plans": (a_site({"plans": ("0" * 64,)}), {}, "TW6003"),
    "max_epsilon": (a_site({"max_epsilon": 0.5}), {}, "TW6003"),
    "max_evaluation_epsilon": (a_site({"max_evaluation_epsilon": 1.0}), {}, "TW6003"),
    "max_steps": (a_site({"max_steps": 32}), {}, "TW6003"),
    "visible_updates": (a_site(), {"plan": VISIBLE}, "TW6003"),
    "code": (a_site(code=("cd" * 32,)), {}, "TW6003"),
    "approvals": (a_site(approvals=2, approvers=TWO), {"signed_by": frozenset({"ben"})}, "TW7304"),
    "hours": (a_site(hours=("sat-sun 00:00-24:00",)), {}, "TW7303"),
    "max_runs": (a_site({"max_runs": 2}), {"runs": 2}, "TW7305"),
    "minimum_cohort": (a_site(), {"cohort": 19}, "TW6005"),
}


def test_every_rule_has_a_case():
    assert set(REFUSED) == {"study", *(name for name, _, _ in RULES)}


@pytest.mark.parametrize("rule", REFUSED)
def test_the_decision_names_the_rule_that_refused(rule):
    site, facts, code = REFUSED[rule]
    question = asked(**facts)
    decision = decide(site, question, at=Moment.RUN)
    assert (decision.permit, decision.rule) == (False, rule)
    assert len(decision.because) > 5
    assert code_of(require, site, question, at=Moment.RUN) == code
    assert [one.rule for one in verdicts(site, question) if one.permit is False] == [rule]


def test_what_was_agreed_to_is_permitted():
    site = a_site(
        {"peers": ("chur", "genf"), "plans": (PLAN.digest.hex(),), "max_runs": 3},
        code=(CODE,), approvals=2, approvers=TWO, hours=("fri 18:00-06:00",),
    )  # fmt: skip
    known = asked(runs=2, signed_by=frozenset({"anna", "ben"}), cohort=20)
    for moment in Moment:
        assert decide(site, known, at=moment).permit, moment


@pytest.mark.parametrize(
    ("rule", "site", "fact"),
    [
        ("code", a_site(code=(CODE,)), "code"),
        ("approvals", a_site(approvals=1, approvers=TWO), "signed_by"),
        ("max_runs", a_site({"max_runs": 3}), "runs"),
        ("minimum_cohort", a_site(), "cohort"),
    ],
)
def test_a_fact_that_nobody_knows_refuses_the_run(rule, site, fact):
    known = asked(signed_by=frozenset({"anna"}))
    assert decide(site, known, at=Moment.RUN).permit
    unknown = dataclasses.replace(known, **{fact: None})
    assert decide(site, unknown, at=Moment.RUN).rule == rule
    assert {one.rule for one in verdicts(site, unknown) if one.permit is None} == {rule}


def test_a_study_can_want_more_patients_but_not_fewer():
    assert decide(a_site({"minimum_cohort": 100}), asked(cohort=99), at=Moment.RUN).permit is False
    assert decide(a_site({"minimum_cohort": 5}), asked(cohort=19), at=Moment.RUN).permit is False


def test_the_number_of_patients_is_in_no_message():
    for site in (a_site(), a_site({"minimum_cohort": 600})):
        because = {one.rule: one.because for one in verdicts(site, asked(cohort=517))}
        assert "517" not in because["minimum_cohort"]


@pytest.mark.parametrize(
    ("hours", "at", "is_open"),
    [
        ((), "2026-11-20 03:00", True),
        (("mon-fri 18:00-06:00",), "2026-11-20 18:00", True),
        (("mon-fri 18:00-06:00",), "2026-11-20 17:59", False),
        (("mon-fri 18:00-06:00",), "2026-11-21 05:59", True),  # Friday's window, on Saturday
        (("mon-fri 18:00-06:00",), "2026-11-21 06:00", False),
        (("mon-fri 18:00-06:00",), "2026-11-21 19:00", False),
        (("mon-fri 18:00-06:00",), "2026-11-23 05:00", False),  # Sunday has no window
        (("fri-mon 10:00-11:00",), "2026-11-22 10:30", True),
        (("fri-mon 10:00-11:00",), "2026-11-24 10:30", False),
        (("wed 22:00-24:00",), "2026-11-18 23:59", True),
        (("wed 22:00-24:00", "thu 00:00-01:00"), "2026-11-19 00:30", True),
    ],
)
def test_hours_are_those_of_the_clock_on_the_wall(hours, at, is_open):
    moment = dt.datetime.fromisoformat(at).replace(tzinfo=UTC)
    assert a_site(hours=hours).open_at(moment.timestamp()) is is_open
    abroad = a_site(hours=hours, time_zone="Asia/Tokyo")
    assert abroad.open_at((moment - dt.timedelta(hours=9)).timestamp()) is is_open


@given(
    st.builds(
        SitePolicy,
        take_part=st.booleans(),
        minimum_cohort=st.integers(1, 10**6),
        hours=st.just(("mon-fri 18:00-06:00",)),
        contacts=st.lists(
            st.builds(
                Contact,
                name=st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=30),
                reach=st.just("+41 44 000 00 00"),
            ),
            max_size=2,
        ).map(tuple),
        studies=st.just((STUDY.model_copy(update={"until": dt.date(2027, 1, 1)}),)),
    )
)
def test_what_is_written_is_what_is_read(policy):
    assert policy_file.parse(policy_file.text(policy).encode()) == policy


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("take_part", "take_prt", ("line 5", "did you mean `take_part`?")),
        ("max_epsilon", "max_epsilom", ("line 19", "did you mean `max_epsilon`?")),
        ("max_epsilon = 1.0", "max_epsilon = 21", ("line 19", "studies.0.max_epsilon")),
        ("[[studies]]", "[[study]]", ("line 15", "did you mean `studies`?")),
        ("hours = []", 'hours = ["always"]', ("line 8", "`always` is no time")),
        ('"UTC"', '"Mars/Phobos"', ("line 7", "no time zone")),
        ("approvals = 0", "approvals = 2", ("0 approvers are named",)),
        ("minimum_cohort = 20", "minimum_cohort = ", ("line 6",)),
        ('study = "heart-risk"\n', "", ("line 15", "studies.0.study")),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_nearest_key(old, new, said):
    text = policy_file.text(a_site())
    assert old in text
    with pytest.raises(TwinwardError) as refused:
        policy_file.parse(text.replace(old, new, 1).encode())
    assert refused.value.code == "TW7301"
    for words in said:
        assert words in refused.value.diagnostic.as_text()


def test_one_person_or_study_is_named_once():
    for change in (
        {"approvers": [TWO[0], {**TWO[1], "key": TWO[0]["key"]}]},
        {"approvers": [TWO[0], {**TWO[1], "name": "anna"}]},
        {"studies": (STUDY, STUDY)},
    ):
        with pytest.raises(ValueError, match="named twice"):
            SitePolicy(**change)


def test_a_policy_that_is_gone_or_that_others_can_write_is_none(tmp_path):
    assert code_of(policy_file.read, tmp_path) == "TW7300"
    policy_file.write(tmp_path, a_site())
    assert policy_file.read(tmp_path).policy == a_site()
    os.chmod(tmp_path / policy_file.FILE, 0o660)
    assert code_of(policy_file.read, tmp_path) == "TW7306"


def test_an_approver_is_added_at_the_end_and_nothing_else_changes(tmp_path):
    policy_file.write(tmp_path, a_site())
    before = (tmp_path / policy_file.FILE).read_text()
    policy_file.add_approver(tmp_path, name="anna", key="aa" * 32)
    assert (tmp_path / policy_file.FILE).read_text().startswith(before.rstrip())
    assert [one.name for one in policy_file.read(tmp_path).policy.approvers] == ["anna"]
    kept = (tmp_path / policy_file.FILE).read_bytes()
    for wrong in ({"name": "anna", "key": "bb" * 32}, {"name": "ben", "key": "aa" * 32},
                  {"name": 'x"\n[[studies]]', "key": "bb" * 32}):  # fmt: skip
        assert code_of(policy_file.add_approver, tmp_path, **wrong) == "TW7313"
        assert (tmp_path / policy_file.FILE).read_bytes() == kept


def test_what_changed_is_said_term_by_term():
    said = policy_file.differences(
        a_site().model_dump(mode="json"),
        a_site({"max_epsilon": 0.5}, hours=("mon 18:00-19:00",)).model_dump(mode="json"),
    )
    assert said == (
        'hours: [] -> ["mon 18:00-19:00"]',
        "studies[heart-risk].max_epsilon: 1.0 -> 0.5",
    )
