"""A new key for a vault: everyone in it is hidden again, in one transaction.

Dying in it leaves the old key in force, all of it.
"""

from __future__ import annotations

import sqlite3

from consent.hidden import Hidden, changed_outside
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


def rekey(vault: Vault, key: bytes) -> None:
    """Hide everything under this key from now on; the vault has to be opened again with it.

    Nobody else may have the vault open: whoever has, reads nothing more.

    Raises:
        ConsentError: TW8640, a row was changed from outside; nothing was done.
    """
    old, new = vault.hidden, Hidden(key)
    try:
        with vault.store.transaction() as database:
            database.create_function("again", 1, lambda form: new.hide(old.show(form)))
            for table, column in COLUMNS:
                database.execute(f"update {table} set {column} = again({column})")  # noqa: S608 - ours
            database.execute("update site set key_check = ?", (new.check,))
    except sqlite3.OperationalError as error:
        raise changed_outside() from error
    vault.store.empty_log()
