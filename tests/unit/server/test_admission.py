"""Founding: only what every member signed, with keys that each of them made."""

import json

import pytest

from server import admission, founding_ceremony
from server.daemon import close_interrupted_runs
from server.paths import ServerPaths
from server.transcript import Transcript
from tests.simulators.founding import NOW, Paper, changed
from twinward.errors import IdentityError, TwinwardError, UsageError
from twinward.founding import Founding
from twinward.ids import RunId


@pytest.fixture
def paper(tmp_path):
    return Paper(tmp_path)


def refused(code, call, *args, **kwargs):
    with pytest.raises(TwinwardError) as refusal:
        call(*args, **kwargs)
    assert refusal.value.code == code
    return refusal.value


def test_a_founding_file_needs_the_signature_of_every_member(paper):
    path = paper.draft()
    for missing in paper.hospitals:
        others = [name for name in paper.hospitals if name != missing]
        copies = [paper.signed(path, name) for name in others]
        refused("TW2004", founding_ceremony.complete, paper.home.folder, copies)
    assert not paper.home.founding_file.exists()
    founding = paper.found()
    assert [member.org for member in founding.hospitals] == list(paper.hospitals)
    assert founding.coordinator.org == "coordinator"


def test_one_copy_that_went_from_hand_to_hand_is_enough(paper):
    path = paper.draft()
    founding_ceremony.complete(paper.home.folder, [paper.signed(path, *paper.hospitals)])
    assert paper.home.founding_file.exists()


def test_a_signed_copy_of_another_file_is_refused(paper):
    first = paper.signed(paper.draft(), *paper.hospitals)
    again = paper.draft()  # a new first block: another network of the same name
    assert first != again.read_bytes()
    refused("TW2012", founding_ceremony.complete, paper.home.folder, [first])


def test_a_forged_signature_does_not_complete_a_file(paper):
    copy = paper.signed(paper.draft(), *paper.hospitals)

    def forge(value):
        one, two = value["signatures"][:2]
        one["signature"] = two["signature"]

    refused("TW2002", founding_ceremony.complete, paper.home.folder, [changed(copy, forge)])


def test_a_founded_network_is_not_founded_again(paper):
    paper.found()
    refused("TW1033", paper.draft)


def test_two_hospitals_are_too_few_and_say_so(paper):
    assert "2 hospitals" in refused("TW1031", paper.draft, paper.requests()[:2]).diagnostic.message


def test_a_hospital_that_sends_its_request_twice_is_refused(paper):
    requests = paper.requests()
    refused("TW2011", paper.draft, [*requests, requests[0]])


def test_the_coordinators_own_request_among_the_others_counts_once(paper):
    own = paper.home.request_file("coordinator")
    path = paper.draft([*paper.requests(), (own.read_bytes(), str(own))])
    assert len(Founding.draft(path.read_bytes()).members) == 4


@pytest.mark.parametrize("field", ["org", "ledger_account", "tls_spki_sha256", "role"])
def test_a_request_whose_keys_were_changed_on_the_way_is_refused(paper, field):
    data, at = paper.requests()[0]

    def change(value):
        keys = value["payload"]["keys"]["payload"]
        keys[field] = paper.hospitals[1] if field == "org" else "0x" + "00" * 20

    refused("TW2002", admission.JoinRequest.decode, changed(data, change), at=at)


def test_a_request_with_anothers_certificate_request_is_refused(paper):
    (mine, at), (theirs, _), _ = paper.requests()
    csr = json.loads(theirs)["payload"]["csr"]
    swapped = changed(mine, lambda value: value["payload"].update(csr=csr))
    refused("TW2002", admission.JoinRequest.decode, swapped, at=at)


def test_a_key_that_a_hospital_did_not_sign_for_does_not_get_into_the_file(paper):
    """A certificate for a key of the coordinator's, under the hospital's name."""
    path = paper.draft()
    value = json.loads(path.read_bytes())
    certificates = [member["certificate"] for member in value["payload"]["members"]]
    value["payload"]["members"][1]["certificate"] = certificates[0]
    forged = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    assert isinstance(refused("TW2011", Founding.draft, forged), IdentityError)


@pytest.mark.parametrize(
    "change",
    [
        lambda payload: payload.pop("chain"),
        lambda payload: payload.pop("members"),
        lambda payload: payload["endpoints"].pop("ledger"),
        lambda payload: payload.update(members=7),
    ],
)
def test_an_incomplete_file_is_refused_as_such(paper, change):
    data = changed(paper.draft().read_bytes(), lambda value: change(value["payload"]))
    assert isinstance(refused("TW1030", Founding.draft, data), UsageError)


def test_a_request_that_is_none_is_refused(paper):
    data, at = paper.requests()[0]
    broken = changed(data, lambda value: value["payload"].pop("keys"))
    refused("TW1032", admission.JoinRequest.decode, broken, at=at)


def test_an_unknown_member_is_named(paper):
    assert "`nobody`" in refused("TW2010", paper.found().member, "nobody").diagnostic.message


def test_a_run_that_was_open_when_the_coordinator_died_is_closed_as_failed(tmp_path):
    paths = ServerPaths(tmp_path)
    run = RunId("ab" * 32)
    Transcript.create(paths.transcript(run), run=bytes.fromhex(run), plan=bytes(32)).close()
    for _ in range(2):  # the second start finds nothing open
        close_interrupted_runs(paths)
        transcript = Transcript.open(paths.transcript(run))
        assert transcript.outcome == "failed"
        transcript.close()


def test_the_draft_is_the_same_for_everyone_and_holds_no_secret(paper):
    data = paper.draft().read_bytes()
    for home in (paper.home, *paper.members.values()):
        for key in home.secrets.iterdir():
            secret = key.read_bytes().strip()
            assert secret not in data
            assert secret[-40:] not in data
    assert json.loads(data)["payload"]["network"] == "demo"
    assert json.loads(data)["payload"]["chain"]["genesis"]["timestamp"] == NOW
