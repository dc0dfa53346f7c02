import sqlite3
import stat

import pytest

from consent.store import Store, form_of
from consent.vault import Vault
from tests.simulators.consent.world import STUDY
from twinward.errors import ConsentError, IdentityError
from twinward.ids import RecordNumber

TABLES = "create table t (x integer);"


def test_every_file_of_the_database_is_private_to_its_owner(tmp_path):
    vault = Vault.open(tmp_path / "consent.db")
    vault.enrol(STUDY.id32, [RecordNumber("R1")], valid_until=1)
    names = {path.name for path in tmp_path.iterdir()}
    assert "consent.db-wal" in names
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_database_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "consent.db"
    Vault.open(path).store.close()
    path.chmod(0o640)
    with pytest.raises(IdentityError) as error:
        Vault.open(path)
    assert error.value.code == "TW3020"


def test_a_database_of_another_version_is_refused(tmp_path):
    path = tmp_path / "x.db"
    Store.open(path, tables=TABLES, version=1).close()
    with pytest.raises(ConsentError) as error:
        Store.open(path, tables=TABLES, version=2)
    assert error.value.code == "TW3021"


def newer_table(database):
    database.execute("alter table t add column y integer not null default 7")


def test_an_older_form_is_brought_to_the_new_one_and_keeps_its_rows(tmp_path):
    path = tmp_path / "x.db"
    store = Store.open(path, tables=TABLES, version=1)
    with store.transaction() as database:
        database.execute("insert into t values (1)")
    store.close()
    for _ in range(2):  # and once more, with nothing to do
        store = Store.open(path, tables="-", version=2, migrations={1: newer_table})
        assert store.rows("select * from t") == [(1, 7)]
        store.close()
    assert form_of(path) == 2


def test_a_migration_that_dies_half_way_leaves_the_old_form_whole(tmp_path):
    path = tmp_path / "x.db"
    Store.open(path, tables=TABLES, version=1).close()

    def dies(database):
        newer_table(database)
        database.execute("insert into nowhere values (1)")

    with pytest.raises(ConsentError):
        Store.open(path, tables="-", version=3, migrations={1: newer_table, 2: dies})
    assert form_of(path) == 1
    store = Store.open(path, tables=TABLES, version=1)
    assert store.rows("select * from t") == []
    store.close()


def test_a_damaged_database_is_refused(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database" * 100)
    path.chmod(0o600)
    with pytest.raises(ConsentError) as error:
        Store.open(path, tables=TABLES, version=1)
    assert error.value.code == "TW3022"


def test_a_transaction_that_fails_leaves_nothing(tmp_path):
    store = Store.open(tmp_path / "x.db", tables=TABLES, version=1)

    def half_done():
        with store.transaction() as database:
            database.execute("insert into t values (1)")
            database.execute("insert into nowhere values (1)")

    with pytest.raises(sqlite3.OperationalError):
        half_done()
    assert store.rows("select * from t") == []
    with store.transaction() as database:
        database.execute("insert into t values (2)")
    assert store.rows("select * from t") == [(2,)]


def test_letter_codes_are_not_in_the_database(tmp_path):
    path = tmp_path / "consent.db"
    vault = Vault.open(path)
    codes = vault.enrol(STUDY.id32, map(RecordNumber, ("R1", "R2")), valid_until=10)
    assert len(set(codes)) == 2
    vault.store.close()
    content = path.read_bytes()
    assert all(code not in content and code.hex().encode() not in content for code in codes)
    with sqlite3.connect(path) as database:
        assert database.execute("select count(*) from enrolments").fetchone() == (2,)
    database.close()
