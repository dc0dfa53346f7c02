"""A new key for a vault: everyone in it is hidden again, in one transaction.

Dying in it leaves the old key in force, all of it.
"""

from __future__ import annotations

from consent.hidden import Hidden
from consent.vault import Vault

COLUMNS = (
    ("mandates", "record"),
    ("mandates", "holder"),
    ("enrolments", "record"),
    ("standings", "record"),
    ("bindings", "record"),
    ("grants", "record"),
    ("withdrawals", "record"),
    ("changes", "record"),
)
"""Every column that hides a text; a test compares them with the tables."""

_EVERY_FORM = " union ".join(f"select {column} from {table}" for table, column in COLUMNS)  # noqa: S608 - ours


def rekey(vault: Vault, key: bytes) -> None:
    """Hide everything under this key from now on; the vault has to be opened again with it.

    Nobody else may have the vault open: whoever has, reads nothing more.

    Raises:
        ConsentError: TW8640, a row was changed from outside; nothing was done.
    """
    old, new = vault.hidden, Hidden(key)
    with vault.store.transaction() as database:
        rows = database.execute(_EVERY_FORM).fetchall()
        database.execute("create temporary table again (was blob primary key, is_now blob)")
        database.executemany(
            "insert into again values (?, ?)",
            [(was, new.hide(old.show(was))) for (was,) in rows],
        )
        for table, column in COLUMNS:
            database.execute(
                f"update {table} set {column} = (select is_now from again where was = {column})"  # noqa: S608 - ours
            )
        database.execute("drop table again")
        database.execute("update site set key_check = ?", (new.check,))
    vault.store.scrub(whole=True)
