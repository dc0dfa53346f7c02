"""Grants under one anchored root: each is written as if it had been relayed, or not at all."""

import os

import pytest

from ledger.calls import ContractRefused
from ledger.consents import REASONS, SIGNED
from tests.simulators.ledger import merkle
from tests.simulators.ledger.network import DAY, START, Patient


class Bulk:
    """Patients' signed grants and the root over them, anchored by one hospital."""

    def __init__(self, network, count=5, *, by=0, **changes):
        self.network, self.relay = network, network.hospitals[by]
        self.patients = [Patient(network, study=os.urandom(32)) for _ in range(count)]
        self.items = [patient.signed_grant(**changes) for patient in self.patients]
        self.digests = [p.digest(g) for p, (g, _) in zip(self.patients, self.items, strict=True)]
        self.leaves = [
            merkle.leaf_hash(digest + signature)
            for digest, (_, signature) in zip(self.digests, self.items, strict=True)
        ]
        self.root = merkle.root(self.leaves)

    def anchor(self):
        self.relay.anchor_grants(root=self.root, size=len(self.leaves))
        return self

    def prove(self, which, **changes):
        grant, signature = self.items[which]
        known = {
            "digest": self.digests[which],
            "relay": self.relay.number_of(self.relay.account),
            "root": self.root,
            "index": which,
            "path": merkle.inclusion(which, self.leaves),
        }
        self.network.coordinator.prove_grant(grant, signature, **{**known, **changes})

    def slot(self, index):
        patient = self.patients[index]
        return self.network.coordinator.consent(patient.study, patient.subject)


def refused(name, call):
    with pytest.raises(ContractRefused) as refusal:
        call()
    assert refusal.value.name == name
    return refusal.value


def test_a_proved_grant_stands_as_if_the_hospital_had_relayed_it(network):
    bulk = Bulk(network, by=1).anchor()
    bulk.prove(3)
    slot = bulk.slot(3)
    assert (slot.purposes, slot.nonce, slot.flags) == (5, 1, SIGNED)
    assert network.coordinator.members()[slot.relay - 1] == network.members[2]
    assert bulk.slot(2).nonce == 0  # nothing of the others is written
    bulk.prove(3)  # once more changes nothing
    assert bulk.slot(3) == slot


def test_anchoring_says_nothing_about_anybody_and_is_safe_to_repeat(network):
    bulk = Bulk(network).anchor().anchor()
    assert all(bulk.slot(n).nonce == 0 for n in range(5))
    refused("EmptyBatch", lambda: bulk.relay.anchor_grants(root=bytes(32), size=1))
    refused("NotAHospital", lambda: network.coordinator.anchor_grants(root=bulk.root, size=5))


def test_a_grant_that_is_not_in_the_batch_is_refused(network):
    bulk, other = Bulk(network).anchor(), Bulk(network)
    refused("NotIncluded", lambda: bulk.prove(0, index=1))
    refused("NotIncluded", lambda: bulk.prove(0, path=bulk.leaves[:3]))
    refused("NotAnchored", lambda: other.prove(0))
    refused("NotAnchored", lambda: bulk.prove(0, relay=3))


def test_a_forged_signature_in_a_batch_is_refused(network):
    forged = Bulk(network)
    grant, _ = forged.items[0]
    forged.items[0] = (grant, forged.items[1][1])
    forged.leaves[0] = merkle.leaf_hash(forged.digests[0] + forged.items[1][1])
    forged.root = merkle.root(forged.leaves)
    forged.anchor()
    refusal = refused("Refused", lambda: forged.prove(0))
    assert REASONS[refusal.values["reason"]] == "BadSignature"


def test_what_was_withdrawn_before_it_was_proved_stays_withdrawn(network):
    bulk = Bulk(network).anchor()
    network.coordinator.relay_withdrawal(*bulk.patients[0].signed_withdrawal(nonce=0))
    refusal = refused("Refused", lambda: bulk.prove(0))
    assert REASONS[refusal.values["reason"]] == "WrongNonce"
    assert bulk.slot(0).purposes == 0
    bulk.prove(1)
    network.coordinator.relay_withdrawal(*bulk.patients[1].signed_withdrawal())
    bulk.prove(1)  # it took effect once, which is what is asked; it does not take effect again
    assert bulk.slot(1).purposes == 0


def test_it_was_handed_in_when_the_batch_was_anchored(node, network):
    late, early = Bulk(network, submitBy=START + DAY), Bulk(network, submitBy=START + DAY).anchor()
    node.clock.at += 2 * DAY
    late.anchor()
    early.prove(0)
    refusal = refused("Refused", lambda: late.prove(0))
    assert REASONS[refusal.values["reason"]] == "TooLate"


def test_a_suspended_hospitals_batch_grants_nothing(network):
    bulk = Bulk(network, by=3).anchor()
    for voter in network.hospitals[:2]:
        voter.suspend(network.members[4].id)
    refused("NotAnchored", lambda: bulk.prove(0))
    for voter in network.hospitals[:2]:
        voter.reinstate(network.members[4].id)
    bulk.prove(0)
