"""Tables and views of a history: one table per event of a contract, and views for people.

Tables hold what the contracts said, byte for byte. Views spell it out in hex text, UTC times and
the parts of a consent; they use plain SQL only, so any SQLite program can read a copied file.
"""

from __future__ import annotations

import functools
import hashlib
import sqlite3

from ledger.events import EventForm, form, forms

_TABLES = (
    (
        "create table cursor (one integer primary key check (one = 1), schema text not null,"
        " genesis blob not null, contracts text not null, block integer not null,"
        " confirmed integer not null)"
    ),
    "create table blocks (block integer primary key, hash blob not null, time integer not null)",
    (
        "create table events (number integer primary key, block integer not null,"
        " position integer not null, tx blob not null, kind text not null)"
    ),
    "create index events_by_block on events (block)",
    "create table rewound (block integer not null, hash blob not null)",
)


def _hex(column: str, name: str = "") -> str:
    return f"'0x' || lower(hex({column})) as {name or column}"


def _number(column: str, first: int, digits: int) -> str:
    """Digits of a word in hex as a number, without a function of our own."""
    parts = (
        f"((instr('0123456789ABCDEF', substr(hex({column}), {first + place}, 1)) - 1)"
        f" << {4 * (digits - place - 1)})"
        for place in range(digits)
    )
    return f"({' | '.join(parts)})"


_VIEWS = {
    "v_members": (
        "Membership.Joined",
        f"{_hex('id')}, {_hex('account')}, role, t.number as member",
    ),
    "v_consents": (
        "Consent.ConsentChanged",
        (
            f"{_hex('study')}, {_hex('subject')}, {_hex('digest')}, sequence,"
            f" '0x' || lower(substr(hex(slot), 1, 32)) as purposes,"
            f" hex(substr(slot, 1, 16)) != '{'0' * 32}' as granted,"
            f" date({_number('slot', 34, 15)}, 'unixepoch') as expires,"
            f" {_number('slot', 49, 8)} as nonce, {_number('slot', 57, 4)} as member,"
            f" {_number('slot', 61, 4)} as flags"
        ),
    ),
    "v_refusals": ("Consent.Skipped", f"{_hex('digest')}, reason"),
    "v_records": ("Provenance.Recorded", f"{_hex('digest')}, kind as what, {_hex('by')}, parents"),
    "v_approvals": ("Provenance.Approved", f"{_hex('digest')}, {_hex('by')}"),
    "v_reservations": (
        "Provenance.Reserved",
        (
            f"{_hex('hospital')}, {_hex('run')}, {_hex('plan')},"
            ' "microMu2" / 1e6 as mu2, spent / 1e6 as mu2_in_all'
        ),
    ),
    "v_starts": ("Provenance.FenceRaised", f"{_hex('by')}, fence"),
}
"""For people, by the event that each shows; one whose event no contract has is left out."""


@functools.cache
def schema() -> tuple[str, ...]:
    """Every statement that makes an empty history."""
    return (*_TABLES, *(line for one in forms() for line in _table(one)), *_views())


@functools.cache
def schema_digest() -> str:
    """Names the schema: a file made under another one is filled anew."""
    return hashlib.sha256("\n".join(schema()).encode()).hexdigest()


def readable() -> frozenset[str]:
    """Names of every table and view that questions in SQL may read."""
    tables = {one.table for one in forms()}
    return frozenset({"blocks", "events", "rewound", *tables, *_shown()})


def create(
    db: sqlite3.Connection, *, genesis: bytes, contracts: str, moved: bool = False
) -> tuple[bytes, str]:
    """Make what is missing, inside the caller's transaction; genesis and contracts on file.

    With ``moved`` the contracts were others before: what was filled then is emptied.
    """
    if db.execute("select 1 from sqlite_master where name = 'cursor'").fetchone():
        row = db.execute("select schema, genesis, contracts from cursor").fetchone()
        grown = moved and row[2] != contracts
        if row[0] == schema_digest() and not grown:
            return bytes(row[1]), str(row[2])
        if row[1] != genesis:
            return bytes(row[1]), str(row[2])
        _drop_everything(db)
    for statement in schema():
        db.execute(statement)
    db.execute(
        "insert into cursor values (1, ?, ?, ?, 0, 0)", (schema_digest(), genesis, contracts)
    )
    return genesis, contracts


def _drop_everything(db: sqlite3.Connection) -> None:
    rows = db.execute("select type, name from sqlite_master where type in ('view', 'table')")
    for kind, name in sorted(rows.fetchall(), reverse=True):  # views before their tables
        db.execute(f'drop {kind} "{name}"')


def _table(one: EventForm) -> tuple[str, ...]:
    # No column has a type that SQLite would convert to: what was said is kept as it was said.
    columns = ", ".join(f'"{name}" not null' for name in one.names)
    indexes = (
        f'create index {one.table}_by_{name} on {one.table} ("{name}")' for name, _ in one.indexed
    )
    return (f"create table {one.table} (event integer primary key, {columns})", *indexes)


def _shown() -> tuple[str, ...]:
    return tuple(name for name, (kind, _) in _VIEWS.items() if form(kind) is not None)


def _views() -> tuple[str, ...]:
    lines = []
    for name in _shown():
        kind, columns = _VIEWS[name]
        found = form(kind)
        assert found is not None  # noqa: S101 - `_shown` looked
        lines.append(
            f"create view {name} as select t.event, e.block,"  # noqa: S608 - constants of this file
            f" datetime(b.time, 'unixepoch') as at, {columns} from {found.table} t"
            " join events e on e.number = t.event join blocks b on b.block = e.block"
        )
    return tuple(lines)
