import sqlite3
import stat
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from consent import purposes
from consent.kept import State
from consent.register import Register
from consent.rekey import COLUMNS, rekey
from consent.standing import Mandate, Role, Standing
from consent.store import Store, form_of
from consent.vault import Vault
from consent.withdrawals import Withdrawals
from tests.simulators import postgres
from tests.simulators.consent.world import DOMAIN, STUDY, VAULT_KEY, Hospital, Patient
from twinward.errors import ConsentError, IdentityError
from twinward.ids import RecordNumber

TABLES = "create table t (x integer);"


def test_every_file_of_the_database_is_private_to_its_owner(tmp_path):
    vault = Vault.open(tmp_path / "consent.db", key=VAULT_KEY)
    vault.enrol(STUDY.id32, [RecordNumber("R1")], valid_until=1)
    names = {path.name for path in tmp_path.iterdir()}
    assert "consent.db-wal" in names
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_database_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "consent.db"
    Vault.open(path, key=VAULT_KEY).store.close()
    path.chmod(0o640)
    with pytest.raises(IdentityError) as error:
        Vault.open(path, key=VAULT_KEY)
    assert error.value.code == "TW3020"


def test_a_database_of_another_version_is_refused(tmp_path):
    path = tmp_path / "x.db"
    Store.open(path, tables=TABLES, version=1).close()
    with pytest.raises(ConsentError) as error:
        Store.open(path, tables=TABLES, version=2)
    assert error.value.code == "TW3021"


def newer_table(database):
    database.execute("alter table t add column y integer not null default 7")


@pytest.fixture(params=["sqlite", "postgresql"])
def at(request, tmp_path):
    """Opens the same store again and again, and says which form it has."""
    if request.param == "sqlite":
        yield partial(Store.open, tmp_path / "x.db"), partial(form_of, tmp_path / "x.db")
        return
    url = postgres.shared().vault(tmp_path)
    from consent import postgres_server
    from consent.postgres import PostgresStore

    with postgres.all_closed():
        yield partial(PostgresStore.open, url), partial(postgres_server.form_of, url)


def test_an_older_form_is_brought_to_the_new_one_and_keeps_its_rows(at):
    opened, form = at
    assert form() == 0
    store = opened(tables=TABLES, version=1)
    with store.transaction() as database:
        database.execute("insert into t values (1)")
    store.close()
    for _ in range(2):  # and once more, with nothing to do
        store = opened(tables="-", version=2, migrations={1: newer_table})
        assert store.rows("select * from t") == [(1, 7)]
        store.close()
    assert form() == 2
    with pytest.raises(ConsentError) as error:
        opened(tables=TABLES, version=1)
    assert error.value.code == "TW3021"


def test_a_migration_that_dies_half_way_leaves_the_old_form_whole(at):
    opened, form = at
    opened(tables=TABLES, version=1).close()

    def dies(database):
        database.execute("insert into nowhere values (1)")

    with pytest.raises(ConsentError):
        opened(tables="-", version=3, migrations={1: newer_table, 2: dies})
    assert form() == 1
    store = opened(tables=TABLES, version=1)
    assert store.rows("select * from t") == []
    store.close()


def test_a_damaged_database_is_refused(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database" * 100)
    path.chmod(0o600)
    with pytest.raises(ConsentError) as error:
        Store.open(path, tables=TABLES, version=1)
    assert error.value.code == "TW3022"


def test_a_transaction_that_fails_leaves_nothing(at):
    opened, _ = at
    store = opened(tables=TABLES, version=1)

    def half_done():
        with store.transaction() as database:
            database.execute("insert into t values (1)")
            database.execute("insert into nowhere values (1)")

    with pytest.raises((sqlite3.OperationalError, ConsentError)):
        half_done()
    assert store.rows("select * from t") == []
    with store.transaction() as database:
        database.execute("insert into t values (2)")
    assert store.rows("select * from t") == [(2,)]
    assert store.scrub(whole=True)
    assert store.rows("select * from t") == [(2,)]
    store.close()


def test_a_new_key_leaves_every_answer_as_it_was(both_stores, tmp_path):
    hospital = Hospital(tmp_path)
    patients = [Patient(hospital, number) for number in range(3)]
    for patient in patients:
        patient.grants()
    patients[1].withdraws()
    before = list(hospital.vault.newest_of_all(STUDY.id32))
    changes = set(hospital.vault.changed_records(STUDY.id32, after=0))
    rekey(hospital.vault, b"\x66" * 32)
    hospital.vault.store.close()
    with pytest.raises(ConsentError) as error:
        Vault.open(hospital.path, key=VAULT_KEY)
    assert error.value.code == "TW8641"
    vault = Vault.open(hospital.path, key=b"\x66" * 32)
    assert list(vault.newest_of_all(STUDY.id32)) == before
    assert set(vault.changed_records(STUDY.id32, after=0)) == changes
    vault.store.close()


def test_letter_codes_are_not_in_the_database(tmp_path):
    path = tmp_path / "consent.db"
    vault = Vault.open(path, key=VAULT_KEY)
    codes = vault.enrol(STUDY.id32, map(RecordNumber, ("R1", "R2")), valid_until=10)
    assert len(set(codes)) == 2
    vault.store.close()
    content = path.read_bytes()
    assert all(code not in content and code.hex().encode() not in content for code in codes)
    with sqlite3.connect(path) as database:
        assert database.execute("select count(*) from enrolments").fetchone() == (2,)
    database.close()


def form_2(path):
    """A vault as an older release left it: whom a row is about stands there in the clear."""
    database = sqlite3.connect(path)
    database.executescript((Path(__file__).parent / "vault_form_2.sql").read_text())
    database.close()
    path.chmod(0o600)


def test_a_vault_of_the_last_release_is_brought_over_with_every_row(tmp_path):
    path = tmp_path / "consent.db"
    form_2(path)
    with closing(sqlite3.connect(path)) as old:
        tables = ("grants", "withdrawals", "bindings", "enrolments", "mandates", "changes")
        count = "select count(*) from "
        before = {table: old.execute(count + table).fetchone() for table in tables}
        subjects = {subject for (subject,) in old.execute("select subject from bindings")}
    assert b"MRN-0001" in path.read_bytes()
    vault = Vault.open(path, key=VAULT_KEY)
    assert {table: vault.store.row(count + table) for table in tables} == before
    record = RecordNumber("MRN-0001")
    kept = vault.newest(STUDY.id32, record)
    assert (kept.record, kept.verified(DOMAIN), kept.state) == (record, True, State.ON_LEDGER)
    assert {subject for _, subject in vault.subjects_of(record)} <= subjects
    register = Register(vault)
    assert register.standing(record) == Standing(objected_at=7)
    (mandate,) = register.mandates(record)
    assert (mandate.holder, mandate.mandate.role) == ("Erika Mustermann", Role.DELEGATE)
    assert vault.enrolment(b"c" * 16).mandate == mandate.number
    ended = Withdrawals(vault).newest(STUDY.id32, RecordNumber("MRN-0002"))
    assert vault.newest(STUDY.id32, RecordNumber("MRN-0002")).withdrawn
    assert ended.receipt == b"receipt"
    assert vault.changed_records(STUDY.id32, after=0) == [record, RecordNumber("MRN-0002")]
    assert vault.last_change() == before["changes"][0]
    vault.store.close()
    everything = b"".join(one.read_bytes() for one in tmp_path.glob("consent.db*"))
    assert b"MRN-000" not in everything
    assert b"Mustermann" not in everything


def test_nobody_stands_in_the_file_in_the_clear(tmp_path):
    hospital = Hospital(tmp_path, patients=0)
    hospital.records = [RecordNumber("MRN-0001"), RecordNumber("MRN-0002")]
    for number in range(2):
        patient = Patient(hospital, number)
        patient.grants()
        patient.withdraws()
    register = Register(hospital.vault)
    register.note(hospital.records[0], Standing(died_at=7))
    mandate = Mandate(Role.DELEGATE, purposes.bits(["heart-research"]), 1, 2)
    register.give(hospital.records[0], mandate, holder="Erika Mustermann")
    hospital.vault.store.close()
    everything = b"".join(one.read_bytes() for one in tmp_path.glob("consent.db*"))
    assert b"MRN-000" not in everything
    assert b"Mustermann" not in everything


def test_a_vault_does_not_open_with_another_key(tmp_path):
    path = tmp_path / "consent.db"
    Vault.open(path, key=VAULT_KEY).store.close()
    with pytest.raises(ConsentError) as error:
        Vault.open(path, key=bytes(32))
    assert error.value.code == "TW8641"


def test_a_row_that_was_given_another_patient_from_outside_is_noticed(tmp_path):
    hospital = Hospital(tmp_path)
    patient = Patient(hospital)
    patient.grants()
    with hospital.vault.store.transaction() as database:
        database.execute("update grants set record = ?", (b"\1" * 32,))
    with pytest.raises(ConsentError) as error:
        hospital.cohort().mask()
    assert error.value.code == "TW8640"
    hospital.vault.store.close()


def test_every_column_that_hides_somebody_gets_the_new_key(tmp_path):
    path = tmp_path / "consent.db"
    form_2(path)
    vault = Vault.open(path, key=VAULT_KEY)
    before = {record: vault.newest(STUDY.id32, record) for record in ("MRN-0001", "MRN-0002")}
    hidden = {
        (table, column)
        for (table,) in vault.store.rows("select name from sqlite_master where type = 'table'")
        for column, kind in vault.store.rows("select name, type from pragma_table_info(?)", [table])
        if column in {"record", "holder"}
    }
    assert hidden == set(COLUMNS)
    old = vault.hidden.hide("MRN-0001")
    rekey(vault, b"\x66" * 32)
    vault.store.close()
    assert old not in b"".join(one.read_bytes() for one in tmp_path.glob("consent.db*"))
    with pytest.raises(ConsentError) as error:
        Vault.open(path, key=VAULT_KEY)
    assert error.value.code == "TW8641"
    vault = Vault.open(path, key=b"\x66" * 32)
    assert {record: vault.newest(STUDY.id32, record) for record in before} == before
    assert Register(vault).mandates("MRN-0001")[0].holder == "Erika Mustermann"
    with vault.store.transaction() as database:
        database.execute("update bindings set record = x'00'")
    with pytest.raises(ConsentError) as error:
        rekey(vault, VAULT_KEY)
    assert error.value.code == "TW8640"
    assert vault.newest(STUDY.id32, "MRN-0001") == before["MRN-0001"]
    vault.store.close()
