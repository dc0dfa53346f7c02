"""SQL of an auditor's own: reads the history, and nothing can make it do anything else."""

import itertools
import sqlite3

import pytest

from ledger.deployed import CONTRACTS, Addresses
from ledger.history import History
from ledger.questions import sql
from tests.simulators.ledger.story import GENESIS, Story, pseudonym
from twinward.errors import LedgerError, UsageError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A history on disk."""
    story = Story()
    study = story.study()
    for name in ("ann", "bob"):
        story.consent(study, name, "bern")
    study.run(study.plan())
    path = tmp_path_factory.mktemp("sql") / "history.sqlite"
    history = History.open(
        path, genesis=GENESIS, contracts=Addresses(*["0x" + "00" * 20] * len(CONTRACTS))
    )
    blocks = [(event.block, bytes(32), event.time) for event in story.events]
    history.add(story.events, blocks, last=story.events[-1].block)
    history.close()
    return path


def test_a_query_reads_views_and_tables(path):
    found = sql.run(path, "select subject, member, granted from v_consents order by event")
    assert found.columns == ("subject", "member", "granted")
    assert found.rows[0] == (f"0x{pseudonym('ann').hex()}", 2, 1)
    assert sql.run(path, "select tx from events limit 1").rows[0][0].startswith("0x")
    joined = sql.run(
        path,
        "with spent as (select hospital, sum(mu2) as mu2 from v_reservations group by hospital)"
        " select count(*), round(sum(mu2), 3) from spent",
    )
    assert joined.rows == ((3, 0.18),)


@pytest.mark.parametrize(
    "query",
    [
        "delete from events",
        "update blocks set time = 0",
        "insert into rewound values (1, x'00')",
        "create temp table mine (a)",
        "drop view v_consents",
        "attach database '/tmp/other.sqlite' as other",
        "pragma journal_mode = delete",
        "pragma table_info(events)",
        "select * from sqlite_master",
        "select contracts from cursor",
        "select load_extension('/tmp/evil.so')",
        "select readfile('/etc/passwd')",
        "select zeroblob(1000000000)",
        "select randomblob(10)",
        "select 1; select 2",
        "vacuum into '/tmp/copy.sqlite'",
        "begin immediate",
        "select * from pragma_database_list",
        "not sql at all",
        "select '" + "x" * 20_001 + "'",
    ],
)
def test_anything_else_is_refused(path, query):
    before = path.read_bytes()
    with pytest.raises(UsageError) as refusal:
        sql.run(path, query)
    assert refusal.value.code == "TW3730"
    assert path.read_bytes() == before


def test_a_value_that_would_fill_the_memory_is_refused(path):
    with pytest.raises(UsageError) as refusal:
        sql.run(
            path,
            "with recursive t(x) as (select hex(tx) from events limit 1), "
            "u(x) as (select x from t union all select x || x from u) select max(length(x)) from u",
        )
    assert refusal.value.code == "TW3730"


def test_a_query_without_end_is_stopped_in_time(path):
    ticks = itertools.count()
    with pytest.raises(UsageError) as refusal:
        sql.run(
            path,
            "with recursive n(x) as (select 1 union all select x + 1 from n) select sum(x) from n",
            seconds=30,
            clock=lambda: float(next(ticks)),
        )
    assert refusal.value.code == "TW3731"


def test_rows_beyond_the_limit_are_left_out_and_it_is_said(path):
    found = sql.run(path, "select a.number from events a, events b", most_rows=7)
    assert len(found.rows) == 7
    assert found.cut
    assert not sql.run(path, "select number from events limit 7", most_rows=7).cut


def test_rows_that_would_fill_the_memory_together_are_cut(path):
    found = sql.run(
        path,
        "with recursive n(x) as (select 1 union all select x + 1 from n limit 200)"
        " select printf('%0500000d', x) from n",
    )
    assert found.cut
    assert sum(len(row[0]) for row in found.rows) <= 2**25


def test_there_is_no_history_to_ask(tmp_path):
    (tmp_path / "broken").write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    for name in ("none", "broken"):
        with pytest.raises(LedgerError) as refusal:
            sql.run(tmp_path / name, "select 1")
        assert refusal.value.code == "TW3702"


def test_a_file_that_another_version_made_is_refused(path, tmp_path):
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(path.read_bytes())
    db = sqlite3.connect(copy)
    db.execute("update cursor set schema = 'older'")
    db.commit()
    db.close()
    with pytest.raises(LedgerError) as refusal:
        sql.run(copy, "select 1")
    assert refusal.value.code == "TW3702"
