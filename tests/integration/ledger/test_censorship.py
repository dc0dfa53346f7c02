"""A withdrawal that was acknowledged and kept from the ledger is evidence; nothing else is."""

import json
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from consent.kept import State
from consent.receipts import withdrawal_receipt
from consent.record import Withdrawal
from consent.withdrawals import KeptWithdrawal
from ledger import verify
from ledger.censorship import evidence
from ledger.cli import verify as verify_command
from ledger.embedded.backup import backup
from ledger.fork import Statements
from ledger.rpc import Rpc
from tests.simulators.finished_run import found
from tests.simulators.ledger.network import START, LedgerNetwork, Patient, RunningNode
from twinward import canonical
from twinward.errors import EvidenceError, UsageError
from twinward.signing import Identity

DEADLINE = START + 1_000
ORGS = ("coordinator", "east", "north", "south")


class World:
    def __init__(self, folder):
        self.identities = {org: Identity.generate() for org in ORGS}
        self.node = RunningNode(folder)
        self.network = LedgerNetwork(self.node.url, genesis=self.node.genesis.hash(), hospitals=3)
        self.rpc = Rpc(self.node.url)
        chain = {
            "genesis_hash": self.network.genesis.hex(),
            "contracts": self.network.contracts.to_json(),
        }
        self.founding = found(self.identities, chain=chain).document.encode()
        self.patient = Patient(self.network)
        self.network.hospitals[0].relay_grants([self.patient.signed_grant()])

    def receipt(self, *, by="east", signed=True):
        values = self.patient.withdrawal()
        withdrawal = Withdrawal(*values)
        kept = KeptWithdrawal(
            digest=self.patient.digest(values),
            study=self.patient.study,
            subject=self.patient.subject,
            record="R1",
            through_nonce=1,
            withdrawal=withdrawal if signed else None,
            signature=None,
            received_at=START,
            on_chain_by=DEADLINE,
            receipt=None,
            state=State.WAITING,
            reason=None,
        )
        made = withdrawal_receipt(
            kept, hospital=by, identity=self.identities["east"], excluded_from_step=None
        )
        return made.encode()

    def tip(self, *, seen=DEADLINE + 1.0, signer="coordinator"):
        statement = self.network.coordinator.tip().statement(genesis=self.network.genesis, now=seen)
        return statement.signed_by(self.identities[signer])

    def evidence(self, receipt, *tips):
        return evidence(
            receipt,
            tips=tips,
            rpc=self.rpc,
            contract=self.network.contracts.consent,
            founding=self.founding,
        )

    def close(self):
        self.rpc.close()
        self.network.close()
        self.node.stop()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("censorship"))
    yield world
    world.close()


def relay(world):
    values, signature = world.patient.signed_withdrawal()
    world.network.hospitals[1].relay_withdrawal(values, signature)


@pytest.mark.parametrize("signed", [True, False])
def test_a_permission_that_still_stands_after_the_deadline_is_proved_offline(world, signed):
    early, late = world.tip(seen=DEADLINE - 5.0), world.tip()
    archive = world.evidence(world.receipt(signed=signed), early, late)
    report = verify.verify_bytes(archive, founding=world.founding)
    assert report.ok
    assert "east took the withdrawal" in report.checks[-1].detail
    assert "who kept the withdrawal away" in report.notes[0]


def test_before_the_deadline_there_is_nothing_to_prove(world):
    with pytest.raises(UsageError) as error:
        world.evidence(world.receipt(), world.tip(seen=DEADLINE))
    assert error.value.code == "TW8041"


def test_a_receipt_of_a_stranger_or_in_another_name_proves_nothing(world):
    with pytest.raises(EvidenceError) as error:
        world.evidence(world.receipt(by="north"), world.tip())
    assert (error.value.code, error.value.diagnostic.note) == ("TW8042", "V123")


def test_a_block_that_the_coordinator_did_not_sign_proves_nothing(world):
    with pytest.raises(EvidenceError) as error:
        world.evidence(world.receipt(), world.tip(signer="north"))
    assert error.value.diagnostic.note == "V124"


def test_evidence_that_was_changed_anywhere_is_refused_by_name(world):
    records, _ = verify.read_archive(world.evidence(world.receipt(), world.tip()))
    value = json.loads(records["censored.json"])

    def code(change):
        changed = json.loads(json.dumps(value))
        change(changed)
        record = canonical.encode(changed)
        archive = verify.write_archive({**records, "censored.json": record})
        return verify.verify_bytes(archive, founding=world.founding).faults[0].code

    payload = value["receipt"]["payload"]
    assert code(lambda v: v["receipt"]["payload"].update(on_chain_by=START)) == "V123"
    assert code(lambda v: v["receipt"]["payload"].update(subject="11" * 20)) == "V123"
    assert code(lambda v: v["tip"]["payload"].update(time=DEADLINE + 9.0)) == "V124"
    assert code(lambda v: v.update(header=v["header"][:-2] + "00")) == "V124"
    assert code(lambda v: v["proof"]["storageProof"][0]["proof"].pop()) == "V003"
    assert payload["on_chain_by"] == DEADLINE


def written(world, folder, *, receipt=None, tip=None):
    """What a patient has in hand: receipt, statements, founding file, a copy of the ledger."""
    (folder / "receipt.json").write_bytes(receipt or world.receipt())
    statements = Statements((tip or world.tip(),), {}).encode()
    (folder / "statements").write_bytes(statements)
    (folder / "founding.json").write_bytes(world.founding)
    backup(world.node.folder, folder / "ledger.copy")
    return folder


def verified(folder, file="receipt.json", *options):
    words = [str(folder / file), "--founding", str(folder / "founding.json"), "--json", *options]
    done = CliRunner().invoke(verify_command, ["censorship", *words])
    return done.exit_code, json.loads(done.stdout)


def with_the_copy(folder):
    copy, statements = str(folder / "ledger.copy"), str(folder / "statements")
    return "--statements", statements, "--copy", copy


def test_a_patient_proves_it_without_a_network_and_anybody_checks_it(world, tmp_path):
    folder = written(world, tmp_path)
    out = str(folder / "evidence.zip")
    status, said = verified(folder, "receipt.json", *with_the_copy(folder), "--out", out)
    assert (status, said["verdict"], said["evidence"]) == (6, "kept-away", out)
    status, said = verified(folder, "evidence.zip")
    assert (status, said["verdict"]) == (6, "kept-away")
    assert "east took the withdrawal" in said["detail"]
    assert verify.main([out, "--founding", str(folder / "founding.json")]) == 0
    assert not list(Path(tempfile.gettempdir()).glob("twinward-ledger-*"))


def test_the_record_that_a_patient_takes_home_is_a_receipt(world, tmp_path):
    whole = {
        "schema": "twinward/consent-record/v1",
        "receipts": {"grant": None, "withdrawal": json.loads(world.receipt())},
    }
    folder = written(world, tmp_path, receipt=json.dumps(whole, indent=2).encode())
    assert verified(folder, "receipt.json", *with_the_copy(folder))[0] == 6
    assert not (folder / "evidence.zip").exists()


def test_what_tells_nothing_is_refused_by_name_and_not_as_a_verdict(world, tmp_path):
    folder = written(world, tmp_path)
    copy = with_the_copy(folder)

    def code(file, *options):
        status, said = verified(folder, file, *options)
        assert status in {1, 2, 3}
        return said["error"]["code"]

    assert code("receipt.json") == "TW3181"
    assert code("receipt.json", *copy, "--ledger", "http://127.0.0.1:1") == "TW3181"
    assert code("founding.json", *copy) == "TW3180"
    assert code("ledger.copy", *copy) == "TW3180"
    (folder / "nested.json").write_text("[" * 100_000)
    assert code("nested.json", *copy) == "TW3180"
    assert code("receipt.json", *copy[:-1], str(folder / "nowhere")) == "TW3572"
    assert code("receipt.json", *copy[:-1], str(folder / "founding.json")) == "TW5013"
    (folder / "stranger.json").write_bytes(world.receipt(by="north"))
    assert code("stranger.json", *copy) == "TW8042"


def test_a_withdrawal_that_came_to_the_ledger_is_no_censorship(world, tmp_path):
    late = world.tip()
    relay(world)
    assert world.evidence(world.receipt(), world.tip()) is None
    folder = written(world, tmp_path)
    status, said = verified(folder, "receipt.json", *with_the_copy(folder))
    assert (status, said["verdict"], said["evidence"]) == (0, "on-ledger", None)
    # What was true before it came stays provable: it came after the deadline.
    assert world.evidence(world.receipt(), late) is not None
