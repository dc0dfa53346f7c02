"""Why a hospital is missing: what it tells, what is seen, and what nobody may tell."""

from contextlib import closing

import pytest

from server.run_absences import Absences, of, too_few
from server.transcript import Transcript
from tests.unit.hospital_node.test_approvals import World
from twinward import absence
from twinward.errors import TrainingError, TwinwardError
from twinward.ids import RunId
from twinward.secsum.profile import noise_shares
from twinward.signing import Document

RUN = RunId("0a" * 32)


class Case:
    """A run of a founded network, its transcript, and what was entered in the audit log."""

    def __init__(self, folder):
        self.world = World(folder)
        self.plan = self.world.plan
        self.sites = list(self.plan.sites)
        self.path = folder / "run.sqlite"
        self.transcript = Transcript.create(
            self.path, run=bytes.fromhex(RUN), plan=self.plan.digest
        )
        self.entered = []
        self.absences = Absences(
            RUN, self.plan, transcript=self.transcript, enter=self.entered.append
        )

    def word(self, by, **changed):
        """What this hospital says and signs."""
        payload = {"org": by, "run": RUN, "code": "TW6222"} | changed
        return (
            Document(absence.KIND, payload)
            .signed_by(self.world.paper.members[by].identity())
            .encode()
        )

    def tells(self, org, data):
        return self.absences.tells(self.world.founding.member(org), data)


@pytest.fixture
def case(tmp_path):
    found = Case(tmp_path)
    with closing(found.transcript):
        yield found


def test_every_missing_hospital_is_named_once_and_kept(case):
    gone, away, *members = case.sites
    found = case.absences.at_epoch(members, online={gone, *members})
    assert {one["org"]: one["cause"] for one in found} == {
        gone: absence.UNKNOWN,
        away: absence.OFFLINE,
    }
    assert case.absences.at_epoch(members, online=set()) == []
    assert len(case.entered) == 2
    with closing(Transcript.open(case.path)) as again:
        assert of(again) == case.absences.as_json()


def test_what_a_hospital_tells_stands_above_what_is_seen(case):
    org, *members = case.sites
    assert case.absences.lost([org], silent=False)[0]["cause"] == absence.BROKE_OFF
    (told,) = case.tells(org, case.word(org))
    assert (told["cause"], told["words"]) == ("TW6222", "its staff stopped training")
    assert case.absences.at_epoch(members, online=set()) == []
    assert case.absences.lost([org], silent=True) == []
    assert case.tells(org, case.word(org, code="TW6003")) == []  # once: it floods no log
    assert case.absences.as_json() == [told]


def test_a_hospital_that_is_back_is_missing_no_more(case):
    org = case.sites[0]
    case.tells(org, case.word(org))
    case.absences.at_epoch(case.sites, online=set())
    assert case.absences.as_json() == of(case.transcript) == []
    (lost,) = case.absences.lost([org], silent=True)
    assert lost["cause"] == absence.SILENT  # what it told before is over


@pytest.mark.parametrize(
    "changed",
    [
        {"run": "0b" * 32},
        {"org": "nobody"},
        {"code": "TW6005"},  # too few patients: nobody may tell that
        {"code": "TW4100"},
        {"code": ["TW6222"]},
        {"code": None},
    ],
)
def test_a_word_that_none_may_tell_is_refused(case, changed):
    org = case.sites[0]
    with pytest.raises(TwinwardError) as refused:
        case.tells(org, case.word(org, **changed))
    assert refused.value.code == "TW6223"
    assert case.absences.as_json() == []


def test_one_hospital_cannot_speak_for_another(case):
    one, other, *_ = case.sites
    with pytest.raises(TwinwardError) as refused:
        case.tells(one, case.word(other))
    assert refused.value.code in {"TW2002", "TW2004"}
    assert case.absences.as_json() == []


def test_codes_that_patients_cause_are_never_told():
    assert not {"TW6005", "TW3101", "TW3102"} & set(absence.TOLD)
    assert not [code for code in absence.TOLD if code.startswith("TW4")]


def test_too_few_hospitals_names_who_was_expected_why_it_is_missing_and_when_it_was_seen(case):
    silent, gone, *members = case.sites
    case.tells(silent, case.word(silent, code="TW6004"))
    case.absences.at_epoch(members, online=set(members))
    refusal = refused_for(members=len(members))
    told = too_few(refusal, case.absences.as_json(), {silent: 42, gone: None})
    assert (told.code, told.diagnostic.help) == (refusal.code, refusal.diagnostic.help)
    assert str(refusal) in str(told)
    assert f"{silent} (it has not approved the plan, last seen 42 seconds ago)" in str(told)
    assert f"{gone} (its node was not connected, not seen since the coordinator started)" in str(
        told
    )
    assert not any(org in str(told) for org in members)


def refused_for(*, members):
    with pytest.raises(TrainingError) as refused:
        noise_shares(members)
    return refused.value
