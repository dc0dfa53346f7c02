"""The audit log of an organisation: entered, opened, erased, anchored; nothing personal remains."""

import hashlib
import hmac
import json
import os

import pytest

from ledger import verify
from ledger.audit import fhir, profiles
from ledger.audit.log import AuditLog, Happened
from ledger.log import answer
from ledger.log.entry import read
from tests.simulators.finished_run import found
from twinward.clock import FixedClock
from twinward.errors import LedgerError, LedgerUnreachable
from twinward.signing import Identity

NOW = 1_790_000_000.0
PATIENTS = [f"MRN-{n:05d}-{'xyzw'[n % 4]}" for n in range(12)]


class Chain:
    """The contract `AuditAnchor`: keeps the newest head of one log and checks that it grew."""

    def __init__(self):
        self.stands = None
        self.up = True
        self.sizes = []

    def _require_up(self):
        if not self.up:
            raise LedgerUnreachable("the ledger does not answer", code="TW5001", help="start it")

    def anchored(self):
        self._require_up()
        return self.stands

    def anchor(self, size, root, proof):
        self._require_up()
        old, old_root = self.stands or (0, verify.tree_root(()))
        assert size > old
        assert verify.is_consistent(old, old_root, size, root, proof)
        self.stands = (size, root)
        self.sizes.append(size)


class Site:
    def __init__(self, folder):
        self.folder = folder
        self.identities = {
            n: Identity.generate() for n in ("coordinator", "north", "south", "east")
        }
        self.founding = found(self.identities)
        self.clock = FixedClock(NOW)
        self.open()

    def open(self):
        self.audit = AuditLog(
            self.folder,
            org="north",
            genesis=bytes.fromhex(self.founding.chain["genesis_hash"]),
            identity=self.identities["north"],
            clock=self.clock,
        )

    def decide(self, patient, *, permit=True):
        body = fhir.consent_decision(
            org="north",
            patient=patient,
            study="heart-risk",
            consent="ab" * 20,
            permit=permit,
            rule="granted" if permit else "withdrawn-here",
            at=self.clock.now(),
        )
        about = ("study:" + "cd" * 32, f"decision:{'permit' if permit else 'deny'}")
        return self.audit.enter([Happened("consent-decision", body, about, patient)]).start

    def answer(self, *topics):
        return answer.build(
            self.audit.log,
            checkpoint=self.audit.checkpoint(),
            topics=topics or None,
            body=self.audit.body,
            question={},
            shown={"founding.json": self.founding.document.encode()},
        )


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.audit.close()


def test_all_that_happened_to_one_patient_is_proved_complete(site):
    for number in range(40):
        site.decide(PATIENTS[number % 5], permit=number % 7 != 0)
    topic = site.audit.bodies.topic(PATIENTS[2])
    report = verify.verify_bytes(site.answer(topic))
    assert report.ok, report.faults
    assert report.checks[-1].detail == f"{topic}: all 8 entries"
    records, _ = verify.read_archive(site.answer(topic))
    bodies = [json.loads(x.split(b" ", 1)[1]) for x in records["bodies.txt"].split(b"\n")[:-1]]
    assert {b["entity"][0]["what"]["identifier"]["value"] for b in bodies} == {PATIENTS[2]}
    denied = verify.verify_bytes(site.answer("decision:deny"))
    assert denied.checks[-1].detail == "decision:deny: all 6 entries"


def test_entries_survive_a_restart_and_go_on(site):
    site.decide(PATIENTS[0])
    topic = site.audit.bodies.topic(PATIENTS[0])
    site.audit.close()
    site.open()
    site.decide(PATIENTS[0])
    assert site.audit.bodies.topic(PATIENTS[0]) == topic
    assert verify.verify_bytes(site.answer(topic)).ok


def test_a_second_process_may_enter_too(site):
    """Commands write while the node runs."""
    other = AuditLog(
        site.folder,
        org="north",
        genesis=bytes.fromhex(site.founding.chain["genesis_hash"]),
        identity=site.identities["north"],
        clock=site.clock,
    )
    site.decide(PATIENTS[0])
    body = fhir.activity(org="north", what="approved", by="admin", about=(), at=NOW)
    for _ in range(3):
        other.enter([Happened("approved", body, ("account:admin",))])
        site.decide(PATIENTS[1])
        other.checkpoint()
        site.audit.checkpoint()
    report = verify.verify_bytes(site.answer())
    assert report.ok, report.faults
    assert site.audit.log.size == 7
    other.close()


# Erasure.


def stored(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_after_erasure_no_join_path_is_left_in_any_file(site):
    """No number of the patient, no key, no hash that the holder of all other secrets can make."""
    for patient in PATIENTS[:4]:
        for _ in range(3):
            site.decide(patient)
    site.audit.bodies.note("heart-risk", dict.fromkeys(PATIENTS[:4], "granted"))
    erased, topic = PATIENTS[2], site.audit.bodies.topic(PATIENTS[2])
    numbers = site.audit.log.entries_of(topic, size=12)
    opened = [site.audit.body(n) for n in numbers]
    before = b"".join(stored(site.folder).values())
    assert erased.encode() in before
    assert site.audit.erase(erased) == 3

    files = stored(site.folder)
    assert {"audit.sqlite", "heads.sqlite", "bodies.sqlite", "keys.sqlite"} <= set(files)
    name = topic.removeprefix("patient:")
    for file, data in files.items():
        assert erased.encode() not in data, file
        if not file.startswith("audit.sqlite"):  # there the topic stays, and points nowhere
            assert name.encode() not in data, file
        for salt, body in opened:
            assert salt not in data, file
            assert body not in data, file
    secrets = [site.identities["north"].derive(p) for p in ("", "audit", "patient", "site")]
    secrets += [bytes.fromhex(k) for k in site.founding.chain.values() if isinstance(k, str)]
    for secret in secrets:
        for message in (erased.encode(), b"twinward/audit/topic/v1"):
            assert hmac.new(secret, message, hashlib.sha256).hexdigest() != name
    assert hashlib.sha256(erased.encode()).hexdigest() != name

    assert site.audit.bodies.topic(erased) is None
    assert [site.audit.body(n) for n in numbers] == [None] * 3
    report = verify.verify_bytes(site.answer(topic))
    assert report.ok
    assert any("0 opened and as committed; 3 erased" in check.detail for check in report.checks)
    assert site.audit.body(0) is not None
    site.decide(erased)  # comes back: somebody new
    assert site.audit.bodies.topic(erased) != topic


def test_an_entry_does_not_say_who_or_what(site):
    seq = site.decide(PATIENTS[0])
    leaf = site.audit.log.leaf(seq)
    assert PATIENTS[0].encode() not in leaf
    again = site.decide(PATIENTS[0])
    fields = (read(leaf)["commitment"], read(site.audit.log.leaf(again))["commitment"])
    assert fields[0] != fields[1]  # the same body under another salt


def test_a_body_or_a_key_that_was_changed_is_named(site):
    seq = site.decide(PATIENTS[0])
    for table, column, db in (
        ("bodies", "sealed", site.audit.bodies._bodies),
        ("keys", "key", site.audit.bodies._keys),
    ):
        (value,) = db.execute(f"select {column} from {table}").fetchone()
        for place in (0, len(value) // 2, len(value) - 1):
            bent = bytearray(value)
            bent[place] ^= 1
            db.execute(f"update {table} set {column} = ?", (bytes(bent),))
            with pytest.raises(LedgerError) as refusal:
                site.audit.body(seq)
            assert refusal.value.code == "TW3611"
        db.execute(f"update {table} set {column} = ?", (value,))
    assert site.audit.body(seq) is not None


def test_the_check_names_the_row_that_was_changed(site):
    for patient in PATIENTS:
        site.decide(patient)
    site.audit.tick(Chain())
    site.audit.erase(PATIENTS[3])
    assert site.audit.check() == []
    commitment = bytes.fromhex(read(site.audit.log.leaf(5))["commitment"])
    site.audit.bodies._bodies.execute(
        "update bodies set sealed = zeroblob(80) where commitment = ?", (commitment,)
    )
    assert [(p.table, p.key) for p in site.audit.check()] == [("bodies", "5")]


def test_files_are_for_the_owner_only(site):
    for name in ("bodies.sqlite", "keys.sqlite"):
        assert (site.folder / name).stat().st_mode & 0o077 == 0


# Anchoring.


def test_what_others_see_is_one_head_a_tick_however_much_happened(site, tmp_path):
    """The size of the log would tell how many patients were used."""
    quiet = Site(tmp_path / "quiet") if (tmp_path / "quiet").mkdir() is None else None
    chains = Chain(), Chain()
    for tick in range(4):
        for patient in PATIENTS[: 3 * tick]:
            site.decide(patient)
        site.audit.tick(chains[0])
        quiet.audit.tick(chains[1])
    assert chains[0].sizes == chains[1].sizes == [1, 2, 3, 4]
    quiet.audit.close()


def test_the_lag_is_shown_while_the_ledger_is_down_and_made_up_when_it_is_back(site):
    chain = Chain()
    site.decide(PATIENTS[0])
    assert site.audit.lag().entries == 1
    site.audit.tick(chain)
    assert site.audit.lag().entries == 0
    chain.up = False
    site.decide(PATIENTS[1])
    site.clock.at += 90
    for _ in range(3):
        with pytest.raises(LedgerUnreachable):
            site.audit.tick(chain)
        site.decide(PATIENTS[2])
    assert (site.audit.lag().entries, site.audit.lag().seconds) == (4, 90.0)
    site.audit.close()
    site.open()
    assert site.audit.lag().entries == 4
    chain.up = True
    site.audit.tick(chain)
    assert site.audit.lag().entries == 0


def test_a_head_that_was_made_but_not_brought_is_brought_next(site):
    """The ledger goes down between its two calls; then the answer to the second one is lost."""
    chain = Chain()

    class Dying(Chain):
        def anchor(self, size, root, proof):
            raise LedgerUnreachable("the ledger does not answer", code="TW5001", help="start it")

    with pytest.raises(LedgerUnreachable):
        site.audit.tick(Dying())
    assert site.audit.heads.size == 1
    assert site.audit.tick(chain) == 1

    class Lost(Chain):
        def anchor(self, size, root, proof):
            chain.anchor(size, root, proof)
            raise LedgerUnreachable("the answer was lost", code="TW5001", help="ask again")

    lost = Lost()
    lost.stands = chain.stands
    with pytest.raises(LedgerUnreachable):
        site.audit.tick(lost)
    assert site.audit.tick(chain) == 3


def test_a_log_that_was_rolled_back_is_refused(site):
    chain = Chain()
    site.decide(PATIENTS[0])
    site.audit.tick(chain)
    site.audit.close()
    backup = stored(site.folder)
    site.open()
    site.decide(PATIENTS[1])
    site.audit.tick(chain)
    site.audit.close()
    for path in site.folder.iterdir():
        path.unlink()
    for name, data in backup.items():
        (site.folder / name).write_bytes(data)
    site.open()
    with pytest.raises(LedgerError) as refusal:
        site.audit.tick(chain)
    assert refusal.value.code == "TW3612"


def test_another_log_under_the_same_name_is_refused(site):
    chain = Chain()
    chain.stands = (1, os.urandom(32))
    site.decide(PATIENTS[0])
    site.audit.heads.append([])
    with pytest.raises(LedgerError) as refusal:
        site.audit.tick(chain)
    assert refusal.value.code == "TW3612"


# Bodies in FHIR.


def bodies():
    decision = {
        "org": "north", "patient": "1", "study": "heart-risk", "consent": "ab", "at": NOW,
    }  # fmt: skip
    yield fhir.consent_decision(**decision, permit=True, rule="granted")
    yield fhir.consent_decision(**decision, permit=False, rule="expired")
    yield fhir.disclosure(
        org="north", patient="1", study="heart-risk", run="ab" * 32, to="coordinator", at=NOW
    )
    yield fhir.activity(org="north", what="run-closed", by="node", about=("run:ab",), at=NOW)
    visitor = {"org": "north", "who": "ada", "address": "192.0.2.7", "at": NOW}
    yield fhir.sign_in(**visitor, way="passphrase", failure="TW7043")
    yield fhir.visit(**visitor, site="https://audit.example", asked="/timeline?kind=x")
    yield fhir.activity(org="north", what="login", by="x", about=(), at=NOW, failure="no key")


def without(value, path):
    copy = json.loads(json.dumps(value))
    *way, last = path
    place = copy
    for step in way:
        place = place[step]
    del place[last]
    return copy


def test_bodies_are_valid_audit_events_of_their_profiles():
    for body in bodies():
        assert profiles.problems(body) == []


def test_the_check_of_bodies_finds_what_is_missing_or_wrong():
    decision, _, disclosed, plain, _, visit, _ = bodies()
    for path in (
        ["type"], ["subtype", 0], ["action"], ["outcome"], ["recorded"], ["source"],
        ["source", "observer"], *(["agent", n] for n in range(4)), ["agent", 1, "network"],
        ["agent", 2, "requestor"], ["agent", 0, "who"], ["entity", 0], ["entity", 1],
        ["entity", 0, "role"],
    ):  # fmt: skip
        assert profiles.problems(without(decision, path)), path
    for path in (["agent", 0], ["agent", 1, "network"], ["entity", 1], ["subtype", 0]):
        assert profiles.problems(without(disclosed, path)), path
    for path in (
        ["agent", 0], ["agent", 1, "network"], ["agent", 2, "requestor"], ["entity", 0],
        ["entity", 0, "query"], ["subtype", 0],
    ):  # fmt: skip
        assert profiles.problems(without(visit, path)), path
    for path in (["agent"], ["type", "code"], ["resourceType"]):
        assert profiles.problems(without(plain, path)), path
    for change in ({"outcome": "7"}, {"recorded": "yesterday"}, {"note": "x"}, {"action": "X"}):
        assert profiles.problems({**plain, **change}), change
    assert profiles.problems({**plain, "meta": {"profile": ["https://example.org/x"]}})
