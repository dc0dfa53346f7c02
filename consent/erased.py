"""Erasing a patient from the consent stores: the link goes, what proves that use was allowed stays.

Signed grants, withdrawals and their receipts are kept without the record number, under a name that
only the hospital's key makes: the hospital has to be able to show that it was allowed to do what
it did (GDPR 7(1), 17(3)(e)). They name a key made for one study, and no person. What is only about
the person goes: letters, standing, who holds a mandate, the link from that key to the record.

All of one store in one transaction; erasing again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from consent.kept import State
from consent.vault import Vault, note_change
from consent.withdrawals import KeptWithdrawal, Withdrawals
from twinward.ids import RecordNumber

_PREFIX = "erased:"
_DELETED = ("enrolments", "standings", "bindings")
_RENAMED = ("grants", "withdrawals", "changes")
_ANY = " union ".join(
    f"select record from {table}"  # noqa: S608 - our names
    for table in (*_DELETED, *_RENAMED, "mandates")
)

_ENDED_BEFORE = """
select study, subject from withdrawals w where subject is not null group by study, subject
having max(case when state = ? then 1 else 0 end) = 0 and max(received_at) < ? and not exists (
  select 1 from grants g where g.study = w.study and g.subject = w.subject and g.nonce > (
    select max(through_nonce) from withdrawals x where x.study = w.study and x.subject = w.subject
  )
)
"""


def is_erased(record: RecordNumber) -> bool:
    """Whether this stands in place of the number of somebody who was erased."""
    return record.startswith(_PREFIX)


def people(vault: Vault) -> list[RecordNumber]:
    """Every patient that the vault has anything of, whoever was erased left out."""
    found = (RecordNumber(vault.hidden.show(row)) for (row,) in vault.store.rows(_ANY))
    return [record for record in found if not is_erased(record)]


def withdraw_all(
    vault: Vault, record: RecordNumber, *, now: int, on_chain_by: int, but: Collection[bytes] = ()
) -> list[KeptWithdrawal]:
    """End for ever all that this patient ever signed, in every study; on disk when this returns.

    At an erasure, and at an objection (GDPR 21) all ``but`` the patient's own care.

    Args:
        vault: The hospital's.
        record: Whose.
        now: Unix seconds.
        on_chain_by: Until when the ledger has to show it.
        but: Numbers of studies that are left as they are.
    """
    withdrawals = Withdrawals(vault)
    rows = vault.store.rows(
        "select distinct study from grants where record = ?", (vault.hidden.hide(record),)
    )
    return [
        withdrawals.without_key(study, record, received_at=now, on_chain_by=on_chain_by)
        for (study,) in sorted(rows)
        if study not in but
    ]


def erase(vault: Vault, record: RecordNumber, *, name: bytes, now: int, on_chain_by: int) -> int:
    """Withdraw all that still holds, then cut every link to the record; how many rows changed.

    Args:
        vault: The hospital's.
        record: Whose.
        name: In place of the record number: says nothing without the hospital's key.
        now: Unix seconds.
        on_chain_by: Until when the ledger has to show the withdrawals; they keep going there.
    """
    ended = withdraw_all(vault, record, now=now, on_chain_by=on_chain_by)
    hidden = vault.hidden.hide(record)
    tomb, nobody = vault.hidden.hide(f"{_PREFIX}{name.hex()}"), vault.hidden.hide("erased")
    with vault.store.transaction() as database:
        rows = 0
        for table in _DELETED:
            sql = f"delete from {table} where record = ?"  # noqa: S608 - our names
            rows += database.execute(sql, (hidden,)).rowcount
        for table in _RENAMED:
            sql = f"update {table} set record = ? where record = ?"  # noqa: S608 - our names
            rows += database.execute(sql, (tomb, hidden)).rowcount
        rows += database.execute(
            "update mandates set record = ?, holder = ? where record = ?", (tomb, nobody, hidden)
        ).rowcount
        for one in ended:
            note_change(database, one.study, tomb)  # a cohort then decides on everyone anew
    return rows


def name_of(record: RecordNumber) -> bytes | None:
    """What stands in place of the number of somebody erased; None for everybody else."""
    return bytes.fromhex(record.removeprefix(_PREFIX)) if is_erased(record) else None


def expire_letters(
    vault: Vault, *, before: int, is_held: Callable[[RecordNumber], bool], delete: bool
) -> int:
    """Letters that nobody answered and that ended before this time; how many, deleted if told."""
    with vault.store.transaction() as database:
        rows = database.execute(
            "select code_hash, record from enrolments where subject is null and valid_until < ?",
            (before,),
        ).fetchall()
        chosen = [(code,) for code, kept in rows if not is_held(_shown(vault, kept))]
        if delete:
            database.executemany("delete from enrolments where code_hash = ?", chosen)
    return len(chosen)


def expire_answers(
    vault: Vault, *, before: int, is_held: Callable[[RecordNumber], bool], delete: bool
) -> int:
    """Answers of keys that were withdrawn for good before this time and are on the ledger.

    A key whose newest answer came later, or that was not withdrawn, stays whole. Returns how many
    keys; with ``delete`` their grants, withdrawals and link are gone.
    """
    with vault.store.transaction() as database:
        rows = database.execute(_ENDED_BEFORE, (State.WAITING, before)).fetchall()
        of_key = "select record from withdrawals where study = ? and subject = ?"
        chosen = [
            key
            for key in rows
            if not is_held(_shown(vault, *database.execute(of_key, key).fetchone()))
        ]
        if delete:
            for table in ("grants", "withdrawals", "bindings"):
                sql = f"delete from {table} where study = ? and subject = ?"  # noqa: S608 - ours
                database.executemany(sql, chosen)
    return len(chosen)


def _shown(vault: Vault, record: bytes) -> RecordNumber:
    return RecordNumber(vault.hidden.show(record))
