"""A report's digest over a real ledger: what the proof beside it shows, and what it does not."""

import os
import time

import pytest

from hospital_node.twins import validation, validation_ledger
from hospital_node.twins.validation import Release, Row, Section
from ledger import evidence, verify
from ledger.account import address_of
from ledger.chain import Kind
from ledger.endpoint import Endpoint
from tests.simulators.finished_run import HOSPITALS, found
from tests.simulators.ledger.fixtures import network, node
from twinward.errors import EvidenceError, IdentityError, LedgerError
from twinward.signing import Identity

__all__ = ["network", "node"]
ORG = HOSPITALS[0]


class World:
    """A founded network, its ledger, and reports of one hospital."""

    def __init__(self, network, node):
        self.network, self.node = network, node
        self.identities = {org: Identity.generate() for org in ("coordinator", *HOSPITALS)}
        accounts = dict(zip(self.identities, map(address_of, network.keys), strict=False))
        chain = {"genesis_hash": network.genesis.hex(), "contracts": network.contracts.to_json()}
        self.founding = found(self.identities, accounts=accounts, chain=chain)

    def report(self):
        section = Section("Open", Release.PUBLIC, "tests", (Row("figure", 0.5),))
        return validation.seal(
            (section,), about={"org": ORG, "release": None}, identity=self.identities[ORG],
            entropy=os.urandom,
        )  # fmt: skip

    def proof(self, report, *, signer="coordinator"):
        tip = self.network.coordinator.tip()
        statement = tip.statement(genesis=self.network.genesis, now=time.time())
        rpc = Endpoint(self.node.url).rpc()
        claim = evidence.Claim("record", "provenance", (verify.record_slot(report.digest),))
        try:
            return evidence.ledger_record(
                rpc, [claim], contracts=self.network.contracts,
                tip=statement.signed_by(self.identities[signer]),
            )  # fmt: skip
        finally:
            rpc.close()

    def check(self, report, proof):
        return validation_ledger.check(report, proof, founding=self.founding)


@pytest.fixture(scope="module")
def world(network, node):
    return World(network, node)


@pytest.fixture(scope="module")
def recorded(world):
    report = world.report()
    world.network.hospitals[0].record(report.digest, Kind.PACK, ())
    return report, world.proof(report)


def test_the_proof_says_who_recorded_it_and_when(world, recorded):
    report, proof = recorded
    shown = world.check(report, proof)
    assert shown.org == ORG
    assert 0 <= world.network.coordinator.tip().time - shown.at < 600
    assert "The ledger has held it since" in shown.words
    copy = report.handed_out()
    assert world.check(copy, proof) == shown


def test_a_report_that_nobody_or_another_recorded_is_not_shown_to_be_there(world):
    report = world.report()
    with pytest.raises(EvidenceError, match="does not hold its digest"):
        world.check(report, world.proof(report))
    world.network.hospitals[1].record(report.digest, Kind.PACK, ())
    with pytest.raises(EvidenceError, match="another member recorded it"):
        world.check(report, world.proof(report))


def test_the_proof_of_another_report_shows_nothing(world, recorded):
    with pytest.raises(LedgerError, match="another storage slot"):
        world.check(world.report(), recorded[1])


def test_a_block_that_the_coordinator_did_not_sign_shows_nothing(world, recorded):
    report, _ = recorded
    with pytest.raises(IdentityError):
        world.check(report, world.proof(report, signer=ORG))


@pytest.mark.parametrize("change", ["contract", "value", "header", "nothing"])
def test_a_proof_that_was_changed_shows_nothing(world, recorded, change):
    report, _ = recorded
    proof = world.proof(report)
    storage = proof["proofs"][0]["proof"] = dict(proof["proofs"][0]["proof"])
    if change == "contract":
        storage["address"] = world.network.contracts.consent
    elif change == "value":
        storage["storageProof"] = [{**storage["storageProof"][0], "proof": []}]
    elif change == "header":
        proof["blocks"][0]["header"] = proof["blocks"][0]["header"][:-2] + "00"
    else:
        proof = {}
    with pytest.raises((EvidenceError, LedgerError)) as refusal:
        world.check(report, proof)
    assert refusal.value.code in {"TW7178", "TW5041"}
