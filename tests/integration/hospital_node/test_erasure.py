"""A person is erased from every store of a node: crash, restore and a new store included."""

import json
import shutil
from contextlib import closing

import pytest
from click.testing import CliRunner

from consent.portal.sealed_keys import KEYS, SealedKeys, state_of
from consent.record import Grant
from consent.register import Register
from consent.standing import Mandate, Role
from hospital_node import audit_log, backup, erasure, erasures, holds, retention, stores
from hospital_node.cli import node as command
from hospital_node.consents import open_vault, open_versions
from hospital_node.data import imported, readmission
from hospital_node.data.drafts import Draft, Read
from hospital_node.notices import open_notices
from hospital_node.paths import NodePaths
from hospital_node.privacy import tombstones
from hospital_node.privacy.lifetime import Lifetime
from hospital_node.twins.cli_arguments import stored
from twinward import backup as archives
from twinward import canonical
from twinward.clock import SystemClock
from twinward.errors import ConsentError, TwinwardError
from twinward.organisation import Organisation
from twinward.sealed_file import Passphrase
from twinward.signing import Document

PATIENT, OTHER = "MRN-4711-0815", "MRN-4711-0816"


@pytest.fixture
def folder(hospital):
    """A node that knows two people in each of its stores."""
    made = hospital.folder
    for path in (*(made / "data").iterdir(), made / "book.before"):
        if path != hospital.data:
            path.unlink()  # of other hospitals and tests
    for record in (PATIENT, OTHER):
        known(made, hospital.world, record)
    return made


def known(folder, world, record):
    """Bring a person into every store that there is."""
    paths, now = NodePaths(folder), int(SystemClock().now())
    vault = open_vault(folder)
    with closing(vault.store):
        code, _ = vault.enrol(world.study, [record, record], valid_until=now + 86_400)
        digest = canonical.tagged_hash("test", record.encode())
        grant = Grant(
            network=bytes(32), study=world.study, subject=digest[:20],
            purposes=1, purpose_table=bytes(32), scope=bytes(32), terms_shown=bytes(32),
            not_before=0, expiry=now + 86_400, nonce=0, submit_by=now + 86_400,
        )  # fmt: skip
        with vault.store.transaction() as database:
            vault.keep(
                database, grant, digest=digest, signature=b"-", code=code,
                record=record, grade="signed-on-device", received_at=now,
            )  # fmt: skip
        mandate = Mandate(Role.DELEGATE, 1, now, now + 86_400)
        Register(vault).give(record, mandate, holder=f"sister of {record}")
    with closing(imported.open_store(folder)) as records:
        begun, done = records.begin(record.encode(), files=["x.csv"], at="2026-01-01")
        assert done == 0
        draft = Draft(record, "x.csv:1", {"age": 50.0}, qualifies=True)
        records.take(begun.number, 0, Read([draft], [], 1))
        records.end(begun.number)
    with stored(folder) as twins:
        twins.set_care(record, {"note": f"about {record}"})
    versions = open_versions(folder)
    with closing(versions.store):
        resource = {"resourceType": "Consent", "status": "active",
                    "patient": {"reference": f"Patient/{record}"}}  # fmt: skip
        versions.add(f"{record}-c", record, resource, at=float(now))
    sealed = {"subject": digest[:20].hex(), "box": "00"}
    with closing(SealedKeys.open(state_of(folder) / KEYS)) as keys:
        keys.keep(code, sealed)
    with closing(open_notices(folder, Organisation(folder).identity())) as mails:
        mails.ask(record, address="p@example.org", kinds=["study"], language="en", now=now)
    with audit_log.opened(folder) as audit:
        audit.cared("twin-made", record, twin="glucose/1", by="ward")
    key = Organisation(folder).identity().derive(tombstones.PURPOSE)
    with closing(Lifetime(paths.accounts, key=key, records=[record], limit_mu2=1.0)) as accounts:
        wanted = accounts.can_pay(0.01)
        run = tombstones.names(b"r", [record])[0].hex() * 2
        accounts.begin(run, what="training of heart-risk", mu2=0.01, wanted=wanted)


def mentions(folder, record=PATIENT):
    """Stores that still know the person, asked as their owners ask them, and raw bytes."""
    found = set()
    vault = open_vault(folder)
    with closing(vault.store):
        if vault.store.rows(
            "select 1 from grants where record = ? union select 1 from enrolments"
            " where record = ? union select 1 from mandates where record = ?",
            [vault.hidden.hide(record)] * 3,
        ):
            found.add("consents")
    with closing(imported.open_store(folder)) as records:
        if record in {kept.record for kept in records.patients()}:
            found.add("records")
    with stored(folder) as twins:
        if twins.care(record) is not None:
            found.add("twins")
    versions = open_versions(folder)
    with closing(versions.store):
        if versions.of(record):
            found.add("fhir")
    with audit_log.opened(folder) as audit:
        if record in audit.log.bodies.people():
            found.add("audit-bodies")
    with closing(SealedKeys.open(state_of(folder) / KEYS)) as keys:
        subject = canonical.tagged_hash("test", record.encode())[:20]
        if keys.holds(subject):
            found.add("sealed-keys")
    with closing(open_notices(folder, Organisation(folder).identity())) as mails:
        if mails.of(record) is not None:
            found.add("notices")
    for path in folder.rglob("*"):
        if path.is_file() and record.encode() in path.read_bytes():
            found.add(path.name)
    return found


ALL = {"consents", "records", "twins", "fhir", "audit-bodies", "sealed-keys", "notices"}


def test_a_person_is_gone_from_every_store_and_the_signed_report_names_each(folder):
    assert mentions(folder) >= ALL
    before = mentions(folder, OTHER)
    done = CliRunner().invoke(
        command, ["erase", str(folder), "-", "--json"], input=f"{PATIENT}\n{PATIENT}\n"
    )
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])["report"]
    report = Document.decode(canonical.encode(said), kind=erasure.KIND)
    report.verify(Organisation(folder).identity().public)
    assert mentions(folder) == set()
    assert mentions(folder, OTHER) == before
    said = {one["store"]: one for one in report.payload["stores"]}
    assert {name for name, one in said.items() if one["rows"]} == ALL
    assert all(one["ground"] for one in said.values())
    assert said["accounts"]["treatment"] == "kept"
    assert [one["study"] for one in report.payload["models"]] == ["heart-risk"]
    assert report.payload["unknown"] == []
    assert PATIENT.encode() not in report.encode()
    (kept,) = (NodePaths(folder).state / "erasures").iterdir()
    assert Document.decode(kept.read_bytes(), kind=erasure.KIND).digest == report.digest
    assert erasures.unfinished(folder) == []
    NodePaths(folder).patients_key.unlink()  # also where nothing was ever imported
    assert [readmission.left_out(folder).has(one) for one in (PATIENT, OTHER)] == [True, False]


def test_the_number_has_to_be_typed_twice(folder):
    given = ["erase", str(folder), PATIENT, "--json"]
    done = CliRunner().invoke(command, given, input=f"{OTHER}\n")
    assert done.exit_code == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "TW8143"
    assert mentions(folder) >= ALL


def test_a_store_that_erasure_does_not_know_makes_it_incomplete(folder):
    (folder / "state" / "newly-invented.sqlite").write_bytes(PATIENT.encode())
    done = CliRunner().invoke(command, ["erase", str(folder), PATIENT, "--yes", "--json"])
    assert done.exit_code == 3
    assert "state/newly-invented.sqlite" in done.output


@pytest.mark.parametrize("line", range(9))
def test_a_process_that_dies_at_any_line_leaves_what_the_next_start_ends(folder, monkeypatch, line):
    class Died(BaseException):
        pass

    def die(*_args, **_named):
        raise Died

    what = [
        (erasures, "note"), (erasure.erased, "withdraw_all"), (erasure.erased, "erase"),
        (erasure, "stored"), (erasure.imported, "open_store"), (erasure, "open_versions"),
        (erasure, "_bodies"), (erasure.memory, "let_go"), (erasure, "write_atomic"),
    ][line]  # fmt: skip
    with monkeypatch.context() as patched:
        patched.setattr(*what, die)
        with pytest.raises(Died):
            erasure.erase(folder, PATIENT, clock=SystemClock())
    unfinished = erasures.unfinished(folder)
    assert len(unfinished) == (line > 0)
    assert erasure.resume(folder, clock=SystemClock()) == (line > 0)
    assert erasures.unfinished(folder) == []
    if line:
        assert mentions(folder) == set()
        assert list((NodePaths(folder).state / "erasures").iterdir())


def test_a_backup_that_is_put_back_does_not_bring_the_person_back(folder, tmp_path):
    roles = ("records", "keys")
    locks = {role: (tmp_path / role, Passphrase(f"words of {role}".encode())) for role in roles}
    backup.back_up(folder, locks)
    erasure.erase(folder, PATIENT, clock=SystemClock())
    newest = tmp_path / "erased"
    shutil.copy(NodePaths(folder).erased, newest)
    sealed = {role: archives.Sealed(path, opener) for role, (path, opener) in locks.items()}
    found = backup.restore(sealed, tmp_path / "back", erased=newest)
    assert found.erased_again >= 3
    assert mentions(tmp_path / "back") == set()
    assert mentions(tmp_path / "back", OTHER) >= ALL
    assert erasures.unfinished(tmp_path / "back") == []


def test_a_copy_elsewhere_erases_again_what_a_plain_copy_of_the_folder_brings_back(
    folder, tmp_path
):
    copy = tmp_path / "other-disk" / "erased"
    settings = folder / "node.toml"
    settings.write_text(settings.read_text() + f'erased_copy = "{copy}"\n')
    with pytest.raises(TwinwardError) as refusal:  # its disk is not there: nobody starts
        erasure.before_start(folder, clock=SystemClock())
    assert refusal.value.code == "TW8144"
    copy.parent.mkdir()
    copy.touch()
    assert erasure.before_start(folder, clock=SystemClock()) == 0
    shutil.copytree(folder, tmp_path / "old")  # a snapshot of the machine, no backup of ours
    erasure.erase(folder, PATIENT, clock=SystemClock())
    assert copy.read_bytes() == NodePaths(folder).erased.read_bytes()
    assert mentions(tmp_path / "old") >= ALL
    assert erasure.before_start(tmp_path / "old", clock=SystemClock()) > 0
    assert mentions(tmp_path / "old") == set()
    assert mentions(tmp_path / "old", OTHER) >= ALL
    assert erasure.before_start(tmp_path / "old", clock=SystemClock()) == 0
    copy.write_text("hello")
    with pytest.raises(TwinwardError) as refusal:
        erasure.before_start(folder, clock=SystemClock())
    assert refusal.value.code == "TW7410"


def test_an_objection_withdraws_and_the_table_of_withdrawals_shows_its_clock(folder):
    runner, standing = CliRunner(), ["standing", str(folder), PATIENT, "--json"]
    assert json.loads(runner.invoke(command, standing).stdout)["objected_on"] is None
    said = runner.invoke(command, [*standing, "--objects"])
    assert json.loads(said.stdout)["withdrawn"] == 1, said.output
    listed = runner.invoke(command, ["withdrawals", str(folder), "--of", PATIENT, "--json"])
    (one,) = json.loads(listed.stdout)["withdrawals"]
    assert listed.exit_code == 0
    assert (one["stage"], one["late"], one["models"]) == ("received", False, None)
    assert 0 < one["seconds_left"] <= 3600
    assert "is it the right one?" not in said.stderr
    mistyped = runner.invoke(command, ["standing", str(folder), f"{PATIENT}7", "--objects"])
    assert mistyped.exit_code == 0  # somebody may object before there is a letter
    assert "is it the right one?" in mistyped.stderr
    assert PATIENT not in listed.stdout
    text = runner.invoke(command, ["withdrawals", str(folder)])
    assert "1 under way, 0 complete" in text.output
    nothing = ["withdrawals", str(folder), "--receipt", "ff", "--out", str(folder / "x")]
    assert runner.invoke(command, nothing).exit_code == 2
    vault = open_vault(folder)
    with closing(vault.store), vault.store.transaction() as database:
        database.execute("update withdrawals set on_chain_by = 1")
    late = runner.invoke(command, ["withdrawals", str(folder)])
    assert late.exit_code == 3
    assert "LATE by" in late.output


def test_a_legal_hold_stops_erasure_and_deletion_until_it_ends(folder):
    runner = CliRunner()
    hold = ["hold", str(folder), PATIENT]
    assert "right one?" in runner.invoke(command, [*hold[:2], "7", "--ground", "a case"]).stderr
    said = runner.invoke(command, [*hold, "--ground", "case 12 of 2026"])
    assert (said.exit_code, said.stderr) == (0, "")
    assert PATIENT not in NodePaths(folder).holds.read_text()
    with pytest.raises(ConsentError) as refusal:
        erasure.erase(folder, PATIENT, clock=SystemClock())
    assert refusal.value.code == "TW8141"
    assert "case 12 of 2026" in refusal.value.diagnostic.note
    assert mentions(folder) >= ALL
    in_years = SystemClock().now() + 3 * retention.YEAR
    assert retention.due(folder, now=in_years)["letters"] == 6  # 5 of the world, and the other's
    assert retention.due(folder, now=in_years, delete=True)["letters"] == 6
    assert retention.due(folder, now=in_years)["letters"] == 0
    assert retention.due(folder, now=in_years + 9 * retention.YEAR)["answers"] == 0  # not withdrawn
    assert runner.invoke(command, [*hold, "--end"]).exit_code == 0
    assert retention.due(folder, now=in_years)["letters"] == 1
    erasure.erase(folder, PATIENT, clock=SystemClock())
    assert mentions(folder) == set()


def test_signed_answers_go_ten_years_after_their_end_and_not_before(folder):
    for record in (PATIENT, OTHER):
        erasure.erase(folder, record, clock=SystemClock())
    now = SystemClock().now()
    after = now + 10.1 * retention.YEAR
    assert retention.due(folder, now=after)["answers"] == 0  # not on the ledger yet
    vault = open_vault(folder)
    with closing(vault.store), vault.store.transaction() as database:
        database.execute("update withdrawals set state = 'on-ledger'")
    assert retention.due(folder, now=now + 9.9 * retention.YEAR)["answers"] == 0
    name = erasures.name(Organisation(folder).identity(), PATIENT)
    holds.begin(folder, name, ground="a case", by="legal", now=now)  # also of somebody erased
    assert retention.due(folder, now=after, delete=True)["answers"] == 1
    assert retention.due(folder, now=after)["answers"] == 0
    assert holds.end(folder, name)
    assert retention.due(folder, now=after, delete=True)["answers"] == 1
    vault = open_vault(folder)
    with closing(vault.store):
        assert vault.store.rows("select 1 from grants union select 1 from withdrawals") == []


def test_a_damaged_file_of_holds_erases_nobody(folder):
    NodePaths(folder).holds.write_text('{"xyz": 1}')
    with pytest.raises(TwinwardError) as refusal:
        erasure.erase(folder, PATIENT, clock=SystemClock())
    assert refusal.value.code == "TW8142"
    assert mentions(folder) >= ALL


def test_no_two_rows_of_the_table_have_one_name_or_one_file():
    names = [store.name for store in stores.STORES]
    files = [file for store in stores.STORES for file in store.files]
    assert len(set(names)) == len(names)
    assert len(set(files)) == len(files)
