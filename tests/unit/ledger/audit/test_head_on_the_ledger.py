"""An answer from an audit log, tied to the ledger by a head; the chain's state is made here."""

import os

import pytest
import rlp
from eth_hash.auto import keccak
from trie import HexaryTrie

from ledger import verify
from ledger.audit import fhir
from ledger.audit.log import AuditLog, Happened
from ledger.evidence import as_json
from ledger.log import answer
from ledger.tip import Tip
from tests.simulators.finished_run import found
from twinward import canonical
from twinward.clock import FixedClock
from twinward.signing import Identity

NOW = 1_790_000_000.0
NUMBER = 2  # `north` is the second member


class Ledger:
    """A contract with two words, in a state with proofs, under a block that can be signed."""

    def __init__(self, address):
        self.address, self.stands = address, None

    def anchored(self):
        return self.stands

    def anchor(self, size, root, proof):
        self.stands = (size, root)

    def block(self):
        """Header and `eth_getProof` of the state as it is now."""
        size, root = self.stands
        slot = int.from_bytes(keccak(NUMBER.to_bytes(32, "big") + bytes(32)), "big")
        storage, world = HexaryTrie({}), HexaryTrie({})
        words = {slot: int.from_bytes(root, "big"), slot + 1: 1_790_000_000 << 64 | size}
        for place, word in words.items():
            key = keccak(place.to_bytes(32, "big"))
            storage[key] = rlp.encode(word.to_bytes(32, "big").lstrip(b"\0"))
        world[keccak(self.address)] = rlp.encode([b"\1", b"", storage.root_hash, keccak(b"")])
        proof = {
            "accountProof": shown(world, self.address),
            "storageProof": [
                {"key": hex(p), "proof": shown(storage, p.to_bytes(32, "big"))} for p in words
            ],
        }
        fields = [os.urandom(32)] * 3 + [world.root_hash] + [b"x"] * 4 + [b"\x07"] + [b"y"] * 7
        return rlp.encode(fields), world.root_hash, proof


def shown(trie, key):
    return ["0x" + rlp.encode(node).hex() for node in trie.get_proof(keccak(key))]


class Site:
    def __init__(self, folder):
        self.identities = {
            n: Identity.generate() for n in ("coordinator", "north", "south", "east")
        }
        names = ("membership", "consent", "provenance", "audit_anchor")
        contracts = {name: "0x" + os.urandom(20).hex() for name in names}
        self.genesis = os.urandom(32)
        chain = {"genesis_hash": self.genesis.hex(), "contracts": contracts}
        self.founding = found(self.identities, chain=chain)
        self.ledger = Ledger(bytes.fromhex(contracts["audit_anchor"][2:]))
        self.audit = AuditLog(
            folder,
            org="north",
            genesis=self.genesis,
            identity=self.identities["north"],
            clock=FixedClock(NOW),
        )

    def happens(self, count=3):
        body = fhir.activity(org="north", what="run-opened", by="nöde", about=(), at=NOW)
        self.audit.enter([Happened("run-opened", body)] * count)

    def anchor_record(self, **changes):
        header, root, proof = self.ledger.block()
        tip = Tip(number=7, hash=keccak(header), state_root=root, time=1)
        statement = tip.statement(genesis=self.genesis, now=NOW)
        block = {
            "tip": as_json(statement.signed_by(self.identities["coordinator"])),
            "header": "0x" + header.hex(),
        }
        record = canonical.decode(self.audit.head().record(block=block, proof=proof))
        return canonical.encode({**record, **changes})

    def answer(self, anchor):
        return answer.build(
            self.audit.log,
            checkpoint=self.audit.head().note,
            topics=["kind:run-opened"],
            body=self.audit.body,
            question={},
            shown={"founding.json": self.founding.document.encode(), "anchor.json": anchor},
        )


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    for _ in range(3):
        site.happens()
        site.audit.tick(site.ledger)
    yield site
    site.audit.close()


def test_an_answer_is_tied_to_the_ledger_by_a_head(site):
    site.happens()  # not anchored yet: the answer is as of the head
    report = verify.verify_bytes(site.answer(site.anchor_record()))
    assert report.ok, report.faults
    said = {check.name: check.detail for check in report.checks}
    assert said["anchor"] == "head 3 of 3 on the ledger, block 7"
    assert said["complete"] == "kind:run-opened: all 9 entries"


def code(data):
    report = verify.verify_bytes(data)
    assert not report.ok
    return report.faults[0].code


def test_a_head_of_another_checkpoint_salt_or_place_is_refused(site):
    good = canonical.decode(site.anchor_record())
    older = site.audit.checkpoint().encode().decode()
    site.happens()
    newer = site.audit.checkpoint().encode().decode()
    assert older == good["checkpoint"]
    assert code(site.answer(site.anchor_record(checkpoint=newer))) == "V119"
    assert code(site.answer(site.anchor_record(salt="00" * 32))) == "V119"
    assert code(site.answer(site.anchor_record(index=1))) == "V119"
    assert code(site.answer(site.anchor_record(path=["00" * 32]))) == "V119"


def test_a_head_that_the_ledger_does_not_have_is_refused(site):
    size, root = site.ledger.stands
    site.ledger.stands = (size, os.urandom(32))
    assert code(site.answer(site.anchor_record())) == "V119"
    site.ledger.stands = (size, root)
    other = Ledger(os.urandom(20))
    other.stands = (size, root)
    assert code(site.answer(site.anchor_record(proof=other.block()[2]))) == "V091"
