"""What was served to record systems lies hidden, and is found by whoever has the key."""

import json
import sqlite3
from contextlib import closing

import pytest

from consent.fhir import search
from consent.fhir.kept import Versions
from twinward.errors import ConsentError

KEY, OTHER = bytes(32), bytes([1]) * 32
FORM_1 = """
create table versions (
  seq integer primary key autoincrement, id text not null, version integer not null,
  newest integer not null, record text not null, status text not null, begins real not null,
  ends real not null, at real not null, body text not null, unique (id, version)
) strict;
create index newest_by_record on versions (record, seq) where newest = 1;
create index newest_in_order on versions (seq) where newest = 1;
create table followed (study blob primary key, change integer not null) strict, without rowid;
create table assertions (
  client text not null, jti text not null, expires real not null, primary key (client, jti)
) strict, without rowid;
pragma user_version = 1;
"""


def consent(record, status="active"):
    patient = {"reference": f"Patient/{record}"}
    return {"resourceType": "Consent", "status": status, "patient": patient}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fhir.sqlite"


@pytest.fixture
def two(path):
    versions = Versions(path, key=KEY)
    with closing(versions.store):
        versions.add("c1", "R-0815", consent("R-0815"), at=1.0)
        versions.add("c2", "R-0816", consent("R-0816"), at=2.0)
        versions.add("c1", "R-0815", consent("R-0815", "inactive"), at=3.0)
        yield versions


def raw(path):
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


def test_neither_record_numbers_nor_what_was_said_stand_in_the_file(two, path):
    assert b"R-081" not in raw(path)
    assert b"Patient/" not in raw(path)
    assert [one.resource["status"] for one in two.history("c1")] == ["inactive", "active"]


def test_a_patient_is_found_by_number_through_the_index_and_nobody_else_is(two):
    (found,) = two.of("R-0816")
    assert found.resource["patient"] == {"reference": "Patient/R-0816"}
    for asked in ("R-0815", "Patient/R-0815"):
        wanted = search.understand([("patient", asked), ("status", "inactive")])
        total, page = two.find(wanted.where, after=0, limit=9)
        assert (total, [one.id for one in page]) == (1, ["c1"])
    assert two.find(search.understand([("patient", "R-08")]).where, after=0, limit=9) == (0, [])
    (plan,) = two.store.rows(
        "explain query plan select body from versions where record = ? and newest = 1", (b"",)
    )
    assert "newest_by_record" in plan[-1]


def test_a_version_put_in_the_place_of_another_is_not_served(two):
    with two.store.transaction() as database:
        database.execute(
            "update versions set body = (select body from versions where id = 'c2')"
            " where id = 'c1' and version = 2"
        )
    with pytest.raises(ConsentError) as error:
        two.newest("c1")
    assert error.value.code == "TW8640"
    with pytest.raises(ConsentError, match="changed from outside"):
        two.rehide(OTHER)
    assert two.newest("c2").resource["status"] == "active"


def test_another_key_opens_nothing_and_a_new_one_opens_everything(two, path):
    two.store.close()
    with pytest.raises(ConsentError) as error:
        Versions(path, key=OTHER)
    assert (error.value.code, error.value.diagnostic.at) == ("TW8641", str(path))
    versions = Versions(path, key=KEY)
    with closing(versions.store):
        versions.rehide(OTHER)
        assert len(versions.history("c1")) == 2
    versions = Versions(path, key=OTHER)
    with closing(versions.store):
        assert [one.id for one in versions.of("R-0815")] == ["c1"]
        assert versions.forget("R-0815") == 2


def old_file(path):
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(FORM_1)
        for number, status in enumerate(("active", "inactive"), 1):
            body = json.dumps(consent("R-0815", status))
            values = ("c1", number, number == 2, "R-0815", status, 0.0, 9.0, number, body)
            database.execute(
                "insert into versions (id, version, newest, record, status, begins, ends, at, body)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        database.execute("insert into followed values (x'01', 7)")
        database.commit()


def test_an_older_file_is_hidden_when_it_is_opened_and_nothing_is_left_in_the_clear(path):
    old_file(path)
    assert b"R-0815" in raw(path)
    versions = Versions(path, key=KEY)
    with closing(versions.store):
        assert [(one.version, one.status) for one in versions.history("c1")] == [
            (2, "inactive"),
            (1, "active"),
        ]
        assert versions.newest("c1").resource == consent("R-0815", "inactive")
        assert versions.followed(b"\x01") == 7
        assert versions.add("c1", "R-0815", consent("R-0815"), at=3.0).seq == 3
    assert b"R-0815" not in raw(path)


def test_dying_while_an_older_file_is_hidden_leaves_it_whole(path, monkeypatch):
    old_file(path)

    def dies(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("consent.fhir.kept.Hidden.hide", dies)
        with pytest.raises((KeyboardInterrupt, ConsentError)):
            Versions(path, key=KEY)
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("pragma user_version").fetchone() == (1,)
        assert database.execute("select count(*) from versions").fetchone() == (2,)
    versions = Versions(path, key=KEY)
    with closing(versions.store):
        assert len(versions.history("c1")) == 2
