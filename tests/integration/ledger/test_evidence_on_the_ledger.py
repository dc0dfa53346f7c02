"""A pack over a real ledger: reservations, release and consents proved under a signed block."""

import json
import os
from dataclasses import replace

import pytest

from ledger import verify
from ledger.account import address_of
from ledger.chain import Kind
from ledger.deployed import Addresses
from ledger.endpoint import Endpoint
from ledger.evidence import claims, encode_pack, ledger_record
from ledger.rpc import Rpc
from server.ledger_link import LedgerLink
from server.model_card import CardTexts
from server.release import release
from server.witnesses import Witnesses
from tests.simulators.finished_run import HOSPITALS, finished_run
from tests.simulators.ledger.network import Patient
from twinward import canonical, gdp, moved
from twinward.errors import LedgerError
from twinward.signing import Document, Identity

TEXTS = CardTexts(
    title="Risk", kind="risk", intended_use="Research.", limits=("None.",), hyper_parameters="Said."
)


@pytest.fixture(scope="module")
def world(network, node, tmp_path_factory):
    """A run whose hospitals reserved on the ledger before it, released with all proofs."""
    folder = tmp_path_factory.mktemp("evidence")
    accounts = dict(zip(("coordinator", *HOSPITALS), map(address_of, network.keys), strict=True))
    run = finished_run(
        folder,
        accounts=accounts,
        chain={"genesis_hash": network.genesis.hex(), "contracts": network.contracts.to_json()},
    )
    network.coordinator.record(run.plan.digest, Kind.PLAN, [])
    for hospital in network.hospitals:
        hospital.approve(run.plan.digest)
        hospital.reserve(run.run, plan=run.plan.digest, micro_mu2=gdp.micro_mu2(run.plan.mu**2))
    network.hospitals[0].relay_grants([Patient(network).signed_grant()])
    link = LedgerLink(
        network.coordinator,
        endpoint=Endpoint(node.url),
        genesis=network.genesis,
        identity=run.coordinator,
        witnesses=Witnesses(genesis=network.genesis, hospitals={}),
    )
    released = release(
        folder / "release",
        transcript=run.transcript,
        founding=run.founding,
        plan=run.plan_document,
        order=run.order,
        names=("a", "b", "c"),
        texts=TEXTS,
        identity=run.coordinator,
        ledger=link,
    )
    link.close()
    run.transcript.close()
    records, _ = verify.read_archive(released.pack.read_bytes())
    return run, released, records


def resigned(world, change):
    """The pack with another ``ledger.json``, as a lying coordinator would sign it."""
    run, _, records = world
    value = json.loads(records["ledger.json"])
    change(value)
    changed = {**records, "ledger.json": canonical.encode(value)}
    del changed["manifest.json"]
    return encode_pack(changed, identity=run.coordinator, run=run.run, plan_digest=run.plan.digest)


def code_of(data):
    report = verify.verify_bytes(data)
    assert not report.ok
    assert report.faults[0].record == "ledger.json"
    return report.faults[0].code


def proof(value, claim):
    return next(each for each in value["proofs"] if each["claim"] == claim)


def test_reservations_release_and_consents_are_proved(world):
    report = verify.verify(world[1].pack)
    assert report.ok, report.faults
    said = {check.name: check.detail for check in report.checks}
    assert said["ledger"].startswith("4 reservations and the release proved under block")
    assert "consents" in said
    assert not any("no ledger proofs" in note for note in report.notes)


def test_a_proof_of_another_value_is_found_out(world):
    def other_node(value):
        nodes = proof(value, "reservation")["proof"]["storageProof"][0]["proof"]
        nodes[-1] = nodes[-1][:-2] + ("00" if nodes[-1][-2:] != "00" else "01")

    assert code_of(resigned(world, other_node)) == "V091"


def test_a_reservation_of_another_hospital_does_not_count(world):
    def other(value):
        first, second = [each for each in value["proofs"] if each["claim"] == "reservation"][:2]
        first["proof"] = second["proof"]

    assert code_of(resigned(world, other)) in {"V091", "V092"}


def test_a_reservation_that_is_missing_is_found_out(world):
    assert code_of(
        resigned(world, lambda v: v["proofs"].remove(proof(v, "reservation")))
    ) == "V092"  # fmt: skip


def test_a_release_that_is_not_on_the_ledger_is_found_out(world):
    assert code_of(resigned(world, lambda v: v["proofs"].remove(proof(v, "record")))) == "V093"


def test_a_block_that_the_coordinator_did_not_sign_is_found_out(world):
    def other(value):
        value["blocks"][0]["tip"]["signatures"] = []

    assert code_of(resigned(world, other)) == "V090"


def co_signed(world, *orgs, change=lambda statement: statement):
    """The pack with these members' co-signatures of its block."""

    def add(value):
        tip = value["blocks"][0]["tip"]["payload"]
        payload = {key: tip[key] for key in ("genesis", "hash", "number")}
        statement = Document("twinward/block/v1", change(payload))
        for org in orgs:
            statement = statement.signed_by(world[0].identities[org])
        value["blocks"][0]["witnesses"] = json.loads(statement.encode())

    return resigned(world, add)


def test_the_report_names_the_witnesses_of_the_block(world):
    report = verify.verify_bytes(co_signed(world, *HOSPITALS[:2]))
    assert report.ok, report.faults
    named = ", ".join(sorted(HOSPITALS[:2]))
    assert any(f"1 operator, 2 witnesses ({named})" in note for note in report.notes)
    report = verify.verify_bytes(co_signed(world))
    assert any("1 operator, 0 witnesses" in note for note in report.notes)


def test_a_witness_that_is_none_is_found_out(world):
    assert code_of(co_signed(world, HOSPITALS[0], "coordinator")) == "V094"
    other = co_signed(world, HOSPITALS[0], change=lambda payload: {**payload, "number": 1})
    assert code_of(other) == "V094"

    def forged(value):
        block = value["blocks"][0]
        block["witnesses"] = json.loads(
            Document(
                "twinward/block/v1",
                {key: block["tip"]["payload"][key] for key in ("genesis", "hash", "number")},
                ((world[0].identities[HOSPITALS[0]].public.fingerprint, bytes(64)),),
            ).encode()
        )

    assert code_of(resigned(world, forged)) == "V094"


def test_a_header_with_another_state_is_found_out(world):
    def other(value):
        header = value["blocks"][0]["header"]
        value["blocks"][0]["header"] = header[:400] + "ff" + header[402:]

    assert code_of(resigned(world, other)) in {"V090", "V003"}


@pytest.mark.parametrize("drop", ["blocks", "proofs"])
def test_half_of_the_proofs_is_not_taken_for_none(world, drop):
    report = verify.verify_bytes(resigned(world, lambda v: v[drop].clear()))
    assert not report.ok


def test_an_empty_storage_slot_is_proved_to_be_empty(world, network, node):
    """Nothing reserved reads as zero, by a proof of absence, and fails as too little."""
    run = world[0]
    rpc = Rpc(node.url)
    tip = network.coordinator.tip().statement(genesis=network.genesis, now=1.0)
    wanted = claims(run=os.urandom(32), release=world[1].digest, hospitals={})
    nothing = claims(
        run=os.urandom(32),
        release=world[1].digest,
        hospitals={"basel": address_of(network.keys[1])},
    )[0]
    record = ledger_record(
        rpc,
        [nothing, *wanted],
        contracts=network.contracts,
        tip=tip.signed_by(run.coordinator),
    )
    rpc.close()
    header = verify.rlp_decode(bytes.fromhex(record["blocks"][0]["header"][2:]))
    contract = bytes.fromhex(network.contracts.provenance[2:])
    for slot in nothing.slots:
        key = slot.to_bytes(32)
        assert verify.storage_value(header[3], contract, key, record["proofs"][0]["proof"]) == 0


def test_a_tip_of_a_block_that_the_node_does_not_have_is_refused(world, network, node):
    rpc = Rpc(node.url)
    tip = replace(network.coordinator.tip(), hash=os.urandom(32))
    document = tip.statement(genesis=network.genesis, now=1.0).signed_by(Identity.generate())
    with pytest.raises(LedgerError) as refused:
        ledger_record(rpc, [], contracts=network.contracts, tip=document)
    assert refused.value.code == "TW8512"
    rpc.close()


def test_the_contracts_stand_where_the_verifier_looks(network):
    assert set(Addresses.of(address_of(network.keys[0])).to_json()) == {
        "membership", "consent", "provenance", "audit_anchor",
    }  # fmt: skip


def with_move(world, contract, *, signers=HOSPITALS, change=lambda payload: payload):
    """The pack after a move of one contract that these hospitals signed."""
    run, _, records = world
    document = moved.propose(
        run.founding, addresses={contract: "0x" + "ab" * 20}, block=5, reason="why", suspended=()
    )
    document = Document(document.kind, change(dict(document.payload)))
    for org in signers:
        document = document.signed_by(run.identities[org])
    named = {**records, moved.FILE: moved.encode([document])}
    del named["manifest.json"]
    data = encode_pack(named, identity=run.coordinator, run=run.run, plan_digest=run.plan.digest)
    return verify.verify_bytes(data)


def test_a_move_that_every_hospital_signed_counts_in_the_pack_and_no_other_does(world):
    report = with_move(world, "audit_anchor")
    assert report.ok, report.faults
    assert "contracts moved at block 5: why" in str(report.checks)
    # What is proved has to be proved of the contract in force.
    assert with_move(world, "provenance").faults[0].code == "V091"
    for signers in (HOSPITALS[:-1], ("coordinator",), ()):
        assert with_move(world, "audit_anchor", signers=signers).faults[0].code == "V024"
    excused = sorted(one.fingerprint for one in world[0].founding.hospitals)

    def only_one(payload):
        return {**payload, "signers": excused[:1], "suspended": excused[1:]}

    elsewhere = "0x" + "cd" * 20
    for change in (
        only_one,
        lambda payload: {**payload, "signers": payload["signers"][1:]},
        lambda payload: {**payload, "number": 2},
        lambda payload: {**payload, "genesis": "00" * 32},
        lambda payload: {**payload, "old": {**payload["old"], "provenance": elsewhere}},
        lambda payload: {**payload, "new": {**payload["new"], "consent": elsewhere}},
    ):
        assert with_move(world, "audit_anchor", change=change).faults[0].code == "V024"
