"""What no combination of facts can do: turn a no into a yes by adding a limit, an end or a word."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from consent import purposes
from consent.framework import DataPermit, Default, Framework
from consent.policy import Grade, Moment, Permission, Request, Rule, decide
from consent.record import DAY, Grant
from consent.standing import Mandate, Role, Standing
from consent.study import OptionalCategory
from tests.simulators.consent.world import HOSPITAL, STUDY, Slot
from twinward.ids import OrgName

LEFT_OUT = ("blood pressure", "blood tests", "heart examinations")
ASKS = replace(
    STUDY,
    categories=("age and sex", *LEFT_OUT),
    optional=tuple(OptionalCategory(name, (f"column of {name}",)) for name in LEFT_OUT),
)
ELSEWHERE = OrgName("long-beach")
DIGEST = b"\x09" * 32
NAMES = [row.name for row in purposes.TABLE]
MASKS = st.builds(
    lambda chosen, one: purposes.bits({*chosen, one}),
    st.sets(st.sampled_from(NAMES), max_size=5),
    st.sampled_from([row.name for row in purposes.PURPOSES]),
)
DAYS = st.integers(0, 60).map(lambda day: day * DAY)
MOMENTS = st.integers(0, 60 * DAY)
USES = st.builds(
    purposes.Use,
    purpose=st.sampled_from([row.name for row in purposes.PURPOSES]),
    commercial=st.booleans(),
    methods_only=st.booleans(),
    genetic=st.booleans(),
    ethics=st.booleans(),
    in_region=st.booleans(),
    named_users=st.booleans(),
    named_institutions=st.booleans(),
)
CHOICES = st.sets(st.sampled_from(LEFT_OUT))
SCOPES = CHOICES.map(lambda names: ASKS.scope(HOSPITAL, without=names))
SHAMELESS = replace(
    ASKS,
    optional=tuple(OptionalCategory(name, (name,)) for name in ("age and sex", *LEFT_OUT[:2])),
)
FORGED = st.one_of(
    st.binary(min_size=32, max_size=32),
    CHOICES.map(lambda names: ASKS.scope(ELSEWHERE, without=names)),
    st.sets(st.sampled_from(LEFT_OUT[:2])).map(
        lambda names: SHAMELESS.scope(HOSPITAL, without={"age and sex", *names})
    ),
)
SPANS = st.tuples(DAYS, DAYS).filter(lambda pair: pair[0] < pair[1])


@st.composite
def mandates(draw):
    chain = None
    for _ in range(draw(st.integers(0, 3))):
        begins, ends = draw(SPANS)
        chain = Mandate(draw(st.sampled_from(Role)), draw(MASKS), begins, ends, chain)
    return chain


@st.composite
def permissions(draw, scopes=SCOPES):
    begins, ends = draw(SPANS)
    mask = draw(MASKS)
    grant = Grant(
        network=bytes.fromhex(STUDY.network),
        study=STUDY.id32,
        subject=b"\x01" * 20,
        purposes=mask,
        purpose_table=purposes.table_digest(),
        scope=draw(scopes),
        terms_shown=b"\x02" * 32,
        not_before=begins,
        expiry=ends,
        nonce=3,
        submit_by=ends,
    )
    slot = Slot(grant.study, grant.subject, mask, ends, 4, 1, DIGEST, 5)
    through = draw(st.sampled_from([None, 2, 3]))
    grade = draw(st.sampled_from([Grade.DEVICE, Grade.STAFF]))
    return Permission(grant, DIGEST, True, grade, slot, through, draw(MOMENTS), draw(mandates()))


STANDINGS = st.builds(Standing, st.none() | MOMENTS, st.none() | MOMENTS, st.none() | MOMENTS)
PERMITS = st.builds(lambda span, approved: DataPermit("N", approved, *span), SPANS, MOMENTS)
FRAMEWORKS = st.builds(
    Framework,
    default=st.sampled_from(Default),
    ground=st.sampled_from(["", "Act s. 1"]),
    permit=st.none() | PERMITS,
    old_permits_stay=st.booleans(),
    answer_seconds=st.none() | st.integers(0, 30 * DAY),
    after_death=st.booleans(),
)
REQUESTS = st.builds(
    lambda use, framework, grades: replace(
        Request.of(ASKS, hospital=HOSPITAL, grades=frozenset(grades)), use=use, framework=framework
    ),
    USES,
    FRAMEWORKS,
    st.sets(st.sampled_from([Grade.DEVICE, Grade.STAFF, Grade.LAW])),
)
NOWS = st.builds(Moment, MOMENTS, MOMENTS)


@given(permissions(), REQUESTS, NOWS, STANDINGS, MASKS)
def test_adding_a_limit_to_a_yes_never_widens_it(permission, request, at, standing, other):
    limits = other >> 64 << 64
    narrower = replace(permission.grant, purposes=permission.grant.purposes | limits)
    slot = replace(permission.slot, purposes=narrower.purposes)
    narrowed = replace(permission, grant=narrower, slot=slot, mandate=None)
    free = replace(permission, mandate=None)
    if decide(narrowed, request, at=at, standing=standing).permit:
        assert decide(free, request, at=at, standing=standing).permit


@given(permissions(), REQUESTS, NOWS, STANDINGS, STANDINGS)
def test_knowing_more_of_a_patient_who_signed_alone_never_widens(
    permission, request, at, standing, more
):
    known = Standing(
        of_age_at=standing.of_age_at,
        died_at=standing.died_at if standing.died_at is not None else more.died_at,
        objected_at=standing.objected_at if standing.objected_at is not None else more.objected_at,
    )
    if decide(permission, request, at=at, standing=known).permit:
        assert decide(permission, request, at=at, standing=standing).permit


@given(permissions(), REQUESTS, NOWS, STANDINGS)
def test_withdrawal_dominates_whatever_else_is_true(permission, request, at, standing):
    withdrawn = replace(permission, withdrawn_through=permission.grant.nonce)
    found = decide(withdrawn, request, at=at, standing=standing)
    assert (found.permit, found.withheld) == (False, 0)


def leaving_out(permission, names):
    """The same yes, but for what it leaves out."""
    scope = ASKS.scope(HOSPITAL, without=names)
    return replace(permission, grant=replace(permission.grant, scope=scope))


@given(permissions(), REQUESTS, NOWS, STANDINGS, CHOICES)
def test_leaving_something_out_permits_nothing_else_and_costs_nothing_else(
    permission, request, at, standing, names
):
    whole = decide(leaving_out(permission, ()), request, at=at, standing=standing)
    part = decide(leaving_out(permission, names), request, at=at, standing=standing)
    assert part.permit == whole.permit
    if not part.permit:
        assert part.rule is whole.rule
    assert whole.withheld == 0


@given(permissions(), REQUESTS, NOWS, STANDINGS)
def test_what_is_read_is_the_study_without_what_the_patient_left_out(
    permission, request, at, standing
):
    found = decide(permission, request, at=at, standing=standing)
    out = ASKS.without(permission.grant.scope, HOSPITAL)
    if found.permit:
        assert tuple(one.name for one in ASKS.left_out(found.withheld)) == out
        assert found.rule is (Rule.GRANTED_IN_PART if out else Rule.GRANTED)
    else:
        assert found.withheld == 0


@given(permissions(), REQUESTS, NOWS, STANDINGS, CHOICES, CHOICES)
def test_leaving_out_more_never_gives_anything_back(permission, request, at, standing, some, more):
    fewer = decide(leaving_out(permission, some), request, at=at, standing=standing)
    further = decide(leaving_out(permission, some | more), request, at=at, standing=standing)
    assert fewer.withheld & ~further.withheld == 0
    assert further.permit == fewer.permit


@given(permissions(FORGED), REQUESTS, NOWS, STANDINGS)
def test_a_scope_that_the_study_does_not_offer_here_is_never_permitted(
    permission, request, at, standing
):
    assert permission.grant.scope not in ASKS.scopes(HOSPITAL)
    found = decide(permission, request, at=at, standing=standing)
    assert (found.permit, found.withheld) == (False, 0)


def test_every_choice_has_a_scope_of_its_own_at_every_hospital():
    here, there = ASKS.scopes(HOSPITAL), ASKS.scopes(ELSEWHERE)
    assert sorted(here.values()) == sorted(there.values()) == list(range(2 ** len(LEFT_OUT)))
    assert len(here.keys() | there.keys()) == 2 * 2 ** len(LEFT_OUT)


@given(permissions(), REQUESTS, STANDINGS, st.integers(-2, 2), st.booleans())
def test_expiry_is_exact_to_the_second_by_either_clock(
    permission, request, standing, away, by_chain
):
    end = permission.grant.expiry
    early, now = permission.grant.not_before, end + away
    at = Moment(local=early, chain=now) if by_chain else Moment(local=now, chain=early)
    found = decide(permission, request, at=at, standing=standing)
    if now >= end:
        assert not found.permit
    else:
        assert found.rule is not Rule.EXPIRED


@given(permissions(), REQUESTS, NOWS, STANDINGS)
def test_what_somebody_else_permits_the_mandate_itself_permits(permission, request, at, standing):
    found = decide(permission, request, at=at, standing=standing)
    if found.permit and permission.mandate is not None:
        for one in permission.mandate.chain():
            assert purposes.permits(one.purposes, request.use.purpose)
            assert purposes.restriction(one.purposes, request.use) is None
            assert one.begins <= at.earliest
            assert at.latest < one.ends


@given(permissions(), REQUESTS, NOWS, STANDINGS)
def test_one_more_link_in_a_chain_of_mandates_never_widens(permission, request, at, standing):
    longer = permission.mandate
    if longer is None or not decide(permission, request, at=at, standing=standing).permit:
        return
    shorter = replace(permission, mandate=replace(longer, given_by=None))
    assert decide(shorter, request, at=at, standing=standing).permit


@given(REQUESTS, NOWS, STANDINGS, st.none() | MOMENTS)
def test_without_an_answer_only_a_law_that_is_named_and_accepted_permits(
    request, at, standing, told
):
    found = decide(None, request, at=at, standing=standing, told_at=told)
    if found.permit:
        assert found.rule is Rule.BY_LAW
        assert Grade.LAW in request.grades
        assert request.framework.ground
        assert request.framework.default is not Default.OPT_IN
        assert not standing.is_dead(latest=at.latest)


@given(MASKS, MASKS, USES)
def test_what_lies_within_a_mask_permits_nothing_that_the_mask_does_not(narrow, wide, use):
    if purposes.within(narrow, wide) and purposes.permits(narrow, use.purpose):
        assert purposes.permits(wide, use.purpose)
        if purposes.restriction(wide, use) is not None:
            assert purposes.restriction(narrow, use) is not None
