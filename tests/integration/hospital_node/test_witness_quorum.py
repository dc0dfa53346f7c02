"""When a witness's own knowledge refuses the cohort, and what counts as an agreement."""

import pytest

from hospital_node.egress import Egress
from hospital_node.paths import NodePaths
from hospital_node.witness import Standing, WitnessThread
from ledger.embedded.genesis import Genesis
from ledger.witness import BlockStatement
from tests.simulators.finished_run import found
from twinward.clock import FixedClock
from twinward.errors import ConsentError, IdentityError, LedgerError, LedgerUnreachable
from twinward.organisation import Organisation
from twinward.signing import Document, Identity

NOW = 1_790_000_000.0
ADDRESSES = ("membership", "consent", "provenance", "audit_anchor")
ORGS = ("coordinator", "east", "north", "south")
GENESIS = Genesis(chain_id=7946, timestamp=int(NOW), extra=b"witness")


@pytest.fixture(scope="module")
def world():
    return {org: Identity.generate() for org in ORGS}


@pytest.fixture
def witness(tmp_path, world):
    """Never started: what it is told comes from the test, signed by real keys."""
    import grpc

    chain = {
        "genesis": {"chainId": 7946, "timestamp": int(NOW)},
        "genesis_hash": GENESIS.hash().hex(),
        "contracts": dict.fromkeys(ADDRESSES, "0x" + "11" * 20),
    }
    egress = Egress(tmp_path / "egress.jsonl", clock=FixedClock(NOW))
    thread = WitnessThread(
        NodePaths(tmp_path),
        tls=Organisation(tmp_path).tls,
        founding=found(world, chain=chain),
        identity=world["east"],
        channel=grpc.insecure_channel("127.0.0.1:1"),
        egress=egress,
        clock=FixedClock(NOW),
        quorum=2,
        max_age_seconds=30.0,
    )
    yield thread
    thread.stop()
    egress.close()


def statement(world, *orgs, number=5, block=b"\5" * 32):
    document = BlockStatement(GENESIS.hash(), number, block).document()
    for org in orgs:
        document = document.signed_by(world[org])
    return document


def code_of(work, kind):
    with pytest.raises(kind) as refusal:
        work()
    return refusal.value.code


def test_before_enough_hospitals_agree_there_is_no_cohort(world, witness):
    assert code_of(witness.require, ConsentError) == "TW3560"
    witness._votes.cast([(5, b"\5" * 32)])
    witness._tips.append((5, NOW))
    witness._believe(statement(world, "east"), newest=5)
    witness._believe(statement(world, "east", "coordinator"), newest=5)  # is no witness
    assert code_of(witness.require, ConsentError) == "TW3560"
    witness._believe(statement(world, "east", "north"), newest=5)
    witness.require()
    assert witness.standing.witnesses == 2


def test_an_agreement_is_as_old_as_the_last_tip_that_it_covers(world, witness):
    witness._votes.cast([(5, b"\5" * 32), (6, b"\6" * 32)])
    witness._tips.extend([(5, NOW - 40), (6, NOW)])
    witness._believe(statement(world, "east", "north"), newest=6)
    assert code_of(witness.require, ConsentError) == "TW3560"
    witness._believe(statement(world, "east", "north", number=6, block=b"\6" * 32), newest=6)
    witness.require()


def test_an_agreement_on_another_block_than_the_one_signed_here_is_a_split(world, witness):
    witness._votes.cast([(5, b"\4" * 32)])
    witness._tips.append((5, NOW))
    others = statement(world, "north", "south")
    assert code_of(lambda: witness._believe(others, newest=5), LedgerError) == "TW3557"


def test_a_forged_co_signature_does_not_count(world, witness):
    witness._votes.cast([(5, b"\5" * 32)])
    witness._tips.append((5, NOW))
    good = statement(world, "east")
    forged = Document(
        good.kind,
        good.payload,
        (*good.signatures, (world["north"].public.fingerprint, bytes(64))),
    )
    assert code_of(lambda: witness._believe(forged, newest=5), IdentityError) == "TW2002"
    assert code_of(witness.require, ConsentError) == "TW3560"


def test_what_contradicts_the_ledger_refuses_at_once_and_silence_does_not(witness):
    agreed = Standing(block=5, agreed=(5, NOW), witnesses=3)
    wrong = LedgerError("wrong", code="TW3550", help="none")
    witness.standing = Standing(5, agreed.agreed, 3, wrong)
    assert code_of(witness.require, LedgerError) == "TW3550"
    witness.standing = Standing(5, agreed.agreed, 3, LedgerUnreachable("silent", help="none"))
    witness.require()
