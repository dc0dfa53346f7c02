"""A backup takes all but what the rules name, keys apart; a restore is whole or not there."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from twinward import backup, canonical
from twinward.backup import KEYS, RECORDS, Rules
from twinward.errors import EvidenceError, TwinwardError, UsageError
from twinward.sealed_file import Passphrase
from twinward.sealed_folder import Sealed, check, describe

WORDS, OTHERS = Passphrase(b"words for the records"), Passphrase(b"words for the keys")
RULES = Rules("node", {"run/*": "socket"}, ("secrets/*", "*.key"), ("state/b.sqlite",))


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "node"
    for name in ("secrets", "state/audit", "run"):
        (made / name).mkdir(parents=True)
    (made / "node.toml").write_text("org = 'basel'")
    (made / "secrets" / "identity.key").write_text("the key of the hospital")
    (made / "patients.key").write_bytes(b"k" * 32)
    (made / "run" / "daemon.token").write_text("token")
    (made / "secrets" / "identity.key").chmod(0o600)
    return made


@pytest.fixture
def database(folder):
    with closing(sqlite3.connect(folder / "state" / "b.sqlite")) as db:
        db.execute("pragma journal_mode = wal")
        db.execute("create table t (x)")
        db.commit()
        yield db


def taken(folder, tmp_path, name="one"):
    targets = {RECORDS: (tmp_path / f"{name}.tw", WORDS), KEYS: (tmp_path / f"{name}.keys", OTHERS)}
    backup.back_up(folder, targets, rules=RULES, org="basel", now=0.0)
    return {RECORDS: Sealed(tmp_path / f"{name}.tw", WORDS),
            KEYS: Sealed(tmp_path / f"{name}.keys", OTHERS)}  # fmt: skip


def restore(sealed, into, role="node", finish=lambda *_: None):
    return backup.restore(sealed, into, role=role, finish=finish)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_all_comes_back_and_what_was_committed_with_it(folder, database, tmp_path):
    database.execute("insert into t values ('committed, still in the journal')")
    database.commit()
    database.execute("insert into t values ('not committed')")
    sealed = taken(folder, tmp_path)
    restore(sealed, tmp_path / "new")
    found = contents(tmp_path / "new")
    assert set(found) == {"node.toml", "secrets/identity.key", "patients.key", "state/b.sqlite"}
    assert found["secrets/identity.key"] == b"the key of the hospital"
    assert (tmp_path / "new" / "secrets" / "identity.key").stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(tmp_path / "new" / "state" / "b.sqlite")) as db:
        assert db.execute("select x from t").fetchall() == [("committed, still in the journal",)]


def test_no_key_is_among_the_records_and_nothing_is_readable(folder, database, tmp_path):
    sealed = taken(folder, tmp_path)
    manifest = check(sealed[RECORDS])
    assert {row["path"] for row in manifest["files"]} == {"node.toml", "state/b.sqlite"}
    keys = check(sealed[KEYS])
    assert {row["path"] for row in keys["files"]} == {"secrets/identity.key", "patients.key"}
    for one in sealed.values():
        data = one.file.read_bytes()
        assert b"patients.key" not in data
        assert b"the key of" not in data
        assert str(tmp_path).encode() not in data
        assert one.file.stat().st_mode & 0o077 == 0
        assert set(describe(one.file)) == {
            "what", "role", "org", "made_at", "release", "pair",
        }  # fmt: skip
    assert not list(folder.glob(".backup*"))


def test_writing_goes_on_while_a_backup_is_taken(folder, database, tmp_path):
    program = (
        "import sqlite3,sys\n"
        f"db = sqlite3.connect({str(folder / 'state' / 'b.sqlite')!r}, isolation_level=None)\n"
        "db.execute('pragma busy_timeout = 5000')\n"
        "print('begun', flush=True)\n"
        "while True:\n"
        "    db.execute('begin immediate')\n"
        "    db.execute('insert into t values (1)')\n"
        "    db.execute('insert into t values (2)')\n"
        "    db.execute('commit')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as writer:
        try:
            writer.stdout.readline()
            sealed = [taken(folder, tmp_path, str(number)) for number in range(3)]
        finally:
            writer.kill()
    counts = []
    for number, one in enumerate(sealed):
        restore(one, tmp_path / f"new{number}")
        with closing(sqlite3.connect(tmp_path / f"new{number}" / "state" / "b.sqlite")) as db:
            assert db.execute("pragma integrity_check").fetchone() == ("ok",)
            (ones,) = db.execute("select count(*) from t where x = 1").fetchone()
            (twos,) = db.execute("select count(*) from t where x = 2").fetchone()
        assert ones == twos
        counts.append(ones)
    assert counts == sorted(counts)
    assert counts[-1] > 0


def test_nothing_is_overwritten(folder, tmp_path):
    sealed = taken(folder, tmp_path)
    with pytest.raises(UsageError) as refusal:
        taken(folder, tmp_path)
    assert refusal.value.code == "TW7400"
    before = contents(folder)
    with pytest.raises(UsageError) as refusal:
        restore(sealed, folder)
    assert refusal.value.code == "TW7404"
    assert contents(folder) == before


def test_records_and_keys_must_belong_together(folder, tmp_path):
    sealed = taken(folder, tmp_path)
    swapped = {RECORDS: Sealed(sealed[KEYS].file, OTHERS), KEYS: sealed[RECORDS]}
    for wrong, role in ((swapped, "node"), (sealed, "server")):
        with pytest.raises(UsageError) as refusal:
            restore(wrong, tmp_path / "new", role)
        assert refusal.value.code == "TW7406"
    assert not (tmp_path / "new").exists()


def test_a_restore_that_fails_leaves_nothing_that_looks_like_one(folder, database, tmp_path):
    sealed = taken(folder, tmp_path)
    data = sealed[KEYS].file.read_bytes()
    sealed[KEYS].file.write_bytes(data[:-1])
    with pytest.raises(EvidenceError):
        restore(sealed, tmp_path / "new")
    sealed[KEYS].file.write_bytes(data)

    def stop(*_):
        raise TwinwardError("stop", help="")

    with pytest.raises(TwinwardError):
        restore(sealed, tmp_path / "new", finish=stop)
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".new*"))


def test_a_restore_that_is_killed_leaves_no_folder_and_the_next_one_is_whole(folder, tmp_path):
    sealed = taken(folder, tmp_path)
    pid = os.fork()
    if pid == 0:
        restore(sealed, tmp_path / "new", finish=lambda *_: os._exit(9))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert not (tmp_path / "new").exists()
    (left,) = tmp_path.glob(".new*")
    (left / "more").write_text("of another attempt")
    (tmp_path / "new").mkdir()
    restore(sealed, tmp_path / "new")
    assert "more" not in contents(tmp_path / "new")
    assert not list(tmp_path.glob(".new*"))


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "a/../../outside"])
def test_no_backup_writes_outside_of_its_folder(folder, tmp_path, path, monkeypatch):
    (folder / "inner").write_text("x")
    with monkeypatch.context() as patch:
        real = canonical.encode

        def evil(value):
            if isinstance(value, dict) and "files" in value:
                value = {**value, "files": [
                    {**row, "path": path if row["path"] == "inner" else row["path"]}
                    for row in value["files"]
                ]}  # fmt: skip
            return real(value)

        patch.setattr(canonical, "encode", evil)
        sealed = taken(folder, tmp_path)
    with pytest.raises(EvidenceError) as refusal:
        restore(sealed, tmp_path / "new")
    assert refusal.value.code == "TW7402"
    assert not (tmp_path / "outside").exists()
