from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent import purposes
from consent.policy import Grade, Moment, Permission, Request, Rule, decide
from consent.record import DAY, Grant
from tests.simulators.consent.world import GENESIS, HOSPITAL, STUDY, Slot
from twinward.errors import UsageError

START, END = 10 * DAY, 20 * DAY
GRANT = Grant(
    network=GENESIS,
    study=STUDY.id32,
    subject=b"\x01" * 20,
    purposes=purposes.bits(["heart-research"]),
    purpose_table=purposes.table_digest(),
    scope=STUDY.scope(HOSPITAL),
    terms_shown=b"\x02" * 32,
    not_before=START,
    expiry=END,
    nonce=3,
    submit_by=END,
)
DIGEST = b"\x09" * 32
SLOT = Slot(GRANT.study, GRANT.subject, GRANT.purposes, END, 4, 1, DIGEST, 5)
PERMISSION = Permission(GRANT, DIGEST, True, Grade.DEVICE, SLOT, None)
REQUEST = Request.of(STUDY, hospital=HOSPITAL, grades=frozenset({Grade.DEVICE}))
NOW = Moment(local=START + 1, chain=START + 1)


def rule(permission=PERMISSION, request=REQUEST, at=NOW):
    decision = decide(permission, request, at=at)
    assert decision.permit == (decision.rule is Rule.GRANTED)
    return decision.rule


def test_a_full_permission_permits():
    assert rule() is Rule.GRANTED


def test_no_record_means_no():
    assert rule(None) is Rule.NO_RECORD


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (Rule.WITHDRAWN_HERE, {"withdrawn_through": 3}),
        (Rule.WITHDRAWN_HERE, {"withdrawn_through": 2**32 - 1}),
        (Rule.SIGNATURE, {"verified": False}),
        (Rule.NOT_ON_LEDGER, {"slot": None}),
        (Rule.NOT_ON_LEDGER, {"slot": replace(SLOT, nonce=3)}),
        (Rule.WITHDRAWN_ON_LEDGER, {"slot": replace(SLOT, purposes=0, expiry=0, nonce=5)}),
        (Rule.LEDGER_DIFFERS, {"slot": replace(SLOT, purposes=1)}),
        (Rule.LEDGER_DIFFERS, {"slot": replace(SLOT, expiry=END + DAY)}),
        (Rule.LEDGER_DIFFERS, {"slot": replace(SLOT, nonce=5)}),
        (Rule.LEDGER_DIFFERS, {"slot": replace(SLOT, digest=b"\x08" * 32)}),
        (Rule.GRADE, {"grade": Grade.STAFF}),
        (Rule.GRADE, {"grade": "unheard-of"}),
        (Rule.GRANTED, {"withdrawn_through": 2}),
    ],
)
def test_what_the_hospital_knows_decides(expected, change):
    assert rule(replace(PERMISSION, **change)) is expected


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (Rule.OTHER_NETWORK, {"network": b"\x07" * 32}),
        (Rule.OTHER_STUDY, {"study": b"\x07" * 32}),
        (Rule.OTHER_SCOPE, {"scope": STUDY.scope("hungary")}),
        (Rule.OTHER_TABLE, {"purpose_table": b"\x07" * 32}),
    ],
)
def test_a_grant_for_anything_else_is_no_grant_for_this(expected, change):
    assert rule(replace(PERMISSION, grant=replace(GRANT, **change))) is expected


def granting(mask):
    slot = replace(SLOT, purposes=mask)
    return replace(PERMISSION, grant=replace(GRANT, purposes=mask), slot=slot)


def test_a_broader_purpose_contains_a_narrower_one_and_never_the_other_way():
    assert rule(granting(purposes.bits(["general-research"]))) is Rule.GRANTED
    assert rule(granting(purposes.bits(["health-research"]))) is Rule.GRANTED
    wide = replace(REQUEST, use=replace(REQUEST.use, purpose="general-research"))
    assert rule(request=wide) is Rule.PURPOSE
    health = replace(REQUEST, use=replace(REQUEST.use, purpose="health-research"))
    assert rule(granting(purposes.bits(["heart-research"])), health) is Rule.PURPOSE


def test_a_restriction_forbids_what_it_names_and_an_unknown_one_forbids_all():
    mask = purposes.bits(["heart-research", "not-for-profit"])
    assert rule(granting(mask)) is Rule.GRANTED
    assert (
        rule(granting(mask), replace(REQUEST, use=replace(REQUEST.use, commercial=True)))
        is Rule.RESTRICTION
    )
    assert rule(granting(mask | 1 << 100)) is Rule.RESTRICTION


def test_a_restriction_alone_permits_nothing():
    assert rule(granting(purposes.bits(["not-for-profit"]))) is Rule.PURPOSE
    assert not purposes.well_formed(purposes.bits(["not-for-profit"]))


@given(local=st.integers(0, 30 * DAY), chain=st.integers(0, 30 * DAY))
def test_it_takes_both_clocks_to_start_and_one_to_expire(local, chain):
    found = rule(at=Moment(local=local, chain=chain))
    if min(local, chain) < START:
        assert found is Rule.NOT_YET
    elif max(local, chain) >= END:
        assert found is Rule.EXPIRED
    else:
        assert found is Rule.GRANTED


def test_an_unknown_purpose_is_refused_by_name():
    with pytest.raises(UsageError) as error:
        purposes.bits(["selling"])
    assert error.value.code == "TW3006"
    assert "heart-research" in error.value.diagnostic.help


def test_the_purpose_table_has_one_digest_for_ever():
    # On the ledger this digest gives bits their meaning: changing a row is a new table version.
    assert (
        purposes.table_digest().hex()
        == "11ba31ba21f1dd9241a13643b406024c048f53c0be7d385b807bbca0b5203d3e"
    )
