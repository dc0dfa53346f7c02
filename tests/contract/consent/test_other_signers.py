"""Signatures that another program made: ethers, and the patients' page in a browser. The desk and
the contract take the honest ones; everything a thief or a liar could make of them is refused."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from consent import signature
from consent.record import DAY, Domain, Withdrawal
from consent.study import OptionalCategory, Study
from tests.contract.consent.test_on_the_ledger import OnChain
from tests.simulators.browser.chromium import Tab, chromium
from tests.simulators.consent.world import HOSPITAL, NOW, STUDY, Hospital, Patient
from tests.simulators.ledger.network import CHAIN_ID, START, LedgerNetwork, RunningNode
from tests.simulators.portal import portal
from twinward import canonical
from twinward.errors import TwinwardError
from twinward.ids import StudyId

CLIENTS = Path(__file__).parents[2] / "simulators" / "ledger" / "clients"
needs_ethers = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules").is_dir(),
    reason="ethers is not installed; run `npm ci` in tests/simulators/ledger/clients",
)


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    running = RunningNode(tmp_path_factory.mktemp("node"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def network(node):
    network = LedgerNetwork(node.url, genesis=node.genesis.hash())
    yield network
    network.close()


@pytest.fixture
def on_chain(node, network, tmp_path):
    """A hospital whose ledger is the real contract."""
    chain = OnChain(node, network, tmp_path / "mirror.sqlite")
    domain = Domain(CHAIN_ID, network.consent, node.genesis.hash())
    study = replace(
        STUDY,
        network=domain.genesis.hex(),
        salt=signature.new_key().hex(),
        optional=(OptionalCategory("blood pressure", ("trestbps",)),),
    )
    yield Hospital(
        tmp_path / "hospital", study=study, domain=domain, now=float(START + 20), ledger=chain
    )
    chain.close()


def ethers(key, *asked):
    """The signatures that ethers makes over (value, domain), in hex."""
    told = [
        {"type": value.NAME, "domain": domain.to_json(), "value": value.to_json()}
        for value, domain in asked
    ]
    done = subprocess.run(
        ["node", "sign.mjs"],
        cwd=CLIENTS, input=json.dumps({"key": key.hex(), "asked": told}),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def withdrawal_of(patient, **changes):
    honest = Withdrawal(
        network=patient.hospital.domain.genesis,
        study=patient.letter.study.id32,
        subject=patient.subject,
        nonce=1,
        signed_at=int(patient.hospital.clock.now()),
    )
    return replace(honest, **changes)


def hand_in(patient, grant, signed):
    body = {"code": patient.letter.code.hex(), "grant": grant.to_json(), "signature": signed}
    return patient.hospital.desk.grant(canonical.encode(body))


def take_back(patient, withdrawal, signed):
    body = {"withdrawal": withdrawal.to_json(), "signature": signed}
    return patient.hospital.desk.withdraw(canonical.encode(body))


def refused(call, *given):
    with pytest.raises(TwinwardError) as caught:
        call(*given)
    return caught.value.code


@needs_ethers
def test_the_contract_takes_what_ethers_signed(on_chain):
    patient = Patient(on_chain)
    grant, end = patient.grant(), withdrawal_of(patient)
    yes, no = ethers(patient.key, (grant, on_chain.domain), (end, on_chain.domain))
    hand_in(patient, grant, yes)
    on_chain.push()
    on_chain.ledger.confirm()
    slot = on_chain.ledger.slot(grant.study, patient.subject)
    assert (slot.nonce, slot.digest) == (1, grant.digest(on_chain.domain))
    assert patient.is_used()
    take_back(patient, end, no)
    assert not patient.is_used()
    assert on_chain.relay.push_withdrawals().done == 1
    on_chain.ledger.confirm()
    slot = on_chain.ledger.slot(grant.study, patient.subject)
    assert (slot.nonce, slot.purposes, slot.flags) == (2, 0, 1)  # marked as signed


@needs_ethers
def test_what_ethers_signs_can_leave_out_what_is_optional_and_nothing_else(on_chain):
    study = on_chain.study
    patient, liar = Patient(on_chain), Patient(on_chain, 1)
    less = patient.grant(scope=study.scope(HOSPITAL, without=["blood pressure"]))
    lenient = replace(study, optional=(OptionalCategory("age and sex", ("age",)),))
    forged = liar.grant(scope=lenient.scope(HOSPITAL, without=["age and sex"]))
    (yes,) = ethers(patient.key, (less, on_chain.domain))
    (lie,) = ethers(liar.key, (forged, on_chain.domain))
    hand_in(patient, less, yes)
    assert refused(hand_in, liar, forged, lie) == "TW3014"
    on_chain.push()
    on_chain.ledger.confirm()
    slot = on_chain.ledger.slot(less.study, patient.subject)
    assert (slot.nonce, slot.digest) == (1, less.digest(on_chain.domain))
    assert on_chain.cohort().permitted()[1].tolist() == [2, 0, 0, 0]


@needs_ethers
def test_the_desk_refuses_everything_that_is_not_this_patients_word_now(tmp_path):
    hospital = Hospital(tmp_path)
    patient, here = Patient(hospital), hospital.domain
    other = Patient(hospital, 1)
    elsewhere: Study = replace(STUDY, name=StudyId("sleep-study"))
    honest = patient.grant()
    cases = {
        "another chain": (honest, replace(here, chain_id=here.chain_id + 1), "TW3005"),
        "another contract": (honest, replace(here, contract=b"\x22" * 20), "TW3005"),
        "another network": (
            replace(honest, network=b"\x77" * 32), replace(here, genesis=b"\x77" * 32), "TW3004",
        ),
        "another study": (replace(honest, study=elsewhere.id32), here, "TW3011"),
        "a nonce to come": (replace(honest, nonce=1), here, "TW3012"),
        "handed in too late": (replace(honest, submit_by=int(NOW) - 1), here, "TW3013"),
        "dated ahead": (replace(honest, not_before=int(NOW) + 2 * DAY), here, "TW3009"),
        "for somebody else's key": (replace(honest, subject=other.subject), here, "TW3005"),
    }  # fmt: skip
    signed = ethers(patient.key, *((grant, domain) for grant, domain, _ in cases.values()))
    found = {
        name: refused(hand_in, patient, grant, each)
        for (name, (grant, _, _)), each in zip(cases.items(), signed, strict=True)
    }
    assert found == {name: code for name, (_, _, code) in cases.items()}

    end = withdrawal_of(patient)
    yes, as_end = ethers(patient.key, (honest, here), (end, here))
    assert refused(hand_in, patient, honest, as_end) == "TW3005"  # another type's signature
    assert refused(take_back, patient, end, yes) == "TW3005"
    high = bytes.fromhex(yes)
    mirrored = (
        high[:32]
        + (signature._ORDER - int.from_bytes(high[32:64])).to_bytes(32)
        + bytes([55 - high[64]])
    )
    assert refused(hand_in, patient, honest, mirrored.hex()) == "TW3002"  # malleable
    widened = replace(honest, purposes=honest.purposes | 1 << 100)
    assert refused(hand_in, patient, widened, yes) == "TW3005"  # forged
    assert refused(hand_in, other, honest, yes[:-2] + "00") == "TW3002"

    hand_in(patient, honest, yes)
    assert refused(hand_in, other, honest, yes) == "TW3012"  # another patient's letter
    hospital.push()
    take_back(patient, end, as_end)
    assert refused(hand_in, patient, honest, yes) == "TW3012"  # replayed
    stale = replace(honest, nonce=1)
    (again,) = ethers(patient.key, (stale, here))
    assert refused(hand_in, patient, stale, again) == "TW3012"  # a nonce that is used up
    assert not patient.is_used()


@needs_ethers
def test_a_key_of_the_hospitals_own_does_not_speak_for_a_patient(tmp_path):
    hospital = Hospital(tmp_path)
    patient = Patient(hospital)
    patient.grants()
    own = signature.new_key()
    forged = patient.grant(nonce=1)
    (by_hospital,) = ethers(own, (forged, hospital.domain))
    assert refused(hand_in, patient, forged, by_hospital) == "TW3005"
    as_own = replace(forged, subject=signature.address_of(own), nonce=0)
    (named,) = ethers(own, (as_own, hospital.domain))
    assert refused(hand_in, patient, as_own, named) == "TW3015"  # the letter is the patient's
    assert as_own.scope == STUDY.scope(HOSPITAL)


def test_the_contract_takes_what_the_page_signed_in_a_browser(on_chain, tmp_path):
    with chromium() as browser, portal(tmp_path, hospital=on_chain) as site:
        tab = Tab(browser, width="phone", ignore_https_errors=True)
        tab.page.goto(site.origin)
        tab.page.get_by_label("Code in your letter").fill(site.letter(0))
        tab.page.get_by_role("button", name="Open").click()
        for _ in range(2):  # a second yes with the same key, in a browser that forgot everything
            tab.page.goto(f"{site.origin}/studies/0/yes")
            tab.page.get_by_role("button", name="Show me what this does").click()
            tab.page.get_by_label("passphrase").first.fill("four words nobody joins")
            tab.page.get_by_role("button", name="Yes, I agree").first.click()
            tab.page.wait_for_url("**/studies/0")
            newest = site.newest(0)
            on_chain.ledger.confirm()
            slot = on_chain.ledger.slot(on_chain.study.id32, newest.subject)
            assert slot.digest == newest.digest
            assert site.is_used(0, grades=["signed-on-device"])
            tab.page.goto(f"{site.origin}/studies/0/stop")
            tab.page.get_by_text("say yes again with this letter").click()
            tab.page.get_by_label("Your passphrase").fill("four words nobody joins")
            tab.page.get_by_role("button", name="Stop now").click()
            tab.page.wait_for_url("**/studies/0")
            assert not site.is_used(0)
            on_chain.push()
            on_chain.ledger.confirm()
            assert on_chain.ledger.slot(on_chain.study.id32, newest.subject).flags == 1  # signed
            tab.page.evaluate("localStorage.clear(), sessionStorage.clear()")
        kept = on_chain.vault.all_of(on_chain.study.id32, newest.subject)
        assert [one.grant.nonce for one in kept] == [0, 2]
        tab.close()
