"""The tables of a hospital's vault, and how an older file is brought to them.

Whom a row is about (``record``, and the ``holder`` of a mandate) is hidden (`consent.hidden`): a
copy of the file without its key ties no patient to a subject on the ledger.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import partial

from consent.hidden import Hidden
from consent.store import Migration, execute_all

FORM = 3
TABLES = """
create table site (key_check blob not null) strict;
create table mandates (
  id integer primary key autoincrement, record blob not null, role text not null,
  holder blob not null, purposes blob not null, begins integer not null, ends integer not null,
  given_by integer references mandates
) strict;
create index mandates_of_record on mandates (record);
create table enrolments (
  code_hash blob primary key, study blob not null, record blob not null,
  valid_until integer not null, subject blob, mandate integer references mandates
) strict, without rowid;
create table standings (
  record blob primary key, of_age_at integer, died_at integer, objected_at integer
) strict, without rowid;
create table bindings (
  study blob not null, subject blob not null, record blob not null,
  primary key (study, subject)
) strict, without rowid;
create index bindings_of_record on bindings (record);
create table grants (
  seq integer primary key autoincrement, digest blob not null unique, study blob not null,
  subject blob not null, record blob not null, nonce integer not null, body blob not null,
  signature blob not null, grade text not null, received_at integer not null,
  state text not null, reason text, mandate integer references mandates
) strict;
create index grants_of_record on grants (study, record, seq);
create index grants_of_subject on grants (study, subject, seq);
create index grants_by_state on grants (state, digest);
create index grants_by_patient on grants (record, seq);
create table withdrawals (
  seq integer primary key autoincrement, digest blob not null unique, study blob not null,
  subject blob, record blob not null, through_nonce integer not null, body blob, signature blob,
  received_at integer not null, on_chain_by integer not null, receipt blob,
  state text not null, reason text
) strict;
create index withdrawals_of_subject on withdrawals (study, subject, through_nonce);
create index withdrawals_of_record on withdrawals (study, record, seq);
create index withdrawals_by_state on withdrawals (state, study, subject);
create index withdrawals_by_patient on withdrawals (record, seq);
create table changes (
  seq integer primary key autoincrement, study blob not null, record blob not null,
  tag blob not null
) strict;
"""

_TO_FORM_3 = """
insert into mandates select id, hide(record), role, hide(holder), purposes, begins, ends, given_by
  from old_mandates;
insert into enrolments select code_hash, study, hide(record), valid_until, subject, mandate
  from old_enrolments;
insert into standings select hide(record), of_age_at, died_at, objected_at from old_standings;
insert into bindings select study, subject, hide(record) from old_bindings;
insert into grants select seq, digest, study, subject, hide(record), nonce, body, signature, grade,
  received_at, state, reason, mandate from old_grants order by seq;
insert into withdrawals select seq, digest, study, subject, hide(record), through_nonce, body,
  signature, received_at, on_chain_by, receipt, state, reason from old_withdrawals order by seq;
insert into changes select seq, study, hide(record), randomblob(16) from old_changes order by seq;
"""
_OLD = ("enrolments", "standings", "bindings", "grants", "withdrawals", "changes", "mandates")


def migrations(hidden: Hidden) -> Mapping[int, Migration]:
    """From each older form to the next; ``hidden`` is what the file's key hides."""
    return {2: partial(_to_form_3, hidden=hidden)}


def _to_form_3(database: sqlite3.Connection, *, hidden: Hidden) -> None:
    """Hide whom the rows are about; give each change a tag that nobody can guess."""
    database.create_function("hide", 1, hidden.hide, deterministic=True)
    indices = database.execute(
        "select name from sqlite_master where type = 'index' and sql is not null"
    ).fetchall()
    for (index,) in indices:
        database.execute(f"drop index {index}")
    for table in _OLD:
        database.execute(f"alter table {table} rename to old_{table}")
    execute_all(database, TABLES)
    execute_all(database, _TO_FORM_3)
    for table in _OLD:
        database.execute(f"drop table old_{table}")
