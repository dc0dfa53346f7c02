"""Any byte of any row of a node's database: changed, lost or added, it is named."""

import sqlite3
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.embedded.check import check
from tests.simulators.ledger.network import LedgerNetwork, Patient, RunningNode

CODES = {
    "about": {"TW3581"},
    "kv": {"TW3582", "TW3583", "TW3584", "TW3585", "TW3586"},
    "blocks": {"TW3583"},
    "transactions": {"TW3584"},
    "logs": {"TW3585"},
}


class Closed:
    """A closed database: where it is, its rows and its columns by table."""

    def __init__(self, path, rows, names):
        self.path, self.rows, self.names = path, rows, names

    def __repr__(self):
        return "chain"


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A closed database with contracts, members, consents and a withdrawal; its rows by table."""
    folder = tmp_path_factory.mktemp("chain")
    running = RunningNode(folder)
    network = LedgerNetwork(running.url, genesis=running.genesis.hash(), hospitals=3)
    patients = [Patient(network) for _ in range(3)]
    network.hospitals[0].relay_grants([patient.signed_grant() for patient in patients])
    network.hospitals[1].relay_withdrawal(*patients[0].signed_withdrawal())
    network.close()
    running.stop()
    path = folder / "chain.sqlite"
    with closing(sqlite3.connect(path)) as db:
        rows = {table: db.execute(f"select * from {table}").fetchall() for table in CODES}
        names = {
            table: [column[1] for column in db.execute(f"pragma table_info({table})")]
            for table in CODES
        }
    return Closed(path, rows, names)


def changed(value, where, flip):
    """The value with one bit pattern changed; never the same."""
    if value is None:
        return b"\x00"
    if isinstance(value, int):
        return value ^ flip
    raw = bytearray(value.encode() if isinstance(value, str) else value)
    if not raw:
        return b"\x00"
    raw[where % len(raw)] ^= flip
    return raw.decode("latin-1") if isinstance(value, str) else bytes(raw)


def copy_with(chain, tmp_path, statement, parameters):
    copy = tmp_path / "changed.sqlite"
    copy.write_bytes(chain.path.read_bytes())
    with closing(sqlite3.connect(copy)) as db:
        db.execute(statement, parameters)
        db.commit()
    return check(copy)


def at_row(names, row):
    """A condition that finds exactly this row."""
    return " and ".join(f"{name} is ?" for name in names), list(row)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=st.sampled_from(sorted(CODES)),
    place=st.integers(0, 10**6),
    column=st.integers(0, 10**6),
    where=st.integers(0, 10**6),
    flip=st.integers(1, 127),
)
def test_a_changed_byte_is_named(chain, tmp_path, table, place, column, where, flip):
    rows, names = chain.rows, chain.names
    row = rows[table][place % len(rows[table])]
    column %= len(names[table])
    value = changed(row[column], where, flip)
    where, parameters = at_row(names[table], row)
    try:
        found = copy_with(
            chain,
            tmp_path,
            f"update {table} set {names[table][column]} = ? where {where}",
            [value, *parameters],
        )
    except sqlite3.IntegrityError:
        return  # another row has this key already: the change is impossible
    assert found.faults, (table, names[table][column])
    assert found.faults[0].code in CODES[table]
    assert any(fault.table == table for fault in found.faults)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    table=st.sampled_from(["about", "blocks", "transactions", "logs"]), place=st.integers(0, 10**6)
)
def test_a_lost_row_is_named(chain, tmp_path, table, place):
    rows, names = chain.rows, chain.names
    row = rows[table][place % len(rows[table])]
    where, parameters = at_row(names[table], row)
    found = copy_with(chain, tmp_path, f"delete from {table} where {where}", parameters)
    assert {fault.code for fault in found.faults} & CODES[table], (table, row[:2])


def test_every_lost_node_of_the_newest_state_is_named(chain, tmp_path):
    """Of what only older states consist of, a lost root is named and a lost inner node is not."""
    lost = 0
    for key, _ in chain.rows["kv"]:
        found = copy_with(chain, tmp_path, "delete from kv where key = ?", [key])
        lost += bool(found.faults)
    assert lost > len(chain.rows["kv"]) * 0.6


@pytest.mark.parametrize("table", ["kv", "transactions", "logs", "blocks"])
def test_an_added_row_is_named(chain, tmp_path, table):
    row = list(chain.rows[table][-1])
    row[0] = 99 if isinstance(row[0], int) else b"added, and of no length that a hash has"
    if table in {"transactions", "blocks"}:
        row[1] = 99 if table == "transactions" else b"another hash"
    found = copy_with(
        chain, tmp_path, f"insert into {table} values ({','.join('?' * len(row))})", row
    )
    assert {fault.code for fault in found.faults} & CODES[table]


def test_an_untouched_database_has_no_fault_and_says_its_head(chain, tmp_path):
    found = check(chain.path)
    assert not found.faults
    assert found.head == (chain.rows["blocks"][-1][0], chain.rows["blocks"][-1][1])
    assert found.rows == sum(len(rows) for rows in chain.rows.values())


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_changed_byte_of_the_file_never_breaks_the_check(chain, tmp_path, place, flip):
    """Bytes that SQLite does not use may change unseen; the check itself never fails."""
    data = bytearray(chain.path.read_bytes())
    data[int(place * len(data))] ^= flip
    copy = tmp_path / "changed.sqlite"
    copy.write_bytes(data)
    found = check(copy)
    assert found.faults or found.head == (chain.rows["blocks"][-1][0], chain.rows["blocks"][-1][1])
